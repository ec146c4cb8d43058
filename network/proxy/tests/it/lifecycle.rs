//! Listeners and connections that come and go.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use xebec_proxy::config::Config;
use xebec_proxy::proxy::{Limits, ListenError, Proxy};

use crate::peers::{
    GET, backend, config, endpoint, listener, raw, read_head, rest, route, serving, serving_with, upstream,
};

/// Answers after this time.
async fn slow(time: Duration) -> SocketAddr {
    endpoint(move |mut stream| async move {
        while read_head(&mut stream).await.is_some() {
            tokio::time::sleep(time).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow").await.unwrap();
        }
    })
    .await
}

async fn asked(front: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(front).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    stream
}

#[tokio::test]
async fn shutdown_closes_idle_connections_and_the_listener() {
    let (address, _) = upstream("a").await;
    let (proxy, front) = serving(vec![backend("a", 1, vec![address])]).await;
    assert!(raw(front, GET).await.starts_with("HTTP/1.1 200"));
    let idle = TcpStream::connect(front).await.unwrap();
    assert!(proxy.shutdown(Duration::from_secs(5)).await);
    assert!(TcpStream::connect(front).await.is_err());
    drop(idle);
}

#[tokio::test]
async fn shutdown_lets_a_request_end_and_cuts_it_at_the_deadline() {
    let (proxy, front) = serving(vec![backend("a", 1, vec![slow(Duration::from_millis(200)).await])]).await;
    let mut stream = asked(front).await;
    assert!(proxy.shutdown(Duration::from_secs(5)).await);
    let answer = rest(&mut stream).await;
    assert!(answer.ends_with("slow") && answer.contains("connection: close"), "{answer}");

    let (proxy, front) = serving(vec![backend("a", 1, vec![slow(Duration::from_secs(60)).await])]).await;
    let mut stream = asked(front).await;
    let begun = Instant::now();
    assert!(!proxy.shutdown(Duration::from_millis(100)).await);
    assert_eq!(rest(&mut stream).await, "");
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_removed_listener_finishes_its_requests_within_the_drain_and_no_later() {
    for (time, drain, expected) in [(200, 5_000, "slow"), (60_000, 100, "")] {
        let limits = Limits { drain: Duration::from_millis(drain), ..Limits::default() };
        let backends = vec![backend("a", 1, vec![slow(Duration::from_millis(time)).await])];
        let (mut proxy, front) = serving_with(config(backends), limits).await;
        let mut stream = asked(front).await;
        proxy.apply(Config::default()).await;
        assert!(rest(&mut stream).await.ends_with(expected));
        assert!(TcpStream::connect(front).await.is_err());
    }
}

#[tokio::test]
async fn a_listener_that_cannot_be_bound_leaves_the_others_serving() {
    let (address, _) = upstream("a").await;
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut refused = listener(vec![route(vec![backend("a", 1, vec![address])])]);
    refused.address = taken.local_addr().unwrap();
    let served = listener(vec![route(vec![backend("a", 1, vec![address])])]);
    let mut proxy = Proxy::new(Limits::default());
    let applied = proxy.apply(Config { listeners: vec![refused, served.clone(), served] }).await;
    assert!(matches!(applied.listeners[0], Err(ListenError::Bind { .. })), "{applied:?}");
    assert!(matches!(applied.listeners[2], Err(ListenError::Duplicate { .. })), "{applied:?}");
    assert!(raw(*applied.listeners[1].as_ref().unwrap(), GET).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn connections_above_the_cap_wait_for_a_place() {
    let (address, _) = upstream("a").await;
    let limits = Limits { connections: 1, ..Limits::default() };
    let (_proxy, front) = serving_with(config(vec![backend("a", 1, vec![address])]), limits).await;
    let mut first = asked(front).await;
    assert!(read_head(&mut first).await.unwrap().starts_with("HTTP/1.1 200"));
    let second = tokio::spawn(async move { raw(front, GET).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!second.is_finished());
    drop(first);
    assert!(second.await.unwrap().starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_kept_connection_that_dies_under_an_idempotent_request_is_replaced_once() {
    // Answers one request a connection, then closes only when the next has come.
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&seen);
    let address = endpoint(move |mut stream| {
        counted.fetch_add(1, Ordering::Relaxed);
        async move {
            read_head(&mut stream).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
            read_head(&mut stream).await;
        }
    })
    .await;
    let (_proxy, front) = serving(vec![backend("a", 1, vec![address])]).await;
    for _ in 0..4 {
        assert!(raw(front, GET).await.starts_with("HTTP/1.1 200"));
    }
    assert_eq!(seen.load(Ordering::Relaxed), 4);
    let posted = raw(front, "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
    assert!(
        posted.starts_with("HTTP/1.1 502"),
        "a request that may have had effect is not sent twice: {posted}"
    );
}

#[tokio::test]
async fn kept_connections_end_by_age_and_idleness() {
    let zero = Duration::ZERO;
    for limits in [
        Limits { endpoint_idle: zero, ..Limits::default() },
        Limits { endpoint_age: zero, ..Limits::default() },
        Limits { idle_per_endpoint: 0, ..Limits::default() },
    ] {
        let (address, connections) = upstream("a").await;
        let (_proxy, front) = serving_with(config(vec![backend("a", 1, vec![address])]), limits).await;
        for _ in 0..3 {
            assert!(raw(front, GET).await.starts_with("HTTP/1.1 200"));
        }
        assert_eq!(connections.load(Ordering::Relaxed), 3);
    }
}

#[tokio::test]
async fn an_address_is_free_as_soon_as_its_listener_is_removed() {
    let (address, _) = upstream("a").await;
    let (mut proxy, front) = serving(vec![backend("a", 1, vec![address])]).await;
    for turn in 0..20 {
        // The same port, asked for in other words each time, then not at all.
        let mut listener = listener(vec![route(vec![backend("a", 1, vec![address])])]);
        listener.address = SocketAddr::new(
            if turn % 2 == 0 { [127, 0, 0, 1].into() } else { [0, 0, 0, 0].into() },
            front.port(),
        );
        let applied = proxy.apply(Config { listeners: vec![listener] }).await;
        assert!(applied.listeners[0].is_ok(), "{turn}: {applied:?}");
        assert!(raw(front, GET).await.starts_with("HTTP/1.1 200"));
        if turn % 3 == 0 {
            proxy.apply(Config::default()).await;
        }
    }
}
