//! Guests that behave badly, and those beside them.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};
use xebec_wasm::{Error, Host, HostOptions, Stream, Volume, WorkloadOptions};

use crate::{COMMAND, HELLO, HELLO3, compiled, connect, digest, eventually, host, serve, serve_component};

fn within(milliseconds: u64) -> WorkloadOptions {
    WorkloadOptions { time_limit: Some(Duration::from_millis(milliseconds)), ..WorkloadOptions::default() }
}

#[tokio::test]
async fn a_trap_is_answered_with_500_and_told_in_the_log() {
    let served = serve(WorkloadOptions::default()).await;
    let (status, text) = served.get("/panic?token=s3cret").await;
    assert_eq!((status, text.as_str()), (StatusCode::INTERNAL_SERVER_ERROR, "the component failed\n"));
    let lines = served.output.lines(Stream::Stderr);
    assert!(lines.iter().any(|line| line.contains("asked to panic")), "the guest's own words: {lines:?}");
    let told = "xebec: GET /panic failed: wasm trap: wasm `unreachable` instruction executed";
    assert!(lines.iter().any(|line| line == told), "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains("s3cret")), "a query stays out of the log: {lines:?}");
    assert_eq!(served.get("/").await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guests_that_fail_do_not_touch_those_beside_them() {
    let served = serve(within(2_000)).await;
    let requests = (0..60).map(|number| {
        let served = &served;
        async move {
            let (target, expected) = match number % 3 {
                0 => ("/panic", StatusCode::INTERNAL_SERVER_ERROR),
                1 => ("/alloc?mb=1000", StatusCode::INTERNAL_SERVER_ERROR),
                _ => ("/sleep?ms=10", StatusCode::OK),
            };
            assert_eq!(served.get(target).await.0, expected, "{target}");
        }
    });
    futures::future::join_all(requests).await;
}

#[tokio::test]
async fn a_client_that_stops_reading_holds_a_guest_no_longer_than_its_time() {
    for (component, path) in [(HELLO, "/stream?n=1000000"), (HELLO3, "/echo")] {
        let served = serve_component(component, WorkloadOptions { max_concurrent: 1, ..within(500) }).await;
        let endless = futures::stream::pending::<Result<http_body::Frame<Bytes>, std::io::Error>>();
        let body = http_body_util::StreamBody::new(endless);
        let request = Request::post(path).header("host", "test").body(body).unwrap();
        let unread = served.workload.handle(request).await;
        assert_eq!((unread.status(), served.workload.running()), (StatusCode::OK, 1));
        eventually("the guest's place is free", || served.workload.running() == 0).await;
        assert_eq!(served.get("/").await.0, StatusCode::OK);
        if component == HELLO {
            assert!(unread.into_body().collect().await.is_err());
        }
    }
}

#[tokio::test]
async fn a_guest_that_never_ends_is_stopped_and_others_run_beside_it() {
    // One thread for all: only by the epoch's yielding does the second request get a turn.
    let served = serve(within(1_500)).await;
    let start = Instant::now();
    let quick = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(served.get("/").await.0, StatusCode::OK);
        start.elapsed()
    };
    let ((status, text), quick) = tokio::join!(served.get("/spin"), quick);
    assert_eq!(status, StatusCode::GATEWAY_TIMEOUT, "{text}");
    assert!(quick < start.elapsed());
    assert!(served.output.says("GET /spin failed: it took longer than its time limit of 1.5s"));
    eventually("no guest is left", || served.workload.running() == 0).await;
}

#[tokio::test]
async fn a_guest_that_waits_too_long_is_stopped() {
    let served = serve(within(200)).await;
    assert_eq!(served.get("/sleep?ms=60000").await.0, StatusCode::GATEWAY_TIMEOUT);
    eventually("no guest is left", || served.workload.running() == 0).await;
}

#[tokio::test]
async fn memory_is_held_to_its_limit() {
    let served = serve(WorkloadOptions { memory_limit: 32 << 20, ..WorkloadOptions::default() }).await;
    assert_eq!(served.get("/alloc?mb=16").await.0, StatusCode::OK);
    let (status, text) = served.get("/alloc?mb=64").await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(text, "the component went over its memory limit\n");
    assert!(served.output.says("bytes of memory, its limit is 33554432"));
    assert_eq!(served.get("/alloc?mb=16").await.0, StatusCode::OK);
}

#[tokio::test]
async fn memory_of_one_guest_is_not_seen_by_the_next() {
    let served = serve(WorkloadOptions::default()).await;
    let secret = "x".repeat(200_000);
    served.send(Request::post("/echo"), Bytes::from(secret)).await;
    for _ in 0..8 {
        assert_eq!(served.get("/count").await.1, "1\n");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_taken_for_a_whole_one() {
    let served = serve(WorkloadOptions::default()).await;
    let mut client = connect(served.address).await;
    let request = Request::get("/late-trap").header("host", "test").body(Full::new(Bytes::new())).unwrap();
    let broken = match client.send_request(request).await {
        Ok(response) => response.status() == 500 || response.into_body().collect().await.is_err(),
        Err(_) => true,
    };
    assert!(broken);
    assert!(served.output.says("asked to panic late"));
    assert!(served.output.says("GET /late-trap failed"));
}

#[tokio::test]
async fn a_guest_that_gives_no_answer_is_answered_for() {
    let served = serve(WorkloadOptions::default()).await;
    let (status, text) = served.get("/silent").await;
    assert_eq!(
        (status, text.as_str()),
        (StatusCode::INTERNAL_SERVER_ERROR, "the component gave no answer\n")
    );
    assert!(served.output.says("GET /silent failed: it gave no answer"));
}

#[tokio::test]
async fn a_guest_runs_on_when_its_client_goes_away_and_ends_at_its_limit() {
    let served = serve(within(1_000)).await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(b"GET /sleep?ms=300 HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
    eventually("the guest runs", || served.output.says("request /sleep")).await;
    drop(stream);
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(b"GET /sleep?ms=60000 HTTP/1.1\r\nhost: test\r\n\r\n").await.unwrap();
    eventually("both run", || served.workload.running() == 2).await;
    drop(stream);
    eventually("both have ended", || served.workload.running() == 0).await;
    let failures = served.output.lines(Stream::Stderr);
    assert_eq!(failures.len(), 1, "only the second failed: {failures:?}");
}

#[tokio::test]
async fn what_is_over_the_limit_waits_and_what_is_over_that_is_refused() {
    let options = WorkloadOptions { max_concurrent: 2, max_waiting: 2, ..WorkloadOptions::default() };
    let served = serve(options).await;
    let answers = futures::future::join_all((0..6).map(|_| served.get("/sleep?ms=500"))).await;
    let count = |status| answers.iter().filter(|(answer, _)| *answer == status).count();
    assert_eq!(count(StatusCode::OK), 4);
    assert_eq!(count(StatusCode::SERVICE_UNAVAILABLE), 2);
    assert!(served.output.lines(Stream::Stderr).is_empty());
}

#[tokio::test]
async fn a_host_without_free_instances_says_so() {
    let cache = tempfile::tempdir().unwrap();
    let host = Host::new(HostOptions { instances: 1, ..HostOptions::new(cache.path()) }).unwrap();
    let compiled = host.compile(&digest(HELLO), HELLO).unwrap();
    let workload = host.serve(&compiled, WorkloadOptions::default()).await.unwrap();
    let request = |target: &str| {
        let request = Request::get(target).header("host", "test").body(Full::new(Bytes::new())).unwrap();
        workload.handle(request)
    };
    let (slept, refused) = tokio::join!(request("/sleep?ms=300"), request("/"));
    assert_eq!((slept.status(), refused.status()), (StatusCode::OK, StatusCode::SERVICE_UNAVAILABLE));
    assert_eq!(refused.headers()["retry-after"], "1");
}

#[tokio::test]
async fn a_stop_ends_what_runs_and_answers_no_more() {
    for component in [HELLO, HELLO3] {
        let served = serve_component(component, WorkloadOptions::default()).await;
        let stop = async {
            eventually("both run", || served.output.says("/sleep") && served.output.says("/spin")).await;
            served.workload.stop();
        };
        let (slept, spun, ()) = tokio::join!(served.get("/sleep?ms=60000"), served.get("/spin"), stop);
        assert_eq!((slept.0, spun.0), (StatusCode::SERVICE_UNAVAILABLE, StatusCode::SERVICE_UNAVAILABLE));
        assert_eq!(slept.1, "the component is being stopped\n");
        assert_eq!(served.get("/").await.0, StatusCode::SERVICE_UNAVAILABLE);
        assert!(served.output.lines(Stream::Stderr).is_empty(), "nothing failed");
    }
}

#[tokio::test]
async fn what_cannot_be_served_is_refused_before_the_first_request() {
    let refusal = async |bytes: &'static [u8], options: WorkloadOptions| {
        host().serve(&compiled(bytes), options).await.unwrap_err()
    };
    let error = refusal(COMMAND, WorkloadOptions::default()).await;
    assert!(matches!(error, Error::WrongKind { .. }), "{error}");
    let error =
        refusal(HELLO, WorkloadOptions { memory_limit: 64 << 10, ..WorkloadOptions::default() }).await;
    assert!(
        matches!(&error, Error::Start { reason, .. } if reason.contains("its limit is 65536")),
        "{error}"
    );
    let volume =
        Volume { host_path: "/no/such/directory".into(), guest_path: "/data".into(), read_only: true };
    let error = refusal(HELLO, WorkloadOptions { volumes: vec![volume], ..WorkloadOptions::default() }).await;
    assert!(matches!(error, Error::Volume { .. }), "{error}");
}
