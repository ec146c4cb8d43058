//! Conditions, whose time of change stays where nothing changed.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// What a condition says; `True` or `False` with a reason.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    pub(crate) holds: bool,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

impl Verdict {
    pub(crate) fn yes(reason: &'static str) -> Self {
        Self { holds: true, reason, message: String::new() }
    }

    pub(crate) fn no(reason: &'static str, message: impl Into<String>) -> Self {
        Self { holds: false, reason, message: message.into() }
    }
}

/// Writes the conditions of one object or part of it.
pub(crate) struct Conditions<'a> {
    last: &'a [Condition],
    generation: Option<i64>,
    now: &'a Time,
    written: Vec<Condition>,
    withdrawn: Vec<&'static str>,
}

impl<'a> Conditions<'a> {
    /// Begins from what was written last.
    pub(crate) fn new(last: &'a [Condition], generation: Option<i64>, now: &'a Time) -> Self {
        Self { last, generation, now, written: Vec::new(), withdrawn: Vec::new() }
    }

    /// Adds a condition. Its time is that of the last one of the type if the status is the same.
    pub(crate) fn with(mut self, type_: &str, verdict: Verdict) -> Self {
        let status = if verdict.holds { "True" } else { "False" };
        let same = self.last.iter().find(|last| last.type_ == type_ && last.status == status);
        self.written.push(Condition {
            last_transition_time: same.map_or(self.now, |last| &last.last_transition_time).clone(),
            message: verdict.message,
            observed_generation: self.generation,
            reason: verdict.reason.to_owned(),
            status: status.to_owned(),
            type_: type_.to_owned(),
        });
        self
    }

    /// Takes a condition away that is of no matter now.
    pub(crate) fn without(mut self, type_: &'static str) -> Self {
        self.withdrawn.push(type_);
        self
    }

    /// The conditions written; those of other types, which others may have written, stay.
    pub(crate) fn finish(self) -> Vec<Condition> {
        let mut written = self.written;
        let others = self.last.iter().filter(|last| {
            written.iter().all(|new| new.type_ != last.type_) && !self.withdrawn.contains(&&*last.type_)
        });
        let others: Vec<_> = others.cloned().collect();
        written.extend(others);
        written
    }
}
