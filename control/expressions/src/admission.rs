//! The variables of admission policies and match conditions.

use std::collections::BTreeMap;

use crate::environment::Environment;
use crate::types::{FieldKnowledge, StructType, Type};

/// Which variables there are besides `object`, `oldObject`, `namespaceObject` and `request`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Variables {
    /// `params`.
    pub params: bool,
    /// `authorizer` and `authorizer.requestResource`.
    pub authorizer: bool,
    /// The types `Object` and `JSONPatch` with which a policy says what to change, and `jsonpatch.escapeKey`.
    pub patches: bool,
}

/// The names of the variables in the order in which bindings give them.
pub const ORDER: [&str; 7] = [
    "object",
    "oldObject",
    "namespaceObject",
    "request",
    "params",
    "authorizer",
    "authorizer.requestResource",
];

/// The environment of admission. Its variables are those of [`ORDER`] without what was not asked for; a policy's
/// `variables` may be declared after them.
pub fn environment(variables: Variables) -> Environment {
    let (namespace, request) = (namespace_type(), request_type());
    let mut environment = Environment::kubernetes()
        .object_types_of(&namespace)
        .object_types_of(&request)
        .variable("object", Type::Dyn)
        .variable("oldObject", Type::Dyn)
        .variable("namespaceObject", namespace)
        .variable("request", request);
    if variables.params {
        environment = environment.variable("params", Type::Dyn);
    }
    if variables.authorizer {
        environment = environment
            .variable("authorizer", Type::named("kubernetes.authorization.Authorizer"))
            .variable("authorizer.requestResource", Type::named("kubernetes.authorization.ResourceCheck"));
    }
    if variables.patches {
        environment = environment.json_patch().object_type(patch_type()).open_type("Object");
    }
    environment
}

fn structure<const N: usize>(name: &str, fields: [(&str, Type); N]) -> Type {
    Type::structure(name, fields.map(|(name, t)| (name.to_owned(), t)).into())
}

fn texts() -> Type {
    Type::list(Type::String)
}

fn text_map() -> Type {
    Type::map(Type::String, Type::String)
}

fn request_type() -> Type {
    let versioned = |name: &str, last: &str| {
        let fields = ["group", "version", last].map(|field| (field.to_owned(), Type::String));
        Type::structure(name, BTreeMap::from(fields))
    };
    let kind = versioned("kubernetes.GroupVersionKind", "kind");
    let resource = versioned("kubernetes.GroupVersionResource", "resource");
    let user = structure(
        "kubernetes.UserInfo",
        [
            ("username", Type::String),
            ("uid", Type::String),
            ("groups", texts()),
            ("extra", Type::map(Type::String, texts())),
        ],
    );
    structure(
        "kubernetes.AdmissionRequest",
        [
            ("kind", kind.clone()),
            ("resource", resource.clone()),
            ("subResource", Type::String),
            ("requestKind", kind),
            ("requestResource", resource),
            ("requestSubResource", Type::String),
            ("name", Type::String),
            ("namespace", Type::String),
            ("operation", Type::String),
            ("userInfo", user),
            ("dryRun", Type::Bool),
            ("options", Type::Dyn),
        ],
    )
}

fn namespace_type() -> Type {
    let condition = structure(
        "kubernetes.NamespaceCondition",
        [
            ("status", Type::String),
            ("type", Type::String),
            ("lastTransitionTime", Type::Timestamp),
            ("message", Type::String),
            ("reason", Type::String),
        ],
    );
    let metadata = structure(
        "kubernetes.NamespaceMetadata",
        [
            ("name", Type::String),
            ("generateName", Type::String),
            ("namespace", Type::String),
            ("labels", text_map()),
            ("annotations", text_map()),
            ("UID", Type::String),
            ("creationTimestamp", Type::Timestamp),
            ("deletionGracePeriodSeconds", Type::Int),
            ("deletionTimestamp", Type::Timestamp),
            ("generation", Type::Int),
            ("resourceVersion", Type::String),
            ("finalizers", texts()),
        ],
    );
    let spec = structure("kubernetes.NamespaceSpec", [("finalizers", texts())]);
    let status = structure(
        "kubernetes.NamespaceStatus",
        [("conditions", Type::list(condition)), ("phase", Type::String)],
    );
    structure("kubernetes.Namespace", [("metadata", metadata), ("spec", spec), ("status", status)])
}

fn patch_type() -> Type {
    structure(
        "JSONPatch",
        [("op", Type::String), ("path", Type::String), ("from", Type::String), ("value", Type::Dyn)],
    )
}

/// The type called `name`, if it is `open` or below it (`Object.spec`): each of its fields may be anything.
pub(crate) fn open_type(open: &str, name: &str) -> Option<Type> {
    let below = name.strip_prefix(open)?;
    (below.is_empty() || below.starts_with('.')).then(|| {
        let object =
            StructType { name: name.to_owned(), fields: BTreeMap::new(), known: FieldKnowledge::Any };
        Type::Struct(object.into())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{CALL_LIMIT, Value};

    #[test]
    fn requests_have_types() {
        let environment = environment(Variables::default());
        let wrong = environment.compile("request.name == 1").unwrap_err().to_string();
        assert!(
            wrong.contains("found no matching overload for '_==_' applied to '(string, int)'"),
            "{wrong}"
        );
        assert!(environment.compile("request.nope == ''").is_err());
        assert!(environment.compile("params.x == 1").is_err());
        assert!(
            environment.compile("namespaceObject.metadata.labels['a'] == request.userInfo.groups[0]").is_ok()
        );
    }

    #[test]
    fn the_authorizer_and_its_resource_are_two_variables() {
        let environment = environment(Variables { authorizer: true, ..Variables::default() });
        let program = environment.compile("authorizer.requestResource.check('get').allowed()").unwrap();
        assert!(program.mentions("authorizer.requestResource") && !program.mentions("authorizer"));
    }

    #[test]
    fn a_policy_says_what_to_change() {
        let environment = environment(Variables { patches: true, ..Variables::default() });
        let program = environment
            .compile("Object{spec: Object.spec{replicas: object.spec.replicas + 1, ?name: object.?name}}")
            .unwrap();
        let object = json!({"spec": {"replicas": 2}});
        let value = program.evaluate(&[Some(Value::from_json(&object))], CALL_LIMIT).result.unwrap();
        assert_eq!(value.to_json().unwrap(), json!({"spec": {"replicas": 3}}));
        let patch = environment
            .compile(
                "[JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('a/b'), value: 'c'}]",
            )
            .unwrap();
        let value = patch.evaluate(&[], CALL_LIMIT).result.unwrap();
        assert_eq!(
            value.to_json().unwrap(),
            json!([{"op": "add", "path": "/metadata/labels/a~1b", "value": "c"}])
        );
        assert!(environment.compile("JSONPatch{op: 1}").is_err());
    }
}
