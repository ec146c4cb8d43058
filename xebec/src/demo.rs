//! `xebec demo`: the sample application, put into a running platform as a user would put it there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};
use serde_json::{Value, json};
use xebec_oci::Store;
use xebec_oci::image::{BuildRequest, Platform, Rootfs, RunConfig, build, push_wasm};

/// The first version: a WebAssembly component.
const V1: &[u8] = include_bytes!("../../workload/wasm/fixtures/hello.wasm");
/// The second version: a statically linked program for Linux.
const V2: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hello"));

const REPOSITORY: &str = "demo/hello";
const MANAGER: &str = "xebec-demo";
/// Where the demo's gateway listens.
pub(crate) const PORT: u16 = 8080;
/// How long the application may take to come up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Puts both versions of the service into the registry. The second one is a component too where no containers run.
pub(crate) async fn load(store: Arc<Store>, containers: bool) -> Result<()> {
    tokio::task::spawn_blocking(move || {
        let name = REPOSITORY.parse().context("the demo's repository is not one")?;
        push_wasm(&store, &name, &"v1".parse()?, V1).context("cannot load the demo's first image")?;
        if !containers {
            push_wasm(&store, &name, &"v2".parse()?, V1).context("cannot load the demo's second image")?;
            return Ok(());
        }
        let root = std::env::temp_dir().join(format!("xebec-demo-{}", std::process::id()));
        let built = build_v2(&store, &root);
        std::fs::remove_dir_all(&root).with_context(|| format!("cannot remove {}", root.display()))?;
        built
    })
    .await
    .context("loading the demo's images failed")?
}

fn build_v2(store: &Store, root: &std::path::Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::create_dir_all(root).with_context(|| format!("cannot make {}", root.display()))?;
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

/// Declares the application, and waits until all of it is there.
pub(crate) async fn apply(client: &Client) -> Result<()> {
    for object in objects() {
        put(client, object).await?;
    }
    let begun = Instant::now();
    for version in ["v1", "v2"] {
        wait_for(client, &format!("hello-{version}"), begun).await?;
    }
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
    // What a user changed since the last start, such as the weights, stays as the user has it.
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
        Api::namespaced_with(client.clone(), "default", &ApiResource::from_gvk(&kind));
    loop {
        let found = api.get_opt(name).await?;
        let Some(found) = found else { return Ok(()) };
        let wanted = found.data["spec"]["replicas"].as_i64().unwrap_or(1);
        if found.data["status"]["availableReplicas"].as_i64().unwrap_or(0) >= wanted {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            bail!("the demo's Deployment {name:?} is not available; `kubectl describe pods` says why");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn objects() -> Vec<Value> {
    let mut objects = Vec::new();
    for version in ["v1", "v2"] {
        let name = format!("hello-{version}");
        let labels = json!({"app": "hello", "version": version});
        objects.push(json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": "default", "labels": labels},
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
            "metadata": {"name": name, "namespace": "default"},
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
        "metadata": {"name": "demo", "namespace": "default"},
        "spec": {
            "gatewayClassName": "xebec",
            "addresses": [{"type": "IPAddress", "value": "127.0.0.1"}],
            "listeners": [{"name": "http", "protocol": "HTTP", "port": PORT}],
        },
    }));
    objects.push(json!({
        "apiVersion": gateway,
        "kind": "HTTPRoute",
        "metadata": {"name": "hello", "namespace": "default"},
        "spec": {
            "parentRefs": [{"name": "demo"}],
            "rules": [{"backendRefs": [
                {"name": "hello-v1", "port": 80, "weight": 3},
                {"name": "hello-v2", "port": 80, "weight": 1},
            ]}],
        },
    }));
    objects
}
