//! What one target may say at the most.

use xebec_tsdb::{Labels, METRIC_NAME};

/// Limits of one scrape; zero is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Bytes of the body, once it is unpacked.
    pub body: u64,
    /// Samples that are left after relabelling.
    pub samples: usize,
    /// Labels of a series.
    pub labels: usize,
    /// Bytes of a label's name.
    pub label_name: usize,
    /// Bytes of a label's value.
    pub label_value: usize,
    /// Buckets of a native histogram.
    pub buckets: usize,
}

/// A limit that was reached, in upstream's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LimitError {
    /// The body is too large.
    #[error("body size limit exceeded")]
    Body,
    /// There are too many samples.
    #[error("sample limit exceeded")]
    Samples,
    /// A native histogram has too many buckets.
    #[error("histogram bucket limit exceeded")]
    Buckets,
    /// A series has too many labels, or one of them is too long.
    #[error("{0}")]
    Labels(String),
}

/// The first so many bytes of a text, whole characters only.
fn cut(text: &str) -> &str {
    const MOST: usize = 50;
    text.char_indices().nth(MOST).map_or(text, |(at, _)| &text[..at])
}

impl Limits {
    /// Fails if a series has too many labels, or one of them is too long.
    pub fn check(&self, labels: &Labels) -> Result<(), LimitError> {
        if self.labels == 0 && self.label_name == 0 && self.label_value == 0 {
            return Ok(());
        }
        let metric = cut(labels.get(METRIC_NAME));
        let count = labels.len();
        if self.labels > 0 && count > self.labels {
            let limit = self.labels;
            return Err(LimitError::Labels(format!(
                "label_limit exceeded (metric: {metric}, number of labels: {count}, limit: {limit})"
            )));
        }
        for (name, value) in labels {
            if self.label_name > 0 && name.len() > self.label_name {
                let (name, length, limit) = (cut(name), name.len(), self.label_name);
                return Err(LimitError::Labels(format!(
                    "label_name_length_limit exceeded (metric: {metric}, label name: {name}, length: {length}, \
                     limit: {limit})"
                )));
            }
            if self.label_value > 0 && value.len() > self.label_value {
                let (name, value, length, limit) = (cut(name), cut(value), value.len(), self.label_value);
                return Err(LimitError::Labels(format!(
                    "label_value_length_limit exceeded (metric: {metric}, label name: {name}, value: {value:?}, \
                     length: {length}, limit: {limit})"
                )));
            }
        }
        Ok(())
    }
}
