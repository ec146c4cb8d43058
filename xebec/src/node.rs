//! Pods on this machine as a part of `up`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryFutureExt as _};
use http_body_util::{BodyExt as _, StreamBody};
use tokio_util::sync::CancellationToken;
use xebec_apiserver::pods::Pods;
use xebec_apiserver::service::ResponseBody;
use xebec_container::{MonitorCommand, PodNetwork, Runtime};
use xebec_machinery::status::Status;
use xebec_node::logs::{LogOptions, read};
use xebec_node::{Containers, Options};
use xebec_oci::Store;
use xebec_oci::client::ClientOptions;
use xebec_wasm::{Host, HostOptions};

use crate::MONITOR;
use crate::berth::Berth;
use crate::data_dir::DataDir;

/// What the node runs with, and what it can run here.
pub(crate) async fn options(
    data: &DataDir,
    berth: Arc<Berth>,
    store: Arc<Store>,
    registry: Option<SocketAddr>,
) -> Result<Options> {
    let root = data.path().to_owned();
    tokio::task::spawn_blocking(move || {
        let host =
            Host::new(HostOptions::new(root.join("wasm"))).context("the WebAssembly host cannot start")?;
        let folder = root.join("containers");
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Options {
            name: name(),
            address: Ipv4Addr::LOCALHOST,
            loopback: berth.loopback(),
            folder: root.join("pods"),
            store,
            registry,
            registries: ClientOptions::default(),
            host,
            containers: containers(&folder, &berth),
        })
    })
    .await
    .context("preparing the node failed")?
}

/// What runs containers here, or why nothing can.
fn containers(folder: &std::path::Path, berth: &Berth) -> Result<Containers, String> {
    let privilege = xebec_container::check(folder)?;
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let monitor = MonitorCommand { program, args: vec![MONITOR.into()] };
    let runtime =
        Runtime::open(folder.join("runtime"), monitor, privilege).map_err(|error| error.to_string())?;
    let range = berth.pods().parse().map_err(|error: xebec_container::Error| error.to_string())?;
    let network = PodNetwork::open(folder.join("network"), &berth.bridge(), range)
        .map_err(|error| error.to_string())?;
    Ok(Containers { runtime: Arc::new(runtime), network: Arc::new(network) })
}

/// The machine's name, as a node may be called.
fn name() -> String {
    let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let allowed = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    let own: String = own.trim().to_lowercase().chars().filter(|letter| allowed(*letter)).take(63).collect();
    let own = own.trim_matches('-');
    if own.is_empty() { "xebec".to_owned() } else { own.to_owned() }
}

/// Answers `pods/log` from the files that the node writes.
pub(crate) struct Logs {
    folder: PathBuf,
    client: tokio::sync::OnceCell<kube::Client>,
}

impl Logs {
    pub(crate) fn new(data: &DataDir) -> Self {
        Self { folder: data.path().join("pods"), client: tokio::sync::OnceCell::new() }
    }

    /// Gives the client by which a followed log learns that its pod is gone.
    pub(crate) fn connect(&self, client: kube::Client) {
        // A second client would be as good as the first.
        let _first_stays = self.client.set(client);
    }
}

impl Pods for Logs {
    fn logs<'a>(
        &'a self,
        pod: &'a serde_json::Value,
        query: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<http::Response<ResponseBody>, Status>> + Send + 'a>> {
        Box::pin(async move {
            let options = LogOptions::parse(query, jiff::Timestamp::now()).map_err(Status::bad_request)?;
            let container = container_of(pod, options.container.as_deref())?;
            let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
            let path = self.folder.join(uid).join(format!("{container}.log"));
            let ended = CancellationToken::new();
            if options.follow {
                tokio::spawn(until_gone(
                    self.client.get().cloned(),
                    pod.clone(),
                    path.clone(),
                    ended.clone(),
                ));
            }
            let name = pod["metadata"]["name"].as_str().unwrap_or_default();
            let waiting =
                format!("container {container:?} in pod {name:?} is waiting to start: ContainerCreating");
            let lines = read(&path, options, ended).map_err(|_| Status::bad_request(waiting)).await?;
            let frames = lines.map(|line| Ok(http_body::Frame::data(line)));
            let mut response = http::Response::new(StreamBody::new(frames).boxed_unsync());
            let text = http::HeaderValue::from_static("text/plain");
            response.headers_mut().insert(http::header::CONTENT_TYPE, text);
            Ok(response)
        })
    }
}

/// Which container of the pod is meant: the named one, or the only one.
fn container_of(pod: &serde_json::Value, wanted: Option<&str>) -> Result<String, Status> {
    let names: Vec<&str> = ["initContainers", "containers"]
        .into_iter()
        .flat_map(|list| pod["spec"][list].as_array().into_iter().flatten())
        .filter_map(|container| container["name"].as_str())
        .collect();
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    match (wanted, names.as_slice()) {
        (Some(wanted), _) if names.contains(&wanted) => Ok(wanted.to_owned()),
        (Some(wanted), _) => {
            Err(Status::bad_request(format!("container {wanted} is not valid for pod {name}")))
        }
        (None, [only]) => Ok((*only).to_owned()),
        (None, _) => Err(Status::bad_request(format!(
            "a container name must be specified for pod {name}, choose one of: [{}]",
            names.join(" ")
        ))),
    }
}

/// Waits until the pod's files are gone or the pod has ended, and says so.
async fn until_gone(
    client: Option<kube::Client>,
    pod: serde_json::Value,
    path: PathBuf,
    ended: CancellationToken,
) {
    let text = |field: &str| pod["metadata"][field].as_str().unwrap_or_default().to_owned();
    loop {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        if !path.exists() {
            break;
        }
        let Some(client) = &client else { continue };
        let pods: kube::Api<kube::core::DynamicObject> = kube::Api::namespaced_with(
            client.clone(),
            &text("namespace"),
            &kube::core::ApiResource::from_gvk_with_plural(
                &kube::core::GroupVersionKind::gvk("", "v1", "Pod"),
                "pods",
            ),
        );
        match pods.get_opt(&text("name")).await {
            Ok(Some(now)) => {
                let phase = now.data["status"]["phase"].as_str().unwrap_or_default();
                if matches!(phase, "Succeeded" | "Failed") {
                    break;
                }
            }
            Ok(None) => break,
            Err(_) => {}
        }
    }
    ended.cancel();
}
