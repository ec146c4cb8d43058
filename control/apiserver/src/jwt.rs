//! Signed tokens (RFC 7519) of service accounts: how they are written, checked, and told to others.
//!
//! One key signs, ECDSA over P-256 with SHA-256 (`ES256`). It is made at the first start and kept in the data directory,
//! so that tokens outlive restarts. What the claims mean is not known here.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::pki::{self, PkiError};

/// The one algorithm.
const ALGORITHM: &str = "ES256";
/// Longer tokens are not looked at.
const LENGTH_MAX: usize = 16 * 1024;

/// Signs tokens and knows its own.
pub struct Signer {
    pair: EcdsaKeyPair,
    /// What tells the key from others.
    id: String,
    random: SystemRandom,
}

impl Signer {
    /// Opens the key in a directory, and makes it at the first start.
    ///
    /// # Errors
    ///
    /// The file cannot be read or written, or is no key.
    pub fn open(directory: &Path) -> Result<Self, PkiError> {
        let path = directory.join("sa.key");
        let pem = match pki::read(&path)? {
            Some(pem) => pem,
            None => {
                let made = rcgen::KeyPair::generate();
                let key = made.map_err(|source| PkiError::Signing { path: path.clone(), source })?;
                let pem = key.serialize_pem();
                pki::write_private(&path, &pem)?;
                pem
            }
        };
        let refused = || PkiError::TokenKey { path: path.clone() };
        let random = SystemRandom::new();
        let key = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| refused())?;
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.secret_pkcs8_der(), &random)
                .map_err(|_| refused())?;
        let id = URL_SAFE_NO_PAD.encode(Sha256::digest(pair.public_key().as_ref()));
        Ok(Self { pair, id, random })
    }

    /// A token with these claims; nothing where the system has no randomness to give.
    pub fn sign(&self, claims: &Value) -> Option<String> {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let head = json!({"alg": ALGORITHM, "kid": self.id});
        let text = format!("{}.{}", part(&head), part(claims));
        let signature = self.pair.sign(&self.random, text.as_bytes()).ok()?;
        Some(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// The claims of a token that this key signed; nothing for any other text.
    pub fn verify(&self, token: &str) -> Option<Value> {
        if token.len() > LENGTH_MAX {
            return None;
        }
        let (text, signature) = token.rsplit_once('.')?;
        let (head, claims) = text.split_once('.')?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.pair.public_key().as_ref());
        key.verify(text.as_bytes(), &signature).ok()?;
        let read = |part: &str| -> Option<Value> {
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
        };
        let head = read(head)?;
        (head.get("alg")? == ALGORITHM).then(|| read(claims)).flatten()
    }

    /// The algorithm, as discovery names it.
    pub fn algorithm(&self) -> &'static str {
        ALGORITHM
    }

    /// The public key as a JSON Web Key Set (RFC 7517).
    pub fn key_set(&self) -> Value {
        // The point is written as 4, x and y.
        let point = self.pair.public_key().as_ref();
        let (x, y) = point.get(1..).unwrap_or_default().split_at(point.len() / 2);
        json!({"keys": [{
            "use": "sig", "kty": "EC", "kid": self.id, "crv": "P-256", "alg": ALGORITHM,
            "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
        }]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signed_token_is_known_after_a_restart_and_by_no_other_key() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let token = Signer::open(here.path()).unwrap().sign(&json!({"sub": "a"})).unwrap();
        assert_eq!(Signer::open(here.path()).unwrap().verify(&token), Some(json!({"sub": "a"})));
        assert_eq!(Signer::open(there.path()).unwrap().verify(&token), None);
    }

    #[test]
    fn a_token_with_any_part_changed_is_refused() {
        let here = tempfile::tempdir().unwrap();
        let signer = Signer::open(here.path()).unwrap();
        let token = signer.sign(&json!({"sub": "a"})).unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        let other = URL_SAFE_NO_PAD.encode(r#"{"sub":"b"}"#);
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
        for forged in [
            format!("{}.{other}.{}", parts[0], parts[2]),
            format!("{none}.{}.", parts[1]),
            format!("{none}.{}.{}", parts[1], parts[2]),
            format!("{}.{}", parts[0], parts[1]),
            parts[1].to_owned(),
            String::new(),
            "a".repeat(LENGTH_MAX + 1),
        ] {
            assert_eq!(signer.verify(&forged), None, "{forged}");
        }
    }

    #[test]
    fn the_key_set_has_the_point_of_the_key() {
        let here = tempfile::tempdir().unwrap();
        let signer = Signer::open(here.path()).unwrap();
        let key = &signer.key_set()["keys"][0];
        for part in ["x", "y"] {
            assert_eq!(URL_SAFE_NO_PAD.decode(key[part].as_str().unwrap()).unwrap().len(), 32);
        }
    }

    #[test]
    fn a_damaged_key_is_refused_and_never_replaced() {
        let here = tempfile::tempdir().unwrap();
        let path = here.path().join("sa.key");
        std::fs::write(&path, "no key").unwrap();
        assert!(matches!(Signer::open(here.path()), Err(PkiError::TokenKey { .. })));
        assert_eq!(std::fs::read_to_string(path).unwrap(), "no key");
    }
}
