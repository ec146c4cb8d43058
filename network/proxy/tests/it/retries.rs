//! Requests that are sent again, and copies of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use xebec_proxy::config::{Backend, Config, Filter, Mirror, Retry, Route, Timeouts};
use xebec_proxy::proxy::Limits;

use crate::peers::{backend, endpoint, listener, raw, read_head, rest, route, serving_with, upstream};

const POST: &str = "POST /p HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello";

/// What an endpoint does with its first requests; later ones it echoes.
#[derive(Clone, Copy)]
enum Fails {
    Status(u16),
    Resets,
    Stalls,
}

async fn failing(times: usize, how: Fails) -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let seen = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&seen);
    let address = endpoint(move |mut stream| {
        let seen = Arc::clone(&counted);
        async move {
            while let Some(head) = read_head(&mut stream).await {
                let mut body = [0; 5];
                if head.starts_with("POST") {
                    stream.read_exact(&mut body).await.unwrap();
                }
                let failing = seen.fetch_add(1, Ordering::Relaxed) < times;
                let answer = match how {
                    Fails::Resets if failing => return,
                    Fails::Stalls if failing => {
                        tokio::time::sleep(Duration::from_secs(30)).await;
                        return;
                    }
                    Fails::Status(status) if failing => {
                        format!("HTTP/1.1 {status} Bad\r\nContent-Length: 0\r\n\r\n")
                    }
                    _ => format!(
                        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{}",
                        String::from_utf8_lossy(&body)
                    ),
                };
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    (address, seen)
}

fn retrying(address: std::net::SocketAddr, attempts: u32) -> Config {
    let retry = Retry {
        attempts,
        statuses: vec![StatusCode::SERVICE_UNAVAILABLE],
        backoff: Duration::from_millis(1),
    };
    let timeouts = Timeouts { backend_request: Some(Duration::from_millis(200)), ..Timeouts::default() };
    let again = Route { retry: Some(retry), timeouts, ..route(vec![backend("a", 1, vec![address])]) };
    Config { listeners: vec![listener(vec![again])] }
}

#[tokio::test]
async fn a_request_is_sent_again_with_its_body_until_an_answer_is_good_enough() {
    for how in [Fails::Status(503), Fails::Resets, Fails::Stalls] {
        let (address, seen) = failing(2, how).await;
        let (_proxy, front) = serving_with(retrying(address, 2), Limits::default()).await;
        let answer = raw(front, POST).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
        assert_eq!(seen.load(Ordering::Relaxed), 3);
    }
}

#[tokio::test]
async fn the_last_failure_is_told_when_the_attempts_are_used_up() {
    for (how, status) in [(Fails::Status(503), 503), (Fails::Resets, 502), (Fails::Stalls, 504)] {
        let (address, seen) = failing(9, how).await;
        let (_proxy, front) = serving_with(retrying(address, 1), Limits::default()).await;
        let answer = raw(front, POST).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert_eq!(seen.load(Ordering::Relaxed), 2);
    }
}

#[tokio::test]
async fn other_statuses_and_larger_bodies_are_not_sent_again() {
    let (address, seen) = failing(9, Fails::Status(500)).await;
    let (_proxy, front) = serving_with(retrying(address, 3), Limits::default()).await;
    assert!(raw(front, POST).await.starts_with("HTTP/1.1 500"));
    assert_eq!(seen.load(Ordering::Relaxed), 1);

    let (address, seen) = failing(9, Fails::Status(503)).await;
    let limits = Limits { replayed_bytes: 4, ..Limits::default() };
    let (_proxy, front) = serving_with(retrying(address, 3), limits).await;
    assert!(raw(front, POST).await.starts_with("HTTP/1.1 503"));
    assert_eq!(seen.load(Ordering::Relaxed), 1);
}

/// An endpoint that hands over each request, head and body, before it answers.
async fn recording() -> (Backend, mpsc::UnboundedReceiver<String>) {
    let (sender, requests) = mpsc::unbounded_channel();
    let address = endpoint(move |mut stream| {
        let sender = sender.clone();
        async move {
            while let Some(head) = read_head(&mut stream).await {
                let mut body = [0; 5];
                stream.read_exact(&mut body).await.unwrap();
                sender.send(format!("{head}{}", String::from_utf8_lossy(&body))).unwrap();
                stream.write_all(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            }
        }
    })
    .await;
    (backend("m", 1, vec![address]), requests)
}

#[tokio::test]
async fn every_mirror_gets_a_copy_whatever_it_answers() {
    let (address, _) = upstream("a").await;
    let ((one, mut to_one), (other, mut to_other)) = (recording().await, recording().await);
    let dead = backend("dead", 1, vec!["127.0.0.1:1".parse().unwrap()]);
    let mirrors = [one, other, dead]
        .map(|backend| Filter::Mirror(Mirror { backend: Arc::new(backend), part: 1, of: 1 }));
    let mirrored = Route { filters: mirrors.to_vec(), ..route(vec![backend("a", 1, vec![address])]) };
    let config = Config { listeners: vec![listener(vec![mirrored])] };
    let (_proxy, front) = serving_with(config, Limits::default()).await;
    let answer = raw(front, POST).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    for requests in [&mut to_one, &mut to_other] {
        let copy = tokio::time::timeout(Duration::from_secs(5), requests.recv()).await.unwrap().unwrap();
        assert!(copy.starts_with("POST /p HTTP/1.1\r\n") && copy.ends_with("\r\n\r\nhello"), "{copy}");
    }
}

#[tokio::test]
async fn a_body_that_stops_before_it_can_be_replayed_is_answered_with_408() {
    let (address, _) = upstream("a").await;
    let limits = Limits { client_idle: Duration::from_millis(200), ..Limits::default() };
    let (_proxy, front) = serving_with(retrying(address, 1), limits).await;
    let head = "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n";
    for begun in ["Content-Length: 5\r\n\r\nhe", "Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n"] {
        let mut stream = TcpStream::connect(front).await.unwrap();
        stream.write_all(format!("{head}{begun}").as_bytes()).await.unwrap();
        let answer = rest(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
    // One that is slow but goes on is taken.
    let mut stream = TcpStream::connect(front).await.unwrap();
    stream.write_all(format!("{head}Content-Length: 5\r\n\r\n").as_bytes()).await.unwrap();
    for letter in [b"h", b"e", b"l", b"l", b"o"] {
        tokio::time::sleep(Duration::from_millis(100)).await;
        stream.write_all(letter).await.unwrap();
    }
    assert!(rest(&mut stream).await.starts_with("HTTP/1.1 200"));
}
