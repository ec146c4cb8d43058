//! What is told of rules and alerts.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use xebec_promql::labels::{Label, Labels};
use xebec_promql::matcher::Matcher;
use xebec_promql::number::{general, quoted};
use xebec_rules::alert::Alert;
use xebec_rules::group::Group;
use xebec_rules::rule::{Kind, Rule};

use super::params::Params;
use super::{Answer, Fault, Shared, Told};
use crate::rfc3339;

/// Which rules are told.
struct Wanted<'p> {
    alerting: bool,
    recording: bool,
    alerts: bool,
    names: Vec<&'p str>,
    selectors: Vec<Vec<Matcher>>,
}

fn texts(labels: &Labels) -> BTreeMap<&str, &str> {
    labels.iter().map(|label| (&*label.name, &*label.value)).collect()
}

/// A number with an exponent, in as few digits as tell it.
fn exponential(value: f64) -> String {
    if !value.is_finite() {
        return general(value);
    }
    let text = format!("{value:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    format!("{digits}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

fn of_alert(alert: &Alert) -> Value {
    let mut told = json!({
        "labels": texts(&alert.labels),
        "annotations": alert.annotations,
        "state": alert.state.name(),
        "activeAt": rfc3339(alert.active_at),
        "value": exponential(alert.value),
    });
    if let Some(since) = alert.keep_firing_since {
        told["keepFiringSince"] = rfc3339(since).into();
    }
    told
}

/// A truth value as Go reads it.
fn truth(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "true" => Some(true),
        "" | "0" | "f" | "false" => Some(false),
        _ => None,
    }
}

/// By what a page of groups begins.
fn token(group: &Group) -> String {
    Sha256::digest(group.key()).iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Wanted<'_> {
    fn takes(&self, rule: &Rule) -> bool {
        let of_kind = match rule.kind {
            Kind::Recording => self.recording,
            Kind::Alerting(_) => self.alerting,
        };
        let named = self.names.is_empty() || self.names.contains(&rule.name.as_str());
        of_kind && named && (self.selectors.is_empty() || self.selects(rule))
    }

    fn selects(&self, rule: &Rule) -> bool {
        let labels = rule.labels.iter().map(|(name, value)| Label::new(name.as_str(), value.as_str()));
        let labels = Labels::new(labels);
        self.selectors.iter().any(|matchers| matchers.iter().all(|matcher| matcher.selects(&labels)))
    }

    fn of_rule(&self, rule: &Rule) -> Value {
        let status = rule.status();
        let mut told = json!({
            "name": rule.name,
            "query": rule.query,
            "labels": rule.labels,
            "health": status.health.name(),
            "evaluationTime": status.took.as_secs_f64(),
            "lastEvaluation": rfc3339(status.evaluated_at.unwrap_or(0)),
            "type": "recording",
        });
        if let Some(error) = &status.error {
            told["lastError"] = error.as_str().into();
        }
        if let Some(alerting) = rule.alerting() {
            told["type"] = "alerting".into();
            told["state"] = rule.state().map_or("unknown", |state| state.name()).into();
            told["duration"] = (alerting.hold as f64 / 1000.0).into();
            told["keepFiringFor"] = (alerting.keep_firing as f64 / 1000.0).into();
            told["annotations"] = json!(alerting.annotations);
            told["alerts"] = match self.alerts {
                true => alerting.active().iter().map(of_alert).collect(),
                false => Value::Null,
            };
        }
        told
    }

    fn of_group(&self, group: &Group) -> Option<Value> {
        let rules: Vec<Value> =
            group.rules.iter().filter(|rule| self.takes(rule)).map(|rule| self.of_rule(rule)).collect();
        if rules.is_empty() {
            return None;
        }
        let status = group.status();
        Some(json!({
            "name": group.name,
            "file": group.file,
            "rules": rules,
            "interval": group.interval as f64 / 1000.0,
            "limit": group.limit,
            "evaluationTime": status.took.as_secs_f64(),
            "lastEvaluation": rfc3339(status.evaluated_at.unwrap_or(0)),
        }))
    }
}

impl Shared {
    pub(super) fn rules(&self, params: &Params) -> Answer {
        let selectors = params.selectors().map_err(Fault::BadData)?;
        let kind = params.get("type").to_lowercase();
        if !matches!(kind.as_str(), "" | "alert" | "record") {
            return Err(Fault::parameter("type", format!("not supported value {}", quoted(&kind))));
        }
        let excluded = params.get("exclude_alerts").to_lowercase();
        let excludes = truth(&excluded).ok_or_else(|| {
            let why = format!("strconv.ParseBool: parsing {}: invalid syntax", quoted(&excluded));
            Fault::parameter("exclude_alerts", format!("error converting exclude_alerts: {why}"))
        })?;
        let (most, mut from) = page(params)?;
        let wanted = Wanted {
            alerting: kind != "record",
            recording: kind != "alert",
            alerts: !excludes,
            names: params.all("rule_name[]").collect(),
            selectors,
        };
        let names: Vec<&str> = params.all("rule_group[]").collect();
        let files: Vec<&str> = params.all("file[]").collect();
        let is_named = |names: &[&str], name: &str| names.is_empty() || names.contains(&name);
        let mut told = Vec::new();
        let mut next = None;
        for group in self.ruler.groups() {
            if from.as_ref().is_some_and(|from| *from != token(&group)) {
                continue;
            }
            from = None;
            if !is_named(&names, &group.name) || !is_named(&files, &group.file) {
                continue;
            }
            let Some(own) = wanted.of_group(&group) else { continue };
            if most > 0 && told.len() == most {
                next = Some(token(&group));
                break;
            }
            told.push(own);
        }
        if let Some(from) = from {
            let why = format!("invalid group_next_token '{from}'. were rule groups changed?");
            return Err(Fault::parameter("group_next_token", why));
        }
        let mut answer = json!({ "groups": told });
        if let Some(next) = next {
            answer["groupNextToken"] = next.into();
        }
        Ok(answer.into())
    }

    pub(super) fn alertmanagers(&self) -> Told {
        let active: Vec<Value> =
            self.ruler.notifications().urls().into_iter().map(|url| json!({ "url": url })).collect();
        json!({ "activeAlertmanagers": active, "droppedAlertmanagers": [] }).into()
    }

    pub(super) fn alerts(&self) -> Told {
        let groups = self.ruler.groups();
        let rules = groups.iter().flat_map(|group| &group.rules);
        let alerts: Vec<Value> = rules
            .filter_map(Rule::alerting)
            .flat_map(|alerting| alerting.active())
            .map(|alert| of_alert(&alert))
            .collect();
        json!({ "alerts": alerts }).into()
    }
}

/// How many groups are told at the most, zero being all, and by what they begin.
fn page(params: &Params) -> Result<(usize, Option<String>), Fault> {
    let (limit, from) = (params.get("group_limit"), params.get("group_next_token"));
    if limit.is_empty() {
        return match from {
            "" => Ok((0, None)),
            _ => {
                let why = "group_limit needs to be present in order to paginate over the groups";
                Err(Fault::parameter("group_next_token", why))
            }
        };
    }
    let number: i32 = limit.parse().map_err(|_| {
        let digits = limit.strip_prefix(['+', '-']).unwrap_or(limit);
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        let reason = if is_number { "value out of range" } else { "invalid syntax" };
        let why = format!("strconv.ParseInt: parsing {}: {reason}", quoted(limit));
        Fault::parameter("group_limit", format!("group_limit needs to be a valid number: {why}"))
    })?;
    match usize::try_from(number) {
        Ok(number) if number > 0 => Ok((number, (!from.is_empty()).then(|| from.to_owned()))),
        _ => Err(Fault::parameter("group_limit", "group_limit needs to be greater than 0")),
    }
}
