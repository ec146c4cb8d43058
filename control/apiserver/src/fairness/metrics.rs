//! What is counted, in the Prometheus text format and by the names that upstream's servers use.

use std::fmt::{Display, Write as _};

use super::Fairness;
use super::level::{Level, Tally};

type OfLevel<T> = (&'static str, &'static str, fn(&Level<T>) -> f64);
type OfFlow = (&'static str, &'static str, &'static str, fn(&Tally) -> f64);

fn gauges<T>() -> [OfLevel<T>; 9] {
    [
        ("nominal_limit_seats", "Seats of the level by its shares.", |level| level.bounds.nominal.into()),
        ("lower_limit_seats", "Seats that the level keeps.", |level| level.bounds.lower.into()),
        ("upper_limit_seats", "Seats that the level may have.", |level| level.bounds.upper.into()),
        ("current_limit_seats", "Seats that the level has now.", |level| level.limit.into()),
        ("demand_seats_high_watermark", "The most seats wanted in the last period.", |level| {
            level.wanted.most
        }),
        ("demand_seats_average", "Seats wanted in the last period.", |level| level.wanted.average),
        ("demand_seats_stdev", "How much that varied.", |level| level.wanted.deviation),
        ("demand_seats_smoothed", "Seats wanted of late.", |level| level.wanted.smoothed),
        ("target_seats", "Seats that the level would do with.", |level| {
            level.wanted.smoothed.max(level.bounds.lower.into())
        }),
    ]
}

const OF_FLOWS: [OfFlow; 5] = [
    ("dispatched_requests_total", "counter", "Requests that were let through.", |tally| {
        tally.dispatched as f64
    }),
    ("current_inqueue_requests", "gauge", "Requests that wait.", |tally| tally.waiting.into()),
    ("current_executing_requests", "gauge", "Requests that run.", |tally| tally.executing.into()),
    ("current_executing_seats", "gauge", "Seats that are taken.", |tally| tally.seats.into()),
    ("request_wait_seconds_total", "counter", "Time that requests waited until they ran.", |tally| {
        tally.waited.as_secs_f64()
    }),
];

impl Fairness {
    /// All that is counted, as text.
    pub(crate) fn metrics(&self) -> String {
        let mut text = String::new();
        let hall = self.lock();
        for (name, help, value) in gauges() {
            head(&mut text, name, "gauge", help);
            for (level, own) in &hall.levels {
                line(&mut text, name, &[("priority_level", level)], value(own));
            }
        }
        for (name, kind, help, value) in OF_FLOWS {
            head(&mut text, name, kind, help);
            for (level, own) in &hall.levels {
                for (flow, tally) in &own.tallies {
                    let labels = [("flow_schema", &**flow), ("priority_level", level)];
                    line(&mut text, name, &labels, value(tally));
                }
            }
        }
        let name = "rejected_requests_total";
        head(&mut text, name, "counter", "Requests that were refused.");
        for (level, own) in &hall.levels {
            for (flow, tally) in &own.tallies {
                for (reason, count) in &tally.refused {
                    let labels = [("flow_schema", &**flow), ("priority_level", level), ("reason", reason)];
                    line(&mut text, name, &labels, count);
                }
            }
        }
        let name = "seat_fair_frac";
        head(&mut text, name, "gauge", "The part of their targets that levels got.");
        line(&mut text, name, &[], hall.fraction);
        text
    }
}

const PREFIX: &str = "apiserver_flowcontrol_";

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a string does not fail.
    let _ = write!(text, "# HELP {PREFIX}{name} {help}\n# TYPE {PREFIX}{name} {kind}\n");
}

/// A sample. The names of levels and schemas hold nothing that needs escaping.
fn line(text: &mut String, name: &str, labels: &[(&str, &str)], value: impl Display) {
    let labels: Vec<String> = labels.iter().map(|(label, of)| format!("{label}=\"{of}\"")).collect();
    let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
    let _ = writeln!(text, "{PREFIX}{name}{labels} {value}");
}
