//! Single expressions: read, checked, estimated and run.

use std::time::{Duration, Instant};

use serde_json::Value as Json;
use xebec_dice::{Dice, rounds};
use xebec_expressions::{CALL_LIMIT, CompileError, Environment, Program, Type, Value};

use crate::grammar::Grammar as _;

/// Longer than the dearest expression may take on a busy machine without optimization.
const PATIENCE: Duration = Duration::from_secs(60);

fn environment() -> Environment {
    let list = Type::List(Type::Dyn.into());
    let environment = Environment::kubernetes().variable("x", Type::Dyn).variable("y", Type::Dyn);
    environment.variable("n", Type::Int).variable("s", Type::String).variable("l", list)
}

/// The variables' values.
struct Given {
    x: Json,
    y: Json,
    n: i64,
    s: Json,
    l: Json,
}

impl Given {
    fn thrown(dice: &mut Dice) -> Self {
        let (x, y) = (dice.object(3), dice.object(2));
        let s = Json::from("aé,".repeat(dice.below(60)));
        let l = (0..dice.below(30)).map(|_| dice.object(1)).collect();
        Self { x, y, n: dice.number() as i64, s, l }
    }

    fn bindings(&self) -> [Option<Value<'_>>; 5] {
        let [x, y, s, l] = [&self.x, &self.y, &self.s, &self.l].map(|json| Some(Value::from_json(json)));
        [x, y, Some(Value::Int(self.n)), s, l]
    }
}

/// What an evaluation came to, as text, whether it was cut off, and what it cost.
fn run(program: &Program, given: &Given, limit: u64) -> (String, bool, u64) {
    let begun = Instant::now();
    let bindings = given.bindings();
    let evaluation = program.evaluate(&bindings, limit);
    assert!(begun.elapsed() < PATIENCE, "it ran for {:?}", begun.elapsed());
    let is_cut = evaluation.result.as_ref().is_err_and(|error| error.is_cancelled());
    let told = evaluation.result.map_or_else(|error| format!("error: {error}"), |value| value.to_string());
    (told, is_cut, evaluation.cost)
}

/// Whatever is compiled stops at its limit, comes to the same again, and costs what it says.
fn judge(text: &str, environment: &Environment, dice: &mut Dice) {
    let program = match environment.compile(text) {
        Ok(program) => program,
        Err(error) => {
            let told = error.to_string();
            let is_placed = !matches!(error, CompileError::Issues(_)) || told.contains("<input>");
            assert!(is_placed && !told.is_empty(), "{told:?} of {text:?}");
            return;
        }
    };
    program.estimate(None).unwrap();
    let given = Given::thrown(dice);
    let (told, is_cut, cost) = run(&program, &given, CALL_LIMIT);
    assert!(is_cut || cost <= CALL_LIMIT, "{text} cost {cost}, more than it may, and gave {told}");
    if is_cut {
        return;
    }
    assert_eq!(run(&program, &given, cost), (told.clone(), false, cost), "{text} with as much as it needs");
    if cost > 0 {
        let (short, is_cut, _) = run(&program, &given, cost - 1);
        assert!(is_cut, "{text} costs {cost}, and gave {short} for one less; before, it gave {told}");
    }
}

#[test]
fn fuzz_expressions_of_the_grammar() {
    let environment = environment();
    rounds("expressions_of_the_grammar", |dice| {
        let depth = 1 + dice.below(5);
        let text = dice.expression(depth);
        judge(&text, &environment, dice);
    });
}

#[test]
fn fuzz_expressions_with_mixed_literals() {
    let environment = environment().mixed_literals().json_patch();
    rounds("expressions_with_mixed_literals", |dice| {
        let depth = 1 + dice.below(4);
        let text = dice.expression(depth);
        judge(&text, &environment, dice);
    });
}

#[test]
fn fuzz_expressions_that_were_garbled() {
    let environment = environment();
    let corpora =
        [include_str!("../data/random/given.jsonl"), include_str!("../data/expressions/given.jsonl")];
    let known: Vec<String> = corpora
        .iter()
        .flat_map(|corpus| corpus.lines())
        .filter_map(|line| serde_json::from_str::<Json>(line).unwrap()["expr"].as_str().map(str::to_owned))
        .collect();
    assert!(known.len() > 1_000);
    rounds("expressions_that_were_garbled", |dice| {
        let (one, other) = (dice.pick(&known).clone(), dice.pick(&known).clone());
        let text = match dice.below(4) {
            0 => dice.garbled(&format!("({one}) == ({other})")),
            1 => format!("[{one}, {other}].map(i, i)"),
            _ => dice.garbled(&one),
        };
        judge(&text, &environment, dice);
    });
}

#[test]
fn fuzz_expressions_of_any_text() {
    let environment = environment();
    rounds("expressions_of_any_text", |dice| {
        let bytes = dice.bytes(120);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        judge(&text, &environment, dice);
        let text = dice.garbled("");
        judge(&text, &environment, dice);
    });
}
