//! Policies that change.

use std::sync::atomic::AtomicU64;

use serde_json::Value;
use xebec_expressions::{OBJECT_BUDGET, Value as Cel};
use xebec_machinery::patch;
use xebec_machinery::status::{Cause, Foreign, Status};

use super::definition::{Binding, Definition};
use super::parameters::Fault;
use super::validating::evaluate;
use super::{Bound, Policies};
use crate::expression::{Expression, Knowledge};
use crate::matching::{Seen, is_exempt};
use crate::object;
use crate::passes::Passes;
use crate::request::Request;
use crate::stage::{Case, Mutation, Outcome, later, now};
use crate::webhook::shown;

const NAME: &str = "MutatingAdmissionPolicy";

/// The stage.
pub(crate) struct MutatingPolicies(Policies<Changes>);

/// What a policy changes.
pub(crate) struct Changes {
    all: Vec<Change>,
    /// Whether it runs again where others changed the object after it.
    again: bool,
}

enum Change {
    /// What is to be, as server-side apply has it.
    Apply(Expression),
    /// The operations of a JSON patch.
    Patch(Expression),
    /// Nothing that is known here.
    Unknown(String),
}

impl Default for MutatingPolicies {
    fn default() -> Self {
        let (policies, bindings) = ("mutatingadmissionpolicies", "mutatingadmissionpolicybindings");
        Self(Policies::of(policies, bindings, Changes::compile))
    }
}

impl Changes {
    fn compile(policy: &Value, definition: &Definition) -> Self {
        let environment = definition.environment(true, true);
        let change = |change: &Value| {
            let text = |field: &str| object::text(change, &[field, "expression"]);
            match object::text(change, &["patchType"]) {
                "ApplyConfiguration" => {
                    Change::Apply(definition.compile(text("applyConfiguration"), &environment, &["Object"]))
                }
                "JSONPatch" => Change::Patch(definition.compile(text("jsonPatch"), &environment, &["list"])),
                other => Change::Unknown(other.to_owned()),
            }
        };
        Self {
            all: object::list(policy, &["spec", "mutations"]).iter().map(change).collect(),
            again: object::text(policy, &["spec", "reinvocationPolicy"]) == "IfNeeded",
        }
    }
}

impl Mutation for MutatingPolicies {
    fn name(&self) -> &'static str {
        NAME
    }

    fn handles(&self, request: &Request) -> bool {
        !is_exempt(request)
    }

    fn mutate<'a>(&'a self, case: Case<'a>, object: &'a mut Value, passes: &'a Passes) -> Outcome<'a> {
        match self.0.now(case.world) {
            Ok(bound) if bound.is_empty() => now(Ok(())),
            Ok(bound) => later(async move {
                passes.enter(NAME, object);
                let outcome = change_all(case, &bound, object, passes).await;
                passes.leave(NAME, object);
                outcome
            }),
            Err(status) => now(Err(status)),
        }
    }
}

async fn change_all(
    case: Case<'_>,
    bound: &[Bound<Changes>],
    object: &mut Value,
    passes: &Passes,
) -> Result<(), Status> {
    let mut refusals = Vec::new();
    // Who is meant is judged by the object as it was when the policies had their turn.
    let first = object.clone();
    for policy in bound {
        let definition = &policy.definition;
        let mut refuse = |binding: Option<&Binding>, why: &str| {
            if definition.fails_open {
                return;
            }
            let name = &definition.name;
            refusals.push(match binding {
                Some(binding) => {
                    format!("policy '{name}' with binding '{}' denied request: {why}", binding.name)
                }
                None => format!("policy {name:?} denied request: {why}"),
            });
        };
        let seen = match definition.meant.find(case, &first, false) {
            Ok(Some(seen)) => seen,
            Ok(None) => continue,
            Err(status) => {
                refuse(None, &format!("failed to configure policy: {}", status.message));
                continue;
            }
        };
        for binding in &policy.bindings {
            let wrong = |why: &str| format!("failed to configure binding: {why}");
            match binding.meant.find(case, &first, true) {
                Ok(Some(_)) => {}
                Ok(None) => continue,
                Err(status) => {
                    refuse(Some(binding), &wrong(&status.message));
                    continue;
                }
            }
            let params = match definition.parameters(binding).find(case).await {
                Ok(params) => params,
                Err(Fault::Policy(why)) => {
                    refuse(None, &format!("failed to configure policy: {why}"));
                    continue;
                }
                Err(Fault::Binding(why)) => {
                    refuse(Some(binding), &wrong(&why));
                    continue;
                }
            };
            for param in &params {
                let key = format!(
                    "{}/{}/{}",
                    definition.name,
                    binding.name,
                    param.as_ref().map_or("", |param| object::meta(param, "uid"))
                );
                let param = param.as_deref().unwrap_or(&Value::Null);
                let param = definition.kind.is_some().then_some(param);
                let target = Target { seen: &seen, params: param };
                match run(case, policy, target, object, passes, &key).await {
                    Ok(()) => {}
                    Err(why) => refuse(Some(binding), &why),
                }
            }
        }
    }
    if refusals.is_empty() { Ok(()) } else { Err(refusal(case, object, refusals)) }
}

/// As what a policy sees the object, and with which parameter.
#[derive(Clone, Copy)]
struct Target<'a> {
    seen: &'a Seen,
    params: Option<&'a Value>,
}

/// Runs a policy once. What fails leaves the object as the changes before it made it.
async fn run(
    case: Case<'_>,
    policy: &Bound<Changes>,
    target: Target<'_>,
    object: &mut Value,
    passes: &Passes,
    key: &str,
) -> Result<(), String> {
    let before = object.clone();
    let told = |status: Status| status.message;
    let Target { seen, params } = target;
    {
        let (new, old) = shown(case, seen, object).await.map_err(told)?;
        let knowledge = Knowledge::gather(case, seen, &new, &old).map_err(told)?;
        if !policy.definition.applies(&knowledge, params)? {
            return Ok(());
        }
    }
    if !passes.has_turn(NAME, key) {
        return Ok(());
    }
    let mut outcome = Ok(());
    if !object.is_null() {
        for change in &policy.rules.all {
            match changed(case, policy, target, object, change).await {
                Ok(changed) => *object = changed,
                Err(why) => outcome = outcome.and(Err(why)),
            }
        }
    }
    passes.ran(NAME, key, *object != before, policy.rules.again);
    outcome
}

/// The object after one change.
async fn changed(
    case: Case<'_>,
    policy: &Bound<Changes>,
    Target { seen, params }: Target<'_>,
    object: &Value,
    change: &Change,
) -> Result<Value, String> {
    let told = |status: Status| status.message;
    let shown = shown(case, seen, object).await.map_err(told)?;
    let made = made(case, policy, Target { seen, params }, &shown, change)?;
    let mut changed = applied(case, seen, &shown.0, made, change)?;
    case.world.complete(&seen.kind, &mut changed)?;
    case.world.convert(&changed, &case.request.kind).await.map_err(told)
}

/// What a change makes of the new object and the old one, as the policy sees them: what is to be applied, or a patch.
fn made(
    case: Case<'_>,
    policy: &Bound<Changes>,
    Target { seen, params }: Target<'_>,
    (new, old): &(Value, Value),
    change: &Change,
) -> Result<Value, String> {
    let knowledge = Knowledge::gather(case, seen, new, old).map_err(|status| status.message)?;
    let base = knowledge.bindings(params, true, None);
    let spent = AtomicU64::new(0);
    let expression = match change {
        Change::Apply(expression) | Change::Patch(expression) => expression,
        Change::Unknown(kind) => return Err(format!("unsupported patch type {kind:?}")),
    };
    policy.definition.variables.with(&base, &spent, |variables| {
        let mut budget = OBJECT_BUDGET;
        let value = evaluate(expression, (&base, variables), &spent, &mut budget);
        let value = value.map_err(|failure| failure.to_string())?;
        match (&value, change) {
            (Cel::Map(_), Change::Apply(_)) | (Cel::List(_), Change::Patch(_)) => {}
            (other, Change::Apply(_)) => {
                let of = other.type_name();
                return Err(format!("unsupported return type from ApplyConfiguration expression: {of}"));
            }
            _ => {
                let why = "type mismatch: JSONPatchType.expression should evaluate to array";
                return Err(why.to_owned());
            }
        }
        value.to_json().ok_or_else(|| "the expression's value cannot be written as JSON".to_owned())
    })
}

/// The object with what was made for it.
fn applied(case: Case<'_>, seen: &Seen, new: &Value, made: Value, change: &Change) -> Result<Value, String> {
    if matches!(change, Change::Patch(_)) {
        let operations = serde_json::to_vec(&made).map_err(|error| error.to_string())?;
        return match patch::json(new, &operations) {
            Ok(changed) => Ok(changed),
            // A test that fails means that there is nothing to do.
            Err(patch::Error::Operation { index, .. }) if is_test(&made, index) => Ok(new.clone()),
            Err(error) => Err(format!("JSON Patch: {error}")),
        };
    }
    let mut applied = made;
    applied["apiVersion"] = seen.kind.api_version().into();
    applied["kind"] = seen.kind.kind.clone().into();
    let merged = case.world.merge(&seen.kind, new, &applied);
    merged.map_err(|why| format!("error applying patch: {why}"))
}

fn is_test(operations: &Value, index: usize) -> bool {
    operations.get(index).is_some_and(|operation| object::text(operation, &["op"]) == "test")
}

fn refusal(case: Case<'_>, object: &Value, refusals: Vec<String>) -> Status {
    let mut status = case.forbidden(object, "");
    status.message = refusals.first().cloned().unwrap_or_default();
    status.foreign = Some(Box::new(Foreign { code: 403, reason: "Invalid".to_owned() }));
    if let Some(details) = &mut status.details {
        let causes = refusals.into_iter().map(|message| Cause { message, ..Cause::default() });
        details.causes.extend(causes);
    }
    status
}
