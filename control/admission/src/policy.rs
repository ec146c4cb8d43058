//! `ValidatingAdmissionPolicy` and `MutatingAdmissionPolicy`: rules in the Common Expression Language.
//!
//! A policy says what is to hold or to change; a binding says where, and with which parameters. Both are compiled when one
//! of them changes. A request then runs each policy once for each binding and parameter that it meets.

mod definition;
mod mutating;
mod parameters;
mod validating;
mod variables;

pub(crate) use mutating::MutatingPolicies;
pub(crate) use validating::ValidatingPolicies;
pub(crate) use variables::Variables;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use xebec_machinery::status::Status;

use crate::object;
use crate::world::World;
use definition::{Binding, Definition};

const GROUP: &str = "admissionregistration.k8s.io";

/// The policies of one sort with their bindings, compiled when one of them changes. `R` is what they are for.
struct Policies<R> {
    policies: &'static str,
    bindings: &'static str,
    compile: fn(&Value, &Definition) -> R,
    compiled: Mutex<Option<Compiled<R>>>,
}

struct Compiled<R> {
    versions: (u64, u64),
    bound: Arc<[Bound<R>]>,
}

/// A policy with what it is for and its bindings, of which there is at least one.
struct Bound<R> {
    definition: Definition,
    rules: R,
    bindings: Vec<Binding>,
}

impl<R> Policies<R> {
    fn of(policies: &'static str, bindings: &'static str, compile: fn(&Value, &Definition) -> R) -> Self {
        Self { policies, bindings, compile, compiled: Mutex::new(None) }
    }

    fn now(&self, world: &dyn World) -> Result<Arc<[Bound<R>]>, Status> {
        let (policies, bindings) = (world.all(GROUP, self.policies)?, world.all(GROUP, self.bindings)?);
        let versions = (policies.version, bindings.version);
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*compiled
            && known.versions == versions
        {
            return Ok(known.bound.clone());
        }
        let mut by_policy: BTreeMap<&str, Vec<Binding>> = BTreeMap::new();
        for binding in bindings.iter() {
            let policy = object::text(binding, &["spec", "policyName"]);
            by_policy.entry(policy).or_default().push(Binding::of(binding));
        }
        let bound = policies.iter().filter_map(|policy| {
            let bindings = by_policy.remove(object::name(policy))?;
            let definition = Definition::of(policy);
            Some(Bound { rules: (self.compile)(policy, &definition), definition, bindings })
        });
        let bound: Arc<[Bound<R>]> = bound.collect();
        *compiled = Some(Compiled { versions, bound: bound.clone() });
        Ok(bound)
    }
}
