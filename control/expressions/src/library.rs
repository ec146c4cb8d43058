//! The functions of the libraries, each module one field.

pub(crate) mod authorization;
pub(crate) mod collections;
pub(crate) mod decimal;
pub(crate) mod format;
pub(crate) mod formatting;
pub(crate) mod network;
pub(crate) mod quantity;
pub(crate) mod semver;
pub(crate) mod strings;
pub(crate) mod url;
