//! Which endpoint a request reaches, changed how, and what it is told if it reaches none.

use std::sync::atomic::Ordering;
use std::time::Duration;

use http::{HeaderName, HeaderValue, StatusCode};
use tokio::net::TcpListener;
use xebec_proxy::config::{
    Action, Backend, Config, Filter, HeaderModifier, PathMatch, PathRewrite, Redirect, RedirectScheme,
    Respond, Route, RouteMatch, UrlRewrite,
};
use xebec_proxy::proxy::Limits;

use crate::peers::{
    GET, backend, config, endpoint, listener, raw, read_head, route, serving, serving_with, upstream,
};

#[tokio::test]
async fn carries_a_request_without_hop_headers_and_reuses_the_connection() {
    let (address, connections) = upstream("a").await;
    let (_proxy, front) = serving(vec![backend("a", 1, vec![address])]).await;
    for _ in 0..5 {
        let answer = raw(front, GET).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(answer.contains("x-forwarded-for: 127.0.0.1") && answer.contains("host: h"), "{answer}");
        assert!(!answer.contains("x-hop"), "{answer}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn splits_by_weight_and_swaps_routes_without_a_failure() {
    let ((a, _), (b, _)) = (upstream("a").await, upstream("b").await);
    let (mut proxy, front) = serving(vec![backend("a", 9, vec![a]), backend("b", 1, vec![b])]).await;
    let mut first = 0;
    for _ in 0..200 {
        first += usize::from(raw(front, GET).await.contains("\r\n\r\na\n"));
    }
    assert!((170..=190).contains(&first), "{first} of 200");
    let load = tokio::spawn(async move {
        for _ in 0..200 {
            let answer = raw(front, GET).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
    });
    while !load.is_finished() {
        proxy.apply(config(vec![backend("b", 1, vec![b])])).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    load.await.unwrap();
    assert!(raw(front, GET).await.contains("\r\n\r\nb\n"));
}

#[tokio::test]
async fn tries_the_next_endpoint_and_names_what_is_wrong_with_a_backend() {
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let (live, _) = upstream("a").await;
    let invalid = Backend::invalid("x", 1);
    let cases = [
        (vec![backend("half", 1, vec![dead, live])], "200"),
        (vec![backend("dead", 1, vec![dead])], "502"),
        (vec![backend("empty", 1, Vec::new())], "503"),
        (vec![invalid], "500"),
        (vec![backend("zero", 0, vec![live])], "500"),
    ];
    for (backends, status) in cases {
        let (_proxy, front) = serving(backends).await;
        let answer = raw(front, GET).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{status}: {answer}");
    }
}

#[tokio::test]
async fn filters_change_the_request_and_the_response() {
    let name = HeaderName::from_static;
    let value = HeaderValue::from_static;
    let (address, _) = upstream("a").await;
    let modifier =
        |header, text| HeaderModifier { set: vec![(name(header), value(text))], ..Default::default() };
    let mut of_backend = backend("a", 1, vec![address]);
    of_backend.filters = vec![
        Filter::RequestHeaders(modifier("x-last", "backend")),
        Filter::ResponseHeaders(modifier("x-first", "backend")),
    ];
    let path = PathMatch::Prefix("/old".into());
    let matcher = RouteMatch { path, ..RouteMatch::default() };
    let mut changed = Route::new("changed", matcher, Action::Forward(vec![of_backend]));
    changed.filters = vec![
        Filter::RequestHeaders(modifier("x-last", "route")),
        Filter::ResponseHeaders(modifier("x-first", "route")),
        Filter::UrlRewrite(UrlRewrite {
            hostname: Some(value("inside.example")),
            path: Some(PathRewrite::ReplacePrefix("/new".into())),
        }),
    ];
    let (_proxy, front) =
        serving_with(Config { listeners: vec![listener(vec![changed])] }, Limits::default()).await;
    let answer = raw(front, "GET /old/a?b=c HTTP/1.1\r\nHost: Outside\r\nConnection: close\r\n\r\n").await;
    assert!(answer.contains("get /new/a?b=c http/1.1"), "{answer}");
    assert!(
        answer.contains("host: inside.example\r\n") && answer.contains("x-forwarded-host: outside"),
        "{answer}"
    );
    assert!(answer.contains("x-last: backend") && answer.contains("x-first: route"), "{answer}");
}

#[tokio::test]
async fn redirects_and_own_answers_need_no_backend() {
    let redirect = Redirect { scheme: Some(RedirectScheme::Https), ..Redirect::default() };
    let at = |prefix: &str, action| {
        let path = PathMatch::Prefix(prefix.into());
        Route::new("r", RouteMatch { path, ..RouteMatch::default() }, action)
    };
    let respond = Respond { status: StatusCode::IM_A_TEAPOT, body: "short and stout".into() };
    let routes = vec![at("/r", Action::Redirect(redirect)), at("/t", Action::Respond(respond))];
    let (_proxy, front) = serving_with(Config { listeners: vec![listener(routes)] }, Limits::default()).await;
    let answer = raw(front, "GET /r/x?y HTTP/1.1\r\nHost: h:1\r\nConnection: close\r\n\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.1 302") && answer.contains("location: https://h/r/x?y\r\n"),
        "{answer}"
    );
    let answer = raw(front, "GET /t HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 418") && answer.ends_with("short and stout"), "{answer}");
    let answer = raw(front, "HEAD /t HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
    assert!(answer.contains("content-length: 15") && answer.ends_with("\r\n\r\n"), "{answer}");
    assert!(raw(front, GET).await.starts_with("HTTP/1.1 404"));
}

#[tokio::test]
async fn a_slow_backend_is_given_up_at_the_routes_limits() {
    let silent = endpoint(|mut stream| async move { while read_head(&mut stream).await.is_some() {} }).await;
    let limit = Some(Duration::from_millis(50));
    let mut overall = route(vec![backend("a", 1, vec![silent])]);
    overall.timeouts.request = limit;
    let mut attempt = route(vec![backend("a", 1, vec![silent])]);
    attempt.timeouts.backend_request = limit;
    for (slow, cause) in [(overall, "request took longer"), (attempt, "backend took longer")] {
        let (_proxy, front) =
            serving_with(Config { listeners: vec![listener(vec![slow])] }, Limits::default()).await;
        let answer = raw(front, GET).await;
        assert!(answer.starts_with("HTTP/1.1 504") && answer.contains(cause), "{answer}");
    }
    let limits = Limits { exchange_idle: Duration::from_millis(50), ..Limits::default() };
    let (_proxy, front) = serving_with(config(vec![backend("a", 1, vec![silent])]), limits).await;
    assert!(raw(front, GET).await.starts_with("HTTP/1.1 504"));
}

#[tokio::test]
async fn a_response_is_cut_at_the_routes_limit() {
    let endless = endpoint(|mut stream| async move {
        use tokio::io::AsyncWriteExt as _;
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun").await.unwrap();
        tokio::time::sleep(Duration::from_secs(60)).await;
    })
    .await;
    let mut limited = route(vec![backend("a", 1, vec![endless])]);
    limited.timeouts.request = Some(Duration::from_millis(200));
    let (_proxy, front) =
        serving_with(Config { listeners: vec![listener(vec![limited])] }, Limits::default()).await;
    let answer = raw(front, GET).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("begun"), "{answer}");
}

#[tokio::test]
async fn another_spelling_of_a_path_passes_no_rule_by() {
    let ((open, _), (guarded, _)) = (upstream("open").await, upstream("guarded").await);
    let at = |path: &str, address| {
        let matcher = RouteMatch { path: PathMatch::Prefix(path.into()), ..RouteMatch::default() };
        Route { matcher, ..route(vec![backend("b", 1, vec![address])]) }
    };
    let config = Config { listeners: vec![listener(vec![at("/", open), at("/admin", guarded)])] };
    let (_proxy, front) = serving_with(config, Limits::default()).await;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    for path in ["/admin/x?a=/../b", "//admin/x", "/open/../admin/x", "/%61dmin/./x", "/open/%2e%2e/admin//x"]
    {
        let answer = raw(front, &get(path)).await;
        let target = if path.contains('?') { "/admin/x?a=/../b" } else { "/admin/x" };
        assert!(answer.contains(&format!("guarded\nget {target} http/1.1")), "{path}: {answer}");
    }
    assert!(raw(front, &get("/open/..%2fadmin")).await.starts_with("HTTP/1.1 400"));
    let answer = raw(front, &get("/open%2Fx")).await;
    assert!(answer.contains("open\nget /open%2fx http/1.1"), "{answer}");
}
