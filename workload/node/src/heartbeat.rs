//! The node as an object: what it has, that it lives, and what it is like.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::Api;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::agent::Node;
use crate::event::{Kind, Source, node_reference};

/// How often the node says that it lives.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// Says again and again that the node lives.
pub(crate) async fn beat(node: Arc<Node>) {
    let nodes: Api<NodeObject> = Api::all(node.client.clone());
    let mut since = None;
    let own = node_reference(&node.options.name);
    let message = "Starting kubelet.".to_owned();
    node.events.note(Source::Kubelet, own, Kind::Normal, "Starting", message);
    loop {
        if let Err(error) = beat_once(&node, &nodes, &mut since).await {
            tracing::warn!(%error, "cannot write the node's status; trying again");
            tokio::time::sleep(Duration::from_millis(500)).await;
            continue;
        }
        tokio::time::sleep(HEARTBEAT).await;
    }
}

async fn beat_once(
    node: &Node,
    nodes: &Api<NodeObject>,
    since: &mut Option<String>,
) -> Result<(), kube::Error> {
    let name = &node.options.name;
    if nodes.get_opt(name).await?.is_none() {
        let labels = BTreeMap::from([
            ("kubernetes.io/hostname".to_owned(), name.clone()),
            ("kubernetes.io/os".to_owned(), "linux".to_owned()),
            (
                "kubernetes.io/arch".to_owned(),
                if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }.to_owned(),
            ),
        ]);
        let object = NodeObject {
            metadata: ObjectMeta { name: Some(name.clone()), labels: Some(labels), ..ObjectMeta::default() },
            ..NodeObject::default()
        };
        nodes.create(&PostParams::default(), &object).await?;
    }
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let since = since.get_or_insert_with(|| now.clone());
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let capacity = json!({"cpu": cpus.to_string(), "memory": memory(), "pods": "250"});
    let containers = match &node.options.containers {
        Ok(_) => json!({"type": "ContainersReady", "status": "True", "reason": "Privileged",
            "message": "containers and WebAssembly run here", "lastTransitionTime": since, "lastHeartbeatTime": now}),
        Err(why) => json!({"type": "ContainersReady", "status": "False", "reason": "Unprivileged",
            "message": format!("only WebAssembly runs here: {why}"), "lastTransitionTime": since, "lastHeartbeatTime": now}),
    };
    let status = json!({"status": {
        "capacity": capacity,
        "allocatable": capacity,
        "addresses": [
            {"type": "InternalIP", "address": node.options.address},
            {"type": "Hostname", "address": name},
        ],
        "conditions": [
            {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "xebec runs pods here",
                "lastTransitionTime": since, "lastHeartbeatTime": now},
            containers,
        ],
        "nodeInfo": {
            "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
            "operatingSystem": "linux",
            "kubeletVersion": concat!("v1.36.0+xebec.", env!("CARGO_PKG_VERSION")),
            "containerRuntimeVersion": concat!("xebec://", env!("CARGO_PKG_VERSION")),
            "bootID": "", "kernelVersion": "", "kubeProxyVersion": "", "machineID": "", "osImage": "", "systemUUID": "",
        },
    }});
    nodes.patch_status(name, &PatchParams::default(), &Patch::Merge(status)).await?;
    Ok(())
}

/// The machine's memory as a quantity.
fn memory() -> String {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let number: u64 = total.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0);
    format!("{number}Ki")
}
