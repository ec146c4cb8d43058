//! Where rules read from and write to.

use xebec_promql::labels::Labels;
use xebec_promql::storage::{SampleValue, Storage};

/// Why a sample is not taken. The texts are upstream's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// The series has a newer sample.
    #[error("out of order sample")]
    OutOfOrder,
    /// It is older than any that is still taken.
    #[error("too old sample")]
    TooOld,
    /// It is outside of the time that is written to.
    #[error("out of bounds")]
    OutOfBounds,
    /// The series has another value at this time.
    #[error("duplicate sample for timestamp")]
    Duplicate,
    /// The store failed.
    #[error("{0}")]
    Failed(String),
}

impl AppendError {
    /// Whether it is one that a series has which another rule writes too.
    pub(crate) fn is_refused_sample(&self) -> bool {
        !matches!(self, Self::Failed(_))
    }
}

/// Samples on their way into a store; they count when they are committed.
pub trait Appender {
    /// Adds a sample of a series.
    fn append(&mut self, labels: &Labels, time: i64, value: &SampleValue) -> Result<(), AppendError>;

    /// Brings all of them into the store.
    fn commit(self: Box<Self>) -> Result<(), AppendError>;
}

/// A store that is read and written.
pub trait Store {
    /// What is in it now; what is committed later is not seen.
    fn reader(&self) -> Box<dyn Storage + '_>;

    /// Begins to write.
    fn appender(&self) -> Box<dyn Appender + '_>;
}
