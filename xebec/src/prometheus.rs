//! Metrics as a part of `up`: what this instance and its pods expose is scraped, and answered as Prometheus answers, below
//! the console's address.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api as Objects, Client, ResourceExt as _};
use tokio_util::sync::CancellationToken;
use xebec_metrics::api::{About, Api};
use xebec_metrics::config::{Group, ScrapeConfig};
use xebec_metrics::labels::LabelSet;
use xebec_metrics::relabel::RuleConfig;
use xebec_metrics::ruler::{Ruler, RulerOptions};
use xebec_metrics::scrape::Scraper;
use xebec_tsdb::{Db, Options};

/// How often this instance and its pods are scraped.
const INTERVAL: Duration = Duration::from_secs(15);
/// How long samples are kept, as upstream has it.
const KEPT_DAYS: i64 = 15;
/// Exemplars that are kept.
const EXEMPLARS: usize = 10_000;
/// The largest the log's segments become: a young instance takes little room.
const SEGMENT: u64 = 16 << 20;
/// Series that an instance may have.
const SERIES: usize = 2_000_000;
/// The job of this instance itself.
const OWN: &str = "xebec";
/// The job of pods that ask for it.
const PODS: &str = "pods";
/// The annotations by which a pod asks to be scraped, and says how.
const SCRAPE: &str = "prometheus.io/scrape";
const PORT: &str = "prometheus.io/port";
const PATH: &str = "prometheus.io/path";
const SCHEME: &str = "prometheus.io/scheme";

/// The part, ready to run.
pub(crate) struct Prometheus {
    scraper: Scraper,
    ruler: Ruler,
    /// What the console answers with.
    pub(crate) api: Api,
}

/// The rules by which pods' labels come to their series.
fn pod_rules() -> Vec<RuleConfig> {
    let copied = [("namespace", "namespace"), ("pod", "pod_name"), ("node", "pod_node_name")];
    let rule = |(label, meta): (&str, &str)| RuleConfig {
        source_labels: Some(vec![format!("__meta_kubernetes_{meta}")]),
        target_label: Some(label.to_owned()),
        ..RuleConfig::default()
    };
    copied.into_iter().map(rule).collect()
}

/// Opens the database below the data directory, and makes the jobs.
pub(crate) async fn prepare(data: &Path, config: Option<&Path>, console: SocketAddr) -> Result<Prometheus> {
    let directory = data.join("metrics");
    let options = Options {
        exemplars: EXEMPLARS,
        // As upstream: a crash of the machine may lose the last seconds, one of the program nothing.
        sync: false,
        segment_bytes: SEGMENT,
        most_series: SERIES,
        retention: Some(KEPT_DAYS * 24 * 3_600_000),
        ..Options::default()
    };
    let opening = tokio::task::spawn_blocking(move || Db::open(&directory, options));
    let (db, opened) = opening.await?.context("the metrics database cannot be opened")?;
    for unreadable in &opened.unreadable {
        tracing::warn!("a block of metrics cannot be read and is left as it is: {unreadable}");
    }
    let job = |name, rules: &[RuleConfig]| {
        ScrapeConfig::of_program(name, INTERVAL, rules).map_err(|why| anyhow::anyhow!("job {name}: {why}"))
    };
    let own = vec![job(OWN, &[])?, job(PODS, &pod_rules())?];
    let version = env!("CARGO_PKG_VERSION");
    let agent = format!("xebec/{version}");
    let scraper = Scraper::new(db.clone(), config.map(Path::to_owned), own, &agent)
        .context("--metrics-config cannot be used")?;
    // One that listens on all addresses listens on this machine's own too.
    let asked = match console.ip() {
        ip if !ip.is_unspecified() => console,
        std::net::IpAddr::V4(_) => SocketAddr::from(([127, 0, 0, 1], console.port())),
        std::net::IpAddr::V6(_) => SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, console.port())),
    };
    let target = [("__address__", asked.to_string())].into_iter().collect();
    scraper.offer(OWN, vec![Group { targets: vec![target], labels: LabelSet::new() }]);
    let about = About {
        program: "xebec".to_owned(),
        version: version.to_owned(),
        flags: vec![
            ("storage.tsdb.path".to_owned(), data.join("metrics").display().to_string()),
            ("storage.tsdb.retention.time".to_owned(), format!("{KEPT_DAYS}d")),
            ("web.listen-address".to_owned(), console.to_string()),
        ],
        retention: format!("{KEPT_DAYS}d"),
    };
    let options = RulerOptions {
        external_url: format!("http://{asked}"),
        user_agent: agent,
        ..RulerOptions::default()
    };
    let ruler = Ruler::new(db.clone(), scraper.clone(), options).map_err(|errors| {
        anyhow::anyhow!("the rules of --metrics-config cannot be used: {}", errors.join("\n"))
    })?;
    let api = Api::new(db, scraper.clone(), ruler.clone(), about);
    Ok(Prometheus { scraper, ruler, api })
}

impl Prometheus {
    /// Scrapes and evaluates rules until it is to stop.
    pub(crate) async fn run(self, client: Option<Client>, stop: CancellationToken) {
        let scraper = &self.scraper;
        let working = async {
            tokio::join!(scraper.run(stop.clone()), self.ruler.run(stop));
        };
        let following = async {
            if let Some(client) = client {
                follow_pods(&client, scraper).await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = working => {}
            () = following => {}
        }
    }
}

/// Tells the scraper of the pods that ask for it.
async fn follow_pods(client: &Client, scraper: &Scraper) {
    let pods: Objects<Pod> = Objects::all(client.clone());
    let mut events = std::pin::pin!(watcher(pods, watcher::Config::default()).default_backoff());
    let mut known: BTreeMap<String, LabelSet> = BTreeMap::new();
    let mut fresh: BTreeMap<String, LabelSet> = BTreeMap::new();
    while let Some(event) = events.next().await {
        let key = |pod: &Pod| format!("{}/{}", pod.namespace().unwrap_or_default(), pod.name_any());
        match event {
            Ok(Event::Init) => fresh.clear(),
            Ok(Event::InitApply(pod)) => {
                fresh.extend(target(&pod).map(|target| (key(&pod), target)));
                continue;
            }
            Ok(Event::InitDone) => known = std::mem::take(&mut fresh),
            Ok(Event::Apply(pod)) => {
                let is_new = match target(&pod) {
                    Some(target) => known.insert(key(&pod), target.clone()) != Some(target),
                    None => known.remove(&key(&pod)).is_some(),
                };
                if !is_new {
                    continue;
                }
            }
            Ok(Event::Delete(pod)) => {
                if known.remove(&key(&pod)).is_none() {
                    continue;
                }
            }
            // It begins anew by itself.
            Err(_) => continue,
        }
        let targets = known.values().cloned().collect();
        scraper.offer(PODS, vec![Group { targets, labels: LabelSet::new() }]);
    }
}

/// A pod that asks to be scraped, as a target.
fn target(pod: &Pod) -> Option<LabelSet> {
    let annotations = pod.annotations();
    if annotations.get(SCRAPE).is_none_or(|wish| wish != "true") {
        return None;
    }
    let status = pod.status.as_ref()?;
    let phase = status.phase.as_deref().unwrap_or_default();
    if !matches!(phase, "Pending" | "Running") {
        return None;
    }
    let ip = status.pod_ip.as_deref().filter(|ip| !ip.is_empty())?;
    let spec = pod.spec.as_ref()?;
    let ports = || {
        let tcp = |protocol: &Option<String>| protocol.as_deref().is_none_or(|protocol| protocol == "TCP");
        let each = spec.containers.iter().flat_map(|container| container.ports.iter().flatten());
        each.filter(move |port| tcp(&port.protocol))
    };
    let port = match annotations.get(PORT) {
        Some(port) => port.clone(),
        None => ports().next().map_or_else(|| "80".to_owned(), |port| port.container_port.to_string()),
    };
    let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
    let mut labels: LabelSet = [
        ("__address__", format!("{host}:{port}")),
        ("__meta_kubernetes_namespace", pod.namespace().unwrap_or_default()),
        ("__meta_kubernetes_pod_name", pod.name_any()),
        ("__meta_kubernetes_pod_ip", ip.to_owned()),
        ("__meta_kubernetes_pod_phase", phase.to_owned()),
        ("__meta_kubernetes_pod_uid", pod.uid().unwrap_or_default()),
        ("__meta_kubernetes_pod_node_name", spec.node_name.clone().unwrap_or_default()),
    ]
    .into_iter()
    .collect();
    for (label, annotation) in [("__metrics_path__", PATH), ("__scheme__", SCHEME)] {
        if let Some(value) = annotations.get(annotation) {
            labels.set(label, value);
        }
    }
    for (kind, all) in [("annotation", annotations), ("label", pod.labels())] {
        for (name, value) in all {
            let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '_' };
            let name: String = name.chars().map(plain).collect();
            labels.set(format!("__meta_kubernetes_pod_{kind}_{name}"), value);
        }
    }
    Some(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(annotations: &[(&str, &str)], phase: &str) -> Pod {
        let annotations: BTreeMap<&str, &str> = annotations.iter().copied().collect();
        serde_json::from_value(serde_json::json!({
            "metadata": { "name": "p", "namespace": "n", "annotations": annotations, "labels": { "app.io/x": "y" } },
            "spec": { "nodeName": "m", "containers": [{ "name": "c", "ports": [{ "containerPort": 81 }] }] },
            "status": { "phase": phase, "podIP": "10.0.0.1" },
        }))
        .unwrap()
    }

    #[test]
    fn a_pod_says_by_annotations_how_it_is_scraped() {
        let found = target(&pod(&[(SCRAPE, "true")], "Running")).unwrap();
        assert_eq!(found.get("__address__"), "10.0.0.1:81");
        assert_eq!(found.get("__meta_kubernetes_pod_label_app_io_x"), "y");
        let said = [(SCRAPE, "true"), (PORT, "9"), (PATH, "/m"), (SCHEME, "https")];
        let found = target(&pod(&said, "Running")).unwrap();
        assert_eq!(found.get("__address__"), "10.0.0.1:9");
        assert_eq!((found.get("__metrics_path__"), found.get("__scheme__")), ("/m", "https"));
        assert!(target(&pod(&[], "Running")).is_none());
        assert!(target(&pod(&[(SCRAPE, "true")], "Succeeded")).is_none());
    }

    #[test]
    fn the_rules_of_pods_are_good() {
        ScrapeConfig::of_program(PODS, INTERVAL, &pod_rules()).unwrap();
    }
}
