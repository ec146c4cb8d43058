//! Objects of built-in kinds in Kubernetes' protobuf, which kubectl, Helm and controller-runtime send.
//!
//! What comes in is an envelope (the bytes `k8s\0` and a `runtime.Unknown` that says the kind) and what goes out is the
//! JSON that Go would write of the same object, and the other way round. Nothing is generated for a kind: the table of
//! built-in types says which field has which number and form. Unknown fields are skipped, as protobuf asks.

mod decode;
mod encode;
mod wire;

use serde_json::Value;

use crate::builtin;
use crate::canonical;
use wire::{Reader, Wire, Writer};

/// The media type of these bytes.
pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// What stands before the envelope.
const MAGIC: &[u8] = b"k8s\0";

/// The most bytes that are decoded: upstream's limit for the body of a request.
pub const BYTES_MAX: usize = 3 * 1024 * 1024;

/// The deepest nesting of messages.
const DEPTH_MAX: usize = 100;

/// Why bytes are no object, or an object has no bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes are something else.
    #[error(
        "the body does not begin with the bytes of Kubernetes protobuf (\"k8s\\0\"): send JSON as application/json"
    )]
    NoEnvelope,
    /// More bytes than an object may have.
    #[error("the object is larger than {BYTES_MAX} bytes")]
    TooLarge,
    /// Messages within messages within messages.
    #[error("messages are nested more than {DEPTH_MAX} deep")]
    TooDeep,
    /// Few bytes that stand for very many values.
    #[error("the object has too many values")]
    TooMany,
    /// A length or number goes past the end.
    #[error("the body ends within a field: it was cut short or is no protobuf")]
    Truncated,
    /// A number of more than 64 bits, field 0 or a wire type that Kubernetes does not use.
    #[error("the body has a field with a malformed tag or number")]
    Malformed,
    /// The envelope speaks of a kind that is not built in.
    #[error(
        "no kind \"{kind}\" is registered for version \"{api_version}\": send objects of this kind as JSON"
    )]
    UnknownKind {
        /// The `apiVersion` of the envelope.
        api_version: String,
        /// The `kind` of the envelope.
        kind: String,
    },
    /// The object within the envelope is compressed or not protobuf.
    #[error("the envelope has the content encoding or type {0:?}: only plain protobuf is understood")]
    Content(String),
    /// A field holds what its type does not allow.
    #[error("{field}: {wanted} was expected")]
    Value {
        /// The JSON path of the field.
        field: String,
        /// What should be there.
        wanted: &'static str,
    },
}

impl Error {
    fn value(wanted: &'static str) -> Self {
        Self::Value { field: String::new(), wanted }
    }

    /// The error as seen from the parent of the field.
    fn within(self, name: &str) -> Self {
        match self {
            Self::Value { field, wanted } if field.is_empty() => {
                Self::Value { field: name.to_owned(), wanted }
            }
            Self::Value { field, wanted } => Self::Value { field: format!("{name}.{field}"), wanted },
            other => other,
        }
    }
}

/// Reads an enveloped object of a built-in kind.
///
/// # Errors
///
/// The bytes are no envelope, the kind is not built in, or a field is malformed.
pub fn decode(bytes: &[u8]) -> Result<Value, Error> {
    if bytes.len() > BYTES_MAX {
        return Err(Error::TooLarge);
    }
    decode::Decoder::new().envelope(bytes, 0)
}

/// What an envelope says before its object.
#[derive(Debug, Clone, Copy, Default)]
struct Envelope<'a> {
    api_version: &'a str,
    kind: &'a str,
    raw: &'a [u8],
}

impl<'a> Envelope<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(bytes.strip_prefix(MAGIC).ok_or(Error::NoEnvelope)?);
        let mut envelope = Self::default();
        let text = |bytes| std::str::from_utf8(bytes).map_err(|_| Error::Malformed);
        while let Some((number, wire)) = reader.next()? {
            match (number, wire) {
                (1, Wire::Bytes(bytes)) => {
                    let mut reader = Reader::new(bytes);
                    while let Some((number, wire)) = reader.next()? {
                        match (number, wire) {
                            (1, Wire::Bytes(bytes)) => envelope.api_version = text(bytes)?,
                            (2, Wire::Bytes(bytes)) => envelope.kind = text(bytes)?,
                            _ => {}
                        }
                    }
                }
                (2, Wire::Bytes(bytes)) => envelope.raw = bytes,
                (3 | 4, Wire::Bytes(bytes))
                    if !matches!(bytes, b"" | b"application/vnd.kubernetes.protobuf") =>
                {
                    return Err(Error::Content(text(bytes)?.to_owned()));
                }
                _ => {}
            }
        }
        Ok(envelope)
    }

    /// The group and version.
    fn group_version(&self) -> (&'a str, &'a str) {
        self.api_version.split_once('/').unwrap_or(("", self.api_version))
    }

    /// The place of the type in the table.
    fn place(&self) -> Result<usize, Error> {
        let (group, version) = self.group_version();
        builtin::types().object(group, version, self.kind).ok_or_else(|| Error::UnknownKind {
            api_version: self.api_version.to_owned(),
            kind: self.kind.to_owned(),
        })
    }
}

/// Writes an object of a built-in kind, in its envelope.
///
/// ```
/// use serde_json::json;
/// use xebec_machinery::protobuf;
///
/// let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"a": "b"}});
/// let bytes = protobuf::encode(&object).unwrap();
/// assert_eq!(protobuf::decode(&bytes).unwrap(), object);
/// ```
///
/// # Errors
///
/// The kind is not built in, or a field has a value of the wrong type.
pub fn encode(object: &Value) -> Result<Vec<u8>, Error> {
    let text = |key: &str| object.get(key).and_then(Value::as_str).unwrap_or_default();
    let envelope = Envelope { api_version: text("apiVersion"), kind: text("kind"), raw: &[] };
    // The one kind that upstream writes without a version is `APIVersions`.
    let known = if envelope.api_version.is_empty() { "v1" } else { envelope.api_version };
    let at = Envelope { api_version: known, ..envelope }.place()?;
    let map = object.as_object().ok_or_else(|| Error::value("an object"))?;
    let raw = encode::message(at, map, 0)?;
    let mut kind = Writer::default();
    kind.bytes(1, envelope.api_version.as_bytes());
    kind.bytes(2, envelope.kind.as_bytes());
    let mut writer = Writer::from(MAGIC);
    writer.bytes(1, &kind.finish());
    writer.bytes(2, &raw);
    writer.bytes(3, b"");
    writer.bytes(4, b"");
    Ok(writer.finish())
}

/// Writes an event of a watch as a frame of its stream: the length in four bytes, then a `WatchEvent`, which has no envelope
/// of its own as the object within has.
///
/// # Errors
///
/// As those of [`encode`].
pub fn event(kind: &str, object: &Value) -> Result<Vec<u8>, Error> {
    let mut held = Writer::default();
    held.bytes(1, &encode(object)?);
    let mut event = Writer::default();
    event.bytes(1, kind.as_bytes());
    event.bytes(2, &held.finish());
    let event = event.finish();
    let length = u32::try_from(event.len()).map_err(|_| Error::TooLarge)?;
    Ok([length.to_be_bytes().as_slice(), &event].concat())
}

#[cfg(test)]
mod tests;
