//! Request bodies: how many bytes are read, in which encoding, and what is odd about them.

use std::fmt;
use std::io::Read;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http_body::Body;
use http_body_util::{BodyExt, Limited};
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use xebec_machinery::status::Status;

/// The most bytes of a request body, as sent and when decompressed.
pub const BODY_LIMIT: usize = 3 * 1024 * 1024;

/// The media type of protobuf bodies.
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

const UNDERSTOOD: [&str; 3] = ["application/json", "application/yaml", PROTOBUF];

/// An object as it was sent.
#[derive(Debug)]
pub struct Decoded {
    /// The object.
    pub object: Value,
    /// The paths of fields that were given twice; the last one won.
    pub duplicates: Vec<String>,
}

/// Reads a body whole, decompressed if need be.
pub async fn read<B>(headers: &HeaderMap, body: B) -> Result<Bytes, Status>
where
    B: Body<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let read = Limited::new(body, BODY_LIMIT).collect().await.map_err(|error| {
        if error.is::<http_body_util::LengthLimitError>() {
            return Status::too_large(BODY_LIMIT);
        }
        Status::bad_request(format!("the request's body could not be read whole: {error}; send it again"))
    })?;
    let bytes = read.to_bytes();
    match headers.get(CONTENT_ENCODING).map(|encoding| encoding.as_bytes()) {
        None | Some(b"" | b"identity") => Ok(bytes),
        Some(b"gzip") => inflate(&bytes),
        Some(_) => {
            Err(Status::bad_request("the body's Content-Encoding is not understood; use gzip or none"))
        }
    }
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

/// Decodes an object in any of the encodings that the API takes.
pub fn decode(media: &str, bytes: &[u8]) -> Result<Decoded, Status> {
    match media {
        "application/json" => json(bytes),
        "application/yaml" | "application/x-yaml" | "text/yaml" => yaml(bytes),
        PROTOBUF => {
            let object = xebec_machinery::protobuf::decode(bytes)
                .map_err(|error| Status::bad_request(format!("the protobuf body cannot be read: {error}")))?;
            Ok(Decoded { object, duplicates: Vec::new() })
        }
        _ => Err(Status::unsupported_media_type(&UNDERSTOOD)),
    }
}

fn json(bytes: &[u8]) -> Result<Decoded, Status> {
    let mut duplicates = Vec::new();
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let object = Seed { path: Trail::Root, duplicates: &mut duplicates }
        .deserialize(&mut reader)
        .and_then(|object| reader.end().map(|()| object))
        .map_err(|error| Status::bad_request(format!("the body is not JSON: {error}")))?;
    checked(object, duplicates)
}

/// Decodes YAML, whose duplicate keys are told by the parser itself.
pub fn yaml(bytes: &[u8]) -> Result<Decoded, Status> {
    let object = serde_saphyr::from_slice(bytes)
        .map_err(|error| Status::bad_request(format!("error decoding YAML: {error}")))?;
    checked(object, Vec::new())
}

fn checked(object: Value, duplicates: Vec<String>) -> Result<Decoded, Status> {
    if object.is_object() {
        return Ok(Decoded { object, duplicates });
    }
    Err(Status::bad_request("the body is not an object; send one with apiVersion, kind and metadata"))
}

/// Where in the document the reader is. Written out only when a duplicate is found.
#[derive(Clone, Copy)]
enum Trail<'a> {
    Root,
    Field(&'a Trail<'a>, &'a str),
    Item(&'a Trail<'a>, usize),
}

impl fmt::Display for Trail<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Field(Self::Root, name) => formatter.write_str(name),
            Self::Field(parent, name) => write!(formatter, "{parent}.{name}"),
            Self::Item(parent, at) => write!(formatter, "{parent}[{at}]"),
        }
    }
}

/// Reads any value and notes the fields that come twice.
struct Seed<'a> {
    path: Trail<'a>,
    duplicates: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Seed {
            path: Trail::Item(&self.path, list.len()),
            duplicates: &mut *self.duplicates,
        })? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            let path = Trail::Field(&self.path, &name);
            let value = entries.next_value_seed(Seed { path, duplicates: &mut *self.duplicates })?;
            if fields.contains_key(&name) {
                self.duplicates.push(path.to_string());
            }
            fields.insert(name, value);
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_given_twice_is_told_by_its_path() {
        let decoded =
            decode("application/json", br#"{"spec":{"items":[{"a":1,"a":2}]},"kind":"A"}"#).unwrap();
        assert_eq!(decoded.duplicates, ["spec.items[0].a"]);
        assert_eq!(decoded.object["spec"]["items"][0]["a"], 2);
    }

    #[test]
    fn what_is_not_an_object_is_refused() {
        for (media, body) in [
            ("application/json", "[1]"),
            ("application/json", "{\"a\":"),
            ("application/json", "{} {}"),
            ("application/yaml", "- a"),
            ("application/yaml", "a: [b"),
        ] {
            assert_eq!(decode(media, body.as_bytes()).unwrap_err().code(), 400, "{body}");
        }
        assert_eq!(decode("text/plain", b"{}").unwrap_err().code(), 415);
    }

    #[test]
    fn a_deep_document_is_refused_without_a_crash() {
        let deep = "{\"a\":".repeat(100_000);
        assert_eq!(decode("application/json", deep.as_bytes()).unwrap_err().code(), 400);
    }

    #[tokio::test]
    async fn a_body_above_the_limit_is_refused_also_when_compressed() {
        use std::io::Write;
        let plain = vec![b' '; BODY_LIMIT + 1];
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(&plain).unwrap();
        let packed = packer.finish().unwrap();
        let body = |bytes: Vec<u8>| http_body_util::Full::new(Bytes::from(bytes));
        let status = read(&HeaderMap::new(), body(plain)).await.unwrap_err();
        assert_eq!(status.code(), 413);
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING, "gzip".parse().unwrap());
        assert_eq!(read(&headers, body(packed)).await.unwrap_err().code(), 413);
    }
}
