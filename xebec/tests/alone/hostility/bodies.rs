//! Bodies that make no sense, or too much of it.

use std::time::Duration;

use super::Attack;
use super::arena::{Arena, refused};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const JSON: &str = "application/json";
const YAML: &str = "application/yaml";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// Floods of all of them.
pub(super) fn flood(arena: &Arena) -> Attack {
    let client = arena.attacker.clone();
    let aliases: String = (1..10)
        .map(|level| format!("a{level}: &a{level} [{}]\n", vec![format!("*a{}", level - 1); 10].join(", ")))
        .collect();
    let attack = Attack::new("floods of bad bodies");
    attack.by(6, Duration::from_millis(50), move |turn| {
        let (client, aliases) = (client.clone(), aliases.clone());
        async move {
            let deep = r#"{"a":"#.repeat(10_001);
            let (media, body, code, words) = match turn % 6 {
                0 => (JSON, b"{\"kind\": ".to_vec(), 400, "unexpected end of JSON input"),
                1 => (JSON, deep.into_bytes(), 400, "exceeded max depth"),
                2 => (YAML, "[".repeat(10_000).into_bytes(), 400, "yaml"),
                3 => (YAML, format!("a0: &a0 [x]\n{aliases}b: *c").into_bytes(), 400, "yaml"),
                4 => (PROTOBUF, containers(), 400, "too many values"),
                // A megabyte that is read whole before its end is missed.
                _ => (
                    JSON,
                    format!("{{\"data\": {{{}", "\"a\": \"b\",".repeat(100_000)).into_bytes(),
                    400,
                    "JSON",
                ),
            };
            refused(&client, MAPS, media, body, code, words).await;
        }
    })
}

/// A Pod of a million containers, each of two bytes.
fn containers() -> Vec<u8> {
    let many = [0x12, 0].repeat(1 << 20);
    let field = |bytes: &[u8]| {
        let mut field = vec![0x12];
        let mut length = bytes.len();
        while length > 0x7f {
            field.push(length as u8 | 0x80);
            length >>= 7;
        }
        field.push(length as u8);
        field.extend(bytes);
        field
    };
    let names = b"\x0a\x02v1\x12\x03Pod";
    let mut body = b"k8s\0\x0a".to_vec();
    body.push(names.len() as u8);
    body.extend(names);
    body.extend(field(&field(&many)));
    body
}
