//! Spans of time, both ends within.

/// A span of time in milliseconds, both ends within.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interval {
    /// The first millisecond.
    pub min: i64,
    /// The last millisecond.
    pub max: i64,
}

impl Interval {
    /// All time.
    pub const ALL: Self = Self { min: i64::MIN, max: i64::MAX };

    /// Whether it holds a time.
    pub fn contains(self, time: i64) -> bool {
        self.min <= time && time <= self.max
    }

    /// Whether both have a time in common.
    pub fn overlaps(self, other: Self) -> bool {
        self.min <= other.max && other.min <= self.max
    }

    /// Whether it holds all of the other.
    pub fn covers(self, other: Self) -> bool {
        self.min <= other.min && other.max <= self.max
    }
}

/// Adds a span to spans that ascend without touching each other, and keeps them so.
pub(crate) fn insert(spans: &mut Vec<Interval>, new: Interval) {
    if new.min > new.max {
        return;
    }
    let from = spans.partition_point(|span| span.max.saturating_add(1) < new.min);
    let until = spans.partition_point(|span| span.min <= new.max.saturating_add(1));
    let mut whole = new;
    for span in spans.drain(from..until) {
        whole = Interval { min: whole.min.min(span.min), max: whole.max.max(span.max) };
    }
    spans.insert(from, whole);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn spans_hold_what_was_added_and_stay_apart(added in proptest::collection::vec((0i64..60, 0i64..10), 0..20)) {
            let mut spans = Vec::new();
            for &(min, length) in &added {
                insert(&mut spans, Interval { min, max: min + length });
            }
            for time in -1..80 {
                let expected = added.iter().any(|&(min, length)| (min..=min + length).contains(&time));
                prop_assert_eq!(spans.iter().any(|span| span.contains(time)), expected);
            }
            prop_assert!(spans.windows(2).all(|two| two[0].max + 1 < two[1].min));
        }
    }
}
