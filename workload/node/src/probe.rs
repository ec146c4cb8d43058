//! When a probe is due, and how many of its outcomes make a verdict.

use std::time::Duration;

use k8s_openapi::api::core::v1::Probe;

/// When a probe runs and how often it must come out one way to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timing {
    pub(crate) delay: Duration,
    pub(crate) period: Duration,
    pub(crate) timeout: Duration,
    pub(crate) successes: u32,
    pub(crate) failures: u32,
}

impl Timing {
    /// The numbers of a probe, with the API's defaults.
    pub(crate) fn of(probe: &Probe) -> Self {
        let seconds = |value: Option<i32>, default: u64| {
            Duration::from_secs(
                value.and_then(|own| u64::try_from(own).ok()).filter(|own| *own > 0).unwrap_or(default),
            )
        };
        let count = |value: Option<i32>, default: u32| {
            value.and_then(|own| u32::try_from(own).ok()).filter(|own| *own > 0).unwrap_or(default)
        };
        Self {
            delay: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds, 10),
            timeout: seconds(probe.timeout_seconds, 1),
            successes: count(probe.success_threshold, 1),
            failures: count(probe.failure_threshold, 3),
        }
    }
}

/// Counts outcomes until they count.
#[derive(Debug)]
pub(crate) struct Tally {
    timing: Timing,
    good: u32,
    bad: u32,
}

impl Tally {
    pub(crate) fn new(timing: Timing) -> Self {
        Self { timing, good: 0, bad: 0 }
    }

    /// Takes an outcome; tells the verdict where there is one.
    pub(crate) fn note(&mut self, success: bool) -> Option<bool> {
        if success {
            self.good = self.good.saturating_add(1);
            self.bad = 0;
            (self.good >= self.timing.successes).then_some(true)
        } else {
            self.bad = self.bad.saturating_add(1);
            self.good = 0;
            (self.bad >= self.timing.failures).then_some(false)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_takes_as_many_outcomes_in_a_row_as_the_probe_asks() {
        let timing = Timing { successes: 2, failures: 3, ..Timing::of(&Probe::default()) };
        let mut tally = Tally::new(timing);
        let outcomes = [true, true, false, false, true, false, false, false];
        let verdicts: Vec<_> = outcomes.into_iter().map(|outcome| tally.note(outcome)).collect();
        assert_eq!(verdicts, [None, Some(true), None, None, None, None, None, Some(false)]);
    }

    #[test]
    fn the_defaults_are_those_of_the_api() {
        let timing = Timing::of(&Probe::default());
        assert_eq!((timing.period, timing.timeout), (Duration::from_secs(10), Duration::from_secs(1)));
        assert_eq!((timing.successes, timing.failures), (1, 3));
    }
}
