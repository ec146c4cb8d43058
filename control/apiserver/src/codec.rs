//! Request bodies: how many bytes are read, in which encoding, and what is odd about them.

mod document;
mod repetition;

use std::io::Read;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http_body::Body;
use http_body_util::{BodyExt, Limited};
use serde_json::Value;
use xebec_machinery::status::Status;
use xebec_machinery::{decoding, protobuf};

use crate::bodies::{Bodies, Room, SMALL};
use crate::intake;

/// The most bytes of a request body, as sent and when decompressed.
pub const BODY_LIMIT: usize = 3 * 1024 * 1024;

/// How long a client may take to send a body.
const BODY_TIME: Duration = Duration::from_secs(60);

const UNDERSTOOD: [&str; 3] = ["application/json", "application/yaml", protobuf::MEDIA_TYPE];

/// What upstream says of a protobuf body that does not begin as one.
const NO_PROTOBUF: &str =
    "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]";

/// An object as it was sent.
#[derive(Debug)]
pub struct Decoded {
    /// The object.
    pub object: Value,
    /// The fields that were given twice, in the words of upstream; the last one won.
    pub doubled: Vec<String>,
    /// How it was sent.
    pub form: Form,
}

impl Decoded {
    /// An object that the API itself has made.
    pub fn own(object: Value) -> Self {
        Self { object, doubled: Vec::new(), form: Form::Other }
    }
}

/// How an object was sent, which decides how what is odd about it is told.
#[derive(Debug, Default)]
pub enum Form {
    /// As JSON: in the order of the document.
    Json(Bytes),
    /// As YAML: what stands twice by its line, before what is unknown.
    Yaml,
    /// Otherwise.
    #[default]
    Other,
}

impl Form {
    /// Everything that is odd, in one line for whoever refuses it.
    pub fn refusal(&self, doubled: usize, findings: &[String]) -> Vec<String> {
        match self {
            Self::Yaml if doubled > 0 && findings.len() >= doubled => {
                let (doubled, unknown) = findings.split_at(doubled);
                [vec![in_yaml(doubled)], unknown.to_vec()].concat()
            }
            _ => findings.to_vec(),
        }
    }
}

/// What stands twice in YAML, in the words of Go's reader.
pub fn in_yaml(doubled: &[String]) -> String {
    format!("yaml: unmarshal errors:\n  {}", doubled.join("\n  "))
}

/// Reads a body whole, decompressed if need be. For one that is large, a user needs `bodies` to have room, which is to be
/// held for as long as the bytes are.
pub(crate) async fn read<B>(
    headers: &HeaderMap,
    body: B,
    (bodies, user): (&Arc<Bodies>, &str),
) -> Result<(Bytes, Option<Room>), Status>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let is_packed = match headers.get(CONTENT_ENCODING).map(|encoding| encoding.as_bytes()) {
        None | Some(b"" | b"identity") => false,
        Some(b"gzip") => true,
        Some(_) => {
            return Err(Status::bad_request(
                "the body's Content-Encoding is not understood; use gzip or none",
            ));
        }
    };
    let read = async {
        // What is not told beforehand may be as much as there may be.
        let told = body.size_hint().upper().and_then(|most| usize::try_from(most).ok());
        let most = told.filter(|_| !is_packed).unwrap_or(BODY_LIMIT).min(BODY_LIMIT);
        let mut body = pin!(Limited::new(body, BODY_LIMIT));
        let (mut room, mut bytes) = (None, BytesMut::new());
        if told.is_some_and(|told| told > SMALL) || is_packed {
            room = Some(bodies.room(user, most).await);
        }
        while let Some(frame) = body.frame().await {
            let Ok(piece) = frame?.into_data() else { continue };
            if room.is_none() && bytes.len() + piece.len() > SMALL {
                room = Some(bodies.room(user, most).await);
            }
            bytes.extend_from_slice(&piece);
        }
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>((bytes.freeze(), room))
    };
    let read = tokio::time::timeout(BODY_TIME, read).await;
    let read = read.map_err(|_| Status::timeout("request did not complete within the allotted timeout"))?;
    let (bytes, room) = read.map_err(|error| {
        if error.is::<http_body_util::LengthLimitError>() {
            return Status::too_large(BODY_LIMIT);
        }
        Status::bad_request(format!("the request's body could not be read whole: {error}; send it again"))
    })?;
    Ok((if is_packed { inflate(&bytes)? } else { bytes }, room))
}

fn inflate(bytes: &[u8]) -> Result<Bytes, Status> {
    let mut plain = Vec::new();
    let limit = BODY_LIMIT as u64 + 1;
    let read = flate2::read::GzDecoder::new(bytes).take(limit).read_to_end(&mut plain);
    read.map_err(|error| {
        Status::bad_request(format!("the body is not gzip as its Content-Encoding says: {error}"))
    })?;
    if plain.len() > BODY_LIMIT {
        return Err(Status::too_large(BODY_LIMIT));
    }
    Ok(plain.into())
}

/// The media type of a request without its parameters; JSON where none is given, as upstream has it.
pub fn media_type(headers: &HeaderMap) -> &str {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = value.split(';').next().unwrap_or_default().trim();
    if media.is_empty() { "application/json" } else { media }
}

/// Decodes an object in any of the encodings that the API takes. `kind` is what it should be, which errors name.
pub fn decode(media: &str, bytes: &Bytes, kind: &str) -> Result<Decoded, Status> {
    let unrecognized = |why: String| intake::unrecognized_bytes(kind, bytes, &why);
    match media {
        "application/json" => {
            let (object, doubled) = decoding::parse(bytes).map_err(|error| {
                unrecognized(format!("couldn't get version/kind; json parse error: {error}"))
            })?;
            checked(object, doubled, Form::Json(bytes.clone()), &unrecognized)
        }
        "application/yaml" | "application/x-yaml" | "text/yaml" => {
            let (object, doubled) = document::read(bytes)
                .map_err(|error| unrecognized(format!("error converting YAML to JSON: yaml: {error}")))?;
            checked(object, doubled, Form::Yaml, &unrecognized)
        }
        protobuf::MEDIA_TYPE => {
            let object = protobuf::decode(bytes).map_err(|error| match error {
                protobuf::Error::TooLarge => Status::too_large(BODY_LIMIT),
                protobuf::Error::NoEnvelope => unrecognized(NO_PROTOBUF.to_owned()),
                protobuf::Error::UnknownKind { api_version, kind: found } => {
                    intake::unregistered(&api_version, &found, kind)
                }
                error => unrecognized(error.to_string()),
            })?;
            Ok(Decoded::own(object))
        }
        _ => Err(Status::unsupported_media_type(&UNDERSTOOD)),
    }
}

/// Decodes what is applied: YAML, of which JSON is a part.
pub fn yaml(bytes: &[u8]) -> Result<Decoded, Status> {
    let refused = |why: String| Status::bad_request(format!("error decoding YAML: {why}"));
    let (object, doubled) = document::read(bytes)
        .map_err(|error| refused(format!("error converting YAML to JSON: yaml: {error}")))?;
    let no_object = |why: String| refused(format!("error unmarshaling JSON: while decoding JSON: {why}"));
    checked(object, doubled, Form::Yaml, &no_object)
}

/// Decodes a patch that is an object. `opening` stands before what is wrong with it.
pub fn patch(bytes: &[u8], opening: &str) -> Result<Decoded, Status> {
    let refused = |why: String| Status::bad_request(format!("{opening}{why}"));
    let (object, doubled) = decoding::parse(bytes).map_err(|error| refused(error.to_string()))?;
    checked(object, doubled, Form::Other, &refused)
}

/// The fields that stand twice in a JSON patch.
pub fn operations(bytes: &[u8]) -> Result<Vec<String>, Status> {
    let refused = |why: String| Status::bad_request(format!("error decoding patch: {why}"));
    let (list, doubled) = decoding::parse(bytes).map_err(|error| refused(error.to_string()))?;
    if list.is_array() {
        return Ok(doubled);
    }
    Err(refused("json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp".to_owned()))
}

fn checked(
    object: Value,
    doubled: Vec<String>,
    form: Form,
    refused: &dyn Fn(String) -> Status,
) -> Result<Decoded, Status> {
    let word = match &object {
        Value::Object(_) => return Ok(Decoded { object, doubled, form }),
        Value::Null => return Err(refused("the body is empty; send an object".to_owned())),
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
    };
    Err(refused(format!("json: cannot unmarshal {word} into Go value of type map[string]interface {{}}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(media: &str, body: &str) -> Status {
        decode(media, &Bytes::copy_from_slice(body.as_bytes()), "Pod").unwrap_err()
    }

    #[test]
    fn a_field_given_twice_is_told_by_its_path_or_its_line() {
        let bodies = [
            (
                "application/json",
                r#"{"spec":{"items":[{"a":1,"a":2}]},"kind":"A"}"#,
                r#"duplicate field "spec.items[0].a""#,
            ),
            (
                "application/yaml",
                "spec:\n  items:\n  - a: 1\n    a: 2\nkind: A\n",
                r#"line 4: key "a" already set in map"#,
            ),
        ];
        for (media, body, told) in bodies {
            let decoded = decode(media, &Bytes::copy_from_slice(body.as_bytes()), "Pod").unwrap();
            assert_eq!(decoded.doubled, [told], "{media}");
            assert_eq!(decoded.object["spec"]["items"][0]["a"], 2, "{media}");
        }
    }

    #[test]
    fn what_is_not_an_object_is_refused() {
        for (media, body) in [
            ("application/json", "[1]"),
            ("application/json", ""),
            ("application/json", "{\"a\":"),
            ("application/json", "{} {}"),
            ("application/yaml", "- a"),
            ("application/yaml", "a: [b"),
            ("application/yaml", ""),
        ] {
            assert_eq!(refusal(media, body).code(), 400, "{body}");
        }
        assert_eq!(refusal("text/plain", "{}").code(), 415);
    }

    #[test]
    fn a_deep_document_is_refused_without_a_crash() {
        for deep in ["{\"a\":".repeat(100_000), "[".repeat(100_000)] {
            assert_eq!(refusal("application/json", &deep).code(), 400);
            assert_eq!(refusal("application/yaml", &deep).code(), 400);
        }
    }

    #[tokio::test]
    async fn a_body_above_the_limit_is_refused_also_when_compressed() {
        use std::io::Write;
        let plain = vec![b' '; BODY_LIMIT + 1];
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(&plain).unwrap();
        let packed = packer.finish().unwrap();
        let body = |bytes: Vec<u8>| http_body_util::Full::new(Bytes::from(bytes));
        let bodies = Arc::default();
        let status = read(&HeaderMap::new(), body(plain), (&bodies, "a")).await.unwrap_err();
        assert_eq!(status.code(), 413);
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, "gzip".parse().unwrap());
        assert_eq!(read(&headers, body(packed), (&bodies, "a")).await.unwrap_err().code(), 413);
    }
}
