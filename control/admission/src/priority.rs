//! `Priority`: what a pod's priority class comes to as a number, and one default class at most.

use serde_json::Value;
use xebec_machinery::status::Status;

use crate::object;
use crate::passes::Passes;
use crate::request::{Operation, Request};
use crate::stage::{Case, Mutation, Outcome, Validation, now};
use crate::world::World;

const GROUP: &str = "scheduling.k8s.io";
const CLASSES: &str = "priorityclasses";
const PREEMPT: &str = "PreemptLowerPriority";

pub(crate) struct Priority;

fn writes(request: &Request) -> bool {
    request.is_whole() && matches!(request.operation, Operation::Create | Operation::Update)
}

impl Mutation for Priority {
    fn name(&self) -> &'static str {
        "Priority"
    }

    fn handles(&self, request: &Request) -> bool {
        writes(request) && request.is_for("", "pods")
    }

    fn mutate<'a>(&'a self, case: Case<'a>, object: &'a mut Value, _passes: &'a Passes) -> Outcome<'a> {
        now(match case.old {
            Some(old) => {
                keep(old, object);
                Ok(())
            }
            None => establish(case, object),
        })
    }
}

/// A client that leaves out what it never set does not mean to change it.
fn keep(old: &Value, pod: &mut Value) {
    for field in ["priority", "preemptionPolicy"] {
        if let (None, Some(before)) = (object::at(pod, &["spec", field]), object::at(old, &["spec", field])) {
            let before = before.clone();
            object::set(pod, &["spec", field], before);
        }
    }
}

fn establish(case: Case<'_>, pod: &mut Value) -> Result<(), Status> {
    let name = object::text(pod, &["spec", "priorityClassName"]).to_owned();
    let classes = case.world.all(GROUP, CLASSES)?;
    let class =
        if name.is_empty() {
            default_class(case.world)?
        } else {
            let found = classes.get("", &name).map(|class| (**class).clone());
            Some(found.ok_or_else(|| {
                case.forbidden(pod, &format!("no PriorityClass with name {name} was found"))
            })?)
        };
    let priority = class.as_ref().and_then(|class| class.get("value")?.as_i64()).unwrap_or(0);
    let policy = match &class {
        None => PREEMPT,
        Some(class) => object::text(class, &["preemptionPolicy"]),
    };
    if let Some(class) = &class {
        let name = object::name(class).to_owned();
        object::set(pod, &["spec", "priorityClassName"], name.into());
    }
    if let Some(own) = object::at(pod, &["spec", "priority"]).and_then(Value::as_i64)
        && own != priority
    {
        let why = format!(
            "the integer value of priority ({own}) must not be provided in pod spec; priority admission controller \
             computed {priority} from the given PriorityClass name"
        );
        return Err(case.forbidden(pod, &why));
    }
    object::set(pod, &["spec", "priority"], priority.into());
    if policy.is_empty() {
        return Ok(());
    }
    let own = object::text(pod, &["spec", "preemptionPolicy"]);
    if !own.is_empty() && own != policy {
        let why = format!(
            "the string value of PreemptionPolicy ({own}) must not be provided in pod spec; priority admission \
             controller computed {policy} from the given PriorityClass name"
        );
        return Err(case.forbidden(pod, &why));
    }
    object::set(pod, &["spec", "preemptionPolicy"], policy.into());
    Ok(())
}

/// The class of pods that name none: of several, the one with the lowest value.
fn default_class(world: &dyn World) -> Result<Option<Value>, Status> {
    let classes = world.all(GROUP, CLASSES)?;
    let defaults = classes.iter().filter(|class| class.get("globalDefault") == Some(&Value::Bool(true)));
    let least = defaults.min_by_key(|class| class.get("value").and_then(Value::as_i64).unwrap_or(0));
    Ok(least.map(|class| (**class).clone()))
}

impl Validation for Priority {
    fn name(&self) -> &'static str {
        "Priority"
    }

    fn handles(&self, request: &Request) -> bool {
        writes(request) && request.is_for(GROUP, CLASSES)
    }

    fn validate<'a>(&'a self, case: Case<'a>, object: &'a Value) -> Outcome<'a> {
        now(one_default(case, object))
    }
}

fn one_default(case: Case<'_>, class: &Value) -> Result<(), Status> {
    if class.get("globalDefault") != Some(&Value::Bool(true)) {
        return Ok(());
    }
    let Some(other) = default_class(case.world)? else { return Ok(()) };
    let other = object::name(&other);
    if case.request.operation == Operation::Update && other == object::name(class) {
        return Ok(());
    }
    let why = format!("PriorityClass {other} is already marked as default. Only one default can exist");
    Err(case.forbidden(class, &why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{Sample, object as named, request};
    use serde_json::json;

    fn class(name: &str, value: i64, is_default: bool, policy: &str) -> Value {
        let mut class = named("", name);
        class["value"] = value.into();
        class["globalDefault"] = is_default.into();
        class["preemptionPolicy"] = policy.into();
        class
    }

    async fn spec_of(sample: &Sample, spec: Value) -> Result<Value, String> {
        let request = request(Operation::Create, "", "pods");
        let mut pod = json!({"metadata": {"name": "web"}, "spec": spec});
        let passes = Passes::default();
        Priority.mutate(sample.case(&request), &mut pod, &passes).await.map_err(|status| status.message)?;
        Ok(pod["spec"].clone())
    }

    #[tokio::test]
    async fn a_class_becomes_a_number() {
        let sample = Sample::with(GROUP, CLASSES, [class("high", 1000, false, "Never")]);
        let found = spec_of(&sample, json!({"priorityClassName": "high"})).await.unwrap();
        assert_eq!(
            found,
            json!({"priorityClassName": "high", "priority": 1000, "preemptionPolicy": "Never"})
        );
        let found = spec_of(&sample, json!({})).await.unwrap();
        assert_eq!(found, json!({"priority": 0, "preemptionPolicy": PREEMPT}));
        assert_eq!(
            spec_of(&sample, json!({"priorityClassName": "none"})).await.unwrap_err(),
            "pods \"web\" is forbidden: no PriorityClass with name none was found"
        );
        let wrong = spec_of(&sample, json!({"priorityClassName": "high", "priority": 5})).await.unwrap_err();
        assert!(
            wrong.contains("the integer value of priority (5) must not be provided in pod spec"),
            "{wrong}"
        );
    }

    #[tokio::test]
    async fn of_several_defaults_the_lowest_counts_and_a_second_is_refused() {
        let sample = Sample::with(GROUP, CLASSES, [class("b", 2, true, ""), class("a", 7, true, "")]);
        assert_eq!(spec_of(&sample, json!({})).await.unwrap()["priorityClassName"], "b");
        let request = request(Operation::Create, GROUP, CLASSES);
        let refused = Priority.validate(sample.case(&request), &class("c", 1, true, "")).await.unwrap_err();
        assert!(
            refused
                .message
                .ends_with("PriorityClass b is already marked as default. Only one default can exist")
        );
    }
}
