use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};

use crate::cluster::{Cluster, NODE};

async fn change(cluster: &Cluster, spec: Value) {
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let patch = Patch::Merge(json!({"spec": spec}));
    nodes.patch(NODE, &PatchParams::default(), &patch).await.unwrap();
}

fn scheduled(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let conditions = status.conditions.iter().flatten();
    let own = conditions.into_iter().find(|own| own.type_ == "PodScheduled" && own.status == "False")?;
    own.message.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_tells_what_it_has_and_that_it_lives() {
    let Some(cluster) = Cluster::start("the_node_tells_what_it_has_and_that_it_lives").await else { return };
    cluster.run("first", json!({"containers": [{"name": "main", "args": ["polite"]}]})).await;
    cluster.ready("first").await;
    let nodes: Api<Node> = Api::all(cluster.client.clone());
    let status = nodes.get(NODE).await.unwrap().status.unwrap();
    let (capacity, allocatable) = (status.capacity.unwrap(), status.allocatable.unwrap());
    for list in [&capacity, &allocatable] {
        for name in ["cpu", "memory", "pods", "ephemeral-storage"] {
            assert!(list.contains_key(name), "{name} of {list:?}");
        }
    }
    let conditions = status.conditions.unwrap();
    let holds = |kind: &str| conditions.iter().find(|own| own.type_ == kind).map(|own| own.status.as_str());
    assert_eq!((holds("Ready"), holds("MemoryPressure")), (Some("True"), Some("False")));
    assert!(conditions.iter().all(|own| own.last_heartbeat_time.is_some()));
    assert!(!status.node_info.unwrap().boot_id.is_empty());
    let leases: Api<Lease> = Api::namespaced(cluster.client.clone(), "kube-node-lease");
    let mut lease = leases.get_opt(NODE).await.unwrap();
    for _ in 0..100 {
        if lease.is_some() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        lease = leases.get_opt(NODE).await.unwrap();
    }
    let spec = lease.unwrap().spec.unwrap();
    assert_eq!(spec.holder_identity.as_deref(), Some(NODE));
    assert!(spec.renew_time.is_some());
    cluster.delete("first").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cordoned_node_takes_no_pods_until_it_is_let_go() {
    let Some(cluster) = Cluster::start("a_cordoned_node_takes_no_pods_until_it_is_let_go").await else {
        return;
    };
    let plain = || json!({"containers": [{"name": "main", "args": ["polite"]}]});
    cluster.run("before", plain()).await;
    cluster.ready("before").await;
    change(&cluster, json!({"unschedulable": true})).await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    cluster.run("waits", plain()).await;
    let pod = cluster.until("waits", "a refusal", |pod| scheduled(pod).is_some()).await;
    let message = scheduled(&pod).unwrap();
    assert!(message.starts_with("0/1 nodes are available: 1 node(s) were unschedulable."), "{message}");
    assert_eq!(cluster.event("waits", "FailedScheduling").await.message, Some(message));
    let mut brave = plain();
    brave["tolerations"] = json!([{"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}]);
    cluster.run("brave", brave).await;
    cluster.ready("brave").await;
    change(&cluster, json!({"unschedulable": false})).await;
    cluster.ready("waits").await;
    let mut greedy = plain();
    greedy["containers"][0]["resources"] = json!({"requests": {"cpu": "10k"}});
    cluster.run("greedy", greedy).await;
    let pod = cluster.until("greedy", "a refusal", |pod| scheduled(pod).is_some()).await;
    assert!(scheduled(&pod).unwrap().contains("1 Insufficient cpu."));
    for pod in ["before", "waits", "brave"] {
        cluster.delete(pod).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taint_drives_out_the_pods_that_do_not_tolerate_it() {
    let Some(cluster) = Cluster::start("a_taint_drives_out_the_pods_that_do_not_tolerate_it").await else {
        return;
    };
    let pod = |tolerations: Value| json!({"containers": [{"name": "main", "args": ["polite"]}], "tolerations": tolerations});
    cluster.run("leaves", pod(json!([]))).await;
    cluster
        .run(
            "lingers",
            pod(
                json!([{"key": "down", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 3}]),
            ),
        )
        .await;
    cluster.run("stays", pod(json!([{"key": "down", "operator": "Exists"}]))).await;
    for name in ["leaves", "lingers", "stays"] {
        cluster.ready(name).await;
    }
    let begun = std::time::Instant::now();
    change(&cluster, json!({"taints": [{"key": "down", "effect": "NoExecute"}]})).await;
    for (name, seconds) in [("leaves", 0), ("lingers", 3)] {
        while cluster.api::<Pod>().get_opt(name).await.unwrap().is_some() {
            assert!(begun.elapsed().as_secs() < 60, "{name} stays");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        assert!(begun.elapsed().as_secs() >= seconds, "{name} left too early");
    }
    let message = cluster.event("leaves", "TaintManagerEviction").await.message;
    assert_eq!(message.as_deref(), Some("Marking for deletion Pod default/leaves"));
    cluster.ready("stays").await;
    cluster.delete("stays").await;
}
