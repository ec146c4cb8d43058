//! Unit tests of rules, as `promtool test rules` runs them: series are described, rules evaluated over them in the time of
//! the test, and alerts and queries held against what is expected.

mod file;
mod store;
mod text;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use regex::Regex;
use xebec_promql::duration::Duration;
use xebec_promql::engine::{Cancellation, Engine, EngineOptions, QueryError};
use xebec_promql::labels::{Label, Labels};
use xebec_promql::number::quoted;
use xebec_promql::series_description::{self, DescribedSample};
use xebec_promql::storage::Storage;
use xebec_promql::value::Value;

use crate::alert::{ALERT_NAME, Nobody, State};
use crate::file::{UnknownFields, load};
use crate::glob;
use crate::group::{Group, Round};
use crate::rule::Context;
use crate::storage::Store as _;
use file::{AlertTest, ExprTest, File, Test, Texts};
use store::TestStore;

/// The largest file of tests.
const MOST_BYTES: u64 = 32 << 20;
/// A test takes so many rounds of evaluations at most.
const MOST_ROUNDS: i64 = 1_000_000;
const MINUTE: i64 = 60_000;

/// How tests are run.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What is done with fields of rule files that nobody knows.
    pub unknown_fields: UnknownFields,
    /// How queries are evaluated.
    pub engine: EngineOptions,
    /// Only tests whose name this finds are run, if it is given.
    pub run: Option<Regex>,
}

/// What became of the tests of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// What is not as expected, in upstream's words.
    pub failures: Vec<String>,
    /// What the user should know: patterns that name no file.
    pub warnings: Vec<String>,
}

/// Runs the tests of a file. An error says why they cannot be run at all.
pub fn run(path: &Path, options: &Options) -> Result<Report, String> {
    let size = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    if size > MOST_BYTES {
        return Err(format!("{size} bytes are over the limit of {MOST_BYTES}: split the file"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let read: Option<File> = serde_saphyr::from_str(&text).map_err(|error| one_line(&error.to_string()))?;
    let file = read.unwrap_or_default();
    let mut report = Report::default();
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut rule_files = Vec::new();
    for pattern in file.rule_files.iter().flatten() {
        let pattern = directory.join(pattern);
        let found = glob::matching(&pattern)?;
        if found.is_empty() {
            report.warnings.push(format!("no file match pattern {}", pattern.display()));
        }
        rule_files.extend(found);
    }
    let mut order = BTreeMap::new();
    for (at, name) in file.group_eval_order.iter().flatten().enumerate() {
        if order.insert(name.as_str(), at).is_some() {
            return Err(format!("group name repeated in evaluation order: {name}"));
        }
    }
    let interval = if file.evaluation_interval.0 == 0 { MINUTE } else { file.evaluation_interval.0 };
    for test in file.tests.iter().flatten() {
        if options.run.as_ref().is_some_and(|run| !run.is_match(&test.name.0)) {
            continue;
        }
        let step = if test.interval.0 == 0 { interval } else { test.interval.0 };
        let setting = Setting { options, rule_files: &rule_files, order: &order, fuzzy: file.fuzzy_compare };
        match Run::prepare(&setting, test, interval, step) {
            Ok(mut run) => report.failures.extend(run.failures(test)),
            Err(failures) => report.failures.extend(failures),
        }
    }
    Ok(report)
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// What the tests of a file have in common.
struct Setting<'f> {
    options: &'f Options,
    rule_files: &'f [PathBuf],
    order: &'f BTreeMap<&'f str, usize>,
    fuzzy: bool,
}

/// A test while it runs.
struct Run<'f> {
    setting: &'f Setting<'f>,
    engine: Engine,
    store: TestStore,
    groups: Vec<Group>,
    external_labels: BTreeMap<String, String>,
    external_url: String,
    start: i64,
    interval: i64,
}

/// An alert's labels and annotations.
type Told = (Labels, Labels);

fn labels_of(texts: Option<&Texts>) -> Labels {
    let each = texts.into_iter().flatten();
    Labels::new(each.map(|(name, value)| Label::new(name.as_str(), value.0.as_str())))
}

impl<'f> Run<'f> {
    fn prepare(setting: &'f Setting<'f>, test: &Test, interval: i64, step: i64) -> Result<Self, Vec<String>> {
        let one = |why: String| vec![why];
        let start = match &test.start_timestamp {
            None => 0,
            Some(text) => timestamp(&text.0).map_err(one)?,
        };
        let series: Vec<(&str, &str)> = test
            .input_series
            .iter()
            .flatten()
            .map(|series| (series.series.0.as_str(), series.values.0.as_str()))
            .collect();
        let store = TestStore::new(&series, start, step).map_err(one)?;
        let default_step = std::time::Duration::from_millis(interval.unsigned_abs());
        let engine = Engine::new(EngineOptions { default_step, ..setting.options.engine.clone() });
        let mut groups = Vec::new();
        for path in setting.rule_files {
            let read = load(path, setting.options.unknown_fields, setting.options.engine.parser)?;
            for group in &read {
                let group = Group::new(&path.display().to_string(), group, step, false);
                groups.push(group.map_err(one)?);
            }
        }
        // Groups that are not named come first, with the one that is named first.
        groups.sort_by_key(|group| setting.order.get(group.name.as_str()).copied().unwrap_or(0));
        let external = test.external_labels.iter().flatten();
        Ok(Self {
            setting,
            engine,
            store,
            groups,
            external_labels: external.map(|(name, value)| (name.clone(), value.0.clone())).collect(),
            external_url: test.external_url.0.clone(),
            start,
            interval,
        })
    }

    fn failures(&mut self, test: &Test) -> Vec<String> {
        let alerts: &[AlertTest] = test.alert_rule_test.as_deref().unwrap_or_default();
        let exprs: &[ExprTest] = test.promql_expr_test.as_deref().unwrap_or_default();
        if let Some(nameless) = alerts.iter().find(|alert| alert.alertname.0.is_empty()) {
            let of = match test.name.0.as_str() {
                "" => String::new(),
                name => format!(" (in TestGroup {name})"),
            };
            return vec![format!(
                "an item under alert_rule_test misses required attribute alertname at eval_time {}{of}",
                nameless.eval_time
            )];
        }
        let times =
            alerts.iter().map(|alert| alert.eval_time.0).chain(exprs.iter().map(|expr| expr.eval_time.0));
        let end = times.max().unwrap_or(0).max(0);
        if end / self.interval > MOST_ROUNDS {
            return vec![format!(
                "a test of {} takes over {MOST_ROUNDS} evaluations, one each {}: lengthen evaluation_interval",
                Duration::from_millis(end),
                Duration::from_millis(self.interval)
            )];
        }
        let mut failures = Vec::new();
        let moments: BTreeSet<i64> = alerts.iter().map(|alert| alert.eval_time.0).collect();
        for since in (0..=end).step_by(self.interval as usize) {
            let failed = self.evaluate(since);
            if !failed.is_empty() {
                failures.extend(failed);
                return failures;
            }
            for moment in moments.range(since..since + self.interval) {
                for alert in alerts.iter().filter(|alert| alert.eval_time.0 == *moment) {
                    failures.extend(self.alert_failure(alert, &test.name.0));
                }
            }
        }
        failures.extend(exprs.iter().filter_map(|expr| self.expr_failure(expr)));
        failures
    }

    /// Evaluates all groups; returns what failed.
    fn evaluate(&self, since: i64) -> Vec<String> {
        let time = self.start + since;
        if let Err(error) = self.store.fill(time) {
            return vec![error.to_string()];
        }
        let cancellation = Cancellation::default();
        let context = Context {
            engine: &self.engine,
            store: &self.store,
            cancellation: &cancellation,
            external_url: &self.external_url,
            external_labels: &self.external_labels,
        };
        let round =
            Round { context: &context, notifier: &Nobody, clock: &|| time, query_offset: 0, resend_delay: 0 };
        let mut failures = Vec::new();
        for group in &self.groups {
            group.evaluate(&round, time, 0);
            for rule in &group.rules {
                if let Some(error) = rule.status().error {
                    let at = text::go_duration(time);
                    failures.push(format!("    rule: {}, time: {at}, err: {error}", rule.name));
                }
            }
        }
        failures
    }

    fn alert_failure(&self, test: &AlertTest, group: &str) -> Option<String> {
        let name = &test.alertname.0;
        let rules = self.groups.iter().flat_map(|group| &group.rules).filter(|rule| rule.name == *name);
        let mut got: Vec<Told> = Vec::new();
        for alerting in rules.filter_map(|rule| rule.alerting()) {
            let firing = alerting.active().into_iter().filter(|alert| alert.state == State::Firing);
            got.extend(firing.map(|alert| {
                let annotations = alert.annotations.iter();
                (alert.labels, text::kept(annotations.map(|(name, value)| (name.as_str(), value.as_str()))))
            }));
        }
        let mut expected: Vec<Told> = Vec::new();
        for alert in test.exp_alerts.iter().flatten() {
            let mut labels = alert.exp_labels.clone().unwrap_or_default();
            labels.insert(ALERT_NAME.to_owned(), file::Text(name.clone()));
            expected.push((labels_of(Some(&labels)), labels_of(alert.exp_annotations.as_ref())));
        }
        got.sort();
        expected.sort();
        if got == expected {
            return None;
        }
        let group = if group.is_empty() { String::new() } else { format!("    name: {group},\n") };
        Some(format!(
            "{group}    alertname: {name}, time: {}, \n        exp:{}, \n        got:{}",
            test.eval_time,
            text::alerts(&expected),
            text::alerts(&got)
        ))
    }

    fn expr_failure(&self, test: &ExprTest) -> Option<String> {
        let (expr, at) = (&test.expr.0, test.eval_time);
        let failed = |why: String| Some(format!("    expr: {}, time: {at}, err: {why}", quoted(expr)));
        let mut got = match self.query(expr, self.start + at.0) {
            Ok(got) => got,
            Err(error) => return failed(error.to_string()),
        };
        let mut expected = Vec::new();
        for sample in test.exp_samples.iter().flatten() {
            match text::Sample::expected(sample) {
                Ok(sample) => expected.push(sample),
                Err(why) => return failed(format!("labels {}: {why}", quoted(&sample.labels.0))),
            }
        }
        got.sort_by(|one, two| one.labels.cmp(&two.labels));
        expected.sort_by(|one, two| one.labels.cmp(&two.labels));
        let same = got.len() == expected.len()
            && got.iter().zip(&expected).all(|(one, two)| one.is_same(two, self.setting.fuzzy));
        (!same).then(|| {
            format!(
                "    expr: {}, time: {at},\n        exp: {}\n        got: {}",
                quoted(expr),
                text::samples(&expected),
                text::samples(&got)
            )
        })
    }

    fn query(&self, expr: &str, time: i64) -> Result<Vec<text::Sample>, QueryError> {
        let reader = self.store.reader();
        let storage: &dyn Storage = &*reader;
        match self.engine.instant(storage, expr, time, &Cancellation::default())?.value {
            Value::Vector(_, samples) => Ok(samples.into_iter().map(text::Sample::from).collect()),
            Value::Scalar(point) => Ok(vec![text::Sample::of(Labels::default(), point.value)]),
            _ => Err(QueryError::Evaluation("rule result is not a vector or scalar".to_owned())),
        }
    }
}

/// A time as seconds since 1970 or as RFC 3339, in milliseconds.
fn timestamp(text: &str) -> Result<i64, String> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Ok((seconds * 1000.0).round() as i64);
    }
    text::rfc3339(text).ok_or_else(|| format!("cannot parse {} to a valid timestamp", quoted(text)))
}

/// The histogram of a description.
fn described_histogram(text: &str) -> Result<Arc<xebec_promql::histogram::Histogram>, String> {
    let (_, samples) = series_description::parse(&format!("{{}} {text}"))?;
    match samples.as_slice() {
        [DescribedSample::Histogram { histogram, .. }] => Ok(Arc::clone(histogram)),
        [_] => Err("expected histogram, got a number".to_owned()),
        _ => Err(format!("expected 1 value, got {}", samples.len())),
    }
}

#[cfg(test)]
mod tests;
