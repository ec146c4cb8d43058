//! The roles and bindings that there are, and what they come to.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};
use xebec_machinery::selector::LabelSelector;

use super::Rule;
use crate::authorizer::{Asked, Decision};
use crate::object;
use crate::user::{User, service_account_of};

/// How deep roles may gather from roles that gather.
const GATHERED_DEPTH: usize = 8;

/// All roles and bindings by namespace and name, so that a decision looks only at its own. The namespace is empty for what
/// lives beside them.
#[derive(Debug, Default)]
pub struct Book {
    roles: BTreeMap<String, BTreeMap<String, Role>>,
    bindings: BTreeMap<String, BTreeMap<String, Binding>>,
}

#[derive(Debug)]
struct Role {
    rules: Vec<Rule>,
    labels: Map<String, Value>,
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
                self.roles.entry(namespace).or_default().insert(name, Role::read(of));
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
                if let Some(roles) = self.roles.get_mut(&namespace) {
                    roles.remove(object::name(of));
                }
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
            match self.find(bound.role, bound.namespace, &mut |rule| rule.allows(asked)) {
                Some(true) => {
                    return Decision { allowed: true, reason: format!("RBAC: allowed by {bound}") };
                }
                Some(false) => {}
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
        let mut rules = Vec::new();
        self.find(role, namespace, &mut collect(&mut rules))?;
        Some(rules)
    }

    /// The rules that a role (as an object) gathers from other roles.
    pub fn gathered(&self, role: &Value) -> Vec<Rule> {
        let mut rules = Vec::new();
        self.find_gathered(&Role::read(role).aggregates, object::name(role), 0, &mut collect(&mut rules));
        rules
    }

    /// Whether `wanted` is true of one of the rules of a role; nothing where there is no such role.
    fn find(&self, role: &RoleRef, namespace: &str, wanted: &mut dyn FnMut(&Rule) -> bool) -> Option<bool> {
        let namespace = if role.kind == "Role" { namespace } else { "" };
        let found = self.roles.get(namespace)?.get(&role.name)?;
        Some(
            found.rules.iter().any(&mut *wanted)
                || self.find_gathered(&found.aggregates, &role.name, 0, wanted),
        )
    }

    /// [`Book::find`] among the rules that a role gathers. Roles that gather may be gathered themselves, as `view` is by
    /// `edit`; a circle ends after some steps.
    fn find_gathered(
        &self,
        selectors: &[LabelSelector],
        own: &str,
        depth: usize,
        wanted: &mut dyn FnMut(&Rule) -> bool,
    ) -> bool {
        if depth > GATHERED_DEPTH || selectors.is_empty() {
            return false;
        }
        let mut others = self.roles.get("").into_iter().flatten().filter(|(name, _)| *name != own);
        others.any(|(name, role)| {
            let chosen = selectors.iter().any(|selector| selector.matches(&role.labels));
            // What a role that gathers shows as its own is what it gathered before.
            let own = role.aggregates.is_empty();
            chosen
                && ((own && role.rules.iter().any(&mut *wanted))
                    || self.find_gathered(&role.aggregates, name, depth + 1, wanted))
        })
    }
}

/// Keeps every rule once, and wants more.
fn collect(rules: &mut Vec<Rule>) -> impl FnMut(&Rule) -> bool {
    |rule| {
        if !rules.contains(rule) {
            rules.push(rule.clone());
        }
        false
    }
}

impl Role {
    fn read(of: &Value) -> Self {
        let rules = of.get("rules").and_then(Value::as_array).into_iter().flatten().map(Rule::read).collect();
        let selectors = object::at_path(of, ".aggregationRule.clusterRoleSelectors");
        let selectors = selectors.and_then(Value::as_array).into_iter().flatten();
        Self {
            rules,
            labels: object::labels(of).cloned().unwrap_or_default(),
            aggregates: selectors.filter_map(|selector| LabelSelector::from_object(selector).ok()).collect(),
        }
    }
}

#[cfg(test)]
mod tests;
