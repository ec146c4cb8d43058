//! Certificates of a listener.

use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use thiserror::Error;

use super::HostMatch;

/// How TLS ends at a listener. A client that names no server, or one that no certificate is for, gets the first
/// certificate for any host; if there is none, its handshake fails.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tls {
    /// The certificates, of which a client's server name (SNI) chooses one.
    pub certificates: Vec<Certificate>,
    /// What is offered to clients, the preferred first; if empty, HTTP/2 and HTTP/1.1.
    pub alpn: Vec<Alpn>,
}

/// An application protocol of a TLS connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alpn {
    /// `h2`.
    Http2,
    /// `http/1.1`.
    Http1,
}

/// A certificate chain with its key, checked to belong together.
#[derive(Clone, Debug)]
pub struct Certificate {
    host: HostMatch,
    key: Arc<CertifiedKey>,
}

/// Why a certificate is not taken.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum CertificateError {
    /// The chain holds no certificate in PEM.
    #[error(
        "the certificate chain is not PEM with one or more certificates: {0}; give the leaf, then what signed it"
    )]
    Chain(String),
    /// The key is none in PEM.
    #[error("the private key is not one in PEM: {0}; give a PKCS#8, PKCS#1 or SEC1 key")]
    Key(String),
    /// The two do not belong together, or are of an unknown kind.
    #[error(
        "the private key does not serve for the certificate: {0}; give the key that the certificate was made for"
    )]
    Pair(String),
}

impl Certificate {
    /// Reads a chain (leaf first) and its key, both in PEM, to serve for server names that match `host`.
    pub fn from_pem(host: HostMatch, chain: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
        let chain = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| CertificateError::Chain(error.to_string()))?;
        if chain.is_empty() {
            return Err(CertificateError::Chain("it holds no certificate".to_owned()));
        }
        let key =
            PrivateKeyDer::from_pem_slice(key).map_err(|error| CertificateError::Key(error.to_string()))?;
        let key = CertifiedKey::from_der(chain, key, &ring::default_provider())
            .map_err(|error| CertificateError::Pair(error.to_string()))?;
        Ok(Self { host, key: Arc::new(key) })
    }

    /// The server names that the certificate is chosen for.
    pub fn host(&self) -> &HostMatch {
        &self.host
    }

    pub(crate) fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }
}

impl PartialEq for Certificate {
    /// A public key stands for its private key: the two were checked to belong together.
    fn eq(&self, other: &Self) -> bool {
        self.host == other.host && self.key.cert == other.key.cert
    }
}
