use std::time::Duration;

use crate::plan::Limits;

/// How much a store takes and keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How long history is kept, if [`Options::keep_revisions`] does not cut it shorter. After a restart, what was
    /// kept counts as new.
    pub keep_for: Duration,
    /// How many revisions of history are kept; up to a tenth more is at times.
    pub keep_revisions: u64,
    /// How many events may wait for one watcher before it is cut off.
    pub watch_buffer: usize,
    /// The longest key, in bytes.
    pub key_bytes: usize,
    /// The largest value, in bytes.
    pub value_bytes: usize,
    /// The most operations in a transaction.
    pub transaction_ops: usize,
    /// The most bytes in a transaction of more than one operation, keys and values together.
    pub transaction_bytes: usize,
    /// The size that the file may grow to.
    pub max_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            keep_for: Duration::from_secs(5 * 60),
            keep_revisions: 10_000,
            watch_buffer: 4_096,
            key_bytes: 1_024,
            value_bytes: 3 << 19,
            transaction_ops: 512,
            transaction_bytes: 4 << 20,
            max_bytes: 8 << 30,
        }
    }
}

impl Options {
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            key_bytes: self.key_bytes,
            value_bytes: self.value_bytes,
            ops: self.transaction_ops,
            transaction_bytes: self.transaction_bytes,
        }
    }
}
