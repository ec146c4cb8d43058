//! Sets of the indexes of a Job, in the form in which its status keeps them: `1,3-5`.

use std::collections::BTreeSet;

/// How many indexes a set that came from outside may name.
const MOST: usize = 1_000_000;

/// A set of indexes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Indexes(BTreeSet<u32>);

impl Indexes {
    /// Reads what a status or a rule says. Parts that cannot be read, or are not below the number of completions, are
    /// left out.
    pub fn parse(text: &str, completions: u32) -> Self {
        let mut all = BTreeSet::new();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (Ok(first), Ok(last)) = (first.trim().parse::<u32>(), last.trim().parse::<u32>()) else {
                continue;
            };
            let last = last.min(completions.saturating_sub(1));
            if completions > 0 && first <= last && all.len() + (last - first) as usize <= MOST {
                all.extend(first..=last);
            }
        }
        Self(all)
    }

    /// Adds an index.
    pub fn insert(&mut self, index: u32) {
        self.0.insert(index);
    }

    /// Whether an index is one of them.
    pub fn contains(&self, index: u32) -> bool {
        self.0.contains(&index)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// How many of them are in the other set too.
    pub fn common(&self, other: &Self) -> usize {
        self.0.intersection(&other.0).count()
    }
}

impl std::fmt::Display for Indexes {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut rest = self.0.iter().copied().peekable();
        let mut separator = "";
        while let Some(first) = rest.next() {
            let mut last = first;
            while let Some(next) = rest.next_if_eq(&(last.saturating_add(1))) {
                last = next;
            }
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
}
