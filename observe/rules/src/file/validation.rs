//! What a rule file says, checked.

use std::collections::{BTreeMap, BTreeSet};

use xebec_promql::ast::{Expr, NumberLiteral};
use xebec_promql::duration::Duration;
use xebec_promql::number::quoted;
use xebec_promql::parser::{self, ParserOptions};
use xebec_promql::position::Position;

use super::decoding::{self, Place};
use super::{Rule, RuleGroup, RuleKind, alert_template};

const METRIC_NAME: &str = xebec_promql::labels::METRIC_NAME;

/// Checks what is written. Groups and rules keep their order, and so does what is wrong with them.
pub(super) fn check(
    written: Vec<decoding::Group>,
    options: ParserOptions,
) -> Result<Vec<RuleGroup>, Vec<String>> {
    let mut errors = Vec::new();
    let mut names = BTreeSet::new();
    let mut groups = Vec::new();
    for group in written {
        // Upstream does not know where its groups stand.
        if group.name.is_empty() {
            errors.push("0:0: Groupname must not be empty".to_owned());
        }
        if !names.insert(group.name.clone()) {
            errors.push(format!("0:0: groupname: \"{}\" is repeated in the same file", group.name));
        }
        for name in group.labels.keys().filter(|name| name.is_empty() || *name == METRIC_NAME) {
            errors.push(format!("invalid label name: {name}"));
        }
        let mut rules = Vec::with_capacity(group.rules.len());
        for (at, rule) in group.rules.into_iter().enumerate() {
            let name = if rule.alert.0.is_empty() { rule.record.0.clone() } else { rule.alert.0.clone() };
            let mut faults = Vec::new();
            let checked = check_rule(rule, options, &mut faults);
            errors.extend(faults.into_iter().map(|(places, why)| {
                let places: String =
                    places.iter().map(|(line, column)| format!("{line}:{column}: ")).collect();
                format!("{places}group {}, rule {}, {}: {why}", quoted(&group.name), at + 1, quoted(&name))
            }));
            rules.push(checked);
        }
        groups.push(RuleGroup {
            name: group.name,
            interval: Some(group.interval).filter(|interval| !interval.is_zero()),
            query_offset: group.query_offset,
            limit: group.limit,
            labels: group.labels,
            rules,
        });
    }
    if errors.is_empty() { Ok(groups) } else { Err(errors) }
}

type Faults = Vec<(Vec<Place>, String)>;

fn check_rule(rule: decoding::Rule, options: ParserOptions, faults: &mut Faults) -> Rule {
    let ((record, record_at), (alert, alert_at), (text, expr_at)) = (rule.record, rule.alert, rule.expr);
    if !record.is_empty() && !alert.is_empty() {
        faults.push((vec![record_at, alert_at], "only one of 'record' and 'alert' must be set".to_owned()));
    }
    if record.is_empty() && alert.is_empty() {
        faults.push((vec![record_at, alert_at], "one of 'record' or 'alert' must be set".to_owned()));
    }
    let nothing =
        Expr::Number(NumberLiteral { value: 0.0, is_duration: false, position: Position::default() });
    let expr = if text.is_empty() {
        faults.push((vec![expr_at], "field 'expr' must be set in rule".to_owned()));
        nothing
    } else {
        parser::parse(&text, options).unwrap_or_else(|error| {
            faults.push((vec![expr_at], format!("could not parse expression: {error}")));
            nothing
        })
    };
    if !record.is_empty() {
        let fields = [
            ("annotations", !rule.annotations.is_empty()),
            ("for", !rule.hold.is_zero()),
            ("keep_firing_for", !rule.keep_firing.is_zero()),
        ];
        for (field, _) in fields.into_iter().filter(|(_, is_set)| *is_set) {
            faults.push((vec![record_at], format!("invalid field '{field}' in recording rule")));
        }
        if record.contains(['{', '}']) {
            let why = format!("braces present in the recording rule name; should it be in expr?: {record}");
            faults.push((vec![record_at], why));
        }
    }
    for name in rule.labels.keys().filter(|name| name.is_empty() || *name == METRIC_NAME) {
        faults.push((Vec::new(), format!("invalid label name: {name}")));
    }
    for name in rule.annotations.keys().filter(|name| name.is_empty()) {
        faults.push((Vec::new(), format!("invalid annotation name: {name}")));
    }
    if !alert.is_empty() {
        let mut check = |kind: &str, texts: &BTreeMap<String, String>| {
            for (name, text) in texts {
                if let Err(why) = alert_template(&alert, text) {
                    faults.push((Vec::new(), format!("{kind} {}: {why}", quoted(name))));
                }
            }
        };
        check("label", &rule.labels);
        check("annotation", &rule.annotations);
    }
    let (hold, keep_firing): (Duration, Duration) = (rule.hold, rule.keep_firing);
    let kind = match alert.is_empty() {
        true => RuleKind::Recording,
        false => RuleKind::Alerting { hold, keep_firing, annotations: rule.annotations },
    };
    Rule { name: if alert.is_empty() { record } else { alert }, expr, labels: rule.labels, kind }
}
