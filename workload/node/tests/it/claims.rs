//! Pods with claims: what their volumes are, and what pods wait for. Nobody but the test binds claims here.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};

use crate::cluster::{Cluster, NODE, phase};

/// A claim without a volume, of a class if that is named.
async fn claim(cluster: &Cluster, name: &str, spec: Value) -> PersistentVolumeClaim {
    let mut whole = json!({
        "accessModes": ["ReadWriteOnce"], "storageClassName": "",
        "resources": {"requests": {"storage": "1Mi"}},
    });
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    let claim: PersistentVolumeClaim =
        serde_json::from_value(json!({"metadata": {"name": name}, "spec": whole})).unwrap();
    cluster.api().create(&PostParams::default(), &claim).await.unwrap()
}

/// Binds a claim to a new volume of its name, as the binder would.
async fn bind(cluster: &Cluster, claim: &PersistentVolumeClaim, source: Value) {
    let name = claim.name_any();
    let reference = json!({"namespace": "default", "name": name, "uid": claim.uid()});
    let mut spec = json!({
        "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Mi"}, "claimRef": reference,
    });
    spec.as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
    let volume: PersistentVolume =
        serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap();
    Api::all(cluster.client.clone()).create(&PostParams::default(), &volume).await.unwrap();
    let claims = cluster.api::<PersistentVolumeClaim>();
    let bound = json!({
        "metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}}, "spec": {"volumeName": name},
    });
    claims.patch(&name, &PatchParams::default(), &Patch::Merge(bound)).await.unwrap();
    let status = json!({"status": {"phase": "Bound"}});
    claims.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
}

fn local(path: &Path, node: &str) -> Value {
    let term =
        json!({"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]});
    json!({"local": {"path": path}, "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}}})
}

fn folder(cluster: &Cluster, name: &str) -> PathBuf {
    let path = cluster.folder.path().join(name);
    std::fs::create_dir(&path).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_reads_and_writes_the_volumes_of_its_claims() {
    let Some(cluster) = Cluster::start("a_pod_reads_and_writes_the_volumes_of_its_claims").await else {
        return;
    };
    let (given, host) = (folder(&cluster, "given"), folder(&cluster, "host"));
    std::fs::write(given.join("old"), "old").unwrap();
    std::fs::set_permissions(given.join("old"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::write(host.join("kept"), "kept").unwrap();
    bind(&cluster, &claim(&cluster, "given", json!({})).await, local(&given, NODE)).await;
    bind(&cluster, &claim(&cluster, "host", json!({})).await, json!({"hostPath": {"path": host}})).await;
    let named = |name: &str, read_only: bool| json!({"name": name, "persistentVolumeClaim": {"claimName": name, "readOnly": read_only}});
    let mount = |name: &str, more: Value| {
        let mut mount = json!({"name": name, "mountPath": format!("/{name}")});
        mount.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        mount
    };
    let spec = json!({
        "restartPolicy": "Never",
        "securityContext": {"fsGroup": 1234, "runAsUser": 1000},
        "volumes": [named("given", false), named("host", true)],
        "initContainers": [
            {"name": "write", "args": ["step", "/given/file", "new", "0"],
             "volumeMounts": [mount("given", json!({}))]},
            {"name": "part", "args": ["step", "/given/file", "part", "0"],
             "securityContext": {"runAsUser": 0},
             "volumeMounts": [mount("given", json!({"subPath": "in/part"}))]},
        ],
        "containers": [
            {"name": "read", "args": ["read", "/given/old", "/given/file", "/host/kept"],
             "volumeMounts": [mount("given", json!({})), mount("host", json!({}))]},
            {"name": "change", "args": ["step", "/host/kept", "mine", "0"],
             "volumeMounts": [mount("host", json!({}))]},
        ],
    });
    cluster.run("job", spec).await;
    let pod = cluster.until("job", "its end", |pod| matches!(phase(pod), "Succeeded" | "Failed")).await;
    assert_eq!(cluster.log(&pod, "read"), ["oldnewkept"]);
    assert_eq!(phase(&pod), "Failed", "what is mounted to be read is not written");
    cluster.delete("job").await;
    assert_eq!(std::fs::read_to_string(host.join("kept")).unwrap(), "kept");
    assert_eq!(std::fs::read_to_string(given.join("in/part/file")).unwrap(), "part");
    let about = std::fs::metadata(given.join("file")).unwrap();
    assert_eq!((about.uid(), about.gid()), (1000, 1234), "identities on disk are those of the pod's words");
    assert_eq!(std::fs::metadata(host.join("kept")).unwrap().gid(), 0, "the machine's own stays its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_waits_until_its_claims_have_volumes_that_are_here() {
    let Some(cluster) = Cluster::start("a_pod_waits_until_its_claims_have_volumes_that_are_here").await
    else {
        return;
    };
    let using = |name: &str| {
        json!({
            "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": name}}],
            "containers": [{"name": "main", "args": ["polite"], "volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
        })
    };
    let refused = |why: &str| {
        format!(
            "0/1 nodes are available: {why}. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
        )
    };
    cluster.run("early", using("late")).await;
    let message = cluster.event("early", "FailedScheduling").await.message.unwrap();
    assert_eq!(message, refused("persistentvolumeclaim \"late\" not found"));
    let late = claim(&cluster, "late", json!({})).await;
    let says = |why: &'static str| {
        move |pod: &Pod| {
            let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
            conditions.into_iter().any(|own| own.message.as_ref().is_some_and(|text| text.contains(why)))
        }
    };
    cluster
        .until("early", "its claim's wait", says("pod has unbound immediate PersistentVolumeClaims"))
        .await;
    bind(&cluster, &late, local(&folder(&cluster, "late"), NODE)).await;
    cluster.ready("early").await;

    bind(&cluster, &claim(&cluster, "away", json!({})).await, local(Path::new("/away"), "elsewhere")).await;
    cluster.run("away", using("away")).await;
    let message = cluster.event("away", "FailedScheduling").await.message.unwrap();
    assert_eq!(message, refused("1 node(s) didn't match PersistentVolume's node affinity"));
    let missing = cluster.folder.path().join("missing");
    bind(&cluster, &claim(&cluster, "gone", json!({})).await, local(&missing, NODE)).await;
    cluster.run("gone", using("gone")).await;
    let message = cluster.event("gone", "FailedMount").await.message.unwrap();
    assert!(
        message.ends_with(&format!("path {:?} does not exist", missing.display().to_string())),
        "{message}"
    );
    for pod in ["early", "away", "gone"] {
        cluster.delete(pod).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_waits_for_its_pod_is_told_where_that_is() {
    let Some(cluster) = Cluster::start("a_claim_that_waits_for_its_pod_is_told_where_that_is").await else {
        return;
    };
    let class: k8s_openapi::api::storage::v1::StorageClass = serde_json::from_value(json!({
        "metadata": {"name": "waits"}, "provisioner": "example.com/maker",
        "volumeBindingMode": "WaitForFirstConsumer",
    }))
    .unwrap();
    Api::all(cluster.client.clone()).create(&PostParams::default(), &class).await.unwrap();
    let data =
        claim(&cluster, "data", json!({"storageClassName": "waits", "accessModes": ["ReadWriteOncePod"]}))
            .await;
    let spec = json!({
        "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}],
        "containers": [{"name": "main", "args": ["polite"], "volumeMounts": [{"name": "v", "mountPath": "/v"}]}],
    });
    cluster.run("first", spec.clone()).await;
    let node = "volume.kubernetes.io/selected-node";
    cluster
        .until_any::<PersistentVolumeClaim>("data", "its node", |claim| {
            claim.annotations().get(node).is_some_and(|own| own == NODE)
        })
        .await;
    bind(&cluster, &data, local(&folder(&cluster, "data"), NODE)).await;
    cluster.ready("first").await;
    // One pod has it alone.
    cluster.run("second", spec).await;
    let message = cluster.event("second", "FailedScheduling").await.message.unwrap();
    assert!(
        message.contains("1 node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod"),
        "{message}"
    );
    cluster.delete("first").await;
    cluster.ready("second").await;
    cluster.delete("second").await;
}
