//! Asking another service whether a request may pass.

use std::sync::Arc;

use http::HeaderName;

use super::Backend;

/// A service that is asked before a request goes on: 200 lets it pass, any other answer is the client's. A service that
/// does not answer lets nothing pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Authorization {
    /// The service; its weight does not matter.
    pub backend: Arc<Backend>,
    /// What the request's path is put behind.
    pub path_prefix: String,
    /// The request's headers that are shown, beside `Host` and `Authorization`.
    pub shown: Vec<HeaderName>,
    /// The answer's headers that the request takes along, in place of its own; all where there are none.
    pub taken: Vec<HeaderName>,
    /// The largest body that is shown; above it 413. No body is shown where there is none.
    pub body_bytes: Option<usize>,
}
