//! `ResourceQuota`: how much the objects of a namespace may use together.
//!
//! What an object uses is added to the status of each quota that limits it, in the same write that stores the object: both
//! are stored or neither is, and a quota that somebody else charged in between lets the write be judged anew. Writes that
//! quotas limit pass one at a time within a namespace, so that they do not run into each other again and again.

mod scope;
mod usage;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde_json::{Map, Value};
use tokio::sync::Mutex as Turn;
use xebec_machinery::quantity::Quantity;
use xebec_machinery::status::Status;

use crate::companions::{Change, Companion};
use crate::object;
use crate::pod_resources::{Amounts, add, amounts};
use crate::request::{Operation, Request};
use crate::stage::{Case, Outcome, Validation, later, now};
use usage::Measure;

/// Namespaces whose turns are remembered before those that nobody waits for are forgotten.
const FORGET_AT: usize = 1024;

/// The stage, and whose turn it is in each namespace.
#[derive(Default)]
pub(crate) struct ResourceQuota {
    turns: Mutex<HashMap<String, Weak<Turn<()>>>>,
}

impl Validation for ResourceQuota {
    fn name(&self) -> &'static str {
        "ResourceQuota"
    }

    fn handles(&self, request: &Request) -> bool {
        matches!(request.operation, Operation::Create | Operation::Update)
            && !request.namespace.is_empty()
            && !request.is_for("", "namespaces")
            && !request.is_for("", "events")
            && !request.is_for("events.k8s.io", "events")
    }

    fn validate<'a>(&'a self, case: Case<'a>, object: &'a Value) -> Outcome<'a> {
        let Some(measure) = Measure::of(case.request, case.old, object) else { return now(Ok(())) };
        // Most namespaces have no quota, and most writes change nothing of what one limits.
        match charge(case, &measure, object) {
            Ok(charges) if charges.is_empty() => now(Ok(())),
            Ok(_) if case.request.dry_run => now(Ok(())),
            Err(status) if case.request.dry_run => now(Err(status)),
            Ok(_) | Err(_) => later(async move {
                let turn = self.turn(&case.request.namespace).lock_owned().await;
                for charged in charge(case, &measure, object)? {
                    case.companions.store(Companion {
                        group: "",
                        resource: "resourcequotas",
                        change: Change::Replaced(charged),
                    });
                }
                case.companions.hold(turn);
                Ok(())
            }),
        }
    }
}

impl ResourceQuota {
    fn turn(&self, namespace: &str) -> Arc<Turn<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = turns.get(namespace).and_then(Weak::upgrade) {
            return turn;
        }
        if turns.len() >= FORGET_AT {
            turns.retain(|_, turn| turn.strong_count() > 0);
        }
        let turn = Arc::new(Turn::new(()));
        turns.insert(namespace.to_owned(), Arc::downgrade(&turn));
        turn
    }
}

/// The quotas that the object is charged to, with what is then in use.
fn charge(case: Case<'_>, measure: &Measure<'_>, new: &Value) -> Result<Vec<Value>, Status> {
    let quotas = case.world.all("", "resourcequotas")?;
    let mut charged = Vec::new();
    for quota in quotas.within(&case.request.namespace) {
        let limits = amounts(object::at(quota, &["status", "hard"]));
        let limited: Vec<&str> =
            limits.keys().map(String::as_str).filter(|name| measure.counts(name)).collect();
        if limited.is_empty() || !scope::matches(quota, measure, new) {
            continue;
        }
        let name = object::name(quota);
        if let Some(missing) = measure.missing(&limited, new) {
            return Err(case.forbidden(new, &format!("failed quota: {name}: must specify {missing}")));
        }
        let used = amounts(object::at(quota, &["status", "used"]));
        if !limited.iter().all(|name| used.contains_key(*name)) {
            let unknown = limited.join(",");
            let why = format!("status unknown for quota: {name}, resources: {unknown}");
            return Err(case.forbidden(new, &why));
        }
        let mut asked = measure.usage(new);
        if let Some(negative) = negative(&asked) {
            let why = format!("quota usage is negative for resource(s): {negative}");
            return Err(case.forbidden(new, &why));
        }
        if let Some(old) = case.old.filter(|old| scope::matches(quota, measure, old)) {
            asked = more(asked, &measure.usage(old));
        }
        asked.retain(|name, amount| amount.nanos() != 0 && limits.contains_key(name));
        if asked.is_empty() {
            continue;
        }
        if let Some(why) = exceeded(name, &asked, &used, &limits) {
            return Err(case.forbidden(new, &why));
        }
        let mut total = used;
        add(&mut total, asked);
        let mut quota = (**quota).clone();
        let total: Map<String, Value> =
            total.into_iter().map(|(name, amount)| (name, amount.to_string().into())).collect();
        object::set(&mut quota, &["status", "used"], total.into());
        charged.push(quota);
    }
    Ok(charged)
}

/// What is used beyond what was; nothing is given back here.
fn more(now: Amounts, before: &Amounts) -> Amounts {
    let beyond = |(name, amount): (String, Quantity)| {
        let rest = match before.get(&name) {
            Some(own) if own.nanos() >= amount.nanos() => return None,
            Some(own) => amount.minus(own),
            None => amount,
        };
        Some((name, rest))
    };
    now.into_iter().filter_map(beyond).collect()
}

fn negative(amounts: &Amounts) -> Option<String> {
    let names: Vec<&str> =
        amounts.iter().filter(|(_, amount)| amount.nanos() < 0).map(|(name, _)| name.as_str()).collect();
    (!names.is_empty()).then(|| names.join(","))
}

/// Why the object is too much for a quota.
fn exceeded(name: &str, asked: &Amounts, used: &Amounts, limits: &Amounts) -> Option<String> {
    let over: Vec<&str> = asked
        .iter()
        .filter(|(name, amount)| {
            let total = used.get(*name).map_or(0, Quantity::nanos).saturating_add(amount.nanos());
            limits.get(*name).is_some_and(|limit| total > limit.nanos())
        })
        .map(|(name, _)| name.as_str())
        .collect();
    if over.is_empty() {
        return None;
    }
    let shown = |amounts: &Amounts| {
        let parts = over.iter().filter_map(|name| Some(format!("{name}={}", amounts.get(*name)?)));
        parts.collect::<Vec<_>>().join(",")
    };
    Some(format!(
        "exceeded quota: {name}, requested: {}, used: {}, limited: {}",
        shown(asked),
        shown(used),
        shown(limits)
    ))
}

#[cfg(test)]
mod tests;
