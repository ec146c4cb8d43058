//! Label sets: sorted, shared, cheap to copy.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt::{self, Write as _};
use std::sync::Arc;

use xxhash_rust::xxh64::xxh64;

use crate::number::quoted;

/// The label that holds a metric's name.
pub const METRIC_NAME: &str = "__name__";
/// The label that holds a metric's type.
pub const METRIC_TYPE: &str = "__type__";
/// The label that holds a metric's unit.
pub const METRIC_UNIT: &str = "__unit__";
/// The label that holds a classic bucket's upper bound.
pub const BUCKET: &str = "le";

/// Whether a label says what a metric is, so that a function whose result is something else drops it.
pub fn describes_metric(name: &str) -> bool {
    matches!(name, METRIC_NAME | METRIC_TYPE | METRIC_UNIT)
}

/// Whether a name can stand outside quotes.
pub fn is_plain_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|letter: char| letter.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// One name and its value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label {
    /// The name.
    pub name: Arc<str>,
    /// The value; never empty within [`Labels`].
    pub value: Arc<str>,
}

impl Label {
    /// A label of two texts.
    pub fn new(name: impl Into<Arc<str>>, value: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), value: value.into() }
    }
}

/// A set of labels, sorted by name. Copies share the set.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Labels(Arc<[Label]>);

impl Default for Labels {
    fn default() -> Self {
        Self(Arc::from([]))
    }
}

impl Labels {
    /// The set of the given labels: sorted, the last of one name kept, empty values left out.
    pub fn new(labels: impl IntoIterator<Item = Label>) -> Self {
        let mut builder = LabelsBuilder::default();
        for label in labels {
            builder.set(label.name, label.value);
        }
        builder.build()
    }

    /// The set of the given pairs.
    pub fn from_pairs<const N: usize>(pairs: [(&str, &str); N]) -> Self {
        Self::new(pairs.into_iter().map(|(name, value)| Label::new(name, value)))
    }

    /// The value of a label; empty if it is not there.
    pub fn get(&self, name: &str) -> &str {
        self.value(name).map_or("", |value| value)
    }

    /// The shared value of a label.
    pub fn value(&self, name: &str) -> Option<&Arc<str>> {
        self.0.iter().find(|label| label.name.borrow() as &str == name).map(|label| &label.value)
    }

    /// The metric's name; empty if it has none.
    pub fn metric_name(&self) -> Arc<str> {
        self.value(METRIC_NAME).cloned().unwrap_or_default()
    }

    /// Whether there are no labels.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many labels there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The labels, sorted by name.
    pub fn iter(&self) -> std::slice::Iter<'_, Label> {
        self.0.iter()
    }

    /// Those labels for which `keep` holds.
    pub fn filtered(&self, mut keep: impl FnMut(&str) -> bool) -> Self {
        if self.0.iter().all(|label| keep(&label.name)) {
            return self.clone();
        }
        Self(self.0.iter().filter(|label| keep(&label.name)).cloned().collect())
    }

    /// Without the labels that say what the metric is.
    pub fn without_metric(&self) -> Self {
        self.filtered(|name| !describes_metric(name))
    }

    /// Of these names, or of all but these and the metric's name.
    pub fn matching(&self, on: bool, names: &[Arc<str>]) -> Self {
        self.filtered(|name| {
            let named = names.iter().any(|other| **other == *name);
            if on { named } else { !named && name != METRIC_NAME }
        })
    }

    /// Prometheus' hash of the set, by which `limit_ratio` picks series: so it picks the same ones.
    pub fn sampling_hash(&self) -> u64 {
        let mut bytes =
            Vec::with_capacity(self.0.iter().map(|label| label.name.len() + label.value.len() + 2).sum());
        let mut push = |text: &str| {
            match text.len() {
                short @ 0..=254 => bytes.push(short as u8),
                long => bytes.extend([255, long as u8, (long >> 8) as u8, (long >> 16) as u8]),
            }
            bytes.extend_from_slice(text.as_bytes());
        };
        for label in self.0.iter() {
            push(&label.name);
            push(&label.value);
        }
        xxh64(&bytes, 0)
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = &'a Label;
    type IntoIter = std::slice::Iter<'a, Label>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Labels {
    fn cmp(&self, other: &Self) -> Ordering {
        if Arc::ptr_eq(&self.0, &other.0) { Ordering::Equal } else { self.0.cmp(&other.0) }
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_char('{')?;
        for (place, label) in self.0.iter().enumerate() {
            if place > 0 {
                out.write_str(", ")?;
            }
            match is_plain_name(&label.name) {
                true => out.write_str(&label.name)?,
                false => out.write_str(&quoted(&label.name))?,
            }
            write!(out, "={}", quoted(&label.value))?;
        }
        out.write_char('}')
    }
}

/// Changes a set of labels, name by name.
#[derive(Debug, Clone, Default)]
pub struct LabelsBuilder {
    labels: Vec<Label>,
}

impl LabelsBuilder {
    /// Begins with the labels of `base`.
    pub fn from(base: &Labels) -> Self {
        Self { labels: base.0.to_vec() }
    }

    fn place(&self, name: &str) -> Result<usize, usize> {
        self.labels.binary_search_by(|label| (*label.name).cmp(name))
    }

    /// Sets a label; an empty value removes it.
    pub fn set(&mut self, name: impl Into<Arc<str>>, value: impl Into<Arc<str>>) -> &mut Self {
        let label = Label { name: name.into(), value: value.into() };
        match self.place(&label.name) {
            Ok(place) if label.value.is_empty() => {
                self.labels.remove(place);
            }
            Ok(place) => self.labels[place] = label,
            Err(_) if label.value.is_empty() => {}
            Err(place) => self.labels.insert(place, label),
        }
        self
    }

    /// Removes a label.
    pub fn remove(&mut self, name: &str) -> &mut Self {
        if let Ok(place) = self.place(name) {
            self.labels.remove(place);
        }
        self
    }

    /// Removes the labels for which `keep` does not hold.
    pub fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) -> &mut Self {
        self.labels.retain(|label| keep(&label.name));
        self
    }

    /// The value of a label; empty if it is not there.
    pub fn get(&self, name: &str) -> &str {
        self.place(name).map_or("", |place| &self.labels[place].value)
    }

    /// The finished set.
    pub fn build(self) -> Labels {
        Labels(self.labels.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_names_and_leaves_out_empty_values() {
        let labels = Labels::from_pairs([("b", "2"), ("a", "1"), ("c", ""), ("a", "3")]);
        assert_eq!(labels.to_string(), r#"{a="3", b="2"}"#);
        assert_eq!(labels.get("c"), "");
    }

    #[test]
    fn orders_sets_as_upstream_does() {
        let shorter = Labels::from_pairs([("a", "1")]);
        let longer = Labels::from_pairs([("a", "1"), ("b", "2")]);
        assert!(shorter < longer);
        assert!(Labels::from_pairs([("a", "2")]) > longer);
    }

    #[test]
    fn drops_what_says_what_the_metric_is() {
        let labels =
            Labels::from_pairs([("__name__", "m"), ("__type__", "counter"), ("__unit__", "s"), ("a", "1")]);
        assert_eq!(labels.without_metric(), Labels::from_pairs([("a", "1")]));
    }
}
