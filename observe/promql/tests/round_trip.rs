//! What is printed reads back as the same tree, for trees of every kind.

use proptest::prelude::*;
use xebec_promql::ast::Expr;
use xebec_promql::parser::{ParserOptions, parse};

/// Without the places in the query, which differ.
fn without_places(expr: &Expr) -> String {
    let text = format!("{expr:?}");
    let places =
        regex::Regex::new(r"(position: )?Position \{ start: \d+, end: \d+ \}|(start|end): \d+|, \d+\)")
            .expect("a sound pattern");
    places.replace_all(&text, "").into_owned()
}

fn duration() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        "[1-9][0-9]{0,2}(ms|s|m|h|d)",
        Just("step()".to_owned()),
        Just("range()".to_owned()),
        "[1-9][0-9]{0,3}",
    ];
    leaf.prop_recursive(2, 6, 2, |inner| {
        let op = prop_oneof!["\\+", "-", "\\*", "/", "%", "\\^"];
        prop_oneof![
            inner.clone().prop_map(|inner| format!("({inner})")),
            (inner.clone(), op, inner.clone()).prop_map(|(left, op, right)| format!("{left} {op} {right}")),
            (inner.clone(), inner).prop_map(|(one, two)| format!("max_of({one}, {two})")),
        ]
    })
}

fn selector() -> impl Strategy<Value = String> {
    let name = prop_oneof!["[a-z_][a-z0-9_]{0,8}:?x", Just("sum".to_owned()), Just("offset".to_owned())];
    let matcher =
        prop_oneof![r#"[a-z]{1,3}(=|!=|=~|!~)"[a-z.*]{1,4}""#, r#""[a-z é.]{1,4}"="\\\\n[a-z"']{0}""#,];
    // Several matchers are printed in order.
    let matchers = proptest::collection::vec(matcher, 0..2);
    let sound = |text: &String| parse(text, ParserOptions::EXPERIMENTAL).is_ok();
    let series = (name, matchers).prop_map(|(name, matchers)| match matchers.is_empty() {
        true => name,
        false => format!("{name}{{{}}}", matchers.join(",")),
    });
    series.prop_filter("a broken expression", sound)
}

fn shift() -> impl Strategy<Value = String> {
    let offset = prop_oneof![
        Just(String::new()),
        "[1-9][0-9]{0,2}[smh]".prop_map(|offset| format!(" offset {offset}")),
        "[1-9][0-9]{0,2}[smh]".prop_map(|offset| format!(" offset -{offset}")),
        duration().prop_map(|offset| format!(" offset ({offset})")),
    ];
    let at = prop_oneof![Just(""), Just(" @ start()"), Just(" @ end()"), Just(" @ 12.345"), Just(" @ -3")];
    let borders = prop_oneof![Just(""), Just(" anchored"), Just(" smoothed")];
    (at, borders, offset).prop_map(|(at, borders, offset)| format!("{borders}{at}{offset}"))
}

fn vector() -> impl Strategy<Value = String> {
    let selected = (selector(), shift()).prop_map(|(selector, shift)| format!("{selector}{shift}"));
    selected.prop_recursive(4, 24, 3, |inner| {
        let names = prop_oneof![Just("(a)"), Just("(a, b)"), Just("()"), Just("(\"é x\")")];
        let op = prop_oneof![
            Just("+"),
            Just("-"),
            Just("*"),
            Just("/"),
            Just("%"),
            Just("^"),
            Just("atan2"),
            Just("=="),
            Just("!="),
            Just("> bool"),
            Just("<"),
            Just(">="),
            Just("<="),
            Just("</"),
            Just(">/"),
            Just("and"),
            Just("or"),
            Just("unless"),
            Just("+ on (a)"),
            Just("- ignoring (a, b) group_left (c)"),
            Just("* on () group_right ()"),
            Just("/ fill (0)"),
            Just("+ on (a) fill_left (-1) fill_right (Inf)"),
        ];
        let aggregator = prop_oneof![Just("sum"), Just("avg"), Just("count"), Just("group"), Just("stddev")];
        let function = prop_oneof![Just("abs"), Just("sort"), Just("timestamp"), Just("absent"), Just("ln")];
        prop_oneof![
            inner.clone().prop_map(|inner| format!("({inner})")),
            inner.clone().prop_map(|inner| format!("-({inner})")),
            (inner.clone(), op, inner.clone())
                .prop_map(|(left, op, right)| format!("({left}) {op} ({right})")),
            (inner.clone(), inner.clone(), inner.clone()).prop_map(|(a, b, c)| format!("{a} + {b} * {c}")),
            (aggregator.clone(), names.clone(), inner.clone())
                .prop_map(|(aggregator, names, inner)| format!("{aggregator} by {names} ({inner})")),
            (aggregator, names, inner.clone())
                .prop_map(|(aggregator, names, inner)| format!("{aggregator}({inner}) without {names}")),
            inner.clone().prop_map(|inner| format!("topk(3, {inner})")),
            inner.clone().prop_map(|inner| format!("count_values(\"a\\tb\", {inner})")),
            (function, inner.clone()).prop_map(|(function, inner)| format!("{function}({inner})")),
            (selector(), duration(), shift())
                .prop_map(|(selector, range, shift)| format!("rate({selector}[{range}]{shift})")),
            (inner, duration(), duration()).prop_map(|(inner, range, step)| format!(
                "max_over_time(({inner})[{range}:{step}] offset 5m)"
            )),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_printed_reads_back_the_same(query in vector()) {
        // Some combinations are refused: both sides of `offset` twice, a division by zero, a type that does not fit.
        if let Ok(expr) = parse(&query, ParserOptions::EXPERIMENTAL) {
            let printed = expr.to_string();
            let again = parse(&printed, ParserOptions::EXPERIMENTAL);
            prop_assert!(again.is_ok(), "{} prints as {}: {:?}", query, printed, again);
            let again = again.unwrap();
            prop_assert_eq!(again.to_string(), printed.clone());
            prop_assert_eq!(without_places(&again), without_places(&expr), "{} prints as {}", query, printed);
        }
    }
}
