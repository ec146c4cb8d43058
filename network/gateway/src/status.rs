//! What is said of Gateways, ListenerSets and policies.

use std::collections::BTreeSet;

use xebec_api::gateway::{
    FrontendValidationMode, GROUP, Gateway, GatewayStatus, GatewayStatusAddress, ListenerSetStatus,
    ListenerStatus, ParentReference, PolicyAncestorStatus, PolicyStatus,
};

use crate::address::Key;
use crate::condition::{Conditions, Verdict};
use crate::gateway::{GatewayPlan, SetPlan, acceptance};
use crate::listener::{ListenerPlan, Owner};
use crate::policy::PolicyPlan;
use crate::snapshot::Snapshot;
use crate::{CONTROLLER, ingress};

/// The most ancestors that a policy's status has room for.
const ANCESTORS: usize = 16;

/// The status of a Gateway, if it changed.
pub(crate) fn gateway(plan: &GatewayPlan<'_>, snapshot: &Snapshot) -> Option<GatewayStatus> {
    let metadata = &plan.gateway.metadata;
    let last = plan.gateway.status.clone().unwrap_or_default();
    let own = plan.listeners.iter().filter(|listener| listener.owner == Owner::Gateway);
    let (listeners, verdicts) = listener_statuses(own, &last.listeners, metadata.generation, snapshot);
    let foreign = plan.listeners.iter().flat_map(|listener| &listener.places).find_map(|place| {
        let unbound = snapshot.unbound.get(place).filter(|unbound| unbound.foreign)?;
        Some(Verdict::no("AddressNotUsable", unbound.reason.clone()))
    });
    let programmed = match foreign {
        Some(verdict) => verdict,
        None if !plan.accepted.holds => Verdict::no("Invalid", plan.accepted.message.clone()),
        None => overall(&verdicts, "Invalid"),
    };
    let address =
        |ip: &std::net::IpAddr| GatewayStatusAddress { type_: "IPAddress".to_owned(), value: ip.to_string() };
    let mut conditions = Conditions::new(&last.conditions, metadata.generation, &snapshot.now)
        .with("Accepted", plan.accepted.clone())
        .with("Programmed", programmed);
    conditions = match &plan.resolved {
        Some(resolved) => conditions.with("ResolvedRefs", resolved.clone()),
        None => conditions.without("ResolvedRefs"),
    };
    conditions = if asks_without_belief(plan.gateway) {
        let message =
            "clients are let in whatever certificate they show; set mode to AllowValidOnly to end that";
        let verdict = Verdict { holds: true, reason: "ConfigurationChanged", message: message.to_owned() };
        conditions.with("InsecureFrontendValidationMode", verdict)
    } else {
        conditions.without("InsecureFrontendValidationMode")
    };
    let joined = (0..plan.sets.len()).filter(|number| set_verdicts(plan, *number, snapshot).0.holds).count();
    let status = GatewayStatus {
        addresses: plan.addresses.iter().map(address).collect(),
        conditions: conditions.finish(),
        listeners,
        attached_listener_sets: i32::try_from(joined).ok(),
    };
    (plan.gateway.status.as_ref() != Some(&status)).then_some(status)
}

/// Whether clients of some port are asked for a certificate that need not be believed.
fn asks_without_belief(gateway: &Gateway) -> bool {
    let Some(frontend) = gateway.spec.tls.as_ref().and_then(|tls| tls.frontend.as_ref()) else {
        return false;
    };
    let ports = frontend.per_port.iter().map(|port| &port.tls);
    let validations = ports.chain([&frontend.default]).filter_map(|tls| tls.validation.as_ref());
    let mut modes = validations.map(|validation| validation.mode);
    modes.any(|mode| mode == FrontendValidationMode::AllowInsecureFallback)
}

/// The status of a ListenerSet, if it changed.
pub(crate) fn listener_set(
    plan: &GatewayPlan<'_>,
    number: usize,
    set: &SetPlan<'_>,
    snapshot: &Snapshot,
) -> Option<ListenerSetStatus> {
    let metadata = &set.set.metadata;
    let last = set.set.status.clone().unwrap_or_default();
    let own = plan.listeners.iter().filter(|listener| listener.owner == Owner::Set(number));
    let (listeners, _) = listener_statuses(own, &last.listeners, metadata.generation, snapshot);
    let (accepted, programmed) = set_verdicts(plan, number, snapshot);
    let conditions = Conditions::new(&last.conditions, metadata.generation, &snapshot.now)
        .with("Accepted", accepted)
        .with("Programmed", programmed)
        .finish();
    let status = ListenerSetStatus { conditions, listeners };
    (set.set.status.as_ref() != Some(&status)).then_some(status)
}

/// Whether a ListenerSet is accepted, and programmed.
fn set_verdicts(plan: &GatewayPlan<'_>, number: usize, snapshot: &Snapshot) -> (Verdict, Verdict) {
    let both = |verdict: Verdict| (verdict.clone(), verdict);
    let Some(set) = plan.sets.get(number) else { return both(Verdict::no("Pending", "")) };
    if !set.allowed {
        let message =
            "the Gateway does not let ListenerSets of this namespace join; see its allowedListeners";
        return both(Verdict::no("NotAllowed", message));
    }
    if !plan.accepted.holds {
        return both(Verdict::no("ParentNotAccepted", "the Gateway is not accepted; see its conditions"));
    }
    let own = plan.listeners.iter().filter(|listener| listener.owner == Owner::Set(number));
    let verdicts: Vec<_> = own.clone().map(|l| (l.entry.name.as_str(), programmed(l, snapshot))).collect();
    if own.clone().all(|listener| !listener.accepted.holds || !listener.resolved.holds) {
        let message = "no listener can be served; see their conditions";
        return both(Verdict::no("ListenersNotValid", message));
    }
    (acceptance(own), overall(&verdicts, "ListenersNotValid"))
}

/// Every listener's status, and whether it is programmed.
fn listener_statuses<'p, 'a: 'p>(
    plans: impl Iterator<Item = &'p ListenerPlan<'a>>,
    last: &[ListenerStatus],
    generation: Option<i64>,
    snapshot: &Snapshot,
) -> (Vec<ListenerStatus>, Vec<(&'a str, Verdict)>) {
    let mut verdicts = Vec::new();
    let statuses = plans
        .map(|listener| {
            let verdict = programmed(listener, snapshot);
            let name = listener.entry.name.as_str();
            verdicts.push((name, verdict.clone()));
            let before = last.iter().find(|last| last.name == name);
            let before = before.map(|last| &last.conditions[..]).unwrap_or_default();
            ListenerStatus {
                name: name.to_owned(),
                supported_kinds: listener.kinds.clone(),
                attached_routes: listener.attached,
                conditions: Conditions::new(before, generation, &snapshot.now)
                    .with("Accepted", listener.accepted.clone())
                    .with("Programmed", verdict)
                    .with("ResolvedRefs", listener.resolved.clone())
                    .with("Conflicted", listener.conflicted.clone())
                    .finish(),
            }
        })
        .collect();
    (statuses, verdicts)
}

/// An object is programmed when one of its listeners is; its message names them all.
fn overall(verdicts: &[(&str, Verdict)], reason: &'static str) -> Verdict {
    let told = |holds: bool| {
        let of = verdicts.iter().filter(|(_, verdict)| verdict.holds == holds);
        of.map(|(name, verdict)| format!("{name}: {}", verdict.message)).collect::<Vec<_>>().join("; ")
    };
    if verdicts.iter().any(|(_, verdict)| verdict.holds) {
        Verdict { holds: true, reason: "Programmed", message: told(true) }
    } else {
        Verdict::no(reason, told(false))
    }
}

fn programmed(listener: &ListenerPlan<'_>, snapshot: &Snapshot) -> Verdict {
    if listener.conflicted.holds {
        return Verdict { holds: false, ..listener.conflicted.clone() };
    }
    if !listener.is_served() {
        return Verdict::no("Invalid", "the listener cannot be served; see its other conditions");
    }
    let mut served = Vec::new();
    for place in &listener.places {
        if let Some(unbound) = snapshot.unbound.get(place) {
            return Verdict::no("Pending", unbound.reason.clone());
        }
        served.push(place.address.to_string());
    }
    let (port, served_port) =
        (listener.entry.port, listener.places.first().map(|place| i32::from(place.address.port())));
    let served = served.join(", ");
    let message = if served_port == Some(port) {
        format!("served at {served}")
    } else {
        format!("port {port} is served at {served}, as ports below 1024 may not be opened")
    };
    Verdict { holds: true, reason: "Programmed", message }
}

/// The status of a policy, if it changed; what others wrote stays.
pub(crate) fn policy(
    plan: &PolicyPlan<'_>,
    gateways: &BTreeSet<Key<'_>>,
    snapshot: &Snapshot,
) -> Option<PolicyStatus> {
    let metadata = &plan.policy.metadata;
    let last = plan.policy.status.as_ref().map(|status| &status.ancestors[..]).unwrap_or_default();
    let mut ancestors: Vec<_> = last.iter().filter(|a| a.controller_name != CONTROLLER).cloned().collect();
    let gateways = gateways.iter().filter(|key| **key != ingress::KEY);
    for (namespace, name) in gateways.take(ANCESTORS.saturating_sub(ancestors.len())) {
        let ancestor_ref = ParentReference {
            group: GROUP.to_owned(),
            kind: "Gateway".to_owned(),
            namespace: Some((*namespace).to_owned()),
            name: (*name).to_owned(),
            section_name: None,
            port: None,
        };
        let before = last.iter().find(|a| a.controller_name == CONTROLLER && a.ancestor_ref == ancestor_ref);
        let before = before.map(|ancestor| &ancestor.conditions[..]).unwrap_or_default();
        let conditions = Conditions::new(before, metadata.generation, &snapshot.now)
            .with("Accepted", plan.accepted.clone())
            .with("ResolvedRefs", plan.resolved.clone())
            .finish();
        let controller_name = CONTROLLER.to_owned();
        ancestors.push(PolicyAncestorStatus { ancestor_ref, controller_name, conditions });
    }
    let same = ancestors.len() == last.len() && ancestors.iter().all(|ancestor| last.contains(ancestor));
    (!same).then_some(PolicyStatus { ancestors })
}
