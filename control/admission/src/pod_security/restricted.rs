//! The rules that the level `restricted` adds.

use std::collections::BTreeSet;

use serde_json::Value;

use super::baseline::confines;
use super::check::{Check, Pod, Rule, Setters, Verdict, containers, plural, quoted};
use crate::object;

/// The rules, in the order in which they are told.
pub(super) const RULES: &[Rule] = &[
    &[Check { since: 8, judge: privilege_escalation }, Check { since: 25, judge: but_on_windows::<0> }],
    &[Check { since: 22, judge: capabilities }, Check { since: 25, judge: but_on_windows::<1> }],
    &[Check { since: 0, judge: volumes }],
    &[Check { since: 0, judge: run_as_non_root }, Check { since: 35, judge: but_own_users::<0> }],
    &[Check { since: 23, judge: run_as_user }, Check { since: 35, judge: but_own_users::<1> }],
    &[Check { since: 19, judge: seccomp }, Check { since: 25, judge: but_on_windows::<2> }],
];

/// Kinds of volumes that pods may use.
const VOLUMES: [&str; 9] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

/// Rules that mean nothing on Windows.
fn but_on_windows<const RULE: usize>(pod: &Pod<'_>) -> Option<Verdict> {
    let rules = [privilege_escalation, capabilities, seccomp];
    if pod.is_windows() { None } else { rules[RULE](pod) }
}

/// Rules that mean nothing for pods whose users are nobody to the machine.
fn but_own_users<const RULE: usize>(pod: &Pod<'_>) -> Option<Verdict> {
    let rules = [run_as_non_root, run_as_user];
    if pod.has_own_users() { None } else { rules[RULE](pod) }
}

fn privilege_escalation(pod: &Pod<'_>) -> Option<Verdict> {
    let all = pod.containers();
    let all = all
        .filter(|container| container.security(&["allowPrivilegeEscalation"]) != Some(&Value::Bool(false)));
    let bad: Vec<&str> = all.map(|container| container.name).collect();
    if bad.is_empty() {
        return None;
    }
    let detail = format!("{} must set securityContext.allowPrivilegeEscalation=false", containers(&bad));
    Verdict::new("allowPrivilegeEscalation != false", detail)
}

fn capabilities(pod: &Pod<'_>) -> Option<Verdict> {
    let (mut keeping, mut adding, mut added) = (Vec::new(), Vec::new(), BTreeSet::new());
    for container in pod.containers() {
        if !container.capabilities("drop").any(|capability| capability == "ALL") {
            keeping.push(container.name);
        }
        let more: Vec<&str> =
            container.capabilities("add").filter(|capability| *capability != "NET_BIND_SERVICE").collect();
        if !more.is_empty() {
            adding.push(container.name);
            added.extend(more);
        }
    }
    let mut details = Vec::new();
    if !keeping.is_empty() {
        details
            .push(format!("{} must set securityContext.capabilities.drop=[\"ALL\"]", containers(&keeping)));
    }
    if !adding.is_empty() {
        let added = quoted(added);
        details.push(format!(
            "{} must not include {added} in securityContext.capabilities.add",
            containers(&adding)
        ));
    }
    if details.is_empty() { None } else { Verdict::new("unrestricted capabilities", details.join("; ")) }
}

fn volumes(pod: &Pod<'_>) -> Option<Verdict> {
    let (mut bad, mut kinds) = (Vec::new(), BTreeSet::new());
    for volume in object::list(pod.spec, &["volumes"]) {
        let mut fields = object::entries(volume, &[]).filter(|(_, value)| !value.is_null());
        let kind = fields.find(|(field, _)| *field != "name").map_or("unknown", |(field, _)| field);
        if !VOLUMES.contains(&kind) {
            bad.push(object::name_of(volume));
            kinds.insert(kind);
        }
    }
    if bad.is_empty() {
        return None;
    }
    let detail = format!(
        "{} {} {} {} {}",
        plural("volume", "volumes", bad.len()),
        quoted(&bad),
        plural("uses", "use", bad.len()),
        plural("restricted volume type", "restricted volume types", kinds.len()),
        quoted(kinds)
    );
    Verdict::new("restricted volume types", detail)
}

/// The containers that do not say themselves what the pod does not say for them.
fn silent<'a>(pod: &Pod<'a>, path: &[&str], says: impl Fn(&Value) -> bool) -> Vec<&'a str> {
    if pod.security(path).is_some_and(says) {
        return Vec::new();
    }
    let all = pod.containers().filter(|container| container.security(path).is_none());
    all.map(|container| container.name).collect()
}

fn run_as_non_root(pod: &Pod<'_>) -> Option<Verdict> {
    const REASON: &str = "runAsNonRoot != true";
    let path = &["runAsNonRoot"];
    let setters = Setters::find(pod, path, |value| *value == Value::Bool(false));
    if !setters.is_empty() {
        return Verdict::new(REASON, format!("{setters} must not set securityContext.runAsNonRoot=false"));
    }
    let silent = silent(pod, path, |value| *value == Value::Bool(true));
    if silent.is_empty() {
        return None;
    }
    let detail = format!("pod or {} must set securityContext.runAsNonRoot=true", containers(&silent));
    Verdict::new(REASON, detail)
}

fn run_as_user(pod: &Pod<'_>) -> Option<Verdict> {
    let setters = Setters::find(pod, &["runAsUser"], |value| *value == 0);
    if setters.is_empty() {
        None
    } else {
        Verdict::new("runAsUser=0", format!("{setters} must not set runAsUser=0"))
    }
}

fn seccomp(pod: &Pod<'_>) -> Option<Verdict> {
    const REASON: &str = "seccompProfile";
    let path = &["seccompProfile", "type"];
    let setters = Setters::find(pod, path, |kind| !confines(kind));
    if !setters.is_empty() {
        let values = quoted(&setters.values);
        let detail = format!("{setters} must not set securityContext.seccompProfile.type to {values}");
        return Verdict::new(REASON, detail);
    }
    let silent = silent(pod, path, confines);
    if silent.is_empty() {
        return None;
    }
    let detail = format!(
        "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
        containers(&silent)
    );
    Verdict::new(REASON, detail)
}
