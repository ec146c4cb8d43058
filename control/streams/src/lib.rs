//! The streaming protocols between Kubernetes clients and the API: `exec`, `attach` and `port-forward`.
//!
//! What comes in: the head of a request that asks to become a stream, and then the connection's bytes. What goes out: the
//! answer to that head, and either one [`Session`] (the standard streams of a process, the sizes of its terminal, and a
//! place for how it ended), the connections of a [`port forward`](forward), or what is [`feed`] to a client that only reads. Two transports carry them: WebSocket, whose
//! messages begin with the number of a channel, and SPDY/3.1, which has streams of its own; and the second inside of the
//! first, as newer clients send port forwards.
//!
//! This room knows no pods and no HTTP server: whoever owns the connection upgrades it and hands it over.

mod feed;
pub mod forward;
#[cfg(test)]
mod fuzz;
mod negotiation;
mod session;
mod spdy;
mod tunnel;
mod websocket;

pub use feed::feed;
pub use forward::Forward;
pub use negotiation::{Accepted, Purpose, Refusal, asks_for_websocket, negotiate};
pub use session::{Input, Outcome, Output, Session, Size, Sizes, Wants, session};

/// A connection that was upgraded.
pub trait Io: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static {}

impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static> Io for T {}

/// Why a stream ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(#[from] std::io::Error),
    /// The client broke the protocol.
    #[error("the client broke the protocol: {0}")]
    Protocol(String),
    /// The client did not open what it has to open in time.
    #[error("the client opened no {0} stream within {limit} s", limit = session::OPENING.as_secs())]
    Late(&'static str),
    /// The client is gone.
    #[error("the client is gone")]
    Gone,
}
