//! The roles and bindings that there are, and what they come to.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;
use xebec_machinery::selector::LabelSelector;

use super::Rule;
use crate::authorizer::{Asked, Decision};
use crate::object;
use crate::user::{User, service_account_of};

/// All roles and bindings. Namespaces are empty for what lives beside them.
#[derive(Debug, Default)]
pub struct Book {
    roles: BTreeMap<(String, String), Role>,
    /// By namespace, so that a decision looks only at its own.
    bindings: BTreeMap<String, BTreeMap<String, Binding>>,
}

#[derive(Debug)]
struct Role {
    rules: Vec<Rule>,
    labels: Value,
    /// The labels of the roles whose rules this one has too.
    aggregates: Vec<LabelSelector>,
}

#[derive(Debug)]
struct Binding {
    role: RoleRef,
    subjects: Vec<Subject>,
}

/// The role that a binding speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleRef {
    /// `Role` or `ClusterRole`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

#[derive(Debug)]
struct Subject {
    kind: String,
    name: String,
    namespace: String,
}

impl RoleRef {
    /// The role that a binding (as an object) speaks of.
    pub fn of(binding: &Value) -> Self {
        let text = |path: &str| object::at_path(binding, path).and_then(Value::as_str).unwrap_or_default();
        Self { kind: text(".roleRef.kind").to_owned(), name: text(".roleRef.name").to_owned() }
    }
}

/// As upstream says that there is none: `clusterrole.rbac.authorization.k8s.io "x" not found`.
impl fmt::Display for RoleRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} {:?} not found", self.kind.to_lowercase(), super::GROUP, self.name)
    }
}

impl Subject {
    fn read(of: &Value, namespace: &str) -> Self {
        let text = |key: &str| of.get(key).and_then(Value::as_str).unwrap_or_default();
        let own = text("namespace");
        Self {
            kind: text("kind").to_owned(),
            name: text("name").to_owned(),
            namespace: if own.is_empty() { namespace } else { own }.to_owned(),
        }
    }

    fn is(&self, user: &User) -> bool {
        match self.kind.as_str() {
            "User" => self.name == user.name,
            "Group" => user.is_in(&self.name),
            "ServiceAccount" => {
                service_account_of(&user.name) == Some((self.namespace.as_str(), self.name.as_str()))
            }
            _ => false,
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind.as_str() {
            "ServiceAccount" => write!(f, "{} {:?}", self.kind, format!("{}/{}", self.name, self.namespace)),
            kind => write!(f, "{kind} {:?}", self.name),
        }
    }
}

/// A binding that speaks of a user.
struct Bound<'a> {
    namespace: &'a str,
    name: &'a str,
    role: &'a RoleRef,
    subject: &'a Subject,
}

impl fmt::Display for Bound<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name) = match self.namespace {
            "" => ("ClusterRoleBinding", self.name.to_owned()),
            namespace => ("RoleBinding", format!("{}/{namespace}", self.name)),
        };
        write!(f, "{kind} {name:?} of {} {:?} to {}", self.role.kind, self.role.name, self.subject)
    }
}

impl Book {
    /// Writes down a role or binding, in the place of what it was before.
    pub fn put(&mut self, of: &Value) {
        let namespace = object::namespace(of).unwrap_or_default().to_owned();
        let name = object::name(of).to_owned();
        match of.get("kind").and_then(Value::as_str) {
            Some("Role" | "ClusterRole") => {
                self.roles.insert((namespace, name), Role::read(of));
            }
            Some("RoleBinding" | "ClusterRoleBinding") => {
                let list = of.get("subjects").and_then(Value::as_array).into_iter().flatten();
                let subjects = list.map(|subject| Subject::read(subject, &namespace)).collect();
                let binding = Binding { role: RoleRef::of(of), subjects };
                self.bindings.entry(namespace).or_default().insert(name, binding);
            }
            _ => {}
        }
    }

    /// Strikes out a role or binding.
    pub fn remove(&mut self, of: &Value) {
        let namespace = object::namespace(of).unwrap_or_default().to_owned();
        match of.get("kind").and_then(Value::as_str) {
            Some("Role" | "ClusterRole") => {
                self.roles.remove(&(namespace, object::name(of).to_owned()));
            }
            _ => {
                if let Some(bindings) = self.bindings.get_mut(&namespace) {
                    bindings.remove(object::name(of));
                }
            }
        }
    }

    /// Whether the user may do what is asked for, and which binding says so.
    pub fn decide(&self, user: &User, asked: &Asked<'_>) -> Decision {
        let namespace = match asked {
            Asked::Resource(asked) => asked.namespace,
            Asked::Path { .. } => "",
        };
        let mut broken: Vec<String> = Vec::new();
        for bound in self.bound(user, namespace) {
            match self.rules(bound.role, bound.namespace) {
                Some(rules) if rules.iter().any(|rule| rule.allows(asked)) => {
                    return Decision { allowed: true, reason: format!("RBAC: allowed by {bound}") };
                }
                Some(_) => {}
                None => broken.push(bound.role.to_string()),
            }
        }
        broken.dedup();
        let reason = match broken.as_slice() {
            [] => String::new(),
            [one] => format!("RBAC: {one}"),
            many => format!("RBAC: [{}]", many.join(", ")),
        };
        Decision { allowed: false, reason }
    }

    /// All rules that hold for the user in a namespace; beside them where it is empty.
    pub fn rules_for(&self, user: &User, namespace: &str) -> Vec<Rule> {
        let bound = self.bound(user, namespace);
        bound.filter_map(|bound| self.rules(bound.role, bound.namespace)).flatten().collect()
    }

    fn bound<'a>(&'a self, user: &'a User, namespace: &'a str) -> impl Iterator<Item = Bound<'a>> {
        // What is bound everywhere is bound in the namespace too.
        let places = [Some(""), Some(namespace).filter(|namespace| !namespace.is_empty())];
        let bindings =
            places.into_iter().flatten().filter_map(|place| self.bindings.get_key_value(place)).flat_map(
                |(place, bindings)| bindings.iter().map(move |(name, binding)| (place, name, binding)),
            );
        bindings.filter_map(|(namespace, name, binding)| {
            let subject = binding.subjects.iter().find(|subject| subject.is(user))?;
            Some(Bound { namespace, name, role: &binding.role, subject })
        })
    }

    /// The rules of the role that a binding in a namespace speaks of; nothing where there is no such role.
    pub fn rules(&self, role: &RoleRef, namespace: &str) -> Option<Vec<Rule>> {
        let namespace = if role.kind == "Role" { namespace } else { "" };
        let found = self.roles.get(&(namespace.to_owned(), role.name.clone()))?;
        let mut rules = found.rules.clone();
        for rule in self.aggregated(&found.aggregates, &role.name, 0) {
            if !rules.contains(&rule) {
                rules.push(rule);
            }
        }
        Some(rules)
    }

    /// The rules that a role with these selectors gathers from other roles.
    pub fn gathered(&self, role: &Value) -> Vec<Rule> {
        let mut rules = Vec::new();
        for rule in self.aggregated(&Role::read(role).aggregates, object::name(role), 0) {
            if !rules.contains(&rule) {
                rules.push(rule);
            }
        }
        rules
    }

    /// Roles that gather may be gathered themselves, as `view` is by `edit`; a circle ends after some steps.
    fn aggregated(&self, selectors: &[LabelSelector], own: &str, depth: usize) -> Vec<Rule> {
        if depth > 8 {
            return Vec::new();
        }
        let empty = serde_json::Map::new();
        let cluster = self.roles.iter().filter(|((namespace, name), _)| namespace.is_empty() && name != own);
        let chosen = cluster.filter(|(_, role)| {
            let labels = role.labels.as_object().unwrap_or(&empty);
            selectors.iter().any(|selector| selector.matches(labels))
        });
        chosen
            .flat_map(|((_, name), role)| {
                let mut rules = if role.aggregates.is_empty() { role.rules.clone() } else { Vec::new() };
                rules.extend(self.aggregated(&role.aggregates, name, depth + 1));
                rules
            })
            .collect()
    }
}

impl Role {
    fn read(of: &Value) -> Self {
        let rules = of.get("rules").and_then(Value::as_array).into_iter().flatten().map(Rule::read).collect();
        let selectors = object::at_path(of, ".aggregationRule.clusterRoleSelectors");
        let selectors = selectors.and_then(Value::as_array).into_iter().flatten();
        Self {
            rules,
            labels: object::at_path(of, ".metadata.labels").cloned().unwrap_or_default(),
            aggregates: selectors.filter_map(|selector| LabelSelector::from_object(selector).ok()).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
