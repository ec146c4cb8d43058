//! What the stages of admission do to requests.

use http::Method;
use serde_json::{Value, json};

use crate::server::Server;

const PODS: &str = "/api/v1/namespaces/default/pods";
const QUOTAS: &str = "/api/v1/namespaces/default/resourcequotas";

fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    })
}

fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}})
}

async fn create(server: &Server, path: &str, object: &Value) -> Value {
    let (code, answer) = server.create(path, object).await;
    assert_eq!(code, 201, "{answer}");
    answer
}

/// Makes a quota whose use has been counted.
async fn limit(server: &Server, name: &str, hard: Value, used: Value) {
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": name}, "spec": {"hard": hard},
    });
    let mut made = create(server, QUOTAS, &quota).await;
    made["status"] = json!({"hard": hard, "used": used});
    let path = format!("{QUOTAS}/{name}/status");
    let (code, answer) = server.send(Method::PUT, &path, "application/json", &made).await;
    assert_eq!(code, 200, "{answer}");
}

async fn used(server: &Server, name: &str) -> Value {
    server.get(&format!("{QUOTAS}/{name}")).await.1["status"]["used"].clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_race_gets_more_in_than_a_quota_allows() {
    let server = std::sync::Arc::new(Server::start().await);
    limit(&server, "five", json!({"configmaps": "5"}), json!({"configmaps": "0"})).await;
    let tasks: Vec<_> = (0..40)
        .map(|number| {
            let server = server.clone();
            tokio::spawn(async move {
                let path = "/api/v1/namespaces/default/configmaps";
                server.create(path, &config_map(&format!("m{number}"))).await
            })
        })
        .collect();
    let mut codes = Vec::new();
    for task in tasks {
        let (code, answer) = task.await.unwrap();
        if code != 201 {
            assert_eq!(code, 403, "{answer}");
            let message = answer["message"].as_str().unwrap();
            assert!(
                message.ends_with(
                    "exceeded quota: five, requested: configmaps=1, used: configmaps=5, limited: configmaps=5"
                ),
                "{message}"
            );
        }
        codes.push(code);
    }
    assert_eq!(codes.iter().filter(|code| **code == 201).count(), 5);
    assert_eq!(used(&server, "five").await, json!({"configmaps": "5"}));
}

#[tokio::test]
async fn a_write_that_fails_is_not_charged() {
    let server = Server::start().await;
    limit(&server, "q", json!({"configmaps": "2"}), json!({"configmaps": "0"})).await;
    let path = "/api/v1/namespaces/default/configmaps";
    create(&server, path, &config_map("a")).await;
    assert_eq!(server.create(path, &config_map("a")).await.0, 409);
    assert_eq!(server.create(&format!("{path}?dryRun=All"), &config_map("b")).await.0, 201);
    assert_eq!(used(&server, "q").await, json!({"configmaps": "1"}));
    create(&server, path, &config_map("b")).await;
    assert_eq!(server.create(&format!("{path}?dryRun=All"), &config_map("c")).await.0, 403);
}

#[tokio::test]
async fn a_limit_range_fills_in_and_refuses() {
    let server = Server::start().await;
    let range = json!({
        "apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "l"},
        "spec": {"limits": [{"type": "Container", "default": {"cpu": "500m"}, "max": {"cpu": "1"}}]},
    });
    create(&server, "/api/v1/namespaces/default/limitranges", &range).await;
    let made = create(&server, PODS, &pod("a")).await;
    let resources = &made["spec"]["containers"][0]["resources"];
    assert_eq!(*resources, json!({"limits": {"cpu": "500m"}, "requests": {"cpu": "500m"}}));
    let mut greedy = pod("b");
    greedy["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "2"}});
    let (code, answer) = server.create(PODS, &greedy).await;
    assert_eq!(
        (code, &answer["message"]),
        (403, &json!("pods \"b\" is forbidden: maximum cpu usage per Container is 1, but limit is 2"))
    );
}

#[tokio::test]
async fn what_admission_fills_in_is_nobodys() {
    let server = Server::start().await;
    let made = create(&server, PODS, &pod("a")).await;
    assert_eq!(made["spec"]["priority"], 0);
    assert_eq!(made["spec"]["tolerations"].as_array().unwrap().len(), 2);
    let owned = made["metadata"]["managedFields"].to_string();
    assert!(owned.contains("f:containers") && !owned.contains("f:tolerations"), "{owned}");
    let (code, applied) = server
        .send(Method::PATCH, &format!("{PODS}/b?fieldManager=me"), "application/apply-patch+yaml", &pod("b"))
        .await;
    assert_eq!(code, 201, "{applied}");
    assert_eq!(applied["spec"]["priority"], 0, "an apply that creates passes the same stages");
}

#[tokio::test]
async fn priority_classes_of_the_cluster_are_there_from_the_beginning() {
    let server = Server::start().await;
    let mut critical = pod("a");
    critical["spec"]["priorityClassName"] = json!("system-node-critical");
    assert_eq!(create(&server, PODS, &critical).await["spec"]["priority"], 2_000_001_000);
    critical = pod("b");
    critical["spec"]["priorityClassName"] = json!("none");
    let (code, answer) = server.create(PODS, &critical).await;
    assert_eq!(
        (code, &answer["message"]),
        (403, &json!("pods \"b\" is forbidden: no PriorityClass with name none was found"))
    );
}

#[tokio::test]
async fn nothing_is_made_in_a_namespace_that_goes() {
    let server = Server::start().await;
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "going"}});
    create(&server, "/api/v1/namespaces", &namespace).await;
    let path = "/api/v1/namespaces/going";
    assert_eq!(server.send(Method::DELETE, path, "application/json", &json!({})).await.0, 200);
    let (code, answer) = server.create(&format!("{path}/configmaps"), &config_map("a")).await;
    assert_eq!(code, 403);
    assert_eq!(answer["details"]["causes"][0]["reason"], "NamespaceTerminating");
    let (code, answer) =
        server.send(Method::DELETE, "/api/v1/namespaces/default", "application/json", &json!({})).await;
    assert_eq!(
        (code, &answer["message"]),
        (403, &json!("namespaces \"default\" is forbidden: this namespace may not be deleted"))
    );
}
