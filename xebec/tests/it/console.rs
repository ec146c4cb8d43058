//! The console's address, asked as Prometheus and probes ask it.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::cluster::{Cluster, until};
use crate::running::{Running, xebec};

/// The status and the body of `GET path`.
fn get(running: &Running, path: &str) -> (u16, String) {
    let address = running.endpoint("console");
    let mut stream = TcpStream::connect(&address).expect("the console accepts connections");
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    (head[9..12].parse().expect("a status"), body.to_owned())
}

/// The value of the one sample with this name and labels.
fn sample(running: &Running, series: &str) -> Option<f64> {
    let (code, text) = get(running, "/metrics");
    assert_eq!(code, 200);
    let mut values = text.lines().filter_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    let value = values.next().map(|value| value.parse().expect("a number"));
    assert!(values.next().is_none(), "{series} stands twice");
    value
}

#[test]
fn objects_requests_and_watches_are_counted_and_the_process_is_measured() {
    let Some(cluster) = Cluster::start() else { return };
    let running = cluster.running();
    assert_eq!((get(running, "/livez").0, get(running, "/readyz").0), (200, 200));
    assert_eq!(get(running, "/nothing").0, 404);
    assert!(sample(running, "process_resident_memory_bytes").unwrap() > 1e6);
    assert!(sample(running, "process_cpu_seconds_total").unwrap() > 0.0);

    let objects = || sample(running, r#"apiserver_storage_objects{resource="configmaps"}"#).unwrap_or(0.0);
    let before = objects();
    for name in ["one", "two"] {
        cluster.kubectl(&format!("create configmap {name}"));
    }
    assert_eq!(objects(), before + 2.0);
    let refused = || sample(running, r#"apiserver_request_total{verb="GET",code="404"}"#).unwrap_or(0.0);
    let before = refused();
    cluster.refused("get configmap absent", "");
    assert!(refused() >= before + 1.0);
    let fast = sample(running, r#"apiserver_request_duration_seconds_bucket{verb="POST",le="+Inf"}"#);
    assert_eq!(fast, sample(running, r#"apiserver_request_duration_seconds_count{verb="POST"}"#));

    let watches = || sample(running, r#"apiserver_longrunning_requests{verb="WATCH"}"#).unwrap();
    let at_rest = watches();
    assert!(at_rest >= 1.0, "the controllers watch");
    let mut children: Vec<_> = (0..3)
        .map(|_| {
            let mut watch = cluster.command("get secrets --all-namespaces --watch");
            watch.stdout(std::process::Stdio::null()).spawn().unwrap()
        })
        .collect();
    until("three further watches", || (watches() >= at_rest + 3.0).then_some(()));
    for child in &mut children {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    until("their end", || (watches() < at_rest + 3.0).then_some(()));
}

#[test]
fn it_is_a_part_that_can_be_left_out() {
    let data = tempfile::tempdir().unwrap();
    let mut command = xebec();
    command.args(["up", "--without", "console,api,gateway,node", "--registry", "127.0.0.1:0", "--data"]);
    command.arg(data.path());
    let running = Running::start_with(command, data.path());
    let endpoints = std::fs::read_to_string(data.path().join("endpoints.json")).unwrap();
    assert!(endpoints.contains("registry") && !endpoints.contains("console"), "{endpoints}");
    drop(running);
}
