//! The L4/L7 engine. A [`Config`](config::Config) value comes in: listeners, hosts, routes, weighted backends.
//! [`Proxy::apply`](proxy::Proxy::apply) swaps it in whole and traffic goes out by it, over kept-alive upstream
//! connections. [`RouteTable`](table::RouteTable) decides by the precedence of the Gateway API's HTTPRoute; message
//! handling follows RFC 9110 and RFC 9112. The crate knows no Kubernetes and no global state.

pub mod config;
mod forward;
pub mod proxy;
pub mod table;
