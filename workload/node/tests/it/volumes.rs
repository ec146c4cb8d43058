use std::path::PathBuf;

use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::cluster::{Cluster, phase, waits};

async fn map(cluster: &Cluster, name: &str, data: Value) {
    let map: ConfigMap = serde_json::from_value(json!({"metadata": {"name": name}, "data": data})).unwrap();
    cluster.api().create(&PostParams::default(), &map).await.unwrap();
}

fn volume(cluster: &Cluster, pod: &Pod, name: &str) -> PathBuf {
    cluster.folder.path().join("pods").join(pod.uid().unwrap()).join("volumes").join(name)
}

#[tokio::test(flavor = "multi_thread")]
async fn files_come_from_objects_and_follow_their_changes() {
    let Some(cluster) = Cluster::start("files_come_from_objects_and_follow_their_changes").await else {
        return;
    };
    map(&cluster, "settings", json!({"color": "blue", "size": "big"})).await;
    let secret: Secret =
        serde_json::from_value(json!({"metadata": {"name": "key"}, "stringData": {"key": "abc"}})).unwrap();
    cluster.api().create(&PostParams::default(), &secret).await.unwrap();
    let spec = json!({
        "volumes": [{"name": "all", "projected": {"defaultMode": 0o400, "sources": [
            {"configMap": {"name": "settings", "items": [{"key": "color", "path": "in/color"}]}},
            {"secret": {"name": "key"}},
            {"configMap": {"name": "absent", "optional": true}},
            {"downwardAPI": {"items": [
                {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}},
                {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
                {"path": "memory", "resourceFieldRef":
                    {"containerName": "main", "resource": "limits.memory", "divisor": "1Mi"}},
            ]}},
        ]}}],
        "containers": [{"name": "main", "args": ["polite"],
            "resources": {"limits": {"memory": "64Mi"}},
            "volumeMounts": [
                {"name": "all", "mountPath": "/all"},
                {"name": "all", "mountPath": "/one", "subPath": "in/color"},
            ],
            "readinessProbe": {"exec": {"command": ["/guest", "read", "/all/in/color", "/one", "/all/key"]}},
            "lifecycle": {"postStart": {"exec": {"command":
                ["/guest", "read", "/all/in/color", "/one", "/all/key", "/all/name", "/all/memory"]}}}}],
        "restartPolicy": "Never",
    });
    cluster.run("web", spec).await;
    let pod = cluster.ready("web").await;
    let folder = volume(&cluster, &pod, "all");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap_or_default();
    assert_eq!(
        (read("in/color").as_str(), read("key").as_str(), read("name").as_str()),
        ("blue", "abc", "web")
    );
    assert_eq!(read("memory"), "64");
    assert!(!folder.join("size").exists());
    let data = std::fs::read_link(folder.join("..data")).unwrap();

    let change = |patch: Value| Patch::Merge(patch);
    let maps = cluster.api::<ConfigMap>();
    maps.patch("settings", &PatchParams::default(), &change(json!({"data": {"color": "red"}})))
        .await
        .unwrap();
    let labels = json!({"metadata": {"labels": {"app": "web"}}});
    cluster.api::<Pod>().patch("web", &PatchParams::default(), &change(labels)).await.unwrap();
    for _ in 0..200 {
        if read("in/color") == "red" && read("labels") == "app=\"web\"" {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!((read("in/color").as_str(), read("labels").as_str()), ("red", "app=\"web\""));
    assert_ne!(std::fs::read_link(folder.join("..data")).unwrap(), data);
    cluster.delete("web").await;
    assert!(!folder.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_see_parts_of_volumes_as_they_ask() {
    let Some(cluster) = Cluster::start("containers_see_parts_of_volumes_as_they_ask").await else { return };
    map(&cluster, "settings", json!({"color": "blue"})).await;
    let spec = json!({
        "restartPolicy": "Never",
        "volumes": [
            {"name": "settings", "configMap": {"name": "settings"}},
            {"name": "data", "emptyDir": {}},
            {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
            {"name": "host", "hostPath": {"path": cluster.folder.path().join("made"), "type": "DirectoryOrCreate"}},
        ],
        "initContainers": [
            {"name": "write", "args": ["step", "/data/file", "text", "0"],
             "env": [{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
             "volumeMounts": [{"name": "data", "mountPath": "/data", "subPathExpr": "of/$(POD)"}]},
            {"name": "keep", "args": ["step", "/host/kept", "kept", "0"],
             "volumeMounts": [{"name": "host", "mountPath": "/host"}, {"name": "memory", "mountPath": "/memory"}]},
        ],
        "containers": [
            {"name": "read", "args": ["read", "/all/of/job/file", "/etc/color", "/host/kept"],
             "volumeMounts": [
                {"name": "data", "mountPath": "/all"}, {"name": "host", "mountPath": "/host"},
                {"name": "settings", "mountPath": "/etc/color", "subPath": "color"}]},
            {"name": "change", "args": ["step", "/settings/color", "mine", "0"],
             "volumeMounts": [{"name": "settings", "mountPath": "/settings"}]},
        ],
    });
    cluster.run("job", spec).await;
    let pod = cluster.until("job", "its end", |pod| matches!(phase(pod), "Succeeded" | "Failed")).await;
    assert_eq!(cluster.log(&pod, "read"), ["textbluekept"]);
    // What comes from another object cannot be changed from inside.
    assert_eq!(phase(&pod), "Failed");
    assert_eq!(
        std::fs::read_to_string(volume(&cluster, &pod, "settings").join("color")).unwrap_or_default(),
        "blue"
    );
    cluster.delete("job").await;
    assert_eq!(std::fs::read_to_string(cluster.folder.path().join("made/kept")).unwrap(), "kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_waits_for_what_its_volumes_lack() {
    let Some(cluster) = Cluster::start("a_pod_waits_for_what_its_volumes_lack").await else { return };
    let spec =
        |volume: Value| json!({"volumes": [volume], "containers": [{"name": "main", "args": ["polite"]}]});
    cluster.run("late", spec(json!({"name": "v", "configMap": {"name": "late"}}))).await;
    let message = cluster.event("late", "FailedMount").await.message.unwrap();
    assert_eq!(message, "MountVolume.SetUp failed for volume \"v\" : configmap \"late\" not found");
    assert_eq!(waits(&cluster.pod("late").await, "main").0, "ContainerCreating");
    map(&cluster, "late", json!({"a": "b"})).await;
    cluster.ready("late").await;
    let file = cluster.folder.path().join("absent");
    cluster.run("bad", spec(json!({"name": "v", "hostPath": {"path": file, "type": "File"}}))).await;
    let message = cluster.event("bad", "FailedMount").await.message.unwrap();
    assert!(
        message.ends_with(&format!("hostPath type check failed: {} is not a file", file.display())),
        "{message}"
    );
    for pod in ["late", "bad"] {
        cluster.delete(pod).await;
    }
}
