use std::time::{Duration, Instant};

use serde_json::json;

use crate::cluster::{Cluster, is_ready, phase, status};

#[tokio::test(flavor = "multi_thread")]
async fn a_command_decides_whether_a_container_is_ready_and_whether_it_lives() {
    let test = "a_command_decides_whether_a_container_is_ready_and_whether_it_lives";
    let Some(cluster) = Cluster::start(test).await else { return };
    let probe = |args: [&str; 2]| json!({"exec": {"command": ["/guest", args[0], args[1]]}, "periodSeconds": 1, "failureThreshold": 2});
    let spec = json!({
        "volumes": [{"name": "data", "emptyDir": {}}],
        "containers": [{
            "name": "main", "args": ["polite"], "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            "readinessProbe": probe(["test", "/data/ready"]),
            "livenessProbe": probe(["test", "/data/alive"]),
            "startupProbe": {"exec": {"command": ["/guest", "test", "/data/started"]},
                             "periodSeconds": 1, "failureThreshold": 100},
        }],
    });
    cluster.run("web", spec).await;
    let pod = cluster.until("web", "a running container", |pod| phase(pod) == "Running").await;
    let data = cluster.folder.path().join("pods").join(pod.metadata.uid.unwrap()).join("volumes/data");
    std::fs::write(data.join("ready"), "").unwrap();
    // Neither is asked before the container has started up.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let pod = cluster.pod("web").await;
    let own = status(&pod, "main");
    assert_eq!((own.ready, own.started, own.restart_count), (false, Some(false), 0));
    std::fs::write(data.join("alive"), "").unwrap();
    std::fs::write(data.join("started"), "").unwrap();
    let pod = cluster.ready("web").await;
    assert_eq!(status(&pod, "main").started, Some(true));
    std::fs::remove_file(data.join("ready")).unwrap();
    cluster.until("web", "an unready pod", |pod| !is_ready(pod)).await;
    std::fs::write(data.join("ready"), "").unwrap();
    cluster.ready("web").await;
    std::fs::remove_file(data.join("alive")).unwrap();
    cluster.until("web", "another start", |pod| status(pod, "main").restart_count == 1).await;
    let killing = cluster.event("web", "Killing").await;
    assert_eq!(killing.message.as_deref(), Some("Container main failed liveness probe, will be restarted"));
    let told = cluster.events("web").await;
    let unhealthy: Vec<_> =
        told.iter().filter(|event| event.reason.as_deref() == Some("Unhealthy")).collect();
    for kind in ["Startup probe failed: ", "Readiness probe failed: ", "Liveness probe failed: "] {
        let is_kind = |message: &String| message.starts_with(kind);
        assert!(unhealthy.iter().any(|event| event.message.as_ref().is_some_and(is_kind)), "{kind}");
    }
    cluster.delete("web").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_takes_too_long_is_ended_and_counts_as_failed() {
    let Some(cluster) = Cluster::start("a_command_that_takes_too_long_is_ended_and_counts_as_failed").await
    else {
        return;
    };
    let spec = json!({"containers": [{
        "name": "main", "args": ["polite"],
        "livenessProbe": {"exec": {"command": ["/guest", "wait"]}, "periodSeconds": 1, "failureThreshold": 1},
    }]});
    cluster.run("web", spec).await;
    let event = cluster.event("web", "Unhealthy").await;
    assert_eq!(
        event.message.as_deref(),
        Some("Liveness probe failed: command timed out: \"/guest wait\" timed out after 1s")
    );
    cluster.until("web", "another start", |pod| status(pod, "main").restart_count >= 1).await;
    cluster.delete("web").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_run_after_the_start_and_before_the_end() {
    let Some(cluster) = Cluster::start("hooks_run_after_the_start_and_before_the_end").await else { return };
    let folder = cluster.folder.path().join("shared");
    std::fs::create_dir(&folder).unwrap();
    let write = |text: &str| json!({"exec": {"command": ["/guest", "append", "/shared/hooks", text]}});
    let spec = json!({
        "terminationGracePeriodSeconds": 20,
        "volumes": [{"name": "shared", "hostPath": {"path": folder}}],
        "containers": [
            {"name": "main", "args": ["polite"], "volumeMounts": [{"name": "shared", "mountPath": "/shared"}],
             "lifecycle": {"postStart": write("after the start"), "preStop": write("before the end")}},
            {"name": "sleepy", "args": ["polite"], "lifecycle": {"preStop": {"sleep": {"seconds": 2}}}},
        ],
    });
    cluster.run("web", spec).await;
    cluster.ready("web").await;
    let hooks = || std::fs::read_to_string(folder.join("hooks")).unwrap();
    assert_eq!(hooks(), "after the start\n");
    let begun = Instant::now();
    cluster.delete("web").await;
    assert!(begun.elapsed() >= Duration::from_secs(2) && begun.elapsed() < Duration::from_secs(15));
    assert_eq!(hooks(), "after the start\nbefore the end\n");

    let spec = json!({"restartPolicy": "Never", "containers": [{
        "name": "main", "args": ["polite"],
        "lifecycle": {"postStart": {"exec": {"command": ["/guest", "exit", "1"]}}},
    }]});
    cluster.run("bad", spec).await;
    cluster.event("bad", "FailedPostStartHook").await;
    cluster.until("bad", "its end", |pod| matches!(phase(pod), "Succeeded" | "Failed")).await;
    cluster.delete("bad").await;
}
