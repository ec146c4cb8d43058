//! What types are called, and which kinds they are.

use crate::builtin::{self, types::Element, types::Types};
use crate::resource::Resource;

/// `io.k8s.apimachinery.pkg.apis.meta.v1.`
pub(super) const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.";
const EXTENSIONS: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.";

/// A type that a document defines: a message by its place in the table, or one with a JSON form of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Type {
    Message(usize),
    Special(Element),
}

/// The types whose JSON is not that of their fields, in the order in which documents define them.
pub(super) const SPECIAL: [Element; 10] = [
    Element::Quantity,
    Element::IntOrString,
    Element::Time,
    Element::MicroTime,
    Element::Fields,
    Element::Raw,
    Element::Json,
    Element::PropsOrArray,
    Element::PropsOrBool,
    Element::PropsOrStrings,
];

/// The name of a type in OpenAPI.
pub(super) fn of(kind: Type) -> String {
    let (prefix, name) = match kind {
        Type::Message(at) => {
            let types = builtin::types();
            let message = &types.messages[at];
            return format!("{}.{}", types.packages[message.package].prefix, message.name);
        }
        Type::Special(element) => match element {
            Element::Quantity => ("io.k8s.apimachinery.pkg.api.resource.", "Quantity"),
            Element::IntOrString => ("io.k8s.apimachinery.pkg.util.intstr.", "IntOrString"),
            Element::Raw => ("io.k8s.apimachinery.pkg.runtime.", "RawExtension"),
            Element::Time => (META, "Time"),
            Element::MicroTime => (META, "MicroTime"),
            Element::Fields => (META, "FieldsV1"),
            Element::PropsOrArray => (EXTENSIONS, "JSONSchemaPropsOrArray"),
            Element::PropsOrBool => (EXTENSIONS, "JSONSchemaPropsOrBool"),
            Element::PropsOrStrings => (EXTENSIONS, "JSONSchemaPropsOrStringArray"),
            // The others are written where they stand.
            _ => (EXTENSIONS, "JSON"),
        },
    };
    format!("{prefix}{name}")
}

/// The place of the built-in type of a kind.
pub(super) fn message(group: &str, version: &str, kind: &str) -> Option<usize> {
    let types = builtin::types();
    types.messages.iter().position(|message| {
        let package = &types.packages[message.package];
        message.name == kind && package.group == group && package.version == version
    })
}

/// The place of a type that every group version shares.
pub(super) fn shared(name: &str) -> Option<usize> {
    message("meta.k8s.io", "v1", name)
}

/// Group, version and kind of a message that is an object.
pub(super) fn kind_of(types: &Types, at: usize) -> Option<[&'static str; 3]> {
    let message = &types.messages[at];
    let package = &types.packages[message.package];
    // The shared types are in every group; `v1` stands for all.
    let group = if package.group == "meta.k8s.io" { "" } else { package.group };
    message.object.then_some([group, package.version, message.name])
}

/// The name of a custom resource's kind or list kind: its group reversed, version and kind.
pub(super) fn custom(resource: &Resource, version: &str, kind: &str) -> String {
    let mut parts: Vec<&str> = resource.group.split('.').collect();
    parts.reverse();
    format!("{}.{version}.{kind}", parts.join("."))
}

/// `AppsV1` for `apps/v1`, `RbacAuthorizationV1` for `rbac.authorization.k8s.io/v1`.
pub(super) fn camel(group: &str, version: &str) -> String {
    let group = if group.is_empty() { "core" } else { group.strip_suffix(".k8s.io").unwrap_or(group) };
    group.split(['.', '-']).chain([version]).map(capital).collect()
}

/// `apps_v1` for `apps/v1`, `rbacAuthorization_v1` for `rbac.authorization.k8s.io/v1`.
pub(super) fn tag(group: &str, version: &str) -> String {
    let camel = camel(group, "");
    let mut letters = camel.chars();
    let lower: String = letters.next().into_iter().flat_map(char::to_lowercase).chain(letters).collect();
    format!("{lower}_{version}")
}

/// The word with its first letter large.
pub(super) fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().into_iter().flat_map(char::to_uppercase).chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_versions_are_named_as_upstream_names_them() {
        for (group, version, camel_case, tagged) in [
            ("", "v1", "CoreV1", "core_v1"),
            ("apps", "v1", "AppsV1", "apps_v1"),
            ("rbac.authorization.k8s.io", "v1", "RbacAuthorizationV1", "rbacAuthorization_v1"),
            ("stable.example.com", "v1beta1", "StableExampleComV1beta1", "stableExampleCom_v1beta1"),
        ] {
            assert_eq!(camel(group, version), camel_case);
            assert_eq!(tag(group, version), tagged);
        }
    }

    #[test]
    fn types_are_named_as_upstream_names_them() {
        let deployment = message("apps", "v1", "Deployment").unwrap();
        assert_eq!(of(Type::Message(deployment)), "io.k8s.api.apps.v1.Deployment");
        assert_eq!(of(Type::Special(Element::Quantity)), "io.k8s.apimachinery.pkg.api.resource.Quantity");
        assert_eq!(kind_of(builtin::types(), shared("Status").unwrap()), Some(["", "v1", "Status"]));
        assert_eq!(message("apps", "v1", "Nothing"), None);
    }
}
