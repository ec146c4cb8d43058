//! DaemonSets in a storm: a pod on each node that admits it, nodes that come and go, updates.

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::ResourceExt as _;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::faults::STORM;
use crate::seeds;

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "log"}}, "spec": {"containers": [{"name": "log", "image": image}]}})
}

async fn add_node(cluster: &Cluster, name: &str, taints: Value) {
    let node = json!({"metadata": {"name": name}, "spec": {"taints": taints}});
    let node: Node = serde_json::from_value(node).unwrap();
    cluster.all::<Node>().create(&PostParams::default(), &node).await.unwrap();
}

fn node_for(pod: &Pod) -> Option<String> {
    xebec_controllers::daemon_set::placement::node_for(pod)
}

/// Waits until exactly these nodes have one pod each, of this image.
async fn settled(cluster: &Cluster, nodes: &[&str], image: &str) {
    cluster
        .until_all::<Pod>(|pods| {
            let mut there: Vec<_> = pods.iter().filter_map(node_for).collect();
            there.sort();
            there == nodes
                && pods.iter().all(|pod| {
                    pod.spec.as_ref().unwrap().containers[0].image.as_deref() == Some(image)
                        && pod.metadata.deletion_timestamp.is_none()
                })
        })
        .await;
    let wanted = i32::try_from(nodes.len()).unwrap();
    cluster
        .until::<DaemonSet>("log", |set| {
            let status = set.status.clone().unwrap_or_default();
            status.observed_generation == set.metadata.generation
                && status.desired_number_scheduled == wanted
                && status.number_available.unwrap_or(0) == wanted
                && status.updated_number_scheduled.unwrap_or(0) == wanted
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_node_has_its_pod_through_changes_of_nodes_and_template() {
    for seed in seeds() {
        let mut cluster = Cluster::with(seed, STORM).await;
        cluster.start_readiness();
        cluster.start_controllers();
        add_node(&cluster, "one", json!([])).await;
        add_node(&cluster, "two", json!([])).await;
        add_node(&cluster, "other", json!([{"key": "team", "value": "other", "effect": "NoSchedule"}])).await;
        cluster
            .create::<DaemonSet>(json!({
                "metadata": {"name": "log"},
                "spec": {"selector": {"matchLabels": {"app": "log"}}, "template": template("log:1")},
            }))
            .await;
        settled(&cluster, &["one", "two"], "log:1").await;
        add_node(&cluster, "three", json!([])).await;
        settled(&cluster, &["one", "three", "two"], "log:1").await;
        cluster.change::<DaemonSet>("log", json!({"spec": {"template": template("log:2")}})).await;
        tokio::time::sleep(std::time::Duration::from_millis(120)).await;
        cluster.kill_controllers().await;
        cluster.start_controllers();
        settled(&cluster, &["one", "three", "two"], "log:2").await;
        let nodes = cluster.all::<Node>();
        nodes.delete("one", &DeleteParams::default()).await.unwrap();
        let free = json!({"spec": {"taints": null}});
        nodes.patch("other", &PatchParams::default(), &Patch::Merge(free)).await.unwrap();
        settled(&cluster, &["other", "three", "two"], "log:2").await;
        let pod = cluster.list::<Pod>("").await.remove(0);
        assert!(pod.labels().contains_key("controller-revision-hash"));
        cluster.api::<DaemonSet>().delete("log", &DeleteParams::foreground()).await.unwrap();
        cluster.until_all::<Pod>(<[Pod]>::is_empty).await;
    }
}
