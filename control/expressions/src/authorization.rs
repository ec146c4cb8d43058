//! How expressions ask whether someone may do something. Who answers is given from outside.

use std::fmt;
use std::sync::Arc;

/// Answers whether a request is allowed.
pub trait Authorizer: fmt::Debug + Send + Sync {
    /// Judges `request`.
    fn authorize(&self, request: &AccessRequest) -> Decided;
}

/// Who asks for what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessRequest {
    /// The service account (namespace and name) that asks, if not the user of the request under judgement.
    pub service_account: Option<(String, String)>,
    /// The verb.
    pub verb: String,
    /// The path, for what is no resource.
    pub path: Option<String>,
    /// The resource, for what is no path.
    pub resource: Option<ResourceAccess>,
}

/// A resource that is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResourceAccess {
    /// The API group.
    pub group: String,
    /// The resource.
    pub resource: String,
    /// The subresource.
    pub subresource: String,
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
    /// Which objects by their fields.
    pub field_selector: String,
    /// Which objects by their labels.
    pub label_selector: String,
}

/// What an authorizer said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decided {
    /// Whether it allows the request.
    pub allowed: bool,
    /// Why.
    pub reason: String,
    /// What went wrong in judging.
    pub error: Option<String>,
}

/// How far an expression has put its question together.
#[derive(Debug, Clone)]
pub(crate) enum Stage {
    Authorizer,
    Path,
    Group,
    Resource,
}

/// An authorizer with the question as far as it is put.
#[derive(Debug, Clone)]
pub struct Authorizing<'a> {
    pub(crate) authorizer: &'a dyn Authorizer,
    pub(crate) stage: Stage,
    pub(crate) request: AccessRequest,
}

impl<'a> Authorizing<'a> {
    /// The value of the variable `authorizer`.
    pub fn new(authorizer: &'a dyn Authorizer) -> Arc<Self> {
        Arc::new(Self { authorizer, stage: Stage::Authorizer, request: AccessRequest::default() })
    }

    /// The value of the variable `authorizer.requestResource`.
    pub fn for_resource(authorizer: &'a dyn Authorizer, resource: ResourceAccess) -> Arc<Self> {
        let request = AccessRequest { resource: Some(resource), ..AccessRequest::default() };
        Arc::new(Self { authorizer, stage: Stage::Resource, request })
    }

    pub(crate) fn type_name(&self) -> &'static str {
        match self.stage {
            Stage::Authorizer => "kubernetes.authorization.Authorizer",
            Stage::Path => "kubernetes.authorization.PathCheck",
            Stage::Group => "kubernetes.authorization.GroupCheck",
            Stage::Resource => "kubernetes.authorization.ResourceCheck",
        }
    }
}
