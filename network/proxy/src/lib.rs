//! The L4/L7 engine. A [`Config`](config::Config) value comes in: listeners, certificates, hosts, routes, filters,
//! weighted backends. [`Proxy::apply`](proxy::Proxy::apply) swaps it in whole, and traffic goes out by it over
//! kept-alive connections to the endpoints.
//!
//! A connection's way: [`listener`] accepts, [`connection`] ends TLS and tells HTTP/1.1 from HTTP/2, [`http1`] or
//! [`http2`] read requests, [`forward`] looks the route up in the [`table`], applies its [`filter`]s, and carries the
//! request on a connection of the [`pool`]. Bodies stream; an upgrade ends in a [`tunnel`]. Each request is counted as
//! [`traffic`], follows a [`trace`], and is told to whoever reads the [`access`] log.
//!
//! Routes are chosen by the precedence of the Gateway API's HTTPRoute, by the [normal form](path) of the request's path. Messages follow RFC 9110, RFC 9112 and
//! RFC 9113, and what two parsers could read in two ways is refused. The crate knows no Kubernetes and no global
//! state.

#![allow(rustdoc::private_intra_doc_links)]

pub mod access;
mod answer;
mod authorization;
mod body;
mod carry;
pub mod config;
mod connection;
mod cors;
pub mod explain;
mod filter;
mod forward;
mod hop;
mod host_table;
mod http1;
mod http2;
mod limits;
mod listener;
mod mirror;
mod origin_tls;
mod path;
mod pool;
pub mod proxy;
mod replay;
mod session;
mod signature;
mod state;
mod stream;
pub mod table;
mod tasks;
mod tls;
mod trace;
pub mod traffic;
mod tunnel;
mod udp;
mod watchdog;
