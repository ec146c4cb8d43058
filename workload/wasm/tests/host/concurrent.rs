//! Components of wasi:http 0.3, whose instances may answer several requests at once.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, StatusCode};
use xebec_wasm::{Stream, WorkloadOptions};

use crate::{HELLO3, eventually, serve_component};

fn within(milliseconds: u64) -> WorkloadOptions {
    WorkloadOptions { time_limit: Some(Duration::from_millis(milliseconds)), ..WorkloadOptions::default() }
}

#[tokio::test]
async fn a_component_of_the_newer_interface_answers() {
    let options =
        WorkloadOptions { env: vec![("VERSION".into(), "v3".into())], ..WorkloadOptions::default() };
    let served = serve_component(HELLO3, options).await;
    assert_eq!(served.get("/").await, (StatusCode::OK, "hello from wasm v3\n".into()));
    let body = "abcdefghij".repeat(30_000);
    assert_eq!(served.send(Request::post("/echo"), Bytes::from(body.clone())).await, (StatusCode::OK, body));
    eventually("its lines", || served.output.lines(Stream::Stdout) == ["request /", "request /echo"]).await;
    eventually("all at rest", || served.workload.running() == 0).await;
}

#[tokio::test]
async fn only_with_reuse_do_requests_share_an_instance() {
    let fresh = serve_component(HELLO3, WorkloadOptions::default()).await;
    for _ in 0..3 {
        assert_eq!(fresh.get("/count").await.1, "1\n");
    }
    let reused = serve_component(HELLO3, WorkloadOptions { reuse: true, ..WorkloadOptions::default() }).await;
    let counts = futures::future::join_all((0..8).map(|_| async {
        reused.get("/sleep?ms=50").await;
        reused.get("/count").await.1
    }));
    let highest = counts.await.iter().map(|count| count.trim().parse::<u32>().unwrap()).max();
    assert!(highest > Some(1), "no two requests met in one instance");
}

#[tokio::test]
async fn a_trap_costs_its_request_and_no_other() {
    let served = serve_component(HELLO3, within(5_000)).await;
    let (panicked, slept) = tokio::join!(served.get("/panic"), served.get("/sleep?ms=50"));
    assert_eq!(panicked, (StatusCode::INTERNAL_SERVER_ERROR, "the component failed\n".into()));
    assert_eq!(slept.0, StatusCode::OK);
    assert!(served.output.says("unreachable"));
    assert_eq!(served.get("/").await.0, StatusCode::OK);
}

#[tokio::test]
async fn time_is_over_for_those_that_compute_and_those_that_wait() {
    let served = serve_component(HELLO3, within(300)).await;
    for target in ["/spin", "/sleep?ms=60000"] {
        let start = Instant::now();
        assert_eq!(served.get(target).await.0, StatusCode::GATEWAY_TIMEOUT, "{target}");
        assert!(start.elapsed() < Duration::from_secs(10));
        assert!(served.output.says("time limit of 300ms"));
    }
    eventually("all at rest", || served.workload.running() == 0).await;
}

#[tokio::test]
async fn memory_is_held_to_its_limit_too() {
    let served =
        serve_component(HELLO3, WorkloadOptions { memory_limit: 32 << 20, ..WorkloadOptions::default() })
            .await;
    assert_eq!(served.get("/alloc?mb=16").await.0, StatusCode::OK);
    assert_eq!(served.get("/alloc?mb=64").await.0, StatusCode::INTERNAL_SERVER_ERROR);
    eventually("the reason is told", || served.output.says("its limit is 33554432")).await;
    assert_eq!(served.get("/").await.0, StatusCode::OK);
}
