//! Files of unit tests as they are written.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use xebec_promql::duration::Duration;

/// A text, which may be written as a number.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Text(pub(super) String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        Ok(Self(Option::<String>::deserialize(from)?.unwrap_or_default()))
    }
}

/// A duration, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Span(pub(super) i64);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Option::<String>::deserialize(from)?;
        let span = text.map_or(Ok(Duration::ZERO), |text| Duration::parse(&text));
        span.map(|span| Self(span.millis())).map_err(serde::de::Error::custom)
    }
}

impl std::fmt::Display for Span {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        Duration::from_millis(self.0).fmt(out)
    }
}

pub(super) type Texts = BTreeMap<String, Text>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) rule_files: Option<Vec<String>>,
    pub(super) evaluation_interval: Span,
    pub(super) group_eval_order: Option<Vec<String>>,
    pub(super) tests: Option<Vec<Test>>,
    pub(super) fuzzy_compare: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Test {
    pub(super) interval: Span,
    pub(super) input_series: Option<Vec<Series>>,
    pub(super) alert_rule_test: Option<Vec<AlertTest>>,
    pub(super) promql_expr_test: Option<Vec<ExprTest>>,
    pub(super) external_labels: Option<Texts>,
    pub(super) external_url: Text,
    pub(super) name: Text,
    pub(super) start_timestamp: Option<Text>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Series {
    pub(super) series: Text,
    pub(super) values: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AlertTest {
    pub(super) eval_time: Span,
    pub(super) alertname: Text,
    pub(super) exp_alerts: Option<Vec<ExpectedAlert>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ExpectedAlert {
    pub(super) exp_labels: Option<Texts>,
    pub(super) exp_annotations: Option<Texts>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ExprTest {
    pub(super) expr: Text,
    pub(super) eval_time: Span,
    pub(super) exp_samples: Option<Vec<ExpectedSample>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ExpectedSample {
    pub(super) labels: Text,
    pub(super) value: f64,
    pub(super) histogram: Text,
}
