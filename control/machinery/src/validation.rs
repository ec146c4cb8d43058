//! What upstream refuses of objects of built-in kinds, in its own words.
//!
//! Objects come completed by [`crate::defaults`] and typed by [`crate::decoding`]; their metadata is checked elsewhere.
//! Where a field has a rule here, the rule and the message are upstream's; fields without one are not judged.

mod address;
mod claim;
mod config;
mod container;
mod endpoints;
mod environment;
mod flow;
mod names;
mod networking;
mod pod;
mod policy;
mod probe;
mod registration;
mod resources;
mod schedule;
mod scheduling;
mod selector;
mod service;
mod storage;
mod volume;
mod workload;

use serde_json::Value;

use crate::field::{FieldError, Path};
use names::Faults;

/// What is wrong with a new object.
///
/// ```
/// # use serde_json::json;
/// let pod = json!({"metadata": {"name": "x"}, "spec": {"containers": []}});
/// let errors = xebec_machinery::validation::validate_create("", "v1", "Pod", &pod);
/// assert_eq!(errors[0].to_string(), "spec.containers: Required value");
/// ```
pub fn validate_create(group: &str, version: &str, kind: &str, object: &Value) -> Vec<FieldError> {
    let mut errors = standing(group, version, kind, object);
    if (group, kind) == ("", "Pod") {
        pod::create(object, &mut errors);
    }
    errors
}

/// What is wrong with an object, new or not.
pub(crate) fn standing(group: &str, version: &str, kind: &str, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    validate(group, version, kind, object, &mut errors);
    errors
}

/// What is wrong with an object that replaces another.
pub fn validate_update(group: &str, version: &str, kind: &str, old: &Value, new: &Value) -> Vec<FieldError> {
    let mut errors = standing(group, version, kind, new);
    match (group, kind) {
        ("", "Pod") => pod::update(old, new, &mut errors),
        ("", "Service") => service::update(old, new, &mut errors),
        ("discovery.k8s.io", "EndpointSlice") => endpoints::update_slice(old, new, &mut errors),
        ("", "Endpoints") if old.get("subsets") == new.get("subsets") => errors.clear(),
        ("", "ConfigMap") => config::update(old, new, &["data", "binaryData"], &mut errors),
        ("", "Secret") => config::update_secret(old, new, &mut errors),
        ("", "PersistentVolumeClaim") => claim::update(old, new, &mut errors),
        ("", "PersistentVolume") => storage::update_volume(old, new, &mut errors),
        ("storage.k8s.io", "StorageClass") => storage::update_class(old, new, &mut errors),
        ("scheduling.k8s.io", "PriorityClass") => claim::update_priority(old, new, &mut errors),
        ("apps", _) => workload::update(kind, old, new, &mut errors),
        ("networking.k8s.io", "IPAddress") => {
            errors.clear();
            address::update_ip_address(old, new, &mut errors);
        }
        ("networking.k8s.io", "ServiceCIDR") => {
            errors.clear();
            address::update_service_cidr(old, new, &mut errors);
        }
        ("batch", "Job") => workload::update_job(old, new, &mut errors),
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => {
            policy::update_binding(old, new, &mut errors);
        }
        _ => {}
    }
    errors
}

fn validate(group: &str, version: &str, kind: &str, object: &Value, errors: &mut Vec<FieldError>) {
    // Extension servers of upstream's validate their own kinds without this rule.
    if !matches!(group, "apiextensions.k8s.io" | "apiregistration.k8s.io") {
        config::finalizers(object.get("metadata").unwrap_or(&Value::Null), errors);
    }
    match (group, version, kind) {
        ("", "v1", "Pod") => pod::pod(object, errors),
        ("", "v1", "Service") => service::service(object, errors),
        ("", "v1", "Endpoints") => endpoints::endpoints(object, errors),
        ("discovery.k8s.io", "v1", "EndpointSlice") => endpoints::slice(object, errors),
        ("", "v1", "ConfigMap") => config::config_map(object, errors),
        ("", "v1", "Secret") => config::secret(object, errors),
        ("", "v1", "PersistentVolumeClaim") => claim::claim(object, errors),
        ("", "v1", "PersistentVolume") => storage::volume(object, errors),
        ("storage.k8s.io", "v1", "StorageClass") => storage::class(object, errors),
        ("scheduling.k8s.io", "v1", "PriorityClass") => claim::priority(object, errors),
        ("networking.k8s.io", "v1", "NetworkPolicy") => networking::network_policy(object, errors),
        ("", "v1", "Namespace") => config::namespace(object, errors),
        ("apps", "v1", _) => workload::workload(kind, object, errors),
        ("batch", "v1", "Job") => workload::job(object, errors),
        ("batch", "v1", "CronJob") => workload::cron_job(object, errors),
        ("rbac.authorization.k8s.io", "v1", "Role" | "ClusterRole") => policy::role(kind, object, errors),
        ("rbac.authorization.k8s.io", "v1", "RoleBinding" | "ClusterRoleBinding") => {
            policy::binding(kind, object, errors);
        }
        ("policy", "v1", "PodDisruptionBudget") => policy::disruption_budget(object, errors),
        ("autoscaling", "v2", "HorizontalPodAutoscaler") => policy::autoscaler(object, errors),
        ("networking.k8s.io", "v1", "IPAddress") => address::ip_address(object, errors),
        ("networking.k8s.io", "v1", "ServiceCIDR") => address::service_cidr(object, errors),
        ("networking.k8s.io", "v1", "Ingress") => networking::ingress(object, errors),
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
