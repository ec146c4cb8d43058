//! What is counted and told of requests.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use xebec_proxy::access::AccessLog;
use xebec_proxy::config::{Action, Config, PathMatch, Redirect, Route, RouteMatch};
use xebec_proxy::proxy::{Limits, Proxy};

use crate::peers::{backend, config, endpoint, listener, raw, read_head, route, upstream};

fn get(path: &str, more: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{more}\r\n")
}

#[tokio::test]
async fn requests_are_counted_and_told_by_route_and_backend() {
    let (address, _) = upstream("a").await;
    let at = |id: &str, path: &str, action| {
        let matcher = RouteMatch { path: PathMatch::Prefix(path.into()), ..RouteMatch::default() };
        Route::new(id, matcher, action)
    };
    let gone = backend("gone", 1, vec!["127.0.0.1:1".parse().unwrap()]);
    let routes = vec![
        at(
            "ok",
            "/ok",
            route(vec![backend("idle", 0, vec![address]), backend("a", 1, vec![address])]).action,
        ),
        at("gone", "/gone", Action::Forward(vec![gone])),
        at("moved", "/moved", Action::Redirect(Redirect::default())),
    ];
    let (log, mut told) = AccessLog::new(5);
    let mut proxy = Proxy::with_access_log(Limits::default(), log.clone());
    let applied = proxy.apply(Config { listeners: vec![listener(routes)] }).await;
    let front = *applied.listeners[0].as_ref().unwrap();
    let parent = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00\r\n";
    let passed = raw(front, &get("/ok?q=1", &format!("{parent}user-agent: test\r\n"))).await;
    assert!(passed.contains(parent), "{passed}");
    let begun = raw(front, &get("/ok", "traceparent: none\r\n")).await;
    assert!(begun.contains("\r\ntraceparent: 00-") && !begun.contains("none"), "{begun}");
    for path in ["/gone", "/moved", "/nowhere"] {
        raw(front, &get(path, "")).await;
    }
    assert!(raw(front, "GET / HTTP/1.1\r\n\r\n").await.starts_with("HTTP/1.1 400"));

    let series = proxy.traffic().series();
    let counted: Vec<_> =
        series.iter().map(|one| (&*one.route, &*one.backend, one.classes, one.within[13])).collect();
    let expected = [
        ("", "", [0, 0, 0, 2, 0], 2),
        ("gone", "gone", [0, 0, 0, 0, 1], 1),
        ("moved", "", [0, 0, 1, 0, 0], 1),
        ("ok", "a", [0, 2, 0, 0, 0], 2),
    ];
    assert_eq!(counted, expected);

    let mut accesses = Vec::new();
    while let Ok(access) = told.try_recv() {
        accesses.push(access);
    }
    let first = &accesses[0];
    assert_eq!((first.status.as_u16(), first.target.to_string().as_str()), (200, "/ok?q=1"));
    assert_eq!((first.route.as_deref(), first.backend.as_deref()), (Some("ok"), Some("a")));
    assert_eq!(first.endpoint, Some(address));
    assert_eq!(first.user_agent.as_ref().unwrap(), "test");
    assert_eq!(first.trace.unwrap().as_str(), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert!(first.took > Duration::ZERO && first.client == "127.0.0.1" && first.scheme == "http");
    assert!(begun.contains(accesses[1].trace.unwrap().as_str()));
    let statuses: Vec<_> = accesses.iter().map(|access| access.status.as_u16()).collect();
    assert_eq!(statuses, [200, 200, 502, 302, 404]);
    assert_eq!(accesses[2].endpoint, Some("127.0.0.1:1".parse().unwrap()));
    assert_eq!(accesses[4].route, None);

    // Nobody reads: requests go on, and what is missed is counted.
    for _ in 0..7 {
        assert!(raw(front, &get("/ok", "")).await.starts_with("HTTP/1.1 200"));
    }
    assert_eq!(log.missed(), 2);
}

#[tokio::test]
async fn a_request_whose_client_leaves_is_counted_and_told_too() {
    let silent = endpoint(|mut stream| async move {
        read_head(&mut stream).await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let (log, mut told) = AccessLog::new(5);
    let mut proxy = Proxy::with_access_log(Limits::default(), log);
    let applied = proxy.apply(config(vec![backend("a", 1, vec![silent])])).await;
    let mut stream = TcpStream::connect(applied.listeners[0].as_ref().unwrap()).await.unwrap();
    stream.write_all(get("/slow", "").as_bytes()).await.unwrap();
    sleep(Duration::from_millis(100)).await;
    drop(stream);
    let access = timeout(Duration::from_secs(5), told.recv()).await.expect("it is told").unwrap();
    assert_eq!((access.status.as_u16(), access.target.to_string().as_str()), (499, "/slow"));
    assert_eq!((access.route.as_deref(), access.backend.as_deref()), (Some("r"), Some("a")));
    let series = proxy.traffic().series();
    let counted: Vec<_> = series.iter().map(|one| (&*one.route, &*one.backend, one.classes)).collect();
    assert_eq!(counted, [("r", "a", [0, 0, 0, 1, 0])]);
}
