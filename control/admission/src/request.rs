//! What is asked for, and by whom.

use std::fmt;

use serde_json::Value;
use xebec_machinery::status::{Qualified, Status};

use crate::object;
use crate::user::User;

/// What is to happen to the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// It is to be made.
    Create,
    /// It is to be replaced.
    Update,
    /// It is to go.
    Delete,
    /// Somebody wants to talk to it.
    Connect,
}

impl Operation {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A kind in a version.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind {
    /// The API group; empty for the core group.
    pub group: String,
    /// The version.
    pub version: String,
    /// The name of the kind.
    pub kind: String,
}

impl Kind {
    /// A kind of this name.
    pub fn new(group: &str, version: &str, kind: &str) -> Self {
        Self { group: group.to_owned(), version: version.to_owned(), kind: kind.to_owned() }
    }

    /// `apiVersion` of objects of the kind.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }
}

/// As Go prints it: `apps/v1, Kind=Deployment`.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}, Kind={}", self.group, self.version, self.kind)
    }
}

/// A resource in a version.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource {
    /// The API group; empty for the core group.
    pub group: String,
    /// The version.
    pub version: String,
    /// The plural name.
    pub name: String,
}

impl Resource {
    /// A resource of this plural name.
    pub fn new(group: &str, version: &str, name: &str) -> Self {
        Self { group: group.to_owned(), version: version.to_owned(), name: name.to_owned() }
    }
}

/// A request that wants to write, or to connect.
#[derive(Debug, Clone)]
pub struct Request {
    /// What is to happen.
    pub operation: Operation,
    /// The kind of the object, or of what the subresource takes.
    pub kind: Kind,
    /// The resource.
    pub resource: Resource,
    /// The subresource; empty for the object itself.
    pub subresource: String,
    /// The namespace; empty beside the namespaces.
    pub namespace: String,
    /// The object's name; empty while none is chosen.
    pub name: String,
    /// Who asks.
    pub user: User,
    /// Whether nothing will be stored.
    pub dry_run: bool,
    /// The options of the operation, as an object (`CreateOptions` and so on).
    pub options: Value,
}

impl Request {
    /// Whether the request is for a resource, in any version.
    pub fn is_for(&self, group: &str, resource: &str) -> bool {
        self.resource.name == resource && self.resource.group == group
    }

    /// Whether the request is for an object itself, not for a part of it.
    pub fn is_whole(&self) -> bool {
        self.subresource.is_empty()
    }

    /// The resource as errors name it.
    pub fn qualified(&self) -> Qualified<'_> {
        Qualified::new(&self.resource.group, &self.resource.name)
    }

    /// The name by which errors speak of the object: its own, the beginning of the one to be chosen, or `Unknown`.
    pub fn shown_name<'a>(&'a self, new: &'a Value) -> &'a str {
        let names = [self.name.as_str(), object::name(new), object::meta(new, "generateName")];
        names.into_iter().find(|name| !name.is_empty()).unwrap_or("Unknown")
    }

    /// A refusal: `pods "web" is forbidden: why`.
    pub fn forbidden(&self, new: &Value, why: &str) -> Status {
        Status::forbidden(self.qualified(), self.shown_name(new), why)
    }
}
