//! One stored form for the versions and groups under which an object is served.
//!
//! Custom resources without a converter differ in `apiVersion` alone. Events are served by two groups, whose names for the
//! same facts differ; they rest as core events.

mod autoscaler;

use serde_json::{Map, Value};
use xebec_machinery::decoding;
use xebec_machinery::resource::{Resource, Version};
use xebec_machinery::status::Status;

const EVENTS: &str = "events.k8s.io";

/// The group and plural name under which objects of a resource rest.
pub fn home(resource: &Resource) -> (&str, &str) {
    if &*resource.group == EVENTS { ("", "events") } else { (&resource.group, &resource.plural) }
}

/// Turns an object of a served version into the stored form.
pub fn to_storage(resource: &Resource, object: &mut Value) {
    if &*resource.group == autoscaler::GROUP && is_of(object, autoscaler::FIRST) {
        autoscaler::to_second(object);
    }
    let Value::Object(fields) = object else { return };
    let version = if &*resource.group == EVENTS {
        rename(fields, false);
        "v1".to_owned()
    } else {
        resource.api_version(&resource.storage)
    };
    fields.insert("apiVersion".to_owned(), version.into());
}

/// [`to_storage`] of what a client, or somebody on its behalf, says in a version of a built-in kind: some of it may be
/// known to the stored version alone, and is checked as that.
///
/// # Errors
///
/// What is wrong with it, for the client.
pub fn to_rest(resource: &Resource, object: &mut Value) -> Result<(), Status> {
    let is_other = !is_of(object, &resource.storage) && !resource.custom && &*resource.group != EVENTS;
    to_storage(resource, object);
    if is_other {
        let (version, kind) = (&resource.storage, &resource.kind);
        let checked = decoding::check(&resource.group, version, kind, object);
        checked.map_err(|why| decoding::unfit(version, kind, &why))?;
    }
    Ok(())
}

/// Turns the stored form into an object of a served version.
pub fn from_storage(resource: &Resource, version: &Version, object: &mut Value) {
    if &*resource.group == autoscaler::GROUP && &*version.name == autoscaler::FIRST {
        autoscaler::to_first(object);
    }
    let Value::Object(fields) = object else { return };
    if &*resource.group == EVENTS {
        rename(fields, true);
    }
    fields.insert("apiVersion".to_owned(), resource.api_version(&version.name).into());
    fields.insert("kind".to_owned(), (&*resource.kind).into());
    // An object may be older than a default of its schema.
    if let Some(structural) = &version.structural {
        structural.default_stored(object);
    }
}

/// Whether an object is of a version, whatever its group.
fn is_of(object: &Value, version: &str) -> bool {
    let told = object.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    told.rsplit('/').next() == Some(version)
}

/// What core events call a fact, and what `events.k8s.io` calls it.
const EVENT_NAMES: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

fn rename(fields: &mut Map<String, Value>, outwards: bool) {
    for (core, group) in EVENT_NAMES {
        let (from, to) = if outwards { (core, group) } else { (group, core) };
        if let Some(value) = fields.remove(from) {
            fields.insert(to.to_owned(), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use xebec_machinery::resource::Scope;
    use xebec_machinery::schema::{Node, Shape};

    fn events() -> Resource {
        let version = Version::new("v1", Node::new(Shape::Any).into());
        Resource::new(EVENTS, "Event", "events", Scope::Namespaced, version)
    }

    #[test]
    fn an_event_of_either_group_is_read_by_the_other() {
        let event = json!({
            "apiVersion": "events.k8s.io/v1", "kind": "Event", "note": "hello", "regarding": {"kind": "Pod"},
            "reportingController": "kubelet", "deprecatedCount": 3, "eventTime": "2026-01-01T00:00:00.000000Z",
        });
        let mut stored = event.clone();
        to_storage(&events(), &mut stored);
        assert_eq!(stored["apiVersion"], "v1");
        assert_eq!((&stored["message"], &stored["count"]), (&json!("hello"), &json!(3)));
        let resource = events();
        from_storage(&resource, &resource.versions[0], &mut stored);
        assert_eq!(stored, event);
    }
}
