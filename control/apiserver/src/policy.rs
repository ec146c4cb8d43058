//! Who may do what, by the roles and bindings that are stored now.
//!
//! The book of roles follows the store: before each decision it takes in what was written since the last, so that a
//! role counts from the moment its write was answered.

use serde_json::{Value, json};
use xebec_machinery::builtin;
use xebec_machinery::status::Status;

use crate::authorizer::{Asked, Decision};
use crate::follower::{Follower, Gather};
use crate::rbac::book::{Book, RoleRef};
use crate::rbac::{self, Rule};
use crate::storage::Storage;
use crate::user::User;

/// Where all roles and bindings rest.
const PREFIX: &str = "/registry/rbac.authorization.k8s.io/";

/// Who may do what.
pub struct Policy {
    /// Nothing where there are no roles.
    book: Option<Follower<Book>>,
}

impl Gather for Book {
    fn put(&mut self, object: Value) {
        Self::put(self, &object);
    }

    fn remove(&mut self, object: &Value) {
        Self::remove(self, object);
    }
}

impl Policy {
    /// The policy that is stored here.
    pub fn new(storage: Storage) -> Self {
        let roles = builtin::find(rbac::GROUP, "clusterroles");
        Self { book: roles.map(|roles| Follower::new(storage, roles.clone(), PREFIX.to_owned())) }
    }

    /// Whether the user may do what is asked for.
    ///
    /// # Errors
    ///
    /// The roles cannot be read.
    pub fn decide(&self, user: &User, asked: &Asked<'_>) -> Result<Decision, Status> {
        if user.is_administrator() {
            return Ok(Decision { allowed: true, reason: String::new() });
        }
        self.read(|book| book.decide(user, asked))
    }

    /// All rules that hold for the user in a namespace; beside them where it is empty.
    ///
    /// # Errors
    ///
    /// The roles cannot be read.
    pub fn rules_for(&self, user: &User, namespace: &str) -> Result<Vec<Rule>, Status> {
        self.read(|book| book.rules_for(user, namespace))
    }

    /// The rules of the role that a binding in a namespace speaks of; nothing where there is no such role.
    ///
    /// # Errors
    ///
    /// The roles cannot be read.
    pub fn role(&self, role: &RoleRef, namespace: &str) -> Result<Option<Vec<Rule>>, Status> {
        self.read(|book| book.rules(role, namespace))
    }

    /// The rules that a role gathers from others.
    ///
    /// # Errors
    ///
    /// The roles cannot be read.
    pub fn gathered(&self, role: &Value) -> Result<Vec<Rule>, Status> {
        self.read(|book| book.gathered(role))
    }

    /// What the user may do in a namespace, as the status of a `SelfSubjectRulesReview`.
    ///
    /// # Errors
    ///
    /// The roles cannot be read.
    pub fn rules(&self, user: &User, namespace: &str) -> Result<Value, Status> {
        let mut rules = self.rules_for(user, namespace)?;
        if user.is_administrator() {
            rules.extend(everything());
        }
        let (paths, resources): (Vec<_>, Vec<_>) = rules.iter().partition(|rule| !rule.paths.is_empty());
        let written = |rules: Vec<&Rule>| rules.into_iter().map(Rule::write).collect::<Value>();
        Ok(json!({
            "resourceRules": written(resources),
            "nonResourceRules": written(paths),
            "incomplete": false,
        }))
    }

    fn read<T>(&self, read: impl FnOnce(&Book) -> T) -> Result<T, Status> {
        let book = self.book.as_ref().ok_or_else(Status::no_such_resource)?;
        book.view(read)
    }
}

/// The rules of who may do everything.
pub(crate) fn everything() -> [Rule; 2] {
    [
        Rule::read(&json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]})),
        Rule::read(&json!({"verbs": ["*"], "nonResourceURLs": ["*"]})),
    ]
}
