//! How many seats were wanted over a while: on the average, how much that varied, and at the most.

use std::time::Duration;

use tokio::time::Instant;

/// How much of what was wanted before counts, a period later.
const MEMORY: f64 = 0.977;

/// What is wanted, and was since the last look.
#[derive(Debug)]
pub(super) struct Demand {
    wanted: f64,
    changed: Instant,
    lasted: f64,
    sum: f64,
    squares: f64,
    most: f64,
}

/// What was wanted in a period, and what is remembered of those before.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Wanted {
    pub(super) most: f64,
    pub(super) average: f64,
    pub(super) deviation: f64,
    pub(super) smoothed: f64,
}

impl Demand {
    pub(super) fn new(now: Instant) -> Self {
        Self { wanted: 0.0, changed: now, lasted: 0.0, sum: 0.0, squares: 0.0, most: 0.0 }
    }

    /// From now on this much is wanted.
    pub(super) fn set(&mut self, wanted: u32, now: Instant) {
        self.pass(now);
        self.wanted = f64::from(wanted);
        self.most = self.most.max(self.wanted);
    }

    fn pass(&mut self, now: Instant) {
        let took = now.saturating_duration_since(self.changed).as_secs_f64();
        self.changed = now;
        self.lasted += took;
        self.sum += self.wanted * took;
        self.squares += self.wanted * self.wanted * took;
    }

    /// Ends a period.
    pub(super) fn look(&mut self, before: Wanted, now: Instant) -> Wanted {
        self.pass(now);
        let (average, variance) = if self.lasted > Duration::from_millis(1).as_secs_f64() {
            let average = self.sum / self.lasted;
            (average, (self.squares / self.lasted - average * average).max(0.0))
        } else {
            (self.wanted, 0.0)
        };
        let deviation = variance.sqrt();
        let envelope = average + deviation;
        let smoothed = envelope.max(MEMORY * before.smoothed + (1.0 - MEMORY) * envelope);
        let looked = Wanted { most: self.most, average, deviation, smoothed };
        *self = Self { wanted: self.wanted, most: self.wanted, ..Self::new(now) };
        looked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_is_remembered_for_longer_than_it_lasted() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut demand = Demand::new(begin);
        demand.set(10, at(5));
        let first = demand.look(Wanted::default(), at(10));
        assert_eq!((first.most, first.average, first.deviation), (10.0, 5.0, 5.0));
        assert_eq!(first.smoothed, 10.0);
        demand.set(0, at(10));
        let second = demand.look(first, at(20));
        assert_eq!((second.most, second.average), (10.0, 0.0));
        assert!(second.smoothed > 9.0 && second.smoothed < 10.0, "{second:?}");
        let third = demand.look(second, at(30));
        assert_eq!(third.most, 0.0);
    }
}
