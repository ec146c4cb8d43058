//! Claims and directories over a real API with the controllers of the built-in kinds, and a process that is killed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
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
use xebec_local_path::{Options, announce, run};
use xebec_machinery::builtin;

const LONG: Duration = Duration::from_secs(60);

struct Cluster {
    client: Client,
    data: tempfile::TempDir,
    stop: CancellationToken,
    maker: Option<JoinHandle<()>>,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Cluster {
    async fn start() -> Self {
        let (data, stop) = (tempfile::tempdir().unwrap(), CancellationToken::new());
        let path = data.path().join("store");
        let store = xebec_store::Store::open(&path, &xebec_store::Options::default()).unwrap();
        let range = Range::new(Ipv4Addr::new(10, 96, 0, 0), 16).unwrap();
        let catalog = Catalog::new(builtin::resources().to_vec());
        let (storage, chain) = (Storage::new(store), Chain::standard());
        let api = ApiServer::new(storage, catalog, ClusterIps::new(range), chain, stop.clone());
        api.prepare(6443).await.unwrap();
        let service = Service::new(api, Tokens::default(), Arc::new(NoPods), "127.0.0.1:6443".into());
        let user = User::new("tester", [ADMINISTRATORS]);
        let service =
            tower::util::MapRequest::new(service, move |mut request: http::Request<kube::client::Body>| {
                request.extensions_mut().insert(user.clone());
                request
            });
        let client = Client::new(service, "default");
        tokio::spawn(xebec_controllers::run(client.clone(), stop.clone()));
        let mut cluster = Self { client, data, stop, maker: None };
        announce(&cluster.client, &cluster.folder()).await.unwrap();
        cluster.start_maker();
        cluster
    }

    fn folder(&self) -> PathBuf {
        self.data.path().join("volumes")
    }

    fn start_maker(&mut self) {
        let options = Options { node: "edge".to_owned(), folder: self.folder() };
        self.maker = Some(tokio::spawn(run(self.client.clone(), options, self.stop.child_token())));
    }

    /// Ends the maker of volumes as SIGKILL would.
    async fn kill_maker(&mut self) {
        let maker = self.maker.take().unwrap();
        maker.abort();
        drop(maker.await);
    }

    fn claims(&self) -> Api<PersistentVolumeClaim> {
        Api::namespaced(self.client.clone(), "default")
    }

    fn volumes(&self) -> Api<PersistentVolume> {
        Api::all(self.client.clone())
    }

    /// A claim that names no class, for whose pod this node was chosen.
    async fn claim(&self, name: &str, more: Value) -> PersistentVolumeClaim {
        let mut spec =
            json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let claim: PersistentVolumeClaim =
            serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap();
        let made = self.claims().create(&PostParams::default(), &claim).await.unwrap();
        let chosen = json!({"metadata": {"annotations": {"volume.kubernetes.io/selected-node": "edge"}}});
        self.claims().patch(name, &PatchParams::default(), &Patch::Merge(chosen)).await.unwrap();
        made
    }

    async fn bound(&self, name: &str) -> (PersistentVolume, PathBuf) {
        let claim = self
            .until(&format!("claim {name} to be bound"), async || {
                let claim = self.claims().get(name).await.unwrap();
                let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
                (phase == Some("Bound")).then_some(claim)
            })
            .await;
        let volume = self.volumes().get(&claim.spec.unwrap().volume_name.unwrap()).await.unwrap();
        let path = volume.spec.as_ref().unwrap().local.as_ref().unwrap().path.clone();
        (volume, path.into())
    }

    async fn until<T>(&self, what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
        let found = tokio::time::timeout(LONG, async {
            loop {
                if let Some(found) = ask().await {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        found.await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
    }

    async fn until_no_volume(&self) {
        self.until("all volumes to be gone", async || {
            let left = self.volumes().list(&ListParams::default()).await.unwrap().items;
            left.is_empty().then_some(())
        })
        .await;
    }

    fn directories(&self) -> usize {
        fs::read_dir(self.folder()).unwrap().count()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_gets_a_directory_that_goes_with_it() {
    let cluster = Cluster::start().await;
    fs::write(cluster.folder().join("mine"), "x").unwrap();
    cluster.claim("data", json!({})).await;
    cluster.claim("other", json!({"accessModes": ["ReadWriteMany"]})).await;
    let (volume, path) = cluster.bound("data").await;
    let (_, other) = cluster.bound("other").await;
    let spec = volume.spec.as_ref().unwrap();
    assert_eq!(spec.storage_class_name.as_deref(), Some("local-path"));
    assert_eq!(spec.capacity.as_ref().unwrap()["storage"].0, "1Gi");
    assert!(path.starts_with(cluster.folder()) && path != other);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o777);
    for path in [&path, &other] {
        fs::create_dir_all(path.join("in/deep")).unwrap();
        fs::write(path.join("in/deep/file"), "x").unwrap();
    }
    cluster.claims().delete("data", &DeleteParams::default()).await.unwrap();
    cluster
        .until("the volume to be gone", async || {
            cluster.volumes().get_opt(&volume.name_any()).await.unwrap().is_none().then_some(())
        })
        .await;
    assert!(!path.exists() && other.join("in/deep/file").exists());
    assert!(cluster.folder().join("mine").exists(), "nothing else goes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_killed_anywhere_leaves_nothing_that_the_next_does_not_finish() {
    let mut cluster = Cluster::start().await;
    // Killed after the directory and before the volume.
    cluster.kill_maker().await;
    let claim = cluster.claim("data", json!({})).await;
    let own = cluster.folder().join(format!("pvc-{}_default_data", claim.uid().unwrap()));
    fs::create_dir(&own).unwrap();
    let lost = cluster.folder().join("pvc-00000000-0000-0000-0000-000000000000_default_gone");
    fs::create_dir(&lost).unwrap();
    cluster.start_maker();
    let (volume, path) = cluster.bound("data").await;
    assert_eq!(path, own);
    assert!(!lost.exists(), "what became no volume goes");
    assert_eq!(cluster.directories(), 1);
    fs::write(path.join("file"), "x").unwrap();
    // Killed after the directory's removal and before the volume's.
    cluster.kill_maker().await;
    cluster.claims().delete("data", &DeleteParams::default()).await.unwrap();
    cluster
        .until("the volume to be released", async || {
            let volume = cluster.volumes().get(&volume.name_any()).await.unwrap();
            let phase = volume.status.and_then(|status| status.phase);
            (phase.as_deref() == Some("Released")).then_some(())
        })
        .await;
    assert!(path.join("file").exists());
    fs::remove_dir_all(&path).unwrap();
    cluster.start_maker();
    cluster.until_no_volume().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_is_to_stay_stays_with_its_directory() {
    let cluster = Cluster::start().await;
    cluster.claim("data", json!({})).await;
    let (volume, path) = cluster.bound("data").await;
    let name = volume.name_any();
    let retain = json!({"spec": {"persistentVolumeReclaimPolicy": "Retain"}});
    cluster.volumes().patch(&name, &PatchParams::default(), &Patch::Merge(retain)).await.unwrap();
    cluster.claims().delete("data", &DeleteParams::default()).await.unwrap();
    cluster
        .until("the volume to be released", async || {
            let volume = cluster.volumes().get(&name).await.unwrap();
            let phase = volume.status.and_then(|status| status.phase);
            (phase.as_deref() == Some("Released")).then_some(())
        })
        .await;
    cluster.volumes().delete(&name, &DeleteParams::default()).await.unwrap();
    cluster.until_no_volume().await;
    assert!(path.is_dir());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_directory_cannot_be_is_told_and_not_made() {
    let cluster = Cluster::start().await;
    cluster.claim("block", json!({"volumeMode": "Block"})).await;
    let events: Api<Event> = Api::namespaced(cluster.client.clone(), "default");
    let told = cluster
        .until("an event", async || {
            let all = events.list(&ListParams::default()).await.unwrap().items;
            all.into_iter().find(|event| event.reason.as_deref() == Some("ProvisioningFailed"))
        })
        .await;
    assert!(told.message.unwrap().contains("volumeMode Block is not served"));
    assert_eq!(cluster.directories(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_class_is_made_once_and_is_its_users_from_then_on() {
    let cluster = Cluster::start().await;
    let classes: Api<StorageClass> = Api::all(cluster.client.clone());
    let class = classes.get("local-path").await.unwrap();
    assert_eq!(class.annotations()["storageclass.kubernetes.io/is-default-class"], "true");
    classes.delete("local-path", &DeleteParams::default()).await.unwrap();
    announce(&cluster.client, &cluster.folder()).await.unwrap();
    assert!(classes.get_opt("local-path").await.unwrap().is_none());
}
