//! Label sets: sorted names with values, in one allocation.

use std::{cmp::Ordering, fmt, sync::Arc};

use crate::{
    Error, Result,
    wire::{Reader, put_str},
};

/// The label that holds a metric's name.
pub const METRIC_NAME: &str = "__name__";

/// A series' labels, sorted by name. Names are unique and not empty; labels with an empty value are left out, since
/// they mean the same as labels that are not there.
///
/// The pairs lie one behind the other in one shared buffer, each string behind its length: a label set costs one
/// allocation and copies for the price of a counter.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Labels(Arc<[u8]>);

impl Default for Labels {
    fn default() -> Self {
        Self(Arc::new([]))
    }
}

impl Labels {
    /// From pairs in any order. Fails on an empty or doubled name.
    pub fn new<N: AsRef<str>, V: AsRef<str>>(pairs: impl IntoIterator<Item = (N, V)>) -> Result<Self> {
        let mut pairs: Vec<(N, V)> = pairs.into_iter().collect();
        pairs.sort_by(|a, b| a.0.as_ref().cmp(b.0.as_ref()));
        if let Some(twice) = pairs.windows(2).find(|two| two[0].0.as_ref() == two[1].0.as_ref()) {
            let name = twice[0].0.as_ref();
            return Err(Error::InvalidSample(format!("label name {name:?} is not unique")));
        }
        if pairs.first().is_some_and(|(name, _)| name.as_ref().is_empty()) {
            return Err(Error::InvalidSample("a label name is empty".into()));
        }
        Ok(Self::from_sorted(pairs.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))))
    }

    /// From pairs that are known to be sorted and unique.
    pub(crate) fn from_sorted<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut bytes = Vec::with_capacity(256);
        for (name, value) in pairs {
            if !value.is_empty() {
                put_str(&mut bytes, name);
                put_str(&mut bytes, value);
            }
        }
        Self(bytes.into())
    }

    /// Name and value, by name.
    pub fn iter(&self) -> Pairs<'_> {
        Pairs(Reader::new(&self.0, "label set"))
    }

    /// The value of a label, empty if it is not there.
    pub fn get(&self, name: &str) -> &str {
        self.iter().find(|(found, _)| *found == name).map_or("", |(_, value)| value)
    }

    /// How many labels there are.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether there is no label at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes that it takes, which hash and compare for equality as the labels do.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Labels {
    /// Label by label, name before value, as series are ordered in blocks and query results.
    fn cmp(&self, other: &Self) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, (name, value)) in self.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{name}={value:?}")?;
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Walks a label set.
#[derive(Clone, Debug)]
pub struct Pairs<'a>(Reader<'a>);

impl<'a> Iterator for Pairs<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        // The buffer was written by this module, so that it reads to its end.
        Some((self.0.str().ok()?, self.0.str().ok()?))
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = (&'a str, &'a str);
    type IntoIter = Pairs<'a>;

    fn into_iter(self) -> Pairs<'a> {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_sorted_and_empty_values_left_out() {
        let labels = Labels::new([("b", "2"), ("c", ""), ("a", "1")]).unwrap();
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "2")]);
        assert_eq!((labels.get("b"), labels.get("c"), labels.len()), ("2", "", 2));
        assert_eq!(labels.to_string(), r#"{a="1", b="2"}"#);
    }

    #[test]
    fn doubled_and_empty_names_are_refused() {
        assert!(Labels::new([("a", "1"), ("a", "2")]).is_err());
        assert!(Labels::new([("", "1")]).is_err());
    }

    #[test]
    fn a_shorter_set_comes_before_what_extends_it() {
        let short = Labels::new([("a", "1")]).unwrap();
        let long = Labels::new([("a", "1"), ("b", "1")]).unwrap();
        let longer_value = Labels::new([("a", "11")]).unwrap();
        assert!(short < long && long < longer_value);
    }
}
