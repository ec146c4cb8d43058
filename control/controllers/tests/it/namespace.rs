//! Namespaces in a storm: they get what each has, and their contents go before them.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ResourceQuota, ServiceAccount};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
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

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_something_holds_costs_little_until_it_lets_go() {
    let mut cluster = Cluster::quiet().await;
    cluster.start_controllers();
    let namespaces = cluster.all::<Namespace>();
    let space = serde_json::from_value(json!({"metadata": {"name": "held"}})).unwrap();
    namespaces.create(&PostParams::default(), &space).await.unwrap();
    let maps = Api::<ConfigMap>::namespaced(cluster.client.clone(), "held");
    let map = json!({"metadata": {"name": "held", "finalizers": ["test/keep"]}});
    maps.create(&PostParams::default(), &serde_json::from_value(map).unwrap()).await.unwrap();
    namespaces.delete("held", &DeleteParams::default()).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let before = cluster.faults.requests();
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    // A look at everything takes more than that.
    let asked = cluster.faults.requests() - before;
    assert!(asked < 20, "{asked} requests in three seconds in which nothing happened");
    let free = json!({"metadata": {"finalizers": null}});
    maps.patch("held", &PatchParams::default(), &Patch::Merge(free)).await.unwrap();
    eventually("the namespace gone", async || namespaces.get_opt("held").await.unwrap().is_none()).await;
}

/// A group whose preferred version leaves out one of its kinds, as that of the Gateway API does: its grants are v1beta1
/// alone. Gives the API of those.
async fn of_an_older_version(cluster: &Cluster) -> Api<DynamicObject> {
    let definitions = cluster.all::<CustomResourceDefinition>();
    for (kind, plural, version) in [("Route", "routes", "v1"), ("Grant", "grants", "v1beta1")] {
        let name = format!("{plural}.shop.example.com");
        let definition = serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {
                "group": "shop.example.com", "scope": "Namespaced",
                "names": {"kind": kind, "plural": plural},
                "versions": [{
                    "name": version, "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": {"type": "object"}},
                }],
            },
        }));
        definitions.create(&PostParams::default(), &definition.unwrap()).await.unwrap();
        eventually("the definition", async || {
            let definition = definitions.get_opt(&name).await.unwrap();
            let conditions = definition.and_then(|own| own.status?.conditions).unwrap_or_default();
            conditions.iter().any(|own| own.type_ == "Established" && own.status == "True")
        })
        .await;
    }
    let kind = GroupVersionKind::gvk("shop.example.com", "v1beta1", "Grant");
    let resource = ApiResource::from_gvk_with_plural(&kind, "grants");
    Api::namespaced_with(cluster.client.clone(), "shop", &resource)
}

#[tokio::test(flavor = "multi_thread")]
async fn kinds_that_the_preferred_version_of_their_group_leaves_out_are_counted_collected_and_deleted() {
    let mut cluster = Cluster::quiet().await;
    let grants = of_an_older_version(&cluster).await;
    cluster.start_controllers();
    let namespaces = cluster.all::<Namespace>();
    let space = serde_json::from_value(json!({"metadata": {"name": "shop"}})).unwrap();
    namespaces.create(&PostParams::default(), &space).await.unwrap();
    let maps = Api::<ConfigMap>::namespaced(cluster.client.clone(), "shop");
    let owner = serde_json::from_value(json!({"metadata": {"name": "owner"}})).unwrap();
    let owner = maps.create(&PostParams::default(), &owner).await.unwrap();
    for (name, owned) in [("owned", true), ("free", false)] {
        let reference =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.metadata.uid});
        let references = if owned { json!([reference]) } else { json!([]) };
        let grant = json!({
            "apiVersion": "shop.example.com/v1beta1", "kind": "Grant",
            "metadata": {"name": name, "ownerReferences": references},
        });
        grants.create(&PostParams::default(), &serde_json::from_value(grant).unwrap()).await.unwrap();
    }
    let quotas = Api::<ResourceQuota>::namespaced(cluster.client.clone(), "shop");
    let hard = json!({"count/grants.shop.example.com": "5"});
    let quota = json!({"metadata": {"name": "all"}, "spec": {"hard": hard}});
    quotas.create(&PostParams::default(), &serde_json::from_value(quota).unwrap()).await.unwrap();
    eventually("the count", async || {
        let status = quotas.get("all").await.unwrap().status.unwrap_or_default();
        let used = status.used.unwrap_or_default();
        used.get("count/grants.shop.example.com").is_some_and(|count| count.0 == "2")
    })
    .await;

    maps.delete("owner", &DeleteParams::background()).await.unwrap();
    eventually("what it owned gone", async || grants.get_opt("owned").await.unwrap().is_none()).await;
    assert!(grants.get_opt("free").await.unwrap().is_some());

    namespaces.delete("shop", &DeleteParams::default()).await.unwrap();
    eventually("the namespace gone", async || namespaces.get_opt("shop").await.unwrap().is_none()).await;
    assert!(grants.get_opt("free").await.unwrap().is_none(), "a grant outlived its namespace");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_stays_while_a_server_does_not_say_what_it_has_in_it() {
    let mut cluster = Cluster::quiet().await;
    let kind = GroupVersionKind::gvk("apiregistration.k8s.io", "v1", "APIService");
    let services: Api<DynamicObject> = Api::all_with(cluster.client.clone(), &ApiResource::from_gvk(&kind));
    let name = "v1.far.example";
    let service = json!({
        "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": name},
        "spec": {
            "group": "far.example", "version": "v1", "groupPriorityMinimum": 10, "versionPriority": 10,
            "service": {"namespace": "default", "name": "gone"},
        },
    });
    services.create(&PostParams::default(), &serde_json::from_value(service).unwrap()).await.unwrap();
    cluster.start_controllers();
    let namespaces = cluster.all::<Namespace>();
    let space = serde_json::from_value(json!({"metadata": {"name": "shop"}})).unwrap();
    namespaces.create(&PostParams::default(), &space).await.unwrap();
    namespaces.delete("shop", &DeleteParams::default()).await.unwrap();
    eventually("the reason", async || {
        let namespace = namespaces.get("shop").await.unwrap();
        let conditions = namespace.status.and_then(|status| status.conditions).unwrap_or_default();
        let told = "unable to retrieve the complete list of server APIs: far.example/v1: stale GroupVersion discovery";
        let is = |own: &&k8s_openapi::api::core::v1::NamespaceCondition| {
            own.type_ == "NamespaceDeletionDiscoveryFailure" && own.status == "True"
        };
        let message = conditions.iter().find(is).and_then(|own| own.message.clone()).unwrap_or_default();
        message.contains(told)
    })
    .await;
    services.delete(name, &DeleteParams::default()).await.unwrap();
    eventually("the namespace gone", async || namespaces.get_opt("shop").await.unwrap().is_none()).await;
}
