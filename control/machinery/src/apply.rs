//! Server-side apply: who owns which field, and what becomes of an object when somebody applies what they want of it.
//!
//! Ownership is kept in `metadata.managedFields`. [`apply`] merges what a manager applies, takes away what it applied last
//! time and no longer does, and refuses to take fields that others own ([`Error::Conflict`]) unless it is forced to.
//! [`update`] keeps the books for every other write. Both follow Kubernetes' field manager, which rests on
//! structured-merge-diff; what differs is that versions of a kind are taken to have the same fields.

mod conflict;
mod difference;
mod element;
mod fields;
mod managed;
mod merge;
mod shape;
mod time;
mod write;

pub use conflict::Conflict;
pub use element::{Element, Key};
pub use fields::FieldSet;
pub use managed::{Manager, Operation};
pub use write::{Applied, apply, update};

use serde_json::Value;

use crate::schema::Node;
use crate::status::{Reason, Status};

/// What is the same for every write of an object: its kind, and how ownership of its fields is kept.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The group and version of the request, such as `apps/v1`. All objects of the request are in it.
    pub api_version: &'a str,
    /// The kind, such as `Deployment`.
    pub kind: &'a str,
    /// The shape of objects of the kind.
    pub node: &'a Node,
    /// The groups and versions that are served, as `apiVersion`s; what is owned in others is forgotten.
    pub versions: &'a [String],
    /// Fields that this endpoint resets, such as `status` of the object itself: nobody comes to own them through it.
    pub reset: &'a FieldSet,
    /// The subresource that is written through.
    pub subresource: Option<&'a str>,
    /// The name that the client gives itself; `unknown` where it gives none.
    pub manager: &'a str,
    /// The time of the request (RFC 3339, in UTC and whole seconds).
    pub now: &'a str,
}

/// A server-side apply.
#[derive(Debug, Clone, Copy)]
pub struct ApplyRequest<'a> {
    /// The kind and the manager.
    pub context: Context<'a>,
    /// The object as it is stored; nothing where it is created.
    pub live: Option<&'a Value>,
    /// What the manager wants.
    pub applied: &'a Value,
    /// Whether to take fields that others own.
    pub force: bool,
}

/// Any other write.
#[derive(Debug, Clone)]
pub struct UpdateRequest<'a> {
    /// The kind and the manager.
    pub context: Context<'a>,
    /// The object as it is stored; nothing where it is created.
    pub live: Option<&'a Value>,
    /// The object as it is to be stored, patches and defaults included.
    pub new: Value,
}

/// Why an apply was refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// Others own the fields and want them otherwise. Apply with force, or leave the fields out.
    #[error("{}", conflict::message(.0))]
    Conflict(Vec<Conflict>),
    /// What is applied is of another kind than the resource.
    #[error("invalid object type: {0}")]
    Kind(String),
    /// What is applied may not say who owns what.
    #[error("metadata.managedFields must be nil")]
    ManagedFieldsApplied,
    /// A value does not fit the schema.
    #[error("{0}")]
    Type(String),
    /// A field set cannot be read.
    #[error("fieldsV1 cannot be read: {0}")]
    Fields(String),
    /// The stored `managedFields` cannot be read; clear them with an empty list and apply again.
    #[error("failed to decode managed fields: {0}")]
    ManagedFields(String),
}

impl Error {
    /// What the API answers: 409 with a cause for each field, 500 for stored entries that cannot be read and, as upstream
    /// has it, for what does not fit the schema, else 400.
    pub fn status(&self) -> Status {
        match self {
            Self::Conflict(conflicts) => {
                Status::apply_conflict(self.to_string(), conflicts.iter().map(Conflict::cause).collect())
            }
            Self::ManagedFields(_) => Status::internal(&self.to_string()),
            Self::Type(_) => Status::new(Reason::Unknown, self.to_string()),
            _ => Status::bad_request(self.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
