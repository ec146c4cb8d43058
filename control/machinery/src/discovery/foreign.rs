//! What other servers have: their discovery documents, read with care, since anybody may have written them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Priority;

/// A group has no more resources, and a resource no more subresources and names, than these.
const MOST_RESOURCES: usize = 5_000;
const MOST_NAMES: usize = 100;
/// The longest name.
const LONGEST: usize = 253;

/// A version of a group that another server has.
#[derive(Debug, Clone, PartialEq)]
pub struct Foreign {
    /// The group.
    pub group: Box<str>,
    /// The version.
    pub version: Box<str>,
    /// Where it stands among others.
    pub priority: Priority,
    /// Its resources, as aggregated discovery has them; none as long as the server has not told.
    pub resources: Vec<Value>,
    /// Whether the server was asked of late and answered.
    pub is_fresh: bool,
}

impl Foreign {
    pub(super) fn aggregated(&self) -> Value {
        let mut fields = Map::new();
        fields.insert("version".into(), (*self.version).into());
        if !self.resources.is_empty() {
            fields.insert("resources".into(), self.resources.clone().into());
        }
        fields.insert("freshness".into(), if self.is_fresh { "Current" } else { "Stale" }.into());
        Value::Object(fields)
    }
}

/// The resources that a server tells of, by group and version.
pub type Told = BTreeMap<(String, String), Vec<Value>>;

/// Reads an aggregated discovery document (`APIGroupDiscoveryList`).
///
/// # Errors
///
/// What is wrong with it.
pub fn read_aggregated(document: &Value) -> Result<Told, String> {
    if document.get("kind").and_then(Value::as_str) != Some("APIGroupDiscoveryList") {
        return Err("the document is no APIGroupDiscoveryList".to_owned());
    }
    let mut told = Told::new();
    let mut count = 0;
    for group in list(document, "items")? {
        let name = group.get("metadata").map_or(Ok(""), |metadata| name(metadata, "name"))?;
        for version in list(group, "versions")? {
            let resources = list(version, "resources")?;
            count += resources.len().max(1);
            if count > MOST_RESOURCES {
                return Err(format!("the document has more than {MOST_RESOURCES} resources"));
            }
            let resources: Result<_, String> = resources.iter().map(resource).collect();
            told.insert((name.to_owned(), self::name(version, "version")?.to_owned()), resources?);
        }
    }
    Ok(told)
}

/// Reads the document of one version (`APIResourceList`), as what an aggregated one would say of it.
///
/// # Errors
///
/// What is wrong with it.
pub fn read_legacy(document: &Value, group: &str, version: &str) -> Result<Vec<Value>, String> {
    let resources = list(document, "resources")?;
    if resources.len() > MOST_RESOURCES {
        return Err(format!("the document has more than {MOST_RESOURCES} resources"));
    }
    let (mut found, mut parts): (Vec<Value>, Vec<(&str, Value)>) = (Vec::new(), Vec::new());
    for own in resources {
        let place = |key: &str, otherwise: &str| match name(own, key) {
            Ok("") => Ok(otherwise.to_owned()),
            given => given.map(str::to_owned),
        };
        let kind = json!({
            "group": place("group", group)?, "version": place("version", version)?, "kind": name(own, "kind")?,
        });
        let verbs = names(own, "verbs")?;
        if let Some((parent, part)) = name(own, "name")?.split_once('/') {
            parts.push((parent, json!({"subresource": part, "responseKind": kind, "verbs": verbs})));
            continue;
        }
        let scope = if own.get("namespaced") == Some(&Value::Bool(true)) { "Namespaced" } else { "Cluster" };
        let mut one = json!({
            "resource": required(own, "name")?, "responseKind": kind, "scope": scope,
            "singularResource": name(own, "singularName")?, "verbs": verbs,
        });
        for key in ["shortNames", "categories"] {
            let names = names(own, key)?;
            if !names.is_empty() {
                one[key] = names.into();
            }
        }
        found.push(one);
    }
    for (parent, part) in parts {
        let Some(own) = found.iter_mut().find(|own| own["resource"] == parent) else { continue };
        match own.get_mut("subresources").and_then(Value::as_array_mut) {
            Some(list) => list.push(part),
            None => own["subresources"] = json!([part]),
        }
    }
    Ok(found)
}

/// A resource with what is known of its kind and nothing else.
fn resource(told: &Value) -> Result<Value, String> {
    let scope = match name(told, "scope")? {
        scope @ ("Namespaced" | "Cluster") => scope,
        other => return Err(format!("{other:?} is no scope of a resource")),
    };
    let mut one = json!({
        "resource": required(told, "resource")?,
        "responseKind": kind(told)?,
        "scope": scope,
        "singularResource": name(told, "singularResource")?,
        "verbs": names(told, "verbs")?,
    });
    for key in ["shortNames", "categories"] {
        let names = names(told, key)?;
        if !names.is_empty() {
            one[key] = names.into();
        }
    }
    let parts = list(told, "subresources")?;
    if parts.len() > MOST_NAMES {
        return Err(format!("a resource has more than {MOST_NAMES} subresources"));
    }
    if !parts.is_empty() {
        let part = |part: &Value| {
            Ok(json!({
                "subresource": required(part, "subresource")?,
                "responseKind": kind(part)?,
                "verbs": names(part, "verbs")?,
            }))
        };
        one["subresources"] = parts.iter().map(part).collect::<Result<Vec<_>, String>>()?.into();
    }
    Ok(one)
}

/// Clients rely on there being one, be it an empty one.
fn kind(of: &Value) -> Result<Value, String> {
    let given = of.get("responseKind").unwrap_or(&Value::Null);
    let part = |key: &str| name(given, key);
    Ok(json!({"group": part("group")?, "version": part("version")?, "kind": part("kind")?}))
}

fn list<'a>(of: &'a Value, key: &str) -> Result<&'a [Value], String> {
    match of.get(key) {
        None | Some(Value::Null) => Ok(&[]),
        Some(Value::Array(list)) => Ok(list),
        Some(_) => Err(format!("{key:?} is no list")),
    }
}

fn name<'a>(of: &'a Value, key: &str) -> Result<&'a str, String> {
    match of.get(key) {
        None | Some(Value::Null) => Ok(""),
        Some(Value::String(text)) if text.len() <= LONGEST => Ok(text),
        Some(Value::String(_)) => Err(format!("{key:?} is longer than {LONGEST} bytes")),
        Some(_) => Err(format!("{key:?} is no text")),
    }
}

fn required<'a>(of: &'a Value, key: &str) -> Result<&'a str, String> {
    match name(of, key)? {
        "" => Err(format!("a resource has no {key:?}")),
        found => Ok(found),
    }
}

fn names(of: &Value, key: &str) -> Result<Vec<String>, String> {
    let list = list(of, key)?;
    if list.len() > MOST_NAMES {
        return Err(format!("{key:?} has more than {MOST_NAMES} entries"));
    }
    let name = |value: &Value| match value.as_str() {
        Some(text) if text.len() <= LONGEST => Ok(text.to_owned()),
        _ => Err(format!("{key:?} has an entry that is no name")),
    };
    list.iter().map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_one_server_come_to_the_same() {
        let kind = |kind: &str| json!({"group": "wardle.example", "version": "v1", "kind": kind});
        let aggregated = json!({"kind": "APIGroupDiscoveryList", "items": [{"metadata": {"name": "wardle.example"}, "versions": [{
            "version": "v1",
            "resources": [{
                "resource": "flunders", "responseKind": kind("Flunder"), "scope": "Namespaced", "singularResource": "flunder",
                "verbs": ["get"], "shortNames": ["fl"],
                "subresources": [{"subresource": "status", "responseKind": kind("Flunder"), "verbs": ["get"]}],
            }],
        }]}]});
        let legacy = json!({"kind": "APIResourceList", "resources": [
            {"name": "flunders/status", "kind": "Flunder", "namespaced": true, "verbs": ["get"]},
            {"name": "flunders", "singularName": "flunder", "kind": "Flunder", "namespaced": true, "verbs": ["get"], "shortNames": ["fl"]},
        ]});
        let told = read_aggregated(&aggregated).unwrap();
        let own = &told[&("wardle.example".to_owned(), "v1".to_owned())];
        assert_eq!(*own, read_legacy(&legacy, "wardle.example", "v1").unwrap());
        assert_eq!(*own, aggregated["items"][0]["versions"][0]["resources"].as_array().unwrap()[..]);
    }

    #[test]
    fn rubbish_is_refused_with_the_reason() {
        let with = |resource: Value| {
            read_aggregated(
                &json!({"kind": "APIGroupDiscoveryList", "items": [{"metadata": {"name": "g"}, "versions": [
                    {"version": "v1", "resources": [resource]},
                ]}]}),
            )
        };
        for (document, why) in [
            (read_aggregated(&json!([])), "no APIGroupDiscoveryList"),
            (read_aggregated(&json!({"kind": "APIGroupDiscoveryList", "items": 3})), "\"items\" is no list"),
            (with(json!({"scope": "Cluster"})), "has no \"resource\""),
            (with(json!({"resource": "a", "scope": "Everywhere"})), "no scope"),
            (with(json!({"resource": "a".repeat(300), "scope": "Cluster"})), "longer than"),
            (with(json!({"resource": "a", "scope": "Cluster", "verbs": [1]})), "no name"),
            (with(json!({"resource": "a", "scope": "Cluster", "verbs": vec!["x"; 200]})), "more than 100"),
        ] {
            let told = document.unwrap_err();
            assert!(told.contains(why), "{told}");
        }
        let many = vec![json!({"name": "a"}); MOST_RESOURCES + 1];
        assert!(read_legacy(&json!({"resources": many}), "g", "v1").is_err());
        let kindless = with(json!({"resource": "a", "scope": "Cluster", "responseKind": null})).unwrap();
        let empty = json!({"group": "", "version": "", "kind": ""});
        assert_eq!(kindless.values().next().unwrap()[0]["responseKind"], empty);
    }
}
