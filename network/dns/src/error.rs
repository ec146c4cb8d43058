use std::io;
use std::net::SocketAddr;

/// What can go wrong with cluster DNS.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The zone's domain is no name.
    #[error(
        "{text:?} cannot be the cluster's domain: write labels of letters, digits and `-`, such as cluster.local"
    )]
    Domain {
        /// The text, cut short.
        text: String,
    },
    /// The address cannot be listened on.
    #[error("cluster DNS cannot listen on {address}: {source}: free the port or choose another")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
}
