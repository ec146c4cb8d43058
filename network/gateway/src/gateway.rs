//! Gateways: which of their listeners can be served, and where.

use std::net::SocketAddr;

use xebec_api::gateway::{GROUP, Gateway, Listener, RouteGroupKind};

use crate::Options;
use crate::condition::Verdict;

const ROUTE: &str = "HTTPRoute";

/// A listener with what can be said of it by the Gateway alone.
pub(crate) struct ListenerPlan<'a> {
    pub(crate) listener: &'a Listener,
    pub(crate) address: Option<SocketAddr>,
    pub(crate) kinds: Vec<RouteGroupKind>,
    pub(crate) accepted: Verdict,
    pub(crate) resolved: Verdict,
    pub(crate) conflicted: Verdict,
    pub(crate) attached: i32,
}

impl ListenerPlan<'_> {
    /// Whether the listener is in the proxy's configuration.
    pub(crate) fn served(&self) -> Option<SocketAddr> {
        self.address.filter(|_| self.accepted.holds && !self.kinds.is_empty())
    }
}

/// A Gateway of ours.
pub(crate) struct GatewayPlan<'a> {
    pub(crate) gateway: &'a Gateway,
    pub(crate) accepted: Verdict,
    pub(crate) listeners: Vec<ListenerPlan<'a>>,
}

/// Looks at a Gateway.
pub(crate) fn plan<'a>(gateway: &'a Gateway, options: &Options) -> GatewayPlan<'a> {
    let addresses = addresses(gateway, options);
    let all = &gateway.spec.listeners;
    let listeners: Vec<_> = all
        .iter()
        .map(|listener| {
            let (kinds, resolved) = kinds(listener);
            let conflict = conflict(listener, all, options);
            let address = u16::try_from(listener.port).ok().map(|port| options.served(port));
            let accepted = if listener.protocol != "HTTP" {
                let message = format!("protocol {} is not supported; take HTTP", listener.protocol);
                Verdict::no("UnsupportedProtocol", message)
            } else if let Some(conflict) = &conflict {
                Verdict::no(conflict.reason, conflict.message.clone())
            } else if let Err(verdict) = &addresses {
                Verdict::no("Invalid", verdict.message.clone())
            } else {
                Verdict::yes("Accepted")
            };
            let conflicted = conflict.unwrap_or_else(|| Verdict::no("NoConflicts", ""));
            ListenerPlan { listener, address, kinds, accepted, resolved, conflicted, attached: 0 }
        })
        .collect();
    let accepted = match addresses {
        Err(verdict) => verdict,
        Ok(()) if listeners.iter().all(|listener| listener.accepted.holds) => Verdict::yes("Accepted"),
        Ok(()) => Verdict {
            holds: listeners.iter().any(|listener| listener.accepted.holds),
            reason: "ListenersNotValid",
            message: "some listeners are not accepted; see their conditions".to_owned(),
        },
    };
    GatewayPlan { gateway, accepted, listeners }
}

fn addresses(gateway: &Gateway, options: &Options) -> Result<(), Verdict> {
    let ours = options.address.to_string();
    for wanted in &gateway.spec.addresses {
        let value = wanted.value.as_deref();
        if wanted.type_ != "IPAddress" || value.is_some_and(|value| value != ours) {
            let value = value.unwrap_or_default();
            let message =
                format!("address {} {value:?} cannot be served; take {ours}, or name none", wanted.type_);
            return Err(Verdict::no("UnsupportedAddress", message));
        }
    }
    Ok(())
}

fn kinds(listener: &Listener) -> (Vec<RouteGroupKind>, Verdict) {
    let ours = RouteGroupKind { group: GROUP.to_owned(), kind: ROUTE.to_owned() };
    if listener.protocol != "HTTP" {
        return (Vec::new(), Verdict::yes("ResolvedRefs"));
    }
    let wanted = &listener.allowed_routes.kinds;
    if wanted.is_empty() {
        return (vec![ours], Verdict::yes("ResolvedRefs"));
    }
    let resolved = match wanted.iter().find(|kind| **kind != ours) {
        None => Verdict::yes("ResolvedRefs"),
        Some(RouteGroupKind { group, kind }) => {
            Verdict::no("InvalidRouteKinds", format!("{kind}.{group} cannot be routed here; take {ROUTE}"))
        }
    };
    (if wanted.contains(&ours) { vec![ours] } else { Vec::new() }, resolved)
}

/// Compares served ports: 80 moved to 8080 is in the way of a listener on 8080.
fn conflict(listener: &Listener, all: &[Listener], options: &Options) -> Option<Verdict> {
    let served = |port: i32| u16::try_from(port).ok().map(|port| options.served(port));
    let host = |listener: &Listener| listener.hostname.clone().unwrap_or_default().to_ascii_lowercase();
    let others = all.iter().filter(|other| other.name != listener.name && other.protocol != "UDP");
    let mut others = others.filter(|other| served(other.port) == served(listener.port));
    if listener.protocol == "UDP" {
        return None;
    }
    let (reason, other) = others.find_map(|other| {
        if other.protocol != listener.protocol {
            Some(("ProtocolConflict", other))
        } else {
            (host(other) == host(listener)).then_some(("HostnameConflict", other))
        }
    })?;
    let message = format!("listener {:?} asks for the same port; change the port or hostname", other.name);
    Some(Verdict { holds: true, reason, message })
}
