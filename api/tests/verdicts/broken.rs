//! Objects that are not in order, each for one reason: where that is told, and in which words.

mod gateways;
mod routes;

use std::collections::BTreeSet;

use serde_json::Value;

use crate::Definitions;

/// A place below `spec` (`-` for a new item, a value `-` to drop what is there), the value that is put there, the fields
/// that are then told (one to a word), and what is said of one of them.
type Case<'a> = (&'a str, &'a str, &'a str, &'a str);

fn put(spec: &mut Value, place: &str, value: &str) {
    let (parent, name) = place.rsplit_once('/').unwrap();
    match (spec.pointer_mut(parent), value) {
        (Some(Value::Object(fields)), "-") => assert!(fields.remove(name).is_some(), "{place}"),
        (Some(Value::Object(fields)), _) => {
            fields.insert(name.to_owned(), serde_json::from_str(value).unwrap());
        }
        (Some(Value::Array(items)), _) => {
            let value = serde_json::from_str(value).unwrap();
            match name.parse::<usize>() {
                Ok(index) => items[index] = value,
                Err(_) => items.push(value),
            }
        }
        _ => panic!("nothing at {place}"),
    }
}

fn told(sample: &Value, cases: &[Case<'_>]) {
    let definitions = Definitions::ours();
    let kind = sample["kind"].as_str().unwrap();
    for (place, value, expected, words) in cases {
        let mut object = sample.clone();
        put(&mut object["spec"], place, value);
        let errors = definitions.judge(&mut object);
        let fields: BTreeSet<&str> = errors.iter().map(|error| &*error.field).collect();
        let all: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(fields, expected.split(' ').collect(), "{kind} with {value} at {place}: {all:#?}");
        let said = all.iter().any(|error| error.contains(words));
        assert!(said, "{kind} with {value} at {place}: no {words:?} in {all:#?}");
    }
}

const FORMAT: &str = "should match";
const TWICE: &str = "Duplicate value";
