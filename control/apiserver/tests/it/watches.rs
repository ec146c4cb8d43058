//! Watches by the paths that came before the parameter, and watches of what is to come.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use xebec_apiserver::service::ResponseBody;
use xebec_apiserver::user::{AUTHENTICATED, User};

use crate::rules::{THINGS, definition, thing};
use crate::server::{Server, ask};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const ONE_SECOND: &str = "timeoutSeconds=1";

/// The events of a watch, until it ends.
async fn events(server: &Server, path: &str) -> Vec<(String, Value)> {
    let response = server.call(Request::get(path).body(Full::<Bytes>::default()).unwrap()).await;
    assert_eq!(response.status(), 200, "{path}");
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let event = |line: &[u8]| {
        let mut event: Value = serde_json::from_slice(line).unwrap();
        (event["type"].as_str().unwrap().to_owned(), event["object"].take())
    };
    lines.map(event).collect()
}

async fn names(server: &Server, path: &str) -> Vec<String> {
    let events = events(server, &format!("{path}?{ONE_SECOND}")).await;
    events.iter().map(|(_, object)| object["metadata"]["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_older_paths_stream_what_the_newer_do() {
    let server = Server::start().await;
    for name in ["a", "b"] {
        assert_eq!(server.create(MAPS, &json!({"metadata": {"name": name}})).await.0, 201);
    }
    server.define(&definition(&json!({"type": "object"}))).await;
    assert_eq!(server.create(THINGS, &thing(json!({}))).await.0, 201);
    let of_default = "/api/v1/watch/namespaces/default/configmaps";
    assert_eq!(names(&server, of_default).await, ["a", "b"]);
    assert_eq!(names(&server, &format!("{of_default}/b")).await, ["b"]);
    let all = names(&server, "/api/v1/watch/configmaps").await;
    assert!(all.contains(&"a".to_owned()) && all.contains(&"b".to_owned()), "{all:?}");
    assert_eq!(names(&server, "/api/v1/watch/namespaces/default").await, ["default"]);
    assert!(names(&server, "/api/v1/watch/namespaces").await.contains(&"kube-system".to_owned()));
    assert_eq!(names(&server, "/apis/example.com/v1/watch/namespaces/default/things/a").await, ["a"]);
    assert_eq!(names(&server, "/apis/example.com/v1/watch/things").await, ["a"]);

    let (code, answer) = server.get(&format!("{of_default}/b?fieldSelector=metadata.name%3Da")).await;
    let why = "fieldSelector metadata.name doesn't match requested name";
    assert_eq!((code, answer["message"].as_str()), (400, Some(why)), "{answer}");
    for (path, code) in [
        ("/api/v1/watch/configmaps/a", 404),
        ("/api/v1/watch/namespaces/default/kites", 404),
        ("/api/v1/watch/namespaces/default/pods/a/log", 404),
    ] {
        assert_eq!(server.get(path).await.0, code, "{path}");
    }
    assert_eq!(server.create(of_default, &json!({})).await.0, 405);
}

#[tokio::test]
async fn the_older_paths_need_leave_to_watch() {
    let server = Server::start().await;
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    for (user, verb) in [("jane", "watch"), ("joe", "get")] {
        let rules = json!([{"verbs": [verb], "apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["a"]}]);
        let role = json!({"metadata": {"name": user}, "rules": rules});
        assert_eq!(server.create(&format!("{rbac}/roles"), &role).await.0, 201);
        let binding = json!({
            "metadata": {"name": user},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": user},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
        });
        assert_eq!(server.create(&format!("{rbac}/rolebindings"), &binding).await.0, 201);
    }
    let one = format!("/api/v1/watch/namespaces/default/configmaps/a?{ONE_SECOND}");
    let joe = User::new("joe", [AUTHENTICATED]);
    let (code, answer) = ask(&server, &joe, Method::GET, &one, &[], &Value::Null).await;
    let why = r#"configmaps "a" is forbidden: User "joe" cannot watch resource "configmaps" in API group "" in the namespace "default""#;
    assert_eq!((code, answer["message"].as_str()), (403, Some(why)), "{answer}");
    for (path, code) in [(&*one, 200), ("/api/v1/watch/namespaces/default/configmaps", 403)] {
        let mut request = Request::get(path).body(Full::<Bytes>::default()).unwrap();
        request.extensions_mut().insert(User::new("jane", [AUTHENTICATED]));
        assert_eq!(server.call(request).await.status(), code, "{path}");
    }
}

/// The next line of a stream.
async fn line(body: &mut ResponseBody) -> Value {
    let frame = tokio::time::timeout(Duration::from_secs(10), body.frame()).await.unwrap().unwrap().unwrap();
    serde_json::from_slice(&frame.into_data().unwrap()).unwrap()
}

#[tokio::test]
async fn a_watch_from_a_revision_to_come_is_quiet_until_then() {
    let server = Server::start().await;
    let now = server.store.revision().0;
    let path = format!("{MAPS}?watch=1&allowWatchBookmarks=true&resourceVersion={}", now + 2);
    let response = server.call(Request::get(path).body(Full::<Bytes>::default()).unwrap()).await;
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    let mut made = Vec::new();
    for name in ["a", "b", "c", "d"] {
        let (code, map) = server.create(MAPS, &json!({"metadata": {"name": name}})).await;
        assert_eq!(code, 201);
        let revision: u64 = map["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
        if revision > now + 2 {
            made.push(name);
        }
    }
    assert!(made.len() < 4, "something was made before");
    for name in made {
        let event = line(&mut body).await;
        assert_eq!((&event["type"], &event["object"]["metadata"]["name"]), (&json!("ADDED"), &json!(name)));
    }
    let far = format!("{MAPS}?watch=1&resourceVersion=99999999&{ONE_SECOND}");
    assert_eq!(events(&server, &far).await, []);
}

#[tokio::test]
async fn a_watch_that_is_to_show_what_there_will_be_waits_a_little() {
    let server = Server::start().await;
    let showing = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let far = format!("{MAPS}?{showing}&resourceVersion=99999999");
    let told = events(&server, &far).await;
    let [(kind, status)] = &told[..] else { panic!("{told:?}") };
    assert_eq!(
        (kind.as_str(), &status["code"], &status["reason"]),
        ("ERROR", &json!(504), &json!("Timeout"))
    );
    assert_eq!(status["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
    assert_eq!(status["details"]["retryAfterSeconds"], 1);

    let soon = format!("{MAPS}?{showing}&resourceVersion={}&{ONE_SECOND}", server.store.revision().0 + 1);
    let write = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.create(MAPS, &json!({"metadata": {"name": "a"}})).await.0
    };
    let (told, code) = tokio::join!(events(&server, &soon), write);
    assert_eq!(code, 201);
    assert_eq!((told[0].0.as_str(), &told[0].1["metadata"]["name"]), ("ADDED", &json!("a")));
    assert_eq!(told[1].1["metadata"]["annotations"]["k8s.io/initial-events-end"], "true", "{told:?}");
}
