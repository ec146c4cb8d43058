//! What alerts were before a restart, as the series [`ALERTS_FOR_STATE`](crate::alert::ALERTS_FOR_STATE) remember it.

use std::collections::HashMap;
use std::time::Instant;

use xebec_promql::labels::{Labels, METRIC_NAME};
use xebec_promql::number::is_stale_nan;
use xebec_promql::storage::{SampleValue, SelectHints, Storage, StorageError};

use super::Group;
use crate::rule::{Alerting, Rule};
use crate::storage::Store;

/// How much of the past counts. Times are in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restoring {
    /// Longer outages are not bridged.
    pub outage_tolerance: i64,
    /// An alert that would have fired in the meantime is given so long before it does.
    pub grace_period: i64,
}

impl Default for Restoring {
    fn default() -> Self {
        Self { outage_tolerance: 3_600_000, grace_period: 600_000 }
    }
}

impl Group {
    /// Gives alerts the time since when they are active as it was before a restart. The group's series are written from
    /// now on. What cannot be read is told; the rules then begin anew.
    pub fn restore(&self, store: &dyn Store, now: i64, how: Restoring) -> Result<(), String> {
        let begun = Instant::now();
        let mut failed = Ok(());
        let reader = store.reader();
        for rule in &self.rules {
            let Some(alerting) = rule.alerting() else { continue };
            // One that fires sooner than the grace period begins anew.
            if alerting.hold >= how.grace_period
                && let Err(error) = restore_rule(&*reader, rule, alerting, now, how)
            {
                failed = Err(format!("alert {}: {error}", rule.name));
            }
            alerting.set_restored();
        }
        self.noted().restored_in = begun.elapsed();
        failed
    }
}

fn restore_rule(
    reader: &dyn Storage,
    rule: &Rule,
    alerting: &Alerting,
    now: i64,
    how: Restoring,
) -> Result<(), StorageError> {
    let hints = SelectHints { start: now - how.outage_tolerance, end: now, ..SelectHints::default() };
    let mut last: HashMap<Labels, (i64, f64)> = HashMap::new();
    for series in reader.select(&hints, &alerting.state_matchers(rule))?.series {
        let mut samples = series.samples();
        let mut sample = samples.seek(hints.start)?;
        let mut newest = None;
        while let Some(known) = sample.filter(|sample| sample.time <= now) {
            if let SampleValue::Float(value) = known.value {
                newest = Some((known.time, value));
            }
            sample = samples.next()?;
        }
        if let Some(newest) = newest {
            last.insert(series.labels().filtered(|name| name != METRIC_NAME), newest);
        }
    }
    alerting.each(|alert| {
        let Some(&(down_at, since)) = last.get(&alert.labels) else { return };
        if is_stale_nan(since) {
            return;
        }
        let since = (since as i64).saturating_mul(1000);
        let remaining = alerting.hold - (down_at - since);
        alert.active_at = if remaining <= 0 {
            // It was firing, and does so again.
            since
        } else if remaining < how.grace_period {
            now + how.grace_period - alerting.hold
        } else {
            since + (now - down_at)
        };
    });
    Ok(())
}
