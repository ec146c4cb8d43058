//! An API in this process, over a real store, and clients of it: one that works, and one that fails.

use std::fmt::Debug;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use kube::api::{Patch, PatchParams, PostParams};
use kube::client::Body;
use kube::{Api, Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::util::MapRequest;
use xebec_admission::Chain;
use xebec_apiserver::authenticate::Tokens;
use xebec_apiserver::catalog::Catalog;
use xebec_apiserver::cluster_ip::{ClusterIps, Range};
use xebec_apiserver::pki::Authority;
use xebec_apiserver::pods::NoPods;
use xebec_apiserver::service::Service;
use xebec_apiserver::storage::Storage;
use xebec_apiserver::user::{ADMINISTRATORS, User};
use xebec_controllers::{Settings, run_with};
use xebec_machinery::builtin;
use xebec_store::{Options, Store};

use crate::certificates::Key;
use crate::faults::{CALM, Faults, Faulty, Rates};

/// How long anything may take; the machine may be busy with other things.
pub(crate) const LONG: Duration = Duration::from_secs(90);

/// What the controllers publish as the certificates of the API.
pub(crate) const CERTIFICATES: &str = "-----BEGIN CERTIFICATE-----";

/// A cluster without nodes and controllers, until they are started.
pub(crate) struct Cluster {
    /// A client that works.
    pub(crate) client: Client,
    /// What goes wrong for the controllers.
    pub(crate) faults: Faults,
    flawed: Client,
    stop: CancellationToken,
    controllers: Option<(CancellationToken, JoinHandle<()>)>,
    data: tempfile::TempDir,
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop.cancel();
        if std::thread::panicking() {
            eprintln!("{}", self.faults.story());
        }
    }
}

impl Cluster {
    /// A cluster in which nothing goes wrong, and nothing runs yet.
    pub(crate) async fn quiet() -> Self {
        Self::with(0, CALM).await
    }

    /// A cluster with a node and with controllers for whom things go wrong as the seed says.
    pub(crate) async fn in_storm(seed: u64, rates: Rates) -> Self {
        let mut cluster = Self::with(seed, rates).await;
        cluster.start_node();
        cluster.start_controllers();
        cluster
    }

    pub(crate) async fn with(seed: u64, rates: Rates) -> Self {
        let data = tempfile::tempdir().expect("a directory");
        let store = Store::open(data.path(), &Options::default()).expect("an empty store");
        let stop = CancellationToken::new();
        let range = Range::new(Ipv4Addr::new(10, 96, 0, 0), 16).expect("a range");
        let catalog = Catalog::new(builtin::resources().to_vec());
        let api = xebec_apiserver::api::Api::new(
            Storage::new(store),
            catalog,
            ClusterIps::new(range),
            Chain::standard(),
            stop.clone(),
        );
        api.prepare(6443).await.expect("the first objects");
        let service = Service::new(api.clone(), Tokens::default(), Arc::new(NoPods), "127.0.0.1:6443".into());
        tokio::spawn(async move { api.serve_definitions().await });
        let service = MapRequest::new(service, as_administrator as fn(Request<Body>) -> Request<Body>);
        let client = Client::new(service.clone(), "default");
        let faults = Faults::new(seed, rates);
        let flawed = Client::new(Faulty { inner: service, faults: faults.clone() }, "default");
        Self { client, faults, flawed, stop, controllers: None, data }
    }

    /// The client for which things go wrong.
    pub(crate) fn flawed(&self) -> Client {
        self.flawed.clone()
    }

    /// Starts a node that takes all pods and runs them.
    pub(crate) fn start_node(&self) {
        self.run_pods(true);
    }

    /// Says of all pods that they run, and leaves the nodes that they are on to others.
    pub(crate) fn start_readiness(&self) {
        self.run_pods(false);
    }

    fn run_pods(&self, bind: bool) {
        let (client, stop) = (self.client.clone(), self.stop.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = crate::node::run(client, bind) => {}
            }
        });
    }

    /// Starts the controllers, on the client that fails.
    pub(crate) fn start_controllers(&mut self) {
        let stop = self.stop.child_token();
        let settings = Settings {
            root_certificates: Some(CERTIFICATES.to_owned()),
            issuer: Some(Arc::new(Key(Authority::open(self.data.path()).expect("an authority")))),
            pod_failure_wait: Duration::from_millis(20),
            autoscaling_period: Duration::from_millis(100),
            ..Settings::default()
        };
        let running = tokio::spawn(run_with(self.flawed.clone(), settings, stop.clone()));
        self.controllers = Some((stop, running));
    }

    /// Asks the controllers to end, and waits for it.
    pub(crate) async fn stop_controllers(&mut self) {
        let Some((stop, running)) = self.controllers.take() else { return };
        stop.cancel();
        tokio::time::timeout(LONG, running).await.expect("the controllers end when asked").expect("no panic");
    }

    /// Cuts the controllers off, as a crash does.
    pub(crate) async fn kill_controllers(&mut self) {
        let Some((_, running)) = self.controllers.take() else { return };
        running.abort();
        drop(running.await);
    }

    pub(crate) fn all<K: Resource<DynamicType = ()>>(&self) -> Api<K> {
        Api::all(self.client.clone())
    }

    /// The objects of a kind in the namespace `default`.
    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), "default")
    }

    /// Creates an object in the namespace `default`.
    pub(crate) async fn create<K>(&self, object: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
        K: Clone + Debug + DeserializeOwned + serde::Serialize,
    {
        let object: K = serde_json::from_value(object).expect("an object of the kind");
        self.api().create(&PostParams::default(), &object).await.expect("the object is created")
    }

    /// Changes an object in the namespace `default` by a merge patch.
    pub(crate) async fn change<K>(&self, name: &str, patch: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
        K: Clone + Debug + DeserializeOwned,
    {
        let parameters = PatchParams::default();
        self.api().patch(name, &parameters, &Patch::Merge(patch)).await.expect("the object is changed")
    }

    /// Waits until an object in the namespace `default` is as wanted.
    pub(crate) async fn until<K>(&self, name: &str, wanted: impl Fn(&K) -> bool) -> K
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
        K: Clone + Debug + DeserializeOwned,
    {
        let api = self.api::<K>();
        let mut seen = None;
        let found = tokio::time::timeout(LONG, async {
            loop {
                seen = api.get_opt(name).await.expect("the API answers");
                if let Some(object) = seen.clone().filter(&wanted) {
                    return object;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        match found.await {
            Ok(found) => found,
            Err(_) => panic!("{} {name} never became as wanted; it is {seen:#?}", K::kind(&())),
        }
    }

    /// Waits until the objects of a kind in the namespace `default` are as wanted.
    pub(crate) async fn until_all<K>(&self, wanted: impl Fn(&[K]) -> bool) -> Vec<K>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
        K: Clone + Debug + DeserializeOwned,
    {
        let mut seen = Vec::new();
        let found = tokio::time::timeout(LONG, async {
            loop {
                seen = self.list::<K>("").await;
                if wanted(&seen) {
                    return seen.clone();
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        match found.await {
            Ok(found) => found,
            Err(_) => panic!("the {}s never became as wanted; they are {seen:#?}", K::kind(&())),
        }
    }

    pub(crate) async fn list<K>(&self, labels: &str) -> Vec<K>
    where
        K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
        K: Clone + Debug + DeserializeOwned,
    {
        let parameters = kube::api::ListParams::default().labels(labels);
        self.api::<K>().list(&parameters).await.expect("the API answers").items
    }
}

fn as_administrator(mut request: Request<Body>) -> Request<Body> {
    let user = User::new("system:tester", [ADMINISTRATORS]);
    request.extensions_mut().insert(user);
    request
}
