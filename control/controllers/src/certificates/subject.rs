//! What a request for a certificate says of whom it is for.

use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer as _;

/// Whom a certificate is for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subject {
    /// The name: of a client, its user.
    pub common_name: String,
    /// The organizations: of a client, its groups.
    pub organizations: Vec<String>,
    /// How many names of the domain name system it is also for.
    pub dns: usize,
    /// How many addresses of the Internet Protocol.
    pub addresses: usize,
    /// How many addresses of electronic mail.
    pub mail: usize,
    /// How many URIs.
    pub uris: usize,
}

/// The request itself (DER) and its subject; nothing where the PEM holds none.
pub fn read(pem: &[u8]) -> Option<(Vec<u8>, Subject)> {
    let block =
        Pem::iter_from_buffer(pem).next()?.ok().filter(|block| block.label == "CERTIFICATE REQUEST")?;
    let subject = of(&block.contents)?;
    Some((block.contents, subject))
}

fn of(der: &[u8]) -> Option<Subject> {
    let (_, request) = X509CertificationRequest::from_der(der).ok()?;
    let name = &request.certification_request_info.subject;
    let text = |name: &x509_parser::x509::AttributeTypeAndValue<'_>| name.as_str().ok().map(str::to_owned);
    let mut subject = Subject {
        common_name: name.iter_common_name().last().and_then(text).unwrap_or_default(),
        organizations: name.iter_organization().filter_map(text).collect(),
        ..Subject::default()
    };
    for extension in request.requested_extensions().into_iter().flatten() {
        let ParsedExtension::SubjectAlternativeName(names) = extension else { continue };
        for name in &names.general_names {
            match name {
                GeneralName::DNSName(_) => subject.dns += 1,
                GeneralName::IPAddress(_) => subject.addresses += 1,
                GeneralName::RFC822Name(_) => subject.mail += 1,
                GeneralName::URI(_) => subject.uris += 1,
                _ => {}
            }
        }
    }
    Some(subject)
}

/// When a certificate in PEM ends, in seconds since 1970.
pub fn end(pem: &[u8]) -> Option<i64> {
    let block = Pem::iter_from_buffer(pem).next()?.ok()?;
    let certificate = block.parse_x509().ok()?;
    Some(certificate.validity().not_after.timestamp())
}
