//! `ServiceAccount`: the account that a pod runs as, its token in a volume, and what it may pull and mount.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;
use xebec_machinery::metadata;
use xebec_machinery::status::{Qualified, Status};

use crate::object;
use crate::passes::Passes;
use crate::request::{Operation, Request};
use crate::stage::{Case, Mutation, Outcome, Validation, later, now};

const DEFAULT: &str = "default";
const VOLUME: &str = "kube-api-access-";
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const MIRROR: &str = "kubernetes.io/config.mirror";
const ENFORCE: &str = "kubernetes.io/enforce-mountable-secrets";
/// Asked for a token of an hour and seven seconds, the API gives one that is good for a year, and says when to renew it.
const SECONDS: u32 = 3607;
/// A namespace gets its default account soon after it is made: how often, and at what intervals, one waits for that.
const ATTEMPTS: usize = 10;
const INTERVAL: Duration = Duration::from_millis(100);

pub(crate) struct ServiceAccount;

fn minds(request: &Request) -> bool {
    request.is_for("", "pods")
        && match request.operation {
            Operation::Create => request.is_whole(),
            Operation::Update => request.subresource == "ephemeralcontainers",
            _ => false,
        }
}

impl Mutation for ServiceAccount {
    fn name(&self) -> &'static str {
        "ServiceAccount"
    }

    fn handles(&self, request: &Request) -> bool {
        minds(request) && request.operation == Operation::Create
    }

    fn mutate<'a>(&'a self, case: Case<'a>, object: &'a mut Value, _passes: &'a Passes) -> Outcome<'a> {
        if is_mirror(object) {
            return now(judge_mirror(case, object));
        }
        if object::text(object, &["spec", "serviceAccountName"]).is_empty() {
            object::set(object, &["spec", "serviceAccountName"], DEFAULT.into());
        }
        let name = object::text(object, &["spec", "serviceAccountName"]).to_owned();
        match find(case, &name) {
            Ok(Some(account)) => now(inject(case, &account, object)),
            Ok(None) if name == DEFAULT => later(async move {
                let account = wait_for_default(case, object).await?;
                inject(case, &account, object)
            }),
            Ok(None) => now(Err(missing(case, object, &name))),
            Err(status) => now(Err(status)),
        }
    }
}

impl Validation for ServiceAccount {
    fn name(&self) -> &'static str {
        "ServiceAccount"
    }

    fn handles(&self, request: &Request) -> bool {
        minds(request)
    }

    fn validate<'a>(&'a self, case: Case<'a>, object: &'a Value) -> Outcome<'a> {
        now(judge(case, object))
    }
}

fn is_mirror(pod: &Value) -> bool {
    object::annotation(pod, MIRROR).is_some()
}

fn find(case: Case<'_>, name: &str) -> Result<Option<Arc<Value>>, Status> {
    case.world.find("", "serviceaccounts", &case.request.namespace, name)
}

async fn wait_for_default(case: Case<'_>, pod: &Value) -> Result<Arc<Value>, Status> {
    for _ in 1..ATTEMPTS {
        tokio::time::sleep(INTERVAL).await;
        if let Some(account) = find(case, DEFAULT)? {
            return Ok(account);
        }
    }
    Err(missing(case, pod, DEFAULT))
}

fn missing(case: Case<'_>, pod: &Value, name: &str) -> Status {
    let why = Status::not_found(Qualified::new("", "serviceaccount"), name);
    let namespace = &case.request.namespace;
    case.forbidden(pod, &format!("error looking up service account {namespace}/{name}: {why}"))
}

fn inject(case: Case<'_>, account: &Value, pod: &mut Value) -> Result<(), Status> {
    let mounts = |of: &Value, path: &[&str]| object::at(of, path).and_then(Value::as_bool);
    let own = mounts(pod, &["spec", "automountServiceAccountToken"]);
    if own.or_else(|| mounts(account, &["automountServiceAccountToken"])).unwrap_or(true) {
        mount(pod);
    }
    if object::list(pod, &["spec", "imagePullSecrets"]).is_empty() {
        let secrets: Vec<Value> =
            names(account, "imagePullSecrets").map(|name| json!({"name": name})).collect();
        if !secrets.is_empty() {
            object::set(pod, &["spec", "imagePullSecrets"], secrets.into());
        }
    }
    limit(case, account, pod)
}

/// Mounts the account's token in each container that has nothing in that place.
fn mount(pod: &mut Value) {
    let volumes = object::list(pod, &["spec", "volumes"]).iter().map(object::name_of);
    let there = volumes.into_iter().find(|name| name.starts_with(VOLUME)).map(str::to_owned);
    let is_there = there.is_some();
    let name = there.unwrap_or_else(|| {
        let chance = Uuid::new_v4();
        metadata::generate_name(
            VOLUME,
            u64::from_le_bytes(chance.as_bytes()[..8].try_into().unwrap_or_default()),
        )
    });
    let mut is_needed = false;
    for field in ["initContainers", "containers"] {
        if object::list(pod, &["spec", field]).is_empty() {
            continue;
        }
        for container in object::list_mut(pod, &["spec", field]) {
            let mounts = object::list(container, &["volumeMounts"]);
            if mounts.iter().any(|mount| object::text(mount, &["mountPath"]) == MOUNT_PATH) {
                continue;
            }
            let mount = json!({"name": name, "readOnly": true, "mountPath": MOUNT_PATH});
            object::list_mut(container, &["volumeMounts"]).push(mount);
            is_needed = true;
        }
    }
    if is_needed && !is_there {
        object::list_mut(pod, &["spec", "volumes"]).push(volume(&name));
    }
}

fn volume(name: &str) -> Value {
    json!({
        "name": name,
        "projected": {
            "defaultMode": 0o644,
            "sources": [
                {"serviceAccountToken": {"path": "token", "expirationSeconds": SECONDS}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {"downwardAPI": {"items": [{
                    "path": "namespace",
                    "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
                }]}},
            ],
        },
    })
}

fn judge(case: Case<'_>, pod: &Value) -> Result<(), Status> {
    if is_mirror(pod) && case.request.operation == Operation::Create {
        return judge_mirror(case, pod);
    }
    let name = object::text(pod, &["spec", "serviceAccountName"]);
    if name.is_empty() {
        let place = format!("{}/{}", case.request.namespace, object::name(pod));
        return Err(case.forbidden(pod, &format!("no service account specified for pod {place}")));
    }
    let account = find(case, name)?.ok_or_else(|| missing(case, pod, name))?;
    limit(case, &account, pod)
}

/// A pod that only mirrors what a node runs of its own gets nothing from the API.
fn judge_mirror(case: Case<'_>, pod: &Value) -> Result<(), Status> {
    let refuse = |why: &str| Err(case.forbidden(pod, why));
    if !object::text(pod, &["spec", "serviceAccountName"]).is_empty() {
        return refuse("a mirror pod may not reference service accounts");
    }
    let volumes = object::list(pod, &["spec", "volumes"]);
    let has_secret = volumes.iter().any(|volume| object::at(volume, &["secret"]).is_some())
        || !object::list(pod, &["spec", "imagePullSecrets"]).is_empty()
        || CONTAINERS.iter().any(|(field, _)| {
            object::list(pod, &["spec", field]).iter().any(|container| !secrets(container, "").is_empty())
        });
    if has_secret {
        return refuse("a mirror pod may not reference secrets");
    }
    let mut sources = volumes.iter().flat_map(|volume| object::list(volume, &["projected", "sources"]));
    if sources.any(|source| object::at(source, &["serviceAccountToken"]).is_some()) {
        return refuse("a mirror pod may not use ServiceAccountToken volume projections");
    }
    Ok(())
}

const CONTAINERS: [(&str, &str); 3] = [
    ("initContainers", "init container"),
    ("containers", "container"),
    ("ephemeralContainers", "ephemeral container"),
];

/// The secrets that a container takes its environment from, with where it says so.
fn secrets<'a>(container: &'a Value, title: &str) -> Vec<(String, &'a str)> {
    let name = object::name_of(container);
    let mut found = Vec::new();
    for variable in object::list(container, &["env"]) {
        if let Some(reference) = object::at(variable, &["valueFrom", "secretKeyRef"]) {
            let place = format!("{title} {name} with envVar {}", object::name_of(variable));
            found.push((place, object::name_of(reference)));
        }
    }
    for source in object::list(container, &["envFrom"]) {
        if let Some(reference) = object::at(source, &["secretRef"]) {
            found.push((format!("{title} {name} with envFrom"), object::name_of(reference)));
        }
    }
    found
}

fn names<'a>(account: &'a Value, field: &str) -> impl Iterator<Item = &'a str> {
    object::list(account, &[field]).iter().map(object::name_of)
}

/// Where the account says so, its pods use the secrets that it names and no others.
fn limit(case: Case<'_>, account: &Value, pod: &Value) -> Result<(), Status> {
    let enforced = object::annotation(account, ENFORCE);
    if !enforced.is_some_and(|text| matches!(text, "1" | "t" | "T" | "true" | "TRUE" | "True")) {
        return Ok(());
    }
    let own = object::name(account);
    let refuse = |what: String, which: &str| {
        let why =
            format!("{what} is not allowed because service account {own} does not reference that {which}");
        Err(case.forbidden(pod, &why))
    };
    let is_known = |secret: &str| names(account, "secrets").any(|known| known == secret);
    let only_ephemeral = case.request.operation == Operation::Update;
    for volume in object::list(pod, &["spec", "volumes"]).iter().filter(|_| !only_ephemeral) {
        let secret = object::text(volume, &["secret", "secretName"]);
        if object::at(volume, &["secret"]).is_some() && !is_known(secret) {
            return refuse(format!("volume with secret.secretName=\"{secret}\""), "secret");
        }
    }
    for (field, title) in CONTAINERS {
        if only_ephemeral != (field == "ephemeralContainers") {
            continue;
        }
        for container in object::list(pod, &["spec", field]) {
            for (place, secret) in secrets(container, title) {
                if !is_known(secret) {
                    return refuse(format!("{place} referencing secret.secretName=\"{secret}\""), "secret");
                }
            }
        }
    }
    for (index, secret) in object::list(pod, &["spec", "imagePullSecrets"]).iter().enumerate() {
        let name = object::name_of(secret);
        if !only_ephemeral && !names(account, "imagePullSecrets").any(|known| known == name) {
            return refuse(format!("imagePullSecrets[{index}].name=\"{name}\""), "imagePullSecret");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
