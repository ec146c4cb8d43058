//! Who may do what, by the roles and bindings that are stored now.
//!
//! The book of roles follows the store: before each decision it takes in what was written since the last, so that a
//! role counts from the moment its write was answered.

use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};
use xebec_machinery::builtin;
use xebec_machinery::resource::Resource;
use xebec_machinery::status::Status;
use xebec_store::{Error, EventKind, ListRequest, Watch};

use crate::authorizer::{Asked, Decision};
use crate::rbac::book::{Book, RoleRef};
use crate::rbac::{self, Rule};
use crate::storage::{Storage, decode, refusal};
use crate::user::User;

/// Where all roles and bindings rest.
const PREFIX: &str = "/registry/rbac.authorization.k8s.io/";

/// Who may do what.
pub struct Policy {
    storage: Storage,
    following: Mutex<Option<Following>>,
}

struct Following {
    book: Book,
    changes: Watch,
}

impl Policy {
    /// The policy that is stored here.
    pub fn new(storage: Storage) -> Self {
        Self { storage, following: Mutex::new(None) }
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
        let mut following = self.following.lock().unwrap_or_else(PoisonError::into_inner);
        let mut current = match following.take() {
            Some(current) => current,
            None => self.follow()?,
        };
        if let Err(error) = current.catch_up(&self.storage) {
            // Too much has changed at once: read it anew.
            tracing::debug!(%error, "lost sight of the roles; reading them again");
            current = self.follow()?;
        }
        let answer = read(&current.book);
        *following = Some(current);
        Ok(answer)
    }

    fn follow(&self) -> Result<Following, Status> {
        let roles = roles()?;
        let at = self.storage.revision();
        let changes = self.storage.watch(roles, PREFIX, Some(at))?;
        let list = ListRequest { prefix: PREFIX, at: Some(at), ..ListRequest::default() };
        let mut book = Book::default();
        for entry in self.storage.list(roles, &list)?.items {
            book.put(&decode(&entry)?.object);
        }
        Ok(Following { book, changes })
    }
}

impl Following {
    /// Takes in everything that was written until now.
    fn catch_up(&mut self, storage: &Storage) -> Result<(), Status> {
        let written = storage.revision();
        self.drain()?;
        let seen = self.changes.progress();
        if seen < written {
            // A write is answered just before its watchers are told: what is not told yet is read from the history.
            self.changes = storage.watch(roles()?, PREFIX, Some(seen))?;
            self.drain()?;
        }
        Ok(())
    }

    fn drain(&mut self) -> Result<(), Status> {
        let roles = roles()?;
        let lost = |error: Error| refusal(&error, roles, "");
        while let Some(event) = self.changes.try_next().map_err(lost)? {
            match &event.kind {
                EventKind::Put { entry } => self.book.put(&decode(entry)?.object),
                EventKind::Delete { last } => self.book.remove(&decode(last)?.object),
            }
        }
        Ok(())
    }
}

/// The rules of who may do everything.
pub(crate) fn everything() -> [Rule; 2] {
    [
        Rule::read(&json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]})),
        Rule::read(&json!({"verbs": ["*"], "nonResourceURLs": ["*"]})),
    ]
}

fn roles() -> Result<&'static Resource, Status> {
    let found = builtin::find(rbac::GROUP, "clusterroles");
    found.map(|resource| &**resource).ok_or_else(Status::no_such_resource)
}
