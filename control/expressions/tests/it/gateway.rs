//! Gateway API's CustomResourceDefinitions, where they stand beside the project: every rule compiles within its costs, and
//! every rule refuses something.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};
use xebec_expressions::rules::RuleSet;

/// The folder with the definitions; none where it was not fetched.
fn definitions() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let beside = ["../../../shared/data", "../../../../shared/data"].map(|up| root.join(up));
    let found = beside.iter().map(|folder| folder.join("gateway-api-v1.6.1")).find(|folder| folder.is_dir());
    if found.is_none() {
        eprintln!("skipped: Gateway API's definitions are not beside the project");
    }
    found
}

/// Every schema of the definitions, with the name of its file.
fn schemas(folder: &Path) -> Vec<(String, Json)> {
    let mut schemas = Vec::new();
    for channel in ["standard", "experimental"] {
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(folder.join(channel)).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap();
            let name = format!("{channel}/{}", file.file_name().unwrap().to_string_lossy());
            for definition in serde_saphyr::from_multiple::<Json>(&text).unwrap() {
                for version in definition["spec"]["versions"].as_array().into_iter().flatten() {
                    schemas.push((name.clone(), version["schema"]["openAPIV3Schema"].clone()));
                }
            }
        }
    }
    schemas
}

#[test]
fn every_rule_compiles_within_its_costs() {
    let Some(folder) = definitions() else { return };
    let mut rules = 0;
    for (name, schema) in schemas(&folder) {
        let (set, problems) = RuleSet::compile(&schema, "");
        assert!(problems.is_empty(), "{name}: {problems:#?}");
        rules += set.costs().len();
    }
    assert!(rules >= 600, "only {rules} rules");
}

/// Calls `visit` for each schema with rules below `schema` with the last property on the way to it.
fn with_rules(schema: &Json, place: &str, visit: &mut dyn FnMut(&str, &Json)) {
    if schema.get("x-kubernetes-validations").is_some() {
        visit(place, schema);
    }
    for (name, property) in schema.get("properties").and_then(Json::as_object).into_iter().flatten() {
        with_rules(property, name, visit);
    }
    for step in ["items", "additionalProperties"] {
        if let Some(below @ Json::Object(_)) = schema.get(step) {
            with_rules(below, &format!("{place}.{step}"), visit);
        }
    }
}

/// Objects by the place in a schema that they belong to, each with the one it replaces if that matters.
fn objects() -> BTreeMap<String, Vec<Json>> {
    serde_json::from_str(include_str!("../data/gateway.json")).unwrap()
}

#[test]
fn every_rule_lets_something_through_and_refuses_something() {
    let Some(folder) = definitions() else { return };
    let objects = objects();
    let mut bites: BTreeMap<String, (bool, bool)> = BTreeMap::new();
    for (_, schema) in schemas(&folder) {
        with_rules(&schema, "", &mut |place, node| {
            let declared = node["x-kubernetes-validations"].as_array().unwrap();
            for rule in declared {
                let mut alone = node.clone();
                alone["x-kubernetes-validations"] = json!([rule]);
                let (set, problems) = RuleSet::compile_part(&alone, "");
                assert!(
                    problems.iter().all(|problem| !problem.detail.contains("compilation")),
                    "{problems:?}"
                );
                let key = format!("{place}: {}", rule["rule"].as_str().unwrap());
                let (refuses, passes) = bites.entry(key).or_default();
                for object in objects.get(place).into_iter().flatten() {
                    let (object, old) = match object.get("old") {
                        Some(old) => (&object["new"], Some(old)),
                        None => (object, None),
                    };
                    let failures = set.validate(object, old, None).failures;
                    let own = failures.iter().filter(|failure| failure.path.is_empty()).count();
                    *if own > 0 { &mut *refuses } else { &mut *passes } = true;
                }
            }
        });
    }
    let toothless: Vec<String> = bites
        .iter()
        .filter(|(_, seen)| **seen != (true, true))
        .map(|(rule, (refuses, passes))| format!("refuses {refuses}, passes {passes}: {rule}"))
        .collect();
    assert!(bites.len() >= 90, "only {} rules", bites.len());
    assert!(toothless.is_empty(), "{} of {}:\n{}", toothless.len(), bites.len(), toothless.join("\n"));
}
