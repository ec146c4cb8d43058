//! What a server tells clients that ask which kinds it has: the legacy documents, one a group version, and the aggregated
//! ones (`apidiscovery.k8s.io`), which hold everything.

mod foreign;

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::negotiation::DiscoveryVersion;
use crate::resource::{Resource, Version};
pub use foreign::{Foreign, Told, read_aggregated, read_legacy};

/// Where a group's paths begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Root {
    /// `/api`: the core group, which has no name.
    Core,
    /// `/apis`: the groups with names.
    Named,
}

/// The priorities of groups that are served here, which order them, and of their versions. What is not here has those of
/// custom resources.
const PRIORITIES: [(&str, Priority); 22] = [
    ("apiregistration.k8s.io", Priority::of(20_001, 15)),
    ("", Priority::of(18_000, 1)),
    ("apps", Priority::of(17_800, 15)),
    ("events.k8s.io", Priority::of(17_750, 15)),
    ("authentication.k8s.io", Priority::of(17_700, 15)),
    ("authorization.k8s.io", Priority::of(17_600, 15)),
    ("autoscaling", Priority::of(17_500, 15)),
    ("batch", Priority::of(17_400, 15)),
    ("certificates.k8s.io", Priority::of(17_300, 15)),
    ("networking.k8s.io", Priority::of(17_200, 15)),
    ("policy", Priority::of(17_100, 15)),
    ("rbac.authorization.k8s.io", Priority::of(17_000, 15)),
    ("storage.k8s.io", Priority::of(16_800, 15)),
    ("admissionregistration.k8s.io", Priority::of(16_700, 15)),
    ("apiextensions.k8s.io", Priority::of(16_700, 15)),
    ("scheduling.k8s.io", Priority::of(16_600, 15)),
    ("coordination.k8s.io", Priority::of(16_500, 15)),
    ("node.k8s.io", Priority::of(16_300, 15)),
    ("discovery.k8s.io", Priority::of(16_200, 15)),
    ("resource.k8s.io", Priority::of(16_200, 21)),
    ("flowcontrol.apiserver.k8s.io", Priority::of(16_100, 21)),
    ("metrics.k8s.io", Priority::of(100, 100)),
];

/// The paths beside those of groups.
const PATHS: [&str; 14] = [
    "/.well-known/openid-configuration",
    "/api",
    "/apis",
    "/apis/",
    "/healthz",
    "/livez",
    "/livez/ping",
    "/metrics",
    "/openapi/v2",
    "/openapi/v3",
    "/openid/v1/jwks",
    "/readyz",
    "/readyz/ping",
    "/version",
];

/// Where something stands among others of its sort: the higher comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Priority {
    /// Of the group among groups.
    pub group: i64,
    /// Of the version among those of its group.
    pub version: i64,
}

impl Priority {
    /// That of custom resources.
    pub const CUSTOM: Self = Self::of(1_000, 100);

    const fn of(group: i64, version: i64) -> Self {
        Self { group, version }
    }

    /// That of a version of a group that is served here.
    pub fn local(group: &str, version: &str) -> Self {
        let known = PRIORITIES.iter().find(|(own, _)| *own == group);
        let mut priority = known.map_or(Self::CUSTOM, |(_, priority)| *priority);
        if (group, version) == ("autoscaling", "v2") {
            priority.version = 30;
        }
        priority
    }
}

/// The names of the served groups under a root, in the order in which discovery tells of them.
pub fn groups(resources: &[Arc<Resource>], root: Root) -> Vec<&str> {
    Directory::new(resources).groups(root)
}

/// The served versions of a group, the preferred one first.
///
/// ```
/// use xebec_machinery::{builtin, discovery};
/// assert_eq!(discovery::versions(builtin::resources(), "apps"), ["v1"]);
/// ```
pub fn versions<'a>(resources: &'a [Arc<Resource>], group: &str) -> Vec<&'a str> {
    Directory::new(resources).versions(group)
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

/// Everything that is served under one address: the resources of this server, and what others have.
#[derive(Debug, Clone, Copy)]
pub struct Directory<'a> {
    resources: &'a [Arc<Resource>],
    foreign: &'a [Foreign],
}

impl<'a> Directory<'a> {
    /// What this server has by itself.
    pub fn new(resources: &'a [Arc<Resource>]) -> Self {
        Self { resources, foreign: &[] }
    }

    /// With what other servers have. A version of theirs stands in the place of one of this server's.
    #[must_use]
    pub fn with(self, foreign: &'a [Foreign]) -> Self {
        Self { foreign, ..self }
    }

    fn foreign(&self, group: &str, version: &str) -> Option<&'a Foreign> {
        self.foreign.iter().find(|own| &*own.group == group && &*own.version == version)
    }

    /// The names of the groups under a root, in the order in which discovery tells of them.
    pub fn groups(&self, root: Root) -> Vec<&'a str> {
        let served = |resource: &&Arc<Resource>| resource.versions.iter().any(|version| version.served);
        let own = self.resources.iter().filter(served).map(|own| &*own.group);
        let own = own.map(|group| (group, Priority::local(group, "").group));
        let foreign = self.foreign.iter().map(|own| (&*own.group, own.priority.group));
        let mut groups: Vec<(&str, i64)> =
            own.chain(foreign).filter(|(group, _)| group.is_empty() == (root == Root::Core)).collect();
        groups.sort_by(|left, right| right.1.cmp(&left.1).then_with(|| left.0.cmp(right.0)));
        let mut seen = HashSet::new();
        groups.into_iter().map(|(group, _)| group).filter(|group| seen.insert(*group)).collect()
    }

    /// The versions of a group, the preferred one first.
    pub fn versions(&self, group: &str) -> Vec<&'a str> {
        let own = self.resources.iter().filter(|resource| &*resource.group == group);
        let own = own.flat_map(|resource| &resource.versions).filter(|version| version.served);
        let own = own.map(|version| (&*version.name, Priority::local(group, &version.name).version));
        let own = own.filter(|(version, _)| self.foreign(group, version).is_none());
        let foreign = self.foreign.iter().filter(|own| &*own.group == group);
        let foreign = foreign.map(|own| (&*own.version, own.priority.version));
        let mut versions: Vec<(&str, i64)> = own.chain(foreign).collect();
        versions.sort_by(|left, right| right.1.cmp(&left.1).then_with(|| compare_versions(right.0, left.0)));
        versions.dedup();
        versions.into_iter().map(|(version, _)| version).collect()
    }

    /// The answer to `/api`; `address` is where this server is found.
    pub fn api_versions(&self, address: &str) -> Value {
        json!({
            "kind": "APIVersions",
            "versions": self.versions(""),
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
        })
    }

    /// The answer to `/apis`.
    pub fn group_list(&self) -> Value {
        let groups = self.groups(Root::Named).into_iter();
        let groups: Vec<Value> = groups.map(|name| Value::Object(self.group_fields(name))).collect();
        json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
    }

    /// The answer to `/apis/GROUP`, where the group is served.
    pub fn group(&self, name: &str) -> Option<Value> {
        if self.versions(name).is_empty() {
            return None;
        }
        let mut fields = self.group_fields(name);
        fields.insert("kind".into(), "APIGroup".into());
        fields.insert("apiVersion".into(), "v1".into());
        Some(Value::Object(fields))
    }

    fn group_fields(&self, name: &str) -> Map<String, Value> {
        let versions: Vec<Value> = self
            .versions(name)
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

    /// The answer to `/`: every path that leads to something, by name.
    pub fn index(&self) -> Value {
        let mut paths: BTreeSet<String> = PATHS.into_iter().map(str::to_owned).collect();
        for version in self.versions("") {
            paths.insert(format!("/api/{version}"));
        }
        for group in self.groups(Root::Named) {
            paths.insert(format!("/apis/{group}"));
            paths.extend(self.versions(group).into_iter().map(|version| format!("/apis/{group}/{version}")));
        }
        json!({"paths": paths})
    }

    /// The aggregated answer to `/api` or `/apis`.
    pub fn aggregated(&self, root: Root, version: DiscoveryVersion) -> Value {
        let items: Vec<Value> = self
            .groups(root)
            .into_iter()
            .map(|group| {
                let versions: Vec<Value> = self
                    .versions(group)
                    .into_iter()
                    .map(|version| match self.foreign(group, version) {
                        Some(foreign) => foreign.aggregated(),
                        None => self.aggregated_version(group, version),
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

    fn aggregated_version(&self, group: &str, version: &str) -> Value {
        let members = members(self.resources, group, version).into_iter();
        let resources: Vec<Value> = members.map(|(one, version)| aggregated_resource(one, version)).collect();
        json!({"version": version, "resources": resources, "freshness": "Current"})
    }
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
