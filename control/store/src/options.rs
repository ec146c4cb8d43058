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
    /// How many bytes history may hold in values that were replaced or deleted; up to a tenth more is at times.
    pub keep_bytes: u64,
    /// How many events may wait for one watcher before it is cut off.
    pub watch_buffer: usize,
    /// How many bytes the events may have that wait for one watcher before it is cut off.
    pub watch_bytes: usize,
    /// The longest key, in bytes.
    pub key_bytes: usize,
    /// The largest value, in bytes.
    pub value_bytes: usize,
    /// The most operations in a transaction.
    pub transaction_ops: usize,
    /// The most bytes in a transaction of more than one operation, keys and values together.
    pub transaction_bytes: usize,
    /// How many bytes all that is kept may have, history included. A store that is full lets its history go, and then
    /// takes deletions alone. The file may grow to four times that, since pages are never full.
    pub max_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            keep_for: Duration::from_secs(5 * 60),
            keep_revisions: 10_000,
            keep_bytes: 256 << 20,
            watch_buffer: 4_096,
            watch_bytes: 64 << 20,
            key_bytes: 1_024,
            value_bytes: 3 << 19,
            transaction_ops: 512,
            transaction_bytes: 4 << 20,
            max_bytes: 4 << 30,
        }
    }
}

/// What a database needs beside its content, however little that is.
const FILE_BYTES: u64 = 64 << 20;

impl Options {
    /// The size that the file may grow to: pages are filled by half at the worst, and the file grows by doubling.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.max_bytes.saturating_mul(4).saturating_add(FILE_BYTES)
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits {
            key_bytes: self.key_bytes,
            value_bytes: self.value_bytes,
            ops: self.transaction_ops,
            transaction_bytes: self.transaction_bytes,
        }
    }
}
