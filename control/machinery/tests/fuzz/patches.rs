//! The patch engine and server-side apply.

use serde_json::{Map, Value, json};
use xebec_dice::{Dice, rounds};
use xebec_machinery::apply::{ApplyRequest, Context, FieldSet, UpdateRequest, apply, update};
use xebec_machinery::resource::Resource;
use xebec_machinery::schema::Node;
use xebec_machinery::{builtin, patch};

use crate::dice::Odd as _;

fn kind(dice: &mut Dice) -> (&'static Resource, &'static Node) {
    let resource = dice.pick(builtin::resources());
    (resource, resource.versions[0].schema.node())
}

/// A pointer to something in the object, or past it.
fn pointer(dice: &mut Dice, object: &Value) -> String {
    let (mut at, mut path) = (object, String::new());
    for _ in 0..dice.below(6) {
        let step = match at {
            Value::Object(map) if !map.is_empty() && !dice.once_in(10) => {
                let (key, inner) = map.iter().nth(dice.below(map.len())).unwrap();
                at = inner;
                key.replace('~', "~0").replace('/', "~1")
            }
            Value::Array(list) if !list.is_empty() && !dice.once_in(10) => {
                let index = dice.below(list.len());
                at = &list[index];
                index.to_string()
            }
            _ => (*dice.pick(&["-", "0", "01", "-1", "99999999999999999999", "~", "~2", "", "é", "x"]))
                .to_owned(),
        };
        path.push('/');
        path.push_str(&step);
    }
    path
}

#[test]
fn fuzz_json_patch() {
    rounds("json_patch", |dice| {
        let (_, node) = kind(dice);
        let target = dice.object(node, 0);
        let operations: Vec<Value> = (0..dice.below(8))
            .map(|_| {
                let op = *dice.pick(&["add", "remove", "replace", "move", "copy", "test", "jump"]);
                let (path, from) = (pointer(dice, &target), pointer(dice, &target));
                let mut operation = json!({"op": op, "path": path, "from": from, "value": dice.odd()});
                if dice.once_in(20) {
                    operation["path"] = dice.odd();
                }
                operation
            })
            .collect();
        let mut bytes = Value::from(operations).to_string().into_bytes();
        if dice.once_in(4) {
            bytes = dice.mutated(bytes);
        }
        if let Ok(patched) = patch::json(&target, &bytes) {
            assert!(patched.to_string().len() < 8 << 20);
        }
    });
}

#[test]
fn fuzz_merge_patch() {
    rounds("merge_patch", |dice| {
        let (_, node) = kind(dice);
        let mut target = dice.object(node, 0);
        let change = if dice.once_in(3) { dice.odd() } else { dice.object(node, 0) };
        if patch::merge(&mut target, change.clone()).is_ok() {
            let once = target.clone();
            patch::merge(&mut target, change).unwrap();
            assert_eq!(target, once, "merging twice is merging once");
        }
    });
}

/// The merge patch that makes one value of another, neither of which holds a null.
fn difference(from: &Value, to: &Value) -> Value {
    let (Value::Object(from), Value::Object(to)) = (from, to) else { return to.clone() };
    let mut patch = Map::new();
    for (key, value) in to {
        match from.get(key) {
            Some(old) if old == value => {}
            Some(old) if old.is_object() && value.is_object() => {
                patch.insert(key.clone(), difference(old, value));
            }
            _ => {
                patch.insert(key.clone(), value.clone());
            }
        }
    }
    let gone = from.keys().filter(|key| !to.contains_key(*key));
    patch.extend(gone.map(|key| (key.clone(), Value::Null)));
    Value::Object(patch)
}

/// The value without nulls in its objects.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key, without_nulls(value))).collect())
        }
        other => other,
    }
}

#[test]
fn fuzz_patches_there_and_back() {
    rounds("patches_there_and_back", |dice| {
        let (_, node) = kind(dice);
        let [from, to] = [0, 1].map(|_| without_nulls(dice.object(node, 0)));
        if !from.is_object() || !to.is_object() {
            return;
        }
        for (from, to) in [(&from, &to), (&to, &from)] {
            let mut merged = from.clone();
            patch::merge(&mut merged, difference(from, to)).unwrap();
            assert_eq!(&merged, to, "a merge patch of the difference");
            let replaced = json!([
                {"op": "test", "path": "", "value": from},
                {"op": "add", "path": "/before", "value": from},
                {"op": "move", "path": "/after", "from": "/before"},
                {"op": "test", "path": "/after", "value": from},
                {"op": "replace", "path": "", "value": to},
            ]);
            let replaced = patch::json(from, replaced.to_string().as_bytes()).unwrap();
            assert_eq!(&replaced, to, "a JSON patch of it all");
        }
        let same = patch::strategic(from.clone(), json!({}), node).unwrap();
        assert_eq!(same, from, "a strategic patch of nothing");
    });
}

#[test]
fn fuzz_strategic_merge_patch() {
    rounds("strategic_merge_patch", |dice| {
        let (_, node) = kind(dice);
        let (target, mut change) = (dice.object(node, 0), dice.object(node, 0));
        if dice.once_in(3) {
            change = directed(dice, change);
        }
        if let Ok(patched) = patch::strategic(target, change, node) {
            assert!(patched.to_string().len() < 8 << 20);
        }
    });
}

/// The patch with directives strewn in.
fn directed(dice: &mut Dice, mut value: Value) -> Value {
    match &mut value {
        Value::Object(map) => {
            let keys: Vec<String> = map.keys().cloned().collect();
            for key in keys {
                if let Some(inner) = map.remove(&key) {
                    if dice.once_in(6) {
                        let directive = *dice.pick(&["$setElementOrder", "$deleteFromPrimitiveList"]);
                        map.insert(format!("{directive}/{key}"), dice.odd());
                    }
                    map.insert(key, directed(dice, inner));
                }
            }
            if dice.once_in(6) {
                let word = *dice.pick(&["replace", "delete", "merge", "burn"]);
                map.insert("$patch".into(), word.into());
            }
            if dice.once_in(8) {
                map.insert("$retainKeys".into(), dice.odd());
            }
        }
        Value::Array(list) => {
            for item in list.iter_mut() {
                *item = directed(dice, item.take());
            }
            if dice.once_in(4) {
                list.push(json!({"$patch": "replace"}));
            }
        }
        _ => {}
    }
    value
}

#[test]
fn fuzz_apply() {
    rounds("apply", |dice| {
        let (resource, node) = kind(dice);
        let api_version = resource.api_version(&resource.versions[0].name);
        let mut named = || {
            let mut object = dice.object(node, 0);
            if let Some(map) = object.as_object_mut() {
                map.insert("apiVersion".into(), api_version.clone().into());
                map.insert("kind".into(), (&*resource.kind).into());
                map.insert("metadata".into(), json!({"name": "x", "labels": {"a": "b"}}));
            }
            object
        };
        let (mut live, applied) = (named(), named());
        if let (true, Some(map)) = (dice.once_in(5), live.as_object_mut()) {
            let fields = json!({"f:spec": {"f:a": {}, "k:{\"name\":\"x\"}": {".": {}}, "v:1": {}, "i:0": {}, "z:": 1}});
            let books = json!([{"manager": "odd", "operation": "Apply", "apiVersion": api_version,
                "fieldsType": "FieldsV1", "fieldsV1": fields, "time": dice.odd()}, dice.odd()]);
            map.insert("metadata".into(), json!({"name": "x", "managedFields": books}));
        }
        let reset = FieldSet::of_fields(&[&["status"]]);
        let versions = [api_version.clone()];
        let context = Context {
            api_version: &api_version,
            kind: &resource.kind,
            node,
            versions: &versions,
            reset: &reset,
            subresource: None,
            manager: "fuzz",
            now: "2026-01-01T00:00:00Z",
        };
        let force = dice.once_in(2);
        let written =
            update(UpdateRequest { context: Context { manager: "other", ..context }, live: None, new: live });
        let request = ApplyRequest { context, live: Some(&written), applied: &applied, force };
        let Ok(once) = apply(&request) else { return };
        let again = ApplyRequest { context, live: Some(&once.object), applied: &applied, force };
        match apply(&again) {
            Ok(twice) => assert_eq!(twice.object, once.object, "applying twice is applying once: {applied}"),
            Err(error) => {
                panic!("{error}: what was applied once cannot be applied again: {applied} to {written}")
            }
        }
    });
}
