//! What a stage is.

use std::fmt;
use std::future::{Future, Ready, ready};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Either};
use serde_json::Value;
use xebec_machinery::status::Status;

use crate::companions::Companions;
use crate::notes::Notes;
use crate::passes::Passes;
use crate::request::Request;
use crate::world::World;

/// What a stage comes to: at once, or after it waited for somebody.
pub type Outcome<'a> = Either<Ready<Result<(), Status>>, BoxFuture<'a, Result<(), Status>>>;

/// What a stage comes to at once.
pub fn now<'a>(result: Result<(), Status>) -> Outcome<'a> {
    Either::Left(ready(result))
}

/// What a stage comes to after it waited.
pub fn later<'a>(outcome: impl Future<Output = Result<(), Status>> + Send + 'a) -> Outcome<'a> {
    Either::Right(outcome.boxed())
}

/// One request on its way through the stages.
#[derive(Clone, Copy)]
pub struct Case<'a> {
    /// What is asked for.
    pub request: &'a Request,
    /// The object that is replaced, deleted or connected to, in the version of the request.
    pub old: Option<&'a Value>,
    /// What can be looked up.
    pub world: &'a dyn World,
    /// What is told beside the answer.
    pub notes: &'a Notes,
    /// What is stored with the object.
    pub companions: &'a Companions,
}

impl Case<'_> {
    /// A refusal: `pods "web" is forbidden: why`.
    pub fn forbidden(&self, object: &Value, why: &str) -> Status {
        self.request.forbidden(object, why)
    }
}

impl fmt::Debug for Case<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("request", self.request).finish_non_exhaustive()
    }
}

/// A stage that may change the object.
pub trait Mutation: Send + Sync {
    /// The stage's name, as Kubernetes calls it.
    fn name(&self) -> &'static str;

    /// Whether the request is any of its business.
    fn handles(&self, request: &Request) -> bool;

    /// Changes the object, which is null where the request has none, or refuses the request. A stage whose change may
    /// concern those before it says so to `passes`; it is then asked a second time, like all others.
    fn mutate<'a>(&'a self, case: Case<'a>, object: &'a mut Value, passes: &'a Passes) -> Outcome<'a>;
}

/// A stage that judges the object as it is to be stored.
pub trait Validation: Send + Sync {
    /// The stage's name, as Kubernetes calls it.
    fn name(&self) -> &'static str;

    /// Whether the request is any of its business.
    fn handles(&self, request: &Request) -> bool;

    /// Judges the object, which is null where the request has none.
    fn validate<'a>(&'a self, case: Case<'a>, object: &'a Value) -> Outcome<'a>;
}
