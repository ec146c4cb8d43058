//! What can be told of a policy's expressions by the types of what it is for (`status.typeChecking`).
//!
//! A policy that mentions a field which a kind does not have is stored all the same: another of its kinds may have it, and
//! it may come with the next version. Its author is told in the status.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use xebec_expressions::{Environment, Schema, Type};

use crate::expression::Expression;
use crate::object;
use crate::policy::Variables;
use crate::request::{Kind, Resource};
use crate::world::World;

/// How many kinds a policy is checked for at most.
const MOST_KINDS: usize = 10;

/// The `expressionWarnings` of a validating policy.
pub fn warnings(world: &dyn World, policy: &Value) -> Vec<Value> {
    let spec = policy.get("spec").unwrap_or(&Value::Null);
    let schema = |kind: &Kind| world.schema(kind).and_then(|schema| Schema::from_openapi(&schema, false));
    let params = object::at(spec, &["paramKind"]).map(|kind| {
        let api_version = object::text(kind, &["apiVersion"]);
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        schema(&Kind::new(group, version, object::text(kind, &["kind"])))
    });
    let params = params.map(|schema| schema.map_or(Type::Dyn, |schema| schema.cel_type().clone()));
    let list = object::list(spec, &["variables"]);
    let environments: Vec<(Kind, Environment)> = kinds(world, spec)
        .into_iter()
        .filter_map(|kind| {
            let of = schema(&kind)?.cel_type().clone();
            let base = environment(of, params.as_ref());
            Some((kind, Variables::compile(list, &base).declare(base)))
        })
        .collect();
    let mut warnings = Vec::new();
    for (index, validation) in object::list(spec, &["validations"]).iter().enumerate() {
        for field in ["expression", "messageExpression"] {
            let text = object::text(validation, &[field]);
            if text.is_empty() {
                continue;
            }
            let told: Vec<String> = environments
                .iter()
                .filter_map(|(kind, environment)| {
                    let why = Expression::compile(text, environment).program.err()?;
                    Some(format!("{kind}: compilation failed: {why}\n"))
                })
                .collect();
            if !told.is_empty() {
                let place = format!("spec.validations[{index}].{field}");
                warnings.push(json!({"fieldRef": place, "warning": told.join("\n")}));
            }
        }
    }
    warnings
}

/// The kinds that a policy names without any wildcard, in order.
fn kinds(world: &dyn World, spec: &Value) -> BTreeSet<Kind> {
    let mut found = BTreeSet::new();
    for rule in object::list(spec, &["matchConstraints", "resourceRules"]) {
        let texts = |field: &str| -> Vec<&str> {
            object::list(rule, &[field]).iter().filter_map(Value::as_str).collect()
        };
        let (groups, versions) = (texts("apiGroups"), texts("apiVersions"));
        if groups.iter().chain(&versions).any(|text| text.contains('*')) {
            continue;
        }
        for group in &groups {
            for version in &versions {
                let named = texts("resources").into_iter().filter(|name| !name.contains(['*', '/']));
                for name in named {
                    let served = world.served(&Resource::new(group, version, name));
                    found.extend(served.map(|served| served.kind).filter(|_| found.len() < MOST_KINDS));
                }
            }
        }
    }
    found
}

/// What expressions can mention, with the type of the object. The types of the request are those of every policy and were
/// checked when it was written.
fn environment(object: Type, params: Option<&Type>) -> Environment {
    let mut environment = Environment::kubernetes()
        .object_types_of(&object)
        .variable("object", object.clone())
        .variable("oldObject", object)
        .variable("namespaceObject", Type::Dyn)
        .variable("request", Type::Dyn);
    if let Some(params) = params {
        environment = environment.object_types_of(params).variable("params", params.clone());
    }
    environment
        .variable("authorizer", Type::named("kubernetes.authorization.Authorizer"))
        .variable("authorizer.requestResource", Type::named("kubernetes.authorization.ResourceCheck"))
}
