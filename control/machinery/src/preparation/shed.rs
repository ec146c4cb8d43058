//! Fields that upstream takes and does not keep: those of features that are off, and those of versions that are gone.

use serde_json::{Map, Value};

/// The fields of a claim's older source; the newer one has them too.
const SOURCE: [&str; 3] = ["apiGroup", "kind", "name"];

/// Takes out of an object what is not kept of it; `old` is what it replaces. Gives whether it is of a kind that has such.
pub(super) fn shed(group: &str, kind: &str, old: Option<&Value>, new: &mut Map<String, Value>) -> bool {
    match (group, kind) {
        ("coordination.k8s.io", "Lease") => lease(old, new),
        ("discovery.k8s.io", "EndpointSlice") => slice(new),
        ("", "PersistentVolumeClaim") => claim(old, new),
        ("resource.k8s.io", "ResourceSlice") => devices(old, new),
        _ => return false,
    }
    true
}

/// Who leads is not negotiated.
fn lease(old: Option<&Value>, new: &mut Map<String, Value>) {
    let had = |key: &str| old.and_then(|old| old.get("spec")?.get(key)).is_some();
    let Some(spec) = new.get_mut("spec").and_then(Value::as_object_mut) else { return };
    for key in ["strategy", "preferredHolder"] {
        if !had(key) {
            spec.remove(key);
        }
    }
}

fn slice(new: &mut Map<String, Value>) {
    let endpoints = new.get_mut("endpoints").and_then(Value::as_array_mut);
    for endpoint in endpoints.into_iter().flatten().filter_map(Value::as_object_mut) {
        endpoint.remove("deprecatedTopology");
    }
}

/// Attributes have one value each, and devices take nothing of what their nodes have, unless they did before.
fn devices(old: Option<&Value>, new: &mut Map<String, Value>) {
    const LISTS: [&str; 4] = ["bools", "ints", "strings", "versions"];
    const MAPPINGS: &str = "nodeAllocatableResourceMappings";
    let list = old.and_then(|old| old.pointer("/spec/devices")?.as_array());
    let all = |of: &Value| of.get("attributes").and_then(Value::as_object).cloned().unwrap_or_default();
    let had = |has: &dyn Fn(&Value) -> bool| list.is_some_and(|list| list.iter().any(has));
    let had_mappings = had(&|of| of.get(MAPPINGS).is_some_and(|mappings| !mappings.is_null()));
    let had_lists = had(&|of| all(of).values().any(|of| LISTS.iter().any(|key| of.get(key).is_some())));
    let devices = new.get_mut("spec").and_then(|spec| spec.get_mut("devices")?.as_array_mut());
    for device in devices.into_iter().flatten().filter_map(Value::as_object_mut) {
        if !had_mappings {
            device.remove(MAPPINGS);
        }
        let attributes = device.get_mut("attributes").and_then(Value::as_object_mut);
        for of in attributes.into_iter().flat_map(Map::values_mut).filter_map(Value::as_object_mut) {
            if !had_lists {
                of.retain(|key, _| !LISTS.contains(&key.as_str()));
            }
        }
    }
}

/// What a claim begins with stands in two places, of which the older knows two kinds and drops others without a word.
fn claim(old: Option<&Value>, new: &mut Map<String, Value>) {
    let given = |of: &Map<String, Value>, key: &str| of.get(key).filter(|value| !value.is_null()).cloned();
    let before = old.and_then(|old| old.get("spec")?.as_object());
    let had = |key: &str| before.is_some_and(|before| given(before, key).is_some());
    let Some(spec) = new.get_mut("spec").and_then(Value::as_object_mut) else { return };
    let of_another = given(spec, "dataSourceRef")
        .is_some_and(|of| of.get("namespace").and_then(Value::as_str).is_some_and(|name| !name.is_empty()));
    if of_another && !had("dataSourceRef") {
        spec.remove("dataSourceRef");
    }
    match (given(spec, "dataSource"), given(spec, "dataSourceRef")) {
        (Some(source), None) => {
            if is_known(&source) || had("dataSource") || had("dataSourceRef") {
                spec.insert("dataSourceRef".to_owned(), source);
            } else {
                spec.remove("dataSource");
            }
        }
        (None, Some(Value::Object(mut reference)))
            if reference.get("namespace").is_none_or(|of| of == "") =>
        {
            reference.retain(|key, _| SOURCE.contains(&key.as_str()));
            spec.insert("dataSource".to_owned(), Value::Object(reference));
        }
        _ => {}
    }
}

fn is_known(source: &Value) -> bool {
    let text = |key: &str| source.get(key).and_then(Value::as_str).unwrap_or_default();
    let known = [("", "PersistentVolumeClaim"), ("snapshot.storage.k8s.io", "VolumeSnapshot")];
    known.contains(&(text("apiGroup"), text("kind")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kept(old: Option<&Value>, spec: &Value) -> Value {
        let mut claim = json!({ "spec": spec });
        shed("", "PersistentVolumeClaim", old, claim.as_object_mut().unwrap());
        claim["spec"].take()
    }

    #[test]
    fn a_claim_names_what_it_begins_with_in_both_places() {
        let source = json!({"kind": "PersistentVolumeClaim", "name": "a"});
        let both = json!({"dataSource": source, "dataSourceRef": source});
        assert_eq!(kept(None, &json!({"dataSource": source})), both);
        assert_eq!(kept(None, &json!({"dataSourceRef": source})), both);
        let strange = json!({"apiGroup": "a.b", "kind": "C", "name": "a"});
        assert_eq!(kept(None, &json!({"dataSource": strange})), json!({}));
        let both = json!({"dataSource": strange, "dataSourceRef": strange});
        assert_eq!(kept(None, &json!({"dataSourceRef": strange})), both);
        assert_eq!(kept(Some(&json!({"spec": both})), &json!({"dataSource": strange})), both);
        let elsewhere = json!({"kind": "PersistentVolumeClaim", "name": "a", "namespace": "n"});
        assert_eq!(kept(None, &json!({"dataSourceRef": elsewhere})), json!({}));
    }

    #[test]
    fn fields_of_what_is_off_go() {
        let mut lease = json!({"spec": {"strategy": "X", "preferredHolder": "a", "holderIdentity": "b"}});
        shed("coordination.k8s.io", "Lease", None, lease.as_object_mut().unwrap());
        assert_eq!(lease, json!({"spec": {"holderIdentity": "b"}}));
        let mut slice = json!({"endpoints": [{"deprecatedTopology": {"a": "b"}}]});
        shed("discovery.k8s.io", "EndpointSlice", None, slice.as_object_mut().unwrap());
        assert_eq!(slice, json!({"endpoints": [{}]}));
    }
}
