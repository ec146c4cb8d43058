//! What a configuration says of rules and of alerts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use xebec_promql::duration::Duration as Span;

use super::file::{Alertmanager, File, Global, Job};
use super::{ScrapeConfig, checked, rules, span};
use crate::relabel::Rule;

/// What is said of rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RulesConfig {
    /// Patterns of files that name rules.
    pub files: Vec<PathBuf>,
    /// From one evaluation to the next, for groups that say nothing of it.
    pub interval: Span,
    /// How far before their time groups are evaluated that say nothing of it.
    pub query_offset: Span,
    /// Labels of all that leaves this instance.
    pub external_labels: BTreeMap<String, String>,
}

impl Default for RulesConfig {
    fn default() -> Self {
        Self {
            files: Vec::new(),
            interval: Span::from_millis(60_000),
            query_offset: Span::ZERO,
            external_labels: BTreeMap::new(),
        }
    }
}

/// What is said of alerts.
#[derive(Debug, Clone, Default)]
pub struct AlertingConfig {
    /// What is done with alerts' labels.
    pub relabel: Vec<Rule>,
    /// Where alerts go.
    pub managers: Vec<AlertmanagerConfig>,
}

/// Alertmanagers that are reached in one way.
#[derive(Debug, Clone)]
pub struct AlertmanagerConfig {
    /// How they are found and reached: as targets are.
    pub targets: ScrapeConfig,
    /// What stands before the path.
    pub path_prefix: String,
    /// What sending may take.
    pub timeout: Span,
    /// What is done with the labels of alerts that go there.
    pub relabel: Vec<Rule>,
}

impl RulesConfig {
    pub(super) fn of(file: &File, global: &Global, directory: &Path) -> Result<Self, String> {
        let usual = Self::default();
        let mut files = Vec::new();
        for (at, pattern) in file.rule_files.iter().flatten().enumerate() {
            // Only the last part of a path may be a pattern.
            let is_good = pattern.split_once('*').is_none_or(|(_, rest)| !rest.contains('/'));
            if !is_good || pattern.is_empty() {
                return Err(format!("rule_files[{at}]: invalid rule file path {pattern:?}"));
            }
            files.push(directory.join(pattern));
        }
        let offset = global.rule_query_offset.as_deref();
        let query_offset = offset.map_or(Ok(usual.query_offset), Span::parse);
        let mut external_labels = BTreeMap::new();
        for (name, value) in global.external_labels.iter().flatten() {
            if name.is_empty() || name == xebec_promql::labels::METRIC_NAME {
                return Err(format!("global.external_labels: {name:?} is not a valid label name"));
            }
            external_labels.insert(name.clone(), of_environment(&value.0));
        }
        Ok(Self {
            files,
            interval: span(
                "global.evaluation_interval",
                global.evaluation_interval.as_deref(),
                usual.interval,
            )?,
            query_offset: query_offset.map_err(|why| format!("global.rule_query_offset: {why}"))?,
            external_labels,
        })
    }
}

impl AlertingConfig {
    pub(super) fn of(file: File, directory: &Path, warnings: &mut Vec<String>) -> Result<Self, String> {
        let Some(alerting) = file.alerting else { return Ok(Self::default()) };
        let relabel = alerting.alert_relabel_configs.unwrap_or_default();
        let relabel = rules("alerting.alert_relabel_configs", &relabel)?;
        let mut managers = Vec::new();
        for (at, manager) in alerting.alertmanagers.into_iter().flatten().enumerate() {
            let place = format!("alerting.alertmanagers[{at}]");
            let own = AlertmanagerConfig::of(manager, at, directory, warnings);
            managers.push(own.map_err(|why| format!("{place}: {why}"))?);
        }
        Ok(Self { relabel, managers })
    }
}

impl AlertmanagerConfig {
    fn of(
        manager: Alertmanager,
        at: usize,
        directory: &Path,
        warnings: &mut Vec<String>,
    ) -> Result<Self, String> {
        if manager.api_version.as_deref().is_some_and(|version| version != "v2") {
            let version = manager.api_version.unwrap_or_default();
            return Err(format!("expected Alertmanager api version to be one of [v2] but got {version}"));
        }
        let timeout = span("timeout", manager.timeout.as_deref(), Span::from_millis(10_000))?;
        let of_scraping = ["job_name", "scrape_interval", "scrape_timeout", "metrics_path", "params"];
        if let Some(odd) = manager.rest.keys().find(|name| of_scraping.contains(&name.as_str())) {
            return Err(format!("field {odd} not found in type config.plain"));
        }
        let mut job: Job = serde_json::from_value(serde_json::Value::Object(
            manager.rest.into_iter().chain([("job_name".to_owned(), "alertmanager".into())]).collect(),
        ))
        .map_err(|error| error.to_string())?;
        job.job_name = format!("config-{at}");
        warnings
            .extend(job.not_served().into_iter().map(|what| format!("alerting.alertmanagers[{at}]: {what}")));
        let relabel = manager.alert_relabel_configs.unwrap_or_default();
        Ok(Self {
            targets: checked(job, &Global::default(), directory)?,
            path_prefix: manager.path_prefix.unwrap_or_else(|| "/".to_owned()),
            timeout,
            relabel: rules("alert_relabel_configs", &relabel)?,
        })
    }
}

/// A text in which `$NAME` and `${NAME}` stand for variables of the environment; `$$` is a dollar.
fn of_environment(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        out.push_str(&rest[..dollar]);
        rest = &rest[dollar + 1..];
        if let Some(tail) = rest.strip_prefix('$') {
            out.push('$');
            rest = tail;
            continue;
        }
        let (name, tail) = match rest.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            Some(parts) => parts,
            None => {
                let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
                rest.split_at(rest.bytes().take_while(is_name).count())
            }
        };
        out.push_str(&std::env::var(name).unwrap_or_default());
        rest = tail;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(text.to_owned(), Path::new("/etc/prometheus"))
    }

    #[test]
    fn rules_and_alertmanagers_are_read() {
        let config = parse(
            "global:\n  evaluation_interval: 15s\n  rule_query_offset: 1m\n  external_labels: {zone: 'a$$b${NO_SUCH}'}\n\
             rule_files: [rules/*.yml, /abs.yml]\nalerting:\n  alert_relabel_configs: [{regex: x, action: labeldrop}]\n  \
             alertmanagers:\n  - path_prefix: /am\n    timeout: 5s\n    scheme: https\n    basic_auth: {username: u, \
             password: p}\n    static_configs: [{targets: ['am:9093']}]\n",
        )
        .unwrap();
        let rules = config.rules;
        assert_eq!((rules.interval.millis(), rules.query_offset.millis()), (15_000, 60_000));
        assert_eq!(rules.files, [PathBuf::from("/etc/prometheus/rules/*.yml"), PathBuf::from("/abs.yml")]);
        assert_eq!(rules.external_labels["zone"], "a$b");
        let manager = &config.alerting.managers[0];
        assert_eq!((manager.path_prefix.as_str(), manager.timeout.millis()), ("/am", 5_000));
        assert_eq!((manager.targets.scheme.as_str(), manager.targets.groups.len()), ("https", 1));
        assert!(manager.targets.authorization.is_some() && config.warnings.is_empty());
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, part) in [
            ("rule_files: ['*/x.yml']", "invalid rule file path \"*/x.yml\""),
            ("global: {evaluation_interval: 0s}", "global.evaluation_interval must be above zero"),
            ("global: {external_labels: {__name__: x}}", "is not a valid label name"),
            (
                "alerting: {alertmanagers: [{api_version: v1}]}",
                "expected Alertmanager api version to be one of [v2]",
            ),
            ("alerting: {alertmanagers: [{sheme: http}]}", "unknown field `sheme`"),
            ("alerting: {alertmanagers: [{job_name: x}]}", "field job_name not found"),
            ("alerting: {alert_relabel_configs: [{action: nope}]}", "alerting.alert_relabel_configs[0]"),
            ("alerting: {nope: 1}", "nope"),
        ] {
            let why = parse(text).unwrap_err();
            assert!(why.contains(part), "{text}: {why}");
        }
    }
}
