//! The proxy engine's configuration and routing. A [`Config`](config::Config) value comes in: listeners, hosts,
//! routes, weighted backends. Its compiled [`RouteTable`](table::RouteTable) answers which route a request takes,
//! by the precedence of the Gateway API's HTTPRoute. The crate knows no Kubernetes and no global state.

pub mod config;
pub mod table;
