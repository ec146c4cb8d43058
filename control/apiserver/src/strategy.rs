//! What happens to an object between the request and the store: what the server fills in, what a write may not touch, and
//! what is refused.

use serde_json::{Value, json};
use uuid::Uuid;
use xebec_machinery::apply::{self, FieldSet, UpdateRequest};
use xebec_machinery::conform::conform;
use xebec_machinery::metadata::{self, NameRule};
use xebec_machinery::resource::Resource;
use xebec_machinery::status::Status;
use xebec_machinery::structural;

use crate::call::Call;
use crate::object;
use crate::write::judge_fields;

/// Which part of an object a write is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Everything but the status.
    Main,
    /// The status alone.
    Status,
    /// The finalizers in the spec of a namespace.
    Finalize,
}

impl Part {
    fn subresource(self) -> Option<&'static str> {
        match self {
            Self::Main => None,
            Self::Status => Some("status"),
            Self::Finalize => Some("finalize"),
        }
    }
}

/// How long a pod may run on after its deletion where its spec does not say, in seconds.
const GRACE: u64 = 30;

/// Drops what the kind does not know; tells or refuses it as the client asked.
pub fn admit_fields(call: &Call, new: &mut Value, duplicates: &[String]) -> Result<Vec<String>, Status> {
    let version = call.version();
    // What every object has is read as types are; the rest of a custom resource is told by its validation.
    let structural = version.structural.as_ref();
    let node = if structural.is_some() { structural::envelope() } else { version.schema.node() };
    let mut unknown = conform(node, new).map_err(|error| {
        let version = call.api_version();
        Status::bad_request(format!(
            "{} in version {version:?} cannot be handled as a {}: json: {error}",
            call.resource.kind, call.resource.kind
        ))
    })?;
    unknown.extend(structural.map(|structural| structural.prune(new)).unwrap_or_default());
    judge_fields(call, unknown, duplicates)
}

/// The object must be of the kind that the URL says.
pub fn check_type(call: &Call, new: &Value) -> Result<(), Status> {
    let field = |name: &str| new.get(name).and_then(Value::as_str).unwrap_or_default();
    let wanted = (call.api_version(), &*call.resource.kind);
    if (field("apiVersion"), field("kind")) == (wanted.0.as_str(), wanted.1) {
        return Ok(());
    }
    if field("kind").is_empty() {
        return Err(Status::bad_request("Object 'Kind' is missing in the body; set apiVersion and kind"));
    }
    Err(Status::bad_request(format!(
        "the API version in the data ({}, Kind={}) does not match the expected API version ({}, Kind={})",
        field("apiVersion"),
        field("kind"),
        wanted.0,
        wanted.1
    )))
}

/// The object's namespace is that of the URL, and is filled in from there.
pub fn check_place(call: &Call, new: &mut Value) -> Result<(), Status> {
    let Some(namespace) = call.namespace() else {
        if call.resource.namespaced() {
            return Err(Status::bad_request("an empty namespace may not be set during creation"));
        }
        return Ok(());
    };
    match object::meta(new, "namespace") {
        "" => object::set_meta(new, "namespace", namespace),
        same if same == namespace => {}
        _ => {
            return Err(Status::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
    }
    Ok(())
}

/// Fills in what the server decides about a new object.
pub fn prepare_create(call: &Call, new: &mut Value) -> Result<(), Status> {
    let random = Uuid::new_v4();
    let prefix = object::meta(new, "generateName").to_owned();
    if object::name(new).is_empty() && !prefix.is_empty() {
        let bits = u64::from_le_bytes(random.as_bytes()[..8].try_into().unwrap_or_default());
        object::set_meta(new, "name", metadata::generate_name(&prefix, bits));
    }
    object::set_meta(new, "uid", Uuid::new_v4().to_string());
    object::set_meta(new, "creationTimestamp", call.timestamp());
    for field in ["resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink"] {
        object::meta_mut(new).remove(field);
    }
    complete(call, new);
    if call.version().status
        && let Value::Object(fields) = new
    {
        fields.remove("status");
    }
    match (&*call.resource.group, &*call.resource.plural) {
        ("", "pods") => {
            let class = quality_of_service(new);
            object::section_mut(new, "status")
                .extend([("phase".to_owned(), "Pending".into()), ("qosClass".to_owned(), class.into())]);
        }
        ("", "namespaces") => {
            object::section_mut(new, "spec").insert("finalizers".to_owned(), json!(["kubernetes"]));
            object::section_mut(new, "status").insert("phase".to_owned(), "Active".into());
            let name = object::name(new).to_owned();
            let labels = object::meta_mut(new).entry("labels").or_insert_with(|| json!({}));
            labels["kubernetes.io/metadata.name"] = name.into();
        }
        _ => {}
    }
    if counts_generations(call) {
        object::set_meta(new, "generation", 1);
    } else {
        object::meta_mut(new).remove("generation");
    }
    Ok(())
}

/// Whether changes of what is asked for are counted.
fn counts_generations(call: &Call) -> bool {
    let none = matches!(
        &*call.resource.plural,
        "nodes" | "namespaces" | "persistentvolumes" | "persistentvolumeclaims" | "services"
    );
    call.resource.custom || call.version().status && !(call.resource.group.is_empty() && none)
}

/// Puts back what this write may not touch.
pub fn prepare_update(call: &Call, old: &Value, new: &mut Value, part: Part) -> Result<(), Status> {
    match part {
        Part::Main => {
            if call.version().status {
                object::take_over(new, old, "status");
            }
            if (&*call.resource.group, &*call.resource.plural) == ("", "namespaces") {
                object::take_over(new, old, "spec");
            }
        }
        Part::Status => {
            let status = std::mem::take(&mut new["status"]);
            let sent = object::meta_mut(new).clone();
            *new = old.clone();
            if !status.is_null() {
                new["status"] = status;
            } else if let Value::Object(fields) = &mut *new {
                fields.remove("status");
            }
            // What says who asks, and for which version, still counts.
            for field in ["resourceVersion", "managedFields"] {
                if let Some(value) = sent.get(field) {
                    object::set_meta(new, field, value.clone());
                }
            }
        }
        Part::Finalize => {
            let finalizers = new.get("spec").and_then(|spec| spec.get("finalizers")).cloned();
            *new = old.clone();
            object::section_mut(new, "spec")
                .insert("finalizers".to_owned(), finalizers.unwrap_or_else(|| json!([])));
        }
    }
    for field in [
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "generation",
        "selfLink",
    ] {
        match old.get("metadata").and_then(|meta| meta.get(field)).cloned() {
            Some(value) => object::set_meta(new, field, value),
            None => drop(object::meta_mut(new).remove(field)),
        }
    }
    if part == Part::Main {
        complete(call, new);
    }
    if counts_generations(call) && part == Part::Main {
        // Where status is no subresource of a custom resource, it is a field like any other.
        let counts = |name: &str| name != "status" || call.resource.custom && !call.version().status;
        metadata::bump_generation(old, new, counts);
    }
    Ok(())
}

/// Fills in what the kind has defaults for.
fn complete(call: &Call, new: &mut Value) {
    if call.resource.custom {
        if let Some(structural) = &call.version().structural {
            structural.default(new);
        }
        return;
    }
    let kind = &call.resource.kind;
    xebec_machinery::defaults::apply(&call.resource.group, &call.version().name, kind, new);
}

/// How a pod is treated when memory is short: by whether its containers ask for, and limit, what they use.
fn quality_of_service(pod: &Value) -> &'static str {
    let containers = pod.get("spec").and_then(|spec| spec.get("containers")).and_then(Value::as_array);
    let mut any = false;
    let mut guaranteed = containers.is_some_and(|containers| !containers.is_empty());
    for container in containers.into_iter().flatten() {
        let part = |name: &str| container.get("resources").and_then(|resources| resources.get(name));
        let (requests, limits) = (part("requests"), part("limits"));
        for resource in ["cpu", "memory"] {
            let request = requests.and_then(|requests| requests.get(resource));
            let limit = limits.and_then(|limits| limits.get(resource));
            any |= request.is_some() || limit.is_some();
            guaranteed &= limit.is_some() && (request.is_none() || request == limit);
        }
    }
    match (guaranteed, any) {
        (true, _) => "Guaranteed",
        (false, true) => "Burstable",
        (false, false) => "BestEffort",
    }
}

/// Keeps the books of who owns which field.
pub fn track(call: &Call, old: Option<&Value>, new: &mut Value, part: Part) -> Result<(), Status> {
    let (version, now) = (call.api_version(), call.timestamp());
    let versions = versions(call);
    let versions: Vec<&str> = versions.iter().map(String::as_str).collect();
    let reset = reset(call, part);
    let context = apply::Context {
        api_version: &version,
        kind: &call.resource.kind,
        node: call.version().schema.node(),
        versions: &versions,
        reset: &reset,
        subresource: part.subresource(),
        manager: &call.manager,
        now: &now,
    };
    *new = apply::update(UpdateRequest { context, live: old, new: std::mem::take(new) });
    Ok(())
}

/// Applies what a manager wants of an object; gives the object as it should be.
pub fn server_side_apply(
    call: &Call,
    live: Option<&Value>,
    applied: &Value,
    part: Part,
) -> Result<Value, Status> {
    let (version, now) = (call.api_version(), call.timestamp());
    let versions = versions(call);
    let versions: Vec<&str> = versions.iter().map(String::as_str).collect();
    let reset = reset(call, part);
    let request = apply::ApplyRequest {
        context: apply::Context {
            api_version: &version,
            kind: &call.resource.kind,
            node: call.version().schema.node(),
            versions: &versions,
            reset: &reset,
            subresource: part.subresource(),
            manager: &call.manager,
            now: &now,
        },
        live,
        applied,
        force: call.options().force,
    };
    Ok(apply::apply(&request).map_err(|error| error.status())?.object)
}

fn versions(call: &Call) -> Vec<String> {
    call.resource.versions.iter().map(|version| call.resource.api_version(&version.name)).collect()
}

fn reset(call: &Call, part: Part) -> FieldSet {
    match part {
        Part::Main if call.version().status => FieldSet::of_fields(&[&["status"]]),
        Part::Main => FieldSet::default(),
        Part::Status => FieldSet::of_fields(&[&["spec"]]),
        Part::Finalize => FieldSet::of_fields(&[&["status"]]),
    }
}

/// Refuses a new object that breaks a rule.
pub fn validate_create(call: &Call, new: &Value) -> Result<(), Status> {
    let rule = NameRule::of(&call.resource.group, &call.resource.plural);
    let mut errors = metadata::validate(new, rule, call.resource.namespaced());
    errors.extend(crate::rules::validate(call, None, new));
    refuse(call, new, &errors)
}

/// Refuses a changed object that breaks a rule.
pub fn validate_update(call: &Call, old: &Value, new: &Value, _part: Part) -> Result<(), Status> {
    let rule = NameRule::of(&call.resource.group, &call.resource.plural);
    let mut errors = metadata::validate_update(old, new);
    errors.extend(metadata::validate(new, rule, call.resource.namespaced()));
    errors.extend(crate::rules::validate(call, Some(old), new));
    refuse(call, new, &errors)
}

fn refuse(call: &Call, object: &Value, errors: &[xebec_machinery::field::FieldError]) -> Result<(), Status> {
    if errors.is_empty() {
        return Ok(());
    }
    Err(Status::invalid(call.qualified_kind(), object::name(object), errors))
}

/// How long an object stays after its deletion, in seconds: pods that run get their grace period, all else goes at once.
pub fn grace_seconds(resource: &Resource, old: &Value, asked: Option<u64>) -> u64 {
    if (&*resource.group, &*resource.plural) != ("", "pods") {
        return 0;
    }
    let text = |path: &str| object::at_path(old, path).and_then(Value::as_str).unwrap_or_default();
    if text(".spec.nodeName").is_empty() || matches!(text(".status.phase"), "Succeeded" | "Failed") {
        return 0;
    }
    let own = object::at_path(old, ".spec.terminationGracePeriodSeconds").and_then(Value::as_u64);
    asked.or(own).unwrap_or(GRACE)
}

/// What the beginning of a deletion changes beside the metadata.
pub fn begin_deleting(resource: &Resource, object: &mut Value) {
    if (&*resource.group, &*resource.plural) == ("", "namespaces") {
        object::section_mut(object, "status").insert("phase".to_owned(), "Terminating".into());
    }
}

/// Whether nothing holds a deleted object any more.
pub fn finished_deleting(object: &Value) -> bool {
    let held = object.get("kind").is_some_and(|kind| kind == "Namespace")
        && object::at_path(object, ".spec.finalizers")
            .and_then(Value::as_array)
            .is_some_and(|list| !list.is_empty());
    let grace = object::at_path(object, ".metadata.deletionGracePeriodSeconds").and_then(Value::as_u64);
    object::deleting(object)
        && object::meta_list(object, "finalizers").is_empty()
        && grace.unwrap_or(0) == 0
        && !held
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_guaranteed_what_it_limits() {
        let pod = |resources: Value| json!({"spec": {"containers": [{"resources": resources}]}});
        assert_eq!(quality_of_service(&pod(json!({"limits": {"cpu": "1", "memory": "1Gi"}}))), "Guaranteed");
        assert_eq!(quality_of_service(&pod(json!({"requests": {"cpu": "1"}}))), "Burstable");
        assert_eq!(quality_of_service(&pod(json!({}))), "BestEffort");
    }

    #[test]
    fn a_namespace_stays_until_its_content_is_gone() {
        let mut namespace = json!({
            "kind": "Namespace", "metadata": {"deletionTimestamp": "x", "deletionGracePeriodSeconds": 0},
            "spec": {"finalizers": ["kubernetes"]},
        });
        assert!(!finished_deleting(&namespace));
        namespace["spec"]["finalizers"] = json!([]);
        assert!(finished_deleting(&namespace));
    }
}
