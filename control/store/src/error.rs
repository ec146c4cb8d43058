use std::path::PathBuf;

use crate::Revision;

/// Why the store refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The key to create is there already.
    #[error("key {key:?} exists already, at revision {current}; update it instead")]
    Exists {
        /// The key.
        key: String,
        /// The revision at which it was last changed.
        current: Revision,
    },
    /// The key is not at the revision that the caller expected.
    #[error("key {key:?} is at revision {actual}, not at {expected}; read it again and retry")]
    Conflict {
        /// The key.
        key: String,
        /// The revision that the caller expected.
        expected: Revision,
        /// The revision at which it was last changed.
        actual: Revision,
    },
    /// The key is not there.
    #[error("key {key:?} does not exist; create it first")]
    NotFound {
        /// The key.
        key: String,
    },
    /// The revision asked for is no longer kept.
    #[error(
        "revision {requested} is no longer kept, the oldest is {oldest}; list again and go on from there"
    )]
    Compacted {
        /// The revision asked for.
        requested: Revision,
        /// The oldest revision that can be read.
        oldest: Revision,
    },
    /// The revision asked for has not happened.
    #[error(
        "revision {requested} has not happened yet, the store is at {current}; ask for {current} or below"
    )]
    Future {
        /// The revision asked for.
        requested: Revision,
        /// The store's revision.
        current: Revision,
    },
    /// The watcher fell too far behind and was cut off.
    #[error(
        "the watch fell more than {limit} events or {limit_bytes} bytes behind and was closed; list again and watch \
         from there"
    )]
    Lagged {
        /// The number of events that may wait.
        limit: usize,
        /// The number of bytes that they may have.
        limit_bytes: usize,
    },
    /// A value is larger than the store takes.
    #[error("the value of key {key:?} has {size} bytes, the limit is {limit}; store less under this key")]
    ValueTooLarge {
        /// The key.
        key: String,
        /// The value's size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// A key is empty or too long.
    #[error("a key has {size} bytes; use 1 to {limit}")]
    KeyLength {
        /// The key's size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// A transaction is empty, too large, or touches a key twice.
    #[error("the transaction is refused: {reason}")]
    Transaction {
        /// What is wrong and what to do.
        reason: String,
    },
    /// Another process, or another part of this one, has the store open.
    #[error("the store at {path} is open elsewhere; stop the other process or choose another directory")]
    Locked {
        /// The store's directory.
        path: PathBuf,
    },
    /// What is on disk is not what was written.
    #[error("the store at {path} is damaged: {detail}; restore the directory from a backup")]
    Corrupt {
        /// The damaged file.
        path: PathBuf,
        /// What is wrong, and where.
        detail: String,
    },
    /// The store has no room for more.
    #[error(
        "the store is full: it holds {held} bytes and the limit is {limit}; delete something, deletions are still taken"
    )]
    Full {
        /// What it holds, in bytes.
        held: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The disk or the file system refused.
    #[error(
        "the store at {path} could not use its disk: {detail}; nothing was applied, free space or repair the disk and retry"
    )]
    Storage {
        /// The file.
        path: PathBuf,
        /// What the system said.
        detail: String,
    },
    /// The store was closed.
    #[error("the store is closed; open it again")]
    Closed,
}
