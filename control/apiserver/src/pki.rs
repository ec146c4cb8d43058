//! The server's own certificate authority, and the credentials that it signs.
//!
//! The authority's key is made at the first start and kept in the data directory, so that kubeconfigs outlive restarts.
//! Its certificate is valid for ten years and is signed anew, by the same key, at a start that finds less than thirty days
//! of them left. Everything else is signed at each start for a year: nothing can expire between two starts, and nothing is
//! there to leak.

mod der;
mod issue;

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long the authority's certificate is valid.
const AUTHORITY_VALID: Duration = DAY.saturating_mul(3652);
/// How long every other certificate is valid, unless the authority's ends before.
const LEAF_VALID: Duration = DAY.saturating_mul(365);
/// The authority's certificate is renewed at a start that finds less than this left.
const RENEW_WITHIN: Duration = DAY.saturating_mul(30);
/// How much earlier than now certificates begin, for clients whose clocks are late.
const LATE_CLOCKS: Duration = Duration::from_secs(60 * 60);

/// Why the authority cannot be opened or cannot sign.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file cannot be read or written.
    #[error("cannot use {path:?}: {source}; check that the data directory is writable by this user")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The key on disk is not one, or signing failed.
    #[error(
        "cannot sign with the key in {path:?}: {source}; restore the file, or remove it and its .crt to start anew"
    )]
    Signing {
        /// The authority's key.
        path: PathBuf,
        /// What the signer said.
        source: rcgen::Error,
    },
    /// The authority's certificate on disk is none.
    #[error("cannot read the certificate in {path:?}; restore the file, or remove it to have it made anew")]
    Certificate {
        /// The authority's certificate.
        path: PathBuf,
    },
    /// The key that signs tokens is none.
    #[error(
        "cannot sign tokens with the key in {path:?}; restore the file, or remove it to have new tokens signed by a new key"
    )]
    TokenKey {
        /// The key.
        path: PathBuf,
    },
    /// What is to be signed cannot be.
    #[error("the request for a certificate cannot be signed: {why}")]
    Request {
        /// What is wrong with it.
        why: String,
    },
    /// The certificate is there and its key is not.
    #[error(
        "{path:?} is missing but its certificate is there; restore the key, or remove the certificate to start anew"
    )]
    KeyMissing {
        /// The authority's key.
        path: PathBuf,
    },
}

/// A certificate and its key, both PEM.
#[derive(Clone)]
pub struct Credential {
    /// The certificate.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

/// The certificate authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
    key_path: PathBuf,
    now: SystemTime,
    ends: SystemTime,
}

impl Authority {
    /// Opens the authority in a directory, and makes it at the first start.
    pub fn open(directory: &Path) -> Result<Self, PkiError> {
        Self::open_at(directory, SystemTime::now())
    }

    /// [`Authority::open`] at a moment, from which on certificates are valid.
    pub fn open_at(directory: &Path, now: SystemTime) -> Result<Self, PkiError> {
        fs::create_dir_all(directory)
            .map_err(|source| PkiError::File { path: directory.to_owned(), source })?;
        let key_path = directory.join("ca.key");
        let certificate_path = directory.join("ca.crt");
        let signing = |source| PkiError::Signing { path: key_path.clone(), source };
        let stored = read(&certificate_path)?;
        let key = match (read(&key_path)?, &stored) {
            (Some(pem), _) => KeyPair::from_pem(&pem).map_err(signing)?,
            (None, Some(_)) => return Err(PkiError::KeyMissing { path: key_path }),
            (None, None) => {
                let key = KeyPair::generate().map_err(signing)?;
                write_private(&key_path, &key.serialize_pem())?;
                key
            }
        };
        let mut parameters = authority_parameters().map_err(signing)?;
        let kept = match stored {
            Some(pem) => {
                let unreadable = || PkiError::Certificate { path: certificate_path.clone() };
                let ends = end_of(&pem).ok_or_else(unreadable)?;
                Some((pem, ends)).filter(|(_, ends)| *ends >= now + RENEW_WITHIN)
            }
            None => None,
        };
        let (certificate, ends) = match kept {
            Some(kept) => kept,
            // Also the way out of a crash between the two files.
            None => {
                let ends = now + AUTHORITY_VALID;
                parameters.not_before = (now - LATE_CLOCKS).into();
                parameters.not_after = ends.into();
                let pem = parameters.self_signed(&key).map_err(signing)?.pem();
                write_private(&certificate_path, &pem)?;
                (pem, ends)
            }
        };
        Ok(Self { issuer: Issuer::new(parameters, key), certificate, key_path, now, ends })
    }

    /// The authority's certificate, PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Signs a server's certificate for these DNS names and addresses.
    pub fn server(&self, names: &[&str]) -> Result<Credential, PkiError> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        self.sign(CertificateParams::new(names), "kube-apiserver", None, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// Signs a client's certificate: the common name is the user, the organization the group.
    pub fn client(&self, user: &str, group: &str) -> Result<Credential, PkiError> {
        let parameters = CertificateParams::new(Vec::<String>::new());
        self.sign(parameters, user, Some(group), ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// Signs the certificate of a client that is in no group.
    pub fn lone_client(&self, user: &str) -> Result<Credential, PkiError> {
        let parameters = CertificateParams::new(Vec::<String>::new());
        self.sign(parameters, user, None, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn sign(
        &self,
        parameters: Result<CertificateParams, rcgen::Error>,
        name: &str,
        group: Option<&str>,
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<Credential, PkiError> {
        let signing = |source| PkiError::Signing { path: self.key_path.clone(), source };
        let mut parameters = parameters.map_err(signing)?;
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        parameters.distinguished_name.push(DnType::CommonName, name);
        if let Some(group) = group {
            parameters.distinguished_name.push(DnType::OrganizationName, group);
        }
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.extended_key_usages = vec![usage];
        parameters.use_authority_key_identifier_extension = true;
        parameters.not_before = (self.now - LATE_CLOCKS).into();
        parameters.not_after = (self.now + LEAF_VALID).min(self.ends).into();
        let key = KeyPair::generate().map_err(signing)?;
        let certificate = parameters.signed_by(&key, &self.issuer).map_err(signing)?.pem();
        Ok(Credential { certificate, key: key.serialize_pem() })
    }
}

fn authority_parameters() -> Result<CertificateParams, rcgen::Error> {
    let mut parameters = CertificateParams::new(Vec::<String>::new())?;
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, "xebec-ca");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(parameters)
}

/// When a certificate (PEM) ends.
fn end_of(pem: &str) -> Option<SystemTime> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).ok()?;
    let certificate = pem.parse_x509().ok()?;
    let seconds = u64::try_from(certificate.validity().not_after.timestamp()).ok()?;
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// Writes the kubeconfig of a client, readable by its owner alone.
pub fn write_kubeconfig(
    path: &Path,
    server: &str,
    authority: &Authority,
    client: &Credential,
) -> Result<(), PkiError> {
    let authority = STANDARD.encode(authority.certificate());
    let certificate = STANDARD.encode(&client.certificate);
    let key = STANDARD.encode(&client.key);
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: xebec\n\
         clusters:\n- name: xebec\n  cluster:\n    server: {server}\n    certificate-authority-data: {authority}\n\
         contexts:\n- name: xebec\n  context:\n    cluster: xebec\n    user: admin\n\
         users:\n- name: admin\n  user:\n    client-certificate-data: {certificate}\n    client-key-data: {key}\n"
    );
    write_private(path, &text)
}

/// The text of a file, if there is one.
pub(crate) fn read(path: &Path) -> Result<Option<String>, PkiError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(PkiError::File { path: path.to_owned(), source }),
    }
}

/// Writes beside the file and renames, so that a crash leaves the old file or the new one, never half of it.
pub(crate) fn write_private(path: &Path, text: &str) -> Result<(), PkiError> {
    let draft = path.with_extension("draft");
    let write = || {
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        // The name is durable only with its directory.
        match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            Some(parent) => fs::File::open(parent)?.sync_all(),
            None => fs::File::open(".")?.sync_all(),
        }
    };
    write().map_err(|source| PkiError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn the_authority_outlives_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let first = Authority::open(directory.path()).unwrap().certificate().to_owned();
        let again = Authority::open(directory.path()).unwrap();
        assert_eq!(again.certificate(), first);
        assert!(again.server(&["localhost", "127.0.0.1"]).unwrap().certificate.contains("BEGIN CERTIFICATE"));
    }

    /// A moment in whole seconds, as certificates have them.
    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_800_000_000)
    }

    fn key_of(pem: &str) -> Vec<u8> {
        let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap();
        pem.parse_x509().unwrap().public_key().raw.to_vec()
    }

    #[test]
    fn the_authority_is_valid_for_ten_years_and_what_it_signs_for_one() {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::open_at(directory.path(), now()).unwrap();
        assert_eq!(end_of(authority.certificate()), Some(now() + AUTHORITY_VALID));
        for leaf in [authority.server(&["localhost"]), authority.client("admin", "system:masters")] {
            assert_eq!(end_of(&leaf.unwrap().certificate), Some(now() + LEAF_VALID));
        }
    }

    #[test]
    fn the_authority_is_renewed_by_its_own_key_when_little_is_left() {
        let directory = tempfile::tempdir().unwrap();
        let first = Authority::open_at(directory.path(), now()).unwrap().certificate().to_owned();
        let early = now() + AUTHORITY_VALID - RENEW_WITHIN;
        let kept = Authority::open_at(directory.path(), early).unwrap();
        assert_eq!(kept.certificate(), first);
        // Nothing outlives who vouches for it.
        let leaf = kept.server(&["localhost"]).unwrap();
        assert_eq!(end_of(&leaf.certificate), Some(now() + AUTHORITY_VALID));

        let late = early + DAY;
        let renewed = Authority::open_at(directory.path(), late).unwrap();
        assert_ne!(renewed.certificate(), first);
        assert_eq!(end_of(renewed.certificate()), Some(late + AUTHORITY_VALID));
        assert_eq!(key_of(renewed.certificate()), key_of(&first));
        let again = Authority::open_at(directory.path(), late).unwrap();
        assert_eq!(again.certificate(), renewed.certificate());
    }

    #[test]
    fn a_damaged_certificate_is_refused_with_the_remedy() {
        let directory = tempfile::tempdir().unwrap();
        Authority::open(directory.path()).unwrap();
        let certificate = directory.path().join("ca.crt");
        fs::write(&certificate, "not a certificate").unwrap();
        assert!(matches!(Authority::open(directory.path()), Err(PkiError::Certificate { .. })));
        fs::remove_file(&certificate).unwrap();
        assert!(Authority::open(directory.path()).is_ok());
    }

    #[test]
    fn a_lost_or_damaged_key_is_refused_and_never_replaced() {
        let directory = tempfile::tempdir().unwrap();
        Authority::open(directory.path()).unwrap();
        let key = directory.path().join("ca.key");
        fs::write(&key, "not a key").unwrap();
        assert!(matches!(Authority::open(directory.path()), Err(PkiError::Signing { .. })));
        fs::remove_file(&key).unwrap();
        assert!(matches!(Authority::open(directory.path()), Err(PkiError::KeyMissing { .. })));
        assert!(!key.exists());
    }

    #[test]
    fn secrets_are_readable_by_their_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::open(directory.path()).unwrap();
        let client = authority.client("admin", "system:masters").unwrap();
        let path = directory.path().join("kubeconfig");
        write_kubeconfig(&path, "https://127.0.0.1:6443", &authority, &client).unwrap();
        for file in [path, directory.path().join("ca.key")] {
            assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
}
