//! What the crate says of a question, in the form that `conformance/cel` has its answers in.

use serde_json::{Map, Value as Json, json};
use xebec_expressions::rules::{Failure, Judgement, Reason, RuleSet};
use xebec_expressions::{CALL_LIMIT, CompileError, Environment, Schema, Type, Value};

use super::rendering;

/// The question with what it shares with an earlier one.
pub(crate) fn complete(mut question: Json, asked: &[Json]) -> Json {
    let like = question["like"].as_u64().and_then(|like| asked.get((like as usize).checked_sub(1)?));
    if let Some(like) = like {
        for shared in ["vars", "schema", "self"] {
            if let Some(value) = like.get(shared) {
                question[shared] = value.clone();
            }
        }
    }
    question
}

/// What we say of a question.
pub(crate) fn answer(question: &Json) -> Json {
    if let Some(schema) = question.get("definition") {
        return answer_definition(schema);
    }
    if question.get("schema").is_some() { answer_rules(question) } else { answer_expression(question) }
}

/// What is wrong with the rules of a schema when a definition with it is created.
fn answer_definition(schema: &Json) -> Json {
    const PREFIX: &str = "spec.validation.openAPIV3Schema";
    let (_, problems) = RuleSet::compile(schema, PREFIX);
    let mut failures: Vec<String> = problems
        .iter()
        .map(|problem| {
            let value = problem.value.as_ref().map(|value| format!(": {value}")).unwrap_or_default();
            format!("{}: {}{value}: {}", problem.path, words(problem.reason), problem.detail)
        })
        .collect();
    failures.sort();
    if failures.is_empty() { json!({}) } else { json!({"failures": failures}) }
}

fn answer_expression(question: &Json) -> Json {
    let empty = Map::new();
    let vars = question["vars"].as_object().unwrap_or(&empty);
    let mut names: Vec<&String> = vars.keys().collect();
    names.sort();
    let environment = names
        .iter()
        .fold(Environment::kubernetes(), |environment, name| environment.variable(*name, Type::Dyn));
    let program = match environment.compile(question["expr"].as_str().unwrap_or_default()) {
        Ok(program) => program,
        Err(CompileError::Issues(issues)) => return json!({"compile": issues.to_string()}),
        Err(CompileError::Program { reason, .. }) => return json!({"program": reason}),
    };
    let mut answer = json!({"type": program.output_type().to_string()});
    if let Some(estimate) = program.estimate(None) {
        answer["min"] = json!(estimate.min);
        answer["max"] = json!(estimate.max);
    }
    let bindings: Vec<Option<Value<'_>>> =
        names.iter().map(|name| Some(Value::from_json(&vars[*name]))).collect();
    let evaluation = program.evaluate(&bindings, CALL_LIMIT);
    answer["cost"] = json!(evaluation.cost);
    match evaluation.result {
        Ok(value) => answer["value"] = json!(rendering::render(&value)),
        Err(err) => answer["error"] = json!(err.to_string()),
    }
    answer
}

fn words(reason: Reason) -> &'static str {
    match reason {
        Reason::Invalid => "Invalid value",
        Reason::Forbidden => "Forbidden",
        Reason::Required => "Required value",
        Reason::Duplicate => "Duplicate value",
        Reason::Unsupported => "Unsupported value",
        Reason::Internal => "Internal error",
    }
}

/// An error as upstream's field errors show themselves.
fn shown(failure: &Failure) -> String {
    let kind = words(failure.reason);
    let value = match (&failure.reason, &failure.value) {
        (Reason::Forbidden | Reason::Required, _) | (_, None) => String::new(),
        (_, Some(value)) => format!(": {value}"),
    };
    let detail = if failure.detail.is_empty() { String::new() } else { format!(": {}", failure.detail) };
    format!("root{}: {kind}{value}{detail}", failure.path)
}

fn answer_rules(question: &Json) -> Json {
    let mut schema = question["schema"].clone();
    if let Some(rules) = question.get("rules") {
        schema["x-kubernetes-validations"] = rules.clone();
    }
    let (set, problems) = RuleSet::compile_part(&schema, "");
    let count = schema.get("x-kubernetes-validations").and_then(Json::as_array).map_or(0, Vec::len);
    let cardinality = Schema::from_openapi(&schema, false).map_or(0, |schema| schema.max_cardinality());
    let mut rules = Vec::new();
    for i in 0..count {
        let path = |name: &str| format!("x-kubernetes-validations[{i}].{name}");
        let wrong = |name: &str| {
            let path = path(name);
            problems.iter().find(|problem| problem.path == path && problem.reason == Reason::Invalid)
        };
        let cost = |name: &str| {
            let path = path(name);
            set.costs().iter().find(|rule| rule.path == path).map_or(0, |rule| rule.cost)
        };
        let mut rule = json!({"maxCost": cost("rule"), "maxCardinality": cardinality});
        if let Some(problem) = wrong("rule") {
            rule["error"] = json!(problem.detail);
            rule["maxCardinality"] = json!(0);
        }
        if let Some(problem) = wrong("messageExpression") {
            rule["messageError"] = json!(problem.detail);
        }
        if cost("messageExpression") > 0 {
            rule["messageMaxCost"] = json!(cost("messageExpression"));
        }
        rules.push(rule);
    }
    let mut answer = json!({});
    if !rules.is_empty() {
        answer["rules"] = Json::Array(rules);
    }
    let Judgement { failures, cost: spent, .. } =
        set.validate(&question["self"], question.get("oldSelf"), None);
    if !failures.is_empty() {
        answer["failures"] = failures.iter().map(shown).collect();
    }
    answer["spent"] = json!(spent);
    answer
}
