//! Containers of a pod.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::{
    environment, given, invalid, list, mount, names, number, one_of, probe, required, resources, security,
    text,
};
use crate::field::{FieldError, Path};
use crate::metadata::dns_label;

const MESSAGE_POLICIES: [&str; 2] = ["File", "FallbackToLogsOnError"];
const PULL_POLICIES: [&str; 3] = ["Always", "IfNotPresent", "Never"];
const PROTOCOLS: [&str; 3] = ["SCTP", "TCP", "UDP"];
const RESTARTS: [&str; 3] = ["Always", "Never", "OnFailure"];
const ACTIONS: [&str; 2] = ["Restart", "RestartAllContainers"];
const RULES_MAX: usize = 20;
const CODES_MAX: usize = 255;
const NOT_EPHEMERAL: &str = "cannot be set for an Ephemeral Container";
/// The fields that a container which joins a pod later does not have, in the order of upstream's type.
const LASTING: [&str; 9] = [
    "ports",
    "resources",
    "resizePolicy",
    "restartPolicy",
    "restartPolicyRules",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
];

/// All containers of a pod, and what they share.
pub(super) struct Containers<'a> {
    spec: &'a Value,
    /// The volumes by name.
    volumes: HashMap<&'a str, &'a Value>,
    /// The names of the claims of devices.
    claims: Vec<&'a str>,
}

impl<'a> Containers<'a> {
    pub(super) fn new(spec: &'a Value, volumes: HashMap<&'a str, &'a Value>) -> Self {
        Self { spec, volumes, claims: resources::names_of_claims(spec) }
    }

    pub(super) fn check(&self, path: &Path<'_>, errors: &mut Vec<FieldError>) {
        let all = list(self.spec, "containers");
        let inner = path.child("containers");
        if all.is_empty() {
            errors.push(FieldError::required(&inner, ""));
        }
        for (at, container) in all.iter().enumerate() {
            let path = inner.index(at);
            self.container(container, &path, errors);
            let name = text(container, "name");
            if all[..at].iter().any(|other| text(other, "name") == name) {
                errors.push(FieldError::duplicate(&path.child("name"), name));
            }
            probe::probes(container, self.spec, &path, errors);
            restarts(container, &path, errors);
        }
        let mut host_ports = HashSet::new();
        for (at, container) in all.iter().enumerate() {
            unique_host_ports(container, &mut host_ports, &inner.index(at), errors);
        }
        self.first(&path.child("initContainers"), errors);
        self.later(&path.child("ephemeralContainers"), errors);
    }

    /// Those that go before the others.
    fn first(&self, inner: &Path<'_>, errors: &mut Vec<FieldError>) {
        let mut seen: HashSet<&str> =
            list(self.spec, "containers").iter().map(|own| text(own, "name")).collect();
        for (at, container) in list(self.spec, "initContainers").iter().enumerate() {
            let path = inner.index(at);
            self.container(container, &path, errors);
            if given(container, "restartPolicy").is_some()
                || !list(container, "restartPolicyRules").is_empty()
            {
                restarts(container, &path, errors);
            }
            let name = text(container, "name");
            if seen.contains(name) {
                errors.push(FieldError::duplicate(&path.child("name"), name));
            } else if !name.is_empty() {
                seen.insert(name);
            }
            // The ports of one that goes before the others are its own, and upstream counts it as the first.
            unique_host_ports(container, &mut HashSet::new(), &inner.index(0), errors);
            if text(container, "restartPolicy") == "Always" {
                probe::probes(container, self.spec, &path, errors);
                continue;
            }
            for name in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
                if given(container, name).is_some() {
                    let why = "may not be set for init containers without restartPolicy=Always";
                    errors.push(FieldError::forbidden(&path.child(name), why));
                }
            }
            let resize = path.child("resizePolicy");
            for (at, policy) in list(container, "resizePolicy").iter().enumerate() {
                if text(policy, "restartPolicy") == "RestartContainer" {
                    let path = resize.index(at);
                    let why = "must not be set to 'RestartContainer' for non-sidecar initContainers";
                    errors.push(FieldError::invalid(&path.child("restartPolicy"), "RestartContainer", why));
                }
            }
        }
    }

    /// Those that join a pod which runs.
    fn later(&self, inner: &Path<'_>, errors: &mut Vec<FieldError>) {
        let others: HashSet<&str> = ["containers", "initContainers"]
            .into_iter()
            .flat_map(|kind| list(self.spec, kind))
            .map(|own| text(own, "name"))
            .collect();
        let mut seen = others.clone();
        for (at, container) in list(self.spec, "ephemeralContainers").iter().enumerate() {
            let path = inner.index(at);
            self.container(container, &path, errors);
            trimmed_image(container, &path, errors);
            let name = text(container, "name");
            if !seen.insert(name) {
                errors.push(FieldError::duplicate(&path.child("name"), name));
            }
            let target = text(container, "targetContainerName");
            if !target.is_empty() && !others.contains(target) {
                errors.push(FieldError::not_found(&path.child("targetContainerName"), target));
            }
            for key in LASTING {
                let is_set = |value: &Value| match value {
                    Value::Array(list) => !list.is_empty(),
                    Value::Object(map) => key != "resources" || !map.is_empty(),
                    _ => true,
                };
                if given(container, key).is_some_and(is_set) {
                    errors.push(FieldError::forbidden(&path.child(key), NOT_EPHEMERAL));
                }
            }
            let inner = path.child("volumeMounts");
            for (at, mount) in list(container, "volumeMounts").iter().enumerate() {
                let path = inner.index(at);
                for key in ["subPath", "subPathExpr"] {
                    if !text(mount, key).is_empty() {
                        errors.push(FieldError::forbidden(&path.child(key), NOT_EPHEMERAL));
                    }
                }
            }
        }
    }

    fn container(&self, container: &'a Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
        if required(container, "name", path, errors) {
            let name = text(container, "name");
            invalid(&path.child("name"), name, dns_label(name), errors);
        }
        required(container, "image", path, errors);
        one_of(container, "terminationMessagePolicy", &MESSAGE_POLICIES, path, errors);
        ports(container, path, errors);
        environment::env(container, path, errors);
        environment::env_from(container, path, errors);
        mount::mounts(container, &self.volumes, path, errors);
        mount::devices(container, &self.volumes, path, errors);
        one_of(container, "imagePullPolicy", &PULL_POLICIES, path, errors);
        resources::resources(container, &self.claims, path, errors);
        resize(container, text(self.spec, "restartPolicy"), path, errors);
        if let Some(context) = given(container, "securityContext") {
            security::of_container(context, self.spec, &path.child("securityContext"), errors);
        }
    }
}

fn ports(container: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
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
        let [own, host] = ["containerPort", "hostPort"].map(|key| number(port, key).unwrap_or_default());
        if own == 0 {
            errors.push(FieldError::required(&path.child("containerPort"), ""));
        }
        for (key, value) in [("containerPort", own), ("hostPort", host)] {
            if value != 0 && !(1..=65535).contains(&value) {
                errors.push(FieldError::invalid(&path.child(key), value, names::PORT));
            }
        }
        if required(port, "protocol", &path, errors) {
            one_of(port, "protocol", &PROTOCOLS, &path, errors);
        }
    }
}

/// When a container of its own is started again, beside what the pod says.
fn restarts(container: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let rules = list(container, "restartPolicyRules");
    let place = path.child("restartPolicy");
    match container.get("restartPolicy").and_then(Value::as_str) {
        None if rules.is_empty() => return,
        None => {
            let why = "must specify restartPolicy when restart rules are used";
            errors.push(FieldError::required(&place, why));
        }
        Some(policy) if !RESTARTS.contains(&policy) => {
            errors.push(FieldError::not_supported(&place, policy, &RESTARTS));
        }
        Some(_) => {}
    }
    let path = path.child("restartPolicyRules");
    if rules.len() > RULES_MAX {
        errors.push(FieldError::too_many(&path, rules.len(), RULES_MAX));
    }
    for (at, rule) in rules.iter().enumerate() {
        let path = path.index(at);
        let action = text(rule, "action");
        if !ACTIONS.contains(&action) {
            errors.push(FieldError::not_supported(&path.child("action"), action, &ACTIONS));
        }
        let path = path.child("exitCodes");
        let Some(codes) = given(rule, "exitCodes") else {
            errors.push(FieldError::required(&path, "must be specified"));
            continue;
        };
        let operator = text(codes, "operator");
        if !matches!(operator, "In" | "NotIn") {
            errors.push(FieldError::not_supported(&path.child("operator"), operator, &["In", "NotIn"]));
        }
        let count = list(codes, "values").len();
        if count > CODES_MAX {
            errors.push(FieldError::too_many(&path.child("values"), count, CODES_MAX));
        }
    }
}

/// Whether a change of amounts needs a new start.
fn resize(container: &Value, restart: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let path = path.child("resizePolicy");
    let all = list(container, "resizePolicy");
    for (at, policy) in all.iter().enumerate() {
        let name = text(policy, "resourceName");
        if all[..at].iter().any(|other| text(other, "resourceName") == name) {
            errors.push(FieldError::duplicate(&path.index(at), name));
        }
        let own = text(policy, "restartPolicy");
        for (value, known) in [(name, ["cpu", "memory"]), (own, ["NotRequired", "RestartContainer"])] {
            if value.is_empty() {
                errors.push(FieldError::required(&path, ""));
            } else if !known.contains(&value) {
                errors.push(FieldError::not_supported(&path, value, &known));
            }
        }
        if restart == "Never" && own != "NotRequired" {
            let why = "must be 'NotRequired' when pod `restartPolicy` is 'Never'";
            errors.push(FieldError::invalid(&path, own, why));
        }
    }
}

/// The image of a pod, other than that of a template, has no blanks around it.
pub(super) fn trimmed_image(container: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let image = text(container, "image");
    if image.trim() != image {
        let why = "must not have leading or trailing whitespace";
        errors.push(FieldError::invalid(&path.child("image"), image, why));
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
