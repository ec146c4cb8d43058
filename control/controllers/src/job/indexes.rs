//! Sets of the indexes of a Job, in the form in which its status keeps them: `1,3-5`.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// A set of indexes. It is kept as ranges, so that it is no larger than the text that it came from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Indexes {
    /// The last index of each range by its first. No two of them touch.
    ranges: BTreeMap<u32, u32>,
}

impl Indexes {
    /// Reads what a status or a rule says. Parts that cannot be read, or are not below the number of completions, are
    /// left out.
    pub fn parse(text: &str, completions: u32) -> Self {
        let mut all = Self::default();
        let Some(highest) = completions.checked_sub(1) else { return all };
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            if let (Ok(first), Ok(last)) = (first.trim().parse::<u32>(), last.trim().parse::<u32>()) {
                all.add(first..=last.min(highest));
            }
        }
        all
    }

    /// Adds an index.
    pub fn insert(&mut self, index: u32) {
        self.add(index..=index);
    }

    fn add(&mut self, range: RangeInclusive<u32>) {
        let (mut first, mut last) = range.into_inner();
        if first > last {
            return;
        }
        // What overlaps it or stands beside it becomes one range with it.
        while let Some((&start, &end)) = self.ranges.range(..=last.saturating_add(1)).next_back()
            && end >= first.saturating_sub(1)
        {
            self.ranges.remove(&start);
            (first, last) = (first.min(start), last.max(end));
        }
        self.ranges.insert(first, last);
    }

    /// The ranges, from the lowest.
    pub fn ranges(&self) -> impl Iterator<Item = RangeInclusive<u32>> {
        self.ranges.iter().map(|(first, last)| *first..=*last)
    }

    /// Whether an index is one of them.
    pub fn contains(&self, index: u32) -> bool {
        self.ranges.range(..=index).next_back().is_some_and(|(_, last)| *last >= index)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.ranges().map(|range| length(&range)).sum()
    }

    /// How many of them are in the other set too.
    pub fn common(&self, other: &Self) -> usize {
        let within = |own: RangeInclusive<u32>| {
            // The last that begins before it may reach into it.
            let before = other.ranges.range(..own.start()).next_back();
            let all = before.into_iter().chain(other.ranges.range(own.clone()));
            all.map(|(first, last)| length(&(*first.max(own.start())..=*last.min(own.end())))).sum::<usize>()
        };
        self.ranges().map(within).sum()
    }

    /// The indexes below a number that are not among them, found one by one.
    pub fn missing(&self, below: u32) -> impl Iterator<Item = u32> {
        let begins = std::iter::once(0).chain(self.ranges.values().map(|last| last.saturating_add(1)));
        let ends = self.ranges.keys().copied().chain(std::iter::once(below));
        begins.zip(ends).flat_map(move |(begin, end)| begin..end.min(below))
    }
}

impl Extend<RangeInclusive<u32>> for Indexes {
    fn extend<T: IntoIterator<Item = RangeInclusive<u32>>>(&mut self, ranges: T) {
        ranges.into_iter().for_each(|range| self.add(range));
    }
}

fn length(range: &RangeInclusive<u32>) -> usize {
    range.end().checked_sub(*range.start()).map_or(0, |more| more as usize + 1)
}

impl std::fmt::Display for Indexes {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut separator = "";
        for (first, last) in self.ranges().map(RangeInclusive::into_inner) {
            match last - first {
                0 => write!(out, "{separator}{first}")?,
                1 => write!(out, "{separator}{first},{last}")?,
                _ => write!(out, "{separator}{first}-{last}")?,
            }
            separator = ",";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_written_as_they_are_read() {
        for text in ["", "0", "1,3-5,7", "0,1", "0-9"] {
            assert_eq!(Indexes::parse(text, 10).to_string(), text);
        }
    }

    #[test]
    fn what_is_no_index_of_the_job_is_left_out() {
        assert_eq!(Indexes::parse("x,3-1,2,8-4000000000,-5", 10).to_string(), "2,8,9");
        assert_eq!(Indexes::parse("0-5", 0).count(), 0);
    }

    #[test]
    fn common_indexes_are_counted() {
        assert_eq!(Indexes::parse("0-4", 10).common(&Indexes::parse("3-8", 10)), 2);
    }

    #[test]
    fn a_set_takes_no_more_room_than_its_text_however_many_indexes_it_names() {
        let most = u32::MAX;
        let mut all = Indexes::parse("0-2000000000,2000000002-4294967295", most);
        assert_eq!(all.to_string(), "0-2000000000,2000000002-4294967294");
        assert_eq!(all.missing(most).collect::<Vec<_>>(), [2_000_000_001]);
        assert_eq!(all.common(&Indexes::parse("1999999999-2000000003", most)), 4);
        all.insert(2_000_000_001);
        assert_eq!((all.to_string().as_str(), all.count()), ("0-4294967294", 4_294_967_295));
        assert_eq!(Indexes::default().missing(most).take(3).collect::<Vec<_>>(), [0, 1, 2]);
    }

    proptest::proptest! {
        #[test]
        fn a_set_of_ranges_holds_what_a_set_of_numbers_does(
            own in proptest::collection::vec(0..40_u32, 0..30),
            other in proptest::collection::vec(0..40_u32, 0..30),
        ) {
            let set = |numbers: &[u32]| {
                let mut set = Indexes::default();
                numbers.iter().for_each(|number| set.insert(*number));
                set
            };
            let (left, right) = (set(&own), set(&other));
            let plain = |numbers: &[u32]| numbers.iter().copied().collect::<std::collections::BTreeSet<_>>();
            let (all, others) = (plain(&own), plain(&other));
            proptest::prop_assert_eq!(left.ranges().flatten().collect::<Vec<_>>(), all.iter().copied().collect::<Vec<_>>());
            proptest::prop_assert_eq!(left.count(), all.len());
            proptest::prop_assert_eq!(left.common(&right), all.intersection(&others).count());
            proptest::prop_assert!((0..50).all(|number| left.contains(number) == all.contains(&number)));
            let missing = (0..35).filter(|number| !all.contains(number)).collect::<Vec<_>>();
            proptest::prop_assert_eq!(left.missing(35).collect::<Vec<_>>(), missing);
            proptest::prop_assert_eq!(Indexes::parse(&left.to_string(), 40), left);
        }
    }
}
