//! Requests of one session, and the endpoint that they go to.

use std::fmt;
use std::time::Duration;

use http::HeaderName;
use ring::rand::{SecureRandom as _, SystemRandom};
use thiserror::Error;

/// How requests are kept with the endpoint that answered the first of them: by a token that names it, which the client
/// sends back. A backend of weight 0 keeps none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// What bears the token.
    pub bearer: Bearer,
    /// How long a session lasts from its first answer; for ever where none.
    pub lifetime: Option<Duration>,
    /// What tokens are sealed with. Sessions outlive the engine where the key does.
    pub key: SessionKey,
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

impl Bearer {
    /// The name of the cookie or header.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Cookie { name, .. } => name,
            Self::Header(name) => name.as_str(),
        }
    }
}

/// A secret that seals tokens: without it they can neither be read nor made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SessionKey([u8; Self::LENGTH]);

/// The system gave no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "the system gives no random bytes for a session key; see that getrandom(2) or /dev/urandom is allowed"
)]
pub struct NoRandomness;

impl SessionKey {
    /// How many bytes a key has.
    pub const LENGTH: usize = 32;

    /// A key of these bytes, which should be [random](Self::random).
    pub fn new(bytes: [u8; Self::LENGTH]) -> Self {
        Self(bytes)
    }

    /// A key that nobody knows.
    pub fn random() -> Result<Self, NoRandomness> {
        let mut bytes = [0; Self::LENGTH];
        SystemRandom::new().fill(&mut bytes).map_err(|_| NoRandomness)?;
        Ok(Self(bytes))
    }

    /// The key's bytes, to be kept where nobody else reads.
    pub fn as_bytes(&self) -> &[u8; Self::LENGTH] {
        &self.0
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(…)")
    }
}
