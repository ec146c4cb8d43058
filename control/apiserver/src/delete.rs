//! Deleting objects: at once, after their finalizers are gone, or after a pod's grace period.

use futures::{StreamExt as _, stream};
use jiff::ToSpan;
use serde_json::{Value, json};
use xebec_admission::Operation;
use xebec_machinery::decoding;
use xebec_machinery::field::{FieldError, Path};
use xebec_machinery::metadata::{FOREGROUND, ORPHAN};
use xebec_machinery::status::{Qualified, Status};

use crate::api::Api;
use crate::call::{Call, timestamp};
use crate::options::{Options, Propagation};
use crate::read::Selected;
use crate::storage::{Stored, is_conflict};
use crate::strategy::{self, Part};
use crate::{key, object};

const ATTEMPTS: usize = 16;
/// How many objects of a collection are deleted at a time.
const AT_ONCE: usize = 16;

/// How an object is to be deleted (`DeleteOptions`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Nothing is stored.
    pub dry_run: bool,
    /// How many seconds a pod may run on.
    pub grace: Option<u64>,
    /// What happens to dependents.
    pub propagation: Option<Propagation>,
    /// The object must have this uid.
    pub uid: Option<String>,
    /// The object must be at this version.
    pub resource_version: Option<String>,
}

impl DeleteOptions {
    /// Reads the options of a call: those of its body, and those of its query where the body has none.
    pub fn of(call: &Call, body: Option<&Value>) -> Result<Self, Status> {
        let query = call.options();
        let mut options = Self {
            dry_run: query.dry_run,
            grace: query.grace_period.map(|grace| grace.as_secs()),
            propagation: query.propagation,
            ..Self::default()
        };
        let Some(body) = body else { return Ok(options) };
        decoding::check("", "v1", "DeleteOptions", body)
            .map_err(|why| decoding::unfit("v1", "DeleteOptions", &why))?;
        let mut wrong = Vec::new();
        let stages = body.get("dryRun").and_then(Value::as_array).into_iter().flatten();
        let stages: Vec<&str> = stages.filter_map(Value::as_str).collect();
        options.dry_run |= !stages.is_empty();
        if stages.iter().any(|stage| *stage != "All") {
            wrong.push(Options::no_dry_run(stages.into_iter().map(str::to_owned)));
        }
        // Less than nothing is the least that there is.
        let grace = body.get("gracePeriodSeconds").and_then(Value::as_i64);
        options.grace = grace.map(|seconds| u64::try_from(seconds).unwrap_or(1)).or(options.grace);
        let propagation = body.get("propagationPolicy").and_then(Value::as_str).unwrap_or_default();
        match (Propagation::parse(propagation), body.get("orphanDependents").and_then(Value::as_bool)) {
            (Ok(Some(_)), Some(_)) => {
                let why = "orphanDependents and deletionPropagation cannot be both set";
                wrong.push(FieldError::invalid(&Path::ROOT.child("propagationPolicy"), propagation, why));
            }
            (Ok(Some(asked)), None) => options.propagation = Some(asked),
            (Ok(None), Some(true)) => options.propagation = Some(Propagation::Orphan),
            (Ok(None), Some(false)) => options.propagation = Some(Propagation::Background),
            (Ok(None), None) => {}
            (Err(error), _) => wrong.push(error),
        }
        if !wrong.is_empty() {
            return Err(Status::invalid(Qualified::new("meta.k8s.io", "DeleteOptions"), "", &wrong));
        }
        let condition = |field: &str| {
            let conditions = body.get("preconditions")?;
            conditions.get(field).and_then(Value::as_str).map(str::to_owned)
        };
        options.uid = condition("uid");
        options.resource_version = condition("resourceVersion");
        Ok(options)
    }
}

/// What a deletion came to.
#[derive(Debug)]
pub enum Deleted {
    /// The object is gone; it was this.
    Gone(Value),
    /// The object goes when its finalizers or its grace period have ended; it is this now.
    Going(Value),
}

impl Api {
    /// Deletes the object that the call names.
    pub async fn delete(&self, call: &Call, options: &DeleteOptions) -> Result<Deleted, Status> {
        let current = self.storage().get(&call.resource, call.namespace(), call.name())?;
        check_preconditions(call, options, &current.object)?;
        let old = self.present(call, current.object).await?;
        let mut admission =
            self.admission(call, Operation::Delete, Part::Main, Some(&old)).dry(options.dry_run);
        admission.mutate(&mut Value::Null).await?;
        admission.judge(&Value::Null).await?;
        self.delete_admitted(call, options).await
    }

    /// Deletes the object that the call names, which the stages of admission let go.
    pub(crate) async fn delete_admitted(
        &self,
        call: &Call,
        options: &DeleteOptions,
    ) -> Result<Deleted, Status> {
        for _ in 0..ATTEMPTS {
            let current = self.storage().get(&call.resource, call.namespace(), call.name())?;
            // A precondition that does not hold is final; a write that came in between is not.
            check_preconditions(call, options, &current.object)?;
            match self.delete_at(call, options, current).await {
                Err(status) if is_conflict(&status) => {}
                outcome => return outcome,
            }
        }
        Err(Status::modified(call.qualified(), call.name()))
    }

    async fn delete_at(
        &self,
        call: &Call,
        options: &DeleteOptions,
        current: Stored,
    ) -> Result<Deleted, Status> {
        let old = current.object;
        let mut new = old.clone();
        set_finalizers(&mut new, options.propagation);
        let grace = strategy::grace_seconds(&call.resource, &old, options.grace);
        let earlier = old.get("metadata").and_then(|meta| meta.get("deletionGracePeriodSeconds"));
        let earlier = earlier.and_then(Value::as_u64);
        if !object::deleting(&old) {
            mark(call, &mut new, grace);
        } else if earlier.is_some_and(|earlier| grace < earlier) {
            // A second deletion may shorten the grace period, never lengthen it.
            shorten(call, &mut new, earlier.unwrap_or(grace), grace);
        }
        strategy::begin_deleting(&call.resource, &mut new);
        if strategy::finished_deleting(&new) {
            if !options.dry_run {
                let stored = self.take_away(call, new, &old, current.revision).await?;
                return Ok(Deleted::Gone(self.present(call, stored.object).await?));
            }
            return Ok(Deleted::Gone(self.present(call, new).await?));
        }
        if new == old || options.dry_run {
            return Ok(Deleted::Going(self.present(call, new).await?));
        }
        self.settle_version(&call.resource, &mut new).await?;
        let stored = self.storage().update(&call.resource, new, current.revision).await?;
        Ok(Deleted::Going(self.present(call, stored.object).await?))
    }

    /// Deletes all objects that the call selects. Gives the list of them, as they were before.
    pub(crate) async fn delete_collection(
        &self,
        call: &Call,
        options: &DeleteOptions,
    ) -> Result<Selected, Status> {
        let selected = self.select(call).await?;
        let places = selected.entries.iter().map(|entry| key::place(&entry.key, call.resource.namespaced()));
        let places: Vec<_> = places.collect();
        let mut going = stream::iter(places)
            .map(|(namespace, name)| async move {
                let mut one = call.clone();
                (one.request.namespace, one.request.name) = (namespace, Some(name));
                match self.delete(&one, options).await {
                    // Someone else was faster.
                    Err(status) if status.code() == 404 => Ok(()),
                    outcome => outcome.map(drop),
                }
            })
            .buffered(AT_ONCE);
        while let Some(gone) = going.next().await {
            gone?;
        }
        drop(going);
        Ok(selected)
    }
}

pub(crate) fn check_preconditions(call: &Call, options: &DeleteOptions, old: &Value) -> Result<(), Status> {
    let pairs = [
        ("UID", "uid", &options.uid, "deleted and then recreated"),
        ("ResourceVersion", "resourceVersion", &options.resource_version, "modified"),
    ];
    for (title, field, wanted, what) in pairs {
        let (Some(wanted), actual) = (wanted, object::meta(old, field)) else { continue };
        if wanted != actual {
            let why = format!(
                "the {title} in the precondition ({wanted}) does not match the {title} in record ({actual}). The object \
                 might have been {what}"
            );
            return Err(Status::conflict(call.qualified_kind(), call.name(), &why));
        }
    }
    Ok(())
}

/// Keeps the object for the garbage collector where its dependents have to be handled first.
fn set_finalizers(object: &mut Value, propagation: Option<Propagation>) {
    let Some(propagation) = propagation else { return };
    let mut finalizers: Vec<String> =
        object::meta_list(object, "finalizers").into_iter().map(str::to_owned).collect();
    finalizers.retain(|finalizer| finalizer != ORPHAN && finalizer != FOREGROUND);
    match propagation {
        Propagation::Orphan => finalizers.push(ORPHAN.to_owned()),
        Propagation::Foreground => finalizers.push(FOREGROUND.to_owned()),
        Propagation::Background => {}
    }
    if finalizers.is_empty() {
        object::meta_mut(object).remove("finalizers");
    } else {
        object::set_meta(object, "finalizers", finalizers);
    }
}

/// Notes when the object is to go, and counts that as a change of what is asked for.
fn mark(call: &Call, object: &mut Value, grace: u64) {
    let seconds = i64::try_from(grace).unwrap_or(i64::MAX).min(10 * 365 * 24 * 3600);
    let moment = call.now.checked_add(seconds.seconds()).unwrap_or(call.now);
    object::set_meta(object, "deletionTimestamp", timestamp(moment));
    object::set_meta(object, "deletionGracePeriodSeconds", grace);
    let generation = object.get("metadata").and_then(|meta| meta.get("generation")).and_then(Value::as_i64);
    if let Some(generation) = generation {
        object::set_meta(object, "generation", json!(generation + 1));
    }
}

fn shorten(call: &Call, object: &mut Value, earlier: u64, grace: u64) {
    let written = object::meta(object, "deletionTimestamp").parse::<jiff::Timestamp>().unwrap_or(call.now);
    let less = i64::try_from(earlier - grace).unwrap_or(0).min(10 * 365 * 24 * 3600);
    let moment = written.checked_sub(less.seconds()).unwrap_or(written);
    object::set_meta(object, "deletionTimestamp", timestamp(moment));
    object::set_meta(object, "deletionGracePeriodSeconds", grace);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn propagation_decides_which_finalizer_holds_the_object() {
        let mut object = json!({"metadata": {"finalizers": ["a/b", "orphan"]}});
        set_finalizers(&mut object, Some(Propagation::Foreground));
        assert_eq!(object::meta_list(&object, "finalizers"), ["a/b", FOREGROUND]);
        set_finalizers(&mut object, Some(Propagation::Orphan));
        assert_eq!(object::meta_list(&object, "finalizers"), ["a/b", ORPHAN]);
        set_finalizers(&mut object, None);
        assert_eq!(object::meta_list(&object, "finalizers"), ["a/b", ORPHAN]);
        let mut plain = json!({"metadata": {"finalizers": [ORPHAN]}});
        set_finalizers(&mut plain, Some(Propagation::Background));
        assert!(plain["metadata"].get("finalizers").is_none());
    }
}
