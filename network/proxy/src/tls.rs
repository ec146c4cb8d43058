//! Server-side TLS by rustls with ring: the client's server name chooses the certificate.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::config::{Alpn, HostMatch, Tls};

pub(crate) const H2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// The rustls configuration of a listener.
pub(crate) fn server_config(tls: &Tls) -> Arc<ServerConfig> {
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let mut config = builder
        .with_safe_default_protocol_versions()
        .expect("ring has the suites of TLS 1.2 and 1.3")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(ByServerName::new(tls)));
    let name = |alpn: &Alpn| match alpn {
        Alpn::Http2 => H2.to_vec(),
        Alpn::Http1 => HTTP1.to_vec(),
    };
    config.alpn_protocols = if tls.alpn.is_empty() {
        vec![H2.to_vec(), HTTP1.to_vec()]
    } else {
        tls.alpn.iter().map(name).collect()
    };
    Arc::new(config)
}

/// Certificates by the names they are for; of two for one name the earlier stays.
#[derive(Default)]
struct ByServerName {
    exact: HashMap<String, Arc<CertifiedKey>>,
    suffix: HashMap<String, Arc<CertifiedKey>>,
    any: Option<Arc<CertifiedKey>>,
}

impl fmt::Debug for ByServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.exact.keys().chain(self.suffix.keys());
        f.debug_list().entries(names).finish()
    }
}

impl ByServerName {
    fn new(tls: &Tls) -> Self {
        let mut names = Self::default();
        for certificate in &tls.certificates {
            let key = Arc::clone(certificate.key());
            match certificate.host() {
                HostMatch::Exact(name) => {
                    names.exact.entry(name.to_ascii_lowercase()).or_insert(key);
                }
                HostMatch::Suffix(name) => {
                    names.suffix.entry(name.to_ascii_lowercase()).or_insert(key);
                }
                HostMatch::Any => {
                    names.any.get_or_insert(key);
                }
            }
        }
        names
    }

    /// By the same precedence as hosts: exact, longest suffix, any.
    fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let name = name.to_ascii_lowercase();
        if let Some(key) = self.exact.get(&name) {
            return Some(key);
        }
        let mut rest = name.as_str();
        while let Some((_, suffix)) = rest.split_once('.') {
            if let Some(key) = self.suffix.get(suffix) {
                return Some(key);
            }
            rest = suffix;
        }
        self.any.as_ref()
    }
}

impl ResolvesServerCert for ByServerName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        match hello.server_name() {
            Some(name) => self.find(name).cloned(),
            None => self.any.clone(),
        }
    }
}
