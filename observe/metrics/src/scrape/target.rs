//! Targets: who is asked, and what is known of each.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use xebec_promql::duration::Duration as Span;

use crate::config::{Group, ScrapeConfig};
use crate::exposition::Kind;
use crate::labels::LabelSet;
use crate::relabel::relabel;

const ADDRESS: &str = "__address__";
const SCHEME: &str = "__scheme__";
const PATH: &str = "__metrics_path__";
const INTERVAL: &str = "__scrape_interval__";
const TIMEOUT: &str = "__scrape_timeout__";
const PARAM: &str = "__param_";
const META: &str = "__meta_";
/// What a target's families say is kept of so many: one that invents names takes no more room than this.
const MOST_FAMILIES: usize = 20_000;

/// Who is asked.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    /// Before relabelling.
    discovered: LabelSet,
    /// After it, those that say how to ask among them.
    all: LabelSet,
    /// Those that its series get.
    pub(crate) labels: LabelSet,
    pub(crate) interval: Duration,
    pub(crate) timeout: Duration,
    pub(crate) url: Url,
}

/// Where it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Url {
    pub(crate) is_tls: bool,
    /// As it was given.
    pub(crate) authority: String,
    /// Without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Path and query.
    pub(crate) path: String,
}

impl std::fmt::Display for Url {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(out, "{scheme}://{}{}", self.authority, self.path)
    }
}

/// Whether a target answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Health {
    /// It was not asked yet.
    #[default]
    Unknown,
    /// It answered.
    Up,
    /// It did not, or not well.
    Down,
}

impl Health {
    /// As the API names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

/// The last scrape.
#[derive(Debug, Clone, Default)]
pub struct Last {
    /// Whether it went well.
    pub health: Health,
    /// What was wrong; empty if nothing was.
    pub error: String,
    /// When it began, in milliseconds since 1970.
    pub time: i64,
    /// How long it took.
    pub took: Duration,
}

/// What a metric family says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct FamilyMetadata {
    /// Its type.
    pub kind: Kind,
    /// What it means.
    pub help: Box<str>,
    /// Its unit.
    pub unit: Box<str>,
}

/// What is known of a target.
#[derive(Debug)]
pub struct TargetStatus {
    /// The job.
    pub pool: String,
    /// The labels before relabelling.
    pub discovered: LabelSet,
    /// The labels that its series get.
    pub labels: LabelSet,
    /// Where it is asked.
    pub url: String,
    /// How often.
    pub interval: String,
    /// What a scrape may take.
    pub timeout: String,
    last: Mutex<Last>,
    families: Mutex<BTreeMap<Box<str>, FamilyMetadata>>,
}

impl TargetStatus {
    /// The last scrape.
    pub fn last(&self) -> Last {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_last(&self, last: Last) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = last;
    }

    /// Shows what its metric families say of themselves, by name.
    pub fn each_family(&self, mut show: impl FnMut(&str, &FamilyMetadata)) {
        let families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        families.iter().for_each(|(name, family)| show(name, family));
    }

    /// Changes what a family says of itself, where it says something else.
    pub(crate) fn learn(&self, name: &str, change: impl FnOnce(&mut FamilyMetadata)) {
        let mut families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = families.len() >= MOST_FAMILIES;
        match families.get_mut(name) {
            Some(family) => change(family),
            None if is_full => {}
            None => change(families.entry(name.into()).or_default()),
        }
    }
}

impl Target {
    /// What tells it from others.
    pub(crate) fn identity(&self) -> LabelSet {
        self.all.clone()
    }

    pub(crate) fn status(&self, pool: &str) -> TargetStatus {
        TargetStatus {
            pool: pool.to_owned(),
            discovered: self.discovered.clone(),
            labels: self.labels.clone(),
            url: self.url.to_string(),
            interval: Span::from_millis(self.interval.as_millis() as i64).to_string(),
            timeout: Span::from_millis(self.timeout.as_millis() as i64).to_string(),
            last: Mutex::default(),
            families: Mutex::default(),
        }
    }
}

/// The targets of a job.
#[derive(Debug, Default)]
pub(crate) struct Resolved {
    pub(crate) targets: Vec<Target>,
    pub(crate) dropped: Vec<LabelSet>,
    pub(crate) failures: Vec<String>,
}

/// The targets that groups come to in a job.
pub(crate) fn resolve(job: &ScrapeConfig, groups: &[Group]) -> Resolved {
    let mut resolved = Resolved::default();
    let mut known = std::collections::HashSet::new();
    for group in groups {
        for own in &group.targets {
            let discovered = discovered(job, own, &group.labels);
            match target(job, discovered.clone()) {
                Ok(Some(target)) => {
                    if known.insert(target.identity()) {
                        resolved.targets.push(target);
                    }
                }
                Ok(None) => resolved.dropped.push(discovered),
                Err(why) => {
                    let address = own.get(ADDRESS);
                    resolved.failures.push(format!("the target {address:?} is left out: {why}"));
                }
            }
        }
    }
    resolved
}

fn discovered(job: &ScrapeConfig, own: &LabelSet, common: &LabelSet) -> LabelSet {
    let mut labels: LabelSet = common.iter().chain(own.iter()).collect();
    let usual = [
        ("job", job.job_name.clone()),
        (INTERVAL, job.interval.to_string()),
        (TIMEOUT, job.timeout.to_string()),
        (PATH, job.metrics_path.clone()),
        (SCHEME, job.scheme.clone()),
    ];
    let params = job
        .params
        .iter()
        .filter_map(|(name, values)| Some((format!("{PARAM}{name}"), values.first()?.clone())));
    let usual = usual.into_iter().map(|(name, value)| (name.to_owned(), value));
    for (name, value) in usual.chain(params) {
        if labels.get(&name).is_empty() {
            labels.set(name, value);
        }
    }
    labels
}

fn target(job: &ScrapeConfig, discovered: LabelSet) -> Result<Option<Target>, String> {
    let mut all = discovered.clone();
    if !relabel(&job.relabel, &mut all) {
        return Ok(None);
    }
    let address = all.get(ADDRESS).to_owned();
    if address.is_empty() {
        return Err("no address".to_owned());
    }
    let span = |name: &str, what: &str| {
        let span = Span::parse(all.get(name)).map_err(|why| format!("error parsing scrape {what}: {why}"))?;
        if span.is_zero() {
            return Err(format!("scrape {what} cannot be 0"));
        }
        Ok(Duration::from_millis(span.millis().max(1).unsigned_abs()))
    };
    let (interval, timeout) = (span(INTERVAL, "interval")?, span(TIMEOUT, "timeout")?);
    if timeout > interval {
        let (timeout, interval) = (all.get(TIMEOUT), all.get(INTERVAL));
        return Err(format!(
            "scrape timeout cannot be greater than scrape interval ({timeout:?} > {interval:?})"
        ));
    }
    let url = url(job, &all, &address)?;
    all.retain(|name| !name.starts_with(META));
    if all.get("instance").is_empty() {
        all.set("instance", address);
    }
    let mut labels = all.clone();
    labels.retain(|name| !name.starts_with("__"));
    Ok(Some(Target { discovered, all, labels, interval, timeout, url }))
}

fn url(job: &ScrapeConfig, labels: &LabelSet, address: &str) -> Result<Url, String> {
    let is_tls = match labels.get(SCHEME) {
        "https" => true,
        "http" | "" => false,
        other => return Err(format!("unsupported scheme {other:?}")),
    };
    let odd = |letter: char| letter.is_whitespace() || letter.is_control() || "/?#@\\".contains(letter);
    if address.contains(odd) {
        return Err(format!("{address:?} is not a valid hostname"));
    }
    let usual = if is_tls { 443 } else { 80 };
    let (host, port) = match address.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') && (!host.contains(':') || host.starts_with('[')) => {
            let port =
                port.parse().map_err(|_| format!("{address:?} is not a valid hostname: its port is none"))?;
            (host, port)
        }
        _ => (address, usual),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return Err(format!("{address:?} is not a valid hostname"));
    }
    let mut path = labels.get(PATH).to_owned();
    if !path.starts_with('/') {
        path.insert(0, '/');
    }
    let mut pairs: Vec<(String, String)> = Vec::new();
    for (name, values) in &job.params {
        let first = labels.get(&format!("{PARAM}{name}")).to_owned();
        let others = values.iter().skip(1).cloned();
        pairs.extend(std::iter::once(first).chain(others).map(|value| (name.clone(), value)));
    }
    for (name, value) in labels.iter() {
        if let Some(name) = name.strip_prefix(PARAM)
            && !job.params.contains_key(name)
        {
            pairs.push((name.to_owned(), value.to_owned()));
        }
    }
    pairs.sort();
    for (at, (name, value)) in pairs.iter().enumerate() {
        path.push(if at == 0 && !path.contains('?') { '?' } else { '&' });
        path.push_str(&format!("{}={}", encoded(name), encoded(value)));
    }
    if path.contains(|letter: char| letter.is_control() || letter == ' ') {
        return Err(format!("{path:?} is no path of a URL"));
    }
    Ok(Url { is_tls, authority: address.to_owned(), host: host.to_owned(), port, path })
}

fn encoded(text: &str) -> impl std::fmt::Display {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relabel::{Rule, RuleConfig};

    fn group(address: &str, labels: &[(&str, &str)]) -> Group {
        let targets = vec![[(ADDRESS, address)].into_iter().collect()];
        Group { targets, labels: labels.iter().copied().collect() }
    }

    fn job() -> ScrapeConfig {
        ScrapeConfig { job_name: "j".into(), ..ScrapeConfig::default() }
    }

    #[test]
    fn labels_say_how_a_target_is_asked() {
        let mut job = job();
        job.params.insert("module".into(), vec!["a b".into(), "c".into()]);
        let labels =
            [(SCHEME, "https"), (PATH, "probe"), ("__param_target", "x"), ("__meta_x", "y"), ("env", "e")];
        let resolved = resolve(&job, &[group("h:1", &labels), group("h:1", &labels), group("[::1]:2", &[])]);
        let [one, two] = resolved.targets.as_slice() else { panic!("{resolved:?}") };
        assert_eq!(one.url.to_string(), "https://h:1/probe?module=a%20b&module=c&target=x");
        assert_eq!(one.labels.to_string(), r#"{env="e", instance="h:1", job="j"}"#);
        assert_eq!((two.url.host.as_str(), two.url.port), ("::1", 2));
        assert_eq!(one.status("p").interval, "1m");
    }

    #[test]
    fn what_cannot_be_asked_is_left_out_with_a_reason() {
        for (address, labels, word) in [
            ("", &[] as &[(&str, &str)], "no address"),
            ("h/x", &[], "hostname"),
            ("h:x", &[], "hostname"),
            ("h", &[(SCHEME, "ftp")], "scheme"),
            ("h", &[(INTERVAL, "x")], "interval"),
            ("h", &[(TIMEOUT, "2m")], "greater"),
        ] {
            let resolved = resolve(&job(), &[group(address, labels)]);
            assert!(resolved.failures.iter().any(|why| why.contains(word)), "{address}: {resolved:?}");
        }
        let rule = RuleConfig { action: Some("drop".into()), ..RuleConfig::default() };
        let job = ScrapeConfig { relabel: vec![Rule::new(&rule).unwrap()], ..job() };
        let resolved = resolve(&job, &[group("h", &[])]);
        assert_eq!((resolved.targets.len(), resolved.dropped.len()), (0, 1));
    }
}
