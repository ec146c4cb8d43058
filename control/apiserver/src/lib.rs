//! The Kubernetes HTTP API over the store and the machinery.
//!
//! What comes in: HTTP requests as Kubernetes clients send them. What goes out: objects, lists, watch streams, or a
//! `Status` that says what was wrong. This crate owns the meaning of URLs, query parameters and storage keys; it must not
//! know how objects are patched or validated (the machinery does) nor what controllers do with them.
//! It follows the "Kubernetes API Concepts" reference and the API conventions.

pub mod authorizer;
pub mod error;
pub mod key;
pub mod options;
pub mod pki;
pub mod request;

pub use error::Error;
