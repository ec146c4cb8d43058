//! The agent: sees which pods are to run here, and starts and ends their lives.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Binding, Node as NodeObject, ObjectReference, Pod};
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use xebec_container::{PodNetwork, Runtime};
use xebec_oci::Store;
use xebec_wasm::Host;

use crate::Error;
use crate::pod::Life;

/// How often the node says that it lives.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How long pods may take to end when the node ends.
const DRAIN: Duration = Duration::from_secs(8);

/// What runs containers, where the machine lets it.
#[derive(Clone)]
pub struct Containers {
    /// Makes and watches them.
    pub runtime: Arc<Runtime>,
    /// Gives their pods addresses.
    pub network: Arc<PodNetwork>,
}

/// What the node is made of.
pub struct Options {
    /// The node's name.
    pub name: String,
    /// The node's address.
    pub address: Ipv4Addr,
    /// The first address of the loopback network (65,536 addresses) of pods that have no network namespace.
    pub loopback: Ipv4Addr,
    /// Where pods keep their files.
    pub folder: PathBuf,
    /// The images.
    pub store: Arc<Store>,
    /// What runs components.
    pub host: Host,
    /// What runs containers, or why they cannot run here.
    pub containers: Result<Containers, String>,
}

/// The node as its pods see it.
pub(crate) struct Node {
    pub(crate) client: Client,
    pub(crate) options: Options,
    pub(crate) shutdown: CancellationToken,
    addresses: Mutex<BTreeMap<u32, String>>,
}

impl Node {
    pub(crate) fn containers(&self) -> Result<&Containers, Error> {
        self.options.containers.as_ref().map_err(|why| Error::Unprivileged(why.clone()))
    }

    pub(crate) fn pod_folder(&self, pod: &Pod) -> PathBuf {
        self.options.folder.join(pod.uid().unwrap_or_default())
    }

    /// A loopback address for a pod, its own until it is released.
    pub(crate) fn loopback(&self, pod: &Pod) -> Ipv4Addr {
        let uid = pod.uid().unwrap_or_default();
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let own = addresses.iter().find(|(_, owner)| **owner == uid).map(|(number, _)| *number);
        // Addresses are not used again at once: what is known of them elsewhere may be old.
        let next = addresses.last_key_value().map_or(1, |(number, _)| number + 1);
        let free = || (1..0xFFFF_u32).find(|number| !addresses.contains_key(number)).unwrap_or(1);
        let number = own.unwrap_or(if next < 0xFFFF { next } else { free() });
        addresses.insert(number, uid);
        Ipv4Addr::from(u32::from(self.options.loopback) + number)
    }

    pub(crate) fn release(&self, pod: &Pod) {
        let uid = pod.uid().unwrap_or_default();
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, owner| *owner != uid);
    }
}

/// The number that a resource quantity writes, such as `128Mi` or `250m`.
pub(crate) fn quantity(text: &str) -> Option<f64> {
    let split =
        text.find(|letter: char| !(letter.is_ascii_digit() || ".+-".contains(letter))).unwrap_or(text.len());
    let (number, suffix) = text.split_at(split);
    let number: f64 = number.parse().ok()?;
    let factor = match suffix {
        "" => 1.0,
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "Ki" => 1024.0,
        "Mi" => 1_048_576.0,
        "Gi" => 1_073_741_824.0,
        "Ti" => 1_099_511_627_776.0,
        exponent => format!("1{exponent}").parse().ok()?,
    };
    Some(number * factor)
}

struct Running {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Runs the pods of this machine until `shutdown` is cancelled, and ends them then.
pub async fn run(client: Client, options: Options, shutdown: CancellationToken) {
    clear_leftovers(&options).await;
    let node = Arc::new(Node {
        client: client.clone(),
        options,
        shutdown: shutdown.clone(),
        addresses: Mutex::default(),
    });
    let beating = tokio::spawn(beat(node.clone()));
    let mut lives: HashMap<String, Running> = HashMap::new();
    let pods: Api<Pod> = Api::all(client);
    let mut events = Box::pin(watcher::watcher(pods, watcher::Config::default()).default_backoff());
    let mut seen: Option<Vec<String>> = None;
    loop {
        let event = tokio::select! {
            () = shutdown.cancelled() => break,
            event = events.next() => event,
        };
        match event {
            None => break,
            Some(Err(error)) => tracing::warn!(%error, "lost sight of the pods; looking again"),
            Some(Ok(watcher::Event::Init)) => seen = Some(Vec::new()),
            Some(Ok(watcher::Event::InitApply(pod))) => {
                if let (Some(seen), Some(uid)) = (&mut seen, pod.uid()) {
                    seen.push(uid);
                }
                apply(&node, &mut lives, pod).await;
            }
            Some(Ok(watcher::Event::InitDone)) => {
                // What is no longer there was deleted while nobody looked.
                let there = seen.take().unwrap_or_default();
                for (_, running) in lives.iter().filter(|(uid, _)| !there.contains(uid)) {
                    running.stop.cancel();
                }
            }
            Some(Ok(watcher::Event::Apply(pod))) => apply(&node, &mut lives, pod).await,
            Some(Ok(watcher::Event::Delete(pod))) => {
                if let Some(running) = lives.get(&pod.uid().unwrap_or_default()) {
                    running.stop.cancel();
                }
            }
        }
        lives.retain(|_, running| !running.task.is_finished());
    }
    beating.abort();
    for running in lives.values() {
        running.stop.cancel();
    }
    let all = futures::future::join_all(lives.into_values().map(|running| running.task));
    if tokio::time::timeout(DRAIN, all).await.is_err() {
        tracing::warn!("some pods did not end in time; their containers are cleaned up at the next start");
    }
}

async fn apply(node: &Arc<Node>, lives: &mut HashMap<String, Running>, pod: Pod) {
    let uid = pod.uid().unwrap_or_default();
    let spec = pod.spec.as_ref();
    let assigned = spec.and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
    let ending = pod.metadata.deletion_timestamp.is_some();
    if assigned.is_empty() {
        let scheduler = spec.and_then(|spec| spec.scheduler_name.as_deref());
        let gated =
            spec.is_some_and(|spec| spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty()));
        if !ending && !gated && scheduler.is_none_or(|own| own == "default-scheduler") {
            bind(node, &pod).await;
        }
        return;
    }
    if assigned != node.options.name {
        return;
    }
    if let Some(running) = lives.get(&uid) {
        if ending {
            running.stop.cancel();
        }
        return;
    }
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let over = matches!(phase, Some("Succeeded" | "Failed"));
    if over && !ending {
        return;
    }
    let stop = CancellationToken::new();
    if ending {
        stop.cancel();
    }
    let life = Life::new(node.clone(), pod, stop.clone());
    lives.insert(uid, Running { stop, task: tokio::spawn(life.run()) });
}

/// Puts a pod on this node: it is the only one there is.
async fn bind(node: &Node, pod: &Pod) {
    let namespace = pod.namespace().unwrap_or_default();
    let name = pod.name_any();
    let binding = Binding {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(namespace.clone()),
            ..ObjectMeta::default()
        },
        target: ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Node".to_owned()),
            name: Some(node.options.name.clone()),
            ..ObjectReference::default()
        },
    };
    let pods: Api<Pod> = Api::namespaced(node.client.clone(), &namespace);
    let bound: Result<serde_json::Value, _> =
        pods.create_subresource("binding", &name, &PostParams::default(), &binding).await;
    match bound {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
        Err(error) => tracing::warn!(pod = name, %error, "cannot put a pod on this node"),
        Ok(_) => {}
    }
}

/// Ends what an earlier process left behind.
async fn clear_leftovers(options: &Options) {
    if let Ok(containers) = &options.containers {
        match containers.runtime.recover().await {
            Ok(left) => {
                for container in left {
                    let id = container.id().to_string();
                    if let Err(error) = container.delete().await {
                        tracing::warn!(container = id, %error, "cannot clean up a container of an earlier run");
                    }
                }
            }
            Err(error) => tracing::warn!(%error, "cannot look for containers of an earlier run"),
        }
    }
    match tokio::fs::remove_dir_all(&options.folder).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!(%error, "cannot clean up the pods' directories of an earlier run");
        }
        _ => {}
    }
}

/// Says again and again that the node lives.
async fn beat(node: Arc<Node>) {
    let nodes: Api<NodeObject> = Api::all(node.client.clone());
    let mut since = None;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read() {
        for (text, value) in
            [("1", 1.0), ("250m", 0.25), ("128Mi", 134_217_728.0), ("1e3", 1000.0), ("2k", 2000.0)]
        {
            assert_eq!(quantity(text), Some(value), "{text}");
        }
        assert_eq!(quantity("many"), None);
    }
}
