//! Rule files: groups of recording and alerting rules, read as strictly as upstream reads them and refused in its words.

mod decoding;
mod validation;

use std::collections::BTreeMap;
use std::path::Path;

use xebec_promql::ast::Expr;
use xebec_promql::duration::Duration;
use xebec_promql::parser::ParserOptions;

use crate::template::Template;

/// The largest file.
pub const MOST_BYTES: usize = 32 << 20;
/// More groups than these in one file are refused.
pub const MOST_GROUPS: usize = 20_000;
/// More rules than these in one file are refused.
pub const MOST_RULES: usize = 500_000;

/// What is done with fields that nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UnknownFields {
    /// They are an error.
    #[default]
    Refused,
    /// They are passed over.
    Ignored,
}

/// A group of rules that was checked.
#[derive(Debug, Clone)]
pub struct RuleGroup {
    /// Its name, which is unique in its file.
    pub name: String,
    /// From one evaluation to the next, if it says so.
    pub interval: Option<Duration>,
    /// How far before its time it is evaluated, if it says so.
    pub query_offset: Option<Duration>,
    /// How many series or alerts a rule may bring; zero and less is any number.
    pub limit: i64,
    /// Labels of all its rules; those of a rule count before these.
    pub labels: BTreeMap<String, String>,
    /// Its rules, in their order.
    pub rules: Vec<Rule>,
}

impl RuleGroup {
    /// The labels of one of its rules, with those of the group.
    pub fn labels_of(&self, rule: &Rule) -> BTreeMap<String, String> {
        let mut labels = self.labels.clone();
        labels.extend(rule.labels.iter().map(|(name, value)| (name.clone(), value.clone())));
        labels
    }
}

/// A rule that was checked.
#[derive(Debug, Clone)]
pub struct Rule {
    /// The name of the alert or of the series.
    pub name: String,
    /// What is evaluated.
    pub expr: Expr,
    /// Its labels as they are written.
    pub labels: BTreeMap<String, String>,
    /// What it is for.
    pub kind: RuleKind,
}

/// What a rule is for.
#[derive(Debug, Clone)]
pub enum RuleKind {
    /// Its result is written as series.
    Recording,
    /// Its result becomes alerts.
    Alerting {
        /// How long it must hold before the alert fires.
        hold: Duration,
        /// How long the alert goes on to fire when it no longer holds.
        keep_firing: Duration,
        /// What is told with the alert.
        annotations: BTreeMap<String, String>,
    },
}

/// Reads the groups of a file. All that is wrong is told, not only the first.
///
/// ```
/// use xebec_rules::file::{UnknownFields, parse};
/// use xebec_promql::parser::ParserOptions;
///
/// let text = "groups:\n- name: g\n  rules:\n  - record: a\n    expr: sum(b)\n";
/// let groups = parse(text, UnknownFields::Refused, ParserOptions::default()).unwrap();
/// assert_eq!(groups[0].rules[0].name, "a");
/// let errors = parse("groups:\n- name: g\n  rule: []\n", UnknownFields::Refused, ParserOptions::default());
/// assert!(errors.unwrap_err()[0].ends_with("line 3: field rule not found in type rulefmt.RuleGroup"));
/// ```
pub fn parse(
    text: &str,
    unknown: UnknownFields,
    options: ParserOptions,
) -> Result<Vec<RuleGroup>, Vec<String>> {
    if text.len() > MOST_BYTES {
        let why = format!("{} bytes are over the limit of {MOST_BYTES}: split the file", text.len());
        return Err(vec![why]);
    }
    let written = decoding::decode(text, unknown)?;
    validation::check(written, options)
}

/// Reads a file. Errors begin with its path.
pub fn load(
    path: &Path,
    unknown: UnknownFields,
    options: ParserOptions,
) -> Result<Vec<RuleGroup>, Vec<String>> {
    let shown = path.display();
    let size = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    if size > MOST_BYTES as u64 {
        return Err(vec![format!(
            "{shown}: {size} bytes are over the limit of {MOST_BYTES}: split the file"
        )]);
    }
    let text = std::fs::read_to_string(path).map_err(|error| vec![format!("{shown}: {error}")])?;
    let named = |errors: Vec<String>| errors.into_iter().map(|error| format!("{shown}: {error}")).collect();
    parse(&text, unknown, options).map_err(named)
}

/// The template of an alert's label or annotation, with the short names of its data before it.
pub(crate) fn alert_template(alert: &str, text: &str) -> Result<Template, String> {
    const SHORT_NAMES: &str = "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}\
                               {{$externalURL := .ExternalURL}}{{$value := .Value}}";
    Template::parse(&format!("__alert_{alert}"), &format!("{SHORT_NAMES}{text}"))
}

/// A rule that stands twice: the same name with the same labels, which would write the same series.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duplicate {
    /// The name.
    pub name: String,
    /// The labels.
    pub labels: BTreeMap<String, String>,
}

/// Rules that stand more than once, each told once.
pub fn duplicates(groups: &[RuleGroup]) -> Vec<Duplicate> {
    let of_group = |group: &RuleGroup| -> Vec<Duplicate> {
        let rules = group.rules.iter();
        rules.map(|rule| Duplicate { name: rule.name.clone(), labels: group.labels_of(rule) }).collect()
    };
    let mut all: Vec<Duplicate> = groups.iter().flat_map(of_group).collect();
    all.sort();
    let mut twice: Vec<Duplicate> =
        all.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0].clone()).collect();
    twice.dedup();
    twice
}

#[cfg(test)]
mod tests;
