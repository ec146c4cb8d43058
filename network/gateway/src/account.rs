//! The identity of a Gateway, which bears the labels and annotations that its `infrastructure` asks for.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Resource as _;
use xebec_api::gateway::Gateway;

use crate::Snapshot;
use crate::translation::names;

/// The label by which a Gateway's objects are found.
pub(crate) const GATEWAY_NAME: &str = "gateway.networking.k8s.io/gateway-name";

/// The ServiceAccount that a Gateway asks for, if it is not there as it should be.
pub(crate) fn wanted(gateway: &Gateway, snapshot: &Snapshot) -> Option<ServiceAccount> {
    let infrastructure = gateway.spec.infrastructure.as_ref()?;
    if infrastructure.labels.is_empty() && infrastructure.annotations.is_empty() {
        return None;
    }
    let (namespace, name) = names(&gateway.metadata);
    let mut labels = infrastructure.labels.clone();
    labels.insert(GATEWAY_NAME.to_owned(), name.to_owned());
    let annotations = infrastructure.annotations.clone();
    let owner = OwnerReference {
        api_version: Gateway::api_version(&()).into_owned(),
        kind: Gateway::kind(&()).into_owned(),
        name: name.to_owned(),
        uid: gateway.metadata.uid.clone()?,
        ..OwnerReference::default()
    };
    let name = format!("{name}-{}", gateway.spec.gateway_class_name);
    let found = snapshot.accounts.iter().find(|account| names(&account.metadata) == (namespace, &name));
    let bears = |found: &Option<BTreeMap<String, String>>, wanted: &BTreeMap<String, String>| {
        let found = found.as_ref();
        wanted.iter().all(|(key, value)| found.and_then(|found| found.get(key)) == Some(value))
    };
    if found.is_some_and(|account| {
        bears(&account.metadata.labels, &labels) && bears(&account.metadata.annotations, &annotations)
    }) {
        return None;
    }
    let metadata = ObjectMeta {
        name: Some(name),
        namespace: Some(namespace.to_owned()),
        labels: Some(labels),
        annotations: Some(annotations),
        owner_references: Some(vec![owner]),
        ..ObjectMeta::default()
    };
    Some(ServiceAccount { metadata, ..ServiceAccount::default() })
}
