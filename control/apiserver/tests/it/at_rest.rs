//! Objects that go out as they rest are those that others get who have them read first.

use bytes::Bytes;
use futures::StreamExt as _;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};

use crate::server::Server;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

async fn text(server: &Server, path: &str) -> String {
    let request = Request::builder().uri(path).body(Full::<Bytes>::default()).unwrap();
    let body = server.call(request).await.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

/// The first lines of a watch.
async fn lines(server: &Server, path: &str, count: usize) -> Vec<Value> {
    let request = Request::builder().uri(path).body(Full::<Bytes>::default()).unwrap();
    let frames = server.call(request).await.into_body().into_data_stream();
    let lines = frames.take(count).map(|frame| serde_json::from_slice(&frame.unwrap()).unwrap());
    tokio::time::timeout(std::time::Duration::from_secs(10), lines.collect()).await.unwrap()
}

#[tokio::test]
async fn lists_objects_and_watches_show_the_same_at_rest_and_read() {
    let server = Server::start().await;
    let begin: Value = serde_json::from_str(&text(&server, MAPS).await).unwrap();
    assert_eq!(begin["items"], json!([]));
    for number in 0..7 {
        let body = json!({
            "metadata": {
                "name": format!("m{number}"), "labels": {"all": "yes"},
                "annotations": {"kind": "}\"\\", "metadata": "{\"name\":1}"},
            },
            "data": {"kind": "}\"\\", "metadata": "{\"name\":\"other\"}", "path": "ä\u{1F680}\n"},
        });
        assert_eq!(server.create(MAPS, &body).await.0, 201);
    }
    let (code, changed) = server
        .send(Method::PATCH, &format!("{MAPS}/m3"), "application/merge-patch+json", &json!({"data": null}))
        .await;
    assert_eq!(code, 200, "{changed}");
    assert_eq!(
        server.send(Method::DELETE, &format!("{MAPS}/m5"), "application/json", &json!({})).await.0,
        200
    );

    let plain = text(&server, MAPS).await;
    assert!(plain.starts_with(r#"{"kind":"ConfigMapList","apiVersion":"v1","metadata":{"#), "{plain}");
    let whole: Value = serde_json::from_str(&plain).unwrap();
    assert_eq!(whole["items"].as_array().unwrap().len(), 6);
    // A selector has each object read.
    assert_eq!(server.get(&format!("{MAPS}?labelSelector=all=yes")).await.1, whole);
    let page = server.get(&format!("{MAPS}?limit=2")).await.1;
    assert_eq!(page["items"].as_array().unwrap()[..], whole["items"].as_array().unwrap()[..2]);
    assert_eq!(page["metadata"]["remainingItemCount"], 4);
    let next = page["metadata"]["continue"].as_str().unwrap();
    let rest = server.get(&format!("{MAPS}?continue={next}")).await.1;
    assert_eq!(rest["items"].as_array().unwrap()[..], whole["items"].as_array().unwrap()[2..]);

    let one = text(&server, &format!("{MAPS}/m3")).await;
    assert!(one.starts_with(r#"{"kind":"ConfigMap","apiVersion":"v1","#) && one.ends_with("}\n"), "{one}");
    assert_eq!(serde_json::from_str::<Value>(&one).unwrap(), changed);
    let absent: Value = serde_json::from_str(&text(&server, &format!("{MAPS}/none")).await).unwrap();
    assert_eq!((&absent["kind"], &absent["code"]), (&json!("Status"), &json!(404)));

    let since = begin["metadata"]["resourceVersion"].as_str().unwrap();
    for (path, count) in [(format!("watch=1&resourceVersion={since}"), 9), ("watch=1".to_owned(), 6)] {
        let raw = lines(&server, &format!("{MAPS}?{path}"), count).await;
        let read = lines(&server, &format!("{MAPS}?{path}&labelSelector=all=yes"), count).await;
        assert_eq!(raw, read);
        assert!(raw.iter().all(|event| event["object"]["kind"] == "ConfigMap"));
    }
}

#[tokio::test]
async fn pages_of_what_is_selected_leave_nothing_out() {
    let server = Server::start().await;
    for (name, odd) in [("a", "yes"), ("ab", "no"), ("abc", "yes"), ("b", "no"), ("c", "yes")] {
        let body = json!({"metadata": {"name": name, "labels": {"odd": odd, "own": "yes"}}});
        assert_eq!(server.create(MAPS, &body).await.0, 201);
    }
    let names = |list: &Value| -> Vec<String> {
        let items = list["items"].as_array().unwrap();
        items.iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    };
    for (selector, wanted) in [
        ("labelSelector=odd=yes", &["a", "abc", "c"][..]),
        ("labelSelector=odd=no", &["ab", "b"]),
        ("fieldSelector=metadata.name%3Da", &["a"]),
        ("fieldSelector=metadata.name%3Dab", &["ab"]),
        ("fieldSelector=metadata.name%3Dnone", &[]),
        ("labelSelector=own=yes&fieldSelector=metadata.name!%3Da", &["ab", "abc", "b", "c"]),
    ] {
        for path in [MAPS, "/api/v1/configmaps"] {
            let mut found = Vec::new();
            let mut next = String::new();
            loop {
                let (code, page) = server.get(&format!("{path}?limit=1&{selector}{next}")).await;
                assert_eq!(code, 200, "{page}");
                assert!(names(&page).len() <= 1);
                found.extend(names(&page));
                let Some(token) = page["metadata"]["continue"].as_str().filter(|token| !token.is_empty())
                else {
                    break;
                };
                next = format!("&continue={token}");
            }
            assert_eq!(found, wanted, "{path} {selector}");
            assert_eq!(
                names(&server.get(&format!("{path}?{selector}")).await.1),
                wanted,
                "{path} {selector}"
            );
        }
    }
    for path in [MAPS, "/api/v1/configmaps"] {
        let shown = lines(&server, &format!("{path}?watch=1&fieldSelector=metadata.name%3Dab"), 1).await;
        assert_eq!(shown[0]["object"]["metadata"]["name"], "ab");
    }
}

/// Before there was `resourceVersionMatch`, a page of a revision was of exactly that.
#[tokio::test]
async fn a_page_of_a_revision_is_of_that_revision() {
    let server = Server::start().await;
    let (_, made) = server.create(MAPS, &json!({"metadata": {"name": "a"}})).await;
    let at = made["metadata"]["resourceVersion"].as_str().unwrap();
    assert_eq!(server.create(MAPS, &json!({"metadata": {"name": "b"}})).await.0, 201);
    let count = async |query: String| {
        let (_, list) = server.get(&format!("{MAPS}?{query}")).await;
        list["items"].as_array().unwrap().len()
    };
    assert_eq!(count(format!("limit=5&resourceVersion={at}")).await, 1);
    assert_eq!(count(format!("resourceVersion={at}")).await, 2, "no older than that");
    assert_eq!(count("limit=5&resourceVersion=0".to_owned()).await, 2);
}
