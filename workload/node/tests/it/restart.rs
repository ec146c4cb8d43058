use std::time::Duration;

use serde_json::json;
use xebec_container::Streams;
use xebec_node::exec::{ExecError, attach};

use crate::cluster::{Cluster, is_ready, phase, status};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_node_finds_its_containers_again() {
    let Some(mut cluster) = Cluster::start("a_killed_node_finds_its_containers_again").await else { return };
    let init = json!([{"name": "first", "args": ["append", "/data/steps", "step"]}]);
    let mounts = json!([{"name": "data", "mountPath": "/data"}]);
    let mut spec = json!({
        "volumes": [{"name": "data", "emptyDir": {}}],
        "initContainers": init,
        "containers": [
            {"name": "main", "args": ["count"]},
            {"name": "second", "args": ["exit", "0"]},
        ],
        "restartPolicy": "OnFailure",
    });
    spec["initContainers"][0]["volumeMounts"] = mounts.clone();
    spec["containers"][0]["volumeMounts"] = mounts;
    cluster.run("web", spec).await;
    cluster.run("gone", json!({"containers": [{"name": "main", "args": ["wait"]}]})).await;
    cluster.ready("gone").await;
    let before = cluster
        .until("web", "both containers", |pod| {
            let done = status(pod, "second").state.and_then(|state| state.terminated).is_some();
            done && status(pod, "main").ready
        })
        .await;
    cluster.kill_node();
    let logged = cluster.log(&before, "main").len();
    cluster
        .api::<k8s_openapi::api::core::v1::Pod>()
        .delete("gone", &kube::api::DeleteParams::default().grace_period(0))
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    // Nobody stands beside it but its monitor, and its log goes on.
    assert!(cluster.log(&before, "main").len() > logged);

    cluster.start_node();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let after = cluster.until("web", "the same pod", is_running).await;
    let (old, new) = (status(&before, "main"), status(&after, "main"));
    assert_eq!((old.restart_count, &old.container_id), (new.restart_count, &new.container_id));
    assert_eq!(old.state, new.state);
    assert_eq!(status(&after, "second").restart_count, 0);
    assert_eq!(before.status.unwrap().pod_ip, after.status.as_ref().unwrap().pod_ip);
    let log = cluster.log(&after, "main");
    let counted: Vec<String> = (0..log.len()).map(|number| number.to_string()).collect();
    assert_eq!(log, counted);
    let uid = after.metadata.uid.clone().unwrap();
    assert_eq!(cluster.containers(), [format!("{uid}.c0.0")]);
    let steps = cluster.folder.path().join("pods").join(&uid).join("volumes/data/steps");
    assert_eq!(std::fs::read_to_string(steps).unwrap(), "step\n");

    cluster.delete("web").await;
    assert_eq!(cluster.containers(), [""; 0]);
    assert!(!cluster.folder.path().join("pods").join(&uid).exists());
}

fn is_running(pod: &k8s_openapi::api::core::v1::Pod) -> bool {
    phase(pod) == "Running" && status(pod, "main").ready
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_ended_unseen_is_begun_again() {
    let Some(mut cluster) = Cluster::start("a_container_that_ended_unseen_is_begun_again").await else {
        return;
    };
    cluster.run("web", json!({"containers": [{"name": "main", "args": ["wait"]}]})).await;
    let pod = cluster.ready("web").await;
    cluster.kill_node();
    let id = status(&pod, "main").container_id.unwrap().replace("xebec://", "");
    let processes = cluster.folder.path().join("runtime/containers").join(id).join("processes.json");
    let processes: serde_json::Value = serde_json::from_slice(&std::fs::read(processes).unwrap()).unwrap();
    let first = processes["first"]["pid"].to_string();
    assert!(std::process::Command::new("kill").args(["-9", &first]).status().unwrap().success());
    cluster.start_node();
    let pod = cluster.until("web", "another start", |pod| status(pod, "main").restart_count == 1).await;
    let last = status(&pod, "main").last_state.unwrap().terminated.unwrap();
    assert_eq!((last.exit_code, last.signal), (137, Some(9)));
    cluster.ready("web").await;
    cluster.delete("web").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_ends_itself_leaves_nothing_and_begins_again() {
    let Some(mut cluster) = Cluster::start("a_node_that_ends_itself_leaves_nothing_and_begins_again").await
    else {
        return;
    };
    cluster.run("web", json!({"containers": [{"name": "main", "args": ["polite"]}]})).await;
    cluster.ready("web").await;
    cluster.end_node().await;
    assert_eq!(cluster.containers(), [""; 0]);
    cluster.start_node();
    cluster
        .until("web", "another start", |pod| is_ready(pod) && status(pod, "main").restart_count == 1)
        .await;
    cluster.delete("web").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_ends_itself_kills_what_does_not_end() {
    let Some(mut cluster) = Cluster::start("a_node_that_ends_itself_kills_what_does_not_end").await else {
        return;
    };
    // The first process of a namespace that handles no signal takes no notice of SIGTERM.
    let stubborn = json!({
        "terminationGracePeriodSeconds": 600, "containers": [{"name": "main", "args": ["wait"]}],
    });
    for name in ["deleted", "kept"] {
        cluster.run(name, stubborn.clone()).await;
        cluster.ready(name).await;
    }
    // Its time to end in began before the node's, and is longer.
    let pods = cluster.api::<k8s_openapi::api::core::v1::Pod>();
    pods.delete("deleted", &kube::api::DeleteParams::default()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let begun = std::time::Instant::now();
    cluster.end_node().await;
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    assert_eq!(cluster.containers(), [""; 0]);
    assert!(cluster.parts().network.pods().is_empty());

    cluster.start_node();
    let again = |pod: &_| is_ready(pod) && status(pod, "main").restart_count == 1;
    cluster.until("kept", "another start", again).await;
    let begun = std::time::Instant::now();
    cluster.hurry.cancel();
    cluster.end_node().await;
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(cluster.containers(), [""; 0]);
    assert!(cluster.parts().network.pods().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_attaches_finds_the_streams_again_after_a_restart() {
    let Some(mut cluster) = Cluster::start("who_attaches_finds_the_streams_again_after_a_restart").await
    else {
        return;
    };
    let spec = json!({"containers": [
        {"name": "plain", "args": ["repeat"], "stdin": true},
        {"name": "terminal", "args": ["repeat"], "stdin": true, "stdinOnce": true, "tty": true},
    ]});
    cluster.run("web", spec).await;
    let runs = |pod: &k8s_openapi::api::core::v1::Pod| {
        ["plain", "terminal"].iter().all(|name| status(pod, name).ready)
    };
    let pod = cluster.until("web", "both containers", runs).await;
    let all = Streams { stdin: true, stdout: true, stderr: true };
    for word in ["first", "second"] {
        for (container, end) in [("plain", "\n"), ("terminal", "\r\n")] {
            let mut attached = attach(&cluster.parts(), &pod, container, all).await.unwrap();
            attached.input.write(format!("{word}\n").as_bytes()).await.unwrap();
            let (mut said, expected) = (String::new(), format!("out {word}{end}"));
            while !said.contains(&expected) {
                let next = tokio::time::timeout(Duration::from_secs(60), attached.output.next()).await;
                said.push_str(&String::from_utf8(next.unwrap().unwrap().unwrap().1).unwrap());
            }
        }
        if word == "first" {
            cluster.kill_node();
            cluster.start_node();
            cluster.until("web", "the same pod", runs).await;
        }
    }
    let after = cluster.until("web", "the same pod", runs).await;
    assert!(["plain", "terminal"].iter().all(|name| status(&after, name).restart_count == 0));
    let missing = attach(&cluster.parts(), &pod, "other", all).await.unwrap_err();
    assert!(matches!(missing, ExecError::UnknownContainer { .. }), "{missing}");
    cluster.delete("web").await;
    let gone = attach(&cluster.parts(), &pod, "plain", all).await;
    assert!(matches!(gone, Err(ExecError::NotRunning { .. })), "{gone:?}");
}
