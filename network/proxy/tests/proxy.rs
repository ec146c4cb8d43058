//! The engine over real sockets.

// The helpers of an integration test stand outside its test functions.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use xebec_proxy::config::{
    Action, Backend, Config, HostMatch, Listener, Protocol, Route, RouteMatch, VirtualHost,
};
use xebec_proxy::proxy::{Limits, Proxy};

/// Answers each request head with its name; counts connections.
async fn upstream(name: &'static str) -> (SocketAddr, Arc<AtomicUsize>) {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = socket.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(async move {
                let mut head = Vec::new();
                while let Ok(byte) = stream.read_u8().await {
                    head.push(byte);
                    if head.ends_with(b"\r\n\r\n") {
                        let text = format!("{name}\n{}", String::from_utf8_lossy(&head).to_ascii_lowercase());
                        let answer =
                            format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
                        stream.write_all(answer.as_bytes()).await.unwrap();
                        head.clear();
                    }
                }
            });
        }
    });
    (address, count)
}

fn backend(id: &str, weight: u32, endpoints: Vec<SocketAddr>) -> Backend {
    Backend::new(id, weight, endpoints)
}

fn config(backends: Vec<Backend>) -> Config {
    let matcher = RouteMatch::default();
    let route = Route::new("r", matcher, Action::Forward(backends));
    let hosts = vec![VirtualHost { host: HostMatch::Any, routes: vec![route] }];
    Config {
        listeners: vec![Listener {
            address: "127.0.0.1:0".parse().unwrap(),
            protocol: Protocol::Http,
            hosts,
        }],
    }
}

async fn serving(backends: Vec<Backend>) -> (Proxy, SocketAddr) {
    let mut proxy = Proxy::new(Limits::default());
    let applied = proxy.apply(config(backends)).await;
    let address = *applied.listeners[0].as_ref().unwrap();
    (proxy, address)
}

async fn raw(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(Duration::from_secs(5), reading).await.expect("the proxy closes");
    String::from_utf8_lossy(&answer).into_owned()
}

const GET: &str = "GET /x HTTP/1.1\r\nHost: h\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\n\r\n";

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
async fn refuses_malformed_and_oversize_heads() {
    let (address, _) = upstream("a").await;
    let (_proxy, front) = serving(vec![backend("a", 1, vec![address])]).await;
    let close = "Host: h\r\nConnection: close\r\n";
    let cases = [
        (format!("POST / HTTP/1.1\r\n{close}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"), "400"),
        (format!("GET / HTTP/1.1\r\n{close}X: 1\r\n folded\r\n\r\n"), "400"),
        ("GET / HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned(), "400"),
        (format!("GET / HTTP/1.1\r\n{close}{}\r\n", "X: 1\r\n".repeat(120)), "431"),
    ];
    for (request, status) in cases {
        let answer = raw(front, &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{status} for {request:.90}: {answer}");
    }
}

#[tokio::test]
async fn shutdown_closes_idle_connections_and_the_listener() {
    let (address, _) = upstream("a").await;
    let (proxy, front) = serving(vec![backend("a", 1, vec![address])]).await;
    assert!(raw(front, GET).await.starts_with("HTTP/1.1 200"));
    assert!(proxy.shutdown(Duration::from_secs(5)).await);
    assert!(TcpStream::connect(front).await.is_err());
}
