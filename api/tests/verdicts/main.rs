//! What an API server that has our definitions says of objects: which it takes, and what it finds wrong with others.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, also in the functions beside it")]

mod broken;
mod mutation;
mod sample;
mod upstream;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use xebec_machinery::crd;
use xebec_machinery::field::FieldError;
use xebec_machinery::structural::Structural;

/// The schemas of definitions, by kind.
struct Definitions(BTreeMap<String, Arc<Structural>>);

impl Definitions {
    /// Ours.
    fn ours() -> Self {
        Self::of(xebec_api::gateway::definitions().iter().map(|own| serde_json::to_value(own).unwrap()))
    }

    /// Those of the versions that are stored.
    fn of(definitions: impl IntoIterator<Item = Value>) -> Self {
        let compiled = definitions.into_iter().map(|definition| {
            let compiled = crd::compile(&definition).unwrap().resource;
            let stored = compiled.versions.into_iter().find(|version| version.name == compiled.storage);
            (compiled.kind.to_string(), stored.unwrap().structural.unwrap())
        });
        Self(compiled.collect())
    }

    /// What is wrong with an object once it is pruned and its defaults are filled in.
    fn judge(&self, object: &mut Value) -> Vec<FieldError> {
        let structural = &self.0[object["kind"].as_str().unwrap()];
        structural.prune(object);
        structural.default(object);
        structural.validate(object)
    }
}

#[test]
fn objects_that_are_in_order_are_taken() {
    let definitions = Definitions::ours();
    for mut object in sample::all() {
        let errors: Vec<_> = definitions.judge(&mut object).iter().map(ToString::to_string).collect();
        assert_eq!(errors, Vec::<String>::new(), "{object:#}");
    }
}

#[test]
fn a_class_keeps_its_controller() {
    use xebec_machinery::structural::Change;
    let definitions = Definitions::ours();
    let old = sample::all().into_iter().find(|object| object["kind"] == "GatewayClass").unwrap();
    let mut new = old.clone();
    new["spec"]["controllerName"] = "example.com/another".into();
    let structural = &definitions.0["GatewayClass"];
    let verdict = structural.judge(&new, Change::Update(&old), None, Vec::new());
    let told: Vec<_> = verdict.errors.iter().map(|error| &*error.field).collect();
    assert_eq!(told, ["spec.controllerName"]);
    assert!(structural.judge(&old, Change::Update(&old), None, Vec::new()).errors.is_empty());
}
