//! The translation as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ObjectReference, ServiceAccount};
use k8s_openapi::api::networking::v1::IngressStatus;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use xebec_api::gateway::{
    Gateway, GatewayClassStatus, GatewayStatus, ListenerSet, ListenerSetStatus, PolicyStatus, RouteStatus,
};
use xebec_proxy::config::{Backend, Config, Domain, Ending, Listener, Protocol, TlsDomain, VirtualHost};

use crate::address::assign;
use crate::backend::Backends;
use crate::gateway::{GatewayPlan, Labels, Surroundings, names_gateway, plan};
use crate::grant::Grants;
use crate::ingress::{self, Ingresses};
use crate::listener::{ListenerPlan, Owner, Speaks};
use crate::material::Material;
use crate::policy::Policies;
use crate::route::Attaching;
use crate::snapshot::Place;
use crate::{CONTROLLER, Snapshot, account, class, status};

/// What a snapshot asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Translation {
    /// What the proxy serves.
    pub config: Config,
    /// The statuses that differ from those that the objects have.
    pub statuses: Vec<Status>,
    /// Objects that are to be there and are not, or not so.
    pub accounts: Vec<ServiceAccount>,
    /// What is said in events, of objects whose status has no place for it.
    pub notices: Vec<Notice>,
    /// The classes whose finalizers are to change.
    pub holds: Vec<Hold>,
}

/// The finalizers that a class is to have.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Hold {
    /// The class.
    pub class: String,
    /// The version of it that was seen.
    pub version: Option<String>,
    /// All of its finalizers.
    pub finalizers: Vec<String>,
}

/// A warning to whoever looks at an object.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Notice {
    /// The object.
    pub object: ObjectReference,
    /// The cause, in one word.
    pub reason: &'static str,
    /// What is wrong, and the remedy.
    pub message: String,
}

/// The status of one object.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Status {
    /// The object's kind.
    pub kind: &'static str,
    /// Its namespace, if it is in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// What is said of it.
    pub status: Said,
}

/// What is said of an object, by its kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Said {
    /// Of a GatewayClass.
    Class(GatewayClassStatus),
    /// Of a Gateway.
    Gateway(GatewayStatus),
    /// Of a ListenerSet.
    Listeners(ListenerSetStatus),
    /// Of a route of any kind.
    Route(RouteStatus),
    /// Of a policy.
    Policy(PolicyStatus),
    /// Of an Ingress.
    Ingress(IngressStatus),
}

/// Decides what is served and what is said of it. The order of the snapshot's objects does not matter.
pub fn translate(snapshot: &Snapshot) -> Translation {
    let ingresses = Ingresses::new(snapshot);
    let (mut statuses, mut holds) = (Vec::new(), Vec::new());
    let mut classes: Vec<_> =
        snapshot.classes.iter().filter(|class| class.spec.controller_name == CONTROLLER).collect();
    classes.sort_by_key(|class| &class.metadata.name);
    for class in &classes {
        let name = names(&class.metadata).1.to_owned();
        let in_use = snapshot.gateways.iter().any(|gateway| gateway.spec.gateway_class_name == name);
        if let Some(finalizers) = class::finalizers(class, in_use) {
            let version = class.metadata.resource_version.clone();
            holds.push(Hold { class: name.clone(), version, finalizers });
        }
        let said = class::status(class, &snapshot.now).map(Said::Class);
        statuses.extend(said.map(|status| Status { kind: "GatewayClass", namespace: None, name, status }));
    }
    classes.retain(|class| class::accepted(class).holds);
    let ours = |gateway: &Gateway| {
        classes.iter().any(|class| class.metadata.name.as_ref() == Some(&gateway.spec.gateway_class_name))
    };
    let mut gateways: Vec<_> =
        snapshot.gateways.iter().map(|gateway| &**gateway).filter(|gateway| ours(gateway)).collect();
    gateways.sort_by_key(|gateway| (gateway.metadata.creation_timestamp.clone(), names(&gateway.metadata)));
    gateways.extend(&ingresses.gateway);
    let labels: Labels<'_> = snapshot
        .namespaces
        .iter()
        .filter_map(|namespace| {
            Some((namespace.metadata.name.as_deref()?, namespace.metadata.labels.as_ref()?))
        })
        .collect();
    let (grants, material) = (Grants::new(snapshot), Material::new(snapshot));
    let around =
        Surroundings { options: &snapshot.options, grants: &grants, material: &material, labels: &labels };
    let mut plans = plans(snapshot, &gateways, &ingresses.listener_sets, around);
    let policies = Policies::new(snapshot, &material, &grants);
    let backends = Backends::new(snapshot, &grants, &policies);
    let mut attaching =
        Attaching { plans: &mut plans, backends: &backends, labels: &labels, now: &snapshot.now };
    let said = [
        ("HTTPRoute", attaching.all(snapshot.http_routes.iter().map(|route| &**route))),
        ("GRPCRoute", attaching.all(snapshot.grpc_routes.iter().map(|route| &**route))),
        ("TLSRoute", attaching.all(snapshot.tls_routes.iter().map(|route| &**route))),
        ("TCPRoute", attaching.all(snapshot.tcp_routes.iter().map(|route| &**route))),
        ("UDPRoute", attaching.all(snapshot.udp_routes.iter().map(|route| &**route))),
    ];
    // The routes of Ingresses have no status of their own.
    let _ = attaching.all(ingresses.routes.iter());
    for (kind, routes) in said {
        statuses.extend(routes.into_iter().map(|(namespace, name, status)| Status {
            kind,
            namespace: Some(namespace),
            name,
            status: Said::Route(status),
        }));
    }
    let said = |kind, metadata: &ObjectMeta, status| {
        let (namespace, name) = names(metadata);
        Status { kind, namespace: Some(namespace.to_owned()), name: name.to_owned(), status }
    };
    for (key, plan) in &plans {
        if *key == ingress::KEY {
            let statuses_of_ours = ingresses.statuses(&plan.addresses).into_iter();
            statuses.extend(statuses_of_ours.map(|(namespace, name, status)| Status {
                kind: "Ingress",
                namespace: Some(namespace),
                name,
                status: Said::Ingress(status),
            }));
            continue;
        }
        let status = status::gateway(plan, snapshot).map(Said::Gateway);
        statuses.extend(status.map(|status| said("Gateway", &plan.gateway.metadata, status)));
        for (number, set) in plan.sets.iter().enumerate() {
            let status = status::listener_set(plan, number, set, snapshot).map(Said::Listeners);
            statuses.extend(status.map(|status| said("ListenerSet", &set.set.metadata, status)));
        }
    }
    for (plan, gateways) in policies.plans() {
        let status = status::policy(plan, &gateways, snapshot).map(Said::Policy);
        statuses.extend(status.map(|status| said("BackendTLSPolicy", &plan.policy.metadata, status)));
    }
    let accounts = gateways.iter().filter_map(|gateway| account::wanted(gateway, snapshot)).collect();
    let config = Config { listeners: served(plans.into_values()) };
    Translation { config, statuses, accounts, notices: ingresses.notices(), holds }
}

fn plans<'a>(
    snapshot: &'a Snapshot,
    gateways: &[&'a Gateway],
    made: &'a [ListenerSet],
    around: Surroundings<'_>,
) -> BTreeMap<(&'a str, &'a str), GatewayPlan<'a>> {
    let mut sets: Vec<&ListenerSet> = snapshot.listener_sets.iter().map(|set| &**set).chain(made).collect();
    sets.sort_by_key(|set| (set.metadata.creation_timestamp.clone(), names(&set.metadata)));
    let mut addresses = assign(gateways, &snapshot.options);
    let mut taken = BTreeSet::new();
    let mut plans = BTreeMap::new();
    for gateway in gateways {
        let key = names(&gateway.metadata);
        let own: Vec<_> = sets.iter().filter(|set| names_gateway(set, gateway)).copied().collect();
        let Some(addresses) = addresses.remove(&key) else { continue };
        plans.insert(key, plan(gateway, &own, addresses, &mut taken, around));
    }
    plans
}

/// The proxy's listeners: one a place, with what all listeners of that place serve.
fn served<'a>(plans: impl Iterator<Item = GatewayPlan<'a>>) -> Vec<Listener> {
    let mut listeners = BTreeMap::<Place, Protocol>::new();
    for plan in plans {
        let of_ingresses = names(&plan.gateway.metadata) == ingress::KEY;
        for listener in plan.listeners.iter().filter(|listener| listener.is_served()) {
            let set = match listener.owner {
                Owner::Gateway => None,
                Owner::Set(number) => plan.sets.get(number).map(|set| &set.set.metadata),
            };
            let (namespace, name) = names(set.unwrap_or(&plan.gateway.metadata));
            let id: Arc<str> = match of_ingresses {
                true => format!("ingresses/{}", listener.entry.name).into(),
                false => format!("{namespace}/{name}/{}", listener.entry.name).into(),
            };
            for place in &listener.places {
                add(listener, Arc::clone(&id), listeners.entry(*place).or_insert_with(|| empty(listener)));
            }
        }
    }
    listeners.into_iter().map(|(place, protocol)| Listener { address: place.address, protocol }).collect()
}

fn empty(listener: &ListenerPlan<'_>) -> Protocol {
    match listener.speaks {
        Some(Speaks::Tcp) => Protocol::Tcp(Vec::new()),
        Some(Speaks::Udp) => Protocol::Udp(Vec::new()),
        Some(Speaks::Https | Speaks::TlsTerminate | Speaks::TlsPassthrough) => Protocol::Tls(Vec::new()),
        Some(Speaks::Http) | None => Protocol::Http(Vec::new()),
    }
}

fn add(listener: &ListenerPlan<'_>, id: Arc<str>, protocol: &mut Protocol) {
    let hosts = || {
        let hosts = listener.hosts.iter().cloned();
        hosts.map(|(host, routes)| VirtualHost { host, routes }).collect::<Vec<_>>()
    };
    let backends = || -> Vec<Backend> {
        listener.streams.first().map(|stream| stream.backends.clone()).unwrap_or_default()
    };
    match protocol {
        Protocol::Http(domains) => domains.push(Domain { id, host: listener.host(), hosts: hosts() }),
        Protocol::Tls(domains) => {
            let ending = match listener.speaks {
                Some(Speaks::TlsPassthrough) => Ending::Passthrough(listener.streams.clone()),
                Some(Speaks::TlsTerminate) => Ending::Tcp(listener.tls.clone(), listener.streams.clone()),
                _ => Ending::Http(listener.tls.clone(), hosts()),
            };
            domains.push(TlsDomain { id, host: listener.host(), ending });
        }
        Protocol::Tcp(all) | Protocol::Udp(all) => *all = backends(),
    }
}

/// The namespace and name of an object.
pub(crate) fn names(metadata: &ObjectMeta) -> (&str, &str) {
    (metadata.namespace.as_deref().unwrap_or_default(), metadata.name.as_deref().unwrap_or_default())
}
