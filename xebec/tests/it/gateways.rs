//! Gateways of the built binary as their users see them: what went through, and why.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Output;

use serde_json::Value;

use crate::cluster::{Cluster, until};
use crate::running::{Running, ended, on_free_ports, xebec};

/// Runs `xebec why` against the instance.
fn why(cluster: &Cluster, args: &[&str]) -> Output {
    let mut command = xebec();
    command.arg("why").args(args).arg("--data").arg(cluster.data());
    ended(command)
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn why_names_the_route_and_the_backend_of_a_request_and_what_others_lack() {
    let Some(cluster) = Cluster::demo() else { return };
    let url = format!("http://{}/a?b=c", cluster.running().endpoint("gateway"));
    cluster.apply(
        r#"
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: beta}
spec:
  parentRefs: [{name: demo}]
  rules:
  - matches: [{headers: [{name: x-beta, value: "1"}]}]
    filters:
    - type: RequestHeaderModifier
      requestHeaderModifier: {set: [{name: x-secret, value: hidden}]}
    backendRefs: [{name: absent, port: 80}]
"#,
    );
    let shown = until("both routes", || {
        let shown = text(&why(&cluster, &[&url]));
        shown.contains("default/beta/0").then_some(shown)
    });
    for part in ["listener default/demo/", "route    default/hello/0", "backend  default/hello-v1:80   75 %"]
    {
        assert!(shown.contains(part), "{part} is missing in\n{shown}");
    }
    assert!(
        shown.contains(r#"not      default/beta/0   wants header x-beta "1", and there is none"#),
        "{shown}"
    );

    let json = text(&why(&cluster, &[&url, "-H", "X-Beta: 1", "-X", "POST", "-o", "json"]));
    assert!(!json.contains("hidden"), "{json}");
    let told: Value = serde_json::from_str(&json).unwrap();
    let told = &told["listeners"][0];
    assert_eq!(
        (&told["route"], &told["filters"][0]),
        (&"default/beta/0".into(), &"request headers: set x-secret".into())
    );
    assert!(told["backends"][0]["trouble"].as_str().unwrap().contains("ResolvedRefs"), "{told}");

    let nowhere = why(&cluster, &["http://localhost:1/"]);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("no listener serves port 1 over http"));
    assert_eq!(why(&cluster, &["/no-host"]).status.code(), Some(1));
    assert_eq!(why(&cluster, &[&url, "-H", "no colon"]).status.code(), Some(2));
}

/// The answer to a GET at the gateway.
fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("the gateway accepts connections");
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn requests_are_counted_in_the_metrics_and_told_in_the_access_log() {
    let data = tempfile::tempdir().unwrap();
    let log = data.path().join("access.log");
    let path = log.to_str().unwrap().to_owned();
    let command = on_free_ports(&["demo", "--port", "0", "--access-log", &path], data.path());
    let running = Running::start_with(command, data.path());
    let gateway = running.endpoint("gateway");
    until("the demo's pods", || get(&gateway, "/?first").starts_with("HTTP/1.1 200").then_some(()));
    for _ in 0..20 {
        let answer = get(&gateway, "/?x");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    let console = running.endpoint("console");
    let mut stream = TcpStream::connect(&console).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nhost: {console}\r\nconnection: close\r\n\r\n").unwrap();
    let mut metrics = String::new();
    stream.read_to_string(&mut metrics).unwrap();
    let sum = |name: &str, labels: &str| -> u64 {
        let lines = metrics.lines().filter(|line| {
            line.starts_with(name) && line.contains(r#"route="default/hello/0""#) && line.contains(labels)
        });
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
    };
    assert!(sum("xebec_gateway_requests_total", r#"code="2xx""#) >= 20, "{metrics}");
    let all = sum("xebec_gateway_request_duration_seconds_count", "");
    assert_eq!(sum("xebec_gateway_request_duration_seconds_bucket", r#"le="+Inf""#), all);
    assert!(metrics.contains(r#"backend="default/hello-v1:80""#), "{metrics}");

    let line = until("the log", || {
        let lines = std::fs::read_to_string(&log).ok()?;
        let mut ours = lines.lines().filter(|line| line.contains(r#""target":"/?x""#));
        (ours.clone().count() == 20).then(|| ours.next_back().unwrap().to_owned())
    });
    let told: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&told["method"], &told["status"]), (&"GET".into(), &200.into()));
    assert_eq!((&told["route"], &told["client"]), (&"default/hello/0".into(), &"127.0.0.1".into()));
    assert_eq!(told["trace"].as_str().unwrap().len(), 32);
    assert!(told["time"].as_str().unwrap().ends_with('Z') && told["ms"].as_f64().unwrap() > 0.0, "{told}");
}
