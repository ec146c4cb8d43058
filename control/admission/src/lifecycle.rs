//! `NamespaceLifecycle`: nothing is made in a namespace that is not there or on its way out, and some never go.

use serde_json::Value;
use xebec_machinery::status::{Cause, Qualified, Status};

use crate::object;
use crate::passes::Passes;
use crate::request::{Operation, Request};
use crate::stage::{Case, Mutation, Outcome, now};

/// The namespaces that never go.
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

pub(crate) struct NamespaceLifecycle;

impl Mutation for NamespaceLifecycle {
    fn name(&self) -> &'static str {
        "NamespaceLifecycle"
    }

    fn handles(&self, request: &Request) -> bool {
        request.operation != Operation::Connect
    }

    fn mutate<'a>(&'a self, case: Case<'a>, object: &'a mut Value, _passes: &'a Passes) -> Outcome<'a> {
        now(judge(case, object))
    }
}

fn judge(case: Case<'_>, object: &Value) -> Result<(), Status> {
    let request = case.request;
    if request.is_for("", "namespaces") {
        if request.operation == Operation::Delete && IMMORTAL.contains(&&*request.name) {
            let why = "this namespace may not be deleted";
            return Err(Status::forbidden(request.qualified(), &request.name, why));
        }
        return Ok(());
    }
    let namespace = &*request.namespace;
    // Who may not see a namespace must not learn from a review whether it is there.
    let is_review = request.is_for("authorization.k8s.io", "localsubjectaccessreviews");
    if namespace.is_empty() || request.operation == Operation::Delete || is_review {
        return Ok(());
    }
    let namespaces = case.world.all("", "namespaces")?;
    let Some(found) = namespaces.get("", namespace) else {
        return Err(Status::not_found(Qualified::new("", "namespaces"), namespace));
    };
    if request.operation != Operation::Create || object::text(found, &["status", "phase"]) != "Terminating" {
        return Ok(());
    }
    let why = format!("unable to create new content in namespace {namespace} because it is being terminated");
    let mut refusal = request.forbidden(object, &why);
    if let Some(details) = &mut refusal.details {
        details.causes.push(Cause {
            reason: "NamespaceTerminating".to_owned(),
            message: format!("namespace {namespace} is being terminated"),
            field: "metadata.namespace".to_owned(),
        });
    }
    Err(refusal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{Sample, object as named, request};

    #[tokio::test]
    async fn nothing_is_made_in_a_namespace_that_goes_or_is_not_there() {
        let mut ending = named("", "ending");
        ending["status"] = serde_json::json!({"phase": "Terminating"});
        let sample = Sample::with("", "namespaces", [named("", "default"), ending]);
        let tell = async |operation, namespace: &str| {
            let mut request = request(operation, "", "configmaps");
            request.namespace = namespace.to_owned();
            let mut object = named(namespace, "a");
            let passes = Passes::default();
            let outcome = NamespaceLifecycle.mutate(sample.case(&request), &mut object, &passes).await;
            outcome.map_err(|status| (status.code(), status.message))
        };
        assert_eq!(tell(Operation::Create, "default").await, Ok(()));
        assert_eq!(tell(Operation::Update, "ending").await, Ok(()));
        assert_eq!(tell(Operation::Delete, "gone").await, Ok(()));
        let (code, message) = tell(Operation::Create, "ending").await.unwrap_err();
        assert_eq!(code, 403);
        assert_eq!(
            message,
            "configmaps \"a\" is forbidden: unable to create new content in namespace ending because it is being terminated"
        );
        assert_eq!(
            tell(Operation::Create, "gone").await.unwrap_err(),
            (404, "namespaces \"gone\" not found".into())
        );
    }

    #[tokio::test]
    async fn some_namespaces_never_go() {
        let sample = Sample::default();
        let mut request = request(Operation::Delete, "", "namespaces");
        request.name = "kube-system".to_owned();
        let passes = Passes::default();
        let outcome = NamespaceLifecycle.mutate(sample.case(&request), &mut Value::Null, &passes).await;
        assert_eq!(
            outcome.unwrap_err().message,
            "namespaces \"kube-system\" is forbidden: this namespace may not be deleted"
        );
    }
}
