//! Whatever stands in a built-in object, it is completed, judged and written without a panic.

use proptest::prelude::*;
use serde_json::{Map, Value, json};
use xebec_machinery::builtin;
use xebec_machinery::schema::{Node, Shape};
use xebec_machinery::{decoding, defaults, protobuf, validation};

/// Values that are seldom what a field wants.
fn odd() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z0-9:/@.%é-]{0,12}".prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!([null, 1, "x", [], {"a": []}])),
        Just(json!({"name": 1, "spec": [], "": null})),
    ]
}

/// An object in the shape of the node, with what `dice` and `odds` say in some places.
fn shaped(node: &Node, depth: usize, dice: &mut impl Iterator<Item = u8>, odds: &[Value]) -> Value {
    let roll = dice.next().unwrap_or(255);
    if roll < 24 {
        return odds[usize::from(roll) % odds.len()].clone();
    }
    match &node.shape {
        _ if depth > 9 => Value::Null,
        Shape::Any => json!({"any": [1, null]}),
        Shape::String => {
            ["", "x", "100%", "1Gi", "a/b", "RollingUpdate", "None"][usize::from(roll) % 7].into()
        }
        Shape::Integer | Shape::Number => (i64::from(roll) - 128).into(),
        Shape::Boolean => (roll < 128).into(),
        Shape::IntOrString => {
            if roll < 128 {
                json!(roll)
            } else {
                json!("50%")
            }
        }
        Shape::List { items, .. } => {
            (0..roll % 3).map(|_| shaped(items.node(), depth + 1, dice, odds)).collect()
        }
        Shape::Map { values, .. } => {
            let entry =
                |key: &str, dice: &mut _| (key.to_owned(), shaped(values.node(), depth + 1, dice, odds));
            Value::Object(["a", "b c"].into_iter().map(|key| entry(key, dice)).collect())
        }
        Shape::Struct { fields, .. } => {
            let mut map = Map::new();
            for field in fields {
                if field.required || dice.next().unwrap_or(255) < 90 {
                    map.insert(field.name.to_string(), shaped(field.node.node(), depth + 1, dice, odds));
                }
            }
            Value::Object(map)
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_object_breaks_what_reads_it(
        at in 0..builtin::resources().len(),
        dice in prop::collection::vec(any::<u8>(), 0..600),
        odds in prop::collection::vec(odd(), 1..8),
    ) {
        let resource = &builtin::resources()[at];
        let (group, version, kind) = (&*resource.group, &*resource.versions[0].name, &*resource.kind);
        let node = resource.versions[0].schema.node();
        let mut object = shaped(node, 0, &mut dice.into_iter(), &odds);
        let typed = decoding::check(group, version, kind, &object).is_ok();
        defaults::apply(group, version, kind, &mut object);
        let completed = object.clone();
        defaults::apply(group, version, kind, &mut object);
        if typed {
            prop_assert_eq!(&object, &completed, "completing twice is completing once");
            prop_assert_eq!(decoding::check(group, version, kind, &object), Ok(vec![]));
        }
        validation::validate_create(group, version, kind, &object);
        validation::validate_update(group, version, kind, &Value::Null, &object);
        validation::validate_update(group, version, kind, &object, &json!({"spec": []}));
        if let (true, Some(map)) = (typed, object.as_object_mut()) {
            map.insert("apiVersion".into(), resource.api_version(version).into());
            map.insert("kind".into(), kind.into());
            let bytes = protobuf::encode(&object).expect("what is well typed has bytes");
            let mut again = protobuf::decode(&bytes).expect("what was written is read");
            // Empty lists and maps that are not left out come back as null.
            defaults::apply(group, version, kind, &mut again);
            prop_assert_eq!(again["metadata"].take(), object["metadata"].take());
        }
    }
}
