//! Requests that another service is asked about.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};
use xebec_proxy::config::{Authorization, Backend, Config, Protocol, Route};
use xebec_proxy::proxy::Limits;

use crate::peers::{backend, endpoint, listener, raw, read_head, route, serving_with, upstream};

/// Lets pass who says `token: good`, and tells what it was asked.
async fn service() -> Backend {
    let address = endpoint(|mut stream| async move {
        while let Some(head) = read_head(&mut stream).await {
            let head = head.to_ascii_lowercase();
            let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split('\r').next());
            let mut body = vec![0; length.unwrap().parse().unwrap()];
            stream.read_exact(&mut body).await.unwrap();
            let answer = if head.contains("token: good") {
                let (line, body) =
                    (head.lines().next().unwrap(), String::from_utf8_lossy(&body).into_owned());
                let shown = format!("{line}|{body}|{}", head.contains("x-hidden"));
                format!("HTTP/1.1 200 OK\r\nX-User: ann\r\nX-Shown: {shown}\r\nContent-Length: 2\r\n\r\nok")
            } else {
                "HTTP/1.1 401 No\r\nWWW-Authenticate: Custom\r\nContent-Length: 2\r\n\r\nno".to_owned()
            };
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    })
    .await;
    backend("auth", 1, vec![address])
}

async fn guarded(service: Backend, taken: Vec<HeaderName>, body_bytes: Option<usize>) -> (Config, Limits) {
    let (address, _) = upstream("a").await;
    let rules = Authorization {
        backend: Arc::new(service),
        path_prefix: "/check/".to_owned(),
        shown: vec![HeaderName::from_static("token")],
        taken,
        body_bytes,
    };
    let guarded =
        Route { authorization: Some(Arc::new(rules)), ..route(vec![backend("a", 1, vec![address])]) };
    (Config { listeners: vec![listener(vec![guarded])] }, Limits::default())
}

fn asking(token: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST /p?q=1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\nToken: {token}\r\nX-Hidden: 1\r\nX-User: eve\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    )
}

#[tokio::test]
async fn a_request_passes_with_what_the_service_said_or_is_answered_by_it() {
    let (config, limits) = guarded(service().await, Vec::new(), None).await;
    let (_proxy, front) = serving_with(config, limits).await;
    let passed = raw(front, &asking("good", "")).await;
    assert!(passed.starts_with("HTTP/1.1 200") && passed.contains("\r\n\r\na\n"), "{passed}");
    assert!(passed.contains("x-user: ann") && !passed.contains("eve"), "{passed}");
    assert!(passed.contains("x-shown: post /check/p?q=1 http/1.1||false"), "{passed}");
    let refused = raw(front, &asking("bad", "")).await;
    assert!(refused.starts_with("HTTP/1.1 401") && refused.ends_with("no"), "{refused}");
    assert!(refused.to_ascii_lowercase().contains("www-authenticate: custom"), "{refused}");
}

#[tokio::test]
async fn a_body_is_shown_up_to_its_limit_and_chosen_headers_alone_are_taken() {
    let taken = vec![HeaderName::from_static("x-shown")];
    let (config, limits) = guarded(service().await, taken, Some(5)).await;
    let (_proxy, front) = serving_with(config, limits).await;
    let passed = raw(front, &asking("good", "hello")).await;
    assert!(passed.contains("|hello|") && passed.contains("x-user: eve"), "{passed}");
    assert!(raw(front, &asking("good", "hello!")).await.starts_with("HTTP/1.1 413"));
}

#[tokio::test]
async fn nothing_passes_while_the_service_is_away() {
    let dead = backend("auth", 1, vec!["127.0.0.1:1".parse().unwrap()]);
    for service in [dead, Backend::invalid("auth", 1)] {
        let (config, limits) = guarded(service, Vec::new(), None).await;
        let (_proxy, front) = serving_with(config, limits).await;
        assert!(raw(front, &asking("good", "")).await.starts_with("HTTP/1.1 50"));
    }
}

#[tokio::test]
async fn a_client_can_neither_strip_nor_forge_what_the_service_says_of_it() {
    let (config, limits) = guarded(service().await, Vec::new(), None).await;
    let (_proxy, front) = serving_with(config, limits).await;
    let strips = "Connection: close, X-User\r\n";
    let passed = raw(front, &asking("good", "").replace("Connection: close\r\n", strips)).await;
    assert!(passed.contains("x-user: ann"), "{passed}");
    // What a client names away is not shown either.
    let hides = "Connection: close, Token\r\n";
    let refused = raw(front, &asking("good", "").replace("Connection: close\r\n", hides)).await;
    assert!(refused.starts_with("HTTP/1.1 401"), "{refused}");

    // A header that is taken is the service's alone, even where it says nothing; what frames the message stays.
    let taken = ["x-group", "x-user", "x-shown", "content-length", "host"].map(HeaderName::from_static);
    let (config, limits) = guarded(service().await, taken.to_vec(), None).await;
    let (_proxy, front) = serving_with(config, limits).await;
    let forged = asking("good", "").replace("X-Hidden: 1\r\n", "X-Group: admins\r\n");
    let passed = raw(front, &forged).await;
    assert!(passed.starts_with("HTTP/1.1 200") && passed.contains("host: h\r\n"), "{passed}");
    assert!(passed.contains("x-user: ann") && !passed.contains("admins"), "{passed}");
}

#[tokio::test]
async fn the_service_is_asked_within_the_routes_time() {
    let silent = endpoint(|mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let (mut config, limits) = guarded(backend("auth", 1, vec![silent]), Vec::new(), None).await;
    let Protocol::Http(domains) = &mut config.listeners[0].protocol else { panic!("HTTP") };
    domains[0].hosts[0].routes[0].timeouts.request = Some(Duration::from_millis(200));
    let (_proxy, front) = serving_with(config, limits).await;
    let late = raw(front, &asking("good", "")).await;
    assert!(late.starts_with("HTTP/1.1 504"), "{late}");
}

#[tokio::test]
async fn a_service_whose_answer_has_no_end_has_said_what_it_says() {
    // One that sends as much as is taken, and one that takes its time.
    for pause in [Duration::ZERO, Duration::from_millis(100)] {
        let endless = endpoint(move |mut stream| async move {
            read_head(&mut stream).await;
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
            stream.write_all(head.as_bytes()).await.unwrap();
            while stream.write_all(b"5\r\nagain\r\n").await.is_ok() {
                sleep(pause).await;
            }
        })
        .await;
        let (config, limits) = guarded(backend("auth", 1, vec![endless]), Vec::new(), None).await;
        let (_proxy, front) = serving_with(config, limits).await;
        let passed =
            timeout(Duration::from_secs(5), raw(front, &asking("good", ""))).await.expect("an answer");
        assert!(passed.starts_with("HTTP/1.1 200"), "{passed}");
    }
}
