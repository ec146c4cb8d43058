//! What every request has in common: its turn, its line in the audit log, how its answer goes out, and health.

use std::io::Read as _;

use bytes::Bytes;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use xebec_apiserver::audit::{Audit, Rotation};
use xebec_apiserver::fairness::Exempt;
use xebec_apiserver::service::ResponseBody;
use xebec_apiserver::user::{ADMINISTRATORS, AUTHENTICATED, User};

use crate::server::{Server, ask};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn get(path: &str, headers: &[(&str, &str)]) -> Request<Full<Bytes>> {
    let mut request = Request::builder().uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::default()).unwrap()
}

async fn text(response: Response<ResponseBody>) -> (u16, String) {
    let code = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (code, String::from_utf8(bytes.to_vec()).unwrap())
}

/// Users who may do everything, and wait for their turn all the same.
async fn let_crowd_in(server: &Server) {
    let binding = json!({
        "metadata": {"name": "crowd"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "crowd"}],
    });
    let (code, made) =
        server.create("/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", &binding).await;
    assert_eq!(code, 201, "{made}");
}

fn of_crowd(name: &str) -> User {
    User::new(name, ["crowd", AUTHENTICATED])
}

#[tokio::test]
async fn one_who_floods_is_told_to_come_back_and_another_is_served() {
    let server = Server::start().await;
    let_crowd_in(&server).await;
    let create = |number: usize, user: &str| {
        let body = json!({"metadata": {"name": format!("{user}-{number}")}}).to_string();
        let request =
            Request::builder().method(Method::POST).uri(MAPS).header("content-type", "application/json");
        let mut request = request.body(Full::new(Bytes::from(body))).unwrap();
        request.extensions_mut().insert(of_crowd(user));
        server.call(request)
    };
    let mut flood: FuturesUnordered<_> = (0..1_500).map(|number| create(number, "flood")).collect();
    // All of them are in before the other comes.
    let first = flood.next().await.unwrap();
    let other = create(0, "other").await;
    assert_eq!(other.status(), 201);
    let mut codes = vec![first.status().as_u16()];
    while let Some(response) = flood.next().await {
        codes.push(response.status().as_u16());
        if response.status() == 429 {
            let seconds: u32 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
            assert!((1..=32).contains(&seconds), "{seconds}");
        }
    }
    let count = |code: u16| codes.iter().filter(|own| **own == code).count();
    assert!(count(429) > 500 && count(201) >= 300, "{} made, {} refused", count(201), count(429));
    assert_eq!(count(201) + count(429), 1_500);
}

#[tokio::test]
async fn the_platform_itself_goes_on_when_all_seats_are_taken() {
    let server = Server::start().await;
    let_crowd_in(&server).await;
    let create = |number: usize, exempt: bool| {
        let body = json!({"metadata": {"name": format!("map-{number}")}}).to_string();
        let request = Request::post(MAPS).header("content-type", "application/json");
        let mut request = request.body(Full::new(Bytes::from(body))).unwrap();
        if exempt {
            request.extensions_mut().insert(Exempt);
        } else {
            request.extensions_mut().insert(of_crowd(&format!("user-{}", number % 10)));
        }
        server.call(request)
    };
    // They have their seats, and nobody lets them go on.
    let mut held: Vec<_> = (0..1_000).map(|number| Box::pin(create(number, false))).collect();
    let waiting = held.iter_mut().filter_map(|one| one.now_or_never().is_none().then_some(())).count();
    assert!(waiting > 600, "{waiting} of them wait");
    let soon = std::time::Duration::from_millis(300);
    assert!(tokio::time::timeout(soon, create(1_000, false)).await.is_err(), "a user waits behind them");
    let own = tokio::time::timeout(std::time::Duration::from_secs(5), create(1_001, true)).await;
    assert_eq!(own.expect("no seat is needed").status(), 201);
}

#[tokio::test]
async fn a_large_answer_is_compressed_for_those_who_take_that() {
    let server = Server::start().await;
    let (code, _) = server
        .create(MAPS, &json!({"metadata": {"name": "large"}, "data": {"a": "x".repeat(200_000)}}))
        .await;
    assert_eq!(code, 201);
    let large = format!("{MAPS}/large");
    let gzip = [("accept-encoding", "deflate, gzip")];
    let response = server.call(get(&large, &gzip)).await;
    assert_eq!(response.headers()["content-encoding"], "gzip");
    assert_eq!(response.headers()["vary"], "Accept-Encoding");
    let packed = response.into_body().collect().await.unwrap().to_bytes();
    assert!(packed.len() < 20_000, "{}", packed.len());
    let mut plain = String::new();
    flate2::read::GzDecoder::new(&*packed).read_to_string(&mut plain).unwrap();
    let object: Value = serde_json::from_str(&plain).unwrap();
    assert_eq!(object["data"]["a"].as_str().unwrap().len(), 200_000);
    for (path, headers) in [(large.as_str(), &[][..]), ("/version", &gzip[..])] {
        let response = server.call(get(path, headers)).await;
        assert!(response.headers().get("content-encoding").is_none(), "{path}");
    }
}

#[tokio::test]
async fn each_request_has_a_line_in_the_audit_log() {
    let server = Server::start().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    server.service.set_audit(Audit::open(&path, Rotation::default()).unwrap()).unwrap();
    assert_eq!(server.create(MAPS, &json!({"metadata": {"name": "a"}})).await.0, 201);
    let jane = User::new("jane", [AUTHENTICATED]);
    assert_eq!(ask(&server, &jane, Method::GET, &format!("{MAPS}/a"), &[], &Value::Null).await.0, 403);
    let headers = [("impersonate-user", "jane"), ("user-agent", "test/1")];
    let root = User::new("root", [ADMINISTRATORS]);
    assert_eq!(ask(&server, &root, Method::GET, "/version", &headers, &Value::Null).await.0, 200);
    drop(server.call(get(&format!("{MAPS}?watch=1"), &[])).await);

    let mut lines = Vec::new();
    for _ in 0..500 {
        let text = std::fs::read_to_string(&path).unwrap();
        lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect();
        if lines.len() == 4 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let [made, refused, version, watch] = lines.as_slice() else { panic!("{lines:?}") };
    assert_eq!((&made["verb"], &made["responseStatus"]["code"]), (&json!("create"), &json!(201)));
    assert_eq!((&made["kind"], &made["apiVersion"]), (&json!("Event"), &json!("audit.k8s.io/v1")));
    assert_eq!((&made["level"], &made["stage"]), (&json!("Metadata"), &json!("ResponseComplete")));
    let object = json!({"resource": "configmaps", "namespace": "default", "apiVersion": "v1"});
    assert_eq!(made["objectRef"], object);
    assert_eq!(refused["user"]["username"], "jane");
    assert_eq!(refused["responseStatus"]["reason"], "Forbidden");
    assert_eq!(refused["annotations"]["authorization.k8s.io/decision"], "forbid");
    assert_eq!((&refused["objectRef"]["name"], &refused["verb"]), (&json!("a"), &json!("get")));
    assert_eq!(
        (&version["user"]["username"], &version["impersonatedUser"]["username"]),
        (&json!("root"), &json!("jane"))
    );
    assert_eq!((&version["requestURI"], &version["userAgent"]), (&json!("/version"), &json!("test/1")));
    assert_eq!((&watch["verb"], &watch["stage"]), (&json!("watch"), &json!("ResponseStarted")));
}

#[tokio::test]
async fn a_request_whose_client_leaves_has_a_line_all_the_same() {
    let server = Server::start().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.log");
    server.service.set_audit(Audit::open(&path, Rotation::default()).unwrap()).unwrap();
    // A write is on its way to the disk when its client leaves; now and then the disk is faster.
    let leaves = |number: i32| {
        let body = json!({"metadata": {"name": format!("a{number}")}}).to_string();
        let request = Request::post(MAPS).header("content-type", "application/json");
        server.call(request.body(Full::new(Bytes::from(body))).unwrap()).now_or_never().is_none()
    };
    assert!((0..100).any(leaves), "a write takes a while");
    let line = async {
        loop {
            let text = std::fs::read_to_string(&path).unwrap();
            let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
            match lines.find(|line| line["responseStatus"]["code"] != 201) {
                Some(line) => return line,
                None => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
            }
        }
    };
    let line = tokio::time::timeout(std::time::Duration::from_secs(5), line).await.expect("a line");
    assert_eq!((&line["verb"], &line["stage"]), (&json!("create"), &json!("ResponseComplete")));
    assert_eq!(line["responseStatus"]["code"], 499);
    assert_eq!(line["annotations"]["authorization.k8s.io/decision"], "allow");
}

#[tokio::test]
async fn health_is_that_of_the_store_and_of_a_server_that_goes_on() {
    let server = Server::start().await;
    for path in ["/livez", "/readyz", "/healthz", "/readyz/ping", "/readyz/shutdown", "/livez/etcd"] {
        assert_eq!(text(server.call(get(path, &[])).await).await, (200, "ok".to_owned()), "{path}");
    }
    assert_eq!(server.get("/readyz/nothing").await.0, 404);
    let all = "[+]ping ok\n[+]etcd ok\n[+]shutdown ok\nreadyz check passed\n";
    assert_eq!(text(server.call(get("/readyz?verbose", &[])).await).await, (200, all.to_owned()));
    let some = "[+]ping ok\n[+]etcd excluded: ok\nwarn: some health checks cannot be excluded: no matches for \"x\"\n\
                livez check passed\n";
    let path = "/livez?verbose&exclude=etcd&exclude=x";
    assert_eq!(text(server.call(get(path, &[])).await).await, (200, some.to_owned()));

    server.stop.cancel();
    let (code, why) = text(server.call(get("/readyz", &[])).await).await;
    let stopping = "[+]ping ok\n[+]etcd ok\n[-]shutdown failed: reason withheld\nreadyz check failed\n";
    assert_eq!((code, why.as_str()), (500, stopping));
    // Nobody writes any more, so who may ask is known without a look at the store.
    server.upkeep_ended().await;
    assert_eq!(text(server.call(get("/livez", &[])).await).await.0, 200);
    server.store.close().await;
    assert_eq!(text(server.call(get("/livez", &[])).await).await.0, 500);
}

#[tokio::test]
async fn a_list_of_a_past_that_is_gone_is_blamed_on_what_asked_for_it() {
    let server = Server::start().await;
    for name in ["a", "b"] {
        assert_eq!(server.create(MAPS, &json!({"metadata": {"name": name}})).await.0, 201);
    }
    let (_, page) = server.get(&format!("{MAPS}?limit=1")).await;
    let token = page["metadata"]["continue"].as_str().unwrap();
    assert_eq!(server.create(MAPS, &json!({"metadata": {"name": "c"}})).await.0, 201);
    server.store.compact(server.store.revision()).await.unwrap();
    let (code, answer) = server.get(&format!("{MAPS}?resourceVersion=1&resourceVersionMatch=Exact")).await;
    assert_eq!(
        (code, answer["message"].as_str()),
        (410, Some("The resourceVersion for the provided list is too old."))
    );
    let (code, answer) = server.get(&format!("{MAPS}?limit=1&continue={token}")).await;
    assert_eq!(code, 410);
    assert!(
        answer["message"].as_str().unwrap().starts_with("The provided continue parameter is too old"),
        "{answer}"
    );
}

#[tokio::test]
async fn a_warning_may_be_in_any_script() {
    let server = Server::start().await;
    let body = json!({"metadata": {"name": "a"}, "größe": 1}).to_string();
    let request =
        Request::builder().method(Method::POST).uri(MAPS).header("content-type", "application/json");
    let response = server.call(request.body(Full::new(Bytes::from(body))).unwrap()).await;
    assert_eq!(response.status(), 201);
    let warning = String::from_utf8(response.headers()["warning"].as_bytes().to_vec()).unwrap();
    assert_eq!(warning, "299 - \"unknown field \\\"größe\\\"\"");
}

#[tokio::test]
async fn an_autoscaler_is_served_in_both_of_its_versions() {
    let server = Server::start().await;
    let first = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers";
    let second = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
    let scaler = json!({
        "apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "a"},
        "spec": {
            "maxReplicas": 5, "targetCPUUtilizationPercentage": 70,
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "a"},
        },
    });
    let (code, made) = server.create(first, &scaler).await;
    assert_eq!(code, 201, "{made}");
    assert_eq!((&made["apiVersion"], &made["spec"]["minReplicas"]), (&json!("autoscaling/v1"), &json!(1)));
    assert_eq!(made["spec"]["targetCPUUtilizationPercentage"], 70);
    let (_, seen) = server.get(&format!("{second}/a")).await;
    let metric = json!({
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}},
    });
    assert_eq!((&seen["apiVersion"], &seen["spec"]["metrics"]), (&json!("autoscaling/v2"), &json!([metric])));
    let patch = json!({"spec": {"targetCPUUtilizationPercentage": 50}});
    let (code, _) =
        server.send(Method::PATCH, &format!("{first}/a"), "application/merge-patch+json", &patch).await;
    assert_eq!(code, 200);
    let (_, seen) = server.get(&format!("{second}/a")).await;
    assert_eq!(seen["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"], 50, "{seen}");
    let wrong = json!({"spec": {"maxReplicas": 0}});
    let (code, answer) =
        server.send(Method::PATCH, &format!("{first}/a"), "application/merge-patch+json", &wrong).await;
    assert_eq!(code, 422, "{answer}");
    // What only the second version knows is of its types, or refused.
    for (annotation, text) in [
        ("metrics", "not json"),
        ("metrics", r#"{"type": 5}"#),
        ("metrics", r#"[{"type": "Resource", "resource": {"name": 5}}]"#),
        ("behavior", "5"),
        ("behavior", r#"{"scaleDown": {"policies": "none"}}"#),
        ("conditions", "[1]"),
    ] {
        let name = format!("autoscaling.alpha.kubernetes.io/{annotation}");
        let patch = json!({"metadata": {"annotations": {(name): text}}});
        let path = format!("{first}/a");
        let (code, answer) = server.send(Method::PATCH, &path, "application/merge-patch+json", &patch).await;
        assert_eq!(code, 400, "{annotation} {text}: {answer}");
    }
    let (_, group) = server.get("/apis/autoscaling").await;
    assert_eq!(group["preferredVersion"]["version"], "v2", "{group}");
    assert_eq!(group["versions"].as_array().unwrap().len(), 2);
    let (_, kinds) = server.get("/apis/autoscaling/v1").await;
    let named = |name: &str| kinds["resources"].as_array().unwrap().iter().any(|own| own["name"] == name);
    assert!(named("horizontalpodautoscalers") && named("horizontalpodautoscalers/status"), "{kinds}");
}
