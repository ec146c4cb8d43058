//! StatefulSets in a storm: order, identity and claims hold at every moment.

use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet};
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod};
use kube::ResourceExt as _;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::auditor::Auditor;
use crate::cluster::Cluster;
use crate::faults::STORM;
use crate::seeds;

fn db(replicas: i32, more: Value) -> Value {
    let mut set = json!({
        "metadata": {"name": "db"},
        "spec": {
            "replicas": replicas, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
            "template": template("db:1"),
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {
                "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
            }}],
        },
    });
    for (key, value) in more.as_object().unwrap() {
        set["spec"][key] = value.clone();
    }
    set
}

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "db", "image": image}]}})
}

async fn settled(cluster: &Cluster, replicas: usize, image: &str) {
    cluster
        .until::<StatefulSet>("db", |set| {
            let status = set.status.clone().unwrap_or_default();
            let all = i32::try_from(replicas).unwrap();
            status.observed_generation == set.metadata.generation
                && status.replicas == all
                && status.ready_replicas.unwrap_or(0) == all
                && status.updated_replicas.unwrap_or(0) == all
                && status.current_revision == status.update_revision
        })
        .await;
    let mut pods = cluster.list::<Pod>("app=db").await;
    pods.sort_by_key(|pod| pod.name_any());
    let names: Vec<String> = pods.iter().map(|pod| pod.name_any()).collect();
    let wanted: Vec<String> = (0..replicas).map(|ordinal| format!("db-{ordinal}")).collect();
    assert_eq!(names, wanted);
    let carries = |pod: &Pod| pod.spec.as_ref().unwrap().containers[0].image.as_deref() == Some(image);
    assert!(pods.iter().all(carries));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ordered_set_grows_updates_and_shrinks_one_pod_at_a_time() {
    for seed in seeds() {
        let mut cluster = Cluster::in_storm(seed, STORM).await;
        let auditor = Auditor::of(&cluster, "app=db").await;
        auditor.in_order();
        auditor.promise(4, 0);
        cluster.create::<StatefulSet>(db(3, json!({}))).await;
        settled(&cluster, 3, "db:1").await;
        auditor.promise(3, 2);
        cluster.change::<StatefulSet>("db", json!({"spec": {"template": template("db:2")}})).await;
        tokio::time::sleep(std::time::Duration::from_millis(150)).await;
        cluster.kill_controllers().await;
        cluster.start_controllers();
        settled(&cluster, 3, "db:2").await;
        assert_eq!(cluster.list::<ControllerRevision>("app=db").await.len(), 2);
        auditor.promise(3, 0);
        cluster.change::<StatefulSet>("db", json!({"spec": {"replicas": 1}})).await;
        settled(&cluster, 1, "db:2").await;
        assert_eq!(cluster.list::<PersistentVolumeClaim>("").await.len(), 3, "claims stay");
        auditor.check();
        cluster.api::<StatefulSet>().delete("db", &DeleteParams::background()).await.unwrap();
        cluster.until_all::<Pod>(<[Pod]>::is_empty).await;
        assert_eq!(cluster.list::<PersistentVolumeClaim>("").await.len(), 3, "claims outlive the set");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_parallel_sets_and_claims_that_go_with_their_pods() {
    let cluster = Cluster::in_storm(9, STORM).await;
    let spec = json!({
        "podManagementPolicy": "Parallel",
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}},
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Delete"},
    });
    cluster.create::<StatefulSet>(db(4, spec)).await;
    settled(&cluster, 4, "db:1").await;
    cluster.change::<StatefulSet>("db", json!({"spec": {"template": template("db:2")}})).await;
    let images = |pods: &[Pod]| -> Vec<String> {
        let mut all: Vec<(String, String)> = pods
            .iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none())
            .map(|pod| (pod.name_any(), pod.spec.as_ref().unwrap().containers[0].image.clone().unwrap()))
            .collect();
        all.sort();
        all.into_iter().map(|(_, image)| image).collect()
    };
    cluster.until_all::<Pod>(|pods| images(pods) == ["db:1", "db:1", "db:2", "db:2"]).await;
    // A pod below the partition comes back as it was.
    cluster.api::<Pod>().delete("db-0", &DeleteParams::default()).await.unwrap();
    cluster
        .until_all::<Pod>(|pods| pods.len() == 4 && images(pods) == ["db:1", "db:1", "db:2", "db:2"])
        .await;
    cluster.change::<StatefulSet>("db", json!({"spec": {"replicas": 2}})).await;
    cluster.until_all::<PersistentVolumeClaim>(|claims| claims.len() == 2).await;
    cluster.api::<StatefulSet>().delete("db", &DeleteParams::foreground()).await.unwrap();
    cluster.until_all::<PersistentVolumeClaim>(<[PersistentVolumeClaim]>::is_empty).await;
    cluster.until_all::<Pod>(<[Pod]>::is_empty).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_changes_counts_for_the_claims_that_are_there() {
    let mut cluster = Cluster::quiet().await;
    cluster.start_node();
    cluster.start_controllers();
    cluster.create::<StatefulSet>(db(2, json!({"podManagementPolicy": "Parallel"}))).await;
    settled(&cluster, 2, "db:1").await;
    let map = cluster.create::<ConfigMap>(json!({"metadata": {"name": "other"}})).await;
    let other = json!({"uid": map.uid(), "apiVersion": "v1", "kind": "ConfigMap", "name": "other"});
    let name = cluster.list::<PersistentVolumeClaim>("").await.remove(0).name_any();
    let change = json!({"metadata": {"ownerReferences": [other]}});
    cluster.change::<PersistentVolumeClaim>(&name, change).await;
    let policy =
        |when: &str| json!({"spec": {"persistentVolumeClaimRetentionPolicy": {"whenDeleted": when}}});
    let owners = |claims: &[PersistentVolumeClaim]| -> usize {
        claims
            .iter()
            .flat_map(|claim| claim.owner_references())
            .filter(|owner| owner.kind == "StatefulSet")
            .count()
    };
    cluster.change::<StatefulSet>("db", policy("Delete")).await;
    cluster.until_all::<PersistentVolumeClaim>(|claims| owners(claims) == 2).await;
    cluster.change::<StatefulSet>("db", policy("Retain")).await;
    let claims = cluster.until_all::<PersistentVolumeClaim>(|claims| owners(claims) == 0).await;
    let others =
        claims.iter().filter(|claim| claim.owner_references().iter().any(|owner| owner.name == "other"));
    assert_eq!(others.count(), 1, "an owner that another gave stays");
}
