//! Garbage collection in a storm: foreground, background and orphan; circles, foreign namespaces, new kinds.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{ConfigMap, Event, Namespace};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, PostParams, PropagationPolicy};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::faults::{CALM, STORM};
use crate::namespace::eventually;
use crate::seeds;

fn reference(owner: &ConfigMap, block: bool) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "name": owner.name_any(), "uid": owner.uid(),
        "blockOwnerDeletion": block,
    })
}

async fn map(cluster: &Cluster, name: &str, owners: Value, finalizers: Value) -> ConfigMap {
    let meta = json!({"name": name, "ownerReferences": owners, "finalizers": finalizers});
    cluster.create(json!({"metadata": meta})).await
}

async fn owned(cluster: &Cluster, name: &str, owners: &[&ConfigMap]) -> ConfigMap {
    let owners: Vec<Value> = owners.iter().map(|owner| reference(owner, true)).collect();
    map(cluster, name, json!(owners), json!([])).await
}

async fn delete(cluster: &Cluster, name: &str, policy: PropagationPolicy) {
    let parameters = DeleteParams { propagation_policy: Some(policy), ..DeleteParams::default() };
    cluster.api::<ConfigMap>().delete(name, &parameters).await.unwrap();
}

async fn gone(cluster: &Cluster, name: &str) {
    let maps = cluster.api::<ConfigMap>();
    eventually(name, async || maps.get_opt(name).await.unwrap().is_none()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_go_before_after_or_without_their_dependents_as_asked() {
    for seed in seeds() {
        let mut cluster = Cluster::in_storm(seed, STORM).await;
        let maps = cluster.api::<ConfigMap>();
        let owner = map(&cluster, "background", json!([]), json!([])).await;
        let child = owned(&cluster, "background-child", &[&owner]).await;
        owned(&cluster, "background-grandchild", &[&child]).await;
        delete(&cluster, "background", PropagationPolicy::Background).await;
        gone(&cluster, "background-child").await;
        gone(&cluster, "background-grandchild").await;

        let owner = map(&cluster, "foreground", json!([]), json!([])).await;
        map(&cluster, "foreground-child", json!([reference(&owner, true)]), json!(["test/keep"])).await;
        delete(&cluster, "foreground", PropagationPolicy::Foreground).await;
        cluster
            .until::<ConfigMap>("foreground-child", |child| child.metadata.deletion_timestamp.is_some())
            .await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(maps.get_opt("foreground").await.unwrap().is_some(), "a blocking dependent is still there");
        // The controllers may be away when it is released.
        cluster.stop_controllers().await;
        cluster.change::<ConfigMap>("foreground-child", json!({"metadata": {"finalizers": null}})).await;
        cluster.start_controllers();
        gone(&cluster, "foreground").await;

        let owner = map(&cluster, "left", json!([]), json!([])).await;
        let other = map(&cluster, "other", json!([]), json!([])).await;
        owned(&cluster, "left-child", &[&owner]).await;
        owned(&cluster, "shared-child", &[&owner, &other]).await;
        delete(&cluster, "left", PropagationPolicy::Orphan).await;
        gone(&cluster, "left").await;
        let child = maps.get("left-child").await.unwrap();
        assert!(child.owner_references().is_empty() && child.metadata.deletion_timestamp.is_none());
        let shared = maps.get("shared-child").await.unwrap();
        assert_eq!(shared.owner_references().len(), 1);
        delete(&cluster, "other", PropagationPolicy::Background).await;
        gone(&cluster, "shared-child").await;
        assert!(maps.get_opt("left-child").await.unwrap().is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_circle_of_owners_goes_in_the_foreground() {
    let cluster = Cluster::in_storm(4, STORM).await;
    let one = map(&cluster, "one", json!([]), json!([])).await;
    let two = owned(&cluster, "two", &[&one]).await;
    let three = owned(&cluster, "three", &[&two]).await;
    cluster
        .change::<ConfigMap>("one", json!({"metadata": {"ownerReferences": [reference(&three, true)]}}))
        .await;
    delete(&cluster, "one", PropagationPolicy::Foreground).await;
    for name in ["one", "two", "three"] {
        gone(&cluster, name).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_of_another_uid_or_namespace_is_none_and_is_told() {
    let cluster = Cluster::in_storm(5, CALM).await;
    let spaces: Api<Namespace> = cluster.all();
    let space = serde_json::from_value(json!({"metadata": {"name": "far"}})).unwrap();
    spaces.create(&PostParams::default(), &space).await.unwrap();
    let far: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), "far");
    let owner = serde_json::from_value(json!({"metadata": {"name": "owner"}})).unwrap();
    let owner = far.create(&PostParams::default(), &owner).await.unwrap();
    let here = map(&cluster, "here", json!([]), json!([])).await;

    let mut stale = reference(&here, false);
    stale["uid"] = json!("00000000-0000-0000-0000-000000000000");
    map(&cluster, "of-another-life", json!([stale]), json!([])).await;
    gone(&cluster, "of-another-life").await;

    map(&cluster, "of-far", json!([reference(&owner, false)]), json!([])).await;
    gone(&cluster, "of-far").await;
    cluster
        .until_all::<Event>(|events| {
            let told = |event: &Event| event.message.clone().unwrap_or_default();
            events.iter().any(|event| {
                event.reason.as_deref() == Some("OwnerRefInvalidNamespace")
                    && event.involved_object.name.as_deref() == Some("of-far")
                    && told(event).ends_with("does not exist in namespace \"default\"")
            })
        })
        .await;

    let mut of_kind_unknown = reference(&here, false);
    of_kind_unknown["kind"] = json!("Nonesuch");
    map(&cluster, "of-nonesuch", json!([of_kind_unknown]), json!([])).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(
        cluster.api::<ConfigMap>().get_opt("of-nonesuch").await.unwrap().is_some(),
        "nothing is known of it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_that_is_defined_later_joins_soon() {
    let cluster = Cluster::in_storm(6, CALM).await;
    let definitions: Api<CustomResourceDefinition> = cluster.all();
    let definition = json!({
        "metadata": {"name": "ships.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "ships", "kind": "Ship"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}],
        },
    });
    definitions.create(&PostParams::default(), &serde_json::from_value(definition).unwrap()).await.unwrap();
    let resource =
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("example.com", "v1", "Ship"), "ships");
    let ships: Api<DynamicObject> = Api::default_namespaced_with(cluster.client.clone(), &resource);
    let owner = map(&cluster, "harbour", json!([]), json!([])).await;
    let ship: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "example.com/v1", "kind": "Ship",
        "metadata": {"name": "xebec", "ownerReferences": [reference(&owner, true)]},
    }))
    .unwrap();
    eventually("the kind served", async || ships.create(&PostParams::default(), &ship).await.is_ok()).await;
    let begun = Instant::now();
    delete(&cluster, "harbour", PropagationPolicy::Foreground).await;
    eventually("the ship gone", async || ships.get_opt("xebec").await.unwrap().is_none()).await;
    tracing::info!(took = ?begun.elapsed(), "the new kind's object went");
    gone(&cluster, "harbour").await;
}
