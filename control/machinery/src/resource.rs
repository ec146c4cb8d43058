//! What is served under one plural name: one description for built-in kinds and for custom resources.
//!
//! Discovery, OpenAPI, printing, storage and the verbs all read the same [`Resource`], so a new kind is one row of the
//! built-in table or one CustomResourceDefinition, and nothing else.

use std::sync::Arc;

use crate::crd::Conversion;
use crate::schema::Ref;
use crate::structural::Structural;

/// Where objects of a kind live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Within a namespace.
    Namespaced,
    /// Beside the namespaces.
    Cluster,
}

/// One resource of an API group, in all its versions.
#[derive(Debug, Clone)]
pub struct Resource {
    /// The API group; empty for the core group.
    pub group: Box<str>,
    /// The name of the kind, such as `Pod`.
    pub kind: Box<str>,
    /// The name of the kind of its lists, such as `PodList`.
    pub list_kind: Box<str>,
    /// The plural name in URLs, such as `pods`.
    pub plural: Box<str>,
    /// The singular name, such as `pod`.
    pub singular: Box<str>,
    /// Short names, such as `po`.
    pub short_names: Vec<Box<str>>,
    /// Groups of resources that it belongs to, such as `all`.
    pub categories: Vec<Box<str>>,
    /// Where its objects live.
    pub scope: Scope,
    /// What can be done with it, as discovery and RBAC name it (`get`, `list`, `deletecollection` and so on).
    pub verbs: Vec<Box<str>>,
    /// Its versions, the preferred one first.
    pub versions: Vec<Version>,
    /// The name of the version in which objects rest in the store.
    pub storage: Box<str>,
    /// Whether it comes from a CustomResourceDefinition.
    pub custom: bool,
    /// How its objects come from one version to another.
    pub conversion: Conversion,
    /// Whether an update that names no `resourceVersion` replaces whatever is there.
    pub unconditional: bool,
    /// Whether an update of what is not there makes it.
    pub made_by_put: bool,
}

/// One version of a resource.
#[derive(Debug, Clone)]
pub struct Version {
    /// Its name, such as `v1`.
    pub name: Box<str>,
    /// Whether it is served.
    pub served: bool,
    /// The warning to clients that use it, where it is deprecated.
    pub deprecation: Option<Box<str>>,
    /// The shape of its objects.
    pub schema: Ref,
    /// Whether `status` is a subresource, so that writes of the object leave it alone.
    pub status: bool,
    /// Where the scale subresource finds its numbers, where there is one.
    pub scale: Option<Scale>,
    /// Other subresources, such as `log` of pods.
    pub subresources: Vec<Subresource>,
    /// The columns of a custom resource's table.
    pub columns: Vec<Column>,
    /// JSON paths that a field selector may name, beside `metadata.name` and `metadata.namespace`.
    pub selectable: Vec<Box<str>>,
    /// All that the schema of a custom resource says; `schema` is its merge model.
    pub structural: Option<Arc<Structural>>,
}

impl Version {
    /// A served version with no subresources.
    pub fn new(name: &str, schema: Ref) -> Self {
        Self {
            name: name.into(),
            served: true,
            deprecation: None,
            schema,
            status: false,
            scale: None,
            subresources: Vec::new(),
            columns: Vec::new(),
            selectable: Vec::new(),
            structural: None,
        }
    }
}

/// Where `scale` finds its numbers: dotted JSON paths such as `.spec.replicas`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scale {
    /// The number that is asked for.
    pub spec_replicas: Box<str>,
    /// The number that is there.
    pub status_replicas: Box<str>,
    /// The selector: a string in custom resources, a label selector object in built-in kinds.
    pub selector: Option<Box<str>>,
}

/// A subresource with a meaning of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subresource {
    /// Its name in URLs, such as `eviction`.
    pub name: Box<str>,
    /// The group, version and kind that it takes.
    pub kind: (Box<str>, Box<str>, Box<str>),
    /// What can be done with it.
    pub verbs: Vec<Box<str>>,
}

/// A column of a table (`additionalPrinterColumns`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// The heading.
    pub name: Box<str>,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub kind: Box<str>,
    /// An OpenAPI format; may be empty.
    pub format: Box<str>,
    /// What the column shows.
    pub description: Box<str>,
    /// 0 for the columns that are always shown.
    pub priority: i32,
    /// A JSON path such as `.status.phase`.
    pub json_path: Box<str>,
}

impl Resource {
    /// A built-in resource in one version, which can do nothing yet.
    pub fn new(group: &str, kind: &str, plural: &str, scope: Scope, version: Version) -> Self {
        Self {
            group: group.into(),
            kind: kind.into(),
            list_kind: format!("{kind}List").into(),
            plural: plural.into(),
            singular: kind.to_lowercase().into(),
            short_names: Vec::new(),
            categories: Vec::new(),
            scope,
            verbs: Vec::new(),
            storage: version.name.clone(),
            versions: vec![version],
            custom: false,
            conversion: Conversion::None,
            unconditional: false,
            made_by_put: false,
        }
    }

    /// The version of this name, where it is served.
    pub fn version(&self, name: &str) -> Option<&Version> {
        self.versions.iter().find(|version| version.served && &*version.name == name)
    }

    /// Whether objects live within a namespace.
    pub fn namespaced(&self) -> bool {
        self.scope == Scope::Namespaced
    }

    /// `apiVersion` of objects in a version: `group/version`, or the version alone in the core group.
    pub fn api_version(&self, version: &str) -> String {
        if self.group.is_empty() { version.to_owned() } else { format!("{}/{version}", self.group) }
    }
}
