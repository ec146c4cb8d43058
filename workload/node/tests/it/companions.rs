use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use crate::cluster::{Cluster, is_ready, phase, status};

fn ended(pod: &Pod, container: &str) -> Option<(i32, String, String)> {
    let ended = status(pod, container).state?.terminated?;
    Some((ended.exit_code, ended.reason.unwrap_or_default(), ended.message.unwrap_or_default()))
}

#[tokio::test(flavor = "multi_thread")]
async fn init_containers_run_in_turn_and_sidecars_stay_until_the_others_have_ended() {
    let test = "init_containers_run_in_turn_and_sidecars_stay_until_the_others_have_ended";
    let Some(cluster) = Cluster::start(test).await else { return };
    let mounts = json!([{"name": "data", "mountPath": "/data"}]);
    let spec = json!({
        "restartPolicy": "Never",
        "volumes": [{"name": "data", "emptyDir": {}}],
        "initContainers": [
            {"name": "one", "args": ["step", "/data/one", "1", "0"], "volumeMounts": mounts},
            {"name": "side", "args": ["polite"], "restartPolicy": "Always", "volumeMounts": mounts,
             "startupProbe": {"exec": {"command": ["/guest", "write", "/data/side", "up"]}, "periodSeconds": 1}},
            {"name": "two", "args": ["read", "/data/one", "/data/side"], "volumeMounts": mounts},
        ],
        "containers": [{"name": "main", "args": ["exit", "0"]}],
    });
    cluster.run("job", spec).await;
    let pod = cluster.until("job", "success", |pod| phase(pod) == "Succeeded").await;
    assert_eq!(cluster.log(&pod, "two"), ["1up"]);
    for name in ["one", "side", "two", "main"] {
        assert_eq!(ended(&pod, name).map(|end| end.0), Some(0), "{name}");
    }
    assert_eq!(status(&pod, "side").restart_count, 0);
    let side = status(&pod, "side").state.unwrap().terminated.unwrap();
    let main = status(&pod, "main").state.unwrap().terminated.unwrap();
    assert!(side.started_at.unwrap().0 <= main.started_at.unwrap().0);
    assert!(!is_ready(&pod));
    cluster.delete("job").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_init_container_fails_a_pod_that_does_not_restart() {
    let Some(cluster) = Cluster::start("a_failed_init_container_fails_a_pod_that_does_not_restart").await
    else {
        return;
    };
    let spec = json!({
        "restartPolicy": "Never",
        "initContainers": [{"name": "one", "args": ["exit", "4"]}],
        "containers": [{"name": "main", "args": ["wait"]}],
    });
    cluster.run("job", spec).await;
    let pod = cluster.until("job", "failure", |pod| phase(pod) == "Failed").await;
    assert_eq!(ended(&pod, "one").map(|end| (end.0, end.1)), Some((4, "Error".to_owned())));
    let waits = crate::cluster::waits(&pod, "main");
    assert_eq!(waits.0, "PodInitializing");
    cluster.delete("job").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_leaves_a_message_and_the_kernels_kill_has_its_reason() {
    let test = "a_container_leaves_a_message_and_the_kernels_kill_has_its_reason";
    let Some(cluster) = Cluster::start(test).await else { return };
    let spec = json!({
        "restartPolicy": "Never",
        "containers": [
            {"name": "plain", "args": ["step", "/dev/termination-log", "I give up", "2"]},
            {"name": "elsewhere", "args": ["step", "/tmp/last", "so do I", "0"],
             "terminationMessagePath": "/tmp/last"},
            {"name": "log", "args": ["say", "x"], "command": ["/absent-file-makes-no-log"],
             "terminationMessagePolicy": "FallbackToLogsOnError"},
            {"name": "greedy", "args": ["eat"], "resources": {"limits": {"memory": "32Mi"}}},
        ],
    });
    cluster.run("job", spec).await;
    let pod = cluster.until("job", "failure", |pod| phase(pod) == "Failed").await;
    let end = |code, reason: &str, message: &str| Some((code, reason.to_owned(), message.to_owned()));
    assert_eq!(ended(&pod, "plain"), end(2, "Error", "I give up"));
    assert_eq!(ended(&pod, "elsewhere"), end(0, "Completed", "so do I"));
    assert_eq!(ended(&pod, "greedy"), end(137, "OOMKilled", ""));
    let (code, reason, message) = ended(&pod, "log").unwrap();
    assert_eq!((code, reason.as_str()), (128, "StartError"));
    assert!(message.contains("/absent-file-makes-no-log"), "{message}");
    cluster.delete("job").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_ends_at_its_deadline() {
    let Some(cluster) = Cluster::start("a_pod_ends_at_its_deadline").await else { return };
    let spec = json!({"activeDeadlineSeconds": 2, "containers": [{"name": "main", "args": ["polite"]}]});
    cluster.run("late", spec).await;
    let pod = cluster.until("late", "failure", |pod| phase(pod) == "Failed").await;
    let status = pod.status.unwrap();
    assert_eq!(status.reason.as_deref(), Some("DeadlineExceeded"));
    assert_eq!(
        status.message.as_deref(),
        Some("Pod was active on the node longer than the specified deadline")
    );
    assert_eq!(cluster.containers(), [""; 0]);
    cluster.delete("late").await;
}
