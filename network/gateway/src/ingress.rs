//! Ingresses, as the Gateway API objects that say the same: one Gateway for all of them, a ListenerSet for the hosts of
//! each namespace that have a certificate, and an HTTPRoute for each Ingress and host. They are served like any other
//! and never written to the API; the Ingress itself is told its address.
//!
//! A host belongs to the namespace of the oldest Ingress that names it, in a rule or with a certificate: what Ingresses of
//! other namespaces say of it is not served, or whoever may write one could take over the paths of another's host. They
//! are told so. Rules without a host, and default backends, are everybody's.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, Ingress, IngressBackend, IngressClass, IngressLoadBalancerIngress,
    IngressLoadBalancerStatus, IngressPortStatus, IngressStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::Resource as _;
use serde_json::{Value, json};
use xebec_api::gateway::{GROUP, Gateway, HTTPRoute, ListenerSet};

use crate::Snapshot;
use crate::address::Key;
use crate::translation::{Notice, names};

/// The controller of the IngressClasses that are ours.
pub const INGRESS_CONTROLLER: &str = "xebec.dev/ingress";

/// The namespace of the Gateway of Ingresses, which no object can have.
const NOWHERE: &str = "";
/// Its name, and that of the ListenerSets, which no object can have either.
const GATEWAY: &str = "ingresses/";
/// The annotation of the class of Ingresses that name none.
const DEFAULT_CLASS: &str = "ingressclass.kubernetes.io/is-default-class";
/// What the status of an Ingress says of hosts that are another namespace's.
const HOST_TAKEN: &str = "xebec.dev/HostTaken";
/// The port of rules.
const HTTP: i32 = 80;

/// What the Ingresses of ours say, in the words of Gateway API.
#[derive(Default)]
pub(crate) struct Ingresses<'a> {
    /// The oldest first.
    ours: Vec<&'a Ingress>,
    owners: Owners<'a>,
    pub(crate) gateway: Option<Gateway>,
    pub(crate) listener_sets: Vec<ListenerSet>,
    pub(crate) routes: Vec<HTTPRoute>,
}

/// The key of the Gateway of Ingresses.
pub(crate) const KEY: Key<'static> = (NOWHERE, GATEWAY);

impl<'a> Ingresses<'a> {
    pub(crate) fn new(snapshot: &'a Snapshot) -> Self {
        let classes = || {
            let of_ours = |class: &&Arc<IngressClass>| {
                class.spec.as_ref().and_then(|spec| spec.controller.as_deref()) == Some(INGRESS_CONTROLLER)
            };
            snapshot.ingress_classes.iter().filter(of_ours)
        };
        let is_default = classes().any(|class| {
            let annotations = class.metadata.annotations.as_ref();
            annotations.and_then(|all| all.get(DEFAULT_CLASS)).is_some_and(|value| value == "true")
        });
        let is_ours = |ingress: &&Ingress| match ingress
            .spec
            .as_ref()
            .and_then(|spec| spec.ingress_class_name.as_deref())
        {
            Some(name) => classes().any(|class| class.metadata.name.as_deref() == Some(name)),
            None => is_default,
        };
        let mut ours: Vec<_> = snapshot.ingresses.iter().map(|ingress| &**ingress).filter(is_ours).collect();
        ours.sort_by_key(|ingress| (ingress.metadata.creation_timestamp.clone(), names(&ingress.metadata)));
        if ours.is_empty() {
            return Self::default();
        }
        let owners = owners(&ours);
        let mut made = Self { gateway: gateway(&ours), ..Self::default() };
        let secured = secured(&ours, &owners);
        made.listener_sets =
            secured.iter().filter_map(|(namespace, hosts)| listener_set(namespace, hosts)).collect();
        for ingress in &ours {
            let secured = secured.contains_key(names(&ingress.metadata).0);
            made.routes.extend(routes(ingress, &owners, snapshot, secured));
        }
        (made.ours, made.owners) = (ours, owners);
        made
    }

    /// What the Ingresses are told whose hosts are another namespace's.
    pub(crate) fn notices(&self) -> Vec<Notice> {
        let notice = |ingress: &&Ingress| {
            let namespace = names(&ingress.metadata).0;
            let taken: BTreeMap<_, _> = hosts(ingress)
                .filter_map(|host| Some((host, *self.owners.get(host)?)))
                .filter(|(_, owner)| owner.0 != namespace)
                .collect();
            let (host, (owner, name)) = taken.iter().next()?;
            let others = match taken.len() - 1 {
                0 => String::new(),
                more => format!(" (and {more} more)"),
            };
            Some(Notice {
                object: ingress.object_ref(&()),
                reason: "HostTaken",
                message: format!(
                    "host {host:?}{others} belongs to Ingress {owner}/{name}, which is older; put this Ingress into \
                     its namespace, or name another host"
                ),
            })
        };
        self.ours.iter().filter_map(notice).collect()
    }

    /// The statuses that differ from those that the Ingresses have.
    pub(crate) fn statuses(&self, addresses: &[IpAddr]) -> Vec<(String, String, IngressStatus)> {
        let status = |ports: Option<Vec<IngressPortStatus>>| {
            let at = |address: &IpAddr| IngressLoadBalancerIngress {
                ip: Some(address.to_string()),
                ports: ports.clone(),
                ..IngressLoadBalancerIngress::default()
            };
            let ingress = Some(addresses.iter().map(at).collect());
            IngressStatus { load_balancer: Some(IngressLoadBalancerStatus { ingress }) }
        };
        let refused =
            IngressPortStatus { port: HTTP, protocol: "TCP".to_owned(), error: Some(HOST_TAKEN.to_owned()) };
        let (plain, refused) = (status(None), status(Some(vec![refused])));
        let wanted = self.ours.iter().map(|ingress| {
            let namespace = names(&ingress.metadata).0;
            let taken = hosts(ingress).any(|host| !owns(&self.owners, namespace, host));
            (ingress, if taken { &refused } else { &plain })
        });
        wanted
            .filter(|(ingress, status)| ingress.status.as_ref() != Some(*status))
            .map(|(ingress, status)| {
                let (namespace, name) = names(&ingress.metadata);
                (namespace.to_owned(), name.to_owned(), status.clone())
            })
            .collect()
    }
}

/// The namespace and name of the oldest Ingress of each host.
type Owners<'a> = BTreeMap<&'a str, Key<'a>>;

fn owners<'a>(ours: &[&'a Ingress]) -> Owners<'a> {
    let mut owners = Owners::new();
    for ingress in ours {
        for host in hosts(ingress) {
            owners.entry(host).or_insert(names(&ingress.metadata));
        }
    }
    owners
}

/// The hosts that an Ingress names, each once.
fn hosts(ingress: &Ingress) -> impl Iterator<Item = &str> {
    let of_rules = ingress.spec.iter().flat_map(|spec| spec.rules.iter().flatten());
    let of_rules = of_rules.filter_map(|rule| rule.host.as_deref()).filter(|host| !host.is_empty());
    let of_tls = ingress.spec.iter().flat_map(|spec| spec.tls.iter().flatten());
    let of_tls = of_tls.flat_map(|tls| tls.hosts.iter().flatten()).map(String::as_str);
    of_rules.chain(of_tls).collect::<BTreeSet<_>>().into_iter()
}

/// Whether rules and certificates of this namespace count for the host.
fn owns(owners: &Owners<'_>, namespace: &str, host: &str) -> bool {
    owners.get(host).is_none_or(|(owner, _)| *owner == namespace)
}

/// The Gateway that all Ingresses share, which remembers the address that they were told.
fn gateway(ours: &[&Ingress]) -> Option<Gateway> {
    let told = ours.iter().find_map(|ingress| {
        let told = ingress.status.as_ref()?.load_balancer.as_ref()?.ingress.as_ref()?;
        told.iter().find_map(|entry| entry.ip.clone())
    });
    let addresses: Vec<_> = told.iter().map(|ip| json!({"type": "IPAddress", "value": ip})).collect();
    read(&json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": "Gateway",
        "metadata": {"name": GATEWAY, "namespace": NOWHERE},
        "spec": {
            "gatewayClassName": "",
            "allowedListeners": {"namespaces": {"from": "All"}},
            "listeners": [{
                "name": "http", "port": HTTP, "protocol": "HTTP",
                "allowedRoutes": {"namespaces": {"from": "All"}},
            }],
        },
        "status": {"addresses": addresses, "conditions": []},
    }))
}

/// The hosts with a certificate by namespace, each with the name of its Secret; the earliest Ingress has a say.
type Secured<'a> = BTreeMap<&'a str, BTreeMap<&'a str, &'a str>>;

fn secured<'a>(ours: &[&'a Ingress], owners: &Owners<'_>) -> Secured<'a> {
    let mut secured = Secured::new();
    for ingress in ours {
        let namespace = names(&ingress.metadata).0;
        let entries = ingress.spec.iter().flat_map(|spec| spec.tls.iter().flatten());
        for entry in entries {
            let Some(secret) = entry.secret_name.as_deref() else { continue };
            for host in entry.hosts.iter().flatten().filter(|host| owns(owners, namespace, host)) {
                secured.entry(namespace).or_default().entry(host).or_insert(secret);
            }
        }
    }
    secured
}

fn listener_set(namespace: &str, hosts: &BTreeMap<&str, &str>) -> Option<ListenerSet> {
    let listeners: Vec<_> = hosts
        .iter()
        .map(|(host, secret)| {
            json!({
                "name": host, "hostname": host, "port": 443, "protocol": "HTTPS",
                "tls": {"certificateRefs": [{"name": secret}]},
            })
        })
        .collect();
    read(&json!({
        "apiVersion": format!("{GROUP}/v1"),
        "kind": "ListenerSet",
        "metadata": {"name": GATEWAY, "namespace": namespace},
        "spec": {"parentRef": {"name": GATEWAY, "namespace": NOWHERE}, "listeners": listeners},
    }))
}

/// One route a host, as hosts stand at routes, and one for the default backend.
fn routes(ingress: &Ingress, owners: &Owners<'_>, snapshot: &Snapshot, secured: bool) -> Vec<HTTPRoute> {
    let (namespace, name) = names(&ingress.metadata);
    let Some(spec) = &ingress.spec else { return Vec::new() };
    let mut parents = vec![json!({"name": GATEWAY, "namespace": NOWHERE})];
    if secured {
        parents.push(json!({"group": GROUP, "kind": "ListenerSet", "name": GATEWAY}));
    }
    let mut by_host = BTreeMap::<&str, Vec<Value>>::new();
    for rule in spec.rules.iter().flatten() {
        let host = rule.host.as_deref().unwrap_or_default();
        if !owns(owners, namespace, host) {
            continue;
        }
        let paths = rule.http.iter().flat_map(|http| &http.paths);
        let rules = by_host.entry(host).or_default();
        rules.extend(paths.map(|path| path_rule(path, namespace, snapshot)));
    }
    let route = |host: &str, rules: Vec<Value>, since: Option<Time>| {
        let hostnames: Vec<_> = (!host.is_empty()).then_some(host).into_iter().collect();
        let mut route: HTTPRoute = read(&json!({
            "apiVersion": format!("{GROUP}/v1"),
            "kind": "HTTPRoute",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"parentRefs": parents, "hostnames": hostnames, "rules": rules},
        }))?;
        route.metadata.creation_timestamp = since;
        Some(route)
    };
    let since = &ingress.metadata.creation_timestamp;
    let mut routes: Vec<_> =
        by_host.into_iter().filter_map(|(host, rules)| route(host, rules, since.clone())).collect();
    if let Some(backend) = &spec.default_backend {
        let rule = json!({"backendRefs": [reference(backend, namespace, snapshot)]});
        // Every rule of every Ingress has its say before.
        routes.extend(route("", vec![rule], Some(Time(jiff::Timestamp::MAX))));
    }
    routes
}

fn path_rule(path: &HTTPIngressPath, namespace: &str, snapshot: &Snapshot) -> Value {
    let type_ = if path.path_type == "Exact" { "Exact" } else { "PathPrefix" };
    let value = path.path.as_deref().filter(|path| path.starts_with('/')).unwrap_or("/");
    json!({
        "matches": [{"path": {"type": type_, "value": value}}],
        "backendRefs": [reference(&path.backend, namespace, snapshot)],
    })
}

/// A backend; one that is no Service leads nowhere.
fn reference(backend: &IngressBackend, namespace: &str, snapshot: &Snapshot) -> Value {
    let Some(service) = &backend.service else {
        let kind = backend.resource.as_ref().map(|resource| resource.kind.as_str()).unwrap_or_default();
        return json!({"group": "unknown", "kind": kind, "name": "unknown"});
    };
    let port = service.port.as_ref();
    let by_name = || port_named(namespace, &service.name, port?.name.as_deref()?, snapshot);
    let number = port.and_then(|port| port.number).filter(|number| *number > 0).or_else(by_name);
    json!({"name": service.name, "port": number})
}

fn port_named(namespace: &str, service: &str, name: &str, snapshot: &Snapshot) -> Option<i32> {
    let is_it = |found: &&Arc<Service>| names(&found.metadata) == (namespace, service);
    let ports = snapshot.services.iter().find(is_it)?.spec.as_ref()?.ports.as_ref()?;
    ports.iter().find(|port| port.name.as_deref() == Some(name)).map(|port| port.port)
}

/// Reads an object that was written here.
fn read<T: serde::de::DeserializeOwned>(object: &Value) -> Option<T> {
    serde_json::from_value(object.clone()).ok()
}
