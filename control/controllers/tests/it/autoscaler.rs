//! Autoscalers in a storm, with metrics that the test writes.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Api, ResourceExt as _};
use serde_json::json;

use crate::cluster::Cluster;
use crate::faults::STORM;
use crate::namespace::eventually;
use crate::seeds;

/// Stands in for the API server of metrics: objects of its kind, kept like any others.
async fn serve_metrics(cluster: &Cluster) -> Api<DynamicObject> {
    let definitions: Api<CustomResourceDefinition> = cluster.all();
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let definition = json!({
        "metadata": {"name": "pods.metrics.k8s.io", "annotations": {"api-approved.kubernetes.io": "unapproved, a test"}},
        "spec": {
            "group": "metrics.k8s.io", "scope": "Namespaced", "names": {"plural": "pods", "kind": "PodMetrics"},
            "versions": [{"name": "v1beta1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        },
    });
    definitions.create(&PostParams::default(), &serde_json::from_value(definition).unwrap()).await.unwrap();
    let kind = GroupVersionKind::gvk("metrics.k8s.io", "v1beta1", "PodMetrics");
    let resource = ApiResource::from_gvk_with_plural(&kind, "pods");
    let metrics: Api<DynamicObject> = Api::default_namespaced_with(cluster.client.clone(), &resource);
    eventually("the metrics served", async || metrics.list(&Default::default()).await.is_ok()).await;
    metrics
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_grows_and_shrinks_with_what_its_pods_use() {
    for seed in seeds().into_iter().take(2) {
        let cluster = Cluster::in_storm(seed, STORM).await;
        let metrics = serve_metrics(&cluster).await;
        let resources = json!({"requests": {"memory": "100Mi"}});
        cluster
            .create::<Deployment>(json!({
                "metadata": {"name": "web"},
                "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}}, "template": {
                    "metadata": {"labels": {"app": "web"}},
                    "spec": {"containers": [{"name": "web", "image": "shop:1", "resources": resources}]},
                }},
            }))
            .await;
        cluster.until_all::<Pod>(|pods| pods.len() == 2).await;
        cluster
            .create::<HorizontalPodAutoscaler>(json!({
                "metadata": {"name": "web"},
                "spec": {
                    "minReplicas": 1, "maxReplicas": 5,
                    "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                    "metrics": [{"type": "Resource", "resource": {
                        "name": "memory", "target": {"type": "Utilization", "averageUtilization": 50},
                    }}],
                    "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
                },
            }))
            .await;
        let told = |scaler: &HorizontalPodAutoscaler, kind: &str, status: &str, reason: &str| {
            let conditions = scaler.status.iter().flat_map(|status| status.conditions.iter().flatten());
            conditions.into_iter().any(|told| {
                told.type_ == kind && told.status == status && told.reason.as_deref() == Some(reason)
            })
        };
        let silent = "FailedGetResourceMetric";
        cluster
            .until::<HorizontalPodAutoscaler>("web", |web| told(web, "ScalingActive", "False", silent))
            .await;
        let sized = |size: i32| move |web: &Deployment| web.spec.replicas == Some(size);
        tell(&cluster, &metrics, "75Mi").await;
        cluster.until::<Deployment>("web", sized(3)).await;
        cluster.until_all::<Pod>(|pods| pods.len() == 3).await;
        tell(&cluster, &metrics, "400Mi").await;
        cluster.until::<Deployment>("web", sized(5)).await;
        cluster
            .until::<HorizontalPodAutoscaler>("web", |web| {
                told(web, "ScalingLimited", "True", "TooManyReplicas")
            })
            .await;
        cluster.until_all::<Pod>(|pods| pods.len() == 5).await;
        tell(&cluster, &metrics, "10Mi").await;
        cluster.until::<Deployment>("web", sized(1)).await;
        cluster
            .until::<HorizontalPodAutoscaler>("web", |web| {
                told(web, "ScalingActive", "True", "ValidMetricFound")
            })
            .await;
    }
}

/// Says that each pod that there is uses so much.
async fn tell(cluster: &Cluster, metrics: &Api<DynamicObject>, memory: &str) {
    for pod in cluster.list::<Pod>("app=web").await {
        let told = json!({
            "apiVersion": "metrics.k8s.io/v1beta1", "kind": "PodMetrics", "metadata": {"name": pod.name_any()},
            "window": "10s", "containers": [{"name": "web", "usage": {"memory": memory}}],
        });
        let parameters = PatchParams::apply("test").force();
        metrics.patch(&pod.name_any(), &parameters, &Patch::Apply(told)).await.unwrap();
    }
}
