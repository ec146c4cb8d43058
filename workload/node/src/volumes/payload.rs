//! The files of a volume that other objects say: ConfigMaps, Secrets, the pod itself, tokens, or several of them.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{
    DownwardAPIVolumeFile, KeyToPath, ServiceAccount, ServiceAccountTokenProjection, Volume, VolumeProjection,
};
use kube::api::PostParams;
use kube::{Api, ResourceExt as _};

use super::atomic::{File, Payload, is_inside};
use crate::Error;
use crate::environment::{config_map, field_of, resource_of, secret};
use crate::pod::Life;

/// The mode of a file whose pod names none.
const MODE: u32 = 0o644;
/// For how long a token is asked for, in seconds, where the pod does not say.
const TOKEN_SECONDS: i64 = 3600;
const LONGEST_PATH: usize = 4096;

/// For how long a token that could not be replaced is used before another is asked for again, in seconds.
const TOKEN_AGAIN: i64 = 30;

/// A token, when it is to be replaced, and until when it serves.
#[derive(Debug, Clone)]
struct Token {
    text: String,
    renew: Timestamp,
    expires: Timestamp,
}

/// The tokens of a pod's volumes, by volume and path.
#[derive(Debug, Default)]
pub(crate) struct Tokens(Mutex<HashMap<(String, String), Token>>);

impl Tokens {
    /// How long until the first of them is to be replaced.
    pub(crate) fn due(&self) -> Option<Duration> {
        let tokens = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let first = tokens.values().map(|token| token.renew).min()?;
        Some(first.duration_since(Timestamp::now()).try_into().unwrap_or(Duration::ZERO))
    }

    fn get(&self, key: &(String, String)) -> Option<String> {
        let tokens = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        tokens.get(key).filter(|token| token.renew > Timestamp::now()).map(|token| token.text.clone())
    }

    /// The token after another was asked for: that one, or while none is to be had the old one for as long as it serves.
    fn settle(&self, key: (String, String), asked: Result<Token, Error>) -> Result<String, Error> {
        let mut tokens = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let error = match asked {
            Ok(token) => {
                let text = token.text.clone();
                tokens.insert(key, token);
                return Ok(text);
            }
            Err(error) => error,
        };
        let now = Timestamp::now();
        let Some(old) = tokens.get_mut(&key).filter(|old| old.expires > now) else {
            tokens.remove(&key);
            return Err(error);
        };
        tracing::warn!(volume = key.0, path = key.1, %error, "a token is not renewed yet; the old one still serves");
        old.renew = Timestamp::from_second(now.as_second() + TOKEN_AGAIN).unwrap_or(now);
        Ok(old.text.clone())
    }
}

/// Whether a volume's files are other objects'.
pub(crate) fn is_one(volume: &Volume) -> bool {
    volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.downward_api.is_some()
        || volume.projected.is_some()
}

/// The names of the ConfigMaps and of the Secrets that a volume's files come from.
pub(crate) fn origins(volume: &Volume) -> (Vec<String>, Vec<String>) {
    let projected = || volume.projected.iter().flat_map(|own| own.sources.iter().flatten());
    let maps = volume.config_map.iter().map(|own| own.name.clone());
    let maps = maps.chain(projected().filter_map(|own| Some(own.config_map.as_ref()?.name.clone())));
    let secrets = volume.secret.iter().filter_map(|own| own.secret_name.clone());
    let secrets = secrets.chain(projected().filter_map(|own| Some(own.secret.as_ref()?.name.clone())));
    (maps.collect(), secrets.collect())
}

/// The files of a volume as they are now.
pub(crate) async fn of(
    life: &Life,
    volume: &Volume,
    address: &str,
    tokens: &Tokens,
) -> Result<Payload, Error> {
    let (client, namespace) = (&life.node.client, life.pod.namespace().unwrap_or_default());
    let mode = |mode: Option<i32>| mode.and_then(|mode| u32::try_from(mode).ok()).unwrap_or(MODE) & 0o7777;
    if let Some(own) = &volume.config_map {
        let optional = own.optional.unwrap_or(false);
        let data = config_map(client, &namespace, &own.name, optional).await?;
        return pick(data, own.items.as_deref(), mode(own.default_mode), optional, "config");
    }
    if let Some(own) = &volume.secret {
        let optional = own.optional.unwrap_or(false);
        let name = own.secret_name.clone().unwrap_or_default();
        let data = secret(client, &namespace, &name, optional).await?;
        return pick(data, own.items.as_deref(), mode(own.default_mode), optional, "secret");
    }
    if let Some(own) = &volume.downward_api {
        return downward(life, own.items.as_deref().unwrap_or_default(), mode(own.default_mode), address);
    }
    let mut payload = Payload::new();
    let Some(own) = &volume.projected else { return Ok(payload) };
    let mode = mode(own.default_mode);
    for source in own.sources.iter().flatten() {
        payload.append(&mut projection(life, source, mode, address, (&volume.name, tokens)).await?);
    }
    Ok(payload)
}

async fn projection(
    life: &Life,
    source: &VolumeProjection,
    mode: u32,
    address: &str,
    (volume, tokens): (&str, &Tokens),
) -> Result<Payload, Error> {
    let (client, namespace) = (&life.node.client, life.pod.namespace().unwrap_or_default());
    if let Some(own) = &source.config_map {
        let optional = own.optional.unwrap_or(false);
        let data = config_map(client, &namespace, &own.name, optional).await?;
        return pick(data, own.items.as_deref(), mode, optional, "config");
    }
    if let Some(own) = &source.secret {
        let optional = own.optional.unwrap_or(false);
        let data = secret(client, &namespace, &own.name, optional).await?;
        return pick(data, own.items.as_deref(), mode, optional, "secret");
    }
    if let Some(own) = &source.downward_api {
        return downward(life, own.items.as_deref().unwrap_or_default(), mode, address);
    }
    if let Some(own) = &source.service_account_token {
        let key = (volume.to_owned(), own.path.clone());
        let text = match tokens.get(&key) {
            Some(text) => text,
            None => tokens.settle(key, ask_token(life, own).await)?,
        };
        let path = checked(&own.path)?;
        return Ok(Payload::from([(path, File { content: text.into_bytes(), mode })]));
    }
    Err(Error::Config(
        "a projected source is of a kind that is not served here: use configMap, secret, downwardAPI or serviceAccountToken"
            .to_owned(),
    ))
}

/// Asks the API for a token that is the pod's and ends with it.
async fn ask_token(life: &Life, wanted: &ServiceAccountTokenProjection) -> Result<Token, Error> {
    let pod = &life.pod;
    let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone());
    let account = account.filter(|name| !name.is_empty()).unwrap_or_else(|| "default".to_owned());
    let accounts: Api<ServiceAccount> =
        Api::namespaced(life.node.client.clone(), &pod.namespace().unwrap_or_default());
    let request = TokenRequest {
        spec: Some(TokenRequestSpec {
            audiences: wanted.audience.clone().filter(|audience| !audience.is_empty()).map(|own| vec![own]),
            expiration_seconds: Some(wanted.expiration_seconds.unwrap_or(TOKEN_SECONDS)),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                name: pod.metadata.name.clone(),
                uid: pod.uid(),
            }),
            ..TokenRequestSpec::default()
        }),
        ..TokenRequest::default()
    };
    let answer: TokenRequest = accounts
        .create_subresource("token", &account, &PostParams::default(), &request)
        .await
        .map_err(|error| Error::Config(format!("failed to fetch token: {error}")))?;
    let status = answer.status.unwrap_or_default();
    let now = Timestamp::now();
    let expires = status.expiration_timestamp.map_or(now, |time| time.0);
    let life = expires.duration_since(now).as_secs().max(10);
    // At four fifths of its life, as the kubelet does.
    let renew = Timestamp::from_second(now.as_second() + life / 5 * 4).unwrap_or(now);
    Ok(Token { text: status.token.unwrap_or_default(), renew, expires })
}

fn downward(
    life: &Life,
    items: &[DownwardAPIVolumeFile],
    default: u32,
    address: &str,
) -> Result<Payload, Error> {
    let pod = life.latest.borrow().clone();
    let mut payload = Payload::new();
    for item in items {
        let text = if let Some(field) = &item.field_ref {
            field_of(life, &pod, &field.field_path, address)?
        } else if let Some(resource) = &item.resource_field_ref {
            resource_of(life, resource, None)?
        } else {
            return Err(Error::Config(format!(
                "item {:?} refers to nothing: give fieldRef or resourceFieldRef",
                item.path
            )));
        };
        let mode = item.mode.and_then(|mode| u32::try_from(mode).ok()).unwrap_or(default);
        payload.insert(checked(&item.path)?, File { content: text.into_bytes(), mode });
    }
    Ok(payload)
}

/// All keys, or those that the items name at the paths that they name.
fn pick(
    mut data: BTreeMap<String, Vec<u8>>,
    items: Option<&[KeyToPath]>,
    default: u32,
    optional: bool,
    what: &str,
) -> Result<Payload, Error> {
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        let all =
            data.into_iter().map(|(key, content)| Ok((checked(&key)?, File { content, mode: default })));
        return all.collect();
    };
    let mut payload = Payload::new();
    for item in items {
        let path = checked(&item.path)?;
        let mode = item.mode.and_then(|mode| u32::try_from(mode).ok()).unwrap_or(default);
        match data.remove(&item.key) {
            Some(content) => drop(payload.insert(path, File { content, mode })),
            None if optional => {}
            None => return Err(Error::Config(format!("references non-existent {what} key: {}", item.key))),
        }
    }
    Ok(payload)
}

fn checked(path: &str) -> Result<PathBuf, Error> {
    let inner = PathBuf::from(path);
    if path.len() > LONGEST_PATH || !is_inside(&inner) {
        return Err(Error::Config(format!("path {path:?} must be relative and without '..'")));
    }
    Ok(inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;

    fn data() -> BTreeMap<String, Vec<u8>> {
        BTreeMap::from([("a".to_owned(), b"1".to_vec()), ("b".to_owned(), b"2".to_vec())])
    }

    fn item(key: &str, path: &str, mode: Option<i32>) -> KeyToPath {
        KeyToPath { key: key.to_owned(), path: path.to_owned(), mode, ..KeyToPath::default() }
    }

    #[test]
    fn a_token_that_cannot_be_renewed_serves_until_it_expires_and_is_then_forgotten() {
        let tokens = Tokens::default();
        let key = || ("all".to_owned(), "token".to_owned());
        let at = |seconds: i64| Timestamp::from_second(Timestamp::now().as_second() + seconds).unwrap();
        let token = |renew: i64, expires: i64| Token {
            text: expires.to_string(),
            renew: at(renew),
            expires: at(expires),
        };
        let refused = || Err(Error::Config("failed to fetch token".to_owned()));
        assert!(tokens.settle(key(), refused()).is_err());
        assert_eq!(tokens.settle(key(), Ok(token(-1, 100))).unwrap(), "100");
        assert_eq!((tokens.get(&key()), tokens.due()), (None, Some(Duration::ZERO)));
        assert_eq!(tokens.settle(key(), refused()).unwrap(), "100");
        assert_eq!(tokens.get(&key()).as_deref(), Some("100"), "no other is asked for at once");
        assert!(tokens.due() > Some(Duration::from_secs(10)));
        assert_eq!(tokens.settle(key(), Ok(token(-9, -1))).unwrap(), "-1");
        assert!(tokens.settle(key(), refused()).is_err());
        assert_eq!(tokens.due(), None);
    }

    #[test]
    fn items_choose_keys_paths_and_modes() {
        let all = pick(data(), None, MODE, false, "config").unwrap();
        assert_eq!(all.len(), 2);
        let items = [item("b", "in/c", Some(0o400))];
        let one = pick(data(), Some(&items), MODE, false, "config").unwrap();
        let file = File { content: b"2".to_vec(), mode: 0o400 };
        assert_eq!(one, Payload::from([(PathBuf::from("in/c"), file)]));
        let absent = [item("absent", "x", None)];
        assert!(pick(data(), Some(&absent), MODE, true, "config").unwrap().is_empty());
        let refused = pick(data(), Some(&absent), MODE, false, "config").unwrap_err();
        assert_eq!(refused.to_string(), "references non-existent config key: absent");
        for bad in ["../x", "/x", ""] {
            assert!(pick(data(), Some(&[item("a", bad, None)]), MODE, false, "config").is_err(), "{bad}");
        }
    }
}
