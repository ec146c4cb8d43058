//! Role-based access control as pure functions: what a rule allows, what rules cover others, who is bound to what.
//!
//! Roles and bindings come in as objects; decisions and their reasons go out. Nothing here reads the store.

pub mod book;
pub mod bootstrap;

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use crate::authorizer::Asked;

/// The API group of roles and bindings.
pub const GROUP: &str = "rbac.authorization.k8s.io";

/// One rule of a role: the verbs, and what they may be done with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    /// What may be done; `*` is everything.
    pub verbs: Vec<String>,
    /// API groups; `*` is every one.
    pub groups: Vec<String>,
    /// Plural names, with `/` before subresources; `*` is every one.
    pub resources: Vec<String>,
    /// The objects; none named are all.
    pub names: Vec<String>,
    /// Paths that are none of objects; `*` at the end is whatever follows.
    pub paths: Vec<String>,
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|own| own == wanted)
}

impl Rule {
    /// Reads a rule of a role.
    pub fn read(of: &Value) -> Self {
        let texts = |key: &str| {
            let list = of.get(key).and_then(Value::as_array).into_iter().flatten();
            list.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        Self {
            verbs: texts("verbs"),
            groups: texts("apiGroups"),
            resources: texts("resources"),
            names: texts("resourceNames"),
            paths: texts("nonResourceURLs"),
        }
    }

    /// The rule as roles write it.
    pub fn write(&self) -> Value {
        let mut rule = Map::new();
        for (key, list) in self.parts() {
            if !list.is_empty() || key == "verbs" {
                rule.insert(key.to_owned(), list.to_vec().into());
            }
        }
        rule.into()
    }

    fn parts(&self) -> [(&'static str, &[String]); 5] {
        [
            ("apiGroups", &self.groups),
            ("resources", &self.resources),
            ("nonResourceURLs", &self.paths),
            ("resourceNames", &self.names),
            ("verbs", &self.verbs),
        ]
    }

    /// Whether the rule allows what is asked for.
    pub fn allows(&self, asked: &Asked<'_>) -> bool {
        let verb = |wanted: &str| has(&self.verbs, "*") || has(&self.verbs, wanted);
        match asked {
            Asked::Resource(asked) => {
                verb(asked.verb)
                    && (has(&self.groups, "*") || has(&self.groups, asked.group))
                    && self.is_for(asked.resource, asked.subresource)
                    && (self.names.is_empty() || has(&self.names, asked.name))
            }
            Asked::Path { verb: wanted, path } => {
                let fits = |own: &String| match own.strip_suffix('*') {
                    Some(start) => path.starts_with(start.trim_end_matches('*')),
                    None => own == path,
                };
                verb(wanted) && self.paths.iter().any(fits)
            }
        }
    }

    fn is_for(&self, resource: &str, subresource: &str) -> bool {
        self.resources.iter().any(|own| match own.split_once('/') {
            None => own == "*" || (subresource.is_empty() && own == resource),
            Some((part, of)) => {
                !subresource.is_empty() && of == subresource && (part == "*" || part == resource)
            }
        })
    }

    /// Whether everything that a simple rule (one verb, one resource or path) allows is allowed by this one.
    fn covers(&self, simple: &Self) -> bool {
        let all =
            |own: &[String], wanted: &[String]| has(own, "*") || wanted.iter().all(|wanted| has(own, wanted));
        let resources = simple.resources.iter().all(|wanted| {
            let (resource, subresource) = wanted.split_once('/').unwrap_or((wanted, ""));
            self.is_for(resource, subresource)
        });
        let paths = simple.paths.iter().all(|wanted| {
            let fits = |own: &String| match own.strip_suffix('*') {
                Some(start) => wanted.starts_with(start),
                None => own == wanted,
            };
            self.paths.iter().any(fits)
        });
        let names = self.names.is_empty()
            || (!simple.names.is_empty() && simple.names.iter().all(|wanted| has(&self.names, wanted)));
        all(&self.verbs, &simple.verbs) && all(&self.groups, &simple.groups) && resources && paths && names
    }

    /// The rule as many that are as simple as can be.
    fn split(&self) -> Vec<Self> {
        let one = |text: &String| vec![text.clone()];
        let mut simple = Vec::new();
        for verb in &self.verbs {
            for group in &self.groups {
                for resource in &self.resources {
                    let rule = Self {
                        verbs: one(verb),
                        groups: one(group),
                        resources: one(resource),
                        ..Self::default()
                    };
                    match self.names.as_slice() {
                        [] => simple.push(rule),
                        names => {
                            simple.extend(names.iter().map(|name| Self { names: one(name), ..rule.clone() }))
                        }
                    }
                }
            }
            for path in &self.paths {
                simple.push(Self { verbs: one(verb), paths: one(path), ..Self::default() });
            }
        }
        simple
    }
}

/// As upstream writes rules in errors: `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}`.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let titles = ["APIGroups", "Resources", "NonResourceURLs", "ResourceNames", "Verbs"];
        let parts: Vec<String> = titles
            .iter()
            .zip(self.parts())
            .filter(|(_, (_, list))| !list.is_empty())
            .map(|(title, (_, list))| format!("{title}:{}", quoted(list)))
            .collect();
        write!(f, "{{{}}}", parts.join(", "))
    }
}

/// A list as Go quotes it: `["a" "b"]`.
pub fn quoted(list: &[String]) -> String {
    let texts: Vec<String> = list.iter().map(|text| format!("{text:?}")).collect();
    format!("[{}]", texts.join(" "))
}

/// What `wanted` allows and `held` does not, in rules as simple as can be.
pub fn missing(held: &[Rule], wanted: &[Rule]) -> Vec<Rule> {
    let simple = wanted.iter().flat_map(Rule::split);
    simple.filter(|simple| !held.iter().any(|own| own.covers(simple))).collect()
}

/// Simple rules with the verbs for one thing put together, in the order in which things first come.
pub fn compact(rules: Vec<Rule>) -> Vec<Rule> {
    let mut places = BTreeMap::new();
    let mut made: Vec<Rule> = Vec::new();
    for rule in rules {
        let thing = (rule.groups.clone(), rule.resources.clone(), rule.names.clone(), rule.paths.clone());
        match places.get(&thing).and_then(|at: &usize| made.get_mut(*at)) {
            Some(known) => {
                for verb in rule.verbs {
                    if !has(&known.verbs, &verb) {
                        known.verbs.push(verb);
                    }
                }
            }
            None => {
                places.insert(thing, made.len());
                made.push(rule);
            }
        }
    }
    made
}

#[cfg(test)]
mod tests;
