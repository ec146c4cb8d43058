//! ReferenceGrants: who may refer to objects of another namespace.

use std::collections::HashMap;

use xebec_api::gateway::{GROUP, ReferenceGrant, ReferenceGrantFrom};

use crate::Snapshot;

/// The grants by the namespace that they stand in.
pub(crate) struct Grants<'a>(HashMap<&'a str, Vec<&'a ReferenceGrant>>);

/// An object that refers to others: its kind, of Gateway API's group, and its namespace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Referrer<'a> {
    pub(crate) kind: &'a str,
    pub(crate) namespace: &'a str,
}

impl<'a> Grants<'a> {
    pub(crate) fn new(snapshot: &'a Snapshot) -> Self {
        let mut grants = HashMap::<_, Vec<_>>::new();
        for grant in &snapshot.grants {
            grants.entry(grant.metadata.namespace.as_deref().unwrap_or_default()).or_default().push(&**grant);
        }
        Self(grants)
    }

    /// Whether the referrer may use the core object; those of its own namespace it always may.
    pub(crate) fn permit(&self, from: Referrer<'_>, kind: &str, namespace: &str, name: &str) -> bool {
        if namespace == from.namespace {
            return true;
        }
        let referrer = ReferenceGrantFrom {
            group: GROUP.to_owned(),
            kind: from.kind.to_owned(),
            namespace: from.namespace.to_owned(),
        };
        let mut grants = self.0.get(namespace).into_iter().flatten();
        grants.any(|grant| grant.spec.permits(&referrer, "", kind, name))
    }
}
