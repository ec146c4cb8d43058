//! HTTP/2 at either side.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::{TcpListener, TcpStream};
use xebec_proxy::config::BackendProtocol;

use crate::peers::{GET, backend, curl, raw, serving, upstream};

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
    let stream = TokioIo::new(TcpStream::connect(front).await.unwrap());
    let (mut sender, driver) =
        hyper::client::conn::http2::handshake::<_, _, Frames>(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(driver);
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
