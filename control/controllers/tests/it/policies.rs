//! What is worked out about pods and objects in a storm: budgets and quotas.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, ResourceQuota};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt as _;
use kube::api::DeleteParams;
use serde_json::json;

use crate::cluster::Cluster;
use crate::deployment::template;
use crate::faults::STORM;
use crate::seeds;

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_follows_its_pods_and_the_size_of_their_deployment() {
    for seed in seeds() {
        let cluster = Cluster::in_storm(seed, STORM).await;
        cluster
            .create::<PodDisruptionBudget>(json!({
                "metadata": {"name": "web"},
                "spec": {"maxUnavailable": "50%", "selector": {"matchLabels": {"app": "web"}}},
            }))
            .await;
        cluster
            .create::<Deployment>(json!({
                "metadata": {"name": "web"},
                "spec": {"replicas": 4, "selector": {"matchLabels": {"app": "web"}}, "template": template("shop:1")},
            }))
            .await;
        let numbers = |budget: &PodDisruptionBudget| {
            let status = budget.status.clone().unwrap_or_default();
            (status.expected_pods, status.current_healthy, status.disruptions_allowed)
        };
        let steady = (Some(4), Some(4), Some(2));
        cluster.until::<PodDisruptionBudget>("web", |budget| numbers(budget) == steady).await;
        let victim = cluster.list::<Pod>("app=web").await.remove(0).name_any();
        cluster.api::<Pod>().delete(&victim, &DeleteParams::default()).await.unwrap();
        let replaced = |pods: &[Pod]| pods.len() == 4 && pods.iter().all(|pod| pod.name_any() != victim);
        cluster.until_all::<Pod>(replaced).await;
        cluster.until::<PodDisruptionBudget>("web", |budget| numbers(budget) == steady).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_counts_what_is_in_use() {
    for seed in seeds() {
        let cluster = Cluster::in_storm(seed, STORM).await;
        let hard = json!({"pods": "5", "requests.cpu": "2", "count/configmaps": "10", "services": "3"});
        cluster.create::<ResourceQuota>(json!({"metadata": {"name": "all"}, "spec": {"hard": hard}})).await;
        let used = |quota: &ResourceQuota| {
            let status = quota.status.clone().unwrap_or_default();
            serde_json::to_value(status.used.unwrap_or_default()).unwrap()
        };
        // The certificates are published in every namespace, and there is the API's own service.
        let wanted = json!({"pods": "0", "requests.cpu": "0", "count/configmaps": "1", "services": "1"});
        cluster.until::<ResourceQuota>("all", |quota| used(quota) == wanted).await;
        cluster.create::<ConfigMap>(json!({"metadata": {"name": "one"}})).await;
        let resources = json!({"requests": {"cpu": "250m"}});
        cluster
            .create::<Pod>(json!({
                "metadata": {"name": "a"},
                "spec": {"containers": [{"name": "a", "image": "a:1", "resources": resources}]},
            }))
            .await;
        let wanted = json!({"pods": "1", "requests.cpu": "250m", "count/configmaps": "2", "services": "1"});
        cluster.until::<ResourceQuota>("all", |quota| used(quota) == wanted).await;
        cluster.api::<Pod>().delete("a", &DeleteParams::default()).await.unwrap();
        cluster.until::<ResourceQuota>("all", |quota| used(quota)["pods"] == "0").await;
    }
}
