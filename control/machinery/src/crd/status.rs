//! Defaults of a definition, and the status that says whether it is served.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::read::{flag, list, present, text};
use super::validate::{APPROVAL, Approval, approval};
use crate::field::FieldError;

/// The condition of a definition whose schema is not structural.
const NON_STRUCTURAL: &str = "NonStructuralSchema";

/// Fills in what a definition may leave out.
pub fn default(definition: &mut Value) {
    let Some(spec) = definition.get_mut("spec").and_then(Value::as_object_mut) else { return };
    if let Some(names) = spec.get_mut("names").and_then(Value::as_object_mut) {
        let kind = names.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
        let mut fill = |name: &str, value: String| {
            if !kind.is_empty() && names.get(name).and_then(Value::as_str).unwrap_or_default().is_empty() {
                names.insert(name.into(), value.into());
            }
        };
        fill("singular", kind.to_lowercase());
        fill("listKind", format!("{kind}List"));
    }
    let conversion = spec.entry("conversion").or_insert_with(|| json!({"strategy": "None"}));
    if conversion.is_null() {
        *conversion = json!({"strategy": "None"});
    }
    if let Some(service) =
        conversion.pointer_mut("/webhook/clientConfig/service").and_then(Value::as_object_mut)
    {
        service.entry("port").or_insert_with(|| 443.into());
    }
}

/// Notes the storage version among those in which objects were ever stored (`status.storedVersions`).
pub fn store_versions(definition: &mut Value) {
    let spec = definition.get("spec").unwrap_or(&Value::Null);
    let Some(storage) = list(spec, "versions").iter().find(|version| flag(version, "storage")) else {
        return;
    };
    let storage = text(storage, "name").to_owned();
    let Some(status) = status_mut(definition) else { return };
    let stored = status.entry("storedVersions").or_insert_with(|| json!([]));
    if stored.is_null() {
        *stored = json!([]);
    }
    if let Some(stored) =
        stored.as_array_mut().filter(|stored| !stored.iter().any(|name| *name == storage.as_str()))
    {
        stored.push(storage.into());
    }
}

/// Whether the definition is served (`Established`).
pub fn established(definition: &Value) -> bool {
    condition(definition, "Established").is_some_and(|condition| text(condition, "status") == "True")
}

/// Accepts the names that no other definition of the group has, and says by the conditions whether the definition is
/// served. Tells whether anything changed.
pub fn accept<'a>(definition: &mut Value, others: impl IntoIterator<Item = &'a Value>, now: &str) -> bool {
    let before = definition.get("status").cloned();
    let null = Value::Null;
    let spec = definition.get("spec").unwrap_or(&null);
    let names = spec.get("names").unwrap_or(&null);
    let accepted = definition.pointer("/status/acceptedNames").unwrap_or(&null);
    let own = definition.pointer("/metadata/name");

    let (mut resources, mut kinds) = (BTreeSet::new(), BTreeSet::new());
    for other in others {
        let same_group = other.pointer("/spec/group").and_then(Value::as_str) == Some(text(spec, "group"));
        let Some(taken) = other.pointer("/status/acceptedNames").filter(|_| same_group) else { continue };
        if other.pointer("/metadata/name") == own {
            continue;
        }
        resources.extend([text(taken, "plural"), text(taken, "singular")]);
        resources.extend(list(taken, "shortNames").iter().filter_map(Value::as_str));
        kinds.extend([text(taken, "kind"), text(taken, "listKind")]);
    }

    let mut agreed = accepted.as_object().cloned().unwrap_or_default();
    let mut conflict: Option<(&str, String)> = None;
    let in_use = |name: &str| format!("\"{name}\" is already in use");
    let mut claim = |name: &str, reason, taken: &BTreeSet<&str>| {
        let wanted = text(names, name);
        if wanted != text(accepted, name) && taken.contains(wanted) {
            conflict = Some((reason, in_use(wanted)));
        } else {
            agreed.insert(name.into(), wanted.into());
        }
    };
    claim("plural", "PluralConflict", &resources);
    claim("singular", "SingularConflict", &resources);
    claim("kind", "KindConflict", &kinds);
    claim("listKind", "ListKindConflict", &kinds);
    let ours = list(accepted, "shortNames");
    let foreign: Vec<String> = list(names, "shortNames")
        .iter()
        .filter(|name| !ours.contains(name))
        .filter_map(Value::as_str)
        .filter(|name| resources.contains(name))
        .map(in_use)
        .collect();
    if foreign.is_empty() {
        copy(names, &mut agreed, "shortNames");
    } else {
        let message = if foreign.len() == 1 { foreign.concat() } else { format!("[{}]", foreign.join(", ")) };
        conflict = Some(("ShortNamesConflict", message));
    }
    copy(names, &mut agreed, "categories");

    let was_established = established(definition);
    let approved = approval_condition(definition);
    let Some(status) = status_mut(definition) else { return false };
    status.insert("acceptedNames".into(), Value::Object(agreed));
    let (names_accepted, established) = match &conflict {
        None => (
            ("True", "NoConflicts", "no conflicts found"),
            Some(("True", "InitialNamesAccepted", "the initial names have been accepted")),
        ),
        // What was once served goes on under the names that it has.
        Some((reason, message)) => (
            ("False", *reason, message.as_str()),
            (!was_established).then_some(("False", "NotAccepted", "not all names are accepted")),
        ),
    };
    // What is served has a schema that can be.
    if let Some(conditions) = status.get_mut("conditions").and_then(Value::as_array_mut) {
        conditions.retain(|condition| text(condition, "type") != NON_STRUCTURAL);
    }
    set_condition(status, "NamesAccepted", names_accepted, now);
    if let Some(established) = established {
        set_condition(status, "Established", established, now);
    }
    if let Some((truth, reason, message)) = &approved {
        set_condition(status, "KubernetesAPIApprovalPolicyConformant", (truth, reason, message), now);
    }
    store_versions(definition);
    definition.get("status") != before.as_ref()
}

/// Says by a condition why a stored definition can not be served: its schema breaks rules that came after it. Tells
/// whether anything changed.
pub fn reject(definition: &mut Value, errors: &[FieldError], now: &str) -> bool {
    let before = definition.get("status").cloned();
    let mut texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    texts.dedup();
    let message = if let [one] = texts.as_slice() { one.clone() } else { format!("[{}]", texts.join(", ")) };
    let Some(status) = status_mut(definition) else { return false };
    set_condition(status, NON_STRUCTURAL, ("True", "Violations", &message), now);
    definition.get("status") != before.as_ref()
}

fn copy(from: &Value, into: &mut Map<String, Value>, name: &str) {
    match present(from, name) {
        Some(value) => into.insert(name.into(), value.clone()),
        None => into.remove(name),
    };
}

/// Groups of Kubernetes itself are for kinds that its people approved; the condition tells what the definition says.
fn approval_condition(definition: &Value) -> Option<(&'static str, &'static str, String)> {
    let told =
        || definition.pointer("/metadata/annotations").map(|all| text(all, APPROVAL)).unwrap_or_default();
    Some(match approval(definition)? {
        Approval::Approved => ("True", "ApprovedAnnotation", format!("approved in {}", told())),
        Approval::Bypassed => {
            ("False", "UnapprovedAnnotation", format!("not approved: {}", Value::from(told())))
        }
        Approval::Missing(message) => ("False", "MissingAnnotation", message),
        Approval::Invalid(message) => ("False", "InvalidAnnotation", message),
    })
}

fn status_mut(definition: &mut Value) -> Option<&mut Map<String, Value>> {
    let status = definition.as_object_mut()?.entry("status").or_insert_with(|| json!({}));
    if !status.is_object() {
        *status = json!({});
    }
    status.as_object_mut()
}

fn condition<'a>(definition: &'a Value, name: &str) -> Option<&'a Value> {
    let conditions = definition.pointer("/status/conditions").and_then(Value::as_array)?;
    conditions.iter().find(|condition| text(condition, "type") == name)
}

/// The time of a condition is that of the last change of its truth, not of its reason.
fn set_condition(
    status: &mut Map<String, Value>,
    name: &str,
    (truth, reason, message): (&str, &str, &str),
    now: &str,
) {
    let conditions = status.entry("conditions").or_insert_with(|| json!([]));
    if !conditions.is_array() {
        *conditions = json!([]);
    }
    let Some(list) = conditions.as_array_mut() else { return };
    let known = list.iter_mut().find(|condition| text(condition, "type") == name);
    let since = known
        .as_ref()
        .filter(|known| text(known, "status") == truth)
        .map(|known| text(known, "lastTransitionTime"));
    let condition = json!({
        "type": name, "status": truth, "reason": reason, "message": message,
        "lastTransitionTime": since.filter(|since| !since.is_empty()).unwrap_or(now),
    });
    match known {
        Some(known) => *known = condition,
        None => list.push(condition),
    }
}
