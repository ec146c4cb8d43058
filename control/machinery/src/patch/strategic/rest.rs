//! What is left of a strategic merge patch once it is merged. Upstream's merge takes it apart on the way, and shows what is
//! left when the result is no object of its kind.

use serde_json::{Map, Value};

use super::{PATCH, RETAIN_KEYS, SET_ORDER, field, items};
use crate::schema::Node;

/// What the merge of a patch into `current`, whose shape is `node`, leaves of the patch. Both have been merged, so neither
/// is nested too deep.
pub fn rest(current: &Value, patch: &Value, node: &Node) -> Value {
    let mut left = patch.clone();
    if let (Some(current), Value::Object(patch)) = (current.as_object(), &mut left) {
        merge(current, patch, Some(node));
    }
    left
}

/// Takes away what the merge takes away.
fn merge(current: &Map<String, Value>, patch: &mut Map<String, Value>, node: Option<&Node>) {
    match patch.get(PATCH).and_then(Value::as_str) {
        Some("replace") => return drop(patch.remove(PATCH)),
        Some(_) => return,
        None => {}
    }
    patch.remove(RETAIN_KEYS);
    let orders: Vec<String> = patch.keys().filter(|key| key.starts_with(SET_ORDER)).cloned().collect();
    for order in orders {
        patch.remove(&order);
        patch.remove(order.strip_prefix(SET_ORDER).unwrap_or_default());
    }
    for (key, value) in patch {
        let Ok((below, strategy)) = field(node, key) else { continue };
        match (current.get(key), value) {
            (Some(Value::Object(old)), Value::Object(new)) => merge(old, new, below),
            (Some(Value::Array(old)), Value::Array(new)) => {
                let Some(key) =
                    strategy.filter(|strategy| strategy.merge).and_then(|s| s.merge_key.as_deref())
                else {
                    continue;
                };
                for new in new.iter_mut().filter_map(Value::as_object_mut) {
                    let same = |old: &&Map<String, Value>| old.get(key) == new.get(key);
                    if let (false, Some(old)) =
                        (new.contains_key(PATCH), old.iter().filter_map(Value::as_object).find(same))
                    {
                        merge(old, new, items(below));
                    }
                }
            }
            (Some(_), Value::Null) => {}
            (_, value) => unmark(value),
        }
    }
}

/// Takes away what holds `$patch`, where there is nothing to merge with.
fn unmark(value: &mut Value) {
    let marked = |value: &Value| value.as_object().is_some_and(|fields| fields.contains_key(PATCH));
    match value {
        Value::Object(fields) if !fields.contains_key(PATCH) => {
            fields.retain(|_, value| !marked(value));
            fields.values_mut().for_each(unmark);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::builtin;

    #[test]
    fn ordered_lists_and_directives_are_gone_and_the_rest_stays() {
        let node = builtin::kind_node("apps", "v1", "Deployment").unwrap();
        let pod = |spec: Value| json!({"spec": {"template": {"spec": spec}}});
        let current = pod(json!({"containers": [{"name": "c", "env": [{"name": "A"}]}], "hostIPC": true}));
        for (patch, left) in [
            (
                pod(
                    json!({"$setElementOrder/containers": [{"name": "c"}], "containers": [{"name": "c", "x": 1}]}),
                ),
                pod(json!({})),
            ),
            (
                pod(
                    json!({"containers": [{"name": "c", "$setElementOrder/env": [{"name": "A"}], "image": 5}]}),
                ),
                pod(json!({"containers": [{"name": "c", "image": 5}]})),
            ),
            (pod(json!({"$retainKeys": ["hostIPC"], "hostIPC": "x"})), pod(json!({"hostIPC": "x"}))),
            (pod(json!({"$patch": "replace", "hostIPC": 1})), pod(json!({"hostIPC": 1}))),
            (pod(json!({"affinity": {"nodeAffinity": {"$patch": "delete"}}})), pod(json!({"affinity": {}}))),
        ] {
            assert_eq!(rest(&current, &patch, node), left, "{patch}");
        }
    }
}
