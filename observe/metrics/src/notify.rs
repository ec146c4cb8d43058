//! Alerts on their way to Alertmanagers: relabelled, queued for each of them, and sent in batches to `/api/v2/alerts`.
//!
//! A queue that is full loses its oldest alerts, and a batch that cannot be sent is lost: rules tell of an alert that goes
//! on again after a while. How many were lost is told.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use xebec_rules::alert::{Alert, Notifier};
use xebec_rules::template::table_link;

use crate::config::AlertmanagerConfig;
use crate::labels::LabelSet;
use crate::relabel::{Rule, relabel};
use crate::scrape::client::Client;
use crate::scrape::target::{Target, resolve};
use crate::scrape::{Scraper, read_files};

/// Alerts that wait for one Alertmanager, as upstream has it.
const CAPACITY: usize = 10_000;
/// Alerts in one request, as upstream has it.
const BATCH: usize = 256;
/// How often configuration and files are looked at.
const LOOK: Duration = Duration::from_secs(5);
/// Below the prefix.
const PATH: &str = "api/v2/alerts";

/// Sends alerts to the Alertmanagers of the configuration. Clones are the same.
#[derive(Clone)]
pub struct Notifications(Arc<Inner>);

struct Inner {
    scraper: Scraper,
    external_url: String,
    user_agent: String,
    managers: Mutex<HashMap<String, Manager>>,
    changed: Notify,
}

/// An Alertmanager that is sent to.
struct Manager {
    url: String,
    /// As it is configured, by which a change is seen.
    written: String,
    relabel: Vec<Rule>,
    queue: Arc<Queue>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<VecDeque<Sent>>,
    filled: Notify,
    sent: AtomicU64,
    failed: AtomicU64,
    dropped: AtomicU64,
}

/// An alert as Alertmanagers read it.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Sent {
    #[serde(serialize_with = "as_map")]
    labels: LabelSet,
    annotations: BTreeMap<String, String>,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: String,
}

fn as_map<S: serde::Serializer>(labels: &LabelSet, to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(labels.iter())
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Notifications {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Notifications").field("external_url", &self.0.external_url).finish_non_exhaustive()
    }
}

impl Queue {
    fn add(&self, alerts: Vec<Sent>) {
        let mut waiting = locked(&self.waiting);
        waiting.extend(alerts);
        let over = waiting.len().saturating_sub(CAPACITY);
        waiting.drain(..over);
        drop(waiting);
        self.dropped.fetch_add(over as u64, Ordering::Relaxed);
        self.filled.notify_one();
    }

    fn batch(&self) -> Vec<Sent> {
        let mut waiting = locked(&self.waiting);
        let count = waiting.len().min(BATCH);
        waiting.drain(..count).collect()
    }
}

impl Notifier for Notifications {
    fn notify(&self, expr: &str, alerts: Vec<Alert>) {
        let managers = locked(&self.0.managers);
        if managers.is_empty() {
            return;
        }
        let (rules, alerting) = (self.0.scraper.rules(), self.0.scraper.alerting());
        let generator_url = format!("{}{}", self.0.external_url, table_link(expr));
        let each = alerts.into_iter().filter_map(|alert| {
            let own = alert.labels.iter().map(|label| (&*label.name, &*label.value));
            let mut labels: LabelSet = own.collect();
            for (name, value) in &rules.external_labels {
                if labels.get(name).is_empty() {
                    labels.set(name, value);
                }
            }
            let ends_at = alert.resolved_at.or(alert.valid_until).unwrap_or(0);
            relabel(&alerting.relabel, &mut labels).then(|| Sent {
                labels,
                annotations: alert.annotations,
                starts_at: crate::rfc3339(alert.fired_at.unwrap_or(0)),
                ends_at: crate::rfc3339(ends_at),
                generator_url: generator_url.clone(),
            })
        });
        let alerts: Vec<Sent> = each.collect();
        for manager in managers.values() {
            let own = alerts
                .iter()
                .cloned()
                .filter_map(|mut alert| relabel(&manager.relabel, &mut alert.labels).then_some(alert));
            manager.queue.add(own.collect());
        }
    }
}

/// The Alertmanagers of a configuration.
fn found(config: &AlertmanagerConfig) -> Vec<Target> {
    let mut job = config.targets.clone();
    let prefix = config.path_prefix.trim_matches('/');
    job.metrics_path = if prefix.is_empty() { format!("/{PATH}") } else { format!("/{prefix}/{PATH}") };
    let mut groups = job.groups.clone();
    for failure in read_files(&job.files, &mut groups) {
        tracing::warn!("an Alertmanager's file of targets cannot be read: {failure}");
    }
    resolve(&job, &groups).targets
}

impl Notifications {
    /// Nothing is sent until [`run`](Self::run) is.
    pub fn new(scraper: Scraper, external_url: &str, user_agent: &str) -> Self {
        Self(Arc::new(Inner {
            scraper,
            external_url: external_url.to_owned(),
            user_agent: user_agent.to_owned(),
            managers: Mutex::default(),
            changed: Notify::new(),
        }))
    }

    /// Looks at the configuration anew.
    pub fn reload(&self) {
        self.0.changed.notify_one();
    }

    /// The URLs of the Alertmanagers.
    pub fn urls(&self) -> Vec<String> {
        let mut urls: Vec<String> =
            locked(&self.0.managers).values().map(|manager| manager.url.clone()).collect();
        urls.sort();
        urls
    }

    /// Sends until it is to stop. What waits then is sent first, as far as Alertmanagers take it at once.
    pub async fn run(&self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.0.changed.notified() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
            self.sync().await;
        }
        let managers: Vec<Manager> = locked(&self.0.managers).drain().map(|(_, manager)| manager).collect();
        managers.iter().for_each(|manager| manager.stop.cancel());
        for manager in managers {
            let _ended = tokio::time::timeout(LOOK, manager.task).await;
        }
    }

    /// Finds the Alertmanagers of the configuration.
    pub(crate) async fn sync(&self) {
        let alerting = self.0.scraper.alerting();
        let resolved = tokio::task::spawn_blocking(move || {
            let each = alerting.managers.into_iter().map(|config| (found(&config), config));
            each.collect::<Vec<_>>()
        });
        let Ok(resolved) = resolved.await else { return };
        let mut managers = locked(&self.0.managers);
        let mut before = std::mem::take(&mut *managers);
        for (at, (targets, config)) in resolved.into_iter().enumerate() {
            for target in targets {
                let key = format!("{at} {}", target.url);
                let written = format!("{config:?}");
                let known = before.remove(&key).filter(|known| known.written == written);
                let manager = known.unwrap_or_else(|| self.start(&target, &config, written));
                managers.insert(key, manager);
            }
        }
        before.into_values().for_each(|manager| manager.stop.cancel());
    }

    fn start(&self, target: &Target, config: &AlertmanagerConfig, written: String) -> Manager {
        let (queue, stop) = (Arc::<Queue>::default(), CancellationToken::new());
        let client = Client::new(target, &config.targets, &self.0.user_agent);
        let url = target.url.to_string();
        let timeout = Duration::from_millis(config.timeout.millis().unsigned_abs());
        let task = tokio::spawn(send(client, url.clone(), timeout, Arc::clone(&queue), stop.clone()));
        Manager { url, written, relabel: config.relabel.clone(), queue, stop, task }
    }

    /// What is told of it in the text format. Nothing if there are no Alertmanagers.
    pub fn figures(&self) -> String {
        let managers = locked(&self.0.managers);
        let mut text = String::new();
        if managers.is_empty() {
            return text;
        }
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "# HELP prometheus_notifications_alertmanagers_discovered The number of alertmanagers discovered and active.\n\
             # TYPE prometheus_notifications_alertmanagers_discovered gauge\n\
             prometheus_notifications_alertmanagers_discovered {}\n",
            managers.len()
        );
        type Figure = (&'static str, &'static str, &'static str, fn(&Queue) -> u64);
        let figures: [Figure; 4] = [
            ("sent_total", "counter", "Total number of alerts sent.", |queue| {
                queue.sent.load(Ordering::Relaxed)
            }),
            ("errors_total", "counter", "Total number of sent alerts affected by errors.", |queue| {
                queue.failed.load(Ordering::Relaxed)
            }),
            ("dropped_total", "counter", "Total number of alerts dropped due to errors.", |queue| {
                queue.dropped.load(Ordering::Relaxed)
            }),
            ("queue_length", "gauge", "The number of alert notifications in the queue.", |queue| {
                locked(&queue.waiting).len() as u64
            }),
        ];
        let mut sorted: Vec<&Manager> = managers.values().collect();
        sorted.sort_by(|one, two| one.url.cmp(&two.url));
        sorted.dedup_by(|one, two| one.url == two.url);
        for (name, kind, help, value) in figures {
            let name = format!("prometheus_notifications_{name}");
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
            for manager in &sorted {
                let url = manager.url.replace('\\', "\\\\").replace('"', "\\\"");
                let _ = writeln!(text, "{name}{{alertmanager=\"{url}\"}} {}", value(&manager.queue));
            }
        }
        text
    }
}

/// Sends what waits, batch after batch.
async fn send(client: Client, url: String, timeout: Duration, queue: Arc<Queue>, stop: CancellationToken) {
    loop {
        let batch = queue.batch();
        if batch.is_empty() {
            tokio::select! {
                () = stop.cancelled() => return,
                () = queue.filled.notified() => continue,
            }
        }
        let count = batch.len() as u64;
        // Nothing that is told has keys that are no strings.
        let body = serde_json::to_vec(&batch).unwrap_or_default();
        let posted = tokio::time::timeout(timeout, client.post(body.into())).await;
        let posted = posted.unwrap_or_else(|_| Err(format!("it took over {} s", timeout.as_secs_f64())));
        match posted {
            Ok(()) => queue.sent.fetch_add(count, Ordering::Relaxed),
            Err(why) => {
                tracing::warn!(alertmanager = url, count, "alerts could not be sent: {why}");
                queue.failed.fetch_add(count, Ordering::Relaxed);
                queue.dropped.fetch_add(count, Ordering::Relaxed)
            }
        };
    }
}
