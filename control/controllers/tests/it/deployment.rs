//! Deployments, ReplicaSets and their pods when requests fail and watches break.

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{Event, Pod, ReplicationController};
use kube::ResourceExt as _;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::auditor::Auditor;
use crate::cluster::Cluster;
use crate::faults::{CALM, STORM};
use crate::namespace::eventually;
use crate::seeds;

pub(crate) fn template(image: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": image}]},
    })
}

fn web(replicas: i32, image: &str) -> Value {
    json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}},
            "template": template(image),
        },
    })
}

/// Whether the status says that all replicas run the template of this generation.
pub(crate) fn rolled_out(deployment: &Deployment) -> bool {
    let replicas = deployment.spec.replicas.unwrap_or(1);
    deployment.status.as_ref().is_some_and(|status| {
        status.observed_generation == deployment.metadata.generation
            && status.updated_replicas.unwrap_or(0) == replicas
            && status.replicas.unwrap_or(0) == replicas
            && status.available_replicas.unwrap_or(0) == replicas
    })
}

async fn settled(cluster: &Cluster, image: &str, replicas: usize) {
    cluster.until::<Deployment>("web", rolled_out).await;
    let pods = cluster
        .until_all::<Pod>(|pods| {
            let carries =
                |pod: &&Pod| pod.spec.as_ref().unwrap().containers[0].image.as_deref() == Some(image);
            pods.len() == replicas && pods.iter().filter(carries).count() == replicas
        })
        .await;
    let sets = cluster.list::<ReplicaSet>("app=web").await;
    for pod in pods {
        let owner = &pod.owner_references()[0];
        let set = sets.iter().find(|set| set.uid().as_deref() == Some(&owner.uid)).expect("the pod's set");
        let labels = set.spec.selector.match_labels.clone().unwrap();
        assert!(labels.iter().all(|(key, value)| pod.labels().get(key) == Some(value)), "{pod:?}");
    }
    let orphans: Vec<_> = sets.iter().filter(|set| set.owner_references().is_empty()).collect();
    assert!(orphans.is_empty(), "sets without a Deployment: {orphans:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_reaches_its_end_in_a_storm_and_keeps_its_promises() {
    for seed in seeds() {
        let cluster = Cluster::in_storm(seed, STORM).await;
        let auditor = Auditor::of(&cluster, "app=web").await;
        auditor.promise(5, 0);
        cluster.create::<Deployment>(web(4, "shop:1")).await;
        settled(&cluster, "shop:1", 4).await;
        auditor.promise(5, 3);
        cluster.change::<Deployment>("web", json!({"spec": {"template": template("shop:2")}})).await;
        settled(&cluster, "shop:2", 4).await;
        auditor.promise(7, 3);
        cluster.change::<Deployment>("web", json!({"spec": {"replicas": 6}})).await;
        settled(&cluster, "shop:2", 6).await;
        auditor.promise(7, 5);
        // Back, and on again before that has ended.
        cluster.change::<Deployment>("web", json!({"spec": {"template": template("shop:1")}})).await;
        cluster.change::<Deployment>("web", json!({"spec": {"template": template("shop:3")}})).await;
        settled(&cluster, "shop:3", 6).await;
        auditor.promise(7, 0);
        let deployments = cluster.api::<Deployment>();
        deployments.delete("web", &DeleteParams::foreground()).await.unwrap();
        eventually("the Deployment gone", async || deployments.get_opt("web").await.unwrap().is_none()).await;
        assert!(cluster.list::<ReplicaSet>("").await.is_empty(), "its dependents go first");
        assert!(cluster.list::<Pod>("").await.is_empty(), "and theirs before them");
        auditor.check();
        assert!(cluster.faults.count() > 20, "it was no storm: {}", cluster.faults.story());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn controllers_that_are_stopped_and_started_in_mid_work_end_it() {
    for seed in seeds() {
        let mut cluster = Cluster::in_storm(seed, STORM).await;
        let auditor = Auditor::of(&cluster, "app=web").await;
        auditor.promise(6, 0);
        cluster.create::<Deployment>(web(5, "shop:1")).await;
        for round in 0..4_u64 {
            tokio::time::sleep(std::time::Duration::from_millis(40 + 37 * round)).await;
            cluster.stop_controllers().await;
            cluster.start_controllers();
        }
        settled(&cluster, "shop:1", 5).await;
        auditor.promise(6, 4);
        cluster.change::<Deployment>("web", json!({"spec": {"template": template("shop:2")}})).await;
        for round in 0..4_u64 {
            tokio::time::sleep(std::time::Duration::from_millis(60 + 41 * round)).await;
            cluster.kill_controllers().await;
            cluster.start_controllers();
        }
        settled(&cluster, "shop:2", 5).await;
        // What happens while no controller runs is found later.
        cluster.stop_controllers().await;
        auditor.promise(6, 0);
        for pod in cluster.list::<Pod>("app=web").await {
            cluster.api::<Pod>().delete(&pod.name_any(), &DeleteParams::default()).await.unwrap();
        }
        cluster.start_controllers();
        settled(&cluster, "shop:2", 5).await;
        auditor.check();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_matching_pods_without_a_controller_are_adopted() {
    let cluster = Cluster::in_storm(11, STORM).await;
    let bare = |name: &str, labels: Value, owners: Value| {
        json!({
            "metadata": {"name": name, "labels": labels, "ownerReferences": owners},
            "spec": {"containers": [{"name": "web", "image": "shop:1"}]},
        })
    };
    let node = json!([{
        "apiVersion": "v1", "kind": "Namespace", "name": "default", "controller": true,
        "uid": kube::Api::<k8s_openapi::api::core::v1::Namespace>::all(cluster.client.clone())
            .get("default").await.unwrap().uid(),
    }]);
    cluster.create::<Pod>(bare("free", json!({"app": "web"}), json!([]))).await;
    cluster.create::<Pod>(bare("other", json!({"app": "mail"}), json!([]))).await;
    cluster.create::<Pod>(bare("taken", json!({"app": "web"}), node)).await;
    cluster
        .create::<ReplicaSet>(json!({
            "metadata": {"name": "web"},
            "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": template("shop:1")},
        }))
        .await;
    let set = cluster
        .until::<ReplicaSet>("web", |set| {
            set.status.as_ref().and_then(|status| status.ready_replicas) == Some(3)
        })
        .await;
    let owned = |pod: &Pod| pod.owner_references().iter().any(|owner| Some(&owner.uid) == set.uid().as_ref());
    let pods = cluster.list::<Pod>("").await;
    let named = |name: &str| pods.iter().find(|pod| pod.name_any() == name).unwrap();
    assert!(owned(named("free")) && !owned(named("other")) && !owned(named("taken")));
    assert_eq!(pods.iter().filter(|pod| owned(pod)).count(), 3);
    cluster.faults.rates(CALM);
    // A pod whose labels no longer match is let go, and replaced.
    cluster.change::<Pod>("free", json!({"metadata": {"labels": {"app": "mail"}}})).await;
    cluster.until::<Pod>("free", |pod| pod.owner_references().is_empty()).await;
    cluster.until_all::<Pod>(|pods| pods.iter().filter(|pod| owned(pod)).count() == 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn recreate_never_runs_two_templates_at_once() {
    for seed in seeds() {
        let mut cluster = Cluster::in_storm(seed, STORM).await;
        let auditor = Auditor::of(&cluster, "app=web").await;
        auditor.one_image();
        auditor.promise(3, 0);
        let mut recreate = web(3, "shop:1");
        recreate["spec"]["strategy"] = json!({"type": "Recreate"});
        cluster.create::<Deployment>(recreate).await;
        settled(&cluster, "shop:1", 3).await;
        cluster.change::<Deployment>("web", json!({"spec": {"template": template("shop:2")}})).await;
        tokio::time::sleep(std::time::Duration::from_millis(80)).await;
        cluster.kill_controllers().await;
        cluster.start_controllers();
        settled(&cluster, "shop:2", 3).await;
        auditor.check();
    }
}

fn progress(deployment: &Deployment) -> String {
    let conditions = deployment.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let told = conditions.into_iter().find(|one| one.type_.as_deref() == Some("Progressing"));
    told.and_then(|told| told.reason.clone()).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_that_stands_still_is_told_and_may_still_end() {
    let mut cluster = Cluster::with(21, STORM).await;
    cluster.start_controllers();
    let mut slow = web(2, "shop:1");
    slow["spec"]["progressDeadlineSeconds"] = json!(1);
    cluster.create::<Deployment>(slow).await;
    cluster.until::<Deployment>("web", |web| progress(web) == "ProgressDeadlineExceeded").await;
    cluster.start_node();
    settled(&cluster, "shop:1", 2).await;
    cluster.until::<Deployment>("web", |web| progress(web) == "NewReplicaSetAvailable").await;
    // While it is paused a new template waits, and a new size does not.
    let paused = json!({"spec": {"paused": true, "replicas": 3, "template": template("shop:2")}});
    cluster.change::<Deployment>("web", paused).await;
    cluster.until_all::<Pod>(|pods| pods.len() == 3).await;
    cluster.until::<Deployment>("web", |web| progress(web) == "DeploymentPaused").await;
    assert_eq!(cluster.list::<ReplicaSet>("").await.len(), 1);
    cluster.change::<Deployment>("web", json!({"spec": {"paused": false}})).await;
    settled(&cluster, "shop:2", 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_limited_and_what_was_done_is_told() {
    let cluster = Cluster::with(0, CALM).await;
    cluster.start_node();
    let mut cluster = cluster;
    cluster.start_controllers();
    let mut limited = web(2, "shop:0");
    limited["spec"]["revisionHistoryLimit"] = json!(1);
    limited["metadata"]["annotations"] = json!({"kubernetes.io/change-cause": "first"});
    cluster.create::<Deployment>(limited).await;
    settled(&cluster, "shop:0", 2).await;
    for image in ["shop:1", "shop:2", "shop:1"] {
        let cause = json!({"annotations": {"kubernetes.io/change-cause": image}});
        cluster
            .change::<Deployment>("web", json!({"metadata": cause, "spec": {"template": template(image)}}))
            .await;
        settled(&cluster, image, 2).await;
    }
    let sets = cluster.until_all::<ReplicaSet>(|sets| sets.len() == 2).await;
    let current = sets.iter().find(|set| set.spec.replicas == Some(2)).unwrap();
    assert_eq!(
        current.annotations()["deployment.kubernetes.io/revision"],
        "4",
        "a rollback is a revision of its own"
    );
    assert_eq!(current.annotations()["deployment.kubernetes.io/revision-history"], "2");
    assert_eq!(current.annotations()["kubernetes.io/change-cause"], "shop:1");
    let name = current.name_any();
    let told = |events: &[Event], of: &str, reason: &str, text: &str| {
        events.iter().any(|event| {
            event.involved_object.name.as_deref() == Some(of)
                && event.reason.as_deref() == Some(reason)
                && event.message.as_deref().is_some_and(|message| message.starts_with(text))
        })
    };
    cluster
        .until_all::<Event>(|events| {
            let up = format!("Scaled up replica set {name} from 0 to ");
            let down = format!("Scaled down replica set {name} from ");
            told(events, "web", "ScalingReplicaSet", &up)
                && told(events, "web", "ScalingReplicaSet", &down)
                && told(events, &name, "SuccessfulCreate", &format!("Created pod: {name}-"))
                && told(events, &name, "SuccessfulDelete", &format!("Deleted pod: {name}-"))
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replication_controller_keeps_its_number_of_pods() {
    let cluster = Cluster::in_storm(31, STORM).await;
    let auditor = Auditor::of(&cluster, "app=web").await;
    auditor.promise(3, 0);
    let spec = json!({"replicas": 3, "selector": {"app": "web"}, "template": template("shop:1")});
    cluster.create::<ReplicationController>(json!({"metadata": {"name": "web"}, "spec": spec})).await;
    let ready =
        |web: &ReplicationController| web.status.as_ref().and_then(|status| status.ready_replicas) == Some(3);
    cluster.until::<ReplicationController>("web", ready).await;
    cluster.change::<ReplicationController>("web", json!({"spec": {"replicas": 1}})).await;
    cluster.until_all::<Pod>(|pods| pods.len() == 1).await;
    let pod = cluster.list::<Pod>("").await.remove(0);
    assert_eq!(pod.owner_references()[0].kind, "ReplicationController");
    auditor.check();
}
