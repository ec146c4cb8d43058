//! HTTP/2 at either side.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use xebec_proxy::config::{Backend, BackendProtocol};
use xebec_proxy::proxy::Limits;

use crate::peers::{
    GET, backend, config, curl, endpoint, raw, read_head, rest, serving, serving_with, upstream,
};

type Frames =
    StreamBody<futures::stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, std::convert::Infallible>>>>;

fn frames(data: Vec<Bytes>, trailers: Option<HeaderMap>) -> Frames {
    let frames = data.into_iter().map(Frame::data).chain(trailers.map(Frame::trailers)).map(Ok);
    StreamBody::new(futures::stream::iter(frames.collect::<Vec<_>>()))
}

/// An h2c endpoint that sends body and trailers back, and tells the path and host; counts connections.
async fn h2c_echo() -> (SocketAddr, Arc<AtomicUsize>) {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let echo = |request: Request<Incoming>| async move {
        let seen = format!("{} {} {:?}", request.method(), request.uri(), request.headers().get("te"));
        let collected = request.into_body().collect().await.unwrap();
        let trailers = collected.trailers().cloned();
        let mut response = Response::new(frames(vec![collected.to_bytes()], trailers));
        response.headers_mut().insert("x-seen", HeaderValue::try_from(seen).unwrap());
        Ok::<_, hyper::Error>(response)
    };
    tokio::spawn(async move {
        while let Ok((stream, _)) = socket.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(server.serve_connection(TokioIo::new(stream), service_fn(echo)));
        }
    });
    (address, count)
}

async fn client(front: SocketAddr) -> hyper::client::conn::http2::SendRequest<Frames> {
    let stream = TokioIo::new(TcpStream::connect(front).await.unwrap());
    let (sender, driver) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(driver);
    sender
}

#[tokio::test]
async fn curl_speaks_http2_with_prior_knowledge() {
    let (address, _) = upstream("a").await;
    let (_proxy, front) = serving(vec![backend("a", 1, vec![address])]).await;
    let url = format!("http://{front}/x?y=z");
    let arguments =
        ["--http2-prior-knowledge", "-H", "cookie: a=1", "-w", "|%{http_version}|%{http_code}", &url];
    let Some(answer) = curl(&arguments).await else { return };
    assert!(answer.contains("get /x?y=z http/1.1\r\n") && answer.ends_with("|2|200"), "{answer}");
    assert!(answer.contains(&format!("host: {front}\r\n")) && answer.contains("cookie: a=1\r\n"), "{answer}");
    let Some(answer) = curl(&["--http1.1", "-w", "|%{http_version}|%{http_code}", &url]).await else {
        return;
    };
    assert!(answer.ends_with("|1.1|200"), "{answer}");
}

#[tokio::test]
async fn bodies_and_trailers_pass_between_http2_peers_over_one_shared_connection() {
    let (address, connections) = h2c_echo().await;
    let mut endpoint = backend("a", 1, vec![address]);
    endpoint.protocol = BackendProtocol::H2c;
    let (_proxy, front) = serving(vec![endpoint]).await;
    let mut sender = client(front).await;
    for turn in 0..3 {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        let pieces =
            vec![Bytes::from_static(b"one "), Bytes::from(vec![b'x'; 300_000]), Bytes::from_static(b" end")];
        let request = Request::post("http://h.example/pkg.Service/Call")
            .header("te", "trailers")
            .body(frames(pieces, Some(trailers)))
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        let seen = response.headers()["x-seen"].to_str().unwrap().to_owned();
        assert!(
            seen.starts_with("POST http://h.example/pkg.Service/Call") && seen.contains("trailers"),
            "{seen}"
        );
        let collected = response.into_body().collect().await.unwrap();
        assert_eq!(collected.trailers().unwrap()["grpc-status"], "0", "turn {turn}");
        let body = collected.to_bytes();
        assert!(body.starts_with(b"one x") && body.ends_with(b"x end") && body.len() == 300_008);
    }
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn an_old_client_reaches_an_http2_endpoint() {
    let (address, _) = h2c_echo().await;
    let mut endpoint = backend("a", 1, vec![address]);
    endpoint.protocol = BackendProtocol::H2c;
    let (_proxy, front) = serving(vec![endpoint]).await;
    let request = "POST /p HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc";
    let answer = raw(front, request).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("x-seen: POST http://h/p"), "{answer}");
    assert!(answer.contains("3\r\nabc\r\n0\r\n\r\n"), "{answer}");
    assert!(raw(front, GET).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn an_http2_endpoint_that_is_gone_is_a_502() {
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mut endpoint = backend("a", 1, vec![dead]);
    endpoint.protocol = BackendProtocol::H2c;
    let (_proxy, front) = serving(vec![endpoint]).await;
    assert!(raw(front, GET).await.starts_with("HTTP/1.1 502"));
}

#[tokio::test]
async fn the_limits_hold_for_http2_too() {
    // Answers what has no body; of others it waits for the end.
    let address = endpoint(|mut stream| async move {
        while let Some(head) = read_head(&mut stream).await {
            if head.starts_with("GET") {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            }
        }
    })
    .await;
    let limits = Limits { body_bytes: Some(4), target_bytes: 100, header_count: 10, ..Limits::default() };
    let (_proxy, front) = serving_with(config(vec![backend("a", 1, vec![address])]), limits).await;
    let mut sender = client(front).await;
    let body = || frames(vec![Bytes::from_static(b"abcde")], None);
    let none = || frames(Vec::new(), None);
    let mut crowded = Request::get("http://h/").body(none()).unwrap();
    for index in 0..11_u16 {
        let name = http::HeaderName::try_from(format!("x-{index}")).unwrap();
        crowded.headers_mut().insert(name, HeaderValue::from(index));
    }
    let long = format!("http://h/{}", "x".repeat(200));
    let cases = [
        (Request::get("http://h/").body(none()).unwrap(), 200),
        (Request::post("http://h/").header("content-length", "5").body(body()).unwrap(), 413),
        (Request::post("http://h/").body(body()).unwrap(), 413),
        (Request::get(long).body(none()).unwrap(), 414),
        (crowded, 431),
    ];
    for (request, status) in cases {
        assert_eq!(sender.send_request(request).await.unwrap().status(), status);
    }
}

#[tokio::test]
async fn two_lengths_of_one_message_are_refused() {
    let (address, _) = upstream("a").await;
    let (_proxy, front) = serving(vec![backend("a", 1, vec![address])]).await;
    for lengths in [["3", "4"], ["4", "3"], ["3", "3"]] {
        let mut request =
            Request::post("http://h/").body(frames(vec![Bytes::from_static(b"abc")], None)).unwrap();
        for length in lengths {
            request.headers_mut().append("content-length", HeaderValue::from_static(length));
        }
        // Where the framing itself is wrong, the stream is reset instead.
        if let Ok(response) = client(front).await.send_request(request).await {
            assert_eq!(response.status(), 400, "{lengths:?}");
        }
    }
}

#[tokio::test]
async fn no_http2_request_fails_while_routes_are_swapped_or_the_engine_ends() {
    let slow = endpoint(|mut stream| async move {
        while read_head(&mut stream).await.is_some() {
            tokio::time::sleep(Duration::from_millis(100)).await;
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow").await.unwrap();
        }
    })
    .await;
    let backends = vec![backend("a", 1, vec![slow])];
    let (mut proxy, front) = serving(backends.clone()).await;
    let sender = client(front).await;
    let asked = (0..20).map(|turn| {
        let mut sender = sender.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(10 * turn)).await;
            let request = Request::get("http://h/").body(frames(Vec::new(), None)).unwrap();
            let response = sender.send_request(request).await.unwrap();
            assert_eq!(response.status(), 200);
            assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "slow");
        })
    });
    let asked = asked.collect::<Vec<_>>();
    for _ in 0..25 {
        proxy.apply(config(backends.clone())).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(proxy.shutdown(Duration::from_secs(5)).await);
    for answered in asked {
        answered.await.unwrap();
    }
}

#[tokio::test]
async fn a_body_that_fails_on_its_way_to_an_http2_endpoint_is_the_clients_fault() {
    let (address, _) = h2c_echo().await;
    let mut endpoint = backend("a", 1, vec![address]);
    endpoint.protocol = BackendProtocol::H2c;
    let limits = Limits { body_bytes: Some(4), ..Limits::default() };
    let (_proxy, front) = serving_with(config(vec![endpoint]), limits).await;
    let head = "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (body, status) in
        [("5\r\nabcde\r\n0\r\n\r\n", "413"), ("zz\r\n", "400"), ("3\r\nabc\r\n0\r\n\r\n", "200")]
    {
        let answer = raw(front, &format!("{head}{body}")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{body}: {answer}");
    }
}

#[tokio::test]
async fn an_authority_with_a_user_before_it_is_refused() {
    let (address, _) = upstream("a").await;
    let (_proxy, front) = serving(vec![backend("a", 1, vec![address])]).await;
    let request = Request::get("http://user@a.example.com/").body(frames(Vec::new(), None)).unwrap();
    let response = client(front).await.send_request(request).await.unwrap();
    assert_eq!(response.status(), 400);
}

/// An h2c endpoint that sends the length of each body back; the head of its answer at once if `early`.
async fn h2c_counting(early: bool) -> Backend {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let count = move |request: Request<Incoming>| async move {
        let counting = async move {
            let length = request.into_body().collect().await?.to_bytes().len();
            Ok::<_, hyper::Error>(Frame::data(Bytes::from(length.to_string())))
        };
        let counting = if early {
            Ok(futures::stream::once(counting).boxed())
        } else {
            counting.await.map(|counted| futures::stream::once(async { Ok(counted) }).boxed())
        };
        counting.map(|body| Response::new(StreamBody::new(body)))
    };
    tokio::spawn(async move {
        while let Ok((stream, _)) = socket.accept().await {
            let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(server.serve_connection(TokioIo::new(stream), service_fn(count)));
        }
    });
    Backend { protocol: BackendProtocol::H2c, ..backend("a", 1, vec![address]) }
}

#[tokio::test]
async fn an_upload_to_an_http2_endpoint_may_take_long_while_it_moves() {
    for early in [false, true] {
        let limits = Limits { exchange_idle: Duration::from_millis(300), ..Limits::default() };
        let (_proxy, front) = serving_with(config(vec![h2c_counting(early).await]), limits).await;
        let mut stream = TcpStream::connect(front).await.unwrap();
        let head = b"POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 12\r\n\r\n";
        stream.write_all(head).await.unwrap();
        for _ in 0..12 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            stream.write_all(b"x").await.unwrap();
        }
        let answer = rest(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\r\n12\r\n"), "{answer}");
    }
    // One in which nothing moves ends.
    let limits = Limits { exchange_idle: Duration::from_millis(300), ..Limits::default() };
    let (_proxy, front) = serving_with(config(vec![h2c_counting(false).await]), limits).await;
    let begun = "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 12\r\n\r\nx";
    let mut stream = TcpStream::connect(front).await.unwrap();
    stream.write_all(begun.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    tokio::time::timeout(Duration::from_secs(5), stream.read_exact(&mut answer))
        .await
        .expect("an answer comes")
        .unwrap();
    assert_eq!(&answer, b"HTTP/1.1 504");
}
