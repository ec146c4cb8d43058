//! The client of kube-rs against the built binary: over TLS, with the certificate of the written kubeconfig.

use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{ListParams, ObjectMeta, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, Error};

use crate::cluster::Cluster;

mod custom;
mod definitions;
mod objects;
mod pods;
mod watches;

/// How long anything may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(120);

async fn config(cluster: &Cluster) -> Config {
    let kubeconfig = Kubeconfig::read_from(cluster.data().join("kubeconfig")).expect("a kubeconfig");
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .expect("a whole kubeconfig")
}

async fn connect() -> (Cluster, Client) {
    let cluster = Cluster::without_kubectl();
    let client = Client::try_from(config(&cluster).await).expect("a client");
    (cluster, client)
}

/// Asks again until there is an answer.
async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let answer = tokio::time::timeout(DEADLINE, asking).await;
    answer.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// The status that the API refused with.
fn refusal<T: std::fmt::Debug>(result: Result<T, Error>) -> (u16, String, String) {
    match result {
        Err(Error::Api(status)) => (status.code, status.reason.clone(), status.message.clone()),
        other => panic!("not refused: {other:?}"),
    }
}

fn settings(name: &str, colour: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            labels: Some([("colour".to_owned(), colour.to_owned())].into()),
            ..ObjectMeta::default()
        },
        data: Some([("colour".to_owned(), colour.to_owned())].into()),
        ..ConfigMap::default()
    }
}

#[tokio::test]
async fn the_certificate_of_the_kubeconfig_or_a_token_opens_and_nothing_else_does() {
    let (cluster, client) = connect().await;
    Api::<ConfigMap>::default_namespaced(client).list(&ListParams::default()).await.expect("a list");

    let mut bare = config(&cluster).await;
    bare.auth_info = kube::config::AuthInfo::default();
    let nobody = Api::<ConfigMap>::default_namespaced(Client::try_from(bare.clone()).expect("a client"));
    let (code, ..) = refusal(nobody.list(&ListParams::default()).await);
    assert!(code == 401 || code == 403, "{code}");

    let token = std::fs::read_to_string(cluster.data().join("token")).expect("the token");
    bare.auth_info.token = Some(token.trim().to_owned().into());
    let bearer = Api::<ConfigMap>::default_namespaced(Client::try_from(bare.clone()).expect("a client"));
    bearer.create(&PostParams::default(), &settings("made", "red")).await.expect("the token opens");

    bare.auth_info.token = Some("another".to_owned().into());
    let stranger = Api::<ConfigMap>::default_namespaced(Client::try_from(bare.clone()).expect("a client"));
    assert_eq!(refusal(stranger.list(&ListParams::default()).await).0, 401);

    bare.root_cert = None;
    let distrustful = Client::try_from(bare).expect("a client").apiserver_version().await;
    assert!(
        !matches!(distrustful, Ok(_) | Err(Error::Api(_))),
        "the server's certificate is of its own authority"
    );
}
