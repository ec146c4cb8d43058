use super::*;

fn labels(text: &str) -> LabelSet {
    text.split_whitespace().filter_map(|pair| pair.split_once('=')).collect()
}

fn rule(text: &str) -> Result<Rule, String> {
    let config: RuleConfig = serde_json::from_str(text).unwrap();
    Rule::new(&config)
}

/// Rules as JSON, labels before, and after; nothing where they are dropped.
const CASES: &[(&[&str], &str, Option<&str>)] = &[
    (
        &[r#"{"source_labels":["a"],"regex":"f(.*)","target_label":"d","replacement":"ch${1}-ch${1}"}"#],
        "a=foo b=bar",
        Some("a=foo b=bar d=choo-choo"),
    ),
    (
        &[
            r#"{"source_labels":["a","b"],"regex":"f(.*);(.*)r","target_label":"a","replacement":"b${1}${2}m"}"#,
            r#"{"source_labels":["a","b"],"regex":"(b).*b(.*)ba(.*)","target_label":"d","replacement":"$1$2$2$3"}"#,
        ],
        "a=foo b=bar c=baz",
        Some("a=boobam b=bar c=baz d=bam;am;r"),
    ),
    (&[r#"{"source_labels":["a"],"regex":".*o.*","action":"drop"}"#], "a=foo", None),
    (&[r#"{"source_labels":["a"],"regex":"o","action":"drop"}"#], "a=foo", Some("a=foo")),
    (&[r#"{"source_labels":["a"],"regex":"no-match","action":"drop"}"#], "a=foo", Some("a=foo")),
    (&[r#"{"source_labels":["a"],"regex":"no-match","action":"keep"}"#], "a=foo", None),
    (&[r#"{"source_labels":["a"],"regex":"f.*","action":"KEEP"}"#], "a=foo", Some("a=foo")),
    // What does not match replaces nothing, and an empty result removes.
    (
        &[r#"{"source_labels":["a"],"regex":"no-match","target_label":"b","replacement":"bar"}"#],
        "a=boo",
        Some("a=boo"),
    ),
    (
        &[r#"{"source_labels":["a"],"regex":"^(foo)$","target_label":"b","replacement":""}"#],
        "a=foo b=x",
        Some("a=foo"),
    ),
    (&[r#"{"target_label":"a","replacement":""}"#], "a=foo b=x", Some("b=x")),
    (&[r#"{"target_label":"z","replacement":"lit"}"#], "a=foo", Some("a=foo z=lit")),
    (
        &[
            r#"{"source_labels":["a"],"regex":"some-([^-]+)-([^,]+)","target_label":"${1}","replacement":"${2}"}"#,
        ],
        "a=some-name-value",
        Some("a=some-name-value name=value"),
    ),
    (
        &[r#"{"source_labels":["a"],"regex":"(x?).*","target_label":"${1}","replacement":"v"}"#],
        "a=foo",
        Some("a=foo"),
    ),
    (
        &[r#"{"source_labels":["c"],"target_label":"d","separator":";","action":"hashmod","modulus":1000}"#],
        "a=foo b=bar c=baz",
        Some("a=foo b=bar c=baz d=976"),
    ),
    (
        &[r#"{"regex":"(b.*)","replacement":"bar_${1}","action":"labelmap"}"#],
        "a=foo b1=bar b2=baz",
        Some("a=foo b1=bar b2=baz bar_b1=bar bar_b2=baz"),
    ),
    (
        &[r#"{"regex":"__meta_(my_.*)","action":"labelmap"}"#],
        "__meta_my_bar=aaa __meta_my_baz=bbb __meta_other=ccc",
        Some("__meta_my_bar=aaa __meta_my_baz=bbb __meta_other=ccc my_bar=aaa my_baz=bbb"),
    ),
    (&[r#"{"regex":"(b.*)","action":"labeldrop"}"#], "a=foo b1=bar b2=baz", Some("a=foo")),
    (&[r#"{"regex":"(b.*)","action":"labelkeep"}"#], "a=foo b1=bar b2=baz", Some("b1=bar b2=baz")),
    (
        &[
            r#"{"source_labels":["foo"],"action":"uppercase","target_label":"up"}"#,
            r#"{"source_labels":["foo"],"action":"lowercase","target_label":"low"}"#,
        ],
        "foo=bAr123Foo",
        Some("foo=bAr123Foo low=bar123foo up=BAR123FOO"),
    ),
    (&[r#"{"source_labels":["t"],"target_label":"p","action":"keepequal"}"#], "t=80 p=80", Some("p=80 t=80")),
    (&[r#"{"source_labels":["t"],"target_label":"p","action":"keepequal"}"#], "t=80 p=81", None),
    (&[r#"{"source_labels":["t"],"target_label":"p","action":"dropequal"}"#], "t=80 p=80", None),
    (&[r#"{"source_labels":["t"],"target_label":"p","action":"dropequal"}"#], "t=80 p=81", Some("p=81 t=80")),
    // A rule behind one that drops is not reached.
    (
        &[
            r#"{"source_labels":["a"],"regex":"foo","action":"drop"}"#,
            r#"{"target_label":"b","replacement":"x"}"#,
        ],
        "a=foo",
        None,
    ),
];

#[test]
fn each_action_does_what_it_says() {
    for (rules, before, after) in CASES {
        let rules: Vec<Rule> = rules.iter().map(|text| rule(text).unwrap()).collect();
        let mut changed = labels(before);
        let kept = relabel(&rules, &mut changed);
        assert_eq!(kept.then_some(changed), after.map(labels), "{rules:?} of {before}");
    }
}

#[test]
fn a_rule_that_cannot_work_is_refused_by_the_name_of_its_field() {
    for (text, word) in [
        (r#"{"action":"explode"}"#, "unknown relabel action"),
        (r#"{"action":"hashmod","target_label":"a"}"#, "modulus"),
        (r#"{}"#, "target_label"),
        (r#"{"regex":"(","target_label":"a"}"#, "regex"),
        (r#"{"action":"lowercase","target_label":"a","replacement":"x"}"#, "replacement"),
        (r#"{"action":"labeldrop","regex":"a","target_label":"b"}"#, "only 'regex'"),
        (r#"{"action":"labelkeep","regex":"a","source_labels":["b"]}"#, "only 'regex'"),
        (r#"{"action":"keepequal","target_label":"b","regex":"x"}"#, "source_labels"),
        (r#"{"action":"labelmap","regex":"a","replacement":""}"#, "replacement"),
    ] {
        let error = rule(text).unwrap_err();
        assert!(error.contains(word), "{text}: {error}");
    }
}
