//! Client-side TLS by rustls with ring: which endpoints are believed.

use std::sync::Arc;

use rustls::client::danger::{ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, ClientConfig, RootCertStore, SignatureScheme};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::config::{Certificate, SubjectName, TrustRoots};
use crate::signature::checks_signatures;

/// A configuration without application protocols.
pub(crate) fn client_config(
    names: &[SubjectName],
    roots: &TrustRoots,
    identity: Option<&Certificate>,
) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(Verifier {
        names: names.into(),
        roots: Arc::clone(roots.store()),
        provider: Arc::clone(&provider),
    });
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    Ok(match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => builder.with_client_cert_resolver(Arc::new(Identity(Arc::clone(identity.key())))),
    })
}

/// Shows one certificate, whatever authorities the endpoint hints at.
#[derive(Debug)]
struct Identity(Arc<CertifiedKey>);

impl ResolvesClientCert for Identity {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Believes certificates that the roots signed for one of the names.
#[derive(Debug)]
struct Verifier {
    names: Box<[SubjectName]>,
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let leaf = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&leaf, &self.roots, intermediates, now, algorithms)?;
        if self.names.is_empty() {
            verify_server_name(&leaf, server_name)?;
            return Ok(ServerCertVerified::assertion());
        }
        let bears = |name: &SubjectName| match name {
            SubjectName::Host(host) => {
                ServerName::try_from(host.as_str()).is_ok_and(|host| verify_server_name(&leaf, &host).is_ok())
            }
            SubjectName::Uri(uri) => bears_uri(end_entity, uri),
        };
        if self.names.iter().any(bears) {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::NotValidForName.into())
        }
    }

    checks_signatures!(provider);
}

fn bears_uri(certificate: &CertificateDer<'_>, wanted: &str) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return false };
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return false };
    names.value.general_names.iter().any(|name| matches!(name, GeneralName::URI(uri) if *uri == wanted))
}
