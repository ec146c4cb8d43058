//! Prometheus' query language, whole: parser, type checker, printer and engine.
//!
//! What comes in: a query as text, a time or a range of times, and a [`storage::Storage`] that finds series by matchers.
//! What goes out: vectors, matrices, scalars and strings with the warnings and infos of the evaluation, or an error
//! that says where in the query it arose, in upstream's words. The crate knows no files, no network, no clock but the
//! one that bounds a query's time, and nothing of the rest of xebec. It follows Prometheus 3.14 (its language, its
//! numerics and its test files); what upstream holds behind feature flags is behind options here.

pub mod annotations;
pub mod ast;
pub mod date;
pub mod dialect;
pub mod duration;
pub mod engine;
pub mod functions;
pub mod histogram;
pub mod kahan;
pub mod labels;
pub mod matcher;
pub mod memory;
pub mod number;
pub mod parser;
pub mod position;
pub mod series_description;
pub mod storage;
pub mod value;

mod error;
mod lexer;
mod pretty;
mod printer;
mod token;

pub use error::ParseError;
