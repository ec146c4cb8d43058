//! A group of rules: evaluated one after the other, so that later ones see what earlier ones wrote.

mod restore;

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use xebec_promql::labels::Labels;
use xebec_promql::number::stale_nan;
use xebec_promql::storage::SampleValue;

use crate::alert::Notifier;
use crate::file;
use crate::rule::{Context, Health, Rule};
use crate::schedule::Schedule;
use crate::storage::{AppendError, Store};

pub use restore::Restoring;

/// A group of rules of a file.
#[derive(Debug)]
pub struct Group {
    /// The file.
    pub file: String,
    /// Its name, which is unique in its file.
    pub name: String,
    /// From one evaluation to the next, in milliseconds.
    pub interval: i64,
    /// How far before its time it is evaluated, in milliseconds, if it says so.
    pub query_offset: Option<i64>,
    /// How many series or alerts a rule may bring; zero and less is any number.
    pub limit: i64,
    /// Its rules, in their order.
    pub rules: Vec<Rule>,
    memory: Mutex<Memory>,
    status: Mutex<GroupStatus>,
}

/// What is remembered from one evaluation to the next. Whoever evaluates holds it.
#[derive(Debug, Default)]
struct Memory {
    /// The series that each rule wrote last.
    written: Vec<HashSet<Labels>>,
    /// Series of rules that are gone, which have to end.
    stale: Vec<Labels>,
}

/// What is known of a group.
#[derive(Debug, Clone, Default)]
pub struct GroupStatus {
    /// When its last evaluation began, in milliseconds since 1970.
    pub evaluated_at: Option<i64>,
    /// How long that took.
    pub took: Duration,
    /// How many samples it brought.
    pub samples: usize,
    /// How many evaluations were due.
    pub iterations: u64,
    /// How many of them were not made, since those before took too long.
    pub missed: u64,
    /// How many times rules were evaluated.
    pub evaluations: u64,
    /// How many times that failed.
    pub failures: u64,
    /// How long looking for what was known before a restart took.
    pub restored_in: Duration,
    /// How long all evaluations of the group took together.
    pub total: Duration,
}

/// How a group is evaluated.
pub struct Round<'r> {
    /// What rules need.
    pub context: &'r Context<'r>,
    /// Is told of alerts.
    pub notifier: &'r dyn Notifier,
    /// Tells the time, in milliseconds since 1970.
    pub clock: &'r dyn Fn() -> i64,
    /// How far before its time a group is evaluated that says nothing of it, in milliseconds.
    pub query_offset: i64,
    /// After how long alerts are told again, in milliseconds.
    pub resend_delay: i64,
}

impl Group {
    /// A group of a file. If it `restores`, its alerts are written only after [`restore`](Self::restore).
    pub fn new(
        path: &str,
        group: &file::RuleGroup,
        usual_interval: i64,
        restores: bool,
    ) -> Result<Self, String> {
        let rules: Result<Vec<Rule>, String> =
            group.rules.iter().map(|rule| Rule::new(group, rule, restores)).collect();
        let rules = rules?;
        let memory = Memory { written: rules.iter().map(|_| HashSet::new()).collect(), stale: Vec::new() };
        Ok(Self {
            file: path.to_owned(),
            name: group.name.clone(),
            interval: group.interval.map_or(usual_interval, |interval| interval.millis()),
            query_offset: group.query_offset.map(|offset| offset.millis()),
            limit: group.limit,
            rules,
            memory: Mutex::new(memory),
            status: Mutex::default(),
        })
    }

    /// What it is known by among all groups.
    pub fn key(&self) -> String {
        format!("{};{}", self.file, self.name)
    }

    /// When it is evaluated.
    pub fn schedule(&self) -> Schedule {
        Schedule::new(&self.file, &self.name, self.interval)
    }

    /// What is known of it.
    pub fn status(&self) -> GroupStatus {
        self.noted().clone()
    }

    /// Whether another group is the same, so that it needs not be replaced.
    pub fn is_same(&self, other: &Self) -> bool {
        let fixed = |group: &Self| (group.interval, group.limit, group.query_offset, group.rules.len());
        self.key() == other.key()
            && fixed(self) == fixed(other)
            && self.rules.iter().zip(&other.rules).all(|(one, two)| one.is_same(two))
    }

    fn noted(&self) -> MutexGuard<'_, GroupStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over the alerts and series of the group that it replaces. Rules are the same ones by name and labels. Waits
    /// for an evaluation of the other to end.
    pub fn copy_state(&self, from: &Self) {
        let mut theirs = from.memory();
        let mut own = self.memory();
        *self.noted() = from.status();
        let mut places: HashMap<(&str, &_), VecDeque<usize>> = HashMap::new();
        for (at, rule) in from.rules.iter().enumerate() {
            places.entry((&rule.name, &rule.labels)).or_default().push_back(at);
        }
        for (at, rule) in self.rules.iter().enumerate() {
            let place = places.get_mut(&(rule.name.as_str(), &rule.labels)).and_then(VecDeque::pop_front);
            let Some(place) = place else { continue };
            own.written[at] = std::mem::take(&mut theirs.written[place]);
            if let (Some(alerting), Some(before)) = (rule.alerting(), from.rules[place].alerting()) {
                alerting.copy(before);
            }
        }
        own.stale = std::mem::take(&mut theirs.stale);
        own.stale.extend(theirs.written.iter_mut().flat_map(std::mem::take));
    }

    /// Evaluates all rules at a time. `missed` evaluations before it were due and not made.
    pub fn evaluate(&self, round: &Round<'_>, time: i64, missed: u64) {
        let mut memory = self.memory();
        let (begun, began_at) = (Instant::now(), (round.clock)());
        {
            let mut status = self.noted();
            status.iterations += missed + 1;
            status.missed += missed;
        }
        let offset = self.query_offset.unwrap_or(round.query_offset);
        let mut samples = 0;
        for (at, rule) in self.rules.iter().enumerate() {
            if round.context.cancellation.is_cancelled() {
                return;
            }
            let (begun, began_at) = (Instant::now(), (round.clock)());
            let evaluated = self.rule(round, rule, (time, offset), &mut memory.written[at]);
            rule.note_time(began_at, begun.elapsed());
            let mut status = self.noted();
            status.evaluations += 1;
            match evaluated {
                Ok(brought) => samples += brought,
                Err(why) => {
                    status.failures += 1;
                    drop(status);
                    rule.note(Health::Bad, Some(why));
                }
            }
        }
        memory.end_stale(round.context.store, time - offset);
        let mut status = self.noted();
        status.samples = samples;
        status.took = begun.elapsed();
        status.total += begun.elapsed();
        status.evaluated_at = Some(began_at);
    }

    /// Evaluates one rule, and writes its result. Series that it wrote before and no longer does end.
    fn rule(
        &self,
        round: &Round<'_>,
        rule: &Rule,
        (time, offset): (i64, i64),
        before: &mut HashSet<Labels>,
    ) -> Result<usize, String> {
        let result = rule.evaluate(round.context, time, offset, self.limit)?;
        rule.note(Health::Good, None);
        if let Some(alerting) = rule.alerting() {
            let due = alerting.due(time, round.resend_delay, self.interval);
            if !due.is_empty() {
                round.notifier.notify(&rule.query, due);
            }
        }
        let count = result.len();
        let mut appender = round.context.store.appender();
        let mut written = HashSet::with_capacity(count);
        for (labels, value) in result {
            match appender.append(&labels, time - offset, &value) {
                Ok(()) => {
                    written.insert(labels);
                }
                Err(error) => rule.note(Health::Bad, Some(error.to_string())),
            }
        }
        for labels in before.iter().filter(|labels| !written.contains(*labels)) {
            // Another rule may have gone on with the series.
            let _refused = appender.append(labels, time - offset, &SampleValue::Float(stale_nan()));
        }
        appender.commit().map_err(|error| error.to_string())?;
        *before = written;
        Ok(count)
    }

    /// Ends all its series: the group is gone.
    pub fn end_series(&self, store: &dyn Store, time: i64) -> Result<(), AppendError> {
        let mut memory = self.memory();
        let written: Vec<Labels> = memory.written.iter_mut().flat_map(std::mem::take).collect();
        memory.stale.extend(written);
        memory.try_end_stale(store, time)
    }
}

impl Memory {
    /// Ends series of rules that are gone; if that fails, it is tried again next time.
    fn end_stale(&mut self, store: &dyn Store, time: i64) {
        let _again = self.try_end_stale(store, time);
    }

    fn try_end_stale(&mut self, store: &dyn Store, time: i64) -> Result<(), AppendError> {
        if self.stale.is_empty() {
            return Ok(());
        }
        let mut appender = store.appender();
        for labels in &self.stale {
            match appender.append(labels, time, &SampleValue::Float(stale_nan())) {
                Err(error) if !error.is_refused_sample() => return Err(error),
                _ => {}
            }
        }
        appender.commit()?;
        self.stale.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
