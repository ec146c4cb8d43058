//! Containers of a pod.

use std::collections::HashSet;

use serde_json::Value;

use super::{environment, given, invalid, list, names, number, one_of, probe, required, resources, text};
use crate::field::{FieldError, Path};

const ID: &str = "must be between 0 and 2147483647, inclusive";

/// What all containers of a pod share.
pub(super) struct Containers<'a> {
    /// The names of the volumes.
    pub(super) volumes: HashSet<&'a str>,
    /// The names of the containers so far.
    names: HashSet<&'a str>,
    host_network: bool,
}

impl<'a> Containers<'a> {
    pub(super) fn new(spec: &'a Value) -> Self {
        Self {
            volumes: list(spec, "volumes").iter().map(|volume| text(volume, "name")).collect(),
            names: HashSet::new(),
            host_network: spec.get("hostNetwork").and_then(Value::as_bool).unwrap_or_default(),
        }
    }

    /// All containers of the pod.
    pub(super) fn check(&mut self, spec: &'a Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
        let all = list(spec, "containers");
        let inner = path.child("containers");
        if all.is_empty() {
            errors.push(FieldError::required(&inner, ""));
        }
        let mut host_ports = HashSet::new();
        for (at, container) in all.iter().enumerate() {
            self.container(container, &inner.index(at), errors);
            probe::probes(container, &inner.index(at), errors);
            unique_host_ports(container, &mut host_ports, &inner.index(at), errors);
        }
        let inner = path.child("initContainers");
        for (at, container) in list(spec, "initContainers").iter().enumerate() {
            let path = inner.index(at);
            self.container(container, &path, errors);
            // The ports of one that goes before the others are its own.
            unique_host_ports(container, &mut HashSet::new(), &path, errors);
            if text(container, "restartPolicy") == "Always" {
                probe::probes(container, &path, errors);
                continue;
            }
            for name in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
                if given(container, name).is_some() {
                    let why = "may not be set for init containers without restartPolicy=Always";
                    errors.push(FieldError::forbidden(&path.child(name), why));
                }
            }
        }
        let inner = path.child("ephemeralContainers");
        for (at, container) in list(spec, "ephemeralContainers").iter().enumerate() {
            self.container(container, &inner.index(at), errors);
        }
    }

    fn container(&mut self, container: &'a Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
        let name = text(container, "name");
        if required(container, "name", path, errors) {
            let path = path.child("name");
            invalid(&path, name, names::label(name), errors);
            if !self.names.insert(name) {
                errors.push(FieldError::duplicate(&path, name));
            }
        }
        required(container, "image", path, errors);
        let policies = ["File", "FallbackToLogsOnError"];
        one_of(container, "terminationMessagePolicy", &policies, path, errors);
        one_of(container, "imagePullPolicy", &["Always", "IfNotPresent", "Never"], path, errors);
        self.ports(container, path, errors);
        environment::env(container, path, errors);
        environment::env_from(container, path, errors);
        self.mounts(container, path, errors);
        resources::resources(container, path, errors);
        if let Some(context) = given(container, "securityContext") {
            security(context, &path.child("securityContext"), errors);
        }
    }

    fn ports(&self, container: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
        let path = path.child("ports");
        let mut names = HashSet::new();
        for (at, port) in list(container, "ports").iter().enumerate() {
            let path = path.index(at);
            let name = text(port, "name");
            if !name.is_empty() {
                let faults = names::port_name(name);
                if faults.is_empty() && !names.insert(name) {
                    errors.push(FieldError::duplicate(&path.child("name"), name));
                }
                invalid(&path.child("name"), name, faults, errors);
            }
            let own = number(port, "containerPort").unwrap_or_default();
            let host = number(port, "hostPort").unwrap_or_default();
            if own == 0 {
                errors.push(FieldError::required(&path.child("containerPort"), ""));
            }
            for (key, value) in [("containerPort", own), ("hostPort", host)] {
                if value != 0 && !(1..=65535).contains(&value) {
                    errors.push(FieldError::invalid(&path.child(key), value, names::PORT));
                }
            }
            if self.host_network && host != own {
                let why = "must match `containerPort` when `hostNetwork` is true";
                errors.push(FieldError::invalid(&path.child("hostPort"), host, why));
            }
            if required(port, "protocol", &path, errors) {
                one_of(port, "protocol", &["SCTP", "TCP", "UDP"], &path, errors);
            }
        }
    }

    fn mounts(&self, container: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
        let all = path.child("volumeMounts");
        let mut seen = HashSet::new();
        for (at, mount) in list(container, "volumeMounts").iter().enumerate() {
            let path = all.index(at);
            let (name, target) = (text(mount, "name"), text(mount, "mountPath"));
            required(mount, "name", &path, errors);
            if !self.volumes.contains(name) {
                errors.push(FieldError::not_found(&path.child("name"), name));
            }
            required(mount, "mountPath", &path, errors);
            if !seen.insert(target) {
                errors.push(FieldError::invalid(&path.child("mountPath"), target, "must be unique"));
            }
            for key in ["subPath", "subPathExpr"] {
                let value = text(mount, key);
                if !value.is_empty() {
                    relative(value, &all.child(key), errors);
                }
            }
            if !text(mount, "subPath").is_empty() && !text(mount, "subPathExpr").is_empty() {
                let why = "subPathExpr and subPath are mutually exclusive";
                errors.push(FieldError::invalid(&all.child("subPathExpr"), text(mount, "subPathExpr"), why));
            }
        }
    }
}

/// A path within a volume: relative, and it stays there.
pub(super) fn relative(value: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if value.starts_with('/') {
        errors.push(FieldError::invalid(path, value, "must be a relative path"));
    }
    no_back_steps(value, path, errors);
}

/// A path with no `..` among its steps.
pub(super) fn no_back_steps(value: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if value.split('/').any(|step| step == "..") {
        errors.push(FieldError::invalid(path, value, "must not contain '..'"));
    }
}

fn unique_host_ports(
    container: &Value,
    seen: &mut HashSet<String>,
    path: &Path<'_>,
    errors: &mut Vec<FieldError>,
) {
    let path = path.child("ports");
    for (at, port) in list(container, "ports").iter().enumerate() {
        let host = number(port, "hostPort").unwrap_or_default();
        if host != 0 {
            let claim = format!("{}/{}/{host}", text(port, "protocol"), text(port, "hostIP"));
            if seen.contains(&claim) {
                errors.push(FieldError::duplicate(&path.index(at).child("hostPort"), claim));
            } else {
                seen.insert(claim);
            }
        }
    }
}

/// Users and groups are numbers of 31 bits.
pub(super) fn identities(context: &Value, keys: &[&str], path: &Path<'_>, errors: &mut Vec<FieldError>) {
    for key in keys {
        if let Some(id) = number(context, key).filter(|id| i32::try_from(*id).is_err() || *id < 0) {
            errors.push(FieldError::invalid(&path.child(key), id, ID));
        }
    }
    let path = path.child("supplementalGroups");
    for (at, group) in list(context, "supplementalGroups").iter().enumerate() {
        if let Some(id) = group.as_i64().filter(|id| i32::try_from(*id).is_err() || *id < 0) {
            errors.push(FieldError::invalid(&path.index(at), id, ID));
        }
    }
}

fn security(context: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    identities(context, &["runAsUser", "runAsGroup"], path, errors);
    one_of(context, "procMount", &["Default", "Unmasked"], path, errors);
    let is = |key: &str, wanted: bool| context.get(key).and_then(Value::as_bool) == Some(wanted);
    if is("allowPrivilegeEscalation", false) && is("privileged", true) {
        let why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
        errors.push(FieldError::invalid(path, context.clone(), why));
    }
}
