//! Pods: run, waited for, read, evicted.

use futures::{AsyncBufReadExt as _, StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, EvictParams, LogParams};
use kube::runtime::conditions::{is_deleted, is_pod_running};
use kube::runtime::wait::await_condition;
use serde_json::json;

use super::*;

fn hello(name: &str) -> Pod {
    let object = json!({
        "metadata": {"name": name},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "hello", "image": "localhost/demo/hello:v1",
                "ports": [{"containerPort": 8080}],
                "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}}],
        },
    });
    serde_json::from_value(object).expect("a Pod")
}

async fn running(pods: &Api<Pod>, name: &str) -> Pod {
    let made = pods.create(&PostParams::default(), &hello(name)).await.expect("made");
    assert_eq!(made.status.and_then(|status| status.phase).as_deref(), Some("Pending"));
    let running = await_condition(pods.clone(), name, is_pod_running());
    let pod = tokio::time::timeout(DEADLINE, running).await.expect("in time").expect("a watch");
    pod.expect("the pod is there")
}

#[tokio::test]
async fn a_pod_runs_and_its_log_is_read_whole_by_lines_and_followed() {
    let (_cluster, client) = connect().await;
    let pods = Api::<Pod>::default_namespaced(client);
    running(&pods, "talker").await;
    let probed = eventually("the probe's requests", async || {
        let log = pods.logs("talker", &LogParams::default()).await.expect("a log");
        (log.lines().filter(|line| *line == "request /").count() >= 2).then_some(log)
    });
    probed.await;
    let last = LogParams { tail_lines: Some(1), timestamps: true, ..LogParams::default() };
    let last = pods.logs("talker", &last).await.expect("a log");
    let (time, line) = last.trim_end().split_once(' ').expect("a time and a line");
    assert!(time.parse::<k8s_openapi::jiff::Timestamp>().is_ok() && line == "request /", "{last}");

    let follow = LogParams { follow: true, tail_lines: Some(0), ..LogParams::default() };
    let lines = pods.log_stream("talker", &follow).await.expect("a stream").lines();
    let seen = tokio::time::timeout(DEADLINE, lines.take(2).try_collect::<Vec<_>>()).await;
    assert_eq!(seen.expect("in time").expect("lines"), ["request /", "request /"], "the probe goes on");
    let of = LogParams { container: Some("other".to_owned()), ..LogParams::default() };
    assert!(refusal(pods.logs("talker", &of).await).2.contains("other"));
}

#[tokio::test]
async fn an_evicted_pod_goes_and_a_deleted_one_too() {
    let (_cluster, client) = connect().await;
    let pods = Api::<Pod>::default_namespaced(client);
    for (name, evicts) in [("evicted", true), ("deleted", false)] {
        let uid = running(&pods, name).await.uid().expect("a uid");
        if evicts {
            pods.evict(name, &EvictParams::default()).await.expect("evicted");
        } else {
            pods.delete(name, &DeleteParams::default()).await.expect("deleted");
        }
        let gone = await_condition(pods.clone(), name, is_deleted(&uid));
        tokio::time::timeout(DEADLINE, gone).await.expect("in time").expect("a watch");
    }
    assert_eq!(refusal(pods.evict("evicted", &EvictParams::default()).await).0, 404);
}
