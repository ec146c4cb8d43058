//! Routes of every kind: which listeners they are attached to, and what they put there.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use xebec_api::gateway::{
    FromNamespaces, GROUP, GRPCRoute, HTTPRoute, ParentReference, RouteParentStatus, RouteStatus, TCPRoute,
    TLSRoute, UDPRoute,
};
use xebec_proxy::config::{self, Backend, BackendProtocol, Certificate, HostMatch, ServerNameRoute};

use crate::address::Key;
use crate::backend::{Asker, Backends};
use crate::condition::{Conditions, Verdict};
use crate::gateway::{GatewayPlan, Labels, selects};
use crate::grant::Referrer;
use crate::listener::{ListenerPlan, Owner, Speaks};
use crate::translation::names;
use crate::{CONTROLLER, grpc_rule, hostname, http_rule, stream_rule};

/// What a route puts at its listeners, and the first reference in it that is wrong.
#[derive(Clone)]
pub(crate) struct Compiled {
    pub(crate) served: Served,
    pub(crate) resolved: Verdict,
}

/// What is put at a listener.
#[derive(Clone)]
pub(crate) enum Served {
    Requests(Vec<config::Route>),
    Streams(Vec<Backend>),
}

/// A kind of route.
pub(crate) trait Routed {
    const KIND: &'static str;
    /// What endpoints speak where their Service does not say.
    const PROTOCOL: BackendProtocol = BackendProtocol::Http1;

    fn metadata(&self) -> &ObjectMeta;
    fn parents(&self) -> &[ParentReference];
    fn hostnames(&self) -> &[String];
    fn last(&self) -> &[RouteParentStatus];
    /// The error says what the proxy cannot do.
    fn compile<'a>(&self, backends: &Backends<'a>, asker: Asker<'_, 'a>) -> Result<Compiled, String>;
}

macro_rules! routed {
    ($kind:ident, $hostnames:expr, $compile:expr $(, $protocol:ident)?) => {
        impl Routed for $kind {
            const KIND: &'static str = stringify!($kind);
            $(const PROTOCOL: BackendProtocol = BackendProtocol::$protocol;)?

            fn metadata(&self) -> &ObjectMeta {
                &self.metadata
            }

            fn parents(&self) -> &[ParentReference] {
                &self.spec.parent_refs
            }

            fn hostnames(&self) -> &[String] {
                let hostnames: fn(&Self) -> &[String] = $hostnames;
                hostnames(self)
            }

            fn last(&self) -> &[RouteParentStatus] {
                self.status.as_ref().map(|status| &status.parents[..]).unwrap_or_default()
            }

            fn compile<'a>(
                &self,
                backends: &Backends<'a>,
                asker: Asker<'_, 'a>,
            ) -> Result<Compiled, String> {
                $compile(self, backends, asker)
            }
        }
    };
}

routed!(HTTPRoute, |route| &route.spec.hostnames, http_rule::compile);
routed!(GRPCRoute, |route| &route.spec.hostnames, grpc_rule::compile, H2c);
routed!(TLSRoute, |route| &route.spec.hostnames, |route: &Self, backends: &Backends<'a>, asker| {
    stream_rule::compile(&route.spec.rules, backends, asker)
});
routed!(TCPRoute, |_| &[], |route: &Self, backends: &Backends<'a>, asker| {
    stream_rule::compile(&route.spec.rules, backends, asker)
});
routed!(UDPRoute, |_| &[], |route: &Self, backends: &Backends<'a>, asker| {
    stream_rule::compile(&route.spec.rules, backends, asker)
});

/// The Gateways of ours, and what routes are put there with.
pub(crate) struct Attaching<'p, 'a> {
    pub(crate) plans: &'p mut BTreeMap<Key<'a>, GatewayPlan<'a>>,
    pub(crate) backends: &'p Backends<'a>,
    pub(crate) labels: &'p Labels<'a>,
    pub(crate) now: &'p Time,
}

/// A listener, by its place in the Gateway, with the hosts on which the route is served there.
type Attachment = (usize, Vec<HostMatch>);

impl<'a> Attaching<'_, 'a> {
    /// Attaches routes, the oldest first: of equal matches it wins. Returns the statuses that changed.
    pub(crate) fn all<R: Routed + 'a>(
        &mut self,
        routes: impl Iterator<Item = &'a R>,
    ) -> Vec<(String, String, RouteStatus)> {
        let mut routes: Vec<_> = routes.collect();
        routes.sort_by_key(|route| (route.metadata().creation_timestamp.clone(), names(route.metadata())));
        routes.into_iter().filter_map(|route| self.one(route)).collect()
    }

    /// Attaches a route to the Gateways of ours that it names; what others wrote in its status stays.
    fn one<R: Routed + 'a>(&mut self, route: &'a R) -> Option<(String, String, RouteStatus)> {
        let last = route.last();
        let mut parents: Vec<_> = last.iter().filter(|p| p.controller_name != CONTROLLER).cloned().collect();
        let mut taken = BTreeSet::new();
        for parent in route.parents() {
            let Some((key, owner)) = self.parent_of(route, parent) else { continue };
            let Some(gateway) = self.plans.get_mut(&key) else { continue };
            let identity = gateway.identity.clone();
            let compiled = compile(route, self.backends, key, identity.as_ref());
            let attachments = match owner {
                Some(owner) => attach(route, parent, gateway, owner, self.labels),
                None => Err(Verdict::no(
                    "NotAllowedByListeners",
                    format!("ListenerSet {:?} may not join its Gateway", parent.name),
                )),
            };
            let (accepted, resolved) = match (compiled, attachments) {
                (Ok(compiled), Err(verdict)) => (verdict, compiled.resolved),
                (Err(_), Err(verdict)) => (verdict, Verdict::yes("ResolvedRefs")),
                (Err(unsupported), Ok(_)) => {
                    (Verdict::no("UnsupportedValue", unsupported), Verdict::yes("ResolvedRefs"))
                }
                (Ok(compiled), Ok(attachments)) => {
                    for (index, hosts) in attachments {
                        // Two references of a route may name one listener.
                        if taken.insert((key, index))
                            && let Some(listener) = gateway.listeners.get_mut(index)
                        {
                            put(listener, hosts, &compiled.served);
                        }
                    }
                    (Verdict::yes("Accepted"), compiled.resolved)
                }
            };
            let before = last.iter().find(|p| p.controller_name == CONTROLLER && p.parent_ref == *parent);
            let before = before.map(|parent| &parent.conditions[..]).unwrap_or_default();
            parents.push(RouteParentStatus {
                parent_ref: parent.clone(),
                controller_name: CONTROLLER.to_owned(),
                conditions: Conditions::new(before, route.metadata().generation, self.now)
                    .with("Accepted", accepted)
                    .with("ResolvedRefs", resolved)
                    .finish(),
            });
        }
        // Entries have no order: writing ours last each time would quarrel with a controller that does the same.
        let same = parents.len() == last.len() && parents.iter().all(|parent| last.contains(parent));
        let (namespace, name) = names(route.metadata());
        (!same).then(|| (namespace.to_owned(), name.to_owned(), RouteStatus { parents }))
    }

    /// The Gateway of ours that a parent reference leads to, and whose listeners it means; none for the listeners of a
    /// set that may not join.
    fn parent_of<R: Routed + 'a>(
        &self,
        route: &'a R,
        parent: &'a ParentReference,
    ) -> Option<(Key<'a>, Option<Owner>)> {
        let namespace = parent.namespace.as_deref().unwrap_or(names(route.metadata()).0);
        let key = (namespace, parent.name.as_str());
        match (parent.group.as_str(), parent.kind.as_str()) {
            (GROUP, "Gateway") => self.plans.get_key_value(&key).map(|(key, _)| (*key, Some(Owner::Gateway))),
            (GROUP, "ListenerSet") => self.plans.iter().find_map(|(gateway, plan)| {
                let number = plan.sets.iter().position(|set| names(&set.set.metadata) == key)?;
                let allowed = plan.sets.get(number).is_some_and(|set| set.allowed);
                Some((*gateway, allowed.then_some(Owner::Set(number))))
            }),
            _ => None,
        }
    }
}

fn compile<'a, R: Routed>(
    route: &R,
    backends: &Backends<'a>,
    gateway: Key<'a>,
    identity: Option<&Certificate>,
) -> Result<Compiled, String> {
    let referrer = Referrer { kind: R::KIND, namespace: names(route.metadata()).0 };
    route.compile(backends, Asker { referrer, protocol: R::PROTOCOL, gateway, identity })
}

/// The listeners of the Gateway that take the route, or why there is none.
fn attach<R: Routed>(
    route: &R,
    parent: &ParentReference,
    plan: &GatewayPlan<'_>,
    owner: Owner,
    labels: &Labels<'_>,
) -> Result<Vec<Attachment>, Verdict> {
    let named = |listener: &ListenerPlan<'_>| {
        listener.owner == owner
            && parent.section_name.as_ref().is_none_or(|name| *name == listener.entry.name)
            && parent.port.is_none_or(|port| port == listener.entry.port)
    };
    let mut listeners: Vec<_> = plan.listeners.iter().enumerate().filter(|(_, plan)| named(plan)).collect();
    if listeners.is_empty() {
        let message = format!("{} {:?} has no listener of that name and port", parent.kind, parent.name);
        return Err(Verdict::no("NoMatchingParent", message));
    }
    let from = names(route.metadata()).0;
    listeners
        .retain(|(_, plan)| plan.kinds.iter().any(|kind| kind.kind == R::KIND) && allows(plan, from, labels));
    if listeners.is_empty() {
        let message = format!("no listener lets {}s of namespace {from} attach; see allowedRoutes", R::KIND);
        return Err(Verdict::no("NotAllowedByListeners", message));
    }
    let attachments: Vec<_> = listeners
        .into_iter()
        .map(|(index, plan)| (index, hostname::meeting(plan.entry.hostname.as_deref(), route.hostnames())))
        .filter(|(_, hosts)| !hosts.is_empty())
        .collect();
    if attachments.is_empty() {
        let message = "no listener has a hostname in common with the route; change either";
        return Err(Verdict::no("NoMatchingListenerHostname", message));
    }
    Ok(attachments)
}

fn allows(listener: &ListenerPlan<'_>, from: &str, labels: &Labels<'_>) -> bool {
    let namespaces = &listener.entry.allowed_routes.namespaces;
    match namespaces.from {
        FromNamespaces::All => true,
        FromNamespaces::Same => listener.namespace == from,
        FromNamespaces::Selector => selects(namespaces.selector.as_ref(), from, labels),
    }
}

fn put(listener: &mut ListenerPlan<'_>, hosts: Vec<HostMatch>, served: &Served) {
    listener.attached += 1;
    for host in hosts {
        match served {
            Served::Requests(routes) => match listener.hosts.iter_mut().find(|(taken, _)| *taken == host) {
                Some((_, all)) => all.extend_from_slice(routes),
                None => listener.hosts.push((host, routes.clone())),
            },
            // Of several routes for one server name the oldest alone is served.
            Served::Streams(backends) => {
                if listener.streams.iter().all(|stream| stream.host != host) {
                    let mut backends = backends.clone();
                    if listener.speaks == Some(Speaks::TlsPassthrough) {
                        // The client's own TLS goes on to the endpoint.
                        backends.iter_mut().for_each(|backend| backend.tls = None);
                    }
                    listener.streams.push(ServerNameRoute { host, backends });
                }
            }
        }
    }
}
