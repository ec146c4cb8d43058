//! Input that is meant to hurt: deep, long and expensive expressions are refused or cut off, never the end of the program.

use serde_json::json;
use xebec_expressions::{CALL_LIMIT, Environment, Type, Value};

/// Compiles, estimates and runs on a stack as small as a server's threads have; the text of an error, if there is one.
fn outcome(expression: String) -> Result<String, String> {
    let run = move || {
        let environment = Environment::kubernetes().variable("x", Type::Dyn);
        let program = environment.compile(&expression).map_err(|err| err.to_string())?;
        program.estimate(None);
        let object = json!({"a": [1, 2, 3]});
        let value = program.evaluate(&[Some(Value::from_json(&object))], CALL_LIMIT).result;
        value.map(|value| value.to_string()).map_err(|err| err.to_string())
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap().join().unwrap()
}

fn nested(open: &str, inner: &str, close: &str, depth: usize) -> String {
    format!("{}{inner}{}", open.repeat(depth), close.repeat(depth))
}

#[test]
fn nesting_up_to_the_limit_works_on_a_small_stack() {
    for (open, inner, close) in [
        ("[", "x", "]"),
        ("(", "x", ")"),
        ("{'a': ", "x", "}"),
        ("dyn(", "x", ")"),
        ("[1].map(i, ", "x", ")"),
        ("true ? ", "x", " : x"),
        ("x[", "1", "]"),
        ("1 + (", "1", ")"),
        ("!(", "true", ")"),
    ] {
        let result = outcome(nested(open, inner, close, 120));
        if let Err(err) = result {
            assert!(!err.contains("recursion"), "{open}: {err}");
        }
    }
}

#[test]
fn nesting_beyond_the_limit_is_an_error_not_a_crash() {
    for (open, inner, close) in [
        ("[", "x", "]"),
        ("(", "x", ")"),
        ("{'a': ", "x", "}"),
        ("dyn(", "x", ")"),
        ("[1].map(i, ", "x", ")"),
        ("x[", "1", "]"),
        ("-(", "1", ")"),
        ("true ? true : (", "true", ")"),
    ] {
        for depth in [240, 260, 5_000] {
            let result = outcome(nested(open, inner, close, depth));
            if depth > 250 {
                assert!(result.unwrap_err().contains("recursion"), "{open}");
            }
        }
    }
    assert!(outcome(format!("x{}", ".a".repeat(40_000))).unwrap_err().contains("recursion"));
    assert!(outcome(format!("1{}", " + 1".repeat(20_000))).unwrap_err().contains("recursion"));
    assert_eq!(outcome(format!("true{}", " && true".repeat(10_000))).unwrap(), "true");
}

#[test]
fn what_costs_too_much_is_stopped() {
    let long = "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]";
    for expression in [
        nested(&format!("{long}.all(i, "), "true", ")", 7),
        "lists.range(9223372036854775807).size() > 0".to_owned(),
        "lists.range(100000).map(i, lists.range(100000)).size() > 0".to_owned(),
        "lists.range(2000).map(i, 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'.replace('', string(i))).join().size() > 0 && lists.range(3000).distinct().size() > 1".to_owned(),
    ] {
        let err = outcome(expression.clone()).unwrap_err();
        assert_eq!(err, "operation cancelled: actual cost limit exceeded", "{expression}");
    }
}

#[test]
fn what_grows_without_cost_is_stopped_too() {
    let doubled = format!("[[1]]{}", ".map(a, a + a)".repeat(40));
    let shared = format!("[dyn([1])]{}", ".map(a, dyn([a, a]))".repeat(40));
    let text = format!("'{}'", "a".repeat(3_000));
    for expression in [
        format!("{doubled}.size() > 0"),
        format!("{shared} == {shared}"),
        format!("{shared} != {shared}"),
        format!("{shared}[0] in [{shared}[0]]"),
        format!("'%s'.format([{shared}]).size() > 0"),
        format!("{text}.replace('a', {text}).replace('a', {text}).size() > 0"),
        format!("lists.range(1000).map(i, {text}.replace('a', {text})).join().size() > 0"),
    ] {
        let err = outcome(expression.clone()).unwrap_err();
        let shown: String = expression.chars().take(80).collect();
        assert!(err.contains("operation cancelled: actual cost limit exceeded"), "{shown}: {err}");
    }
}

#[test]
fn macros_that_copy_their_target_do_not_fill_the_memory() {
    let err = outcome(format!("optional.of(1){}", ".optMap(a, a + 1)".repeat(60))).unwrap_err();
    assert!(err.contains("once its macros are expanded"), "{err}");
}

#[test]
fn an_expression_that_is_too_long_is_refused_unread() {
    let err = outcome(format!("'{}'", "é".repeat(100_000))).unwrap_err();
    assert_eq!(
        err,
        "ERROR: <input>:-1:0: expression code point size exceeds limit: size: 100002, limit 100000"
    );
}

#[test]
fn a_cancelled_evaluation_is_not_absorbed() {
    let program = Environment::kubernetes().compile("true || [1].all(x, true)").unwrap();
    assert_eq!(program.evaluate(&[], 0).result.unwrap().to_string(), "true");
    let program = Environment::kubernetes().compile("[1].all(x, x > 0) || true").unwrap();
    assert!(program.evaluate(&[], 1).result.unwrap_err().is_cancelled());
}
