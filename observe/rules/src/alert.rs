//! Alerts: what an alerting rule's samples become, and how they change from evaluation to evaluation.

use std::collections::BTreeMap;

use xebec_promql::labels::{Labels, LabelsBuilder, METRIC_NAME};
use xebec_promql::storage::SampleValue;

/// The series of alerts.
pub const ALERTS: &str = "ALERTS";
/// The series that remembers since when alerts are active.
pub const ALERTS_FOR_STATE: &str = "ALERTS_FOR_STATE";
/// The label of an alert's name.
pub const ALERT_NAME: &str = "alertname";
/// The label of an alert's state, in [`ALERTS`].
const ALERT_STATE: &str = "alertstate";
/// How long a resolved alert is kept, and told, in milliseconds.
pub const RESOLVED_RETENTION: i64 = 15 * 60_000;
/// How many rounds an alert that is told stays valid without being told again.
const VALID_ROUNDS: i64 = 4;

/// The state of an alert. The later ones are the graver ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It was firing and is no longer.
    Inactive,
    /// Its rule holds, but not for long enough.
    Pending,
    /// It fires.
    Firing,
}

impl State {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Pending => "pending",
            Self::Firing => "firing",
        }
    }
}

/// An alert. Times are in milliseconds since 1970.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// Its state.
    pub state: State,
    /// What it is known by, its name among them.
    pub labels: Labels,
    /// What is told with it.
    pub annotations: BTreeMap<String, String>,
    /// The rule's value when it held last.
    pub value: f64,
    /// Since when the rule holds.
    pub active_at: i64,
    /// Since when it fires.
    pub fired_at: Option<i64>,
    /// When it ceased to fire.
    pub resolved_at: Option<i64>,
    /// When it was told last.
    pub last_sent_at: Option<i64>,
    /// Until when it counts as firing if it is not told again.
    pub valid_until: Option<i64>,
    /// Since when it fires only because it is kept firing.
    pub keep_firing_since: Option<i64>,
}

/// Who is told of alerts.
pub trait Notifier {
    /// Tells of alerts of the rule with this expression: those that fire, and those that are resolved.
    fn notify(&self, expr: &str, alerts: Vec<Alert>);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nobody;

impl Notifier for Nobody {
    fn notify(&self, _: &str, _: Vec<Alert>) {}
}

/// A sample that is to be written.
pub(crate) type Written = (Labels, SampleValue);

/// The alerts of a rule.
#[derive(Debug, Default)]
pub(crate) struct Alerts {
    active: BTreeMap<Labels, Alert>,
}

/// How long a rule must hold, and how long it goes on to fire, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Holding {
    pub(crate) hold: i64,
    pub(crate) keep_firing: i64,
}

impl Alert {
    pub(crate) fn new(labels: Labels, annotations: BTreeMap<String, String>, value: f64, time: i64) -> Self {
        Self {
            state: State::Pending,
            labels,
            annotations,
            value,
            active_at: time,
            fired_at: None,
            resolved_at: None,
            last_sent_at: None,
            valid_until: None,
            keep_firing_since: None,
        }
    }

    fn needs_sending(&self, time: i64, resend_delay: i64) -> bool {
        if self.state == State::Pending {
            return false;
        }
        let Some(last) = self.last_sent_at else { return true };
        self.resolved_at.is_some_and(|resolved| resolved > last) || last + resend_delay < time
    }

    fn series(&self, name: &str, state: Option<State>) -> Labels {
        let mut labels = LabelsBuilder::from(&self.labels);
        labels.set(METRIC_NAME, name);
        if let Some(state) = state {
            labels.set(ALERT_STATE, state.name());
        }
        labels.build()
    }
}

impl Alerts {
    /// Takes over what a rule found at a time: new alerts are pending, known ones go on, and those that are not found end.
    /// Returns how many are active.
    pub(crate) fn update(
        &mut self,
        mut found: BTreeMap<Labels, Alert>,
        time: i64,
        holding: Holding,
    ) -> usize {
        for alert in self.active.values_mut() {
            let Some(fresh) = found.remove(&alert.labels) else {
                alert.end_unless_kept(time, holding.keep_firing);
                if alert.state == State::Firing {
                    alert.advance(time, holding.hold);
                }
                continue;
            };
            if alert.state == State::Inactive {
                *alert = fresh;
            } else {
                (alert.value, alert.annotations) = (fresh.value, fresh.annotations);
                alert.keep_firing_since = None;
            }
            alert.advance(time, holding.hold);
        }
        for (labels, mut alert) in found {
            alert.advance(time, holding.hold);
            self.active.insert(labels, alert);
        }
        self.active.retain(|_, alert| {
            let is_forgotten = alert.fired_at.is_none() && alert.state == State::Inactive;
            !is_forgotten && alert.resolved_at.is_none_or(|resolved| time - resolved <= RESOLVED_RETENTION)
        });
        self.active.values().filter(|alert| alert.state != State::Inactive).count()
    }

    /// The samples of the active ones.
    pub(crate) fn samples(&self) -> Vec<Written> {
        let active = self.active.values().filter(|alert| alert.state != State::Inactive);
        let each = active.flat_map(|alert| {
            let since = alert.active_at.div_euclid(1000) as f64;
            [
                (alert.series(ALERTS, Some(alert.state)), SampleValue::Float(1.0)),
                (alert.series(ALERTS_FOR_STATE, None), SampleValue::Float(since)),
            ]
        });
        each.collect()
    }

    /// Those that are to be told of now; they count as told.
    pub(crate) fn due(&mut self, time: i64, resend_delay: i64, interval: i64) -> Vec<Alert> {
        let mut due = Vec::new();
        for alert in self.active.values_mut().filter(|alert| alert.needs_sending(time, resend_delay)) {
            alert.last_sent_at = Some(time);
            alert.valid_until = Some(time + VALID_ROUNDS * interval.max(resend_delay));
            due.push(alert.clone());
        }
        due
    }

    /// Those that are pending or fire, by their labels.
    pub(crate) fn active(&self) -> Vec<Alert> {
        self.active.values().filter(|alert| alert.resolved_at.is_none()).cloned().collect()
    }

    /// The gravest state; inactive if there are none.
    pub(crate) fn state(&self) -> State {
        self.active.values().map(|alert| alert.state).max().unwrap_or(State::Inactive)
    }

    pub(crate) fn clear(&mut self) {
        self.active.clear();
    }

    pub(crate) fn all_mut(&mut self) -> impl Iterator<Item = &mut Alert> {
        self.active.values_mut()
    }

    /// Takes over the alerts of the rule that it was before.
    pub(crate) fn copy(&mut self, from: &Self) {
        self.active.extend(from.active.iter().map(|(labels, alert)| (labels.clone(), alert.clone())));
    }
}

impl Alert {
    /// It was not found: it ends, unless it is to go on firing.
    fn end_unless_kept(&mut self, time: i64, keep_firing: i64) {
        match self.state {
            State::Firing if keep_firing > 0 => {
                let since = *self.keep_firing_since.get_or_insert(time);
                if time - since >= keep_firing {
                    (self.state, self.resolved_at) = (State::Inactive, Some(time));
                }
            }
            State::Firing => (self.state, self.resolved_at) = (State::Inactive, Some(time)),
            // One that never fired is forgotten at once.
            State::Pending => (self.state, self.fired_at) = (State::Inactive, None),
            State::Inactive => {}
        }
    }

    fn advance(&mut self, time: i64, hold: i64) {
        let held = time - self.active_at;
        if self.state == State::Pending && held >= hold {
            (self.state, self.fired_at) = (State::Firing, Some(time));
        }
        // A rule may have come to demand more since.
        if self.state == State::Firing && held < hold {
            self.state = State::Pending;
            (self.fired_at, self.last_sent_at, self.keep_firing_since) = (None, None, None);
        }
    }
}

#[cfg(test)]
mod tests;
