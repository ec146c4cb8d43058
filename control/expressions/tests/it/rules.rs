//! Compares with what Kubernetes says of our corpus of schemas with rules and objects; `conformance/cel/run` records that.

use serde_json::{Value as Json, json};
use xebec_expressions::Schema;
use xebec_expressions::rules::{Failure, Reason, RuleSet};

fn lines(text: &str) -> Vec<Json> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// An error as upstream's field errors show themselves.
pub(crate) fn shown(failure: &Failure) -> String {
    let kind = match failure.reason {
        Reason::Invalid => "Invalid value",
        Reason::Forbidden => "Forbidden",
        Reason::Required => "Required value",
        Reason::Duplicate => "Duplicate value",
    };
    let value = match (&failure.reason, &failure.value) {
        (Reason::Forbidden | Reason::Required, _) | (_, None) => String::new(),
        (_, Some(value)) => format!(": {value}"),
    };
    let detail = if failure.detail.is_empty() { String::new() } else { format!(": {}", failure.detail) };
    format!("root{}: {kind}{value}{detail}", failure.path)
}

fn answer(question: &Json) -> Json {
    let mut schema = question["schema"].clone();
    if let Some(rules) = question.get("rules") {
        schema["x-kubernetes-validations"] = rules.clone();
    }
    let (set, problems) = RuleSet::compile_part(&schema);
    let mut answer = json!({});
    let declared = schema.get("x-kubernetes-validations").and_then(Json::as_array).cloned().unwrap_or_default();
    let cardinality = Schema::from_openapi(&schema, false).unwrap().max_cardinality();
    let mut rules = Vec::new();
    for i in 0..declared.len() {
        let path = |name: &str| format!("x-kubernetes-validations[{i}].{name}");
        let mut rule = json!({"maxCardinality": cardinality, "maxCost": 0});
        for (name, key) in [("rule", "error"), ("messageExpression", "messageError")] {
            let wrong = problems.iter().find(|problem| problem.path == path(name) && problem.reason == Reason::Invalid);
            if let Some(problem) = wrong {
                rule[key] = json!(problem.detail);
            }
        }
        for (name, key) in [("rule", "maxCost"), ("messageExpression", "messageMaxCost")] {
            if let Some(cost) = set.costs().iter().find(|cost| cost.path == path(name)) {
                rule[key] = json!(cost.cost);
            }
        }
        rules.push(rule);
    }
    if !rules.is_empty() {
        answer["rules"] = Json::Array(rules);
    }
    let (failures, spent) = set.validate(&question["self"], question.get("oldSelf"), false);
    if !failures.is_empty() {
        answer["failures"] = failures.iter().map(shown).collect();
    }
    answer["spent"] = json!(spent);
    answer
}

#[test]
fn rules_cost_and_judge_as_in_kubernetes() {
    let given = lines(include_str!("../data/rules/given.jsonl"));
    let expected = lines(include_str!("../data/rules/expected.jsonl"));
    assert_eq!(given.len(), expected.len());
    let mut wrong = Vec::new();
    for (question, theirs) in given.iter().zip(&expected) {
        let mut question = question.clone();
        if let Some(like) = question["like"].as_u64() {
            let like = &given[like as usize - 1];
            question["schema"] = like["schema"].clone();
            question["self"] = like["self"].clone();
        }
        let ours = answer(&question);
        let mut theirs = theirs.clone();
        for rule in theirs.get_mut("rules").and_then(Json::as_array_mut).into_iter().flatten() {
            rule.as_object_mut().unwrap().remove("usesOldSelf");
        }
        // Upstream counts what was left over below nothing.
        if theirs["spent"].as_u64() > Some(10_000_000) {
            theirs["spent"] = json!(10_000_000);
        }
        if ours != theirs {
            wrong.push(format!("{}\n  ours   {ours}\n  theirs {theirs}", question["rules"]));
        }
    }
    assert!(given.len() >= 200, "only {} questions", given.len());
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), given.len(), wrong.join("\n"));
}
