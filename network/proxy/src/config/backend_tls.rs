//! TLS towards backends.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use thiserror::Error;

use super::{Certificate, TrustRoots};
use crate::{origin_tls, tls};

/// How endpoints are spoken to under TLS, and which of them are believed.
#[derive(Clone, Debug)]
pub struct BackendTls {
    server_name: ServerName<'static>,
    names: Vec<SubjectName>,
    roots: TrustRoots,
    identity: Option<Certificate>,
    /// Of the fields above, so that connections are told apart at the cost of a number.
    digest: u64,
    http1: Arc<ClientConfig>,
    http2: Arc<ClientConfig>,
}

/// A name that a certificate may bear.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SubjectName {
    /// A host, in its certificate perhaps by a wildcard.
    Host(String),
    /// A URI such as `spiffe://…`, letter by letter.
    Uri(String),
}

/// Why endpoints cannot be spoken to so.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum BackendTlsError {
    /// The server name is none.
    #[error("{0:?} is not the name of a host; give one such as backend.example.com")]
    ServerName(String),
    /// The client certificate is not taken.
    #[error("the client certificate cannot be shown: {0}; give a certificate that is for clients")]
    Identity(String),
}

impl BackendTls {
    /// Asks endpoints for `server_name`; their certificate must be signed by `roots` and bear one of `names`, or where
    /// there is none the server name. `identity` is shown to endpoints that ask for a certificate.
    pub fn new(
        server_name: &str,
        names: Vec<SubjectName>,
        roots: TrustRoots,
        identity: Option<Certificate>,
    ) -> Result<Self, BackendTlsError> {
        let wrong = || BackendTlsError::ServerName(server_name.to_owned());
        let server_name = ServerName::try_from(server_name.to_owned()).map_err(|_| wrong())?;
        let mut digest = DefaultHasher::new();
        (&server_name, &names, roots.digest()).hash(&mut digest);
        if let Some(identity) = &identity {
            identity.key().cert.iter().for_each(|certificate| certificate.as_ref().hash(&mut digest));
        }
        let config = origin_tls::client_config(&names, &roots, identity.as_ref())
            .map_err(|error| BackendTlsError::Identity(error.to_string()))?;
        let speaking = |protocol: &[u8]| {
            let mut config = config.clone();
            config.alpn_protocols = vec![protocol.to_vec()];
            Arc::new(config)
        };
        let (http1, http2) = (speaking(tls::HTTP1), speaking(tls::H2));
        Ok(Self { server_name, names, roots, identity, digest: digest.finish(), http1, http2 })
    }

    pub(crate) fn server_name(&self) -> &ServerName<'static> {
        &self.server_name
    }

    pub(crate) fn http1(&self) -> &Arc<ClientConfig> {
        &self.http1
    }

    pub(crate) fn http2(&self) -> &Arc<ClientConfig> {
        &self.http2
    }
}

impl PartialEq for BackendTls {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
            && self.server_name == other.server_name
            && self.names == other.names
            && self.roots == other.roots
            && self.identity == other.identity
    }
}

impl Eq for BackendTls {}

impl Hash for BackendTls {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}
