use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Either, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::PostParams;
use serde_json::json;
use tokio::net::TcpListener;
use xebec_oci::{Limits, Registry, Selector, Store};

use crate::cluster::{Cluster, build_guest, phase, status, waits};

/// A registry that asks for a name and a password, once it is locked.
struct Other {
    address: SocketAddr,
    store: Arc<Store>,
    is_locked: Arc<AtomicBool>,
}

impl Other {
    async fn start(folder: &std::path::Path) -> Self {
        let store = Arc::new(Store::open(folder.join("other"), Limits::default()).unwrap());
        let registry = Arc::new(Registry::new(store.clone()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let is_locked = Arc::new(AtomicBool::new(false));
        let locked = is_locked.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (registry, locked) = (registry.clone(), locked.clone());
                let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                    let (registry, locked) = (registry.clone(), locked.clone());
                    async move {
                        // `me:secret`
                        let told = request.headers().get("authorization").map(|value| value.as_bytes());
                        if locked.load(Ordering::Relaxed) && told != Some(b"Basic bWU6c2VjcmV0") {
                            let refused = Response::builder()
                                .status(StatusCode::UNAUTHORIZED)
                                .header("www-authenticate", "Basic realm=\"other\"")
                                .body(Either::Left(Empty::new()))?;
                            return Ok::<_, http::Error>(refused);
                        }
                        Ok(registry
                            .answer(request)
                            .await
                            .map(|body| Either::Right(body.map_err(|never| never))))
                    }
                });
                let served = hyper::server::conn::http1::Builder::new();
                tokio::spawn(async move { served.serve_connection(TokioIo::new(stream), service).await });
            }
        });
        Self { address, store, is_locked }
    }
}

fn spec(image: &str, policy: &str) -> serde_json::Value {
    json!({"containers": [
        {"name": "main", "image": image, "imagePullPolicy": policy, "args": ["polite"]},
    ]})
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_comes_from_another_registry_to_who_has_its_secret() {
    let Some(cluster) = Cluster::start("an_image_comes_from_another_registry_to_who_has_its_secret").await
    else {
        return;
    };
    let other = Other::start(cluster.folder.path()).await;
    other.is_locked.store(true, Ordering::Relaxed);
    build_guest(&other.store, cluster.folder.path(), "far/guest");
    let image = format!("{}/far/guest:v1", other.address);

    cluster.run("locked", spec(&image, "IfNotPresent")).await;
    let pod = cluster.until("locked", "a pause", |pod| waits(pod, "main").0 == "ImagePullBackOff").await;
    let message = waits(&pod, "main").1;
    assert!(message.starts_with(&format!("Back-off pulling image {image:?}: ErrImagePull: ")), "{message}");
    assert_eq!(phase(&pod), "Pending");
    let events = cluster.events("locked").await;
    let told = |reason: &str, begins: &str| {
        let is_it = |message: &String| message.starts_with(begins);
        events
            .iter()
            .any(|own| own.reason.as_deref() == Some(reason) && own.message.as_ref().is_some_and(is_it))
    };
    assert!(told("Pulling", &format!("Pulling image {image:?}")));
    assert!(told("Failed", &format!("Failed to pull image {image:?}: ")));
    assert!(told("Failed", "Error: ErrImagePull"));
    cluster.delete("locked").await;

    let secret: Secret = serde_json::from_value(json!({
        "metadata": {"name": "other"}, "type": "kubernetes.io/dockerconfigjson",
        "stringData": {".dockerconfigjson":
            json!({"auths": {other.address.to_string(): {"auth": "bWU6c2VjcmV0"}}}).to_string()},
    }))
    .unwrap();
    cluster.api().create(&PostParams::default(), &secret).await.unwrap();
    let mut with_secret = spec(&image, "IfNotPresent");
    with_secret["imagePullSecrets"] = json!([{"name": "other"}, {"name": "absent"}]);
    cluster.run("open", with_secret).await;
    let pod = cluster.ready("open").await;
    let (digest, ..) =
        other.store.manifest(&"far/guest".parse().unwrap(), &Selector::Tag("v1".parse().unwrap())).unwrap();
    assert_eq!(status(&pod, "main").image_id, format!("{}/far/guest@{digest}", other.address));
    assert_eq!(status(&pod, "main").image, image);
    let absent = cluster.event("open", "FailedToRetrieveImagePullSecret").await.message.unwrap();
    assert!(absent.starts_with("Unable to retrieve some image pull secrets (absent);"), "{absent}");
    let pulled = cluster.event("open", "Pulled").await.message.unwrap();
    assert!(pulled.starts_with(&format!("Successfully pulled image {image:?} in ")), "{pulled}");
    assert!(pulled.ends_with(" bytes."), "{pulled}");

    // From here on it is here, unless it is to be asked for each time.
    cluster.run("present", spec(&image, "IfNotPresent")).await;
    cluster.ready("present").await;
    cluster.run("never", spec(&image, "Never")).await;
    cluster.ready("never").await;
    cluster.run("always", spec(&image, "Always")).await;
    cluster.until("always", "a refusal", |pod| waits(pod, "main").0 == "ImagePullBackOff").await;
    other.is_locked.store(false, Ordering::Relaxed);
    cluster.ready("always").await;
    for pod in ["open", "present", "never", "always"] {
        cluster.delete(pod).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_pulled_says_why() {
    let Some(cluster) = Cluster::start("what_cannot_be_pulled_says_why").await else { return };
    let reason = |name: &'static str, reason: &'static str| {
        let cluster = &cluster;
        async move {
            let pod = cluster.until(name, reason, |pod: &Pod| waits(pod, "main").0 == reason).await;
            waits(&pod, "main").1
        }
    };
    cluster.run("never", spec("test/absent:v1", "Never")).await;
    assert_eq!(
        reason("never", "ErrImageNeverPull").await,
        "Container image \"test/absent:v1\" is not present with pull policy of Never"
    );
    cluster.event("never", "ErrImageNeverPull").await;
    cluster.run("name", spec("Not A Name", "IfNotPresent")).await;
    let message = reason("name", "InvalidImageName").await;
    assert!(message.contains("invalid reference format"), "{message}");
    cluster.event("name", "InspectFailed").await;
    cluster.run("own", spec("localhost/test/late:v1", "IfNotPresent")).await;
    let message = reason("own", "ErrImagePull").await;
    assert!(message.contains("not found in the built-in registry"), "{message}");
    // It need not wait for its next attempt once somebody loads the image.
    build_guest(&cluster.store, cluster.folder.path(), "test/late");
    cluster.ready("own").await;
    for pod in ["never", "name", "own"] {
        cluster.delete(pod).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_waits_for_the_image_of_a_volume_can_be_deleted() {
    let Some(cluster) = Cluster::start("a_pod_that_waits_for_the_image_of_a_volume_can_be_deleted").await
    else {
        return;
    };
    // It takes connections and never says a word.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let image = format!("{}/far/files:v1", silent.local_addr().unwrap());
    let spec = json!({
        "containers": [{"name": "main", "args": ["polite"]}],
        "volumes": [{"name": "files", "image": {"reference": image}}],
    });
    cluster.run("waits", spec).await;
    cluster.event("waits", "Pulling").await;
    let (_connection, _) = silent.accept().await.unwrap();
    let deleted = tokio::time::timeout(std::time::Duration::from_secs(15), cluster.delete("waits")).await;
    assert!(deleted.is_ok(), "the pod waits for the registry");
    let events = cluster.events("waits").await;
    assert!(events.iter().all(|own| own.reason.as_deref() != Some("FailedMount")), "{events:#?}");
}
