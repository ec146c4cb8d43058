//! Bodies that make no sense, with what upstream says of them.

mod bombs;

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::Reader;

pub(super) const JSON: &str = "application/json";
pub(super) const YAML: &str = "application/yaml";
pub(super) const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// What is refused for what it is, and for its size.
pub(super) const BAD: (u16, &str) = (400, "BadRequest");
const LARGE: (u16, &str) = (413, "RequestEntityTooLarge");
const INVALID: (u16, &str) = (422, "Invalid");
const UNSUPPORTED: (u16, &str) = (415, "UnsupportedMediaType");

/// The levels of what is nested deep.
pub(super) const LEVELS: usize = 10_000;
/// The most bytes of a body.
const MOST: usize = 3 << 20;

/// A body and the answer to it.
pub(super) struct Rubbish {
    pub(super) name: &'static str,
    pub(super) media: &'static str,
    pub(super) encoding: Option<&'static str>,
    pub(super) bytes: Bytes,
    pub(super) expected: (u16, &'static str),
    /// What the message contains.
    pub(super) words: String,
}

impl Rubbish {
    pub(super) fn new(
        name: &'static str,
        media: &'static str,
        bytes: impl Into<Vec<u8>>,
        words: &str,
    ) -> Self {
        let bytes = Bytes::from(bytes.into());
        Self { name, media, encoding: None, bytes, expected: BAD, words: words.to_owned() }
    }

    fn expecting(self, expected: (u16, &'static str)) -> Self {
        Self { expected, ..self }
    }

    fn encoded(self, encoding: &'static str) -> Self {
        Self { encoding: Some(encoding), ..self }
    }
}

/// The bodies for a reader.
pub(super) fn bodies(reader: Reader) -> Vec<Rubbish> {
    let media = match reader {
        Reader::Object(_) | Reader::Options => JSON,
        Reader::Merge => "application/merge-patch+json",
        Reader::Strategic => "application/strategic-merge-patch+json",
        Reader::Operations => "application/json-patch+json",
        Reader::Applied => "application/apply-patch+yaml",
    };
    let mut bodies = of_any_kind(media);
    match reader {
        Reader::Object(kind) => {
            bodies.extend(in_json(media));
            bodies.push(Rubbish::new("nothing", JSON, "", "unexpected end of JSON input (<empty>)"));
            bodies.extend(not_an_object(JSON, "into Go"));
            bodies.extend(in_yaml(YAML));
            bodies.extend(bombs::in_protobuf(kind));
            bodies.push(twice(kind));
        }
        Reader::Options => {
            bodies.extend(in_json(media));
            bodies.extend(in_yaml(YAML));
            bodies.extend(bombs::in_protobuf("DeleteOptions"));
        }
        Reader::Merge | Reader::Strategic => {
            bodies.extend(in_json(media));
            bodies.push(Rubbish::new("nothing", media, "", "unexpected end of JSON input"));
            bodies.extend(not_an_object(media, ""));
            let labels = r#"{"metadata": {"labels": {"x": "1", "x": "2"}}}"#;
            let words = "strict decoding error: duplicate field \"metadata.labels.x\"";
            bodies.push(Rubbish::new("a label twice", media, labels, words).expecting(INVALID));
        }
        Reader::Operations => {
            bodies.extend(in_json(media));
            bodies.push(Rubbish::new("nothing", media, "", "unexpected end of JSON input"));
            bodies.push(Rubbish::new("an object", media, "{}", "cannot unmarshal object into Go value"));
        }
        Reader::Applied => {
            bodies.extend(in_yaml(media));
            bodies.push(Rubbish::new(
                "a field twice",
                media,
                "kind: A\nkind: A",
                "key \"kind\" already set in map",
            ));
        }
    }
    bodies
}

/// What is wrong before anything is read.
fn of_any_kind(media: &'static str) -> Vec<Rubbish> {
    let mut bomb = GzEncoder::new(Vec::new(), Compression::fast());
    bomb.write_all(&vec![b' '; MOST + 1]).unwrap();
    let large = "Request entity is too large: limit is 3145728";
    vec![
        Rubbish::new("too much", media, vec![b' '; MOST + 1], large).expecting(LARGE),
        Rubbish::new("a bomb of gzip", media, bomb.finish().unwrap(), large).expecting(LARGE).encoded("gzip"),
        Rubbish::new("gzip that is none", media, "{}", "Content-Encoding").encoded("gzip"),
        Rubbish::new("an encoding that nobody knows", media, "{}", "Content-Encoding").encoded("br"),
        Rubbish::new("a media type that nobody knows", "text/csv", "a,b", "unknown format")
            .expecting(UNSUPPORTED),
        Rubbish::new("a media type that is none", "!", "{}", "unknown format").expecting(UNSUPPORTED),
    ]
}

fn in_json(media: &'static str) -> Vec<Rubbish> {
    let utf16 = |mark: &[u8]| -> Vec<u8> {
        let letters = r#"{"kind": "ConfigMap"}"#.encode_utf16().flat_map(u16::to_le_bytes);
        mark.iter().copied().chain(letters).collect()
    };
    // One more than is read.
    let nested =
        |open: &str, close: &str| format!("{}0{}", open.repeat(LEVELS + 1), close.repeat(LEVELS + 1));
    let member = "looking for beginning of object key string";
    let ended = "unexpected end of JSON input";
    vec![
        Rubbish::new("a name without quotes", media, "{kind: 5}", &format!("invalid character 'k' {member}")),
        Rubbish::new(
            "a comma too many",
            media,
            r#"{"kind": "A",,}"#,
            &format!("invalid character ',' {member}"),
        ),
        Rubbish::new("something behind it", media, "{} x", "invalid character 'x' after top-level value"),
        Rubbish::new("a text that is cut off", media, r#"{"kind": "Conf"#, ended),
        Rubbish::new("an object that is cut off", media, r#"{"metadata": {"name": "a"}"#, ended),
        Rubbish::new("a letter that is cut off", media, &b"{\"a\": \"\xf0\x9f"[..], ended),
        Rubbish::new("no letters", media, &b"{\xff\xfe}"[..], &format!("invalid character 'ÿ' {member}")),
        Rubbish::new(
            "an escape that is none",
            media,
            r#"{"a": "\q"}"#,
            "invalid character 'q' in string escape code",
        ),
        Rubbish::new("UTF-16", media, utf16(b""), &format!("invalid character '\\x00' {member}")),
        Rubbish::new(
            "UTF-16 with its mark",
            media,
            utf16(b"\xff\xfe"),
            "invalid character 'ÿ' looking for beginning of value",
        ),
        Rubbish::new("objects nested deep", media, nested(r#"{"a":"#, "}"), "exceeded max depth"),
        Rubbish::new(
            "lists nested deep",
            media,
            format!(r#"{{"a":{}}}"#, nested("[", "]")),
            "exceeded max depth",
        ),
        Rubbish::new("lists that never close", media, "[".repeat(LEVELS), ended),
        Rubbish::new(
            "lists that never close, one too many",
            media,
            "[".repeat(LEVELS + 1),
            "exceeded max depth",
        ),
    ]
}

/// An object that says twice what it is.
fn twice(kind: &str) -> Rubbish {
    let version = bombs::version_of(kind);
    let body = format!(r#"{{"apiVersion": "{version}", "kind": "{kind}", "kind": "{kind}"}}"#);
    Rubbish::new("a field twice", JSON, body, "strict decoding error: duplicate field \"kind\"")
}

fn not_an_object(media: &'static str, words: &str) -> Vec<Rubbish> {
    ["[1]", "5", "\"text\"", "true"].map(|text| Rubbish::new("no object", media, text, words)).into()
}

fn in_yaml(media: &'static str) -> Vec<Rubbish> {
    let utf16: Vec<u8> = "kind: ConfigMap".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let indented: String = (0..1_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    vec![
        Rubbish::new("a list that is cut off", media, "kind: [ConfigMap", "yaml"),
        Rubbish::new("a text that is cut off", media, "kind: \"Config", "yaml"),
        Rubbish::new("a tab", media, "kind: A\n\tb: c", "yaml"),
        Rubbish::new("an indentation that fits nowhere", media, "a:\n    b: 1\n  c: 2", "yaml"),
        Rubbish::new("no letters", media, &b"kind: \"\xff\xfe\""[..], "yaml"),
        Rubbish::new("UTF-16", media, utf16, "yaml"),
        Rubbish::new("maps nested deep", media, "{a: ".repeat(LEVELS), "yaml"),
        Rubbish::new("lists nested deep", media, format!("a: {}", "[".repeat(LEVELS)), "yaml"),
        Rubbish::new("lists nested deep by dashes", media, "- ".repeat(LEVELS), "yaml"),
        Rubbish::new("maps nested deep by lines", media, indented, "yaml"),
        Rubbish::new("an alias of nothing", media, "a: *b", "yaml"),
        Rubbish::new("an alias of itself", media, "a: &a [*a]", "yaml"),
        Rubbish::new("a bomb of aliases", media, bombs::of_aliases(), "yaml"),
        Rubbish::new("a bomb of merges", media, bombs::of_merges(), "yaml"),
        Rubbish::new("a list", media, "- a", ""),
        Rubbish::new("a text", media, "hello", ""),
    ]
}
