use proptest::prelude::*;
use serde_json::json;

use super::*;

/// An envelope with these bytes as its object.
fn envelope(api_version: &str, kind: &str, raw: &[u8]) -> Vec<u8> {
    let mut meta = Writer::default();
    meta.bytes(1, api_version.as_bytes());
    meta.bytes(2, kind.as_bytes());
    let mut writer = Writer::from(MAGIC);
    writer.bytes(1, &meta.finish());
    writer.bytes(2, raw);
    writer.finish()
}

/// A message with one field.
fn field(number: u32, bytes: &[u8]) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.bytes(number, bytes);
    writer.finish()
}

#[test]
fn unknown_fields_are_skipped() {
    let mut raw = Writer::default();
    raw.bytes(1, &field(1, b"name"));
    raw.varint(9000, 3);
    raw.fixed64(9001, 3);
    raw.bytes(9002, b"more");
    let object = decode(&envelope("v1", "ConfigMap", &raw.finish())).unwrap();
    assert_eq!(object, json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "name"}}));
}

#[test]
fn parts_of_one_message_are_merged() {
    let mut raw = Writer::default();
    raw.bytes(1, &field(1, b"first"));
    raw.bytes(1, &field(3, b"space"));
    let object = decode(&envelope("v1", "ConfigMap", &raw.finish())).unwrap();
    assert_eq!(object["metadata"], json!({"name": "first", "namespace": "space"}));
}

#[test]
fn packed_lists_are_read_as_well() {
    // PodSecurityContext.supplementalGroups.
    let groups = field(4, &[1, 2, 0xac, 2]);
    let pod = decode(&envelope("v1", "Pod", &field(2, &field(14, &groups)))).unwrap();
    assert_eq!(pod["spec"]["securityContext"]["supplementalGroups"], json!([1, 2, 300]));
}

#[test]
fn what_is_wrong_is_said_and_where() {
    let text = |bytes: &[u8]| decode(bytes).unwrap_err().to_string();
    assert!(text(b"{}").contains("application/json"));
    assert_eq!(
        text(&envelope("example.com/v1", "Foo", b"")),
        "no kind \"Foo\" is registered for version \"example.com/v1\": send objects of this kind as JSON"
    );
    assert_eq!(
        text(&envelope("v1", "ConfigMap", &field(1, &field(1, &[0xff])))),
        "metadata.name: text in UTF-8 was expected"
    );
    assert_eq!(decode(&envelope("v1", "Pod", &[0x0a, 5, 1])), Err(Error::Truncated));
    assert_eq!(decode(&envelope("v1", "Pod", &[0x00, 0])), Err(Error::Malformed));
    assert_eq!(decode(&envelope("v1", "Pod", &[0x0b])), Err(Error::Malformed));
    assert_eq!(decode(&[0xff; 12]), Err(Error::NoEnvelope));
    let compressed = [envelope("v1", "Pod", b""), field(3, b"gzip")].concat();
    assert_eq!(decode(&compressed), Err(Error::Content("gzip".into())));
    let wrong = json!({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": 1}]}});
    assert_eq!(encode(&wrong).unwrap_err().to_string(), "spec.containers.name: a string was expected");
}

#[test]
fn bytes_cannot_nest_or_swell_without_end() {
    // JSONSchemaProps.not (28) of JSONSchemaProps, and so on.
    let mut schema = Vec::new();
    for _ in 0..300 {
        schema = field(28, &schema);
    }
    let version = field(4, &field(1, &schema));
    let definition =
        envelope("apiextensions.k8s.io/v1", "CustomResourceDefinition", &field(2, &field(7, &version)));
    assert_eq!(decode(&definition), Err(Error::TooDeep));

    // A list in a list, each in an envelope of its own.
    let mut list = envelope("v1", "List", b"");
    for _ in 0..300 {
        list = envelope("v1", "List", &field(2, &field(1, &list)));
    }
    assert_eq!(decode(&list), Err(Error::TooDeep));

    let containers = field(2, b"").repeat(1_000_000);
    assert_eq!(decode(&envelope("v1", "Pod", &field(2, &containers))), Err(Error::TooMany));
    assert_eq!(decode(&vec![0; BYTES_MAX + 1]), Err(Error::TooLarge));
}

#[test]
fn lists_hold_objects_in_envelopes_or_as_json() {
    let inner = envelope("v1", "ConfigMap", &field(1, &field(1, b"a")));
    let raw = [field(2, &field(1, &inner)), field(2, &field(1, br#"{"kind":"Any"}"#))].concat();
    let list = decode(&envelope("v1", "List", &raw)).unwrap();
    assert_eq!(list["items"][0]["metadata"]["name"], "a");
    assert_eq!(list["items"][1], json!({"kind": "Any"}));
}

/// The kinds that recurse, that hold bytes and that hold most types.
const KINDS: [(&str, &str); 6] = [
    ("v1", "Pod"),
    ("v1", "Secret"),
    ("v1", "List"),
    ("apps/v1", "ControllerRevision"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
];

/// Bytes that are more often well formed than chance would have them.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..12),
        (1..40_u32, any::<u64>()).prop_map(|(number, value)| {
            let mut writer = Writer::default();
            writer.varint(number, value);
            writer.finish()
        }),
    ];
    leaf.prop_recursive(8, 64, 6, |inner| {
        prop::collection::vec((1..44_u32, inner), 0..6)
            .prop_map(|fields| fields.iter().flat_map(|(number, bytes)| field(*number, bytes)).collect())
    })
}

proptest! {
    #[test]
    fn no_bytes_break_the_decoder(bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0..KINDS.len()) {
        let _ = decode(&bytes);
        let _ = decode(&[MAGIC, &bytes].concat());
        let (api_version, kind) = KINDS[kind];
        let _ = decode(&envelope(api_version, kind, &bytes));
    }

    #[test]
    fn whatever_decodes_is_written_and_read_again(raw in message(), kind in 0..KINDS.len()) {
        let (api_version, kind) = KINDS[kind];
        if let Ok(object) = decode(&envelope(api_version, kind, &raw)) {
            let again = decode(&encode(&object).unwrap()).unwrap();
            prop_assert_eq!(again, object);
        }
    }
}
