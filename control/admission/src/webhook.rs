//! `MutatingAdmissionWebhook` and `ValidatingAdmissionWebhook`: servers elsewhere that change or refuse what is written.

mod client;
mod hook;
mod review;

use std::sync::{Arc, Mutex, PoisonError};

use futures::future::join_all;
use serde_json::Value;
use xebec_machinery::patch;
use xebec_machinery::status::Status;

use crate::matching::{Seen, is_exempt};
use crate::passes::Passes;
use crate::request::Request;
use crate::stage::{Case, Mutation, Outcome, Validation, later, now};
use crate::world::World;
pub use client::{Client, roots};
use hook::{Fault, Hook};

const GROUP: &str = "admissionregistration.k8s.io";
const MUTATING: &str = "MutatingAdmissionWebhook";

/// The hooks of all configurations of a resource, compiled when one of them changes.
struct Hooks {
    resource: &'static str,
    compiled: Mutex<Option<(u64, Arc<[Hook]>)>>,
}

impl Hooks {
    fn of(resource: &'static str) -> Self {
        Self { resource, compiled: Mutex::new(None) }
    }

    fn now(&self, world: &dyn World) -> Result<Arc<[Hook]>, Status> {
        let listing = world.all(GROUP, self.resource)?;
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((version, hooks)) = &*compiled
            && *version == listing.version
        {
            return Ok(hooks.clone());
        }
        let hooks: Arc<[Hook]> = listing.iter().flat_map(|configuration| Hook::all(configuration)).collect();
        *compiled = Some((listing.version, hooks.clone()));
        Ok(hooks)
    }
}

/// The hooks that change what is written.
pub(crate) struct MutatingWebhooks(Hooks);

/// The hooks that judge it.
pub(crate) struct ValidatingWebhooks(Hooks);

impl Default for MutatingWebhooks {
    fn default() -> Self {
        Self(Hooks::of("mutatingwebhookconfigurations"))
    }
}

impl Default for ValidatingWebhooks {
    fn default() -> Self {
        Self(Hooks::of("validatingwebhookconfigurations"))
    }
}

impl Mutation for MutatingWebhooks {
    fn name(&self) -> &'static str {
        MUTATING
    }

    fn handles(&self, request: &Request) -> bool {
        !is_exempt(request)
    }

    fn mutate<'a>(&'a self, case: Case<'a>, object: &'a mut Value, passes: &'a Passes) -> Outcome<'a> {
        match self.0.now(case.world) {
            Ok(hooks) if hooks.is_empty() => now(Ok(())),
            Ok(hooks) => later(async move {
                passes.enter(MUTATING, object);
                let outcome = mutate(case, &hooks, object, passes).await;
                passes.leave(MUTATING, object);
                outcome
            }),
            Err(status) => now(Err(status)),
        }
    }
}

async fn mutate(case: Case<'_>, hooks: &[Hook], object: &mut Value, passes: &Passes) -> Result<(), Status> {
    for (index, hook) in hooks.iter().enumerate() {
        let Some(seen) = hook.is_meant(case, object).await? else { continue };
        if !passes.has_turn(MUTATING, &hook.key) {
            continue;
        }
        let changed = match change(case, hook, &seen, object).await {
            Ok(changed) => changed,
            Err(fault) => {
                passes.ran(MUTATING, &hook.key, false, hook.again);
                fault.settle(case, hook, "mutation", index)?;
                continue;
            }
        };
        let has_changed = changed.is_some();
        if let Some(changed) = changed {
            *object = changed;
        }
        passes.ran(MUTATING, &hook.key, has_changed, hook.again);
    }
    Ok(())
}

/// The object as a hook changes it; nothing where it leaves it as it is.
async fn change(case: Case<'_>, hook: &Hook, seen: &Seen, object: &Value) -> Result<Option<Value>, Fault> {
    let (new, old) = shown(case, seen, object).await.map_err(Fault::Refused)?;
    let answer = hook.call(case, seen, (&new, &old), true).await?;
    let Some(text) = answer.patch else { return Ok(None) };
    let failed = |why: &str| Fault::Refused(Status::internal(why));
    if new.is_null() {
        let why = format!(
            "admission webhook \"{}\" attempted to modify the object, which is not supported for this operation",
            hook.name
        );
        return Err(failed(&why));
    }
    let mut changed = patch::json(&new, &text).map_err(|error| failed(&error.to_string()))?;
    case.world.complete(&seen.kind, &mut changed).map_err(|why| failed(&why))?;
    if changed == new {
        return Ok(None);
    }
    case.world.convert(&changed, &case.request.kind).await.map(Some).map_err(Fault::Refused)
}

/// The objects in the version in which a hook or policy wants to see them.
pub(crate) async fn shown(case: Case<'_>, seen: &Seen, object: &Value) -> Result<(Value, Value), Status> {
    let old = case.old.cloned().unwrap_or(Value::Null);
    if seen.kind == case.request.kind {
        return Ok((object.clone(), old));
    }
    let convert = async |object: &Value| match object {
        Value::Null => Ok(Value::Null),
        object => case.world.convert(object, &seen.kind).await,
    };
    Ok((convert(object).await?, convert(&old).await?))
}

impl Validation for ValidatingWebhooks {
    fn name(&self) -> &'static str {
        "ValidatingAdmissionWebhook"
    }

    fn handles(&self, request: &Request) -> bool {
        !is_exempt(request)
    }

    fn validate<'a>(&'a self, case: Case<'a>, object: &'a Value) -> Outcome<'a> {
        match self.0.now(case.world) {
            Ok(hooks) if hooks.is_empty() => now(Ok(())),
            Ok(hooks) => later(async move { validate(case, &hooks, object).await }),
            Err(status) => now(Err(status)),
        }
    }
}

/// All hooks judge at once; the first in order that refuses is told.
async fn validate(case: Case<'_>, hooks: &[Hook], object: &Value) -> Result<(), Status> {
    let mut meant = Vec::new();
    for (index, hook) in hooks.iter().enumerate() {
        if let Some(seen) = hook.is_meant(case, object).await? {
            meant.push((index, hook, seen));
        }
    }
    let judged = join_all(meant.into_iter().map(async |(index, hook, seen)| {
        let judged = match shown(case, &seen, object).await {
            Ok((new, old)) => hook.call(case, &seen, (&new, &old), false).await.map(drop),
            Err(status) => Err(Fault::Refused(status)),
        };
        judged.or_else(|fault| fault.settle(case, hook, "validation", index))
    }));
    judged.await.into_iter().collect()
}
