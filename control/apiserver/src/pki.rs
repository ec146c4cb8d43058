//! The server's own certificate authority, and the credentials that it signs.
//!
//! The authority's key is made at the first start and kept in the data directory, so that kubeconfigs outlive restarts.
//! Everything else is signed anew at each start: nothing can expire between two starts, and nothing is there to leak.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

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
}

impl Authority {
    /// Opens the authority in a directory, and makes it at the first start.
    pub fn open(directory: &Path) -> Result<Self, PkiError> {
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
        let parameters = authority_parameters().map_err(signing)?;
        let certificate = match stored {
            Some(pem) => pem,
            // Also the way out of a crash between the two files.
            None => {
                let pem = parameters.self_signed(&key).map_err(signing)?.pem();
                write_private(&certificate_path, &pem)?;
                pem
            }
        };
        Ok(Self { issuer: Issuer::new(parameters, key), certificate, key_path })
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

fn read(path: &Path) -> Result<Option<String>, PkiError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(PkiError::File { path: path.to_owned(), source }),
    }
}

/// Writes beside the file and renames, so that a crash leaves the old file or the new one, never half of it.
fn write_private(path: &Path, text: &str) -> Result<(), PkiError> {
    let draft = path.with_extension("draft");
    let write = || {
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, path)
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
