//! Requests and their answers.

use std::{collections::BTreeSet, fs, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use xebec_wasm::{Stream, Volume, WorkloadOptions};

use crate::{Served, connect, eventually, serve};

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[tokio::test]
async fn a_component_answers_with_what_its_environment_says() {
    let served =
        serve(WorkloadOptions { env: env(&[("VERSION", "v1")]), ..WorkloadOptions::default() }).await;
    assert_eq!(served.get("/").await, (StatusCode::OK, "hello from wasm v1\n".into()));
    assert_eq!(served.get("/env").await.1, "VERSION=v1\n", "nothing of the host's own environment");
    assert_eq!(served.get("/nowhere").await.0, StatusCode::NOT_FOUND);
}

/// An answer that went out as one. A guest whom the clock interrupts between the head and the end of its answer is sent in pieces, so
/// a busy machine is asked again.
async fn answer_in_one(served: &Served, path: &str) -> Response<Incoming> {
    for _ in 0..20 {
        let mut client = connect(served.address).await;
        let request = Request::get(path).header("host", "test").body(Full::new(Bytes::new())).unwrap();
        let response = client.send_request(request).await.unwrap();
        if !response.headers().contains_key("transfer-encoding") {
            return response;
        }
    }
    panic!("20 answers to {path} went out in pieces");
}

#[tokio::test]
async fn an_answer_that_is_complete_at_once_goes_out_with_its_length() {
    let served = serve(WorkloadOptions::default()).await;
    let response = answer_in_one(&served, "/").await;
    assert_eq!(response.headers()["content-length"], "22");
    assert_eq!(response.headers()["content-type"], "text/plain");
}

#[tokio::test]
async fn an_answer_of_many_small_pieces_goes_out_as_one() {
    let value = "x".repeat(40_000);
    let served = serve(WorkloadOptions { env: env(&[("LONG", &value)]), ..WorkloadOptions::default() }).await;
    let response = answer_in_one(&served, "/env").await;
    assert_eq!(response.headers()["content-length"], "40006");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, format!("LONG={value}\n"));
}

#[tokio::test]
async fn every_request_has_a_fresh_instance_unless_reuse_is_asked_for() {
    let fresh = serve(WorkloadOptions::default()).await;
    for _ in 0..3 {
        assert_eq!(fresh.get("/count").await.1, "1\n");
    }
    let reused = serve(WorkloadOptions { reuse: true, ..WorkloadOptions::default() }).await;
    for count in 1..=3 {
        assert_eq!(reused.get("/count").await.1, format!("{count}\n"));
    }
    assert_eq!(reused.get("/panic").await.0, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(reused.get("/count").await.1, "1\n", "an instance that trapped serves no more");
}

#[tokio::test]
async fn what_is_printed_comes_out_by_lines() {
    let served = serve(WorkloadOptions::default()).await;
    served.get("/env").await;
    served.get("/unfinished-line").await;
    let expected = ["request /env", "request /unfinished-line", "no line feed"];
    eventually("three lines", || served.output.lines(Stream::Stdout) == expected).await;
    let reused = serve(WorkloadOptions { reuse: true, ..WorkloadOptions::default() }).await;
    reused.get("/unfinished-line").await;
    eventually("the unfinished line", || reused.output.says("no line feed")).await;
}

#[tokio::test]
async fn large_bodies_stream_through_both_ways() {
    let served = serve(WorkloadOptions::default()).await;
    let body: String = (0..400_000).map(|number| char::from(b'a' + (number % 23) as u8)).collect();
    let (status, echoed) = served.send(Request::post("/echo"), Bytes::from(body.clone())).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(echoed.len(), body.len());
    assert_eq!(echoed, body);
}

#[tokio::test]
async fn an_answer_reaches_its_client_while_it_is_being_written() {
    let served = serve(WorkloadOptions::default()).await;
    let mut client = connect(served.address).await;
    let request = Request::get("/stream?n=200").header("host", "test").body(Full::new(Bytes::new())).unwrap();
    let mut body = client.send_request(request).await.unwrap().into_body();
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(first.starts_with(b"line 0\n") && first.len() < 200, "{first:?}");
    let rest = body.collect().await.unwrap().to_bytes();
    assert!(rest.ends_with(b"line 199\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_requests_do_not_see_each_other() {
    let served = serve(WorkloadOptions::default()).await;
    let requests = (0..64).map(|number| {
        let served = &served;
        async move {
            let body = format!("body of {number}");
            assert_eq!(served.get("/sleep?ms=20").await.0, StatusCode::OK);
            let (_, echoed) = served.send(Request::post("/echo"), Bytes::from(body.clone())).await;
            assert_eq!(echoed, body);
            number
        }
    });
    let done: BTreeSet<i32> = futures::future::join_all(requests).await.into_iter().collect();
    assert_eq!(done.len(), 64);
    eventually("all at rest", || served.workload.running() == 0).await;
}

#[tokio::test]
async fn http2_with_prior_knowledge_is_answered_on_the_same_port() {
    let served =
        serve(WorkloadOptions { env: env(&[("VERSION", "h2")]), ..WorkloadOptions::default() }).await;
    let stream = TcpStream::connect(served.address).await.unwrap();
    let (client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let requests = (0..16).map(|_| {
        let mut client = client.clone();
        async move {
            let request = Request::get("http://test/").body(Full::new(Bytes::new())).unwrap();
            client.send_request(request).await.unwrap().into_body().collect().await.unwrap().to_bytes()
        }
    });
    for body in futures::future::join_all(requests).await {
        assert_eq!(body, "hello from wasm h2\n");
    }
}

#[tokio::test]
async fn a_request_without_a_host_is_the_clients_fault() {
    let served = serve(WorkloadOptions::default()).await;
    for head in [&b"GET / HTTP/1.0\r\n\r\n"[..], b"GET / HTTP/1.0\r\nhost: \xff\r\n\r\n"] {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        stream.write_all(head).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.0 400"), "{answer}");
    }
    assert!(served.output.lines(Stream::Stderr).is_empty());
}

#[tokio::test]
async fn volumes_are_seen_and_read_only_ones_kept() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("note"), "from the host").unwrap();
    let volume =
        |read_only| Volume { host_path: directory.path().to_owned(), guest_path: "/data".into(), read_only };
    let with = |read_only| WorkloadOptions { volumes: vec![volume(read_only)], ..WorkloadOptions::default() };

    let reader = serve(with(true)).await;
    assert_eq!(reader.get("/file?path=note").await.1, "from the host");
    let (status, _) = reader.send(Request::put("/file?path=note"), Bytes::from("changed")).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert_eq!(reader.get("/file?path=../../etc/passwd").await.0, StatusCode::FORBIDDEN);

    let writer = serve(with(false)).await;
    assert_eq!(
        writer.send(Request::put("/file?path=new"), Bytes::from("by the guest")).await.0,
        StatusCode::OK
    );
    assert_eq!(fs::read_to_string(directory.path().join("new")).unwrap(), "by the guest");
    assert_eq!(fs::read_to_string(directory.path().join("note")).unwrap(), "from the host");

    let without = serve(WorkloadOptions::default()).await;
    assert_eq!(without.get("/file?path=note").await.0, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_guest_asks_others_only_where_it_is_allowed() {
    let other =
        serve(WorkloadOptions { env: env(&[("VERSION", "other")]), ..WorkloadOptions::default() }).await;
    let target = format!("/fetch?authority={}", other.address);
    let (status, text) = serve(WorkloadOptions::default()).await.get(&target).await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    assert!(text.contains("HttpRequestDenied"), "{text}");
    // The machine's own services are out of reach by whatever name, unless they are on a network that is allowed.
    let near = serve(WorkloadOptions { outbound_http: true, ..WorkloadOptions::default() }).await;
    let port = other.address.port();
    for name in ["127.0.0.1", "localhost", "0.0.0.0", "[::ffff:127.0.0.1]", "169.254.169.254"] {
        let (status, text) = near.get(&format!("/fetch?authority={name}:{port}")).await;
        assert_eq!(status, StatusCode::BAD_GATEWAY, "{name}");
        assert!(text.contains("DestinationIpProhibited"), "{name}: {text}");
    }
    let loopback = Arc::new([(std::net::Ipv4Addr::new(127, 0, 0, 0), 8)]);
    let allowed =
        serve(WorkloadOptions { outbound_http: true, loopback, ..WorkloadOptions::default() }).await;
    assert_eq!(allowed.get(&target).await.1, "200 hello from wasm other\n");
}

/// Knows one service.
struct OneService(std::net::SocketAddr);

impl xebec_wasm::Names for OneService {
    fn find(&self, host: &str, port: u16) -> xebec_wasm::Found {
        match (host, port) {
            ("other.default", 80) => xebec_wasm::Found::At(vec![self.0]),
            ("other.default", _) => xebec_wasm::Found::Closed,
            _ => xebec_wasm::Found::Unknown,
        }
    }
}

#[tokio::test]
async fn names_that_the_machine_does_not_know_are_asked_for() {
    let other =
        serve(WorkloadOptions { env: env(&[("VERSION", "other")]), ..WorkloadOptions::default() }).await;
    let options = |loopback| WorkloadOptions {
        outbound_http: true,
        loopback,
        names: Some(Arc::new(OneService(other.address))),
        ..WorkloadOptions::default()
    };
    let near = serve(options(Arc::new([(std::net::Ipv4Addr::new(127, 0, 0, 0), 8)]))).await;
    assert_eq!(near.get("/fetch?authority=other.default").await.1, "200 hello from wasm other\n");
    let (status, text) = near.get("/fetch?authority=other.default:81").await;
    assert_eq!((status, text.contains("ConnectionRefused")), (StatusCode::BAD_GATEWAY, true), "{text}");
    // What is found is looked at as any other address is.
    let (_, text) = serve(options(Arc::default())).await.get("/fetch?authority=other.default").await;
    assert!(text.contains("DestinationIpProhibited"), "{text}");
}

#[tokio::test]
async fn shutdown_lets_open_requests_end() {
    let Served { address, workload, shutdown, serving, .. } = serve(WorkloadOptions::default()).await;
    let mut client = connect(address).await;
    let request = Request::get("/sleep?ms=300").header("host", "test").body(Full::new(Bytes::new())).unwrap();
    let answer = tokio::spawn(client.send_request(request));
    eventually("the request runs", || workload.running() == 1).await;
    shutdown.cancel();
    assert_eq!(answer.await.unwrap().unwrap().status(), StatusCode::OK);
    tokio::time::timeout(Duration::from_secs(5), serving).await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn after_the_drain_time_nothing_is_left() {
    let options = WorkloadOptions { drain_time: Duration::from_millis(100), ..WorkloadOptions::default() };
    let Served { address, workload, shutdown, serving, .. } = serve(options).await;
    let mut client = connect(address).await;
    let request =
        Request::get("/sleep?ms=60000").header("host", "test").body(Full::new(Bytes::new())).unwrap();
    let answer = tokio::spawn(client.send_request(request));
    eventually("the request runs", || workload.running() == 1).await;
    shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(5), serving).await.unwrap().unwrap();
    assert_eq!(workload.running(), 0);
    assert!(answer.await.unwrap().is_err(), "the client sees its connection end");
}
