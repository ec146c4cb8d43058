//! Which pods answer for a Service, in a storm.

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt as _;
use kube::api::DeleteParams;
use serde_json::json;

use crate::cluster::Cluster;
use crate::deployment::template;
use crate::faults::STORM;
use crate::seeds;

fn names(slices: &[EndpointSlice]) -> Vec<String> {
    let endpoints = slices.iter().flat_map(|slice| slice.endpoints.iter().flatten());
    let ready =
        endpoints.filter(|end| end.conditions.as_ref().is_some_and(|found| found.ready == Some(true)));
    let mut names: Vec<String> = ready.filter_map(|end| end.target_ref.clone()?.name).collect();
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slice_follows_the_ready_pods_and_goes_with_its_service() {
    for seed in seeds() {
        let cluster = Cluster::in_storm(seed, STORM).await;
        cluster
            .create::<Service>(json!({
                "metadata": {"name": "web"},
                "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]},
            }))
            .await;
        cluster
            .create::<ReplicaSet>(json!({
                "metadata": {"name": "web"},
                "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": template("shop:1")},
            }))
            .await;
        cluster.until_all::<EndpointSlice>(|slices| names(slices).len() == 3).await;
        let victim = cluster.list::<Pod>("app=web").await.remove(0).name_any();
        cluster.api::<Pod>().delete(&victim, &DeleteParams::default()).await.unwrap();
        cluster
            .until_all::<EndpointSlice>(|slices| {
                let names = names(slices);
                names.len() == 3 && !names.contains(&victim)
            })
            .await;
        cluster.api::<Service>().delete("web", &DeleteParams::background()).await.unwrap();
        cluster
            .until_all::<EndpointSlice>(|slices| {
                slices.iter().all(|slice| !slice.name_any().starts_with("web"))
            })
            .await;
    }
}
