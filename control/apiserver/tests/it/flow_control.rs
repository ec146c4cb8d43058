//! Flow schemas and priority levels: what every cluster has, and that requests are served as they say.

use std::time::Duration;

use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use xebec_apiserver::user::{AUTHENTICATED, User};

use crate::server::Server;

const SCHEMAS: &str = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas";
const LEVELS: &str = "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations";
const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";

fn schema(name: &str, level: &str, user: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {
            "matchingPrecedence": 1_000,
            "priorityLevelConfiguration": {"name": level},
            "distinguisherMethod": {"type": "ByUser"},
            "rules": [{
                "subjects": [{"kind": "User", "user": {"name": user}}],
                "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
            }],
        },
    })
}

fn level(shares: u32) -> Value {
    json!({
        "metadata": {"name": "mine"},
        "spec": {
            "type": "Limited",
            "limited": {"nominalConcurrencyShares": shares, "limitResponse": {"type": "Reject"}},
        },
    })
}

/// Asks again until the answer fits.
async fn until(server: &Server, path: &str, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    for _ in 0..500 {
        last = server.get(path).await.1;
        if fits(&last) {
            return last;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{path} never {what}: {last}");
}

fn dangling(schema: &Value) -> &str {
    let conditions = schema["status"]["conditions"].as_array();
    let found = conditions.into_iter().flatten().find(|condition| condition["type"] == "Dangling");
    found.and_then(|condition| condition["status"].as_str()).unwrap_or_default()
}

/// The uids of the schema and the level that a user's requests are of.
async fn place(server: &Server, user: &str) -> (String, String) {
    let mut request = Request::get("/version").body(Full::default()).unwrap();
    request.extensions_mut().insert(User::new(user, [AUTHENTICATED]));
    let response = server.call(request).await;
    let header = |name: &str| {
        response.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    };
    (header("x-kubernetes-pf-flowschema-uid"), header("x-kubernetes-pf-prioritylevel-uid"))
}

async fn raw(server: &Server, path: &str) -> (u16, String) {
    let response = server.call(Request::get(path).body(Full::default()).unwrap()).await;
    let code = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (code, String::from_utf8(bytes.to_vec()).unwrap())
}

#[tokio::test]
async fn requests_are_served_as_the_objects_say_and_told_so() {
    let server = Server::start().await;
    let (code, made) = server.create(SCHEMAS, &schema("mine", "mine", "noxu")).await;
    assert_eq!((code, &made["metadata"]["generation"]), (201, &json!(1)));
    let uid = made["metadata"]["uid"].as_str().unwrap();
    let path = format!("{SCHEMAS}/mine");
    until(&server, &path, "dangled", |found| dangling(found) == "True").await;
    let (other, _) = place(&server, "noxu").await;
    assert!(!other.is_empty() && other != uid, "its level is missing");

    let (code, level) = server.create(LEVELS, &level(30)).await;
    assert_eq!((code, &level["spec"]["limited"]["lendablePercent"]), (201, &json!(0)));
    let told = until(&server, &path, "found its level", |found| dangling(found) == "False").await;
    assert_eq!(told["metadata"]["generation"], 1, "a status counts for nothing");
    let own = (uid.to_owned(), level["metadata"]["uid"].as_str().unwrap().to_owned());
    assert_eq!(place(&server, "noxu").await, own);
    let (schema, level) = place(&server, "foo").await;
    let (_, default) = server.get(&format!("{SCHEMAS}/global-default")).await;
    assert_eq!(schema, default["metadata"]["uid"].as_str().unwrap());
    assert!(!level.is_empty());

    let (code, metrics) = raw(&server, "/metrics").await;
    assert_eq!(code, 200);
    let nominal = "apiserver_flowcontrol_nominal_limit_seats{priority_level=\"mine\"} 66\n";
    assert!(metrics.contains(nominal), "{metrics}");
    let (code, dump) = raw(&server, "/debug/api_priority_and_fairness/dump_priority_levels").await;
    assert_eq!(code, 200);
    assert!(dump.lines().any(|line| line.starts_with("mine,")), "{dump}");
    assert_eq!(raw(&server, "/debug/api_priority_and_fairness/dump_all").await.0, 404);
    assert_eq!(server.send(Method::DELETE, &format!("{LEVELS}/mine"), JSON, &json!({})).await.0, 200);
    until(&server, &path, "dangled again", |found| dangling(found) == "True").await;
}

#[tokio::test]
async fn what_every_cluster_has_comes_back_and_what_was_changed_on_purpose_stays() {
    let server = Server::start().await;
    let (_, schemas) = server.get(SCHEMAS).await;
    assert_eq!(schemas["items"].as_array().unwrap().len(), 11);
    let (_, levels) = server.get(LEVELS).await;
    assert_eq!(levels["items"].as_array().unwrap().len(), 8);
    let own = format!("{SCHEMAS}/service-accounts");
    let patch = json!({
        "metadata": {"annotations": {"apf.kubernetes.io/autoupdate-spec": "false"}},
        "spec": {"matchingPrecedence": 8_000},
    });
    assert_eq!(server.send(Method::PATCH, &own, MERGE, &patch).await.0, 200);
    for gone in ["catch-all", "probes"] {
        let path = format!("{SCHEMAS}/{gone}");
        assert_eq!(server.send(Method::DELETE, &path, JSON, &json!({})).await.0, 200);
    }
    let changed = format!("{LEVELS}/workload-low");
    let patch = json!({"spec": {"limited": {"nominalConcurrencyShares": 1}}});
    assert_eq!(server.send(Method::PATCH, &changed, MERGE, &patch).await.0, 200);
    server.service.api().prepare(6443).await.unwrap();
    for back in ["catch-all", "probes"] {
        assert_eq!(server.get(&format!("{SCHEMAS}/{back}")).await.0, 200);
    }
    assert_eq!(server.get(&changed).await.1["spec"]["limited"]["nominalConcurrencyShares"], 100);
    assert_eq!(server.get(&own).await.1["spec"]["matchingPrecedence"], 8_000);
    let patch = json!({"spec": {"matchingPrecedence": 9_000}});
    let (code, refused) = server.send(Method::PATCH, &format!("{SCHEMAS}/catch-all"), MERGE, &patch).await;
    assert_eq!(code, 422);
    let message = refused["message"].as_str().unwrap();
    assert!(message.ends_with("spec of 'catch-all' must equal the fixed value"), "{message}");
}
