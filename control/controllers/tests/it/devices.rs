//! Claims of devices: pods' templates make them, and nobody's claims are free again, whatever gets lost on the way.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::resource::v1::{ResourceClaim, ResourceClaimTemplate};
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::faults::STORM;
use crate::seeds;

const FINALIZER: &str = "resource.kubernetes.io/delete-protection";

fn asked() -> Value {
    json!({"devices": {"requests": [{"name": "gpu", "exactly": {"deviceClassName": "gpu.example.com"}}]}})
}

async fn pod(cluster: &Cluster, name: &str, claims: Value) -> Pod {
    let containers = json!([{"name": "c", "image": "i"}]);
    let spec = json!({"containers": containers, "schedulerName": "nobody", "resourceClaims": claims});
    cluster.create(json!({"metadata": {"name": name}, "spec": spec})).await
}

async fn status(cluster: &Cluster, claim: &str, status: Value) {
    let patch = Patch::Merge(json!({"metadata": {"finalizers": [FINALIZER]}}));
    let claims = cluster.api::<ResourceClaim>();
    claims.patch(claim, &PatchParams::default(), &patch).await.unwrap();
    let patch = Patch::Merge(json!({"status": status}));
    claims.patch_status(claim, &PatchParams::default(), &patch).await.unwrap();
}

fn allocation() -> Value {
    json!({"devices": {"results": [
        {"request": "gpu", "driver": "gpu.example.com", "pool": "edge", "device": "gpu-0"},
    ]}})
}

fn user(pod: &Pod) -> Value {
    json!({"resource": "pods", "name": pod.name_any(), "uid": pod.uid()})
}

#[tokio::test(flavor = "multi_thread")]
async fn each_pod_gets_the_claims_that_its_templates_make_once() {
    for seed in seeds() {
        let mut cluster = Cluster::with(seed, STORM).await;
        cluster.start_controllers();
        let two = json!([
            {"name": "one", "resourceClaimTemplateName": "late"}, {"name": "two", "resourceClaimTemplateName": "late"},
        ]);
        for at in 0..4 {
            pod(&cluster, &format!("p{at}"), two.clone()).await;
            if at == 2 {
                cluster.kill_controllers().await;
                cluster.start_controllers();
            }
        }
        // The pods wait for their template.
        let template = json!({
            "metadata": {"name": "late"}, "spec": {"metadata": {"labels": {"made": "yes"}}, "spec": asked()},
        });
        let _: ResourceClaimTemplate = cluster.create(template).await;
        let pods = cluster
            .until_all::<Pod>(|all| {
                let told = |pod: &Pod| {
                    let status =
                        pod.status.as_ref().and_then(|status| status.resource_claim_statuses.as_ref());
                    status.map_or(0, Vec::len)
                };
                all.len() == 4 && all.iter().all(|pod| told(pod) == 2)
            })
            .await;
        let told: BTreeSet<String> = pods
            .iter()
            .flat_map(|pod| pod.status.as_ref().unwrap().resource_claim_statuses.as_ref().unwrap())
            .filter_map(|told| told.resource_claim_name.clone())
            .collect();
        let claims = cluster.until_all::<ResourceClaim>(|all| all.len() == 8).await;
        let there: BTreeSet<String> = claims.iter().map(ResourceExt::name_any).collect();
        assert_eq!(told, there, "each is told of its own, and there are no others");
        assert!(claims.iter().all(|claim| claim.labels().get("made").is_some_and(|made| made == "yes")));
        // One that is lost is made again.
        let lost = claims[0].name_any();
        cluster.api::<ResourceClaim>().delete(&lost, &DeleteParams::default()).await.unwrap();
        cluster
            .until_all::<ResourceClaim>(|all| {
                all.len() == 8 && all.iter().all(|claim| claim.name_any() != lost)
            })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_free_once_its_last_pod_is_gone() {
    for seed in seeds() {
        let mut cluster = Cluster::with(seed, STORM).await;
        cluster.start_controllers();
        let _: ResourceClaim = cluster.create(json!({"metadata": {"name": "shared"}, "spec": asked()})).await;
        let named = json!([{"name": "gpu", "resourceClaimName": "shared"}]);
        let (one, two) = (pod(&cluster, "one", named.clone()).await, pod(&cluster, "two", named).await);
        let stranger = json!({"resource": "pods", "name": "never", "uid": "was"});
        let users = json!([user(&one), user(&two), stranger]);
        status(&cluster, "shared", json!({"allocation": allocation(), "reservedFor": users})).await;
        let count = |claim: &ResourceClaim| {
            let status = claim.status.as_ref().and_then(|status| status.reserved_for.as_ref());
            status.map_or(0, Vec::len)
        };
        cluster.until::<ResourceClaim>("shared", |claim| count(claim) == 2).await;
        let ended = Patch::Merge(json!({"status": {"phase": "Succeeded"}}));
        cluster.api::<Pod>().patch_status("one", &PatchParams::default(), &ended).await.unwrap();
        let claim = cluster.until::<ResourceClaim>("shared", |claim| count(claim) == 1).await;
        assert!(claim.status.unwrap().allocation.is_some() && !claim.metadata.finalizers.unwrap().is_empty());
        cluster.api::<Pod>().delete("two", &DeleteParams::default()).await.unwrap();
        let is_free =
            |claim: &ResourceClaim| claim.status.as_ref().is_none_or(|status| status.allocation.is_none());
        cluster.until::<ResourceClaim>("shared", is_free).await;
        // Nothing holds it any more.
        cluster.api::<ResourceClaim>().delete("shared", &DeleteParams::default()).await.unwrap();
        cluster.until_all::<ResourceClaim>(<[_]>::is_empty).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_was_made_for_a_pod_goes_when_the_pod_has_ended() {
    for seed in seeds() {
        let mut cluster = Cluster::with(seed, STORM).await;
        cluster.start_controllers();
        let template = json!({"metadata": {"name": "t"}, "spec": {"spec": asked()}});
        let _: ResourceClaimTemplate = cluster.create(template).await;
        let made = pod(&cluster, "one", json!([{"name": "gpu", "resourceClaimTemplateName": "t"}])).await;
        let claims = cluster.until_all::<ResourceClaim>(|all| all.len() == 1).await;
        let name = claims[0].name_any();
        status(&cluster, &name, json!({"allocation": allocation(), "reservedFor": [user(&made)]})).await;
        let ended = Patch::Merge(json!({"status": {"phase": "Failed"}}));
        cluster.api::<Pod>().patch_status("one", &PatchParams::default(), &ended).await.unwrap();
        cluster.until_all::<ResourceClaim>(<[_]>::is_empty).await;
        assert!(cluster.api::<Pod>().get("one").await.is_ok(), "the pod stays");
    }
}
