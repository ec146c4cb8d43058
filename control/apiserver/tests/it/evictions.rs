//! Evictions: what a PodDisruptionBudget promises is kept, and its client is told why in upstream's words.

use http::Method;
use serde_json::{Value, json};

use crate::server::Server;

const PODS: &str = "/api/v1/namespaces/default/pods";
const BUDGETS: &str = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
const MERGE: &str = "application/merge-patch+json";

async fn pod(server: &Server, name: &str, phase: &str, ready: bool) {
    let pod = json!({
        "metadata": {"name": name, "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "a", "image": "a"}], "nodeName": "n"},
    });
    let (code, answer) = server.create(PODS, &pod).await;
    assert_eq!(code, 201, "{answer}");
    let ready = if ready { "True" } else { "False" };
    let status = json!({"status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]}});
    let (code, answer) = server.send(Method::PATCH, &format!("{PODS}/{name}/status"), MERGE, &status).await;
    assert_eq!(code, 200, "{answer}");
}

async fn budget(server: &Server, name: &str, status: Value) {
    let budget = json!({
        "metadata": {"name": name},
        "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": "web"}}},
    });
    let (code, answer) = server.create(BUDGETS, &budget).await;
    assert_eq!(code, 201, "{answer}");
    set(server, name, status).await;
}

async fn set(server: &Server, name: &str, status: Value) {
    let path = format!("{BUDGETS}/{name}/status");
    let (code, answer) = server.send(Method::PATCH, &path, MERGE, &json!({"status": status})).await;
    assert_eq!(code, 200, "{answer}");
}

fn status(allowed: i64, healthy: i64, desired: i64) -> Value {
    json!({
        "observedGeneration": 1, "disruptionsAllowed": allowed, "currentHealthy": healthy,
        "desiredHealthy": desired, "expectedPods": 3,
    })
}

async fn evict(server: &Server, name: &str, query: &str) -> (u16, Value) {
    let eviction = json!({
        "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": "default"},
    });
    server.create(&format!("{PODS}/{name}/eviction{query}"), &eviction).await
}

fn cause(answer: &Value) -> &str {
    assert_eq!(answer["reason"], "TooManyRequests", "{answer}");
    assert_eq!(answer["message"], "Cannot evict pod as it would violate the pod's disruption budget.");
    assert_eq!(answer["details"]["causes"][0]["reason"], "DisruptionBudget");
    answer["details"]["causes"][0]["message"].as_str().unwrap()
}

#[tokio::test]
async fn an_eviction_takes_from_the_budget_until_nothing_is_left() {
    let server = Server::start().await;
    for name in ["a", "b"] {
        pod(&server, name, "Running", true).await;
    }
    budget(&server, "web", status(1, 3, 2)).await;
    assert_eq!(evict(&server, "a", "?dryRun=All").await.0, 201);
    let (code, answer) = evict(&server, "a", "").await;
    assert_eq!((code, &answer["status"]), (201, &json!("Success")), "{answer}");
    let (_, going) = server.get(&format!("{PODS}/a")).await;
    assert!(going["metadata"]["deletionTimestamp"].is_string(), "{going}");
    let conditions = going["status"]["conditions"].as_array().unwrap();
    assert!(conditions.iter().any(|own| own["type"] == "DisruptionTarget" && own["status"] == "True"));
    let (_, charged) = server.get(&format!("{BUDGETS}/web")).await;
    assert_eq!(charged["status"]["disruptionsAllowed"], 0);
    assert!(charged["status"]["disruptedPods"]["a"].is_string(), "{charged}");

    let (code, answer) = evict(&server, "b", "").await;
    assert_eq!(code, 429);
    assert!(cause(&answer).starts_with("The disruption budget web does not allow evicting pods currently"));
    let (_, still) = server.get(&format!("{PODS}/b")).await;
    assert!(still["metadata"].get("deletionTimestamp").is_none(), "{still}");
    // What is on its way out already may go sooner.
    assert_eq!(evict(&server, "a", "").await.0, 201);
}

#[tokio::test]
async fn a_refused_eviction_says_why() {
    let server = Server::start().await;
    pod(&server, "a", "Running", true).await;
    budget(&server, "web", status(0, 2, 2)).await;
    let (code, answer) = evict(&server, "a", "").await;
    assert_eq!(code, 429);
    assert_eq!(cause(&answer), "The disruption budget web needs 2 healthy pods and has 2 currently");

    set(&server, "web", json!({"observedGeneration": 0})).await;
    let (code, answer) = evict(&server, "a", "").await;
    assert_eq!((code, &answer["details"]["retryAfterSeconds"]), (429, &json!(10)), "{answer}");
    assert_eq!(cause(&answer), "The disruption budget web is still being processed by the server.");

    budget(&server, "second", status(1, 3, 2)).await;
    let (code, answer) = evict(&server, "a", "").await;
    let why =
        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
    assert_eq!((code, answer["message"].as_str()), (500, Some(why)));

    let other = json!({"metadata": {"name": "b"}});
    let (code, _) = server.create(&format!("{PODS}/a/eviction"), &other).await;
    assert_eq!(code, 400);
}

#[tokio::test]
async fn a_pod_that_serves_nobody_goes_freely() {
    let server = Server::start().await;
    budget(&server, "web", status(0, 1, 2)).await;
    for (name, phase) in [("pending", "Pending"), ("done", "Succeeded"), ("failed", "Failed")] {
        pod(&server, name, phase, false).await;
        let (code, answer) = evict(&server, name, "").await;
        assert_eq!(code, 201, "{name}: {answer}");
    }
    // Not ready, and the budget is short: it stays, unless the budget lets such pods go.
    pod(&server, "sick", "Running", false).await;
    assert_eq!(evict(&server, "sick", "").await.0, 429);
    let patch = json!({"spec": {"unhealthyPodEvictionPolicy": "AlwaysAllow"}});
    assert_eq!(server.send(Method::PATCH, &format!("{BUDGETS}/web"), MERGE, &patch).await.0, 200);
    assert_eq!(evict(&server, "sick", "").await.0, 201);
    // Not ready, and the budget is not short.
    let patch = json!({"spec": {"unhealthyPodEvictionPolicy": null}});
    assert_eq!(server.send(Method::PATCH, &format!("{BUDGETS}/web"), MERGE, &patch).await.0, 200);
    pod(&server, "ill", "Running", false).await;
    set(&server, "web", json!({"observedGeneration": 3, "currentHealthy": 2})).await;
    assert_eq!(evict(&server, "ill", "").await.0, 201);
}
