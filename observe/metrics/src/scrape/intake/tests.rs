use std::collections::BTreeMap;

use xebec_tsdb::{Interval, Options, Sample as Stored};

use super::*;
use crate::config::Group;
use crate::relabel::{Rule, RuleConfig};
use crate::scrape::target::resolve;

struct Bench {
    _directory: tempfile::TempDir,
    db: Db,
    job: ScrapeConfig,
    target: Target,
    status: TargetStatus,
    cache: Cache,
}

impl Bench {
    fn new(job: ScrapeConfig) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let options = Options { sync: false, exemplars: 100, ..Options::default() };
        let (db, _) = Db::open(directory.path(), options).unwrap();
        let group = Group {
            targets: vec![[("__address__", "h:1")].into_iter().collect()],
            labels: [("env", "prod")].into_iter().collect(),
        };
        let target = resolve(&job, &[group]).targets.remove(0);
        let status = target.status("j");
        Self { _directory: directory, db, job, target, status, cache: Cache::default() }
    }

    fn plain() -> Self {
        Self::new(ScrapeConfig { job_name: "j".into(), ..ScrapeConfig::default() })
    }

    fn scrape(&mut self, time: i64, text: &str, kind: &str) -> Result<(), String> {
        let intake = Intake::of(&self.db, &self.target, &self.job, &self.status);
        let body = Body { bytes: text.as_bytes().to_vec(), content_type: Some(kind.to_owned()) };
        let mut report = Report::default();
        let taken = intake.take(&mut self.cache, body, time, &mut report);
        let took = Duration::from_millis(5);
        intake.conclude(&mut self.cache, time, took, &report, taken.is_ok()).unwrap();
        taken
    }

    fn text(&mut self, time: i64, text: &str) -> Result<(), String> {
        self.scrape(time, text, "text/plain; version=0.0.4")
    }

    /// Series as text, with times and values; `S` is the stale marker.
    fn stored(&self) -> BTreeMap<String, String> {
        let shown = |sample: Stored| match sample.value {
            Value::Float(value) if value.to_bits() == STALE => format!("{}=S", sample.time),
            Value::Float(value) => format!("{}={value}", sample.time),
            _ => format!("{}=H", sample.time),
        };
        let each = self.db.querier().select(&[], Interval::ALL).unwrap().map(|series| {
            let series = series.unwrap();
            let samples: Vec<String> =
                series.samples(Interval::ALL).map(|sample| shown(sample.unwrap())).collect();
            (series.labels.to_string(), samples.join(" "))
        });
        each.collect()
    }

    fn of(&self, name: &str) -> String {
        let stored = self.stored();
        let found: Vec<&str> = stored
            .iter()
            .filter(|(labels, _)| labels.contains(&format!("__name__=\"{name}\"")))
            .map(|(_, samples)| samples.as_str())
            .collect();
        found.join(" | ")
    }
}

#[test]
fn samples_get_the_targets_labels_and_what_is_gone_ends() {
    let mut bench = Bench::plain();
    bench.text(1000, "a{x=\"1\"} 1\nb{job=\"own\",exported_job=\"y\"} 2\nc 3 900\n").unwrap();
    bench.text(2000, "a{x=\"1\"} 4\n").unwrap();
    bench.text(3000, "a{x=\"1\"} 5\n").unwrap();
    let stored = bench.stored();
    let of = |labels: &str| stored.get(labels).map(String::as_str);
    let ours = r#"env="prod", instance="h:1", job="j""#;
    assert_eq!(of(&format!(r#"{{__name__="a", {ours}, x="1"}}"#)), Some("1000=1 2000=4 3000=5"));
    let renamed = r#"{__name__="b", env="prod", exported_exported_job="own", exported_job="y", instance="h:1", job="j"}"#;
    assert_eq!(of(renamed), Some("1000=2 2000=S"));
    // One with a time of its own does not end.
    assert_eq!(of(&format!(r#"{{__name__="c", {ours}}}"#)), Some("900=3"));
    assert_eq!(bench.of("up"), "1000=1 2000=1 3000=1");
    assert_eq!(bench.of("scrape_samples_scraped"), "1000=3 2000=1 3000=1");
    assert_eq!(bench.of("scrape_samples_post_metric_relabeling"), "1000=3 2000=1 3000=1");
    assert_eq!(bench.of("scrape_series_added"), "1000=3 2000=0 3000=0");
    assert_eq!(bench.of("scrape_duration_seconds"), "1000=0.005 2000=0.005 3000=0.005");
}

#[test]
fn a_scrape_with_a_mistake_counts_for_nothing() {
    let mut bench = Bench::plain();
    bench.text(1000, "a 1\nb 2\n").unwrap();
    assert!(bench.text(2000, "a 5\nb 6\n!\n").unwrap_err().contains("expected a valid start token"));
    assert_eq!((bench.of("a"), bench.of("b")), ("1000=1 2000=S".into(), "1000=2 2000=S".into()));
    assert_eq!(bench.of("up"), "1000=1 2000=0");
    bench.text(3000, "a 7\n").unwrap();
    assert_eq!(bench.of("a"), "1000=1 2000=S 3000=7");
    assert!(bench.scrape(4000, "a 1", "image/png").unwrap_err().contains("image/png"));
    assert!(bench.text(5000, "{a=\"b\"} 1\n").unwrap_err().contains("metric name not set"));
    assert!(bench.text(6000, "a{x=\"1\",x=\"2\"} 1\n").unwrap_err().contains("not unique"));
}

#[test]
fn labels_are_honoured_and_relabelled_as_the_job_says() {
    let rule = |text: &str| Rule::new(&serde_json::from_str::<RuleConfig>(text).unwrap()).unwrap();
    let mut bench = Bench::new(ScrapeConfig {
        job_name: "j".into(),
        honor_labels: true,
        honor_timestamps: false,
        metric_relabel: vec![
            rule(r#"{"source_labels":["__name__"],"regex":"drop_.*","action":"drop"}"#),
            rule(r#"{"regex":"tmp","action":"labeldrop"}"#),
        ],
        ..ScrapeConfig::default()
    });
    bench.text(1000, "a{job=\"own\",tmp=\"x\"} 1 500\ndrop_me 2\n").unwrap();
    bench.text(2000, "a{job=\"own\",tmp=\"x\"} 1 500\ndrop_me 2\n").unwrap();
    let stored = bench.stored();
    let a = r#"{__name__="a", env="prod", instance="h:1", job="own"}"#;
    assert_eq!(stored.get(a).map(String::as_str), Some("1000=1 2000=1"));
    assert_eq!(bench.of("drop_me"), "");
    assert_eq!(bench.of("scrape_samples_scraped"), "1000=2 2000=2");
    assert_eq!(bench.of("scrape_samples_post_metric_relabeling"), "1000=1 2000=1");
}

#[test]
fn limits_fail_a_scrape_and_name_what_was_too_much() {
    let limited = |limits: crate::exposition::Limits, text: &str| {
        let mut bench = Bench::new(ScrapeConfig { job_name: "j".into(), limits, ..ScrapeConfig::default() });
        let error = bench.text(1000, text).unwrap_err();
        assert_eq!((bench.of("up"), bench.of("a")), ("1000=0".into(), String::new()));
        error
    };
    let limits = crate::exposition::Limits::default();
    assert_eq!(
        limited(crate::exposition::Limits { samples: 1, ..limits }, "a 1\nb 2\n"),
        "sample limit exceeded"
    );
    let error = limited(crate::exposition::Limits { labels: 4, ..limits }, "a{x=\"1\"} 1\n");
    assert_eq!(error, "label_limit exceeded (metric: a, number of labels: 5, limit: 4)");
    let error = limited(crate::exposition::Limits { label_name: 8, ..limits }, "a{long_name=\"1\"} 1\n");
    assert!(
        error.starts_with("label_name_length_limit exceeded (metric: a, label name: long_name"),
        "{error}"
    );
    let error = limited(crate::exposition::Limits { label_value: 5, ..limits }, "a{x=\"123456\"} 1\n");
    assert!(error.starts_with("label_value_length_limit exceeded"), "{error}");
}

#[test]
fn doubles_and_strange_times_are_left_out() {
    let mut bench = Bench::plain();
    bench.text(10_000, "a 1\na 2\nb 3 9000\nc 4 100000000\n").unwrap();
    bench.text(11_000, "a 1\nb 3 9000\nb 5 8000\n").unwrap();
    assert_eq!(bench.of("a"), "10000=1 11000=1");
    assert_eq!(bench.of("b"), "9000=3");
    assert_eq!(bench.of("c"), "");
}

#[test]
fn what_families_say_is_known_and_exemplars_are_kept() {
    let mut bench = Bench::plain();
    let text = "# TYPE a_seconds counter\n# HELP a_seconds What it \\\"is\\\".\n# UNIT a_seconds seconds\n\
                a_seconds_total 1 # {trace=\"t\"} 0.5 1.5\n# EOF\n";
    bench.scrape(2000, text, "application/openmetrics-text; version=1.0.0").unwrap();
    let mut families = Vec::new();
    bench.status.each_family(|name, family| families.push((name.to_owned(), family.clone())));
    let (name, family) = &families[0];
    assert_eq!((name.as_str(), family.kind.name()), ("a_seconds", "counter"));
    assert_eq!((&*family.help, &*family.unit), ("What it \"is\".", "seconds"));
    let found = bench.db.querier().exemplars(&[&[]], Interval::ALL).unwrap();
    assert_eq!((found.len(), found[0].1[0].time, found[0].1[0].value), (1, 1500, 0.5));
}

#[test]
fn a_target_that_is_gone_ends_whole() {
    let mut bench = Bench::plain();
    bench.text(1000, "a 1\n").unwrap();
    Intake::of(&bench.db, &bench.target, &bench.job, &bench.status).end(&mut bench.cache, 2000).unwrap();
    assert_eq!((bench.of("a"), bench.of("up")), ("1000=1 2000=S".into(), "1000=1 2000=S".into()));
}
