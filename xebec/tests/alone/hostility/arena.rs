//! A server with two who use it: one means ill, the other does not, and both are of the same priority.

use std::path::PathBuf;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{ApiResource, PostParams};
use kube::client::Body;
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::core::{DynamicObject, GroupVersionKind};
use kube::{Api, Client, Config};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::{Value, json};

use crate::cluster::Cluster;

/// Where what attackers make goes.
pub(super) const NAMESPACE: &str = "default";

pub(super) struct Arena {
    cluster: Cluster,
    /// Who may do everything, for preparations.
    pub(super) owner: Client,
    pub(super) attacker: Client,
    pub(super) neighbour: Client,
    /// By which the attacker is known.
    pub(super) token: String,
}

/// Raises the limit of open files as far as it may go, for this process and those that it starts; gives the limit.
pub(super) fn raise_open_files() -> u64 {
    let Rlimit { maximum, current } = getrlimit(Resource::Nofile);
    if current != maximum {
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
            .expect("the limit is raised to what it may be");
    }
    maximum.unwrap_or(u64::MAX)
}

impl Arena {
    pub(super) async fn open() -> Self {
        let cluster = Cluster::without_kubectl();
        let kubeconfig = Kubeconfig::read_from(cluster.data().join("kubeconfig")).expect("a kubeconfig");
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
        let config = config.expect("a whole kubeconfig");
        let owner = Client::try_from(config.clone()).expect("a client");
        let (attacker, token) = account(&owner, &config, "attacker").await;
        let (neighbour, _) = account(&owner, &config, "neighbour").await;
        Self { cluster, owner, attacker, neighbour, token }
    }

    /// Where the API listens.
    pub(super) fn address(&self) -> String {
        self.cluster.running().endpoint("api")
    }

    /// By which the owner is known.
    pub(super) fn kubeconfig(&self) -> PathBuf {
        self.cluster.data().join("kubeconfig")
    }

    /// The most memory that the server has had, in KiB.
    pub(super) fn peak_memory(&self) -> u64 {
        self.cluster.running().peak_memory()
    }

    /// Makes an object at a path, as the owner.
    pub(super) async fn make(&self, path: &str, object: Value) {
        let (code, answer) =
            send(&self.owner, path, "application/json", object.to_string().into_bytes()).await;
        assert_eq!(code, 201, "{answer}");
    }

    /// Removes the object at a path, as the owner.
    pub(super) async fn remove(&self, path: &str) {
        let request = http::Request::delete(path).body(Body::empty()).expect("a request");
        let response = self.owner.send(request).await.expect("an answer");
        assert!(response.status().is_success(), "{path}: {}", response.status());
    }

    /// The server answers and nothing in it has broken.
    pub(super) async fn is_well(&self) {
        self.owner.apiserver_version().await.expect("a version");
        let log = self.cluster.running().log();
        let broken = log.lines().find(|line| line.contains("panicked") || line.contains("a defect at"));
        assert_eq!(broken, None);
    }
}

/// A service account that may do everything, as a client.
async fn account(owner: &Client, config: &Config, name: &str) -> (Client, String) {
    let accounts: Api<ServiceAccount> = Api::namespaced(owner.clone(), NAMESPACE);
    let account = serde_json::from_value(json!({"metadata": {"name": name}})).expect("an account");
    accounts.create(&PostParams::default(), &account).await.expect("made");
    let kind = GroupVersionKind::gvk("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding");
    let bindings = ApiResource::from_gvk_with_plural(&kind, "clusterrolebindings");
    let binding: DynamicObject = serde_json::from_value(json!({
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "namespace": NAMESPACE, "name": name}],
    }))
    .expect("a binding");
    let bindings: Api<DynamicObject> = Api::all_with(owner.clone(), &bindings);
    bindings.create(&PostParams::default(), &binding).await.expect("made");
    let request = TokenRequest { spec: Some(TokenRequestSpec::default()), ..TokenRequest::default() };
    let issued =
        accounts.create_token_request(name, &PostParams::default(), &request).await.expect("a token");
    let token = issued.status.and_then(|status| status.token).expect("a token");
    let mut config = config.clone();
    config.auth_info = AuthInfo { token: Some(token.clone().into()), ..AuthInfo::default() };
    (Client::try_from(config).expect("a client"), token)
}

/// Posts bytes, and gives the code and the object of the answer.
pub(super) async fn send(client: &Client, path: &str, media: &str, body: Vec<u8>) -> (u16, Value) {
    let request =
        http::Request::post(path).header("content-type", media).body(Body::from(body)).expect("a request");
    let response = client.send(request).await.expect("an answer");
    let code = response.status().as_u16();
    let bytes = response.into_body().collect_bytes().await.expect("the whole answer");
    (code, serde_json::from_slice(&bytes).expect("an object"))
}

/// Posts bytes that are to be refused so.
pub(super) async fn refused(client: &Client, path: &str, media: &str, body: Vec<u8>, code: u16, words: &str) {
    let (found, answer) = send(client, path, media, body).await;
    let told = answer["message"].as_str().unwrap_or_default();
    assert!(
        found == code && answer["kind"] == "Status" && told.contains(words),
        "{found}, not {code} {words:?}: {answer}"
    );
}
