//! Compares with what Kubernetes' own environment says of our corpus of expressions; `conformance/cel/run` records that.

use super::rendering;

use serde_json::{Map, Value as Json, json};
use xebec_expressions::{CALL_LIMIT, CompileError, Environment, Type, Value};

fn lines(text: &str) -> impl Iterator<Item = Json> {
    text.lines().map(|line| serde_json::from_str(line).unwrap())
}

/// What we say of a question.
fn answer(question: &Json) -> Json {
    let empty = Map::new();
    let vars = question["vars"].as_object().unwrap_or(&empty);
    let mut names: Vec<&String> = vars.keys().collect();
    names.sort();
    let environment =
        names.iter().fold(Environment::kubernetes(), |environment, name| environment.variable(*name, Type::Dyn));
    let mut answer = Map::new();
    let program = match environment.compile(question["expr"].as_str().unwrap()) {
        Ok(program) => program,
        Err(CompileError::Issues(issues)) => return json!({"compile": issues.to_string()}),
        Err(CompileError::Program(reason)) => return json!({"program": reason}),
    };
    answer.insert("type".to_owned(), json!(program.output_type().to_string()));
    let estimate = program.estimate(None).unwrap();
    answer.insert("min".to_owned(), json!(estimate.min));
    answer.insert("max".to_owned(), json!(estimate.max));
    let bindings: Vec<Option<Value<'_>>> = names.iter().map(|name| Some(Value::from_json(&vars[*name]))).collect();
    let evaluation = program.evaluate(&bindings, CALL_LIMIT);
    answer.insert("cost".to_owned(), json!(evaluation.cost));
    match evaluation.result {
        Ok(value) => answer.insert("value".to_owned(), json!(rendering::render(&value))),
        Err(err) => answer.insert("error".to_owned(), json!(err.to_string())),
    };
    Json::Object(answer)
}

/// Where ours differs from theirs, as one line; a program that can not be made has no type for us.
fn difference(ours: &Json, theirs: &Json) -> Option<String> {
    let keys = ["compile", "program", "type", "value", "error", "cost", "min", "max"];
    let wrong: Vec<String> = keys
        .iter()
        .filter(|key| theirs.get("program").is_none() || **key == "program")
        .filter(|key| ours.get(**key) != theirs.get(**key))
        .map(|key| format!("  {key}:\n    ours   {}\n    theirs {}", ours[*key], theirs[*key]))
        .collect();
    (!wrong.is_empty()).then(|| wrong.join("\n"))
}

#[test]
fn expressions_give_what_kubernetes_gives_at_the_same_cost() {
    let given = include_str!("../data/expressions/given.jsonl");
    let expected = include_str!("../data/expressions/expected.jsonl");
    let mut wrong = Vec::new();
    let mut count = 0;
    for (question, theirs) in lines(given).zip(lines(expected)) {
        count += 1;
        if let Some(difference) = difference(&answer(&question), &theirs) {
            wrong.push(format!("{}\n{difference}", question["expr"]));
        }
    }
    assert!(count >= 500, "only {count} questions");
    assert!(wrong.is_empty(), "{} of {count} differ:\n{}", wrong.len(), wrong.join("\n"));
}
