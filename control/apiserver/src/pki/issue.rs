//! Certificates for those who ask for one (RFC 2986) of the authority: their subject, their key and their other names as
//! they asked, everything else as the authority says (RFC 5280).
//!
//! rcgen, which makes the server's own certificates, keeps one value of each attribute of a subject. A client's groups are
//! several organizations of one subject, so the subject goes from the request into the certificate byte by byte here.

use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use rcgen::SigningKey as _;
use uuid::Uuid;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::cri_attributes::ParsedCriAttribute;
use x509_parser::extensions::{ParsedExtension, X509Extension};
use x509_parser::prelude::FromDer as _;

use super::der::{bits, boolean, explicit, implicit, integer, octets, oid, sequence, split, tag};
use super::{Authority, PkiError};

/// How much earlier than now certificates begin.
const BACKDATE: Duration = Duration::from_secs(5 * 60);
/// What lives shorter than this ends as late as was asked, though it begins earlier.
const SHORT: Duration = Duration::from_secs(8 * 60 * 60);

/// Usages of a key by Kubernetes' names, in the order of their bits.
const KEY_USAGES: [(&str, u8); 10] = [
    ("digital signature", 0),
    ("signing", 0),
    ("content commitment", 1),
    ("key encipherment", 2),
    ("data encipherment", 3),
    ("key agreement", 4),
    ("cert sign", 5),
    ("crl sign", 6),
    ("encipher only", 7),
    ("decipher only", 8),
];
/// Purposes of a certificate by Kubernetes' names, and their object identifiers.
const PURPOSES: [(&str, &[u64]); 13] = [
    ("any", &[2, 5, 29, 37, 0]),
    ("server auth", &[1, 3, 6, 1, 5, 5, 7, 3, 1]),
    ("client auth", &[1, 3, 6, 1, 5, 5, 7, 3, 2]),
    ("code signing", &[1, 3, 6, 1, 5, 5, 7, 3, 3]),
    ("email protection", &[1, 3, 6, 1, 5, 5, 7, 3, 4]),
    ("s/mime", &[1, 3, 6, 1, 5, 5, 7, 3, 4]),
    ("ipsec end system", &[1, 3, 6, 1, 5, 5, 7, 3, 5]),
    ("ipsec tunnel", &[1, 3, 6, 1, 5, 5, 7, 3, 6]),
    ("ipsec user", &[1, 3, 6, 1, 5, 5, 7, 3, 7]),
    ("timestamping", &[1, 3, 6, 1, 5, 5, 7, 3, 8]),
    ("ocsp signing", &[1, 3, 6, 1, 5, 5, 7, 3, 9]),
    ("microsoft sgc", &[1, 3, 6, 1, 4, 1, 311, 10, 3, 3]),
    ("netscape sgc", &[2, 16, 840, 1, 113_730, 4, 1]),
];
const KEY_USAGE: &[u64] = &[2, 5, 29, 15];
const PURPOSE: &[u64] = &[2, 5, 29, 37];
const BASIC_CONSTRAINTS: &[u64] = &[2, 5, 29, 19];
const AUTHORITY_KEY: &[u64] = &[2, 5, 29, 35];
const ALTERNATIVE_NAMES: &[u64] = &[2, 5, 29, 17];

impl Authority {
    /// Signs what a request (PKCS #10, DER) asks for, for these usages and, from `now` on, so long. Gives the certificate in
    /// PEM.
    pub fn issue(
        &self,
        request: &[u8],
        usages: &[String],
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<String, PkiError> {
        let refused = |why: String| PkiError::Request { why };
        let (_, asked) = X509CertificationRequest::from_der(request)
            .map_err(|error| refused(format!("it cannot be read: {error}")))?;
        asked.verify_signature().map_err(|error| refused(format!("its signature does not hold: {error}")))?;
        if now >= self.ends {
            return Err(refused("the authority's certificate has ended; start the server anew".to_owned()));
        }
        let asked = &asked.certification_request_info;
        let unreadable = || PkiError::Certificate { path: self.key_path.with_extension("crt") };
        let (_, pem) =
            x509_parser::pem::parse_x509_pem(self.certificate.as_bytes()).map_err(|_| unreadable())?;
        let own = pem.parse_x509().map_err(|_| unreadable())?;
        // The authority's own certificate is signed by the same key, in the same way.
        let whole = split(&pem.contents).ok_or_else(unreadable)?.0;
        let method = split(whole).and_then(|(_, rest)| split_raw(rest)).ok_or_else(unreadable)?;

        let names = asked
            .iter_attributes()
            .filter_map(|attribute| match attribute.parsed_attribute() {
                ParsedCriAttribute::ExtensionRequest(request) => Some(&request.extensions),
                _ => None,
            })
            .flatten()
            .find(|extension| {
                matches!(extension.parsed_extension(), ParsedExtension::SubjectAlternativeName(_))
            });
        let key = own.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(key) => Some(key.0),
            _ => None,
        });
        let end = now + if lifetime < SHORT { lifetime } else { lifetime.saturating_sub(BACKDATE) };
        let validity = [time(now - BACKDATE), time(end.min(self.ends))].concat();
        let body = sequence(&[
            explicit(0, &integer(&[2])),
            integer(&serial()),
            method.to_vec(),
            own.subject().as_raw().to_vec(),
            sequence(&[validity]),
            asked.subject.as_raw().to_vec(),
            asked.subject_pki.raw.to_vec(),
            explicit(3, &sequence(&extensions(usages, key, names))),
        ]);
        let signature = self
            .issuer
            .key()
            .sign(&body)
            .map_err(|source| PkiError::Signing { path: self.key_path.clone(), source })?;
        let certificate = sequence(&[body, method.to_vec(), bits(0, &signature)]);
        Ok(super::der::pem("CERTIFICATE", &certificate))
    }
}

/// The first value with its head.
fn split_raw(bytes: &[u8]) -> Option<&[u8]> {
    let (_, rest) = split(bytes)?;
    bytes.get(..bytes.len() - rest.len())
}

/// A number that no other certificate has.
fn serial() -> [u8; 16] {
    let mut number = *Uuid::new_v4().as_bytes();
    // Above zero, and as long as it looks.
    number[0] = number[0] & 0x7f | 0x40;
    number
}

/// UTCTime to the year 2049, GeneralizedTime from then on (RFC 5280, 4.1.2.5).
fn time(moment: SystemTime) -> Vec<u8> {
    let moment = Timestamp::try_from(moment).unwrap_or(Timestamp::MAX);
    let text = moment.strftime("%Y%m%d%H%M%SZ").to_string();
    match text.as_str() < "2050" {
        true => tag(0x17, text.as_bytes().get(2..).unwrap_or_default()),
        false => tag(0x18, text.as_bytes()),
    }
}

fn extensions(usages: &[String], key: Option<&[u8]>, names: Option<&X509Extension<'_>>) -> Vec<Vec<u8>> {
    let has = |name: &&str| usages.iter().any(|usage| usage == name);
    let mut all = Vec::new();
    let mut add = |id: &[u64], critical: bool, value: &[u8]| {
        let mut parts = vec![oid(id)];
        if critical {
            parts.push(boolean(true));
        }
        parts.push(octets(value));
        all.push(sequence(&parts));
    };
    let mut flags = [0_u8; 2];
    for (_, bit) in KEY_USAGES.iter().filter(|(name, _)| has(name)) {
        flags[usize::from(bit / 8)] |= 0x80 >> (bit % 8);
    }
    match flags {
        [0, 0] => {}
        [first, 0] => add(KEY_USAGE, true, &bits(first.trailing_zeros(), &[first])),
        both => add(KEY_USAGE, true, &bits(both[1].trailing_zeros(), &both)),
    }
    let mut purposes: Vec<Vec<u8>> =
        PURPOSES.iter().filter(|(name, _)| has(name)).map(|(_, id)| oid(id)).collect();
    purposes.dedup();
    if !purposes.is_empty() {
        add(PURPOSE, false, &sequence(&purposes));
    }
    add(BASIC_CONSTRAINTS, true, &sequence(&[]));
    if let Some(key) = key {
        add(AUTHORITY_KEY, false, &sequence(&[implicit(0, key)]));
    }
    if let Some(names) = names {
        add(ALTERNATIVE_NAMES, names.critical, names.value);
    }
    all
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::super::end_of;
    use super::*;

    fn request(names: &[&str]) -> (Vec<u8>, KeyPair) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut parameters = CertificateParams::new(names).unwrap();
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        parameters.distinguished_name.push(DnType::CommonName, "jill");
        parameters.distinguished_name.push(DnType::OrganizationName, "devs");
        let key = KeyPair::generate().unwrap();
        (parameters.serialize_request(&key).unwrap().der().to_vec(), key)
    }

    fn usages(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_certificate_says_what_was_asked_and_is_signed_by_the_authority() {
        let directory = tempfile::tempdir().unwrap();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let authority = Authority::open_at(directory.path(), now).unwrap();
        let (der, _) = request(&["edge.example", "10.0.0.1"]);
        let hour = Duration::from_secs(3600);
        let wanted = usages(&["digital signature", "client auth", "server auth"]);
        let made = authority.issue(&der, &wanted, hour, now).unwrap();
        assert_eq!(end_of(&made), Some(now + hour));
        let parse = |pem: &str| x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap().1;
        let (made, root) = (parse(&made), parse(authority.certificate()));
        let (made, root) = (made.parse_x509().unwrap(), root.parse_x509().unwrap());
        made.verify_signature(Some(root.public_key())).unwrap();
        assert_eq!(made.issuer(), root.subject());
        assert_eq!(made.subject().to_string(), "CN=jill, O=devs");
        assert!(!made.is_ca());
        let usage = made.key_usage().unwrap().unwrap().value;
        assert!(usage.digital_signature() && !usage.key_cert_sign());
        let purposes = made.extended_key_usage().unwrap().unwrap().value;
        assert!(purposes.client_auth && purposes.server_auth && !purposes.any);
        assert_eq!(made.subject_alternative_name().unwrap().unwrap().value.general_names.len(), 2);
    }

    #[test]
    fn nothing_outlives_the_authority_and_a_broken_request_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let authority = Authority::open_at(directory.path(), now).unwrap();
        let (mut der, _) = request(&[]);
        let year = Duration::from_secs(365 * 86_400);
        let late = authority.ends - year / 2;
        let made = authority.issue(&der, &usages(&["client auth"]), year, late).unwrap();
        assert_eq!(end_of(&made), Some(authority.ends));
        assert!(authority.issue(&der, &[], year, authority.ends).is_err());
        *der.last_mut().unwrap() ^= 1;
        let error = authority.issue(&der, &[], year, now).unwrap_err().to_string();
        assert!(error.contains("signature does not hold") || error.contains("cannot be read"), "{error}");
        assert!(authority.issue(b"rubbish", &[], year, now).is_err());
    }
}
