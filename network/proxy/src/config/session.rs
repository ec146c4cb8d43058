//! Requests of one session, and the endpoint that they go to.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::SocketAddr;
use std::time::Duration;

use http::HeaderName;

/// How requests are kept with the endpoint that answered the first of them: by a token that names it, which the client
/// sends back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// What bears the token.
    pub bearer: Bearer,
    /// How long a session lasts from its first answer; for ever where none.
    pub lifetime: Option<Duration>,
}

/// What bears the token of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bearer {
    /// A cookie of this name; kept by the client for the session's lifetime rather than its own if `permanent`.
    Cookie {
        /// The name.
        name: String,
        /// Whether it outlives the client.
        permanent: bool,
    },
    /// A header.
    Header(HeaderName),
}

/// What stands for an endpoint in a token: it tells clients nothing of addresses.
pub(crate) fn mark(endpoint: SocketAddr) -> u64 {
    let mut hash = DefaultHasher::new();
    endpoint.hash(&mut hash);
    hash.finish()
}
