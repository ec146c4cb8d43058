//! TLS of a listener: its certificates, and which clients it believes.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use thiserror::Error;

/// How TLS ends at a listener.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tls {
    /// The certificates. The first that is for the client's server name is shown, else the first of all; with none, every
    /// handshake fails.
    pub certificates: Vec<Certificate>,
    /// What is offered to clients, the preferred first; if empty, HTTP/2 and HTTP/1.1 where HTTP is inside, else nothing.
    pub alpn: Vec<Alpn>,
    /// Whether clients must show a certificate of their own.
    pub clients: ClientValidation,
}

/// Which clients are let in.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum ClientValidation {
    /// All; none is asked for a certificate.
    #[default]
    None,
    /// Those with a certificate that these roots signed.
    Required(TrustRoots),
    /// All; a certificate is asked for and taken as it is.
    Asked,
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
    /// Reads a chain (leaf first) and its key, both in PEM.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, CertificateError> {
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
        Ok(Self { key: Arc::new(key) })
    }

    /// Whether the leaf is for this server name.
    pub(crate) fn is_for(&self, name: &ServerName<'_>) -> bool {
        let leaf = self.key.cert.first().map(ParsedCertificate::try_from);
        leaf.and_then(Result::ok).is_some_and(|leaf| rustls::client::verify_server_name(&leaf, name).is_ok())
    }

    pub(crate) fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }
}

impl PartialEq for Certificate {
    /// A public key stands for its private key: the two were checked to belong together.
    fn eq(&self, other: &Self) -> bool {
        self.key.cert == other.key.cert
    }
}

/// Certificates of authorities whose word is believed.
#[derive(Clone, Debug)]
pub struct TrustRoots {
    certificates: Arc<[CertificateDer<'static>]>,
    store: Arc<RootCertStore>,
    digest: u64,
}

/// Why authorities are not taken.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum TrustError {
    /// The text is no certificate in PEM.
    #[error("the authorities are not certificates in PEM: {0}; give one or more CERTIFICATE blocks")]
    Pem(String),
    /// The certificate cannot be an authority's.
    #[error("a certificate cannot be an authority's: {0}; give the certificate that signed the others")]
    Authority(String),
}

impl TrustRoots {
    /// Reads certificates in PEM.
    pub fn from_pem(pem: &[u8]) -> Result<Self, TrustError> {
        let certificates = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| TrustError::Pem(error.to_string()))?;
        if certificates.is_empty() {
            return Err(TrustError::Pem("there is no certificate".to_owned()));
        }
        let mut store = RootCertStore::empty();
        let mut digest = DefaultHasher::new();
        for certificate in &certificates {
            certificate.as_ref().hash(&mut digest);
            store.add(certificate.clone()).map_err(|error| TrustError::Authority(error.to_string()))?;
        }
        Ok(Self { certificates: certificates.into(), store: Arc::new(store), digest: digest.finish() })
    }

    pub(crate) fn store(&self) -> &Arc<RootCertStore> {
        &self.store
    }

    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }
}

impl PartialEq for TrustRoots {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest && self.certificates == other.certificates
    }
}

impl Eq for TrustRoots {}
