//! `PodSecurity`: the Pod Security Standards, by the labels of namespaces.
//!
//! A namespace says which level pods must keep (`enforce`), which ones their clients are warned of (`warn`) and which ones
//! the audit log tells (`audit`), each in a version of the standards. Kinds that make pods are never refused, so that
//! their pods are; but their clients are warned.

mod baseline;
mod check;
mod policy;
mod restricted;

use std::collections::BTreeMap;

use serde_json::Value;
use xebec_machinery::status::{Qualified, Status};

use crate::object;
use crate::request::{Operation, Request};
use crate::stage::{Case, Outcome, Validation, now};
use check::{Pod, Verdict};
use policy::{Level, Policy};

/// How many of a namespace's pods are looked at when it becomes stricter.
const MOST_PODS: usize = 3000;
const PREFIX: &str = "pod-security.kubernetes.io/";
/// Parts of pods that say nothing of how they run.
const IGNORED: [&str; 8] = ["exec", "attach", "binding", "eviction", "log", "portforward", "proxy", "status"];

pub(crate) struct PodSecurity;

impl Validation for PodSecurity {
    fn name(&self) -> &'static str {
        "PodSecurity"
    }

    fn handles(&self, request: &Request) -> bool {
        matches!(request.operation, Operation::Create | Operation::Update)
            && (request.is_for("", "pods") && !IGNORED.contains(&&*request.subresource)
                || request.is_whole() && (request.is_for("", "namespaces") || template(request).is_some()))
    }

    fn validate<'a>(&'a self, case: Case<'a>, object: &'a Value) -> Outcome<'a> {
        now(if case.request.is_for("", "namespaces") {
            of_namespace(case, object)
        } else {
            of_pods(case, object)
        })
    }
}

/// Where a kind has the pods that it makes.
fn template(request: &Request) -> Option<&'static [&'static str]> {
    match (request.resource.group.as_str(), request.resource.name.as_str()) {
        ("", "podtemplates") => Some(&["template"]),
        ("", "replicationcontrollers")
        | ("apps", "replicasets" | "deployments" | "statefulsets" | "daemonsets")
        | ("batch", "jobs") => Some(&["spec", "template"]),
        ("batch", "cronjobs") => Some(&["spec", "jobTemplate", "spec", "template"]),
        _ => None,
    }
}

fn of_pods(case: Case<'_>, new: &Value) -> Result<(), Status> {
    let namespaces = case.world.all("", "namespaces")?;
    let labels = namespaces.get("", &case.request.namespace).and_then(|namespace| object::labels(namespace));
    let (policy, errors) = Policy::of(labels);
    let path = template(case.request);
    let is_pod = path.is_none();
    let is_idle = (!is_pod || policy.enforce.level == Level::Privileged)
        && policy.audit.level == Level::Privileged
        && policy.warn.level == Level::Privileged;
    if errors.is_empty() && is_idle {
        return Ok(());
    }
    if is_pod && case.old.is_some_and(|old| !is_significant(old, new)) {
        return Ok(());
    }
    let Some(pod) = object::at(new, path.unwrap_or_default()) else { return Ok(()) };
    if let Some(error) = errors.first() {
        case.notes.annotate(format!("{PREFIX}error"), format!("Failed to parse policy: {error}"));
    }
    let pod = Pod::new(pod);
    if is_pod {
        let broken = pod.judge(policy.enforce);
        case.notes.annotate(format!("{PREFIX}enforce-policy"), policy.enforce.to_string());
        if !broken.is_empty() {
            let why = format!("violates PodSecurity \"{}\": {}", policy.enforce, details(&broken));
            return Err(case.forbidden(new, &why));
        }
    }
    let would = |standard: policy::Standard| {
        let broken = pod.judge(standard);
        (!broken.is_empty())
            .then(|| format!("would violate PodSecurity \"{standard}\": {}", details(&broken)))
    };
    if let Some(text) = would(policy.audit) {
        case.notes.annotate(format!("{PREFIX}audit-violations"), text);
    }
    if let Some(text) = would(policy.warn) {
        case.notes.warn(text);
    }
    Ok(())
}

fn details(broken: &[Verdict]) -> String {
    broken.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Whether a change of a pod could matter: most of a pod never changes.
fn is_significant(old: &Value, new: &Value) -> bool {
    let annotations = |pod: &Value| -> Vec<(String, Value)> {
        let all = object::entries(pod, &["metadata", "annotations"]);
        let minds =
            |key: &str| key.contains("seccomp.security.alpha") || key.contains("apparmor.security.beta");
        all.filter(|(key, _)| minds(key)).map(|(key, value)| (key.to_owned(), value.clone())).collect()
    };
    let images = |pod: &Value| -> Vec<String> {
        let of = |field| object::list(pod, &["spec", field]).iter();
        let both = of("containers").chain(of("initContainers"));
        both.map(|container| object::text(container, &["image"]).to_owned()).collect()
    };
    annotations(old) != annotations(new)
        || images(old) != images(new)
        || object::list(old, &["spec", "ephemeralContainers"])
            != object::list(new, &["spec", "ephemeralContainers"])
}

/// The labels must be ones that can be understood, and whoever makes them stricter is told of the pods that are there.
fn of_namespace(case: Case<'_>, new: &Value) -> Result<(), Status> {
    let (policy, errors) = Policy::of(object::labels(new));
    let (before, old_errors) = Policy::of(case.old.and_then(object::labels));
    if !errors.is_empty() && (case.old.is_none() || errors != old_errors) {
        return Err(Status::invalid(Qualified::new("", "Namespace"), object::name(new), &errors));
    }
    let (now, then) = (policy.enforce, before.enforce);
    let is_stricter = now != then
        && now.level != Level::Privileged
        && !(now.version == then.version && now.level <= then.level);
    if case.old.is_none() || !is_stricter {
        return Ok(());
    }
    let pods = case.world.list("", "pods", object::name(new))?;
    let mut found: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for pod in pods.iter().take(MOST_PODS) {
        let broken = Pod::new(pod).judge(now);
        if !broken.is_empty() {
            let reasons: Vec<_> = broken.iter().map(|verdict| verdict.reason.as_str()).collect();
            found.entry(reasons.join(", ")).or_default().push(object::name(pod));
        }
    }
    if pods.len() > MOST_PODS {
        let count = pods.len();
        case.notes.warn(format!(
            "new PodSecurity enforce level only checked against the first {MOST_PODS} of {count} existing pods"
        ));
    }
    if !found.is_empty() {
        let name = object::name(new);
        case.notes.warn(format!(
            "existing pods in namespace \"{name}\" violate the new PodSecurity enforce level \"{now}\""
        ));
    }
    let mut warnings: Vec<String> = found
        .into_iter()
        .map(|(reasons, mut names)| {
            names.sort_unstable();
            match names.as_slice() {
                [only] => format!("{only}: {reasons}"),
                [first, _] => format!("{first} (and 1 other pod): {reasons}"),
                all => format!("{} (and {} other pods): {reasons}", all[0], all.len() - 1),
            }
        })
        .collect();
    warnings.sort();
    warnings.into_iter().for_each(|warning| case.notes.warn(warning));
    Ok(())
}

#[cfg(test)]
mod tests;
