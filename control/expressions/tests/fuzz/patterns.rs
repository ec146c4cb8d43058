//! Regular expressions, which are compiled within bounds and matched in time that grows with the text alone.

use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use xebec_dice::{Dice, rounds};
use xebec_expressions::{CALL_LIMIT, Environment, Type, Value};

/// Longer than any match may take on a busy machine without optimization.
const PATIENCE: Duration = Duration::from_secs(60);

fn pattern(dice: &mut Dice) -> String {
    const PIECES: [&str; 40] = [
        "a",
        "b",
        ".",
        "(",
        ")",
        "(?:",
        "(?i)",
        "(?P<n>",
        "(?s:",
        "|",
        "*",
        "+",
        "?",
        "*?",
        "{2}",
        "{1,}",
        "{1000}",
        "{1,999}",
        "[a-z]",
        "[^a]",
        "[[:alpha:]]",
        "[]a]",
        "[a&&b]",
        "[a--b]",
        "\\d",
        "\\W",
        "\\pL",
        "\\p{Greek}",
        "\\b",
        "^",
        "$",
        "\\z",
        "\\Q",
        "\\E",
        "\\",
        "é",
        "\\x{1F600}",
        "(a+)+$",
        "(a|aa)+",
        "(?#",
    ];
    (0..dice.below(14)).map(|_| *dice.pick(&PIECES)).collect()
}

fn matched(text: &str, pattern: &str) -> Result<String, String> {
    let environment = Environment::kubernetes().variable("x", Type::String).variable("y", Type::String);
    let program = environment.compile("[x.matches(y), x.find(y) == '', x.findAll(y).size() > 1]").unwrap();
    let [x, y]: [Json; 2] = [json!(text), json!(pattern)];
    let bindings = [Some(Value::from_json(&x)), Some(Value::from_json(&y))];
    let result = program.evaluate(&bindings, CALL_LIMIT).result;
    result.map(|value| value.to_string()).map_err(|error| error.to_string())
}

#[test]
fn fuzz_patterns() {
    rounds("patterns", |dice| {
        let pattern = pattern(dice);
        let text = format!("{}é!", dice.pick(&["a", "ab", "aaab "]).repeat(dice.below(400)));
        let begun = Instant::now();
        let at_run_time = matched(&text, &pattern);
        let quoted = serde_json::to_string(&pattern).unwrap();
        let constant = Environment::kubernetes().compile(&format!("'a'.matches({quoted})"));
        assert!(begun.elapsed() < PATIENCE, "{pattern:?} took {:?}", begun.elapsed());
        // What is no pattern is refused beforehand where it is a constant, and as late as it is met where it is not.
        match (at_run_time, constant) {
            (Err(why), Err(error)) => {
                let error = error.to_string();
                let is_told =
                    error.contains("invalid matches argument") && why.contains("error parsing regexp");
                assert!(is_told, "{pattern:?}: {error} beforehand, {why} at run time");
            }
            (Err(why), Ok(_)) => assert!(why.contains("cost limit exceeded"), "{pattern:?}: {why}"),
            (Ok(_), Err(error)) => panic!("{pattern:?} is matched and refused as a constant: {error}"),
            (Ok(_), Ok(_)) => {}
        }
    });
}
