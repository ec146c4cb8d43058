//! What pods ask of a node: amounts, ports of its own, and claims.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Container, PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::quantity::quantity;

/// A port of the node that a pod takes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct HostPort {
    address: String,
    protocol: String,
    port: i32,
}

const ANY: &str = "0.0.0.0";

impl HostPort {
    fn is_in_the_way_of(&self, other: &Self) -> bool {
        let same_address =
            self.address == other.address || [&self.address, &other.address].iter().any(|own| *own == ANY);
        same_address && (self.port, &self.protocol) == (other.port, &other.protocol)
    }
}

/// What pods ask for.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Load {
    pods: f64,
    amounts: BTreeMap<String, f64>,
    ports: Vec<HostPort>,
    /// The claims that they use, by namespace and name.
    claims: BTreeSet<(String, String)>,
}

type Amounts = BTreeMap<String, Quantity>;

fn asks(container: &Container, name: &str) -> f64 {
    let own = container.resources.as_ref();
    let amount = |list: Option<&Amounts>| quantity(&list?.get(name)?.0);
    let requests = own.and_then(|own| own.requests.as_ref());
    amount(requests).or_else(|| amount(own.and_then(|own| own.limits.as_ref()))).unwrap_or(0.0)
}

impl Load {
    /// What one pod asks for: its containers together, or its greediest init container with the sidecars before it.
    pub(crate) fn of(pod: &Pod) -> Self {
        let Some(spec) = &pod.spec else { return Self::default() };
        let all = spec.init_containers.iter().flatten().chain(&spec.containers);
        let lists = all.clone().filter_map(|container| container.resources.as_ref());
        let lists = lists.flat_map(|own| own.requests.iter().chain(&own.limits)).chain(&spec.overhead);
        let names: BTreeSet<&String> = lists.flat_map(BTreeMap::keys).collect();
        let whole = |name: &str| {
            let (mut sidecars, mut most) = (0.0, 0.0_f64);
            for container in spec.init_containers.iter().flatten() {
                if container.restart_policy.as_deref() == Some("Always") {
                    sidecars += asks(container, name);
                    most = most.max(sidecars);
                } else {
                    most = most.max(sidecars + asks(container, name));
                }
            }
            let overhead =
                spec.overhead.as_ref().and_then(|list| quantity(&list.get(name)?.0)).unwrap_or(0.0);
            let main: f64 = spec.containers.iter().map(|container| asks(container, name)).sum();
            most.max(sidecars + main) + overhead
        };
        let text = |text: &Option<String>, default: &str| {
            text.clone().filter(|text| !text.is_empty()).unwrap_or_else(|| default.to_owned())
        };
        let ports = all.flat_map(|container| container.ports.iter().flatten()).filter_map(|port| {
            Some(HostPort {
                address: text(&port.host_ip, ANY),
                protocol: text(&port.protocol, "TCP"),
                port: port.host_port.filter(|port| *port > 0)?,
            })
        });
        let ports = ports.collect();
        let amounts = names.into_iter().map(|name| (name.clone(), whole(name))).collect();
        let namespace = pod.metadata.namespace.clone().unwrap_or_default();
        let claims = xebec_claims::pod::claims(pod).map(|(name, _)| (namespace.clone(), name)).collect();
        Self { pods: 1.0, amounts, ports, claims }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.pods += other.pods;
        for (name, amount) in &other.amounts {
            *self.amounts.entry(name.clone()).or_default() += amount;
        }
        self.ports.extend(other.ports.iter().cloned());
        self.claims.extend(other.claims.iter().cloned());
    }

    /// Whether a claim is in use.
    pub(crate) fn has_claim(&self, claim: &PersistentVolumeClaim) -> bool {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        self.claims.contains(&(text(&claim.metadata.namespace), text(&claim.metadata.name)))
    }

    /// Whether a pod that asks for `other` wants a port that is taken.
    pub(crate) fn takes_ports_of(&self, other: &Self) -> bool {
        self.ports.iter().any(|own| other.ports.iter().any(|wanted| own.is_in_the_way_of(wanted)))
    }

    fn amount(&self, name: &str) -> f64 {
        if name == "pods" { self.pods } else { self.amounts.get(name).copied().unwrap_or(0.0) }
    }

    /// What a pod lacks that asks for `asked` beside this, the pods' number first: the name, what is asked for, what is
    /// taken and what there is.
    pub(crate) fn lacks(&self, asked: &Self, there: Option<&Amounts>) -> Vec<(String, [f64; 3])> {
        let names = asked.amounts.keys().map(String::as_str);
        let names = ["pods", "cpu", "memory"].into_iter().chain(names.filter(|name| !is_usual(name)));
        let lacking = names.filter_map(|name| {
            let (asked, used) = (asked.amount(name), self.amount(name));
            let there = there.and_then(|list| quantity(&list.get(name)?.0));
            // A node that does not tell of a thing that all nodes have is not asked; of others it has none.
            let there = there.unwrap_or(if is_usual(name) { f64::INFINITY } else { 0.0 });
            (asked > 0.0 && used + asked > there).then(|| (name.to_owned(), [asked, used, there]))
        });
        lacking.collect()
    }
}

fn is_usual(name: &str) -> bool {
    matches!(name, "pods" | "cpu" | "memory" | "ephemeral-storage")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn load(spec: serde_json::Value) -> Load {
        Load::of(&serde_json::from_value(json!({"spec": spec})).unwrap_or_default())
    }

    #[test]
    fn init_containers_ask_in_turn_and_sidecars_beside_all() {
        let asks = |cpu: &str| json!({"requests": {"cpu": cpu}});
        let whole = load(json!({
            "initContainers": [
                {"name": "first", "resources": asks("2")},
                {"name": "side", "restartPolicy": "Always", "resources": asks("500m")},
                {"name": "last", "resources": asks("1")},
            ],
            "containers": [{"name": "a", "resources": asks("1")}, {"name": "b", "resources": asks("250m")}],
        }));
        assert_eq!(whole.amount("cpu"), 2.0);
    }

    #[test]
    fn ports_are_taken_by_address_and_protocol() {
        let port = |port: i32, address: &str, protocol: &str| {
            load(json!({"containers": [{"name": "a", "ports": [
                {"containerPort": 80, "hostPort": port, "hostIP": address, "protocol": protocol},
            ]}]}))
        };
        let taken = port(8080, "127.0.0.1", "TCP");
        for (other, is_taken) in [
            (port(8080, "127.0.0.1", "TCP"), true),
            (port(8080, "", "TCP"), true),
            (port(8080, "10.0.0.1", "TCP"), false),
            (port(8080, "127.0.0.1", "UDP"), false),
            (port(8081, "127.0.0.1", "TCP"), false),
            (port(0, "", "TCP"), false),
        ] {
            assert_eq!(taken.takes_ports_of(&other), is_taken, "{other:?}");
        }
    }

    #[test]
    fn things_of_a_kind_that_the_node_does_not_have_are_lacking() {
        let asked = load(json!({"containers": [
            {"name": "a", "resources": {"requests": {"example.com/gpu": "1", "cpu": "1"}}},
        ]}));
        let names = |there: serde_json::Value| {
            let there: Amounts = serde_json::from_value(there).unwrap_or_default();
            let lacking = Load::default().lacks(&asked, Some(&there));
            lacking.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
        };
        assert_eq!(names(json!({"cpu": "2"})), ["example.com/gpu"]);
        assert_eq!(names(json!({"cpu": "2", "example.com/gpu": "1"})), [""; 0]);
    }
}
