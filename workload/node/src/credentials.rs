//! Who to be towards another registry: what the Secrets that a pod names for pulling say (`kubernetes.io/dockerconfigjson`
//! and the older `kubernetes.io/dockercfg`).

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use xebec_oci::client::Credentials;

/// Docker's own registry goes by this name in its configurations.
const DOCKER: (&str, &str) = ("docker.io", "index.docker.io");

#[derive(Deserialize)]
struct Config {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Entry {
    username: String,
    password: String,
    auth: String,
    #[serde(rename = "registrytoken")]
    token: String,
}

impl Entry {
    fn credentials(&self) -> Option<Credentials> {
        if !self.token.is_empty() {
            return Some(Credentials::Token(self.token.clone()));
        }
        if !self.username.is_empty() {
            return Some(Credentials::Password {
                user: self.username.clone(),
                password: self.password.clone(),
            });
        }
        let decoded = STANDARD.decode(self.auth.trim()).ok()?;
        let text = String::from_utf8(decoded).ok()?;
        let (user, password) = text.split_once(':')?;
        Some(Credentials::Password {
            user: user.to_owned(),
            password: password.trim_end_matches('\0').to_owned(),
        })
    }
}

/// All that a pod's Secrets say.
#[derive(Default)]
pub(crate) struct Keyring {
    entries: Vec<(Place, Credentials)>,
}

impl fmt::Debug for Keyring {
    /// Secrets do not belong in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("entries", &self.entries.len()).finish()
    }
}

/// What a key of a configuration names: `host[:port][/path]`, the host with `*` and `?` in its labels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    host: String,
    port: Option<String>,
    path: String,
}

impl Place {
    fn parse(key: &str) -> Self {
        let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
        let (authority, path) = rest.split_once('/').map_or((rest, ""), |(host, path)| (host, path));
        // The versions of the registry's API mean the whole of it.
        let path = path.trim_end_matches('/');
        let path = if matches!(path, "v1" | "v2") { "" } else { path };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, Some(port)),
            _ => (authority, None),
        };
        let host = if host == DOCKER.0 { DOCKER.1 } else { host };
        Self { host: host.to_owned(), port: port.map(str::to_owned), path: path.to_owned() }
    }

    fn covers(&self, image: &Self) -> bool {
        let (labels, others): (Vec<_>, Vec<_>) =
            (self.host.split('.').collect(), image.host.split('.').collect());
        let inside = image.path.strip_prefix(&self.path);
        labels.len() == others.len()
            && labels.iter().zip(others).all(|(label, other)| fits(label.as_bytes(), other.as_bytes()))
            && self.port == image.port
            && inside.is_some()
    }
}

/// Whether a text fits a pattern of `*` and `?`.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=text.len()).any(|skipped| fits(rest, &text[skipped..])),
        ([b'?', rest @ ..], [_, others @ ..]) => fits(rest, others),
        ([one, rest @ ..], [other, others @ ..]) if one == other => fits(rest, others),
        _ => false,
    }
}

impl Keyring {
    /// Adds what a Secret of this type says. What cannot be read is left out, as the kubelet does.
    pub(crate) fn add(&mut self, kind: &str, data: &BTreeMap<String, Vec<u8>>) {
        let auths = match kind {
            "kubernetes.io/dockerconfigjson" => data
                .get(".dockerconfigjson")
                .and_then(|text| serde_json::from_slice::<Config>(text).ok())
                .map(|config| config.auths),
            "kubernetes.io/dockercfg" => {
                data.get(".dockercfg").and_then(|text| serde_json::from_slice(text).ok())
            }
            _ => None,
        };
        let entries: BTreeMap<String, Entry> = auths.unwrap_or_default();
        let found = entries.iter().filter_map(|(key, entry)| Some((Place::parse(key), entry.credentials()?)));
        self.entries.extend(found);
        // The most specific first.
        self.entries.sort_by(|(one, _), (other, _)| other.cmp(one));
    }

    /// Who to be towards the registry that has this repository, one after the other.
    pub(crate) fn find(&self, registry: &str, repository: &str) -> Vec<Credentials> {
        let image = Place::parse(&format!("{registry}/{repository}"));
        let mut found: Vec<Credentials> = Vec::new();
        for (place, credentials) in &self.entries {
            if place.covers(&image) && !found.contains(credentials) {
                found.push(credentials.clone());
            }
        }
        if found.is_empty() {
            found.push(Credentials::Anonymous);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(user: &str) -> Credentials {
        Credentials::Password { user: user.to_owned(), password: "secret".to_owned() }
    }

    fn keyring(keys: &[(&str, &str)]) -> Keyring {
        let auths: serde_json::Map<String, serde_json::Value> = keys
            .iter()
            .map(|(key, user)| {
                ((*key).to_owned(), serde_json::json!({"username": user, "password": "secret"}))
            })
            .collect();
        let text = serde_json::json!({"auths": auths}).to_string().into_bytes();
        let mut keyring = Keyring::default();
        keyring
            .add("kubernetes.io/dockerconfigjson", &BTreeMap::from([(".dockerconfigjson".to_owned(), text)]));
        keyring
    }

    #[test]
    fn keys_match_by_host_port_and_path() {
        let keyring = keyring(&[
            ("https://index.docker.io/v1/", "docker"),
            ("reg.test:5000", "port"),
            ("*.example.com/team", "team"),
            ("*.example.com", "all"),
        ]);
        for (registry, repository, expected) in [
            ("docker.io", "library/redis", vec![password("docker")]),
            ("reg.test:5000", "a", vec![password("port")]),
            ("reg.test", "a", vec![Credentials::Anonymous]),
            ("one.example.com", "team/a", vec![password("team"), password("all")]),
            ("one.example.com", "other/a", vec![password("all")]),
            ("one.two.example.com", "team/a", vec![Credentials::Anonymous]),
        ] {
            assert_eq!(keyring.find(registry, repository), expected, "{registry}/{repository}");
        }
    }

    #[test]
    fn both_forms_of_secrets_are_read_and_others_left_out() {
        let mut keyring = Keyring::default();
        let entry = format!(r#"{{"a.test": {{"auth": "{}"}}}}"#, STANDARD.encode("me:secret"));
        let data = BTreeMap::from([(".dockercfg".to_owned(), entry.clone().into_bytes())]);
        keyring.add("Opaque", &data);
        assert_eq!(keyring.find("a.test", "x"), [Credentials::Anonymous]);
        keyring.add("kubernetes.io/dockercfg", &data);
        assert_eq!(keyring.find("a.test", "x"), [password("me")]);
        keyring.add("kubernetes.io/dockercfg", &BTreeMap::from([(".dockercfg".to_owned(), b"{".to_vec())]));
        assert_eq!(format!("{keyring:?}"), "Keyring { entries: 1 }");
    }
}
