//! Who asks: by client certificate or by bearer token.

use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use xebec_machinery::status::Status;

use crate::jwt::Signer;
use crate::user::{AUTHENTICATED, User};

/// Tokens that are told apart by their digests, so that no token is kept in memory and comparing takes no secret time.
#[derive(Clone, Default)]
pub struct Tokens {
    users: HashMap<[u8; 32], User>,
    signer: Option<Arc<Signer>>,
}

impl Tokens {
    /// Lets the bearer of a token in as this user.
    pub fn add(&mut self, token: &str, mut user: User) {
        user.groups.push(AUTHENTICATED.to_owned());
        self.users.insert(Sha256::digest(token.as_bytes()).into(), user);
    }

    /// The user of a request: the one of its bearer token, else the one of its certificate, else nobody. A token that is
    /// not known is refused even if a certificate is there, as upstream does. `signed` tells the users of tokens that are
    /// not held here.
    pub fn user(
        &self,
        headers: &HeaderMap,
        certificate: Option<&User>,
        signed: impl FnOnce(&str) -> Result<User, Status>,
    ) -> Result<User, Status> {
        let Some(header) = headers.get(AUTHORIZATION) else {
            return Ok(certificate.cloned().unwrap_or_else(User::anonymous));
        };
        let text = header.to_str().map_err(|_| Status::unauthorized())?;
        let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
        if !scheme.eq_ignore_ascii_case("bearer") {
            return certificate.cloned().ok_or_else(Status::unauthorized);
        }
        self.bearer(token.trim()).map_or_else(|| signed(token.trim()), Ok)
    }

    /// The user of a bearer token that is held here.
    pub fn bearer(&self, token: &str) -> Option<User> {
        let digest: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        self.users.get(&digest).cloned()
    }

    /// Lets in the bearers of service account tokens too: this signs and knows them.
    pub fn set_signer(&mut self, signer: Signer) {
        self.signer = Some(Arc::new(signer));
    }

    /// What signs the tokens of service accounts.
    pub fn signer(&self) -> Option<&Signer> {
        self.signer.as_deref()
    }
}

/// The user that a verified client certificate names: its common name, in the groups of its organizations.
pub fn certificate_user(der: &[u8]) -> Option<User> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let mut groups: Vec<String> =
        subject.iter_organization().filter_map(|group| group.as_str().ok()).map(str::to_owned).collect();
    groups.push(AUTHENTICATED.to_owned());
    Some(User { name, groups, ..User::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(authorization: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, authorization.parse().unwrap());
        headers
    }

    fn tokens() -> Tokens {
        let mut tokens = Tokens::default();
        tokens.add("s3cret", User::new("robot", ["robots"]));
        tokens
    }

    fn user(headers: &HeaderMap, certificate: Option<&User>) -> Result<User, Status> {
        tokens().user(headers, certificate, |token| match token {
            "signed" => Ok(User::service_account("shop", "web")),
            _ => Err(Status::unauthorized()),
        })
    }

    #[test]
    fn a_known_token_names_its_user() {
        let robot = user(&headers("Bearer s3cret"), None).unwrap();
        assert_eq!((robot.name.as_str(), robot.groups.len()), ("robot", 2));
        let account = user(&headers("Bearer signed"), None).unwrap();
        assert_eq!(account.name, "system:serviceaccount:shop:web");
    }

    #[test]
    fn a_wrong_token_is_refused_even_beside_a_certificate() {
        let admin = User::new("admin", []);
        assert_eq!(user(&headers("Bearer nope"), Some(&admin)).unwrap_err().code(), 401);
        assert_eq!(user(&headers("Basic eA=="), None).unwrap_err().code(), 401);
        assert_eq!(user(&HeaderMap::new(), Some(&admin)).unwrap(), admin);
        assert_eq!(user(&HeaderMap::new(), None).unwrap(), User::anonymous());
    }

    #[test]
    fn a_certificate_names_user_and_groups() {
        let directory = tempfile::tempdir().unwrap();
        let authority = crate::pki::Authority::open(directory.path()).unwrap();
        let credential = authority.client("jane", "system:masters").unwrap();
        let (_, pem) = x509_parser::pem::parse_x509_pem(credential.certificate.as_bytes()).unwrap();
        let user = certificate_user(&pem.contents).unwrap();
        assert_eq!(user.name, "jane");
        assert!(user.groups.iter().any(|group| group == "system:masters"));
        assert_eq!(certificate_user(b"not a certificate"), None);
    }
}
