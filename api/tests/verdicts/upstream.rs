//! Our definitions beside upstream's own, from the module cache of Go. Where that has none, these tests are skipped, and
//! say so.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Map, Value, json};
use xebec_api::gateway::{BUNDLE_VERSION, CHANNEL, definitions};

use crate::mutation::{self, Numbers};
use crate::{Definitions, sample};

/// How many objects of several changes each sample gives, where `SEVERAL` says no other number.
const SEVERAL: usize = 40;

/// Where a route's definition speaks of its rules.
const RULES: &str = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/rules";

/// Upstream's definitions of the kinds that we define, by plural name.
fn upstream() -> Option<BTreeMap<String, Value>> {
    let output = Command::new("go").args(["env", "GOMODCACHE"]).output().ok()?;
    let cache = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
    let channels = cache.join(format!("sigs.k8s.io/gateway-api@{BUNDLE_VERSION}/config/crd"));
    let read = |channel: &str, plural: &str| -> Option<Value> {
        let file = channels.join(channel).join(format!("gateway.networking.k8s.io_{plural}.yaml"));
        Some(serde_saphyr::from_str(&std::fs::read_to_string(file).ok()?).unwrap())
    };
    let read = |own: Value| {
        let plural = own["spec"]["names"]["plural"].as_str()?.to_owned();
        let mut definition = read(CHANNEL, &plural)?;
        definition["spec"]["versions"].as_array_mut()?.retain(|version| version["served"] == true);
        if ["httproutes", "grpcroutes"].contains(&&*plural) {
            // That no two rules have one name holds in every channel, but only this one's definitions say it.
            let stricter = read("experimental", &plural)?.pointer(RULES)?["x-kubernetes-validations"].clone();
            definition.pointer_mut(RULES)?["x-kubernetes-validations"] = stricter;
        }
        Some((plural, definition))
    };
    definitions().iter().map(|own| read(serde_json::to_value(own).unwrap())).collect()
}

/// A schema without words, with rules counted for nothing, and with what is usual left out.
fn bare(schema: &Value) -> Value {
    match schema {
        Value::Object(fields) => {
            let mut kept: Map<String, Value> = fields
                .iter()
                .filter(|(key, value)| match key.as_str() {
                    "description" | "title" => !value.is_string(),
                    "x-kubernetes-validations" => false,
                    "x-kubernetes-list-type" => *value != "atomic",
                    "minLength" => *value != 0,
                    _ => true,
                })
                .map(|(key, value)| (key.clone(), bare(value)))
                .collect();
            for key in ["required", "enum"] {
                if let Some(Value::Array(items)) = kept.get_mut(key) {
                    items.sort_by_key(ToString::to_string);
                }
            }
            if let Some(Value::Object(properties)) = kept.get_mut("properties") {
                // Every object has these, whether its schema says so or not.
                if properties.contains_key("spec") {
                    for name in ["apiVersion", "kind", "metadata"] {
                        properties.remove(name);
                    }
                }
            }
            kept.into()
        }
        Value::Array(items) => items.iter().map(bare).collect(),
        Value::Number(number) => json!(number.as_f64()),
        scalar => scalar.clone(),
    }
}

/// The places at which two values differ.
fn differences(ours: &Value, theirs: &Value, path: &str, found: &mut Vec<String>) {
    match (ours, theirs) {
        (Value::Object(our), Value::Object(their)) => {
            for key in our.keys().chain(their.keys()).collect::<BTreeSet<_>>() {
                differences(&ours[key], &theirs[key], &format!("{path}.{key}"), found);
            }
        }
        _ if ours == theirs => {}
        _ => found.push(format!("{path}: {ours} and not {theirs}")),
    }
}

#[test]
fn our_definitions_say_what_upstream_s_say() {
    let Some(upstream) = upstream() else {
        eprintln!("skipped our_definitions_say_what_upstream_s_say: needs Gateway API's own definitions");
        return;
    };
    for ours in definitions() {
        let ours = serde_json::to_value(ours).unwrap();
        let theirs = &upstream[ours["spec"]["names"]["plural"].as_str().unwrap()];
        let parts = |definition: &Value| {
            let (metadata, spec) = (&definition["metadata"], &definition["spec"]);
            let mut names = spec["names"].clone();
            for list in ["shortNames", "categories"] {
                if names[list].is_null() {
                    names[list] = json!([]);
                }
            }
            names.as_object_mut().unwrap().remove("listKind");
            let version = |version: &Value| {
                let mut version = version.clone();
                if version["subresources"].is_null() {
                    version["subresources"] = json!({});
                }
                (version["name"].as_str().unwrap().to_owned(), bare(&version))
            };
            let versions: Map<_, _> = spec["versions"].as_array().unwrap().iter().map(version).collect();
            json!({
                "annotations": metadata["annotations"], "labels": metadata["labels"], "names": names,
                "group": spec["group"], "scope": spec["scope"], "conversion": spec["conversion"],
                "versions": versions,
            })
        };
        let mut found = Vec::new();
        differences(&parts(&ours), &parts(theirs), "", &mut found);
        assert!(found.is_empty(), "{}: {found:#?}", theirs["metadata"]["name"]);
    }
}

/// What is wrong with an object, and where; the words are each definition's own.
type Errors = BTreeSet<(String, String)>;

fn verdict(definitions: &Definitions, mut object: Value) -> (Value, Errors) {
    let errors = definitions.judge(&mut object);
    let told = errors.into_iter().map(|error| (format!("{:?}", error.error_type), error.field)).collect();
    (object, told)
}

/// What only one of two verdicts says, and the part of the object that it is said of.
fn told(object: &Value, ours: &Errors, theirs: &Errors) -> String {
    let part = ours.symmetric_difference(theirs).next().map_or(object, |(_, field)| {
        let steps = field.split(['.', '[', ']']).filter(|step| !step.is_empty());
        steps.fold(object, |value, step| match step.parse::<usize>() {
            Ok(index) => &value[index],
            Err(_) => &value[step],
        })
    });
    let only = |one: &Errors, other: &Errors| format!("{:?}", one.difference(other).collect::<Vec<_>>());
    format!("only ours {}, only theirs {} of {part}", only(ours, theirs), only(theirs, ours))
}

#[test]
fn our_definitions_judge_as_upstream_s_do() {
    let Some(upstream) = upstream() else {
        eprintln!("skipped our_definitions_judge_as_upstream_s_do: needs Gateway API's own definitions");
        return;
    };
    let schema = |kind: &Value| {
        let definition = upstream.values().find(|one| one["spec"]["names"]["kind"] == *kind).unwrap();
        definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
    };
    let (ours, theirs) = (Definitions::ours(), Definitions::of(upstream.values().cloned()));
    let (mut judged, mut refused, mut different) = (0, 0, Vec::new());
    let mut numbers = Numbers(1);
    let mut compare = |object: Value| {
        let (our, their) = (verdict(&ours, object.clone()), verdict(&theirs, object.clone()));
        judged += 1;
        refused += usize::from(!their.1.is_empty());
        if our != their {
            different.push(told(&object, &our.1, &their.1));
        }
    };
    let several = std::env::var("SEVERAL").ok().and_then(|many| many.parse().ok()).unwrap_or(SEVERAL);
    let mut seen = BTreeSet::new();
    for object in sample::all() {
        let schema = schema(&object["kind"]);
        for place in mutation::places(&object) {
            // The same change in another item of a list, or in the filters of a backend and not of a rule, would tell little.
            let place_of_any: String = place.chars().filter(|one| !one.is_ascii_digit()).collect();
            let place_of_any = place_of_any.replace("/backendRefs//filters/", "/filters/");
            if seen.insert((object["kind"].to_string(), place_of_any)) {
                for change in mutation::changes(&object, &place, &schema) {
                    compare(mutation::changed(&object, &place, &change));
                }
            }
        }
        for _ in 0..several {
            compare(mutation::several(&object, &schema, &mut numbers));
        }
    }
    assert!(refused > 1000 && judged - refused > 1000, "{refused} of {judged} were refused");
    let shown: Vec<_> = different.iter().take(8).collect();
    assert!(different.is_empty(), "{} of {judged} verdicts differ: {shown:#?}", different.len());
}
