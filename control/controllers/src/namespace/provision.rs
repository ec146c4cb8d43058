//! What every namespace has: the account that pods run as, and the certificates by which they know the API server.

use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use kube::api::{ObjectMeta, Patch};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;

use crate::Error;
use crate::owner::{changing, writing};

/// The account and the ConfigMap that each namespace has.
pub(super) const ACCOUNT: &str = "default";
pub(super) const CERTIFICATES: &str = "kube-root-ca.crt";
const FILE: &str = "ca.crt";
const DESCRIPTION: &str = "kubernetes.io/description";
const DESCRIBED: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal \
    endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across \
    distributions of Kubernetes clusters.";

/// Makes the account that pods run as when they name none, if it is missing.
pub(super) async fn account(client: &Client, namespace: &str) -> Result<(), Error> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    if accounts.get_opt(ACCOUNT).await?.is_some() {
        return Ok(());
    }
    let account = ServiceAccount {
        metadata: ObjectMeta { name: Some(ACCOUNT.to_owned()), ..ObjectMeta::default() },
        ..ServiceAccount::default()
    };
    made(accounts.create(&writing(), &account).await)
}

/// Publishes the certificates, and puts right what somebody changed of them.
pub(super) async fn certificates(client: &Client, namespace: &str, bundle: &str) -> Result<(), Error> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let data = [(FILE.to_owned(), bundle.to_owned())];
    let Some(there) = maps.get_opt(CERTIFICATES).await? else {
        let map = ConfigMap {
            metadata: ObjectMeta {
                name: Some(CERTIFICATES.to_owned()),
                annotations: Some([(DESCRIPTION.to_owned(), DESCRIBED.to_owned())].into()),
                ..ObjectMeta::default()
            },
            data: Some(data.into()),
            ..ConfigMap::default()
        };
        return made(maps.create(&writing(), &map).await);
    };
    if there.data.as_ref() == Some(&data.clone().into()) {
        return Ok(());
    }
    let mut values = json!({FILE: bundle});
    for other in there.data.iter().flatten().map(|(key, _)| key).filter(|key| *key != FILE) {
        values[other] = serde_json::Value::Null;
    }
    let patch = json!({
        "metadata": {"uid": there.uid(), "resourceVersion": there.resource_version()},
        "data": values,
    });
    maps.patch(CERTIFICATES, &changing(), &Patch::Merge(patch)).await?;
    Ok(())
}

/// What somebody else made first, or what a namespace on its way out no longer takes, is no failure.
fn made<T>(outcome: Result<T, kube::Error>) -> Result<(), Error> {
    match outcome.map_err(Error::from) {
        Err(error) if error.already_exists() || error.namespace_ends() => Ok(()),
        Err(Error::Api(kube::Error::Api(status))) if status.code == 404 => Ok(()),
        outcome => outcome.map(drop),
    }
}
