//! HTTPRoutes: which listeners they are attached to.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt as _};
use xebec_api::gateway::{FromNamespaces, GROUP, HTTPRoute, Listener, ParentReference};
use xebec_proxy::config::HostMatch;

use crate::condition::Verdict;
use crate::gateway::GatewayPlan;
use crate::hostname;

/// Labels of namespaces.
pub(crate) type Labels<'a> = BTreeMap<&'a str, &'a BTreeMap<String, String>>;

/// A listener, by its place in the Gateway, with the hosts on which the route is served there.
pub(crate) type Attachment = (usize, Vec<HostMatch>);

/// The namespace of the Gateway that a parent reference names, if it names one.
pub(crate) fn gateway_of<'a>(
    parent: &'a ParentReference,
    route: &'a HTTPRoute,
) -> Option<(&'a str, &'a str)> {
    if parent.group != GROUP || parent.kind != "Gateway" {
        return None;
    }
    let own = route.metadata.namespace.as_deref().unwrap_or_default();
    Some((parent.namespace.as_deref().unwrap_or(own), &parent.name))
}

/// The listeners of the Gateway that take the route, or why there is none.
pub(crate) fn attach(
    route: &HTTPRoute,
    parent: &ParentReference,
    plan: &GatewayPlan<'_>,
    labels: &Labels<'_>,
) -> Result<Vec<Attachment>, Verdict> {
    let named = |listener: &Listener| {
        parent.section_name.as_ref().is_none_or(|name| *name == listener.name)
            && parent.port.is_none_or(|port| port == listener.port)
    };
    let mut listeners: Vec<_> =
        plan.listeners.iter().enumerate().filter(|(_, plan)| named(plan.listener)).collect();
    if listeners.is_empty() {
        let message = format!("Gateway {:?} has no listener of that name and port", parent.name);
        return Err(Verdict::no("NoMatchingParent", message));
    }
    let gateway = plan.gateway.metadata.namespace.as_deref().unwrap_or_default();
    let from = route.metadata.namespace.as_deref().unwrap_or_default();
    listeners
        .retain(|(_, plan)| !plan.kinds.is_empty() && allows(plan.listener, gateway, from, labels.get(from)));
    if listeners.is_empty() {
        let message = format!("no listener lets HTTPRoutes of namespace {from} attach; see allowedRoutes");
        return Err(Verdict::no("NotAllowedByListeners", message));
    }
    let attachments: Vec<_> = listeners
        .into_iter()
        .map(|(index, plan)| {
            (index, hostname::meeting(plan.listener.hostname.as_deref(), &route.spec.hostnames))
        })
        .filter(|(_, hosts)| !hosts.is_empty())
        .collect();
    if attachments.is_empty() {
        let message = "no listener has a hostname in common with the route; change either";
        return Err(Verdict::no("NoMatchingListenerHostname", message));
    }
    Ok(attachments)
}

fn allows(
    listener: &Listener,
    gateway: &str,
    from: &str,
    labels: Option<&&BTreeMap<String, String>>,
) -> bool {
    let namespaces = &listener.allowed_routes.namespaces;
    match namespaces.from {
        FromNamespaces::All => true,
        FromNamespaces::Same => gateway == from,
        FromNamespaces::Selector => {
            let (Some(selector), Some(labels)) = (&namespaces.selector, labels) else { return false };
            selects(selector, labels)
        }
    }
}

/// A selector that cannot be read selects nothing.
fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    Selector::try_from(selector.clone()).is_ok_and(|selector| selector.matches(labels))
}
