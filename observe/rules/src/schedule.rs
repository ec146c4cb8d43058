//! When a group is evaluated: every interval, at moments that depend on the group's name and file alone, so that they stay
//! the same over restarts and differ from group to group.

use xebec_promql::labels::Labels;

/// The moments of a group, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    interval: i64,
    offset: i64,
}

/// An evaluation that is due, and how many before it were not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// The moment to evaluate at.
    pub time: i64,
    /// Those that were missed since the last one.
    pub missed: u64,
}

impl Schedule {
    /// The moments of a group. An interval below a millisecond counts as one.
    pub fn new(file: &str, name: &str, interval: i64) -> Self {
        let interval = interval.max(1);
        let hash = Labels::from_pairs([("file", file), ("name", name)]).sampling_hash();
        Self { interval, offset: (hash % interval.unsigned_abs()) as i64 }
    }

    /// The first moment after `now`.
    pub fn first(&self, now: i64) -> i64 {
        let since = now.saturating_sub(self.offset);
        since - since.rem_euclid(self.interval) + self.offset + self.interval
    }

    /// The moment after `last`. If `now` is past further ones, the newest of them is due and the others are missed.
    pub fn next(&self, last: i64, now: i64) -> Due {
        let missed = (now.saturating_sub(last) / self.interval - 1).max(0);
        Due { time: last + (missed + 1) * self.interval, missed: missed.unsigned_abs() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_steady_and_what_is_missed_is_counted() {
        let schedule = Schedule::new("f", "g", 60_000);
        let first = schedule.first(1_000_000_000);
        assert!(first > 1_000_000_000 && first <= 1_000_060_000);
        assert_eq!(schedule.first(first - 1), first);
        assert_eq!(schedule.first(first), first + 60_000);
        assert_eq!(schedule.next(first, first + 100), Due { time: first + 60_000, missed: 0 });
        assert_eq!(schedule.next(first, first + 60_000), Due { time: first + 60_000, missed: 0 });
        assert_eq!(schedule.next(first, first + 200_000), Due { time: first + 180_000, missed: 2 });
        assert_ne!(Schedule::new("f", "h", 60_000), schedule);
    }
}
