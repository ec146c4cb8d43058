//! What comes from outside as text never brings the process down, whatever it is.

use std::time::UNIX_EPOCH;

use proptest::prelude::*;
use serde_json::{Value, json};
use xebec_machinery::builtin;
use xebec_machinery::negotiation::{Endpoint, Media, MetaVersion, negotiate};
use xebec_machinery::table::json_path::JsonPath;
use xebec_machinery::table::{Include, Options, Printer};

/// What paths are made of.
const PIECES: &[&str] = &[
    ".", "a", "ä", "[", "]", "[0]", "[-1]", "[1:2]", "[*]", "[?(", "@", "@.a", "==", "<", "'x'", "\"", "1",
    ")", "\\", "{", "}", " ", "$", ")]",
];

/// Fields that the tables look at.
const KEYS: &[&str] = &[
    "metadata",
    "spec",
    "status",
    "a",
    "name",
    "type",
    "containers",
    "conditions",
    "phase",
    "state",
    "ports",
    "subsets",
    "terminated",
    "restartCount",
    "creationTimestamp",
    "items",
    "rules",
    "metrics",
    "labels",
];

/// Text that looks like a path often enough to get far into the reader.
fn path_like() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(PIECES), 0..24).prop_map(|pieces| pieces.concat())
}

/// Any JSON value of a small size.
fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        "[a-z0-9:TZ.-]{0,24}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((prop::sample::select(KEYS), inner), 0..6)
                .prop_map(|fields| fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

proptest! {
    #[test]
    fn a_path_is_read_or_refused(text in path_like(), object in any_value()) {
        match JsonPath::parse(&text) {
            Ok(path) => {
                let found = path.find(&object);
                prop_assert_eq!(path.first(&object), found.first().copied());
            }
            Err(error) => prop_assert!(error.to_string().contains("cannot be read")),
        }
    }

    #[test]
    fn an_accept_header_is_understood_or_refused(text in "[a-z*/;=,q0-9. \"]{0,60}") {
        for endpoint in [Endpoint::Object, Endpoint::List, Endpoint::Watch, Endpoint::Discovery, Endpoint::Plain] {
            match negotiate(&text, endpoint, &[Media::Json, Media::Protobuf]) {
                Ok(encoding) => prop_assert!(matches!(encoding.media, Media::Json | Media::Protobuf)),
                Err(status) => prop_assert_eq!(status.code(), 406),
            }
        }
    }

    #[test]
    fn any_object_has_a_row_in_the_table_of_any_kind(object in any_value()) {
        let options = Options { version: MetaVersion::V1, include: Include::Metadata, headers: true, now: UNIX_EPOCH };
        for resource in builtin::resources() {
            let table = Printer::new(resource, &resource.storage).object(&object, &options);
            let cells = table["rows"][0]["cells"].as_array().map(Vec::len);
            prop_assert_eq!(cells, table["columnDefinitions"].as_array().map(Vec::len));
        }
    }
}
