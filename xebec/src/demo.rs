//! `xebec demo`: the sample application, put into a running platform as a user would put it there.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::core::v1::Event;
use kube::api::{DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use xebec_api::gateway::Gateway;
use xebec_oci::Store;
use xebec_oci::image::{BuildRequest, Platform, Rootfs, RunConfig, build, push_wasm};

use crate::data_dir::DataDir;
use crate::gateway;

/// The first version: a WebAssembly component.
const V1: &[u8] = include_bytes!("../../workload/wasm/fixtures/hello.wasm");
/// The second version: a statically linked program for Linux.
const V2: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hello"));

const REPOSITORY: &str = "demo/hello";
const MANAGER: &str = "xebec-demo";
const NAMESPACE: &str = "default";
const GATEWAY: &str = "demo";
const LISTENER: &str = "http";
/// The listener's port where neither a user nor an earlier start has chosen one.
const PORT: u16 = 8080;
/// The file by which a data directory tells that the application was declared in it.
const DECLARED: &str = "demo";
/// How long the application may take to come up.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the gateway may take to pass requests on to pods that are ready.
const FIRST_ANSWER: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

/// What was asked of the demo.
#[derive(Debug)]
pub(crate) struct Demo {
    /// The gateway's port: 0 for a free one, none for the one that it has.
    pub(crate) port: Option<u16>,
}

/// Where the demo's gateway listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entrance {
    /// The listener's port, as the Gateway has it.
    port: u16,
    /// Where that is served.
    pub(crate) address: SocketAddr,
}

impl Demo {
    /// Chooses where the gateway listens, before it does, and tells a Gateway of an earlier start.
    pub(crate) async fn entrance(&self, client: &Client) -> Result<Entrance> {
        let gateways: Api<Gateway> = Api::namespaced(client.clone(), NAMESPACE);
        let mut existing = gateways.get_opt(GATEWAY).await?;
        let own = existing
            .as_mut()
            .and_then(|gateway| gateway.spec.listeners.iter_mut().find(|listener| listener.name == LISTENER));
        let stored = own.as_ref().and_then(|listener| u16::try_from(listener.port).ok());
        let wanted = self.port.or(stored).unwrap_or(PORT);
        // A free port is free as it is, whatever ports are opened elsewhere for want of privilege.
        let asked =
            if wanted == 0 { SocketAddr::from((Ipv4Addr::LOCALHOST, 0)) } else { gateway::served(wanted) };
        // Held for a moment only, to say at once what the gateway's status would say later.
        let probe = TcpListener::bind(asked).await.with_context(|| {
            let instead = if asked.port() == wanted {
                String::new()
            } else {
                format!(", where port {wanted} is served without the privilege to open it")
            };
            format!(
                "the demo's gateway cannot listen on {asked}{instead}: free the port, or choose another with --port PORT (0 picks one)"
            )
        })?;
        let port = if wanted == 0 { probe.local_addr()?.port() } else { wanted };
        drop(probe);
        if let Some(listener) = own
            && i32::from(port) != listener.port
        {
            listener.port = port.into();
            if let Some(gateway) = existing {
                let replaced = gateways.replace(GATEWAY, &PostParams::default(), &gateway).await;
                replaced.context("cannot move the demo's Gateway to another port")?;
            }
        }
        Ok(Entrance { port, address: gateway::served(port) })
    }

    /// Puts both versions of the service into the registry. The second one is a component too where no containers run.
    pub(crate) async fn load(&self, store: Arc<Store>, containers: bool) -> Result<()> {
        tokio::task::spawn_blocking(move || {
            let name = REPOSITORY.parse().context("the demo's repository is not one")?;
            push_wasm(&store, &name, &"v1".parse()?, V1).context("cannot load the demo's first image")?;
            if !containers {
                push_wasm(&store, &name, &"v2".parse()?, V1)
                    .context("cannot load the demo's second image")?;
                return Ok(());
            }
            let root = tempfile::tempdir().context("cannot make a temporary directory; set TMPDIR")?;
            build_v2(&store, root.path())
        })
        .await
        .context("loading the demo's images failed")?
    }

    /// Declares the application at the first start, and waits until what is there of it answers. Whether its Gateway is
    /// there: what a user has deleted since stays deleted.
    pub(crate) async fn apply(&self, client: &Client, entrance: Entrance, data: &DataDir) -> Result<bool> {
        let declared = data.path().join(DECLARED);
        if !declared.exists() {
            for object in objects(entrance.port) {
                put(client, object).await?;
            }
            File::create(&declared).with_context(|| format!("cannot write {}", declared.display()))?;
        }
        let begun = Instant::now();
        for version in ["v1", "v2"] {
            wait_for(client, &format!("hello-{version}"), begun).await?;
        }
        let gateways: Api<Gateway> = Api::namespaced(client.clone(), NAMESPACE);
        if gateways.get_opt(GATEWAY).await?.is_none() {
            return Ok(false);
        }
        // A user may have changed the route so that nothing answers here.
        let answer = async {
            while !matches!(status(entrance.address).await, Ok(200)) {
                tokio::time::sleep(PAUSE).await;
            }
        };
        if timeout(FIRST_ANSWER, answer).await.is_err() {
            tracing::warn!(
                "http://{}/ does not answer with 200; `kubectl describe gateway,httproute` says why",
                entrance.address
            );
        }
        Ok(true)
    }
}

/// The status with which an address answers `GET /`.
async fn status(address: SocketAddr) -> std::io::Result<u16> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET / HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    // `HTTP/1.1 200`
    let mut line = [0; 12];
    stream.read_exact(&mut line).await?;
    let code = std::str::from_utf8(&line[9..]).ok().and_then(|code| code.parse().ok());
    code.ok_or_else(|| std::io::ErrorKind::InvalidData.into())
}

fn build_v2(store: &Store, root: &std::path::Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let program = root.join("hello");
    std::fs::write(&program, V2).with_context(|| format!("cannot write {}", program.display()))?;
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755))?;
    let config = RunConfig { entrypoint: vec!["/hello".to_owned()], ..RunConfig::default() };
    let request =
        BuildRequest { rootfs: Rootfs::Directory(root.to_owned()), config, platform: Platform::host() };
    build(store, &REPOSITORY.parse()?, &"v2".parse()?, &request)
        .context("cannot build the demo's second image")?;
    Ok(())
}

async fn put(client: &Client, object: Value) -> Result<()> {
    let object: DynamicObject = serde_json::from_value(object)?;
    let types = object.types.clone().unwrap_or_default();
    let kind = GroupVersionKind::try_from(&types).context("an object of the demo has no kind")?;
    let resource = ApiResource::from_gvk(&kind);
    let name = object.metadata.name.clone().unwrap_or_default();
    let api: Api<DynamicObject> = match &object.metadata.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    // A start that did not come to its end may have made it.
    if api.get_opt(&name).await?.is_some() {
        return Ok(());
    }
    let parameters = PatchParams::apply(MANAGER);
    api.patch(&name, &parameters, &Patch::Apply(&object))
        .await
        .with_context(|| format!("cannot make the demo's {} {name:?}", types.kind))?;
    Ok(())
}

async fn wait_for(client: &Client, name: &str, begun: Instant) -> Result<()> {
    let kind = GroupVersionKind::gvk("apps", "v1", "Deployment");
    let api: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), NAMESPACE, &ApiResource::from_gvk(&kind));
    loop {
        let found = api.get_opt(name).await?;
        let Some(found) = found else { return Ok(()) };
        let wanted = found.data["spec"]["replicas"].as_i64().unwrap_or(1);
        if found.data["status"]["availableReplicas"].as_i64().unwrap_or(0) >= wanted {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            let last = last_event(client, name).await.unwrap_or_else(|| "its pods have no event".to_owned());
            bail!("the demo's Deployment {name:?} is not available after {} s: {last}", PATIENCE.as_secs());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The newest event of a Deployment's pods, or what hinders it in making them, as one line.
async fn last_event(client: &Client, deployment: &str) -> Option<String> {
    let events: Api<Event> = Api::namespaced(client.clone(), NAMESPACE);
    let events = events.list(&ListParams::default()).await.ok()?.items;
    newest(events, deployment)
}

fn newest(events: Vec<Event>, deployment: &str) -> Option<String> {
    let prefix = format!("{deployment}-");
    let own = events.into_iter().filter(|event| {
        let about = event.involved_object.name.as_deref().unwrap_or_default();
        about.starts_with(&prefix)
    });
    // A warning says more than what went well after it.
    let when = |event: &Event| {
        let seen = event.last_timestamp.as_ref().map(|time| time.0);
        let made = event.event_time.as_ref().map(|time| time.0);
        (event.type_.as_deref() == Some("Warning"), seen.max(made))
    };
    let newest = own.max_by_key(when)?;
    let object = newest.involved_object;
    let kind = object.kind.unwrap_or_default().to_lowercase();
    let (name, reason) = (object.name.unwrap_or_default(), newest.reason.unwrap_or_default());
    Some(format!("{kind} {name}: {reason}: {}", newest.message.unwrap_or_default()))
}

fn objects(port: u16) -> Vec<Value> {
    let mut objects = Vec::new();
    for version in ["v1", "v2"] {
        let name = format!("hello-{version}");
        let labels = json!({"app": "hello", "version": version});
        objects.push(json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": NAMESPACE, "labels": labels},
            "spec": {
                "replicas": 2,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"terminationGracePeriodSeconds": 2, "containers": [{
                        "name": "hello",
                        "image": format!("localhost/{REPOSITORY}:{version}"),
                        "ports": [{"name": "http", "containerPort": 8080}],
                        "env": [{"name": "GREETING", "value": "hello from"}, {"name": "VERSION", "value": version}],
                        "readinessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 5},
                    }]},
                },
            },
        }));
        objects.push(json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {"selector": labels, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
        }));
    }
    let gateway = "gateway.networking.k8s.io/v1";
    objects.push(json!({
        "apiVersion": gateway,
        "kind": "GatewayClass",
        "metadata": {"name": "xebec"},
        "spec": {"controllerName": "xebec.dev/gateway"},
    }));
    objects.push(json!({
        "apiVersion": gateway,
        "kind": "Gateway",
        "metadata": {"name": GATEWAY, "namespace": NAMESPACE},
        "spec": {
            "gatewayClassName": "xebec",
            "addresses": [{"type": "IPAddress", "value": "127.0.0.1"}],
            "listeners": [{"name": LISTENER, "protocol": "HTTP", "port": port}],
        },
    }));
    objects.push(json!({
        "apiVersion": gateway,
        "kind": "HTTPRoute",
        "metadata": {"name": "hello", "namespace": NAMESPACE},
        "spec": {
            "parentRefs": [{"name": GATEWAY}],
            "rules": [{"backendRefs": [
                {"name": "hello-v1", "port": 80, "weight": 3},
                {"name": "hello-v2", "port": 80, "weight": 1},
            ]}],
        },
    }));
    objects
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(about: &str, kind: &str, second: u8, message: &str) -> Event {
        serde_json::from_value(json!({
            "metadata": {}, "involvedObject": {"kind": "Pod", "name": about}, "type": kind, "reason": "R",
            "message": message, "lastTimestamp": format!("2026-01-01T00:00:{second:02}Z"),
        }))
        .unwrap()
    }

    #[test]
    fn the_newest_warning_of_the_deployments_own_pods_is_told() {
        let events = vec![
            event("hello-v1-x", "Warning", 1, "older"),
            event("hello-v1-x", "Warning", 2, "no such image"),
            event("hello-v1-x", "Normal", 3, "Pulling"),
            event("hello-v2-x", "Warning", 4, "another's"),
        ];
        assert_eq!(newest(events, "hello-v1").as_deref(), Some("pod hello-v1-x: R: no such image"));
        assert_eq!(newest(vec![event("hello-v2-x", "Normal", 1, "")], "hello-v1"), None);
    }
}
