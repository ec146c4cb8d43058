//! `pods/eviction`: a pod is deleted, unless that breaks what its PodDisruptionBudget promises.

use serde_json::{Value, json};
use xebec_admission::Operation;
use xebec_machinery::selector::LabelSelector;
use xebec_machinery::status::{Cause, Qualified, Reason, Status};
use xebec_store::ListRequest;

use crate::api::Api;
use crate::call::Call;
use crate::codec::Decoded;
use crate::delete::{DeleteOptions, check_preconditions};
use crate::key;
use crate::object::{self, at_path};
use crate::request::Verb;
use crate::storage::{self, is_conflict};
use crate::strategy::Part;
use crate::subresource::success;
use crate::write::Books;

const GROUP: &str = "policy";
const PLURAL: &str = "poddisruptionbudgets";
/// How often an eviction is tried again that met another write.
const ATTEMPTS: usize = 20;
/// How many evictions the disruption controller may be behind with.
const UNCONFIRMED: usize = 2_000;
/// What a client is told that may try again.
const VIOLATION: &str = "Cannot evict pod as it would violate the pod's disruption budget.";

impl Api {
    /// Deletes a pod as its eviction asks, if its disruption budget allows.
    pub async fn evict(&self, call: &Call, body: Decoded) -> Result<Value, Status> {
        if object::name(&body.object) != call.name() {
            return Err(Status::bad_request("name in URL does not match name in Eviction object"));
        }
        let eviction = self.admit(call, Operation::Create, body.object).await?;
        let options = DeleteOptions::of(call, eviction.get("deleteOptions"))?;
        let eviction = Eviction { api: self.clone(), call: call.clone(), options };
        // A budget that was charged is followed by the deletion.
        self.finish(eviction.run()).await?;
        Ok(success(201))
    }
}

struct Eviction {
    api: Api,
    call: Call,
    options: DeleteOptions,
}

impl Eviction {
    async fn run(self) -> Result<(), Status> {
        for _ in 0..ATTEMPTS {
            let call = &self.call;
            let pod = self.api.storage().get(&call.resource, call.namespace(), call.name())?.object;
            if !is_free(&pod) {
                return self.run_within_budget(&pod).await;
            }
            let mut options = self.options.clone();
            // A pod that begins to run in between counts.
            if text(&pod, ".status.phase") == "Pending" && !object::deleting(&pod) {
                self.pin(&mut options, &pod);
            }
            match self.delete(options).await {
                Err(status) if is_conflict(&status) && self.options.resource_version.is_none() => {}
                outcome => return outcome,
            }
        }
        Err(Status::modified(self.call.qualified(), self.call.name()))
    }

    async fn run_within_budget(&self, pod: &Value) -> Result<(), Status> {
        let budgets = self.budgets(pod)?;
        let budget = match budgets.as_slice() {
            [] => return self.delete(self.options.clone()).await,
            [budget] => budget,
            _ => {
                return Err(Status::new(
                    Reason::InternalError,
                    "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
                ));
            }
        };
        let name = object::name(budget);
        if !is_ready(pod) && lets_unready_go(budget) {
            // It counts for nothing as long as it is not ready.
            let mut options = self.options.clone();
            self.pin(&mut options, pod);
            return self.delete(options).await.map_err(|status| {
                let own = is_conflict(&status) && self.options.resource_version.is_none();
                if own { behind(name) } else { status }
            });
        }
        self.charge(name).await?;
        self.delete(self.options.clone()).await
    }

    /// The disruption budgets that speak of a pod.
    fn budgets(&self, pod: &Value) -> Result<Vec<Value>, Status> {
        let served = self.api.catalog().served();
        let Some(resource) = served.find(GROUP, PLURAL) else { return Ok(Vec::new()) };
        let prefix = key::prefix(GROUP, PLURAL, self.call.namespace());
        let list = ListRequest { prefix: &prefix, ..ListRequest::default() };
        let none = serde_json::Map::new();
        let labels = object::labels(pod).unwrap_or(&none);
        let mut found = Vec::new();
        for entry in self.api.storage().list(resource, &list)?.items {
            let budget = storage::decode(&entry)?.object;
            let selector = at_path(&budget, ".spec.selector").filter(|selector| !selector.is_null());
            let selector = selector.and_then(|selector| LabelSelector::from_object(selector).ok());
            if selector.is_some_and(|selector| selector.matches(labels)) {
                found.push(budget);
            }
        }
        Ok(found)
    }

    /// Takes one disruption off the budget, or says why there is none.
    async fn charge(&self, name: &str) -> Result<(), Status> {
        let served = self.api.catalog().served();
        let resource = served.find(GROUP, PLURAL).cloned().ok_or_else(Status::no_such_resource)?;
        let mut call = Call::own(resource, Verb::Update, self.call.namespace(), name);
        call.request.options.dry_run = self.options.dry_run;
        let (pod, now) = (self.call.name(), self.call.timestamp());
        let charged =
            self.api.change(&call, Part::Status, Books::Open, |budget| charged(budget, pod, &now)).await;
        match charged {
            Err(status) if is_conflict(&status) => {
                let mut late = Status::timeout(&format!(
                    "couldn't update PodDisruptionBudget {name:?} due to conflicts"
                ));
                late.details = Some(Box::new(xebec_machinery::status::Details {
                    retry_after_seconds: 10,
                    ..Default::default()
                }));
                Err(late)
            }
            outcome => outcome.map(drop),
        }
    }

    /// Has the deletion meet the pod as it was seen, unless the client says which one it means.
    fn pin(&self, options: &mut DeleteOptions, pod: &Value) {
        if options.resource_version.is_none() {
            options.resource_version = Some(object::meta(pod, "resourceVersion").to_owned());
        }
    }

    /// Deletes the pod, which says before why it goes.
    async fn delete(&self, mut options: DeleteOptions) -> Result<(), Status> {
        if !options.dry_run {
            let now = self.call.timestamp();
            let marked = |old: &Value| {
                check_preconditions(&self.call, &options, old)?;
                let mut new = old.clone();
                let condition = json!({
                    "type": "DisruptionTarget",
                    "status": "True",
                    "reason": "EvictionByEvictionAPI",
                    "message": "Eviction API: evicting",
                });
                object::set_condition(&mut new, condition, &now);
                Ok(new)
            };
            let pod = self.api.change(&self.call, Part::Status, Books::Open, marked).await?;
            if options.resource_version.is_some() {
                options.resource_version = Some(object::meta(&pod.object, "resourceVersion").to_owned());
            }
        }
        // That the pod goes was admitted with its eviction.
        self.api.delete_admitted(&self.call, &options).await.map(drop)
    }
}

/// Whether a pod may go whatever the budgets say: it does not run, or no longer, or is on its way out.
fn is_free(pod: &Value) -> bool {
    matches!(text(pod, ".status.phase"), "Succeeded" | "Failed" | "Pending") || object::deleting(pod)
}

fn is_ready(pod: &Value) -> bool {
    condition(pod, "Ready").is_some_and(|ready| ready.get("status").is_some_and(|status| status == "True"))
}

/// Whether pods that are not ready may go (`unhealthyPodEvictionPolicy`).
fn lets_unready_go(budget: &Value) -> bool {
    let (healthy, desired) = (count(budget, "currentHealthy"), count(budget, "desiredHealthy"));
    text(budget, ".spec.unhealthyPodEvictionPolicy") == "AlwaysAllow" || healthy >= desired && desired > 0
}

/// The budget with one disruption less, for this pod.
fn charged(budget: &Value, pod: &str, now: &str) -> Result<Value, Status> {
    let name = object::name(budget);
    let forbidden =
        |why: &str| Err(Status::forbidden(Qualified::new(GROUP, "poddisruptionbudget"), name, why));
    let generation = at_path(budget, ".metadata.generation").and_then(Value::as_i64).unwrap_or(0);
    if count(budget, "observedGeneration") < generation {
        return Err(behind(name));
    }
    let allowed = count(budget, "disruptionsAllowed");
    if allowed < 0 {
        return forbidden("pdb disruptions allowed is negative");
    }
    let unconfirmed = at_path(budget, ".status.disruptedPods").and_then(Value::as_object);
    if unconfirmed.is_some_and(|pods| pods.len() > UNCONFIRMED) {
        return forbidden("DisruptedPods map too big - too many evictions not confirmed by PDB controller");
    }
    if allowed == 0 {
        return Err(violation(0, why_none(budget)));
    }
    let mut new = budget.clone();
    let status = object::section_mut(&mut new, "status");
    status.insert("disruptionsAllowed".to_owned(), (allowed - 1).into());
    let disrupted = status.entry("disruptedPods").or_insert_with(|| json!({}));
    if !disrupted.is_object() {
        *disrupted = json!({});
    }
    disrupted[pod] = now.into();
    if allowed == 1 {
        let condition = json!({
            "type": "DisruptionAllowed",
            "status": "False",
            "reason": "InsufficientPods",
            "message": "",
            "observedGeneration": count(budget, "observedGeneration"),
        });
        object::set_condition(&mut new, condition, now);
    }
    Ok(new)
}

/// Why a budget allows no disruption, in upstream's words.
fn why_none(budget: &Value) -> String {
    let name = object::name(budget);
    let told = condition(budget, "DisruptionAllowed").filter(|told| text(told, ".status") == "False");
    let told = told.map(|told| (text(told, ".reason"), text(told, ".message")));
    let told = told.filter(|(_, message)| !message.is_empty());
    let (healthy, desired) = (count(budget, "currentHealthy"), count(budget, "desiredHealthy"));
    let open = format!("The disruption budget {name} does not allow evicting pods currently");
    match told {
        Some(("SyncFailed", message)) => format!("{open} because it failed sync: {message}"),
        _ if healthy <= desired => {
            format!("The disruption budget {name} needs {desired} healthy pods and has {healthy} currently")
        }
        Some((reason, message)) => format!("{open} ({reason}): {message}"),
        None => open,
    }
}

/// The budget is not up to date; it will be.
fn behind(name: &str) -> Status {
    violation(10, format!("The disruption budget {name} is still being processed by the server."))
}

fn violation(retry_after_seconds: u32, message: String) -> Status {
    let mut status = Status::too_many_requests(VIOLATION, retry_after_seconds);
    let cause = Cause { reason: "DisruptionBudget".to_owned(), message, field: String::new() };
    status.details.get_or_insert_default().causes.push(cause);
    status
}

fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    at_path(object, path).and_then(Value::as_str).unwrap_or_default()
}

fn count(budget: &Value, field: &str) -> i64 {
    budget.get("status").and_then(|status| status.get(field)).and_then(Value::as_i64).unwrap_or(0)
}

fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = at_path(object, ".status.conditions")?.as_array()?;
    conditions.iter().find(|condition| text(condition, ".type") == kind)
}
