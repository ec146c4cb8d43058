//! Few bytes that stand for very much, and lengths that lie.

use super::{LEVELS, PROTOBUF, Rubbish};

/// Ten levels, each of which names the one below it ten times.
pub(super) fn of_aliases() -> String {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let below = format!("*a{}", level - 1);
        text.push_str(&format!("a{level}: &a{level} [{}]\n", [below.as_str(); 10].join(", ")));
    }
    text
}

/// The same by keys that merge maps.
pub(super) fn of_merges() -> String {
    let mut text = "a0: &a0 {x: 1}\n".to_owned();
    for level in 1..40 {
        let below = format!("*a{}", level - 1);
        text.push_str(&format!("a{level}: &a{level} {{<<: [{}]}}\n", [below.as_str(); 10].join(", ")));
    }
    text
}

fn number(mut value: u64, to: &mut Vec<u8>) {
    while value > 0x7f {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

/// A field of bytes.
fn field(at: u64, bytes: &[u8]) -> Vec<u8> {
    let mut written = Vec::with_capacity(bytes.len() + 12);
    number(at << 3 | 2, &mut written);
    number(bytes.len() as u64, &mut written);
    written.extend(bytes);
    written
}

/// The envelope that says a kind, round the object's own bytes.
fn envelope(api_version: &str, kind: &str, object: &[u8]) -> Vec<u8> {
    let names = [field(1, api_version.as_bytes()), field(2, kind.as_bytes())].concat();
    [b"k8s\0".to_vec(), field(1, &names), field(2, object)].concat()
}

/// A field within itself, that many times.
fn nested(at: u64, levels: usize) -> Vec<u8> {
    // From the innermost, each piece before what is there.
    let mut pieces = Vec::new();
    let mut length = 0;
    for _ in 0..levels {
        let mut head = Vec::new();
        number(at << 3 | 2, &mut head);
        number(length, &mut head);
        length += head.len() as u64;
        pieces.push(head);
    }
    pieces.into_iter().rev().flatten().collect()
}

/// What the version of a kind is called, where it is one that these tests know.
pub(super) fn version_of(kind: &str) -> &'static str {
    match kind {
        "Thing" => "example.com/v1",
        "Deployment" => "apps/v1",
        "Scale" => "autoscaling/v1",
        "Eviction" => "policy/v1",
        "TokenRequest" | "TokenReview" | "SelfSubjectReview" => "authentication.k8s.io/v1",
        "CustomResourceDefinition" => "apiextensions.k8s.io/v1",
        kind if kind.ends_with("AccessReview") || kind.ends_with("RulesReview") => "authorization.k8s.io/v1",
        _ => "v1",
    }
}

/// Bodies for a door that takes objects of this kind.
pub(super) fn in_protobuf(kind: &str) -> Vec<Rubbish> {
    let version = version_of(kind);
    let magic = b"k8s\0".as_slice();
    let prefix = "does not appear to be a protobuf message, expected prefix [107 56 115 0]";
    let mut bodies = vec![
        Rubbish::new("JSON that says it is protobuf", PROTOBUF, "{}", prefix),
        Rubbish::new("a beginning that is cut off", PROTOBUF, "k8s", prefix),
        Rubbish::new("a length that lies", PROTOBUF, [magic, b"\x0a\x7f"].concat(), "cut short"),
        Rubbish::new(
            "a length of all that there is",
            PROTOBUF,
            [magic, b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"].concat(),
            "cut short",
        ),
        Rubbish::new("a number without end", PROTOBUF, [magic, &[0xff; 64]].concat(), "malformed"),
        Rubbish::new("a group", PROTOBUF, [magic, &[0x0b; 5_000]].concat(), "malformed"),
        Rubbish::new("field 0", PROTOBUF, [magic, b"\x02\x00"].concat(), "malformed"),
    ];
    if kind == "Thing" {
        return bodies;
    }
    let cut = envelope(version, kind, &field(1, b"\x0a\x7f"));
    // The first field of these is a number.
    let words = if kind == "DeleteOptions" { "a whole number was expected" } else { "cut short" };
    bodies.push(Rubbish::new("metadata that is cut off", PROTOBUF, cut, words));
    let foreign = envelope("example.com/v1", "Nothing", b"");
    bodies.push(Rubbish::new(
        "a kind that nobody knows",
        PROTOBUF,
        foreign,
        "no kind \"Nothing\" is registered",
    ));
    if kind == "CustomResourceDefinition" {
        // spec.versions[0].schema.openAPIV3Schema, and `not` within it.
        let schema = nested(28, LEVELS);
        let object = field(2, &field(7, &field(4, &field(1, &schema))));
        bodies.push(Rubbish::new(
            "schemas nested deep",
            PROTOBUF,
            envelope(version, kind, &object),
            "nested more than",
        ));
    }
    if kind == "Pod" {
        let containers = field(2, &[]).repeat(1 << 20);
        let object = field(2, &containers);
        bodies.push(Rubbish::new(
            "a million containers",
            PROTOBUF,
            envelope(version, kind, &object),
            "too many values",
        ));
    }
    if matches!(kind, "ConfigMap" | "Pod" | "Deployment") {
        // An owner of the metadata, again and again.
        let metadata = field(1, &field(13, &[]).repeat(1 << 20));
        let object = envelope(version, kind, &metadata);
        bodies.push(Rubbish::new("a million owners", PROTOBUF, object, "too many values"));
    }
    bodies
}
