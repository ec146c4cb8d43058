//! The node as an object: what it has, what it is like, and that it lives.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::{Namespace, Node as NodeObject, NodeAddress, NodeCondition, NodeStatus};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, OwnerReference, Time};
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;

use crate::agent::Node;
use crate::event::{Kind, Source, node_reference};
use crate::machine::{MOST_PODS, Machine, architecture, system};

/// How often the node says that it lives.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// For how long its word counts, in seconds.
const LEASE_SECONDS: i32 = 40;
const LEASES: &str = "kube-node-lease";

/// Says again and again that the node lives.
pub(crate) async fn beat(node: Arc<Node>) {
    let name = node.options.name.clone();
    let note = |reason: &'static str, message: String| {
        node.events.note(Source::Kubelet, node_reference(&name), Kind::Normal, reason, message);
    };
    note("Starting", "Starting kubelet.".to_owned());
    let mut is_first = true;
    loop {
        let pause = match beat_once(&node).await {
            Ok(()) => {
                if std::mem::take(&mut is_first) {
                    note("NodeReady", format!("Node {name} status is now: NodeReady"));
                }
                HEARTBEAT
            }
            Err(error) => {
                tracing::warn!(%error, "cannot write the node's status; trying again");
                Duration::from_millis(500)
            }
        };
        tokio::time::sleep(pause).await;
    }
}

async fn beat_once(node: &Node) -> Result<(), kube::Error> {
    let nodes: Api<NodeObject> = Api::all(node.client.clone());
    let name = &node.options.name;
    let current = match nodes.get_opt(name).await? {
        Some(current) => current,
        None => nodes.create(&PostParams::default(), &object(name)).await?,
    };
    let folder = node.options.folder.clone();
    let Ok((machine, system)) = tokio::task::spawn_blocking(move || (Machine::look(&folder), system())).await
    else {
        return Ok(());
    };
    let old = current.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    let (capacity, allocatable) = amounts(&machine);
    let address = |kind: &str, address: String| NodeAddress { type_: kind.to_owned(), address };
    let status = NodeStatus {
        capacity: Some(capacity),
        allocatable: Some(allocatable),
        addresses: Some(vec![
            address("InternalIP", node.options.address.to_string()),
            address("Hostname", name.clone()),
        ]),
        conditions: Some(conditions(node, &machine, &old)),
        node_info: Some(system),
        ..NodeStatus::default()
    };
    let patch = json!({"status": status});
    nodes.patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
    renew(node, &current).await
}

fn object(name: &str) -> NodeObject {
    let text = str::to_owned;
    let labels = BTreeMap::from([
        (text("kubernetes.io/hostname"), name.to_owned()),
        (text("kubernetes.io/os"), text("linux")),
        (text("kubernetes.io/arch"), text(architecture())),
        (text("beta.kubernetes.io/os"), text("linux")),
        (text("beta.kubernetes.io/arch"), text(architecture())),
    ]);
    NodeObject {
        metadata: ObjectMeta { name: Some(name.to_owned()), labels: Some(labels), ..ObjectMeta::default() },
        ..NodeObject::default()
    }
}

type Amounts = BTreeMap<String, Quantity>;

/// What there is, and what of it pods may have.
fn amounts(machine: &Machine) -> (Amounts, Amounts) {
    let amounts = |disk: String| {
        let list = [
            ("cpu", machine.cpus.to_string()),
            ("memory", format!("{}Ki", machine.memory.whole / 1024)),
            ("ephemeral-storage", disk),
            ("pods", MOST_PODS.to_string()),
        ];
        list.into_iter().map(|(name, amount)| (name.to_owned(), Quantity(amount))).collect()
    };
    let whole = machine.disk.whole;
    (amounts(format!("{}Ki", whole / 1024)), amounts((whole / 10 * 9).to_string()))
}

fn conditions(node: &Node, machine: &Machine, old: &[NodeCondition]) -> Vec<NodeCondition> {
    let pressure = |kind, is_short, reasons: [&'static str; 2], messages: [&str; 2]| {
        let at = usize::from(is_short);
        (kind, is_short, reasons[at], messages[at].to_owned())
    };
    let containers = match &node.options.containers {
        Ok(_) => (
            "ContainersReady",
            true,
            "Privileged",
            "containers and WebAssembly components run here".to_owned(),
        ),
        Err(why) => {
            ("ContainersReady", false, "Unprivileged", format!("only WebAssembly components run here: {why}"))
        }
    };
    let wanted = [
        pressure(
            "MemoryPressure",
            machine.is_short_of_memory(),
            ["KubeletHasSufficientMemory", "KubeletHasInsufficientMemory"],
            ["kubelet has sufficient memory available", "kubelet has insufficient memory available"],
        ),
        pressure(
            "DiskPressure",
            machine.is_short_of_disk(),
            ["KubeletHasNoDiskPressure", "KubeletHasDiskPressure"],
            ["kubelet has no disk pressure", "kubelet has disk pressure"],
        ),
        pressure(
            "PIDPressure",
            machine.is_short_of_processes(),
            ["KubeletHasSufficientPID", "KubeletHasInsufficientPID"],
            ["kubelet has sufficient PID available", "kubelet has insufficient PID available"],
        ),
        ("Ready", true, "KubeletReady", "kubelet is posting ready status".to_owned()),
        containers,
    ];
    let now = Timestamp::now();
    let now = Time(Timestamp::from_second(now.as_second()).unwrap_or(now));
    let ours = wanted.each_ref().map(|own| own.0);
    // Conditions that others keep stay as they are.
    let others = old.iter().filter(|own| !ours.contains(&own.type_.as_str())).cloned();
    wanted
        .into_iter()
        .map(|(kind, holds, reason, message)| {
            let status = if holds { "True" } else { "False" };
            let same = old.iter().find(|own| own.type_ == kind && own.status == status);
            let since = same.and_then(|own| own.last_transition_time.clone());
            NodeCondition {
                type_: kind.to_owned(),
                status: status.to_owned(),
                reason: Some(reason.to_owned()),
                message: Some(message),
                last_heartbeat_time: Some(now.clone()),
                last_transition_time: Some(since.unwrap_or_else(|| now.clone())),
            }
        })
        .chain(others)
        .collect()
}

/// Renews the node's lease, which tells others more cheaply than its status that it lives.
async fn renew(node: &Node, object: &NodeObject) -> Result<(), kube::Error> {
    let leases: Api<Lease> = Api::namespaced(node.client.clone(), LEASES);
    let name = &node.options.name;
    let now = Timestamp::now();
    let now = MicroTime(Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now));
    let patch =
        json!({"spec": {"renewTime": now, "holderIdentity": name, "leaseDurationSeconds": LEASE_SECONDS}});
    match leases.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        patched => return patched.map(drop),
    }
    let namespaces: Api<Namespace> = Api::all(node.client.clone());
    if namespaces.get_opt(LEASES).await?.is_none() {
        let namespace = Namespace {
            metadata: ObjectMeta { name: Some(LEASES.to_owned()), ..ObjectMeta::default() },
            ..Namespace::default()
        };
        match namespaces.create(&PostParams::default(), &namespace).await {
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            made => drop(made?),
        }
    }
    let lease = Lease {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(LEASES.to_owned()),
            owner_references: object.uid().map(|uid| {
                vec![OwnerReference {
                    api_version: "v1".to_owned(),
                    kind: "Node".to_owned(),
                    name: name.clone(),
                    uid,
                    ..OwnerReference::default()
                }]
            }),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(name.clone()),
            lease_duration_seconds: Some(LEASE_SECONDS),
            renew_time: Some(now),
            ..LeaseSpec::default()
        }),
    };
    leases.create(&PostParams::default(), &lease).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Amount;

    #[test]
    fn pods_may_have_all_but_the_last_of_the_disk() {
        let machine = Machine {
            cpus: 4,
            memory: Amount { whole: 8 << 30, free: 1 << 30 },
            disk: Amount { whole: 100 << 30, free: 1 << 30 },
            ..Machine::default()
        };
        let (capacity, allocatable) = amounts(&machine);
        assert_eq!(capacity["cpu"].0, "4");
        assert_eq!(capacity["memory"].0, "8388608Ki");
        assert_eq!(capacity["ephemeral-storage"].0, "104857600Ki");
        assert_eq!(allocatable["ephemeral-storage"].0, "96636764160");
    }
}
