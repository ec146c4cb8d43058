//! What holds for all values.

use proptest::prelude::*;
use serde_json::{Value as Json, json};
use xebec_expressions::{CALL_LIMIT, Environment, Type, Value, names};

/// The text of the value of `expression` over `x` and `y`, or of the error.
fn run(expression: &str, x: &Json, y: &Json) -> String {
    let environment = Environment::kubernetes().variable("x", Type::Dyn).variable("y", Type::Dyn);
    let program = environment.compile(expression).unwrap();
    let bindings = [Some(Value::from_json(x)), Some(Value::from_json(y))];
    program
        .evaluate(&bindings, CALL_LIMIT)
        .result
        .map_or_else(|err| err.to_string(), |value| value.to_string())
}

fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        (-1e9f64..1e9).prop_map(Json::from),
        ".{0,6}".prop_map(Json::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::btree_map("[a-c]{1,2}", inner, 0..4)
                .prop_map(|map| Json::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn sums_of_integers_overflow_as_errors(x: i64, y: i64) {
        let sum = x.checked_add(y).map_or("integer overflow".to_owned(), |sum| sum.to_string());
        prop_assert_eq!(run("x + y", &json!(x), &json!(y)), sum);
        let product = x.checked_mul(y).map_or("integer overflow".to_owned(), |product| product.to_string());
        prop_assert_eq!(run("x * y", &json!(x), &json!(y)), product);
    }

    #[test]
    fn every_value_equals_itself_and_equality_has_no_sides(x in any_json(), y in any_json()) {
        prop_assert_eq!(run("x == x", &x, &y), "true");
        prop_assert_eq!(run("x == y", &x, &y), run("y == x", &x, &y));
        prop_assert_eq!(run("x != y", &x, &y), run("!(x == y)", &x, &y));
        prop_assert_eq!(run("x in [x, y]", &x, &y), "true");
    }

    #[test]
    fn text_is_cut_and_found_by_code_points(text in ".{0,12}", at in 0usize..12) {
        let points: Vec<char> = text.chars().collect();
        let (x, y) = (json!(text), json!(at));
        prop_assert_eq!(run("x.size()", &x, &y), points.len().to_string());
        if at <= points.len() {
            let rest: String = points[at..].iter().collect();
            prop_assert_eq!(run("x.substring(y)", &x, &y), rest);
            prop_assert_eq!(run("x.substring(0, y) + x.substring(y) == x", &x, &y), "true");
        } else {
            prop_assert_eq!(run("x.substring(y)", &x, &y), format!("index out of range: {at}"));
        }
        if let Some(c) = points.get(at) {
            let first = points.iter().position(|other| other == c).unwrap();
            prop_assert_eq!(run("x.indexOf(y)", &x, &json!(c.to_string())), first.to_string());
        }
    }

    #[test]
    fn quoted_text_reads_as_itself(text in "[^\\x00-\\x1f]{0,12}") {
        let quoted = run("strings.quote(x)", &json!(text), &json!(0));
        let program = Environment::kubernetes().compile(&quoted).unwrap();
        prop_assert_eq!(program.evaluate(&[], CALL_LIMIT).result.unwrap().to_string(), text);
    }

    #[test]
    fn escaped_names_come_back(name in "[a-z0-9._/-]{1,12}") {
        if let Some(escaped) = names::escape(&name) {
            prop_assert_eq!(names::unescape(&escaped), Some(name));
        }
    }

    #[test]
    fn no_text_makes_the_compiler_panic(text in ".{0,40}", mess in "[a1.?\\[\\]{}(),:'\"\\\\é&|!`<=+-]{0,24}") {
        let environment = Environment::kubernetes().variable("a", Type::Dyn);
        for text in [text, mess] {
            if let Ok(program) = environment.compile(&text) {
                let object = json!({"a": [1, "b", null]});
                let evaluation = program.evaluate(&[Some(Value::from_json(&object))], 1_000);
                let over = evaluation.cost > 1_000;
                prop_assert_eq!(over, evaluation.result.is_err_and(|err| err.is_cancelled()));
            }
        }
    }
}
