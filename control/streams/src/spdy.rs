//! SPDY/3.1 as Kubernetes clients speak it: streams over one connection, with names and values at their beginnings.
//!
//! Flow control of single streams is left out on both sides, as it is in the clients: a stream that is not read holds up
//! the connection, and the sender with it.

mod connection;
mod dictionary;
mod frame;
mod headers;

pub(crate) use connection::{Reader, Stream, Writer, serve};

#[cfg(test)]
pub(crate) use connection::tests;
#[cfg(test)]
pub(crate) mod fuzz;
