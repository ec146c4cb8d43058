use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use serde_json::{Value, json};
use xebec_node::exec::{ExecRequest, exec};

use crate::cluster::Cluster;

/// What root in the pod's container is on the machine.
async fn root_of(cluster: &Cluster, pod: &Pod) -> u32 {
    let request = ExecRequest {
        command: ["/guest", "read", "/proc/self/uid_map"].map(str::to_owned).to_vec(),
        ..ExecRequest::default()
    };
    let mut session = exec(&cluster.parts(), pod, &request).await.unwrap();
    let mut map = String::new();
    let mut stdout = session.stdout.take().unwrap();
    tokio::io::AsyncReadExt::read_to_string(&mut stdout, &mut map).await.unwrap();
    map.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_have_identities_of_their_own_unless_they_say_otherwise() {
    let Some(mut cluster) =
        Cluster::start("pods_have_identities_of_their_own_unless_they_say_otherwise").await
    else {
        return;
    };
    let spec = |host_users: Value| {
        let mounts =
            json!([{"name": "data", "mountPath": "/data"}, {"name": "memory", "mountPath": "/memory"}]);
        json!({
            "hostUsers": host_users,
            "volumes": [
                {"name": "data", "emptyDir": {}},
                {"name": "memory", "emptyDir": {"medium": "Memory"}},
                {"name": "about", "downwardAPI": {"defaultMode": 0o400, "items":
                    [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
            ],
            "initContainers": [{"name": "write", "args": ["step", "/data/file", "text", "0"], "volumeMounts": mounts}],
            "containers": [{
                "name": "main", "args": ["polite"],
                "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "about", "mountPath": "/about"}],
                "readinessProbe": {"exec": {"command": ["/guest", "read", "/data/file", "/about/name"]}},
                "lifecycle": {"postStart": {"exec": {"command": ["/guest", "append", "/data/hook", "ran"]}}},
            }],
        })
    };
    cluster.run("own", spec(json!(false))).await;
    cluster.run("silent", spec(Value::Null)).await;
    cluster.run("shared", spec(json!(true))).await;
    let mut firsts = Vec::new();
    for name in ["own", "silent", "shared"] {
        let pod = cluster.ready(name).await;
        firsts.push(root_of(&cluster, &pod).await);
        let data = cluster.folder.path().join("pods").join(pod.uid().unwrap()).join("volumes/data");
        assert_eq!(std::fs::read_to_string(data.join("hook")).unwrap(), "ran\n");
        // On disk all files are as if the pod's root were the machine's.
        let about = std::fs::metadata(data.join("file")).unwrap();
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&about), 0, "{name}");
    }
    assert_eq!(firsts[2], 0);
    assert!(firsts[0] >= 65_536 && firsts[1] >= 65_536 && firsts[0] != firsts[1], "{firsts:?}");

    cluster.kill_node();
    cluster.start_node();
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    let pod = cluster.ready("own").await;
    assert_eq!(root_of(&cluster, &pod).await, firsts[0]);
    for name in ["own", "silent", "shared"] {
        cluster.delete(name).await;
    }
    assert!(cluster.parts().runtime.user_namespaces().is_empty());
}
