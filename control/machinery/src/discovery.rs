//! What a server tells clients that ask which kinds it has: the legacy documents, one a group version, and the aggregated
//! ones (`apidiscovery.k8s.io`), which hold everything.

use std::cmp::Ordering;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::negotiation::DiscoveryVersion;
use crate::resource::{Resource, Version};

/// Where a group's paths begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// `/api`: the core group, which has no name.
    Core,
    /// `/apis`: the groups with names.
    Named,
}

/// The order in which upstream tells of its own groups. What is not here comes behind, by name.
const GROUPS: [&str; 20] = [
    "apiregistration.k8s.io",
    "",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "discovery.k8s.io",
    "flowcontrol.apiserver.k8s.io",
];

/// The names of the served groups under a root, in the order in which discovery tells of them.
pub fn groups(resources: &[Arc<Resource>], root: Root) -> Vec<&str> {
    let mut names: Vec<&str> = resources
        .iter()
        .filter(|resource| resource.versions.iter().any(|version| version.served))
        .map(|resource| &*resource.group)
        .filter(|group| group.is_empty() == (root == Root::Core))
        .collect();
    let place = |group: &str| GROUPS.iter().position(|known| *known == group).unwrap_or(GROUPS.len());
    names.sort_by(|left, right| place(left).cmp(&place(right)).then_with(|| left.cmp(right)));
    names.dedup();
    names
}

/// The served versions of a group, the preferred one first.
///
/// ```
/// use xebec_machinery::{builtin, discovery};
/// assert_eq!(discovery::versions(builtin::resources(), "apps"), ["v1"]);
/// ```
pub fn versions<'a>(resources: &'a [Arc<Resource>], group: &str) -> Vec<&'a str> {
    let mut names: Vec<&str> = resources
        .iter()
        .filter(|resource| &*resource.group == group)
        .flat_map(|resource| &resource.versions)
        .filter(|version| version.served)
        .map(|version| &*version.name)
        .collect();
    names.sort_by(|left, right| compare_versions(right, left));
    names.dedup();
    names
}

/// Compares versions as Kubernetes does: the greater is preferred. `v2` > `v1` > `v1beta2` > `v1alpha1` > anything else, and
/// among anything else what comes first in the alphabet.
pub fn compare_versions(left: &str, right: &str) -> Ordering {
    match (rank(left), rank(right)) {
        (Some(left), Some(right)) => left.cmp(&right),
        (Some(_), None) => Ordering::Greater,
        (None, Some(_)) => Ordering::Less,
        (None, None) => right.cmp(left),
    }
}

/// Stability, major and minor number of a version named as Kubernetes names them.
fn rank(version: &str) -> Option<(u8, u64, u64)> {
    let number = |text: &str| {
        let canonical = !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
        canonical.then(|| text.parse::<u64>().ok()).flatten()
    };
    let rest = version.strip_prefix('v')?;
    for (word, stability) in [("alpha", 0), ("beta", 1)] {
        if let Some((major, minor)) = rest.split_once(word) {
            return Some((stability, number(major)?, number(minor)?));
        }
    }
    Some((2, number(rest)?, 0))
}

/// The answer to `/api`; `address` is where this server is found.
pub fn api_versions(resources: &[Arc<Resource>], address: &str) -> Value {
    json!({
        "kind": "APIVersions",
        "versions": versions(resources, ""),
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    })
}

/// The answer to `/apis`.
pub fn group_list(resources: &[Arc<Resource>]) -> Value {
    let groups: Vec<Value> = groups(resources, Root::Named)
        .into_iter()
        .map(|name| Value::Object(group_fields(resources, name)))
        .collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// The answer to `/apis/GROUP`, where the group is served.
pub fn group(resources: &[Arc<Resource>], name: &str) -> Option<Value> {
    if versions(resources, name).is_empty() {
        return None;
    }
    let mut fields = group_fields(resources, name);
    fields.insert("kind".into(), "APIGroup".into());
    fields.insert("apiVersion".into(), "v1".into());
    Some(Value::Object(fields))
}

fn group_fields(resources: &[Arc<Resource>], name: &str) -> Map<String, Value> {
    let versions: Vec<Value> = versions(resources, name)
        .into_iter()
        .map(|version| json!({"groupVersion": group_version(name, version), "version": version}))
        .collect();
    let mut fields = Map::new();
    fields.insert("name".into(), name.into());
    if let Some(preferred) = versions.first() {
        fields.insert("preferredVersion".into(), preferred.clone());
    }
    fields.insert("versions".into(), versions.into());
    fields
}

/// `group/version`, or the version alone in the core group.
fn group_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// The resources of one group version by name, each with its version.
pub(crate) fn members<'a>(
    resources: &'a [Arc<Resource>],
    group: &str,
    version: &str,
) -> Vec<(&'a Resource, &'a Version)> {
    let mut members: Vec<_> = resources
        .iter()
        .filter(|resource| &*resource.group == group)
        .filter_map(|resource| Some((&**resource, resource.version(version)?)))
        .collect();
    members.sort_by(|(left, _), (right, _)| left.plural.cmp(&right.plural));
    members
}

/// A subresource as discovery tells of it. A kind without group and version is in those of its parent.
struct Part<'a> {
    name: &'a str,
    group: &'a str,
    version: &'a str,
    kind: &'a str,
    verbs: Vec<&'a str>,
}

/// The subresources by name.
fn parts<'a>(resource: &'a Resource, version: &'a Version) -> Vec<Part<'a>> {
    let verbs = || vec!["get", "patch", "update"];
    let mut parts: Vec<Part<'a>> = version
        .subresources
        .iter()
        .map(|part| {
            let (group, kind_version, kind) = &part.kind;
            let own = *group == resource.group && *kind_version == version.name;
            Part {
                name: &part.name,
                group: if own { "" } else { group },
                version: if own { "" } else { kind_version },
                kind,
                verbs: part.verbs.iter().map(|verb| &**verb).collect(),
            }
        })
        .collect();
    if version.status {
        parts.push(Part { name: "status", group: "", version: "", kind: &resource.kind, verbs: verbs() });
    }
    if version.scale.is_some() {
        parts.push(Part {
            name: "scale",
            group: "autoscaling",
            version: "v1",
            kind: "Scale",
            verbs: verbs(),
        });
    }
    parts.sort_by_key(|part| part.name);
    // The table may list a subresource that the flags above stand for too.
    parts.dedup_by_key(|part| part.name);
    parts
}

/// The answer to `/api/VERSION` and `/apis/GROUP/VERSION`, where the version is served.
pub fn resource_list(resources: &[Arc<Resource>], group: &str, version: &str) -> Option<Value> {
    let members = members(resources, group, version);
    if members.is_empty() {
        return None;
    }
    let mut list = Vec::new();
    for (resource, version) in members {
        list.push(legacy_resource(resource, version));
        for part in parts(resource, version) {
            list.push(legacy_part(resource, &part));
        }
    }
    Some(json!({
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": group_version(group, version),
        "resources": list,
    }))
}

fn legacy_resource(resource: &Resource, version: &Version) -> Value {
    let mut fields = Map::new();
    fields.insert("name".into(), (*resource.plural).into());
    fields.insert("singularName".into(), (*resource.singular).into());
    fields.insert("namespaced".into(), resource.namespaced().into());
    fields.insert("kind".into(), (*resource.kind).into());
    fields.insert("verbs".into(), sorted(&resource.verbs));
    names(&mut fields, resource);
    if let Some(hash) = storage_version_hash(resource, version) {
        fields.insert("storageVersionHash".into(), hash.into());
    }
    Value::Object(fields)
}

/// What tells clients that objects may rest in another version than they did, where they rest at all. Upstream's servers
/// keep some kinds in versions of their own, and other servers of one cluster must not seem to differ.
fn storage_version_hash(resource: &Resource, version: &Version) -> Option<String> {
    let verbs = |verb: &str| resource.verbs.iter().any(|own| &**own == verb);
    if !(verbs("create") && verbs("get")) {
        return None;
    }
    let (group, at_rest) = match (&*resource.group, &*resource.kind) {
        (group, _) if resource.custom => (group, &*version.name),
        ("events.k8s.io", _) => ("", "v1"),
        (
            group,
            "CustomResourceDefinition" | "MutatingAdmissionPolicy" | "MutatingAdmissionPolicyBinding",
        ) => (group, "v1beta1"),
        (group, _) => (group, &*resource.storage),
    };
    let digest = Sha256::digest(format!("{group}/{at_rest}/{}", resource.kind));
    Some(STANDARD.encode(&digest[..8]))
}

fn legacy_part(resource: &Resource, part: &Part<'_>) -> Value {
    let mut fields = Map::new();
    fields.insert("name".into(), format!("{}/{}", resource.plural, part.name).into());
    fields.insert("singularName".into(), "".into());
    fields.insert("namespaced".into(), resource.namespaced().into());
    if !part.version.is_empty() {
        fields.insert("version".into(), part.version.into());
        if !part.group.is_empty() {
            fields.insert("group".into(), part.group.into());
        }
    }
    fields.insert("kind".into(), part.kind.into());
    fields.insert("verbs".into(), part.verbs.clone().into());
    Value::Object(fields)
}

/// The short names and categories, which are left out where there are none.
fn names(fields: &mut Map<String, Value>, resource: &Resource) {
    for (key, names) in [("shortNames", &resource.short_names), ("categories", &resource.categories)] {
        if !names.is_empty() {
            fields.insert(key.into(), names.iter().map(|name| Value::from(&**name)).collect());
        }
    }
}

fn sorted(verbs: &[Box<str>]) -> Value {
    let mut verbs: Vec<&str> = verbs.iter().map(|verb| &**verb).collect();
    verbs.sort_unstable();
    verbs.into()
}

/// The aggregated answer to `/api` or `/apis`.
pub fn aggregated(resources: &[Arc<Resource>], root: Root, version: DiscoveryVersion) -> Value {
    let items: Vec<Value> = groups(resources, root)
        .into_iter()
        .map(|group| {
            let versions: Vec<Value> = versions(resources, group)
                .into_iter()
                .map(|version| {
                    let members = members(resources, group, version).into_iter();
                    let resources: Vec<Value> =
                        members.map(|(one, version)| aggregated_resource(one, version)).collect();
                    json!({"version": version, "resources": resources, "freshness": "Current"})
                })
                .collect();
            // The core group has no name, and its metadata is empty.
            let metadata = if group.is_empty() { json!({}) } else { json!({"name": group}) };
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    let api_version = version.api_version();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": api_version, "metadata": {}, "items": items})
}

fn aggregated_resource(resource: &Resource, version: &Version) -> Value {
    let mut fields = Map::new();
    fields.insert("resource".into(), (*resource.plural).into());
    fields.insert("responseKind".into(), json!({"group": "", "version": "", "kind": resource.kind}));
    fields.insert("scope".into(), if resource.namespaced() { "Namespaced" } else { "Cluster" }.into());
    fields.insert("singularResource".into(), (*resource.singular).into());
    fields.insert("verbs".into(), sorted(&resource.verbs));
    names(&mut fields, resource);
    let parts: Vec<Value> = parts(resource, version)
        .into_iter()
        .map(|part| {
            let kind = json!({"group": part.group, "version": part.version, "kind": part.kind});
            json!({"subresource": part.name, "responseKind": kind, "verbs": part.verbs})
        })
        .collect();
    if !parts.is_empty() {
        fields.insert("subresources".into(), parts.into());
    }
    Value::Object(fields)
}

#[cfg(test)]
mod tests;
