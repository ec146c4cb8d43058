use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt as _;
use kube::api::PostParams;
use serde_json::json;

use crate::cluster::{Cluster, IMAGE, NODE, phase, status, waits};

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_runs_until_it_is_deleted_and_its_events_tell_how() {
    let Some(cluster) = Cluster::start("a_pod_runs_until_it_is_deleted_and_its_events_tell_how").await else {
        return;
    };
    cluster.run("web", json!({"containers": [{"name": "main", "args": ["polite"]}]})).await;
    let pod = cluster.ready("web").await;
    assert_eq!(phase(&pod), "Running");
    assert!(status(&pod, "main").container_id.unwrap().starts_with("xebec://"));
    cluster.delete("web").await;
    cluster.event("web", "Killing").await;
    let told: Vec<(String, String)> = cluster
        .events("web")
        .await
        .into_iter()
        .map(|event| (event.reason.unwrap_or_default(), event.message.unwrap_or_default()))
        .collect();
    let expected = [
        ("Scheduled", format!("Successfully assigned default/web to {NODE}")),
        ("Pulled", format!("Container image {IMAGE:?} already present on machine")),
        ("Created", "Container created".to_owned()),
        ("Started", "Container started".to_owned()),
        ("Killing", "Stopping container main".to_owned()),
    ];
    assert_eq!(told, expected.map(|(reason, message)| (reason.to_owned(), message)));
    let started = cluster.event("web", "Started").await;
    assert_eq!(started.involved_object.field_path.as_deref(), Some("spec.containers{main}"));
    assert_eq!(started.involved_object.uid, pod.uid());
    assert_eq!(started.source.and_then(|source| source.host).as_deref(), Some(NODE));
    assert_eq!(cluster.containers(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_fails_is_begun_again_after_a_pause() {
    let Some(cluster) = Cluster::start("a_container_that_fails_is_begun_again_after_a_pause").await else {
        return;
    };
    let pod = cluster.run("bad", json!({"containers": [{"name": "main", "args": ["exit", "3"]}]})).await;
    let pod_name = format!("bad_default({})", pod.uid().unwrap());
    let pod = cluster.until("bad", "a back-off", |pod| waits(pod, "main").0 == "CrashLoopBackOff").await;
    let expected = format!("back-off 10s restarting failed container=main pod={pod_name}");
    assert_eq!(waits(&pod, "main").1, expected);
    let own = status(&pod, "main");
    assert_eq!(own.restart_count, 1);
    let last = own.last_state.unwrap().terminated.unwrap();
    assert_eq!((last.exit_code, last.reason.as_deref()), (3, Some("Error")));
    assert_eq!(phase(&pod), "Running");
    let event = cluster.event("bad", "BackOff").await;
    assert_eq!(
        event.message.as_deref(),
        Some(&*format!("Back-off restarting failed container main in pod {pod_name}"))
    );
    // Both starts are one event that counts.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(cluster.event("bad", "Started").await.count, Some(2));
    cluster.delete("bad").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_runs_as_whom_its_context_says_and_knows_its_name() {
    let Some(cluster) = Cluster::start("a_container_runs_as_whom_its_context_says_and_knows_its_name").await
    else {
        return;
    };
    let database = json!({"metadata": {"name": "my-db"}, "spec": {"ports": [{"port": 5432}]}});
    let database: Service = serde_json::from_value(database).unwrap();
    cluster.api().create(&PostParams::default(), &database).await.unwrap();
    let spec = json!({
        "restartPolicy": "Never",
        "securityContext": {"runAsUser": 1234, "fsGroup": 77, "supplementalGroups": [88]},
        "hostAliases": [{"ip": "10.9.8.7", "hostnames": ["far"]}],
        "volumes": [{"name": "data", "emptyDir": {}}],
        "containers": [
            {"name": "look", "args": ["look"],
             "env": [{"name": "VAR", "value": "$(MY_DB_SERVICE_PORT)$(MY_DB_PORT_5432_TCP_PROTO)"}],
             "volumeMounts": [{"name": "data", "mountPath": "/bound"}],
             "securityContext": {"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
                "capabilities": {"drop": ["ALL"]}}},
            {"name": "names", "args": ["read", "/etc/hosts", "/etc/resolv.conf"]},
        ],
    });
    cluster.run("web", spec).await;
    let pod = cluster.until("web", "success", |pod| phase(pod) == "Succeeded").await;
    let log = cluster.log(&pod, "look");
    for expected in [
        "Uid: 1234 1234 1234 1234",
        "Gid: 1234 1234 1234 1234",
        "Groups: 77 88 ",
        "CapBnd: 0000000000000000",
        "NoNewPrivs: 1",
        "var 5432tcp",
        "write bound true",
        "write root false",
    ] {
        assert!(log.contains(&expected.to_owned()), "{expected:?} is not in {log:?}");
    }
    let names = cluster.log(&pod, "names").join("\n");
    let address = pod.status.unwrap().pod_ip.unwrap();
    assert!(names.contains("# Kubernetes-managed hosts file.") && names.contains("10.9.8.7\tfar"), "{names}");
    assert!(names.contains(&format!("{address}\tweb")), "{names}");
    cluster.delete("web").await;

    let spec = json!({"securityContext": {"runAsNonRoot": true}, "containers": [{"name": "main"}]});
    cluster.run("root", spec).await;
    let pod =
        cluster.until("root", "a refusal", |pod| waits(pod, "main").0 == "CreateContainerConfigError").await;
    assert!(waits(&pod, "main").1.starts_with("container has runAsNonRoot and image will run as root"));
    cluster.delete("root").await;
}
