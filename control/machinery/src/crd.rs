//! CustomResourceDefinitions (`apiextensions.k8s.io/v1`): what one must say, what is served by it, and its status.
//!
//! [`default`] completes a definition, [`validate`] and [`validate_update`] tell what is wrong with it, [`compile`] turns
//! it into the same [`Resource`] that describes a built-in kind, and [`accept`] writes the status that upstream's naming
//! and establishing controllers write. [`Conversion`] carries objects from version to version.

mod conversion;
mod read;
mod status;
mod validate;

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::field::FieldError;
use crate::resource::{Column, Resource, Scale, Scope, Version};
use crate::schema::Ref;
use crate::structural::{self, Structural};
use read::{flag, list, text};

pub use conversion::{Conversion, Task, Webhook};
pub use status::{accept, default, established, reject, store_versions};
pub use validate::{validate, validate_update};

/// The finalizer of a definition whose objects must go before it does.
pub const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

/// What can be done with custom resources.
const VERBS: [&str; 8] = ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];

/// A compiled definition.
#[derive(Debug, Clone)]
pub struct Definition {
    /// What is served.
    pub resource: Resource,
}

/// Compiles a stored definition. Its rules were judged when it was stored; what is wrong with one of them since is told of
/// each object that it is run over.
///
/// # Errors
/// Everything else that is wrong with its `spec`.
pub fn compile(definition: &Value) -> Result<Definition, Vec<FieldError>> {
    let mut complete = definition.clone();
    default(&mut complete);
    let spec = complete.get("spec").unwrap_or(&Value::Null);
    let (structural, errors) = validate::spec(spec, structural::compile_stored);
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(Definition { resource: resource(spec, &structural) })
}

fn resource(spec: &Value, structural: &BTreeMap<Box<str>, Arc<Structural>>) -> Resource {
    let names = spec.get("names").unwrap_or(&Value::Null);
    let texts = |name: &str| list(names, name).iter().filter_map(Value::as_str).map(Into::into).collect();
    let (group, kind) = (text(spec, "group"), text(names, "kind"));
    let mut versions: Vec<Version> = list(spec, "versions")
        .iter()
        .filter_map(|version| {
            let schema = structural.get(text(version, "name"))?;
            let mut version = self::version(version, Ref::Custom(Arc::clone(schema)), group, kind);
            version.structural = Some(Arc::clone(schema));
            Some(version)
        })
        .collect();
    versions.sort_by_cached_key(|version| Reverse(rank(&version.name)));
    let storage = list(spec, "versions").iter().find(|version| flag(version, "storage"));
    Resource {
        group: group.into(),
        kind: kind.into(),
        list_kind: text(names, "listKind").into(),
        plural: text(names, "plural").into(),
        singular: text(names, "singular").into(),
        short_names: texts("shortNames"),
        categories: texts("categories"),
        scope: if text(spec, "scope") == "Namespaced" { Scope::Namespaced } else { Scope::Cluster },
        verbs: VERBS.map(Into::into).to_vec(),
        versions,
        storage: storage.map_or("", |version| text(version, "name")).into(),
        custom: true,
        conversion: Conversion::of(spec),
        unconditional: false,
        made_by_put: false,
    }
}

fn version(version: &Value, schema: Ref, group: &str, kind: &str) -> Version {
    let name = text(version, "name");
    let mut built = Version::new(name, schema);
    built.served = flag(version, "served");
    if flag(version, "deprecated") {
        let told = text(version, "deprecationWarning");
        let usual = || format!("{group}/{name} {kind} is deprecated");
        built.deprecation = Some(if told.is_empty() { usual().into() } else { told.into() });
    }
    let subresources = version.get("subresources").unwrap_or(&Value::Null);
    built.status = subresources.get("status").is_some_and(Value::is_object);
    built.scale = subresources.get("scale").filter(|scale| scale.is_object()).map(|scale| Scale {
        spec_replicas: text(scale, "specReplicasPath").into(),
        status_replicas: text(scale, "statusReplicasPath").into(),
        selector: Some(text(scale, "labelSelectorPath")).filter(|path| !path.is_empty()).map(Into::into),
    });
    built.columns = list(version, "additionalPrinterColumns")
        .iter()
        .map(|column| Column {
            name: text(column, "name").into(),
            kind: text(column, "type").into(),
            format: text(column, "format").into(),
            description: text(column, "description").into(),
            priority: column
                .get("priority")
                .and_then(Value::as_i64)
                .and_then(|n| n.try_into().ok())
                .unwrap_or(0),
            json_path: text(column, "jsonPath").into(),
        })
        .collect();
    built.selectable =
        list(version, "selectableFields").iter().map(|field| text(field, "jsonPath").into()).collect();
    built
}

/// The place of a version among others: `v2` before `v1`, those before `v2beta1`, `v1beta2`, `v1alpha1`, and names of
/// another form last, the first in the alphabet first.
fn rank(name: &str) -> (u8, u64, u64, Reverse<String>) {
    let other = (0, 0, 0, Reverse(name.to_owned()));
    let number = |text: &str| {
        let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
        text.parse::<u64>().ok().filter(|_| plain)
    };
    let Some(rest) = name.strip_prefix('v') else { return other };
    let (major, stage, minor) = match (rest.split_once("alpha"), rest.split_once("beta")) {
        (Some((major, minor)), _) => (major, 1, number(minor)),
        (None, Some((major, minor))) => (major, 2, number(minor)),
        (None, None) => (rest, 3, Some(0)),
    };
    match (number(major), minor) {
        (Some(major), Some(minor)) => (stage, major, minor, Reverse(String::new())),
        _ => other,
    }
}

impl Definition {
    /// The schema of a version.
    pub fn structural(&self, version: &str) -> Option<&Arc<Structural>> {
        let mut versions = self.resource.versions.iter();
        versions.find(|known| &*known.name == version)?.structural.as_ref()
    }
}
