//! Claims and volumes in a storm: each claim has one volume and each volume one claim, whatever gets lost on the way.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::faults::STORM;
use crate::seeds;

async fn volume(cluster: &Cluster, name: &str, size: &str, more: Value) -> PersistentVolume {
    let mut spec = json!({
        "accessModes": ["ReadWriteOnce"], "capacity": {"storage": size}, "hostPath": {"path": "/data"},
    });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let volume = json!({"metadata": {"name": name}, "spec": spec});
    let volume: PersistentVolume = serde_json::from_value(volume).unwrap();
    cluster.all().create(&PostParams::default(), &volume).await.unwrap()
}

async fn claim(cluster: &Cluster, name: &str, more: Value) -> PersistentVolumeClaim {
    let mut spec = json!({
        "accessModes": ["ReadWriteOnce"], "storageClassName": "",
        "resources": {"requests": {"storage": "1Gi"}},
    });
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    cluster.create(json!({"metadata": {"name": name}, "spec": spec})).await
}

fn phase(claim: &PersistentVolumeClaim) -> &str {
    claim.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

fn volume_of(claim: &PersistentVolumeClaim) -> String {
    claim.spec.as_ref().and_then(|spec| spec.volume_name.clone()).unwrap_or_default()
}

async fn volume_until(cluster: &Cluster, name: &str, wanted: &str) -> PersistentVolume {
    let api = cluster.all::<PersistentVolume>();
    let begun = std::time::Instant::now();
    loop {
        let volume = api.get(name).await.unwrap();
        if volume.status.as_ref().and_then(|status| status.phase.as_deref()) == Some(wanted) {
            return volume;
        }
        assert!(begun.elapsed() < crate::cluster::LONG, "{name} never became {wanted}: {volume:#?}");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_claim_gets_one_volume_though_the_binder_is_cut_off() {
    for seed in seeds() {
        let mut cluster = Cluster::in_storm(seed, STORM).await;
        for at in 0..6 {
            volume(&cluster, &format!("v{at}"), &format!("{}Gi", at + 1), json!({})).await;
        }
        for at in 0..6 {
            claim(&cluster, &format!("c{at}"), json!({})).await;
            if at % 3 == 2 {
                cluster.kill_controllers().await;
                cluster.start_controllers();
            }
        }
        let claims = cluster
            .until_all::<PersistentVolumeClaim>(|all| {
                all.len() == 6 && all.iter().all(|claim| phase(claim) == "Bound")
            })
            .await;
        let names: BTreeSet<String> = claims.iter().map(volume_of).collect();
        assert_eq!(names.len(), 6, "no two have the same");
        for claim in &claims {
            let volume = volume_until(&cluster, &volume_of(claim), "Bound").await;
            let spec = volume.spec.unwrap();
            assert_eq!(spec.claim_ref.unwrap().uid, claim.uid());
            assert_eq!(claim.status.as_ref().unwrap().capacity, spec.capacity);
            assert!(claim.annotations().contains_key("pv.kubernetes.io/bind-completed"));
        }
        // What is kept stays with its claim's name on it, and a claim of that name is another claim.
        let name = volume_of(&claims[0]);
        let own = claims[0].name_any();
        cluster.api::<PersistentVolumeClaim>().delete(&own, &DeleteParams::default()).await.unwrap();
        let released = volume_until(&cluster, &name, "Released").await;
        assert_eq!(released.spec.unwrap().claim_ref.unwrap().uid, claims[0].uid());
        claim(&cluster, &own, json!({})).await;
        volume(&cluster, "late", "1Gi", json!({})).await;
        let again = cluster.until::<PersistentVolumeClaim>(&own, |claim| phase(claim) == "Bound").await;
        assert_eq!(volume_of(&again), "late");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_and_a_volume_that_name_each_other_find_each_other() {
    for seed in seeds() {
        let cluster = Cluster::in_storm(seed, STORM).await;
        claim(&cluster, "asks", json!({"volumeName": "asked"})).await;
        volume(&cluster, "asked", "1Gi", json!({})).await;
        let kept =
            json!({"claimRef": {"namespace": "default", "name": "wanted"}, "storageClassName": "slow"});
        volume(&cluster, "kept", "5Gi", kept).await;
        claim(&cluster, "wanted", json!({})).await;
        for (name, own) in [("asks", "asked"), ("wanted", "kept")] {
            let found = cluster.until::<PersistentVolumeClaim>(name, |claim| phase(claim) == "Bound").await;
            assert_eq!(volume_of(&found), own);
        }
        // A volume that goes though it is bound takes its claim's data along, which the claim says.
        let volumes = cluster.all::<PersistentVolume>();
        volumes.delete("asked", &DeleteParams::default()).await.unwrap();
        let there = volumes.get("asked").await.unwrap();
        assert!(there.finalizers().iter().any(|own| own == "kubernetes.io/pv-protection"));
        let nothing = json!({"metadata": {"finalizers": []}});
        volumes.patch("asked", &PatchParams::default(), &Patch::Merge(nothing)).await.unwrap();
        cluster.until::<PersistentVolumeClaim>("asks", |claim| phase(claim) == "Lost").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_in_use_stays_until_its_last_pod_is_gone() {
    for seed in seeds() {
        let cluster = Cluster::in_storm(seed, STORM).await;
        volume(&cluster, "v", "1Gi", json!({})).await;
        claim(&cluster, "data", json!({})).await;
        let pod = json!({
            "metadata": {"name": "user"},
            "spec": {
                "containers": [{"name": "a", "image": "a:1"}],
                "volumes": [
                    {"name": "v", "persistentVolumeClaim": {"claimName": "data"}},
                    {"name": "own", "ephemeral": {"volumeClaimTemplate": {"spec": {
                        "accessModes": ["ReadWriteOnce"], "storageClassName": "none",
                        "resources": {"requests": {"storage": "1Gi"}},
                    }}}},
                ],
            },
        });
        let pod = cluster.create::<Pod>(pod).await;
        let placed = |pod: &Pod| pod.spec.as_ref().unwrap().node_name.is_some();
        cluster.until::<Pod>("user", placed).await;
        let own = cluster.until::<PersistentVolumeClaim>("user-own", |_| true).await;
        cluster.until::<PersistentVolumeClaim>("data", |claim| phase(claim) == "Bound").await;
        assert_eq!(own.owner_references()[0].uid, pod.uid().unwrap());
        let claims = cluster.api::<PersistentVolumeClaim>();
        claims.delete("data", &DeleteParams::default()).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        let there = claims.get("data").await.unwrap();
        assert!(there.metadata.deletion_timestamp.is_some(), "it goes once it can");
        cluster.api::<Pod>().delete("user", &DeleteParams::default()).await.unwrap();
        cluster.until_all::<PersistentVolumeClaim>(<[PersistentVolumeClaim]>::is_empty).await;
        volume_until(&cluster, "v", "Released").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_names_no_class_gets_the_default_that_comes_later() {
    for seed in seeds() {
        let cluster = Cluster::in_storm(seed, STORM).await;
        let spec = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
        cluster.create::<PersistentVolumeClaim>(json!({"metadata": {"name": "early"}, "spec": spec})).await;
        let key = "storageclass.kubernetes.io/is-default-class";
        let class: StorageClass = serde_json::from_value(json!({
            "metadata": {"name": "late", "annotations": {key: "true"}}, "provisioner": "example.com/maker",
        }))
        .unwrap();
        cluster.all().create(&PostParams::default(), &class).await.unwrap();
        let asked = cluster
            .until::<PersistentVolumeClaim>("early", |claim| {
                let asked = claim.annotations().get("volume.kubernetes.io/storage-provisioner");
                asked.is_some_and(|maker| maker == "example.com/maker")
            })
            .await;
        assert_eq!(asked.spec.as_ref().unwrap().storage_class_name.as_deref(), Some("late"));
        // The volume that was made for it comes with its name and uid.
        let reference = json!({"namespace": "default", "name": "early", "uid": asked.uid()});
        volume(&cluster, "made", "1Gi", json!({"claimRef": reference, "storageClassName": "late"})).await;
        cluster.until::<PersistentVolumeClaim>("early", |claim| phase(claim) == "Bound").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_that_wait_are_not_looked_at_for_volumes_of_others() {
    let mut cluster = Cluster::quiet().await;
    cluster.start_controllers();
    let given = volume(&cluster, "given", "1Gi", json!({})).await;
    claim(&cluster, "has", json!({})).await;
    cluster.until::<PersistentVolumeClaim>("has", |claim| phase(claim) == "Bound").await;
    for at in 0..20 {
        let big = json!({"resources": {"requests": {"storage": "5Gi"}}});
        claim(&cluster, &format!("waits-{at}"), big).await;
    }
    let pending = |all: &[PersistentVolumeClaim]| all.iter().filter(|own| phase(own) == "Pending").count();
    cluster.until_all::<PersistentVolumeClaim>(|all| pending(all) == 20).await;
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    let before = cluster.faults.requests();
    let note = Patch::Merge(json!({"metadata": {"labels": {"touched": "yes"}}}));
    let volumes = cluster.all::<PersistentVolume>();
    volumes.patch(&given.name_any(), &PatchParams::default(), &note).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let asked = cluster.faults.requests() - before;
    assert!(asked < 15, "{asked} requests for a change that concerns one claim");
    volume(&cluster, "big", "5Gi", json!({})).await;
    cluster.until_all::<PersistentVolumeClaim>(|all| pending(all) == 19).await;
}
