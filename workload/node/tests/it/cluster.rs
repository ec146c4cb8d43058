//! One API over a real store, and a node whose runtime can be ended as a killed process would.

use std::fmt::Debug;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use crate::guest;
use k8s_openapi::api::core::v1::{ContainerStatus, Event, Pod, ServiceAccount};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::runtime::Runtime as Executor;
use tokio_util::sync::CancellationToken;
use xebec_admission::Chain;
use xebec_apiserver::api::Api as ApiServer;
use xebec_apiserver::authenticate::Tokens;
use xebec_apiserver::catalog::Catalog;
use xebec_apiserver::cluster_ip::{ClusterIps, Range};
use xebec_apiserver::pods::NoPods;
use xebec_apiserver::service::Service;
use xebec_apiserver::storage::Storage;
use xebec_apiserver::user::{ADMINISTRATORS, User};
use xebec_container::{MonitorCommand, PodNetwork, Runtime};
use xebec_machinery::builtin;
use xebec_node::{Containers, Options};
use xebec_oci::client::ClientOptions;
use xebec_oci::image::{BuildRequest, Platform, Rootfs, RunConfig, build};
use xebec_oci::{Limits, Store};
use xebec_wasm::{Host, HostOptions};

/// How long anything may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(90);
/// The node's name.
pub(crate) const NODE: &str = "edge";
/// The image that all pods run.
pub(crate) const IMAGE: &str = "test/guest:v1";

pub(crate) struct Cluster {
    pub(crate) client: Client,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) store: Arc<Store>,
    number: u8,
    node: Option<Node>,
    /// Given when the node is to end at once.
    pub(crate) hurry: CancellationToken,
    stop: CancellationToken,
}

struct Node {
    executor: Executor,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Cluster {
    /// An API and a node, or nothing after saying why the test is skipped.
    pub(crate) async fn start(test: &str) -> Option<Self> {
        static NUMBER: AtomicU8 = AtomicU8::new(0);
        if let Err(reason) = xebec_container::check(&std::env::temp_dir()) {
            eprintln!("skipped: {test}: {reason}");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let stop = CancellationToken::new();
        let client = serve(folder.path(), &stop).await;
        let store = Arc::new(Store::open(folder.path().join("registry"), Limits::default()).unwrap());
        build_guest(&store, folder.path(), "test/guest");
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let mut cluster =
            Self { client, folder, store, number, node: None, hurry: CancellationToken::new(), stop };
        cluster.start_node();
        Some(cluster)
    }

    pub(crate) fn start_node(&mut self) {
        let executor =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let stop = CancellationToken::new();
        let options = self.options();
        let task = executor.spawn(xebec_node::run(self.client.clone(), options, stop.clone()));
        self.node = Some(Node { executor, stop, task });
    }

    /// Ends the node as SIGKILL would: nothing is finished.
    pub(crate) fn kill_node(&mut self) {
        self.node.take().unwrap().executor.shutdown_background();
    }

    /// Ends the node as it ends itself.
    pub(crate) async fn end_node(&mut self) {
        let node = self.node.take().unwrap();
        node.stop.cancel();
        node.task.await.unwrap();
        node.executor.shutdown_background();
    }

    fn options(&self) -> Options {
        let folder = self.folder.path();
        Options {
            name: NODE.to_owned(),
            address: Ipv4Addr::LOCALHOST,
            loopback: Ipv4Addr::new(127, 249, self.number, 0),
            folder: folder.join("pods"),
            store: self.store.clone(),
            registry: None,
            registries: ClientOptions::default(),
            host: Host::new(HostOptions::new(folder.join("wasm"))).unwrap(),
            containers: Ok(self.parts()),
            dns: None,
            names: None,
            covers: None,
            hurry: self.hurry.clone(),
        }
    }

    /// What runs containers; opened again it finds what the node made.
    pub(crate) fn parts(&self) -> Containers {
        let folder = self.folder.path();
        let privilege = xebec_container::check(folder).unwrap();
        let monitor =
            MonitorCommand { program: env!("CARGO_BIN_EXE_xebec-node-monitor").into(), args: Vec::new() };
        let runtime = Runtime::open(folder.join("runtime"), monitor, privilege).unwrap();
        let range = format!("10.249.{}.0/24", self.number).parse().unwrap();
        let bridge = format!("xbnode{}", self.number);
        let network = PodNetwork::open(folder.join("network"), &bridge, range).unwrap();
        Containers { runtime: Arc::new(runtime), network: Arc::new(network) }
    }

    pub(crate) fn api<T>(&self) -> Api<T>
    where
        T: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.client.clone(), "default")
    }

    /// Creates a pod named `name` of this specification. What it leaves out is filled in: one container of the guest ends
    /// quickly when it is asked to.
    pub(crate) async fn run(&self, name: &str, mut spec: Value) -> Pod {
        let fields = spec.as_object_mut().unwrap();
        fields.entry("terminationGracePeriodSeconds").or_insert(json!(1));
        for list in ["initContainers", "containers"] {
            for container in fields.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                let container = container.as_object_mut().unwrap();
                container.entry("image").or_insert(json!(IMAGE));
                container.entry("command").or_insert(json!(["/guest"]));
            }
        }
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        self.api().create(&PostParams::default(), &pod).await.unwrap()
    }

    pub(crate) async fn pod(&self, name: &str) -> Pod {
        self.api().get(name).await.unwrap()
    }

    /// Waits until the pod is as wanted, and tells what it was instead when that takes too long.
    pub(crate) async fn until(&self, name: &str, what: &str, wanted: impl Fn(&Pod) -> bool) -> Pod {
        self.until_any::<Pod>(name, what, wanted).await
    }

    pub(crate) async fn until_any<T>(&self, name: &str, what: &str, wanted: impl Fn(&T) -> bool) -> T
    where
        T: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned,
    {
        let begun = Instant::now();
        loop {
            let found = self.api::<T>().get_opt(name).await.unwrap();
            if let Some(found) = found.as_ref().filter(|found| wanted(found)) {
                return found.clone();
            }
            assert!(begun.elapsed() < DEADLINE, "waited in vain for {what}: {found:#?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) async fn ready(&self, name: &str) -> Pod {
        self.until(name, "a ready pod", is_ready).await
    }

    /// Deletes a pod and waits until it is gone.
    pub(crate) async fn delete(&self, name: &str) {
        self.api::<Pod>().delete(name, &DeleteParams::default()).await.unwrap();
        let begun = Instant::now();
        while self.api::<Pod>().get_opt(name).await.unwrap().is_some() {
            assert!(begun.elapsed() < DEADLINE, "waited in vain for the end of pod {name}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The events of a pod, oldest first.
    pub(crate) async fn events(&self, pod: &str) -> Vec<Event> {
        let list = self.api::<Event>().list(&ListParams::default()).await.unwrap();
        let mut events: Vec<Event> = list
            .items
            .into_iter()
            .filter(|event| event.involved_object.name.as_deref() == Some(pod))
            .collect();
        events.sort_by_key(ResourceExt::name_any);
        events
    }

    /// Waits for an event of this reason about the pod, and gives its message.
    pub(crate) async fn event(&self, pod: &str, reason: &str) -> Event {
        let begun = Instant::now();
        loop {
            let events = self.events(pod).await;
            if let Some(event) = events.iter().find(|event| event.reason.as_deref() == Some(reason)) {
                return event.clone();
            }
            assert!(begun.elapsed() < DEADLINE, "waited in vain for {reason}: {events:#?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The lines of a container's log.
    pub(crate) fn log(&self, pod: &Pod, container: &str) -> Vec<String> {
        let path = self.folder.path().join("pods").join(pod.uid().unwrap()).join(format!("{container}.log"));
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().filter_map(|line| line.splitn(4, ' ').nth(3)).map(str::to_owned).collect()
    }

    /// The containers that are on the machine.
    pub(crate) fn containers(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path().join("runtime/containers"));
        let names = entries.into_iter().flatten().flatten().map(|entry| entry.file_name());
        names.map(|name| name.to_string_lossy().into_owned()).collect()
    }
}

impl Drop for Cluster {
    /// A test that fails leaves no container and no bridge behind.
    fn drop(&mut self) {
        if let Some(node) = self.node.take() {
            node.executor.shutdown_background();
        }
        self.stop.cancel();
        let folder = self.folder.path().join("runtime/containers");
        for container in self.containers() {
            let processes = std::fs::read(folder.join(container).join("processes.json")).unwrap_or_default();
            let processes: Value = serde_json::from_slice(&processes).unwrap_or_default();
            if let Some(first) = processes["first"]["pid"].as_i64() {
                let _ = Command::new("kill").args(["-9", &first.to_string()]).status();
            }
        }
        let _ = Command::new("ip").args(["link", "delete", &format!("xbnode{}", self.number)]).status();
    }
}

pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|own| own.type_ == "Ready" && own.status == "True")
}

/// The status of a container or init container.
pub(crate) fn status(pod: &Pod, container: &str) -> ContainerStatus {
    let status = pod.status.clone().unwrap_or_default();
    let all = status.init_container_statuses.into_iter().flatten();
    let mut all = all.chain(status.container_statuses.into_iter().flatten());
    all.find(|own| own.name == container).unwrap_or_default()
}

/// Why a container waits.
pub(crate) fn waits(pod: &Pod, container: &str) -> (String, String) {
    let waiting = status(pod, container).state.and_then(|state| state.waiting).unwrap_or_default();
    (waiting.reason.unwrap_or_default(), waiting.message.unwrap_or_default())
}

pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

async fn serve(folder: &Path, stop: &CancellationToken) -> Client {
    let store = xebec_store::Store::open(folder.join("store"), &xebec_store::Options::default()).unwrap();
    let range = Range::new(Ipv4Addr::new(10, 96, 0, 0), 16).unwrap();
    let catalog = Catalog::new(builtin::resources().to_vec());
    let chain = Chain::empty();
    let api = ApiServer::new(Storage::new(store), catalog, ClusterIps::new(range), chain, stop.clone());
    api.prepare(6443).await.unwrap();
    let service = Service::new(api, Tokens::default(), Arc::new(NoPods), "127.0.0.1:6443".into());
    let user = User::new("tester", [ADMINISTRATORS]);
    let service =
        tower::util::MapRequest::new(service, move |mut request: http::Request<kube::client::Body>| {
            request.extensions_mut().insert(user.clone());
            request
        });
    let client = Client::new(service, "default");
    // Pods are let in with an account alone, which a controller would make.
    let account = json!({"metadata": {"name": "default"}, "automountServiceAccountToken": false});
    let account: ServiceAccount = serde_json::from_value(account).unwrap();
    Api::namespaced(client.clone(), "default").create(&PostParams::default(), &account).await.unwrap();
    client
}

pub(crate) fn build_guest(store: &Store, folder: &Path, name: &str) {
    let root = folder.join("image");
    guest::lay_out(&root);
    std::fs::create_dir_all(root.join("tmp")).unwrap();
    let request = BuildRequest {
        rootfs: Rootfs::Directory(root),
        config: RunConfig::default(),
        platform: Platform::host(),
    };
    build(store, &name.parse().unwrap(), &"v1".parse().unwrap(), &request).unwrap();
}
