//! Metrics of a running instance: it scrapes itself and the pods that ask for it, and answers as Prometheus does.

use std::process::Command;

use serde_json::{Value, json};

use crate::cluster::{Cluster, until};
use crate::running::{Running, ended, installed, on_free_ports, xebec};

/// What `xebec query` prints as JSON.
fn query(running: &Running, data: &std::path::Path, expr: &str) -> Value {
    assert!(running.endpoint("prometheus").contains(':'));
    let mut command = xebec();
    command.args(["query", expr, "-o", "json", "--data"]).arg(data);
    let output = ended(command);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn value(answer: &Value) -> Option<&str> {
    answer["result"][0]["value"][1].as_str()
}

#[test]
fn an_instance_scrapes_itself_and_keeps_what_it_scraped() {
    let data = tempfile::tempdir().unwrap();
    let start = || {
        let command = on_free_ports(&["up", "--without", "api,gateway,node,registry"], data.path());
        Running::start_with(command, data.path())
    };
    let running = start();
    assert_eq!(running.endpoint("prometheus"), running.endpoint("console"));
    let up = r#"up{job="xebec"}"#;
    until("the first scrape", || (value(&query(&running, data.path(), up)) == Some("1")).then_some(()));
    let memory = query(&running, data.path(), r#"process_resident_memory_bytes{job="xebec"} > 1e6"#);
    assert!(value(&memory).is_some(), "{memory}");

    let mut command = xebec();
    command.args(["query", "up", "--data"]).arg(data.path());
    let table = String::from_utf8(ended(command).stdout).unwrap();
    assert!(table.starts_with("SERIES") && table.contains("job=\"xebec\"}"), "{table}");
    let mut command = xebec();
    command.args(["query", "sum(", "--data"]).arg(data.path());
    let refused = ended(command);
    assert_eq!(refused.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("parse error"), "{refused:?}");

    if installed("promtool") {
        let url = format!("http://{}", running.endpoint("prometheus"));
        let output = Command::new("promtool").args(["query", "instant", &url, "up"]).output().unwrap();
        assert!(String::from_utf8_lossy(&output.stdout).contains("=> 1 @["), "{output:?}");
    }

    running.end_with("KILL");
    let running = start();
    let before = r#"count(count_over_time(up{job="xebec"}[5m]))"#;
    assert!(value(&query(&running, data.path(), before)).is_some(), "what was scraped is there after a kill");
}

#[test]
fn pods_that_ask_for_it_are_scraped() {
    if !installed("kubectl") {
        return;
    }
    let cluster = Cluster::started(&["up", "--without", "node,gateway"]);
    let console = cluster.running().endpoint("console");
    let (_, port) = console.rsplit_once(':').unwrap();
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "asks", "annotations": { "prometheus.io/scrape": "true", "prometheus.io/port": port } },
        "spec": { "containers": [{ "name": "c", "image": "i" }] },
    });
    let file = cluster.data().join("pod.json");
    std::fs::write(&file, pod.to_string()).unwrap();
    cluster.kubectl(&format!("create -f {}", file.display()));
    cluster.kubectl(
        r#"patch pod asks --subresource=status -p {"status":{"phase":"Running","podIP":"127.0.0.1","podIPs":[{"ip":"127.0.0.1"}]}}"#,
    );
    let up = r#"up{job="pods",namespace="default",pod="asks"}"#;
    let ask = || query(cluster.running(), cluster.data(), up);
    until("the pod to be scraped", || (value(&ask()) == Some("1")).then_some(()));
    cluster.kubectl("delete pod asks --force --grace-period=0");
    until("its series to end", || value(&ask()).is_none().then_some(()));
}

#[test]
fn a_prometheus_yml_is_followed() {
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("prometheus.yml");
    std::fs::write(&file, "scrape_configs: [{ job_name: x, scrape_intervall: 1s }]").unwrap();
    let up = || {
        let mut command = xebec();
        command
            .args(["up", "--only", "console,metrics", "--console", "127.0.0.1:0", "--metrics-config"])
            .arg(&file);
        command.arg("--data").arg(data.path().join("data"));
        command
    };
    let refused = ended(up());
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && told.contains("scrape_intervall"), "{told}");

    // The instance asks itself under another name.
    std::fs::write(&file, "scrape_configs: []").unwrap();
    let running = Running::start_with(up(), &data.path().join("data"));
    let console = running.endpoint("console");
    let config = format!(
        "scrape_configs: [{{ job_name: mine, scrape_interval: 1s, static_configs: [{{ targets: ['{console}'] }}] }}]"
    );
    std::fs::write(&file, config).unwrap();
    let ask = || query(&running, &data.path().join("data"), r#"up{job="mine"}"#);
    until("the job that was added", || (value(&ask()) == Some("1")).then_some(()));
}
