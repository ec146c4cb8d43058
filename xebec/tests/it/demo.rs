//! The demo as a newcomer drives it: kubectl on one side, curl through the gateway on the other.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cluster::{Cluster, name, until};
use crate::running::{ended, on_free_ports};

mod end;
mod pods;
mod routes;

pub(crate) use pods::runs_containers;

/// How soon what a user edits shows, on a machine that has a processor to spare.
const AT_ONCE: Duration = Duration::from_secs(1);

/// curl on the demo's gateway.
struct Curl {
    url: String,
}

impl Curl {
    fn of(cluster: &Cluster) -> Self {
        Self { url: format!("http://{}/", cluster.running().endpoint("gateway")) }
    }

    /// What curl prints with these arguments before the URL, or its complaint, as on any status above 399.
    fn run(&self, args: &[&str]) -> Result<String, String> {
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--fail", "--max-time", "30"])
            .args(args)
            .arg(&self.url)
            .output()
            .expect("curl runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    fn answer(&self) -> String {
        self.run(&[]).expect("the gateway answers")
    }

    /// How often each answer came in so many requests.
    fn answers(&self, requests: usize) -> BTreeMap<String, usize> {
        let many = Self { url: format!("{}?[1-{requests}]", self.url) };
        let mut counts = BTreeMap::new();
        for line in many.run(&[]).expect("every request is answered").lines() {
            *counts.entry(line.to_owned()).or_default() += 1;
        }
        counts
    }
}

fn weigh(cluster: &Cluster, v1: u32, v2: u32) {
    let rules = json!([{"backendRefs": [
        {"name": "hello-v1", "port": 80, "weight": v1},
        {"name": "hello-v2", "port": 80, "weight": v2},
    ]}]);
    patch_route(cluster, &json!({"spec": {"rules": rules}}));
}

fn patch_route(cluster: &Cluster, patch: &Value) {
    cluster.kubectl(&format!("patch httproute hello --type=merge -p={patch}"));
}

/// Edits, and gives the time from the end of the edit to the first answer that shows it.
fn shown_after(edit: impl FnOnce(), mut shown: impl FnMut() -> bool) -> Duration {
    edit();
    let begun = Instant::now();
    until("an answer that shows the edit", || shown().then(|| begun.elapsed()))
}

/// The pods of one version that are ready and stay.
fn ready(cluster: &Cluster, version: &str, count: usize) -> Vec<Value> {
    let mut pods = until(&format!("{count} ready pods of {version}"), || {
        let pods: Vec<_> = cluster
            .ready_pods_or_none("hello")?
            .into_iter()
            .filter(|pod| pod["metadata"]["labels"]["version"] == version)
            .collect();
        (pods.len() == count).then_some(pods)
    });
    pods.sort_by(|left, right| name(left).cmp(name(right)));
    pods
}

#[test]
fn the_printed_address_answers_with_both_versions_and_every_status_says_so() {
    let Some(cluster) = Cluster::demo() else { return };
    let answers = Curl::of(&cluster).answers(100);
    assert_eq!(answers.keys().collect::<Vec<_>>(), ["hello from v1", "hello from v2"]);
    let shown = cluster.kubectl("get pods,svc,gateways,httproutes -A");
    for part in ["pod/hello-v1-", "pod/hello-v2-", "service/hello-v1", "gateway.networking.k8s.io/demo"] {
        assert!(shown.contains(part), "{part} is missing in {shown}");
    }
    let holds = |what: &str, conditions: &Value, kind: &str| {
        let conditions = conditions.as_array().expect("conditions");
        assert!(
            conditions.iter().any(|own| own["type"] == kind && own["status"] == "True"),
            "{what}: {shown}"
        );
    };
    let gateway = cluster.get("gateway demo");
    holds("gateway", &gateway["status"]["conditions"], "Programmed");
    assert_eq!(gateway["status"]["listeners"][0]["attachedRoutes"], 1);
    let port = gateway["spec"]["listeners"][0]["port"].to_string();
    assert!(cluster.running().endpoint("gateway").ends_with(&format!(":{port}")));
    let route = cluster.get("httproute hello");
    for kind in ["Accepted", "ResolvedRefs"] {
        holds("route", &route["status"]["parents"][0]["conditions"], kind);
    }
}

#[test]
fn a_gateway_port_in_use_is_named_with_the_remedy() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let data = tempfile::tempdir().unwrap();
    let output = ended(on_free_ports(&["demo", "--port", &address.port().to_string()], data.path()));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1));
    let last = message.lines().last().unwrap();
    assert!(last.starts_with("error: ") && last.contains(&address.to_string()), "{message}");
    assert!(last.contains("--port PORT"), "{message}");
    assert!(output.stdout.is_empty());
}
