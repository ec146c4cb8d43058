//! What TLS is made of: certificates from Secrets, authorities from ConfigMaps.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use xebec_proxy::config::{Certificate, TrustRoots};

use crate::Snapshot;
use crate::grant::{Grants, Referrer};

/// The entry of a ConfigMap or Secret that holds authorities.
const CA: &str = "ca.crt";

/// Finds Secrets and ConfigMaps.
pub(crate) struct Material<'a> {
    secrets: HashMap<(String, String), &'a Secret>,
    config_maps: HashMap<(String, String), &'a ConfigMap>,
}

/// Why a reference gives nothing to work with.
pub(crate) enum Unusable {
    /// It leads to a kind that cannot be used.
    Kind(String),
    /// No grant lets it cross namespaces.
    NotPermitted(String),
    /// What it leads to is not there, or not what it should be.
    Content(String),
}

impl Unusable {
    pub(crate) fn into_message(self) -> String {
        let (Self::Kind(message) | Self::NotPermitted(message) | Self::Content(message)) = self;
        message
    }
}

/// A reference to an object that may be of another namespace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) group: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
}

impl<'a> Material<'a> {
    pub(crate) fn new(snapshot: &'a Snapshot) -> Self {
        fn key(object: &impl kube::ResourceExt) -> (String, String) {
            (object.namespace().unwrap_or_default(), object.name_any())
        }
        Self {
            secrets: snapshot.secrets.iter().map(|secret| (key(&**secret), &**secret)).collect(),
            config_maps: snapshot.config_maps.iter().map(|map| (key(&**map), &**map)).collect(),
        }
    }

    /// The certificate of a Secret of type `kubernetes.io/tls`.
    pub(crate) fn certificate(
        &self,
        from: Referrer<'_>,
        wanted: Wanted<'_>,
        grants: &Grants<'_>,
    ) -> Result<Certificate, Unusable> {
        let Wanted { group, kind, namespace, name } = wanted;
        if !group.is_empty() || kind != "Secret" {
            let message = format!("{kind}.{group} {name:?} cannot hold a certificate; refer to a Secret");
            return Err(Unusable::Kind(message));
        }
        permitted(from, wanted, grants)?;
        let secret = self.secrets.get(&(namespace.to_owned(), name.to_owned()));
        let secret = secret
            .ok_or_else(|| Unusable::Content(format!("there is no Secret {namespace}/{name}; create it")))?;
        let entry = |key: &str| {
            let entry = secret.data.as_ref().and_then(|data| data.get(key)).map(|bytes| &bytes.0[..]);
            entry.ok_or_else(|| {
                Unusable::Content(format!(
                    "Secret {namespace}/{name} has no {key}; give it tls.crt and tls.key"
                ))
            })
        };
        Certificate::from_pem(entry("tls.crt")?, entry("tls.key")?)
            .map_err(|error| Unusable::Content(format!("Secret {namespace}/{name}: {error}")))
    }

    /// The authorities of a ConfigMap or Secret.
    pub(crate) fn authorities(
        &self,
        from: Referrer<'_>,
        wanted: Wanted<'_>,
        grants: &Grants<'_>,
    ) -> Result<Vec<u8>, Unusable> {
        let Wanted { group, kind, namespace, name } = wanted;
        if !group.is_empty() || !["ConfigMap", "Secret"].contains(&kind) {
            let message = format!("{kind}.{group} {name:?} cannot hold authorities; refer to a ConfigMap");
            return Err(Unusable::Kind(message));
        }
        permitted(from, wanted, grants)?;
        let key = (namespace.to_owned(), name.to_owned());
        let text = if kind == "ConfigMap" {
            let map = self.config_maps.get(&key);
            map.and_then(|map| map.data.as_ref()?.get(CA)).map(|text| text.as_bytes().to_vec())
        } else {
            let secret = self.secrets.get(&key);
            secret.and_then(|secret| secret.data.as_ref()?.get(CA)).map(|bytes| bytes.0.clone())
        };
        let text = text.ok_or_else(|| {
            Unusable::Content(format!(
                "there is no {CA} in {kind} {namespace}/{name}; put the authorities there"
            ))
        })?;
        TrustRoots::from_pem(&text)
            .map_err(|error| Unusable::Content(format!("{kind} {namespace}/{name}: {error}")))?;
        Ok(text)
    }
}

fn permitted(from: Referrer<'_>, wanted: Wanted<'_>, grants: &Grants<'_>) -> Result<(), Unusable> {
    let Wanted { kind, namespace, name, .. } = wanted;
    if grants.permit(from, kind, namespace, name) {
        return Ok(());
    }
    let Referrer { kind: referrer, namespace: own } = from;
    Err(Unusable::NotPermitted(format!(
        "no ReferenceGrant in {namespace} lets a {referrer} of {own} use {kind} {name:?}; create one"
    )))
}
