//! Compares with what Kubernetes' own environment says of our corpora; `conformance/cel/run` records that.

use serde_json::{Value as Json, json};

use super::answering;

fn lines(text: &str) -> Vec<Json> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Asks every question and compares the answers after `alike` made them so.
fn compare(given: &str, expected: &str, least: usize, alike: impl Fn(&mut Json, &mut Json)) {
    let expected = lines(expected);
    let mut asked = Vec::new();
    let mut wrong = Vec::new();
    for (question, mut theirs) in lines(given).into_iter().zip(expected.iter().cloned()) {
        let question = answering::complete(question, &asked);
        let mut ours = answering::answer(&question);
        alike(&mut ours, &mut theirs);
        if ours != theirs {
            let asked = ["expr", "rules", "definition"]
                .iter()
                .find_map(|key| question.get(*key))
                .unwrap_or(&question);
            wrong.push(format!("{asked}\n  ours   {ours}\n  theirs {theirs}"));
        }
        asked.push(question);
    }
    assert_eq!(asked.len(), expected.len());
    assert!(asked.len() >= least, "only {} questions", asked.len());
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), asked.len(), wrong.join("\n"));
}

#[test]
fn expressions_give_what_kubernetes_gives_at_the_same_cost() {
    let (given, expected) =
        (include_str!("../data/expressions/given.jsonl"), include_str!("../data/expressions/expected.jsonl"));
    compare(given, expected, 1_000, without_type);
}

#[test]
fn expressions_made_at_random_do_so_too() {
    let (given, expected) =
        (include_str!("../data/random/given.jsonl"), include_str!("../data/random/expected.jsonl"));
    compare(given, expected, 500, without_type);
}

/// What can not be made a program was checked before, but we tell the type only of what can.
fn without_type(_: &mut Json, theirs: &mut Json) {
    if let Some(reason) = theirs.get("program") {
        *theirs = json!({"program": reason});
    }
}

#[test]
fn rules_cost_and_judge_as_in_kubernetes() {
    let (given, expected) =
        (include_str!("../data/rules/given.jsonl"), include_str!("../data/rules/expected.jsonl"));
    compare(given, expected, 200, |_, theirs| {
        for rule in theirs.get_mut("rules").and_then(Json::as_array_mut).into_iter().flatten() {
            rule.as_object_mut().unwrap().remove("usesOldSelf");
        }
        // Upstream counts what was left over as below nothing.
        if theirs["spent"].as_u64() > Some(10_000_000) {
            theirs["spent"] = json!(10_000_000);
        }
    });
}

#[test]
fn rules_are_refused_at_creation_in_the_words_of_kubernetes() {
    let (given, expected) =
        (include_str!("../data/definitions/given.jsonl"), include_str!("../data/definitions/expected.jsonl"));
    compare(given, expected, 58, |_, _| {});
}
