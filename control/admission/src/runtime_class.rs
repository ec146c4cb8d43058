//! `RuntimeClass`: what running a pod in a certain way takes of its own, and where that can be done.

use std::sync::Arc;

use serde_json::Value;
use xebec_machinery::status::Status;

use crate::object;
use crate::passes::Passes;
use crate::pod_resources::{Amounts, amounts};
use crate::request::{Operation, Request};
use crate::stage::{Case, Mutation, Outcome, Validation, now};

const OTHER: &str = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";
const ALONE: &str = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";

pub(crate) struct RuntimeClass;

fn minds(request: &Request) -> bool {
    request.is_whole() && request.operation == Operation::Create && request.is_for("", "pods")
}

impl Mutation for RuntimeClass {
    fn name(&self) -> &'static str {
        "RuntimeClass"
    }

    fn handles(&self, request: &Request) -> bool {
        minds(request)
    }

    fn mutate<'a>(&'a self, case: Case<'a>, object: &'a mut Value, _passes: &'a Passes) -> Outcome<'a> {
        now(complete(case, object))
    }
}

impl Validation for RuntimeClass {
    fn name(&self) -> &'static str {
        "RuntimeClass"
    }

    fn handles(&self, request: &Request) -> bool {
        minds(request)
    }

    fn validate<'a>(&'a self, case: Case<'a>, object: &'a Value) -> Outcome<'a> {
        now(judge(case, object))
    }
}

/// The class that a pod names.
fn class(case: Case<'_>, pod: &Value) -> Result<Option<Arc<Value>>, Status> {
    let Some(name) = object::at(pod, &["spec", "runtimeClassName"]).and_then(Value::as_str) else {
        return Ok(None);
    };
    let classes = case.world.all("node.k8s.io", "runtimeclasses")?;
    match classes.get("", name) {
        Some(class) => Ok(Some(class.clone())),
        None => Err(case.forbidden(pod, &format!("pod rejected: RuntimeClass {name:?} not found"))),
    }
}

/// Whether two overheads come to the same.
fn is_same(one: Option<&Value>, other: Option<&Value>) -> bool {
    let nanos =
        |of: &Amounts| of.iter().map(|(name, amount)| (name.clone(), amount.nanos())).collect::<Vec<_>>();
    nanos(&amounts(one)) == nanos(&amounts(other))
}

fn complete(case: Case<'_>, pod: &mut Value) -> Result<(), Status> {
    let Some(class) = class(case, pod)? else { return Ok(()) };
    if let Some(overhead) = object::at(&class, &["overhead", "podFixed"]) {
        let own = object::at(pod, &["spec", "overhead"]);
        if own.is_some_and(|own| !is_same(Some(own), Some(overhead))) {
            return Err(case.forbidden(pod, OTHER));
        }
        object::set(pod, &["spec", "overhead"], overhead.clone());
    }
    for (key, wanted) in object::entries(&class, &["scheduling", "nodeSelector"]) {
        let wanted = wanted.as_str().unwrap_or_default();
        let own = object::at(pod, &["spec", "nodeSelector", key]).and_then(Value::as_str);
        if let Some(own) = own.filter(|own| *own != wanted) {
            let why = format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {wanted}; pod.spec.nodeSelector[{key}] = {own}"
            );
            return Err(case.forbidden(pod, &why));
        }
        object::set(pod, &["spec", "nodeSelector", key], wanted.into());
    }
    for toleration in object::list(&class, &["scheduling", "tolerations"]) {
        if !object::list(pod, &["spec", "tolerations"]).contains(toleration) {
            object::list_mut(pod, &["spec", "tolerations"]).push(toleration.clone());
        }
    }
    Ok(())
}

fn judge(case: Case<'_>, pod: &Value) -> Result<(), Status> {
    let class = class(case, pod)?;
    let wanted = class.as_ref().and_then(|class| object::at(class, &["overhead", "podFixed"]));
    let own = object::at(pod, &["spec", "overhead"]);
    match (wanted, own) {
        (None, Some(_)) => Err(case.forbidden(pod, ALONE)),
        (Some(_), _) if !is_same(wanted, own) => Err(case.forbidden(pod, OTHER)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{Sample, object as named, request};
    use serde_json::json;

    async fn admitted(pod: Value) -> Result<Value, String> {
        let mut class = named("", "vm");
        class["overhead"] = json!({"podFixed": {"memory": "1Gi"}});
        class["scheduling"] =
            json!({"nodeSelector": {"vm": "yes"}, "tolerations": [{"key": "vm", "operator": "Exists"}]});
        let sample = Sample::with("node.k8s.io", "runtimeclasses", [class]);
        let (request, mut pod) = (request(Operation::Create, "", "pods"), pod);
        let (case, passes) = (sample.case(&request), Passes::default());
        RuntimeClass.mutate(case, &mut pod, &passes).await.map_err(|status| status.message)?;
        RuntimeClass.validate(case, &pod).await.map_err(|status| status.message)?;
        Ok(pod["spec"].clone())
    }

    #[tokio::test]
    async fn a_pod_takes_on_what_its_class_asks_for() {
        let spec = |more: Value| json!({"metadata": {"name": "p"}, "spec": more});
        let found = admitted(spec(json!({"runtimeClassName": "vm", "overhead": {"memory": "1024Mi"}})))
            .await
            .unwrap();
        assert_eq!(
            found,
            json!({
                "runtimeClassName": "vm", "overhead": {"memory": "1Gi"}, "nodeSelector": {"vm": "yes"},
                "tolerations": [{"key": "vm", "operator": "Exists"}],
            })
        );
        for (more, why) in [
            (json!({"runtimeClassName": "none"}), "pod rejected: RuntimeClass \"none\" not found"),
            (json!({"runtimeClassName": "vm", "overhead": {"memory": "2Gi"}}), OTHER),
            (json!({"overhead": {"memory": "2Gi"}}), ALONE),
            (
                json!({"runtimeClassName": "vm", "nodeSelector": {"vm": "no"}}),
                "conflict: runtimeClass.scheduling.nodeSelector[vm] = yes; pod.spec.nodeSelector[vm] = no",
            ),
        ] {
            assert_eq!(admitted(spec(more)).await.unwrap_err(), format!("pods \"p\" is forbidden: {why}"));
        }
    }
}
