//! Requests for certificates: who may have one without asking twice, which are signed, and which are forgotten.
//!
//! What is to be done is [`decision`]'s, of the request as [`subject`] reads it. The key is not known here: whoever holds it
//! is the [`Issuer`].

pub mod decision;
mod reconcile;
pub mod subject;

use std::fmt;
use std::time::Duration;

pub(crate) use reconcile::{RIGHTS, run};

/// Who holds the key of the authority that the API and its clients trust.
pub trait Issuer: fmt::Debug + Send + Sync {
    /// Signs what a request (PKCS #10, DER) asks for; for these usages, by Kubernetes' names, and for so long. Gives a
    /// certificate in PEM.
    ///
    /// # Errors
    ///
    /// Why it cannot be signed, for the log.
    fn issue(&self, request: &[u8], usages: &[String], lifetime: Duration) -> Result<String, String>;
}
