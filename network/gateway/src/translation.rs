//! The translation as a whole.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use xebec_api::gateway::{
    Gateway, GatewayClass, GatewayClassStatus, GatewayStatus, GatewayStatusAddress, HTTPRoute,
    ListenerStatus, RouteParentStatus, RouteStatus,
};
use xebec_proxy::config::{self, Config, HostMatch, Protocol, VirtualHost};

use crate::backend::Backends;
use crate::condition::{Conditions, Verdict};
use crate::gateway::{GatewayPlan, ListenerPlan, plan};
use crate::route::{Labels, attach, gateway_of};
use crate::rule::{Compiled, compile};
use crate::{CONTROLLER, Snapshot};

/// What a snapshot asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Translation {
    /// What the proxy serves.
    pub config: Config,
    /// The statuses that differ from those that the objects have.
    pub statuses: Vec<Status>,
}

/// The status of one object.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind")]
#[non_exhaustive]
pub enum Status {
    /// Of a GatewayClass.
    GatewayClass {
        /// The object's name.
        name: String,
        /// Its status.
        status: GatewayClassStatus,
    },
    /// Of a Gateway.
    Gateway {
        /// The object's namespace.
        namespace: String,
        /// The object's name.
        name: String,
        /// Its status.
        status: GatewayStatus,
    },
    /// Of an HTTPRoute.
    HTTPRoute {
        /// The object's namespace.
        namespace: String,
        /// The object's name.
        name: String,
        /// Its status.
        status: RouteStatus,
    },
}

type Hosts = Vec<(HostMatch, Vec<config::Route>)>;

/// Decides what is served and what is said of it. The order of the snapshot's objects does not matter.
pub fn translate(snapshot: &Snapshot) -> Translation {
    let mut statuses = Vec::new();
    let mut classes: Vec<_> =
        snapshot.classes.iter().filter(|class| class.spec.controller_name == CONTROLLER).collect();
    classes.sort_by_key(|class| &class.metadata.name);
    statuses.extend(classes.iter().filter_map(|class| class_status(class, snapshot)));
    let ours = |gateway: &Gateway| {
        classes.iter().any(|class| class.metadata.name.as_ref() == Some(&gateway.spec.gateway_class_name))
    };
    let gateways = snapshot.gateways.iter().filter(|gateway| ours(gateway));
    let mut plans: BTreeMap<_, _> =
        gateways.map(|gateway| (names(&gateway.metadata), plan(gateway, &snapshot.options))).collect();
    let mut served = BTreeMap::<SocketAddr, Hosts>::new();
    for address in plans.values().flat_map(|plan| plan.listeners.iter().filter_map(ListenerPlan::served)) {
        served.entry(address).or_default();
    }
    let labels: Labels<'_> = snapshot
        .namespaces
        .iter()
        .filter_map(|namespace| {
            Some((namespace.metadata.name.as_deref()?, namespace.metadata.labels.as_ref()?))
        })
        .collect();
    let backends = Backends::new(snapshot);
    let mut routes: Vec<_> = snapshot.routes.iter().map(|route| &**route).collect();
    // Of equal matches the oldest route wins, then the first by name.
    routes.sort_by_key(|route| {
        let created = route.metadata.creation_timestamp.as_ref();
        (created.is_none(), created, names(&route.metadata))
    });
    for route in routes {
        let world = (snapshot, &backends, &labels);
        statuses.extend(serve(route, world, &mut plans, &mut served));
    }
    statuses.extend(plans.values().filter_map(|plan| gateway_status(plan, snapshot)));
    let listeners = served.into_iter().map(|(address, hosts)| config::Listener {
        address,
        protocol: Protocol::Http,
        hosts: hosts.into_iter().map(|(host, routes)| VirtualHost { host, routes }).collect(),
    });
    Translation { config: Config { listeners: listeners.collect() }, statuses }
}

fn names(metadata: &ObjectMeta) -> (&str, &str) {
    (metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default())
}

fn class_status(class: &GatewayClass, snapshot: &Snapshot) -> Option<Status> {
    let last = class.status.clone().unwrap_or_default();
    let conditions = Conditions::new(&last.conditions, class.metadata.generation, &snapshot.now)
        .with("Accepted", Verdict::yes("Accepted"))
        .finish();
    let status = GatewayClassStatus { conditions, supported_features: last.supported_features };
    let name = names(&class.metadata).1.to_owned();
    (class.status.as_ref() != Some(&status)).then_some(Status::GatewayClass { name, status })
}

/// Attaches a route to the Gateways of ours that it names; what others wrote in its status stays.
fn serve<'a>(
    route: &'a HTTPRoute,
    (snapshot, backends, labels): (&Snapshot, &Backends<'_>, &Labels<'_>),
    plans: &mut BTreeMap<(&'a str, &'a str), GatewayPlan<'a>>,
    served: &mut BTreeMap<SocketAddr, Hosts>,
) -> Option<Status> {
    let last = route.status.as_ref().map(|status| &status.parents[..]).unwrap_or_default();
    let mut parents: Vec<_> = last.iter().filter(|p| p.controller_name != CONTROLLER).cloned().collect();
    let mut compiled: Option<Result<Compiled, String>> = None;
    let mut taken = Vec::new();
    for parent in &route.spec.parent_refs {
        let Some(gateway) = gateway_of(parent, route).and_then(|key| plans.get_mut(&key)) else { continue };
        let rules = compiled.get_or_insert_with(|| compile(route, backends));
        let attachments = attach(route, parent, gateway, labels);
        let (accepted, resolved) = match (rules, attachments) {
            (Ok(rules), Err(verdict)) => (verdict, rules.resolved.clone()),
            (Err(_), Err(verdict)) => (verdict, Verdict::yes("ResolvedRefs")),
            (Err(unsupported), Ok(_)) => {
                (Verdict::no("UnsupportedValue", unsupported.clone()), Verdict::yes("ResolvedRefs"))
            }
            (Ok(rules), Ok(attachments)) => {
                for (index, hosts) in attachments {
                    let Some(listener) = gateway.listeners.get_mut(index) else { continue };
                    // Two references of a route may name one listener.
                    let place = (names(&gateway.gateway.metadata), index);
                    if taken.contains(&place) {
                        continue;
                    }
                    taken.push(place);
                    listener.attached += 1;
                    let Some(address) = listener.served() else { continue };
                    let table = served.entry(address).or_default();
                    for host in hosts {
                        append(table, host, &rules.routes);
                    }
                }
                (Verdict::yes("Accepted"), rules.resolved.clone())
            }
        };
        let before = last.iter().find(|p| p.controller_name == CONTROLLER && p.parent_ref == *parent);
        let before = before.map(|parent| &parent.conditions[..]).unwrap_or_default();
        parents.push(RouteParentStatus {
            parent_ref: parent.clone(),
            controller_name: CONTROLLER.to_owned(),
            conditions: Conditions::new(before, route.metadata.generation, &snapshot.now)
                .with("Accepted", accepted)
                .with("ResolvedRefs", resolved)
                .finish(),
        });
    }
    // Entries have no order: writing ours last each time would quarrel with a controller that does the same.
    let same = parents.len() == last.len() && parents.iter().all(|parent| last.contains(parent));
    let (namespace, name) = names(&route.metadata);
    (!same).then(|| Status::HTTPRoute {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        status: RouteStatus { parents },
    })
}

fn append(table: &mut Hosts, host: HostMatch, routes: &[config::Route]) {
    match table.iter_mut().find(|(taken, _)| *taken == host) {
        Some((_, all)) => all.extend_from_slice(routes),
        None => table.push((host, routes.to_vec())),
    }
}

fn gateway_status(plan: &GatewayPlan<'_>, snapshot: &Snapshot) -> Option<Status> {
    let metadata = &plan.gateway.metadata;
    let last = plan.gateway.status.clone().unwrap_or_default();
    let mut listeners = Vec::new();
    let mut programmed = Vec::new();
    let mut failed = Vec::new();
    for listener in &plan.listeners {
        let verdict = programmed_verdict(listener, snapshot);
        let name = &listener.listener.name;
        (if verdict.holds { &mut programmed } else { &mut failed })
            .push(format!("{name}: {}", verdict.message));
        let before = last.listeners.iter().find(|last| last.name == *name);
        let before = before.map(|last| &last.conditions[..]).unwrap_or_default();
        listeners.push(ListenerStatus {
            name: name.clone(),
            supported_kinds: listener.kinds.clone(),
            attached_routes: listener.attached,
            conditions: Conditions::new(before, metadata.generation, &snapshot.now)
                .with("Accepted", listener.accepted.clone())
                .with("Programmed", verdict)
                .with("ResolvedRefs", listener.resolved.clone())
                .with("Conflicted", listener.conflicted.clone())
                .finish(),
        });
    }
    let verdict = if programmed.is_empty() {
        Verdict::no("Invalid", failed.join("; "))
    } else {
        Verdict { holds: true, reason: "Programmed", message: programmed.join("; ") }
    };
    let address =
        GatewayStatusAddress { type_: "IPAddress".to_owned(), value: snapshot.options.address.to_string() };
    let addresses = if verdict.holds { vec![address] } else { Vec::new() };
    let conditions = Conditions::new(&last.conditions, metadata.generation, &snapshot.now)
        .with("Accepted", plan.accepted.clone())
        .with("Programmed", verdict)
        .finish();
    let status = GatewayStatus { addresses, conditions, listeners };
    let (namespace, name) = names(metadata);
    (plan.gateway.status.as_ref() != Some(&status)).then(|| Status::Gateway {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        status,
    })
}

fn programmed_verdict(listener: &ListenerPlan<'_>, snapshot: &Snapshot) -> Verdict {
    let Some(address) = listener.served() else {
        return Verdict::no("Invalid", "the listener cannot be served; see its other conditions");
    };
    if let Some(reason) = snapshot.unbound.get(&address) {
        return Verdict::no("Pending", reason.clone());
    }
    let port = listener.listener.port;
    let moved = i32::from(address.port()) != port;
    let message = if moved {
        format!("port {port} is served at {address}, as ports below 1024 may not be opened")
    } else {
        format!("served at {address}")
    };
    Verdict { holds: true, reason: "Programmed", message }
}
