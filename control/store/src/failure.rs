//! What can go wrong with the database, sorted into what the caller has to do about it.

use std::{
    any::Any,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use crate::Error;

#[derive(Debug)]
pub(crate) enum Failure {
    /// The database's own report.
    Database(redb::Error),
    /// What lies in it is not what was written.
    Damage(String),
}

impl<E: Into<redb::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Database(error.into())
    }
}

impl Failure {
    pub(crate) fn into_error(self, path: &Path) -> Error {
        let path = path.to_owned();
        match self {
            Self::Database(redb::Error::DatabaseAlreadyOpen) => Error::Locked { path },
            Self::Database(
                error @ (redb::Error::Corrupted(_)
                | redb::Error::UpgradeRequired(_)
                | redb::Error::RepairAborted
                | redb::Error::TableTypeMismatch { .. }
                | redb::Error::TableIsMultimap(_)
                | redb::Error::TypeDefinitionChanged { .. }
                | redb::Error::TableDoesNotExist(_)),
            ) => Error::Corrupt { path, detail: error.to_string() },
            // Cut off, or not the file of a database at all.
            Self::Database(redb::Error::Io(error))
                if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) =>
            {
                Error::Corrupt { path, detail: error.to_string() }
            }
            Self::Database(error) => Error::Storage { path, detail: error.to_string() },
            Self::Damage(detail) => Error::Corrupt { path, detail },
        }
    }
}

pub(crate) fn storage(path: &Path, error: &io::Error) -> Error {
    Error::Storage { path: path.to_owned(), detail: error.to_string() }
}

/// Runs something on the database, which may panic over a damaged file instead of reporting it.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    // What a panic leaves behind is dropped: the callers let go of a database that failed.
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(Failure::Damage(format!("the database gave up: {}", message(&*panic)))))
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("it did not say why")
}
