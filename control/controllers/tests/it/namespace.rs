//! Namespaces in a storm: they get what each has, and their contents go before them.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::cluster::{CERTIFICATES, Cluster, LONG};
use crate::faults::STORM;
use crate::seeds;

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_gets_its_account_and_goes_after_its_contents() {
    for seed in seeds() {
        let cluster = Cluster::in_storm(seed, STORM).await;
        let namespaces = cluster.all::<Namespace>();
        let space = serde_json::from_value(json!({"metadata": {"name": "shop"}})).unwrap();
        namespaces.create(&PostParams::default(), &space).await.unwrap();
        let accounts = Api::<ServiceAccount>::namespaced(cluster.client.clone(), "shop");
        eventually("the account", async || accounts.get_opt("default").await.unwrap().is_some()).await;

        accounts.delete("default", &DeleteParams::default()).await.unwrap();
        eventually("the account again", async || accounts.get_opt("default").await.unwrap().is_some()).await;

        let maps = Api::<ConfigMap>::namespaced(cluster.client.clone(), "shop");
        let published = async || {
            let map = maps.get_opt("kube-root-ca.crt").await.unwrap().and_then(|map| map.data);
            map.is_some_and(|data| {
                data.get("ca.crt").is_some_and(|found| found == CERTIFICATES) && data.len() == 1
            })
        };
        eventually("the certificates", &published).await;
        let change = Patch::Merge(json!({"data": {"ca.crt": "forged", "more": "x"}}));
        maps.patch("kube-root-ca.crt", &PatchParams::default(), &change).await.unwrap();
        eventually("the certificates put right", &published).await;
        maps.delete("kube-root-ca.crt", &DeleteParams::default()).await.unwrap();
        eventually("the certificates published again", &published).await;

        let deployments = Api::<Deployment>::namespaced(cluster.client.clone(), "shop");
        let web = serde_json::from_value(json!({
            "metadata": {"name": "web"},
            "spec": {
                "replicas": 2, "selector": {"matchLabels": {"app": "web"}},
                "template": crate::deployment::template("shop:1"),
            },
        }));
        deployments.create(&PostParams::default(), &web.unwrap()).await.unwrap();
        let held = json!({"metadata": {"name": "held", "finalizers": ["test/keep"]}});
        maps.create(&PostParams::default(), &serde_json::from_value(held).unwrap()).await.unwrap();

        namespaces.delete("shop", &DeleteParams::default()).await.unwrap();
        eventually("the rest gone", async || {
            let maps = maps.list(&Default::default()).await.unwrap().items;
            let only = maps.iter().all(|map| map.metadata.name.as_deref() == Some("held"));
            only && deployments.list(&Default::default()).await.unwrap().items.is_empty()
        })
        .await;
        assert!(namespaces.get_opt("shop").await.unwrap().is_some(), "something in it still has a finalizer");
        let free = json!({"metadata": {"finalizers": null}});
        maps.patch("held", &PatchParams::default(), &Patch::Merge(free)).await.unwrap();
        eventually("the namespace gone", async || namespaces.get_opt("shop").await.unwrap().is_none()).await;
    }
}

/// Waits until something holds.
pub(crate) async fn eventually(what: &str, holds: impl AsyncFn() -> bool) {
    let waiting = async {
        while !holds().await {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LONG, waiting).await.unwrap_or_else(|_| panic!("waited in vain for {what}"));
}
