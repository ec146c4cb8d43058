//! The encodings of a body under random and mutated bytes: what one carries the others do, and few bytes never become
//! very much.

use bytes::Bytes;
use serde_json::{Value, json};
use xebec_apiserver::codec::{decode, patch, yaml};
use xebec_dice::{Dice, rounds};
use xebec_machinery::protobuf;

const JSON: &str = "application/json";
const YAML: &str = "application/yaml";

/// Any JSON, with texts that YAML might take for something else.
fn value(dice: &mut Dice, depth: usize) -> Value {
    const TEXTS: [&str; 22] = [
        "",
        "a",
        "yes",
        "null",
        "~",
        "1",
        "0x1f",
        "1e3",
        ".inf",
        "2026-01-01",
        "- a",
        "a: b",
        "#",
        "&a",
        "*a",
        "!t",
        "<<",
        "é\u{1F600}",
        "\u{85}\u{2028}",
        "\t\r\n",
        "\"'",
        "\u{feff}",
    ];
    match dice.below(if depth == 0 { 6 } else { 8 }) {
        0 => Value::Null,
        1 => dice.once_in(2).into(),
        2 => (dice.number() as i64).into(),
        3 => json!(dice.number() as f64 / 3.0),
        4 | 5 => (*dice.pick(&TEXTS)).into(),
        6 => (0..dice.below(5)).map(|_| value(dice, depth - 1)).collect(),
        _ => object(dice, depth - 1),
    }
}

fn object(dice: &mut Dice, depth: usize) -> Value {
    let names = ["a", "b", "yes", "1", "", "é", "<<"];
    let count = dice.below(names.len());
    let entries = names[..count].iter().map(|name| ((*name).to_owned(), value(dice, depth)));
    Value::Object(entries.collect())
}

fn read(media: &str, text: &str) -> Value {
    let read = decode(media, &Bytes::copy_from_slice(text.as_bytes()), "ConfigMap");
    read.unwrap_or_else(|status| panic!("{media}: {}: {text:?}", status.message)).object
}

#[test]
fn fuzz_encodings_carry_the_same() {
    rounds("encodings_carry_the_same", |dice| {
        let object = object(dice, 4);
        for text in [object.to_string(), serde_json::to_string_pretty(&object).unwrap()] {
            assert_eq!(read(JSON, &text), object, "JSON");
            assert_eq!(read(YAML, &text), object, "JSON that is said to be YAML: {text}");
        }
        let written = serde_saphyr::to_string(&object).unwrap();
        assert_eq!(read(YAML, &written), object, "YAML: {written}");
    });
}

#[test]
fn fuzz_encodings_of_built_in_kinds() {
    rounds("encodings_of_built_in_kinds", |dice| {
        let texts = |dice: &mut Dice| -> Value {
            let keys = ["a", "b-c", "yes", "1"];
            let text = |dice: &mut Dice| String::from_utf8_lossy(&dice.bytes(30)).into_owned();
            let count = dice.below(5);
            keys[..count].iter().map(|key| ((*key).to_owned(), Value::from(text(dice)))).collect()
        };
        let metadata = json!({"name": "a", "labels": texts(dice), "annotations": texts(dice)});
        let given =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": texts(dice)});
        let packed = protobuf::encode(&given).unwrap();
        let object = protobuf::decode(&packed).unwrap();
        let again = protobuf::encode(&read(JSON, &object.to_string())).unwrap();
        assert_eq!(protobuf::decode(&again).unwrap(), object, "through JSON");
        let again = protobuf::encode(&read(YAML, &serde_saphyr::to_string(&object).unwrap())).unwrap();
        assert_eq!(protobuf::decode(&again).unwrap(), object, "through YAML");
    });
}

/// How many values there are.
fn count(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(count).sum::<usize>(),
        Value::Object(map) => 1 + map.values().map(count).sum::<usize>(),
        _ => 1,
    }
}

#[test]
fn fuzz_encodings_of_mutated_bytes() {
    // YAML stands for more than it has bytes by its aliases.
    const PIECES: [&str; 26] = [
        "a: ",
        "&a ",
        "*a",
        "<<: ",
        "- ",
        "? ",
        ": ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        "\n",
        "  ",
        "|\n",
        ">-\n",
        "'",
        "\"",
        "#",
        "!!str ",
        "!!binary ",
        "---\n",
        "...\n",
        "%YAML 1.2\n",
        "\\x",
        "@",
    ];
    const MOST: usize = 300_000;
    rounds("encodings_of_mutated_bytes", |dice| {
        let bytes = match dice.below(4) {
            0 => dice.bytes(300),
            1 => (0..dice.below(60)).flat_map(|_| dice.pick(&PIECES).bytes()).collect(),
            2 => object(dice, 3).to_string().into_bytes(),
            _ => serde_saphyr::to_string(&object(dice, 3)).unwrap().into_bytes(),
        };
        let bytes = Bytes::from(dice.mutated(bytes));
        for media in [JSON, YAML, "application/vnd.kubernetes.protobuf"] {
            match decode(media, &bytes, "ConfigMap") {
                Ok(decoded) => {
                    assert!(decoded.object.is_object() && count(&decoded.object) < MOST, "{bytes:?}")
                }
                Err(status) => assert!(matches!(status.code(), 400 | 413), "{status:?}: {bytes:?}"),
            }
        }
        for read in [yaml(&bytes), patch(&bytes, "")] {
            match read {
                Ok(decoded) => assert!(decoded.object.is_object(), "{bytes:?}"),
                Err(status) => assert_eq!(status.code(), 400, "{bytes:?}"),
            }
        }
    });
}
