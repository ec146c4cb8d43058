//! The transcoder beside Kubernetes' own protobuf: the bytes and the JSON of the same objects, as Go writes them
//! (`conformance/protobuf`).

use std::fmt::Write as _;

use serde_json::Value;
use xebec_machinery::protobuf;

const FIXTURES: &str = include_str!("data/protobuf/fixtures.txt");

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex digits"))
        .collect()
}

fn fixtures() -> impl Iterator<Item = (Vec<u8>, Value)> {
    FIXTURES.lines().map(|line| {
        let (hex, json) = line.split_once(' ').expect("bytes and JSON");
        (bytes(hex), serde_json::from_str(json).expect("JSON"))
    })
}

/// Where two objects differ.
fn differences(path: &str, is: &Value, wanted: &Value, found: &mut Vec<String>) {
    match (is, wanted) {
        (Value::Object(is), Value::Object(wanted)) => {
            let mut keys: Vec<_> = is.keys().chain(wanted.keys()).collect();
            keys.sort();
            keys.dedup();
            for key in keys {
                let path = format!("{path}.{key}");
                match (is.get(key), wanted.get(key)) {
                    (Some(is), Some(wanted)) => differences(&path, is, wanted, found),
                    (is, wanted) => found.push(format!("{path}: {is:?}, upstream {wanted:?}")),
                }
            }
        }
        (Value::Array(is), Value::Array(wanted)) if is.len() == wanted.len() => {
            for (at, (is, wanted)) in is.iter().zip(wanted).enumerate() {
                differences(&format!("{path}[{at}]"), is, wanted, found);
            }
        }
        _ if is == wanted => {}
        _ => found.push(format!("{path}: {is}, upstream {wanted}")),
    }
}

#[test]
fn upstreams_bytes_become_upstreams_json() {
    let mut found = Vec::new();
    for (bytes, json) in fixtures() {
        let object = protobuf::decode(&bytes).unwrap_or_else(|why| panic!("{}: {why}", json["kind"]));
        differences(&json["kind"].to_string(), &object, &json, &mut found);
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert!(fixtures().count() >= 45);
}

#[test]
fn objects_survive_the_way_there_and_back() {
    let mut found = Vec::new();
    for (_, json) in fixtures() {
        let bytes = protobuf::encode(&json).unwrap_or_else(|why| panic!("{}: {why}", json["kind"]));
        let object = protobuf::decode(&bytes).unwrap();
        differences(&json["kind"].to_string(), &object, &json, &mut found);
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn bytes_that_are_cut_short_are_refused_or_whole() {
    for (bytes, json) in fixtures().filter(|(bytes, _)| bytes.len() < 1000) {
        for end in 0..bytes.len() {
            // An envelope that ends before its last, empty fields has lost nothing.
            if let Ok(object) = protobuf::decode(&bytes[..end]) {
                assert!(object == json || end + 4 < bytes.len(), "{}", json["kind"]);
            }
        }
    }
}

#[test]
#[ignore = "writes a file for conformance/protobuf/run, which has Go read what is written here"]
fn objects_are_written_for_go_to_read() {
    let mut lines = String::new();
    for (_, json) in fixtures() {
        for byte in protobuf::encode(&json).unwrap() {
            write!(lines, "{byte:02x}").unwrap();
        }
        writeln!(lines, " {json}").unwrap();
    }
    let path = std::env::var("PROTOBUF_OUT").expect("PROTOBUF_OUT names the file to write");
    std::fs::write(path, lines).unwrap();
}
