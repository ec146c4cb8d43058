//! What upstream refuses of objects of built-in kinds, in its own words.
//!
//! Objects come completed by [`crate::defaults`] and typed by [`crate::decoding`]; their metadata is checked elsewhere.
//! Where a field has a rule here, the rule and the message are upstream's; fields without one are not judged.

mod address;
mod autoscaler;
mod claim;
mod config;
mod container;
mod device_slice;
pub(crate) mod device_status;
mod devices;
mod driver;
mod endpoints;
mod environment;
mod event;
mod flow;
mod job;
mod job_policy;
mod lease;
mod limits;
mod mount;
mod names;
mod networking;
mod node;
mod pod;
mod policy;
mod probe;
mod registration;
mod remote;
mod repeated;
mod resources;
mod schedule;
mod scheduling;
mod security;
mod selector;
mod service;
mod storage;
mod volume;
mod workload;

use serde_json::Value;

use crate::field::{FieldError, Path};
use names::Faults;
pub use repeated::{Again, again};

/// What is wrong with a new object.
///
/// ```
/// # use serde_json::json;
/// let pod = json!({"metadata": {"name": "x"}, "spec": {"containers": []}});
/// let errors = xebec_machinery::validation::validate_create("", "v1", "Pod", &pod);
/// assert_eq!(errors[0].to_string(), "spec.containers: Required value");
/// ```
pub fn validate_create(group: &str, version: &str, kind: &str, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    finalizers(group, object, &mut errors);
    match (group, kind) {
        ("batch", "CronJob") => job::create_cron_job(object, &mut errors),
        ("" | "events.k8s.io", "Event") => event::create(group, object, &mut errors),
        _ => validate(group, version, kind, object, &mut errors),
    }
    match (group, kind) {
        ("", "Pod") => pod::create(object, &mut errors),
        ("", "PersistentVolume") => storage::options(object, &mut errors),
        ("apps", "ControllerRevision") => workload::create_revision(object, &mut errors),
        ("networking.k8s.io", "Ingress") => networking::create_ingress(object, &mut errors),
        _ => {}
    }
    errors
}

/// What is wrong with an object, new or not.
pub(crate) fn standing(group: &str, version: &str, kind: &str, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    finalizers(group, object, &mut errors);
    validate(group, version, kind, object, &mut errors);
    errors
}

/// What is wrong with an object that replaces another.
pub fn validate_update(group: &str, version: &str, kind: &str, old: &Value, new: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    finalizers(group, new, &mut errors);
    if again(group, kind) == (Again { change: true, whole: true }) {
        finalizers(group, new, &mut errors);
    }
    let mut judge = |errors: &mut Vec<FieldError>| validate(group, version, kind, new, errors);
    // In the order in which upstream looks; some kinds it looks at once and never again.
    match (group, kind) {
        ("", "Pod") => {
            judge(&mut errors);
            pod::update(old, new, &mut errors);
        }
        ("", "Service") => service::update(old, new, &mut errors),
        ("discovery.k8s.io", "EndpointSlice") => {
            judge(&mut errors);
            endpoints::update_slice(old, new, &mut errors);
        }
        ("", "Endpoints") if old.get("subsets") == new.get("subsets") => {}
        ("", "ConfigMap") => {
            config::update(old, new, &["data", "binaryData"], &mut errors);
            judge(&mut errors);
        }
        ("", "Secret") => {
            config::update_secret(old, new, &mut errors);
            judge(&mut errors);
        }
        ("", "PersistentVolumeClaim") => {
            judge(&mut errors);
            claim::update(old, new, &mut errors);
        }
        ("", "PersistentVolume") => {
            judge(&mut errors);
            storage::options(new, &mut errors);
            judge(&mut errors);
            storage::update_volume(old, new, &mut errors);
        }
        ("", "ResourceQuota") => {
            judge(&mut errors);
            limits::update_quota(old, new, &mut errors);
        }
        ("", "Node") => {
            judge(&mut errors);
            node::update_node(old, new, &mut errors);
        }
        ("" | "events.k8s.io", "Event") => event::update(group, old, new, &mut errors),
        ("storage.k8s.io", _) => update_of_storage(kind, old, new, &mut judge, &mut errors),
        ("scheduling.k8s.io", "PriorityClass") => node::update_priority(old, new, &mut errors),
        ("node.k8s.io", "RuntimeClass") => {
            judge(&mut errors);
            node::update_runtime_class(old, new, &mut errors);
        }
        ("apps", _) => workload::update(kind, old, new, &mut errors),
        ("networking.k8s.io", _) => update_of_network(kind, old, new, &mut judge, &mut errors),
        ("batch", "Job") => {
            judge(&mut errors);
            job::update_job(old, new, &mut errors);
        }
        ("batch", "CronJob") => job::cron_job(Some(old), new, &mut errors),
        ("resource.k8s.io", "DeviceClass") => devices::class(Some(old), new, &mut errors),
        ("resource.k8s.io", "ResourceClaim") => devices::unchanged(old, new, &mut errors),
        ("resource.k8s.io", "ResourceClaimTemplate") => {
            judge(&mut errors);
            devices::unchanged(old, new, &mut errors);
        }
        ("resource.k8s.io", "ResourceSlice") => device_slice::slice(Some(old), new, &mut errors),
        ("autoscaling", "HorizontalPodAutoscaler") => {
            judge(&mut errors);
            autoscaler::update(old, new, &mut errors);
        }
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => {
            judge(&mut errors);
            policy::update_binding(old, new, &mut errors);
        }
        _ => judge(&mut errors),
    }
    errors
}

/// What whoever writes an object should know of it, though nothing is wrong.
pub fn warnings(group: &str, kind: &str, object: &Value) -> Vec<String> {
    match (group, kind) {
        ("resource.k8s.io", "ResourceSlice") => device_slice::warnings(object),
        _ => Vec::new(),
    }
}

/// What is wrong with a status that replaces another.
pub fn validate_status(group: &str, kind: &str, old: &Value, new: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if (group, kind) == ("resource.k8s.io", "ResourceClaim") {
        device_status::update(old, new, &mut errors);
    }
    errors
}

/// Everything that is wrong with a label selector at this place.
pub fn label_selector(of: &Value, path: &Path<'_>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    selector::selector(of, path, &mut errors);
    errors
}

/// What is wrong with the addresses of a service and their families, which is told before anything else is looked at.
pub fn service_addresses(old: Option<&Value>, service: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let spec = |of: &Value| of.get("spec").cloned().unwrap_or_default();
    let before = old.map(spec).unwrap_or_default();
    service::addresses(&before, &spec(service), &Path::ROOT.child("spec"), &mut errors);
    errors
}

type Judge<'a> = dyn FnMut(&mut Vec<FieldError>) + 'a;

fn update_of_storage(
    kind: &str,
    old: &Value,
    new: &Value,
    judge: &mut Judge<'_>,
    errors: &mut Vec<FieldError>,
) {
    if kind == "VolumeAttributesClass" {
        driver::update_attributes(old, new, errors);
    }
    judge(errors);
    match kind {
        "StorageClass" => storage::update_class(old, new, errors),
        "CSIDriver" => driver::update_driver(old, new, errors),
        "CSINode" => driver::update_node(old, new, errors),
        "VolumeAttachment" => driver::update_attachment(old, new, errors),
        "CSIStorageCapacity" => driver::update_capacity(old, new, errors),
        _ => {}
    }
}

fn update_of_network(
    kind: &str,
    old: &Value,
    new: &Value,
    judge: &mut Judge<'_>,
    errors: &mut Vec<FieldError>,
) {
    match kind {
        "IPAddress" => address::update_ip_address(old, new, errors),
        "ServiceCIDR" => address::update_service_cidr(old, new, errors),
        "NetworkPolicy" => networking::network_policy(new, &networking::ranges(old), errors),
        "IngressClass" => {
            networking::update_class(old, new, errors);
            judge(errors);
        }
        "Ingress" => {
            judge(errors);
            networking::update_ingress(old, errors);
        }
        _ => judge(errors),
    }
}

fn finalizers(group: &str, object: &Value, errors: &mut Vec<FieldError>) {
    // Extension servers of upstream's validate their own kinds without this rule.
    if !matches!(group, "apiextensions.k8s.io" | "apiregistration.k8s.io") {
        config::finalizers(object.get("metadata").unwrap_or(&Value::Null), errors);
    }
}

fn validate(group: &str, version: &str, kind: &str, object: &Value, errors: &mut Vec<FieldError>) {
    match (group, version, kind) {
        ("", "v1", "Pod") => pod::pod(object, errors),
        ("", "v1", "PodTemplate") => workload::pod_template(object, errors),
        ("", "v1", "ReplicationController") => workload::replication(object, errors),
        ("", "v1", "Service") => service::service(None, object, errors),
        ("", "v1", "Endpoints") => endpoints::endpoints(object, errors),
        ("discovery.k8s.io", "v1", "EndpointSlice") => endpoints::slice(object, errors),
        ("", "v1", "ConfigMap") => config::config_map(object, errors),
        ("", "v1", "Secret") => config::secret(object, errors),
        ("", "v1", "PersistentVolumeClaim") => claim::claim(object, errors),
        ("", "v1", "PersistentVolume") => storage::volume(object, errors),
        ("", "v1", "LimitRange") => limits::limit_range(object, errors),
        ("", "v1", "ResourceQuota") => limits::quota(object, errors),
        ("", "v1", "Node") => node::node(object, errors),
        ("storage.k8s.io", "v1", "StorageClass") => storage::class(object, errors),
        ("storage.k8s.io", "v1", "CSIDriver") => driver::driver(object, errors),
        ("storage.k8s.io", "v1", "CSINode") => driver::node(object, errors),
        ("storage.k8s.io", "v1", "VolumeAttachment") => driver::attachment(object, errors),
        ("storage.k8s.io", "v1", "CSIStorageCapacity") => driver::capacity(object, errors),
        ("storage.k8s.io", "v1", "VolumeAttributesClass") => driver::attributes(object, errors),
        ("scheduling.k8s.io", "v1", "PriorityClass") => node::priority(object, errors),
        ("node.k8s.io", "v1", "RuntimeClass") => node::runtime_class(object, errors),
        ("coordination.k8s.io", "v1", "Lease") => lease::lease(object, errors),
        ("networking.k8s.io", "v1", "NetworkPolicy") => networking::network_policy(object, &[], errors),
        ("", "v1", "Namespace") => config::namespace(object, errors),
        ("apps", "v1", _) => workload::workload(kind, object, errors),
        ("batch", "v1", "Job") => job::job(object, errors),
        ("batch", "v1", "CronJob") => job::cron_job(None, object, errors),
        ("rbac.authorization.k8s.io", "v1", "Role" | "ClusterRole") => policy::role(kind, object, errors),
        ("rbac.authorization.k8s.io", "v1", "RoleBinding" | "ClusterRoleBinding") => {
            policy::binding(kind, object, errors);
        }
        ("policy", "v1", "PodDisruptionBudget") => policy::disruption_budget(object, errors),
        ("autoscaling", "v2", "HorizontalPodAutoscaler") => autoscaler::autoscaler(object, errors),
        ("networking.k8s.io", "v1", "IPAddress") => address::ip_address(object, errors),
        ("networking.k8s.io", "v1", "ServiceCIDR") => address::service_cidr(object, errors),
        ("networking.k8s.io", "v1", "Ingress") => networking::ingress(object, errors),
        ("networking.k8s.io", "v1", "IngressClass") => networking::class(object, errors),
        ("resource.k8s.io", "v1", "DeviceClass") => devices::class(None, object, errors),
        ("resource.k8s.io", "v1", "ResourceClaim") => devices::claim(object, errors),
        ("resource.k8s.io", "v1", "ResourceClaimTemplate") => devices::template(object, errors),
        ("resource.k8s.io", "v1", "ResourceSlice") => device_slice::slice(None, object, errors),
        ("flowcontrol.apiserver.k8s.io", "v1", "FlowSchema") => flow::schema(object, errors),
        ("flowcontrol.apiserver.k8s.io", "v1", "PriorityLevelConfiguration") => flow::level(object, errors),
        ("apiregistration.k8s.io", "v1", "APIService") => registration::api_service(object, errors),
        _ => {}
    }
}

/// What is said of a field that may not change.
const IMMUTABLE: &str = "field is immutable";

/// The text of a field, empty where there is none.
fn text<'a>(of: &'a Value, key: &str) -> &'a str {
    of.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The elements of a field, none where there is no list.
fn list<'a>(of: &'a Value, key: &str) -> &'a [Value] {
    of.get(key).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The entries of a field, none where there is no map.
fn entries<'a>(of: &'a Value, key: &str) -> impl Iterator<Item = (&'a String, &'a Value)> {
    of.get(key).and_then(Value::as_object).into_iter().flatten()
}

/// The number of a field.
fn number(of: &Value, key: &str) -> Option<i64> {
    of.get(key).and_then(Value::as_i64)
}

/// The field, where it is there.
fn given<'a>(of: &'a Value, key: &str) -> Option<&'a Value> {
    of.get(key).filter(|value| !value.is_null())
}

/// Each fault is an invalid value.
fn invalid(path: &Path<'_>, value: &str, faults: Faults, errors: &mut Vec<FieldError>) {
    errors.extend(faults.into_iter().map(|fault| FieldError::invalid(path, value, fault)));
}

/// The text of a field must be there.
fn required(of: &Value, key: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) -> bool {
    let missing = text(of, key).is_empty();
    if missing {
        errors.push(FieldError::required(&path.child(key), ""));
    }
    !missing
}

/// Where there is a number, it is not below zero.
fn not_negative(of: &Value, keys: &[&str], path: &Path<'_>, errors: &mut Vec<FieldError>) {
    for key in keys {
        if let Some(value) = number(of, key).filter(|value| *value < 0) {
            errors.push(FieldError::invalid(&path.child(key), value, "must be greater than or equal to 0"));
        }
    }
}

/// Where there is text, it is one of these.
fn one_of(of: &Value, key: &str, supported: &[&str], path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let value = text(of, key);
    if !value.is_empty() && !supported.contains(&value) {
        errors.push(FieldError::not_supported(&path.child(key), value, supported));
    }
}

/// A port by number, or by name.
fn port(value: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    match value {
        Value::String(name) => invalid(path, name, names::port_name(name), errors),
        Value::Number(number) if !number.as_i64().is_some_and(|number| (1..=65535).contains(&number)) => {
            errors.push(FieldError::invalid(path, value.clone(), names::PORT));
        }
        _ => {}
    }
}
