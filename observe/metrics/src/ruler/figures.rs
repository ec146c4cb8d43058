//! What is told of rules in the text format, by upstream's names.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use xebec_rules::group::{Group, GroupStatus};

use super::Ruler;

/// Of more groups than these nothing is told one by one.
const MOST_GROUPS: usize = 2000;

/// A name, its type, its help, and its value for a group.
type Figure = (&'static str, &'static str, &'static str, fn(&Group, &GroupStatus) -> f64);

const FIGURES: [Figure; 11] = [
    ("rule_evaluations_total", "counter", "The total number of rule evaluations.", |_, status| {
        status.evaluations as f64
    }),
    (
        "rule_evaluation_failures_total",
        "counter",
        "The total number of rule evaluation failures.",
        |_, status| status.failures as f64,
    ),
    ("rule_group_interval_seconds", "gauge", "The interval of a rule group.", |group, _| {
        group.interval as f64 / 1000.0
    }),
    (
        "rule_group_iterations_total",
        "counter",
        "The total number of scheduled rule group evaluations, whether executed or missed.",
        |_, status| status.iterations as f64,
    ),
    (
        "rule_group_iterations_missed_total",
        "counter",
        "The total number of rule group evaluations missed due to slow rule group evaluation.",
        |_, status| status.missed as f64,
    ),
    (
        "rule_group_last_duration_seconds",
        "gauge",
        "The duration of the last rule group evaluation.",
        |_, status| status.took.as_secs_f64(),
    ),
    (
        "rule_group_last_evaluation_timestamp_seconds",
        "gauge",
        "The timestamp of the last rule group evaluation in seconds.",
        |_, status| status.evaluated_at.unwrap_or(0) as f64 / 1000.0,
    ),
    (
        "rule_group_last_evaluation_samples",
        "gauge",
        "The number of samples returned during the last rule group evaluation.",
        |_, status| status.samples as f64,
    ),
    (
        "rule_group_last_restore_duration_seconds",
        "gauge",
        "The duration of the last restoration of alerts from the ALERTS_FOR_STATE series.",
        |_, status| status.restored_in.as_secs_f64(),
    ),
    (
        "rule_group_last_rule_duration_sum_seconds",
        "gauge",
        "The sum of the durations of the rules of the last rule group evaluation.",
        |group, _| group.rules.iter().map(|rule| rule.status().took).sum::<Duration>().as_secs_f64(),
    ),
    ("rule_group_rules", "gauge", "The number of rules.", |group, _| group.rules.len() as f64),
];

impl Ruler {
    /// All of it, in the text format. Nothing if there are no groups and no Alertmanagers.
    pub fn figures(&self) -> String {
        let groups: Vec<(Arc<Group>, GroupStatus)> =
            self.groups().into_iter().map(|group| (Arc::clone(&group), group.status())).collect();
        let mut text = self.notifications().figures();
        if groups.is_empty() {
            return text;
        }
        let sum: Duration = groups.iter().map(|(_, status)| status.total).sum();
        let count: u64 = groups.iter().map(|(_, status)| status.iterations - status.missed).sum();
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "# HELP prometheus_rule_group_duration_seconds The duration of rule group evaluations.\n\
             # TYPE prometheus_rule_group_duration_seconds summary\n\
             prometheus_rule_group_duration_seconds_sum {}\nprometheus_rule_group_duration_seconds_count {count}\n",
            sum.as_secs_f64()
        );
        for (name, kind, help, value) in FIGURES {
            let _ = write!(text, "# HELP prometheus_{name} {help}\n# TYPE prometheus_{name} {kind}\n");
            for (group, status) in groups.iter().take(MOST_GROUPS) {
                let key = group.key().replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
                let _ = writeln!(text, "prometheus_{name}{{rule_group=\"{key}\"}} {}", value(group, status));
            }
        }
        text
    }
}
