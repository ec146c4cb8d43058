//! The scrape loop against targets on this machine.

use std::time::{Duration, Instant};

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::server::{Bench, Target};

/// Asks until an answer is as it should be.
async fn until(what: &str, bench: &Bench, path: &str, good: impl Fn(&Value) -> bool) -> Value {
    let begun = Instant::now();
    loop {
        let (_, answer) = bench.get(path).await;
        if good(&answer["data"]) {
            return answer["data"].clone();
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "waited in vain for {what}: {answer}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn run(bench: &Bench) -> CancellationToken {
    let (scraper, stop) = (bench.scraper.clone(), CancellationToken::new());
    let own = stop.clone();
    tokio::spawn(async move { scraper.run(own).await });
    stop
}

fn count(data: &Value) -> usize {
    data["result"].as_array().map_or(0, Vec::len)
}

fn first(data: &Value) -> &str {
    data["result"][0]["value"][1].as_str().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_are_scraped_followed_and_ended() {
    let target = Target::start("# TYPE a counter\n# HELP a What a is.\na{x=\"1\"} 1\nb 2\n").await;
    let address = target.address;
    let config = |labels: &str| {
        format!(
            "global: {{ scrape_interval: 300ms, scrape_timeout: 200ms }}\nscrape_configs:\n  - job_name: j\n    \
             basic_auth: {{ username: u, password: p }}\n    params: {{ m: [n] }}\n    static_configs:\n      \
             - targets: ['{address}']\n        labels: {labels}\n"
        )
    };
    let bench = Bench::start(&config("{ env: one }")).await;
    let stop = run(&bench);
    let data = until("the first scrape", &bench, "query?query=a", |data| count(data) == 1).await;
    let expected =
        json!({"__name__": "a", "env": "one", "instance": address.to_string(), "job": "j", "x": "1"});
    assert_eq!(data["result"][0]["metric"], expected);
    let (path, headers) = target.heard.lock().unwrap()[0].clone();
    assert_eq!(path, "/metrics?m=n");
    assert_eq!(headers["authorization"], "Basic dTpw");
    assert!(headers["accept"].to_str().unwrap().starts_with("application/openmetrics-text"));
    assert_eq!(headers["x-prometheus-scrape-timeout-seconds"], "0.2");

    let (_, targets) = bench.get("targets").await;
    let active = &targets["data"]["activeTargets"][0];
    assert_eq!((&active["health"], &active["scrapeInterval"]), (&json!("up"), &json!("300ms")));
    assert_eq!(active["scrapeUrl"], format!("http://{address}/metrics?m=n"));
    let (_, metadata) = bench.get("metadata?metric=a").await;
    assert_eq!(metadata["data"], json!({"a": [{"type": "counter", "help": "What a is.", "unit": ""}]}));
    let (_, metadata) = bench.get("targets/metadata?match_target={job=%22j%22}&limit=1").await;
    assert_eq!(metadata["data"][0]["metric"], "a");

    target.say("a{x=\"1\"} 5\n");
    until("b to end", &bench, "query?query=b", |data| count(data) == 0).await;
    until("a to go on", &bench, "query?query=a", |data| first(data) == "5").await;

    target.says.lock().unwrap().0 = 500;
    until("a failure", &bench, "query?query=up", |data| first(data) == "0").await;
    until("a to end", &bench, "query?query=a", |data| count(data) == 0).await;
    let (_, targets) = bench.get("targets").await;
    let error = targets["data"]["activeTargets"][0]["lastError"].as_str().unwrap().to_owned();
    assert!(error.contains("server returned HTTP status 500"), "{error}");

    // Packed answers, too.
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    std::io::Write::write_all(&mut packed, b"a{x=\"1\"} 6\n").unwrap();
    *target.says.lock().unwrap() = (200, "text/plain", packed.finish().unwrap());
    until("a packed answer", &bench, "query?query=a", |data| first(data) == "6").await;

    // A configuration that is wrong is refused by the name of its field, and the last good one stays.
    let file = bench.directory.path().join("prometheus.yml");
    std::fs::write(&file, "scrape_configs: [{ job_name: j, scrape_intervall: 1s }]").unwrap();
    let reload = "POST /-/reload HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let (status, _, body) = bench.raw(reload).await;
    let body = String::from_utf8(body).unwrap();
    assert!(status == 500 && body.contains("scrape_intervall"), "{body}");
    let (_, info) = bench.get("status/runtimeinfo").await;
    assert_eq!(info["data"]["reloadConfigSuccess"], false);
    until("a to stay", &bench, "query?query=a", |data| count(data) == 1).await;
    std::fs::write(&file, config("{ env: two }")).unwrap();
    assert_eq!(bench.raw(reload).await.0, 200);
    let two = "query?query=a{env=%22two%22}";
    until("the new label", &bench, two, |data| count(data) == 1).await;
    until("the old one to end", &bench, "query?query=a{env=%22one%22}", |data| count(data) == 0).await;
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_come_from_files_and_rules_choose_among_them() {
    let target = Target::start("a 1\n").await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("targets.json");
    let write = |names: &[&str]| {
        let groups: Vec<Value> = names
            .iter()
            .map(|name| json!({"targets": [target.address.to_string()], "labels": {"name": name}}))
            .collect();
        std::fs::write(&file, serde_json::to_string(&groups).unwrap()).unwrap();
    };
    write(&["one", "two", "not"]);
    let config = format!(
        "scrape_configs:\n  - job_name: j\n    scrape_interval: 200ms\n    file_sd_configs: [{{ files: ['{}/*.json'] }}]\n    \
         relabel_configs: [{{ source_labels: [name], regex: not, action: drop }}]\n",
        directory.path().display()
    );
    let bench = Bench::start(&config).await;
    let stop = run(&bench);
    until("both targets", &bench, "query?query=a", |data| count(data) == 2).await;
    let (_, targets) = bench.get("targets").await;
    assert_eq!(targets["data"]["droppedTargets"].as_array().map(Vec::len), Some(1), "{targets}");
    assert_eq!(targets["data"]["droppedTargetCounts"], json!({"j": 1}));
    write(&["two", "three"]);
    until("the change", &bench, "query?query=a{name=%22three%22}", |data| count(data) == 1).await;
    until("the old to end", &bench, "query?query=a{name=%22one%22}", |data| count(data) == 0).await;
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_answer_in_time_or_says_too_much_is_down() {
    let target = Target::start(&"a 1\n".repeat(1000)).await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = format!(
        "global: {{ scrape_interval: 300ms, scrape_timeout: 200ms }}\nscrape_configs:\n  - job_name: much\n    \
         body_size_limit: 1KB\n    static_configs: [{{ targets: ['{}'] }}]\n  - job_name: silent\n    static_configs: \
         [{{ targets: ['{}'] }}]\n  - job_name: closed\n    static_configs: [{{ targets: ['127.0.0.1:1'] }}]\n",
        target.address,
        silent.local_addr().unwrap(),
    );
    let bench = Bench::start(&config).await;
    let stop = run(&bench);
    until("three failures", &bench, "query?query=up==0", |data| count(data) == 3).await;
    let (_, targets) = bench.get("targets?state=active").await;
    let error = |job: &str| {
        let all = targets["data"]["activeTargets"].as_array().unwrap();
        let one = all.iter().find(|one| one["scrapePool"] == job).unwrap();
        one["lastError"].as_str().unwrap().to_owned()
    };
    assert!(error("much").contains("body size limit exceeded"), "{}", error("much"));
    assert!(error("silent").contains("context deadline exceeded"), "{}", error("silent"));
    assert!(error("closed").contains("refused"), "{}", error("closed"));
    stop.cancel();
}
