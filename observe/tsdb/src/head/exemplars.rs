//! The newest exemplars of all series, in a ring of fixed size.

use std::collections::{BTreeMap, VecDeque};

use super::index::NumberMap;
use crate::{Error, Interval, Labels, Result};

/// A measurement that stands for others, mostly with a trace's number.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    /// What it says beside its value.
    pub labels: Labels,
    /// What was measured.
    pub value: f64,
    /// Milliseconds since 1970.
    pub time: i64,
}

/// What the labels of an exemplar may have in characters.
const MOST_CHARACTERS: usize = 128;

impl Exemplar {
    pub(crate) fn validate(&self) -> Result<()> {
        let characters = |(name, value): (&str, &str)| name.chars().count() + value.chars().count();
        if self.labels.iter().map(characters).sum::<usize>() > MOST_CHARACTERS {
            return Err(Error::ExemplarLabelLength);
        }
        Ok(())
    }

    fn same(&self, other: &Self) -> bool {
        self.labels == other.labels
            && self.value.to_bits() == other.value.to_bits()
            && self.time == other.time
    }
}

/// The ring.
#[derive(Debug)]
pub(crate) struct Exemplars {
    most: usize,
    ring: VecDeque<(u32, Exemplar)>,
    /// How many have left the ring.
    left: u64,
    /// The newest of each series, counted from the first that ever was.
    newest: NumberMap<u32, u64>,
}

impl Exemplars {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, ring: VecDeque::new(), left: 0, newest: NumberMap::default() }
    }

    /// Whether one would be taken.
    pub(crate) fn check(&self, series: u32, exemplar: &Exemplar) -> Result<()> {
        if self.most == 0 {
            return Err(Error::ExemplarsDisabled);
        }
        exemplar.validate()?;
        let newest = self.newest.get(&series).and_then(|at| self.ring.get((at - self.left) as usize));
        match newest {
            Some((_, last)) if last.same(exemplar) => Err(Error::DuplicateExemplar),
            Some((_, last)) if last.time > exemplar.time => Err(Error::OutOfOrderExemplar),
            _ => Ok(()),
        }
    }

    pub(crate) fn push(&mut self, series: u32, exemplar: Exemplar) {
        if self.check(series, &exemplar).is_err() {
            return;
        }
        while self.ring.len() >= self.most {
            if let Some((series, _)) = self.ring.pop_front()
                && self.newest.get(&series) == Some(&self.left)
            {
                self.newest.remove(&series);
            }
            self.left += 1;
        }
        self.newest.insert(series, self.left + self.ring.len() as u64);
        self.ring.push_back((series, exemplar));
    }

    /// Those of some series within a span of time.
    pub(crate) fn select(
        &self,
        within: Interval,
        wanted: impl Fn(u32) -> bool,
    ) -> BTreeMap<u32, Vec<Exemplar>> {
        let mut found: BTreeMap<u32, Vec<Exemplar>> = BTreeMap::new();
        for (series, exemplar) in &self.ring {
            if within.contains(exemplar.time) && wanted(*series) {
                found.entry(*series).or_default().push(exemplar.clone());
            }
        }
        found
    }

    pub(crate) fn len(&self) -> usize {
        self.ring.len()
    }
}
