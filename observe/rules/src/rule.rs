//! Rules: what is evaluated, what becomes of the result, and what is known of the last evaluation.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use xebec_promql::engine::{Cancellation, Engine, QueryError};
use xebec_promql::labels::{Labels, LabelsBuilder, METRIC_NAME};
use xebec_promql::matcher::Matcher;
use xebec_promql::storage::{SampleValue, Storage};
use xebec_promql::value::{Value, VectorSample};

use crate::alert::{ALERT_NAME, ALERTS_FOR_STATE, Alert, Alerts, Holding, State, Written};
use crate::file;
use crate::storage::Store;
use crate::template::{Data, Surroundings, Template};

/// How a rule fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Health {
    /// It was not evaluated yet.
    #[default]
    Unknown,
    /// It was evaluated.
    Good,
    /// It failed.
    Bad,
}

impl Health {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Good => "ok",
            Self::Bad => "err",
        }
    }
}

/// What is known of a rule's last evaluation.
#[derive(Debug, Clone, Default)]
pub struct Status {
    /// How it fared.
    pub health: Health,
    /// What went wrong.
    pub error: Option<String>,
    /// When it began, in milliseconds since 1970.
    pub evaluated_at: Option<i64>,
    /// How long it took.
    pub took: Duration,
}

/// A rule.
#[derive(Debug)]
pub struct Rule {
    /// The name of the alert or of the series.
    pub name: String,
    /// What is evaluated, as the language prints it.
    pub query: String,
    /// Its labels as they are written, with those of its group.
    pub labels: BTreeMap<String, String>,
    /// What it is for.
    pub kind: Kind,
    status: Mutex<Status>,
}

/// What a rule is for.
#[derive(Debug)]
pub enum Kind {
    /// Its result is written as series.
    Recording,
    /// Its result becomes alerts.
    Alerting(Alerting),
}

/// What an alerting rule has beside others.
#[derive(Debug)]
pub struct Alerting {
    /// How long it must hold before an alert fires, in milliseconds.
    pub hold: i64,
    /// How long an alert goes on to fire when it no longer holds, in milliseconds.
    pub keep_firing: i64,
    /// What is told with an alert, as it is written.
    pub annotations: BTreeMap<String, String>,
    label_templates: Vec<(Arc<str>, Template)>,
    annotation_templates: Vec<(String, Template)>,
    alerts: Mutex<Alerts>,
    /// Whether what was known before a restart was looked for: series are written only then.
    restored: AtomicBool,
}

/// What the evaluation of rules needs.
pub struct Context<'c> {
    /// Evaluates queries.
    pub engine: &'c Engine,
    /// Is read and written.
    pub store: &'c dyn Store,
    /// Ends an evaluation.
    pub cancellation: &'c Cancellation,
    /// Where this instance is reached.
    pub external_url: &'c str,
    /// Labels of all that leaves this instance, for templates.
    pub external_labels: &'c BTreeMap<String, String>,
}

impl Context<'_> {
    /// Asks a query at a time.
    fn ask(&self, query: &str, time: i64) -> Result<Vec<VectorSample>, String> {
        let reader = self.store.reader();
        self.ask_of(&*reader, query, time).map_err(|error| error.to_string())
    }

    fn ask_of(&self, reader: &dyn Storage, query: &str, time: i64) -> Result<Vec<VectorSample>, QueryError> {
        match self.engine.instant(reader, query, time, self.cancellation)?.value {
            Value::Vector(_, samples) => Ok(samples),
            Value::Scalar(point) => {
                Ok(vec![VectorSample { labels: Labels::default(), value: point.value, histogram: None }])
            }
            _ => Err(QueryError::Evaluation("rule result is not a vector or scalar".to_owned())),
        }
    }
}

impl Rule {
    /// A rule of a file, with the labels of its group.
    pub fn new(group: &file::RuleGroup, rule: &file::Rule, restores: bool) -> Result<Self, String> {
        let labels = group.labels_of(rule);
        let kind = match &rule.kind {
            file::RuleKind::Recording => Kind::Recording,
            file::RuleKind::Alerting { hold, keep_firing, annotations } => {
                let template = |text: &str| file::alert_template(&rule.name, text);
                let of_labels = labels.iter().map(|(name, text)| Ok((name.as_str().into(), template(text)?)));
                let of_annotations =
                    annotations.iter().map(|(name, text)| Ok((name.clone(), template(text)?)));
                Kind::Alerting(Alerting {
                    hold: hold.millis(),
                    keep_firing: keep_firing.millis(),
                    annotations: annotations.clone(),
                    label_templates: of_labels.collect::<Result<_, String>>()?,
                    annotation_templates: of_annotations.collect::<Result<_, String>>()?,
                    alerts: Mutex::default(),
                    restored: AtomicBool::new(!restores),
                })
            }
        };
        Ok(Self {
            name: rule.name.clone(),
            query: rule.expr.to_string(),
            labels,
            kind,
            status: Mutex::default(),
        })
    }

    /// What is known of its last evaluation.
    pub fn status(&self) -> Status {
        self.locked().clone()
    }

    fn locked(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn note(&self, health: Health, error: Option<String>) {
        let mut status = self.locked();
        (status.health, status.error) = (health, error);
    }

    pub(crate) fn note_time(&self, at: i64, took: Duration) {
        let mut status = self.locked();
        (status.evaluated_at, status.took) = (Some(at), took);
    }

    /// The alerting part, if it has one.
    pub fn alerting(&self) -> Option<&Alerting> {
        match &self.kind {
            Kind::Alerting(alerting) => Some(alerting),
            Kind::Recording => None,
        }
    }

    /// The gravest state of its alerts; none before the first evaluation.
    pub fn state(&self) -> Option<State> {
        let alerting = self.alerting()?;
        self.locked().evaluated_at?;
        Some(alerting.alerts().state())
    }

    /// Whether another is the same rule.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let alerting = |rule: &Self| {
            rule.alerting()
                .map(|alerting| (alerting.hold, alerting.keep_firing, alerting.annotations.clone()))
        };
        (&self.name, &self.query, &self.labels) == (&other.name, &other.query, &other.labels)
            && alerting(self) == alerting(other)
    }

    /// Evaluates it `offset` before a time. Returns what is to be written.
    pub(crate) fn evaluate(
        &self,
        context: &Context<'_>,
        time: i64,
        offset: i64,
        limit: i64,
    ) -> Result<Vec<Written>, String> {
        let found = context.ask(&self.query, time - offset)?;
        match &self.kind {
            Kind::Recording => self.record(found, limit),
            Kind::Alerting(alerting) => alerting.raise(self, context, found, time, limit),
        }
    }

    fn record(&self, found: Vec<VectorSample>, limit: i64) -> Result<Vec<Written>, String> {
        let mut written = Vec::with_capacity(found.len());
        for sample in found {
            let mut labels = LabelsBuilder::from(&sample.labels);
            labels.set(METRIC_NAME, self.name.as_str());
            for (name, value) in &self.labels {
                labels.set(name.as_str(), value.as_str());
            }
            let value = sample.histogram.map_or(SampleValue::Float(sample.value), SampleValue::Histogram);
            written.push((labels.build(), value));
        }
        let mut seen = HashSet::with_capacity(written.len());
        if !written.iter().all(|(labels, _)| seen.insert(labels)) {
            let why = "vector contains metrics with the same labelset after applying rule labels";
            return Err(why.to_owned());
        }
        if limit > 0 && written.len() as i64 > limit {
            return Err(format!("exceeded limit of {limit} with {} series", written.len()));
        }
        Ok(written)
    }
}

impl Alerting {
    fn alerts(&self) -> MutexGuard<'_, Alerts> {
        self.alerts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The alerts that are pending or fire, by their labels.
    pub fn active(&self) -> Vec<Alert> {
        self.alerts().active()
    }

    /// Counts as restored from now on.
    pub fn set_restored(&self) {
        self.restored.store(true, Ordering::Release);
    }

    /// Whether what was known before a restart was looked for.
    pub fn is_restored(&self) -> bool {
        self.restored.load(Ordering::Acquire)
    }

    pub(crate) fn copy(&self, from: &Self) {
        let from = from.alerts();
        self.alerts().copy(&from);
    }

    pub(crate) fn due(&self, time: i64, resend_delay: i64, interval: i64) -> Vec<Alert> {
        self.alerts().due(time, resend_delay, interval)
    }

    fn raise(
        &self,
        rule: &Rule,
        context: &Context<'_>,
        found: Vec<VectorSample>,
        time: i64,
        limit: i64,
    ) -> Result<Vec<Written>, String> {
        let mut alerts = BTreeMap::new();
        for sample in found {
            let mut query = |query: &str| context.ask(query, time);
            let mut surroundings =
                Surroundings { query: &mut query, external_url: context.external_url, time };
            let data = Data::of_alert(
                &sample.labels,
                context.external_labels,
                context.external_url,
                sample.value,
                sample.histogram.as_ref(),
            );
            let mut expand = |template: &Template| {
                let expanded = template.expand(&data, &mut surroundings);
                expanded.unwrap_or_else(|why| format!("<error expanding template: {why}>"))
            };
            let mut labels = LabelsBuilder::from(&sample.labels);
            labels.remove(METRIC_NAME);
            for (name, template) in &self.label_templates {
                labels.set(Arc::clone(name), expand(template));
            }
            labels.set(ALERT_NAME, rule.name.as_str());
            let labels = labels.build();
            let annotations = self.annotation_templates.iter();
            let annotations = annotations.map(|(name, template)| (name.clone(), expand(template))).collect();
            let alert = Alert::new(labels.clone(), annotations, sample.value, time);
            if alerts.insert(labels, alert).is_some() {
                let why = "vector contains metrics with the same labelset after applying alert labels";
                return Err(why.to_owned());
            }
        }
        let mut own = self.alerts();
        let holding = Holding { hold: self.hold, keep_firing: self.keep_firing };
        let active = own.update(alerts, time, holding);
        if limit > 0 && active as i64 > limit {
            own.clear();
            return Err(format!("exceeded limit of {limit} with {active} alerts"));
        }
        Ok(if self.is_restored() { own.samples() } else { Vec::new() })
    }

    /// What the series of its alerts have in common, by which they are found again.
    pub(crate) fn state_matchers(&self, rule: &Rule) -> Vec<Matcher> {
        let fixed = rule.labels.iter().filter(|(name, value)| {
            !value.contains("{{") && name.as_str() != ALERT_NAME && name.as_str() != METRIC_NAME
        });
        let mut matchers: Vec<Matcher> =
            fixed.map(|(name, value)| Matcher::equal(name.as_str(), value.as_str())).collect();
        matchers.push(Matcher::equal(METRIC_NAME, ALERTS_FOR_STATE));
        matchers.push(Matcher::equal(ALERT_NAME, rule.name.as_str()));
        matchers
    }

    /// Shows each alert, to be changed.
    pub(crate) fn each(&self, change: impl FnMut(&mut Alert)) {
        self.alerts().all_mut().for_each(change);
    }
}
