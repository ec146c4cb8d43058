use std::path::{Path, PathBuf};

/// What can go wrong, where, and what to do about it. The texts of refused samples are Prometheus's own, since
/// senders and dashboards know them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The series has a newer sample and the out-of-order window is off.
    #[error("out of order sample")]
    OutOfOrderSample,
    /// The series has another value at this very time.
    #[error("duplicate sample for timestamp")]
    DuplicateSample,
    /// Older than what the head still takes, or than a block that already stands.
    #[error("out of bounds")]
    OutOfBounds,
    /// Older than the out-of-order window.
    #[error("too old sample")]
    TooOldSample,
    /// An exemplar older than the newest of its series.
    #[error("out of order exemplar")]
    OutOfOrderExemplar,
    /// The newest exemplar of the series once more.
    #[error("duplicate exemplar")]
    DuplicateExemplar,
    /// Exemplars with long labels would take the place of many.
    #[error("label length for exemplar exceeds maximum of 128 UTF-8 characters")]
    ExemplarLabelLength,
    /// Exemplar storage has no room configured.
    #[error("exemplar storage is disabled or max exemplars is less than or equal to 0")]
    ExemplarsDisabled,
    /// The reference names no series of the head: append with labels.
    #[error("unknown series ref {0}")]
    UnknownSeries(u64),
    /// A sample without labels, with a label twice, an empty name, or labels over the limits.
    #[error("invalid sample: {0}")]
    InvalidSample(String),
    /// A native histogram that contradicts itself.
    #[error("invalid histogram: {0}")]
    InvalidHistogram(String),
    /// A regular expression that does not compile, or another fault in a matcher.
    #[error("invalid matcher {matcher}: {why}")]
    InvalidMatcher {
        /// The matcher as it was written.
        matcher: String,
        /// What is wrong with it.
        why: String,
    },
    /// A limit of the options was reached; the message names it.
    #[error("limit reached: {0}")]
    Limit(String),
    /// Bytes that are not what their format says. The file is left as it is.
    #[error("{what} is corrupt: {why}")]
    Corrupt {
        /// What was read: the part of the format, and the file where it is known.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// A format that this version does not read.
    #[error("{what} has {found}, which is not supported")]
    Unsupported {
        /// What was read.
        what: String,
        /// The version, encoding or flag that it has.
        found: String,
    },
    /// The operating system refused.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// An earlier write to the log failed, so that what followed could not be kept. Reads go on. Free the disk and
    /// open the database again.
    #[error("the write-ahead log failed earlier ({0}): free the disk, then open the database again")]
    LogFailed(String),
    /// Another process has the data directory open.
    #[error("{0} is in use by another process: stop it, or use another directory")]
    Locked(PathBuf),
}

impl Error {
    pub(crate) fn corrupt(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into(), why: why.into() }
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }

    /// Whether the sample was refused for its time: a sender is told so and need not try again.
    pub fn is_refused_sample(&self) -> bool {
        matches!(
            self,
            Self::OutOfOrderSample | Self::DuplicateSample | Self::OutOfBounds | Self::TooOldSample
        )
    }
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
