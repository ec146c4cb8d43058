//! A node of the tests: it runs nothing, and says of pods what a node would say.
//!
//! A pod's annotation `test/ends` says how it ends: `well`, or an exit code. Any other runs on and is ready.

use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};

/// How a pod of the tests ends.
pub(crate) const ENDS: &str = "test/ends";

pub(crate) async fn run(client: Client, bind: bool) {
    let pods = Api::<Pod>::all(client.clone());
    let seen = watcher::watcher(pods, watcher::Config::default()).default_backoff().applied_objects();
    seen.for_each_concurrent(None, |pod| {
        let client = client.clone();
        async move {
            if let Ok(pod) = pod {
                tend(&client, &pod, bind).await;
            }
        }
    })
    .await;
}

/// Takes the next step of a pod's life. What fails is tried again when the pod changes.
async fn tend(client: &Client, pod: &Pod, bind: bool) {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    let name = pod.name_any();
    if pod.metadata.deletion_timestamp.is_some() {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let preconditions = Preconditions { uid: pod.uid(), resource_version: None };
        let parameters =
            DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default().grace_period(0) };
        drop(pods.delete(&name, &parameters).await);
        return;
    }
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let status = match (phase, pod.annotations().get(ENDS).map(String::as_str)) {
        (Some("Succeeded" | "Failed"), _) | (Some("Running"), None) => return,
        (Some("Running"), Some("well")) => ended(pod, "Succeeded", 0),
        (Some("Running"), Some(code)) => ended(pod, "Failed", code.parse().unwrap_or(1)),
        _ => running(),
    };
    tokio::time::sleep(Duration::from_millis(10)).await;
    if bind && pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_none()) {
        let body = json!({
            "apiVersion": "v1", "kind": "Binding",
            "metadata": {"name": name}, "target": {"kind": "Node", "name": "here"},
        });
        let path = format!("/api/v1/namespaces/{}/pods/{name}/binding", pod.namespace().unwrap_or_default());
        let request = http::Request::post(path)
            .header("content-type", "application/json")
            .body(body.to_string().into_bytes());
        drop(client.request_text(request.expect("a request")).await);
    }
    let patch = json!({"metadata": {"uid": pod.uid()}, "status": status});
    drop(pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(patch)).await);
}

fn condition(kind: &str, status: &str) -> Value {
    json!({"type": kind, "status": status, "lastTransitionTime": now()})
}

pub(crate) fn now() -> String {
    let now = jiff::Timestamp::now();
    jiff::Timestamp::from_second(now.as_second()).expect("a time").to_string()
}

fn running() -> Value {
    json!({
        "phase": "Running",
        "podIP": "10.1.0.1",
        "podIPs": [{"ip": "10.1.0.1"}],
        "conditions": [condition("Initialized", "True"), condition("Ready", "True")],
        "startTime": now(),
    })
}

fn ended(pod: &Pod, phase: &str, code: i32) -> Value {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers).map(|container| {
        json!({
            "name": container.name, "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": code, "finishedAt": now(), "startedAt": now()}},
        })
    });
    json!({
        "phase": phase,
        "conditions": [condition("Initialized", "True"), condition("Ready", "False")],
        "containerStatuses": containers.collect::<Vec<_>>(),
    })
}
