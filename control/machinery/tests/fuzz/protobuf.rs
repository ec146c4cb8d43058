//! The transcoder, both ways.

use serde_json::Value;
use xebec_dice::{Dice, rounds};
use xebec_machinery::{builtin, decoding, defaults, protobuf};

use crate::dice::Odd as _;

/// The most bytes of JSON that a byte of protobuf may become: an empty object of a kind with many structs, or a byte of
/// base64 and control characters that JSON writes as `\u0000`.
const GROWTH: usize = 4_000;

fn object(dice: &mut Dice) -> Value {
    let resource = dice.pick(builtin::resources());
    let version = &resource.versions[0];
    let mut object = dice.object(version.schema.node(), 0);
    if let Some(map) = object.as_object_mut() {
        map.insert("apiVersion".into(), resource.api_version(&version.name).into());
        map.insert("kind".into(), (&*resource.kind).into());
    }
    object
}

/// Whatever is read can be written, and reads the same again.
fn read(bytes: &[u8]) {
    let Ok(read) = protobuf::decode(bytes) else { return };
    assert!(read.to_string().len() <= (bytes.len() + 1) * GROWTH, "{} bytes became {read}", bytes.len());
    // Numbers that Go cannot write, such as a time in the year 300,000, are read and not written.
    let Ok(written) = protobuf::encode(&read) else { return };
    let again = protobuf::decode(&written).expect("what was written is read");
    let rewritten = protobuf::encode(&again).expect("what was read twice is written");
    assert_eq!(protobuf::decode(&rewritten).unwrap(), again);
}

#[test]
fn fuzz_protobuf_decode_arbitrary_bytes() {
    rounds("protobuf_decode_arbitrary_bytes", |dice| {
        let mut bytes = dice.bytes(400);
        if !dice.once_in(8) {
            bytes.splice(0..0, *b"k8s\0");
        }
        read(&bytes);
        // The same bytes as the content of an envelope.
        let config = serde_json::json!({"apiVersion": "v1", "kind": "Pod"});
        let mut envelope = protobuf::encode(&config).unwrap();
        let raw = dice.bytes(100);
        envelope.extend([0x12, u8::try_from(raw.len()).unwrap()]);
        envelope.extend(raw);
        read(&envelope);
    });
}

#[test]
fn fuzz_protobuf_decode_mutated_objects() {
    rounds("protobuf_decode_mutated_objects", |dice| {
        if let Ok(bytes) = protobuf::encode(&object(dice)) {
            read(&bytes);
            read(&dice.mutated(bytes));
        }
    });
}

#[test]
fn fuzz_protobuf_encode_odd_objects() {
    rounds("protobuf_encode_odd_objects", |dice| {
        let object = object(dice);
        let text = |key: &str| object[key].as_str().unwrap_or_default().to_owned();
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
        let fits = object.is_object() && decoding::check(group, version, &kind, &object).is_ok();
        match protobuf::encode(&object) {
            Ok(bytes) => {
                let again = protobuf::decode(&bytes).expect("what was written is read");
                assert!(again.is_object());
            }
            Err(error) => {
                let mut completed = object.clone();
                defaults::apply(group, version, &kind, &mut completed);
                let written = protobuf::encode(&completed);
                assert!(!fits || written.is_ok(), "{error}: {written:?} of {completed}");
            }
        }
    });
}
