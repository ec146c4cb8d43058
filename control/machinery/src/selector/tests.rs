use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn a_label_selector_is_written_as_it_is_understood() {
    let cases = [
        ("", ""),
        ("x", "x"),
        (" x , !y ", "x,!y"),
        ("x=a,y==b,z!=c", "x=a,y==b,z!=c"),
        ("z=1,a=2", "a=2,z=1"),
        ("x=,y", "x=,y"),
        ("x in (c,a,b,a)", "x in (a,b,c)"),
        ("x notin ()", "x notin ()"),
        ("x in (,a,)", "x in (,a)"),
        ("x in (,,)", "x in ()"),
        ("in in (in,notin)", "in in (in,notin)"),
        ("example.com/a>1,b<2", "b<2,example.com/a>1"),
        ("x\tin\n(a)", "x in (a)"),
    ];
    for (text, written) in cases {
        assert_eq!(LabelSelector::parse(text).unwrap().to_string(), written, "{text}");
    }
}

#[test]
fn labels_match_as_kubernetes_has_it() {
    let web = [("app", "web"), ("tier", ""), ("n", "7")];
    let cases = [
        ("", true),
        ("app", true),
        ("!app", false),
        ("!none", true),
        ("app=web", true),
        ("app==db", false),
        ("app!=db", true),
        ("none!=db", true),
        ("none=", false),
        ("tier=", true),
        ("tier", true),
        ("app in (db,web)", true),
        ("app in (db)", false),
        ("app notin (db)", true),
        ("none notin (db)", true),
        ("n>6,n<8", true),
        ("n>7", false),
        ("app>1", false),
        ("none<1", false),
        ("app=web,tier!=", false),
    ];
    for (text, expected) in cases {
        let selector = LabelSelector::parse(text).unwrap();
        assert_eq!(selector.matches(&labels(&web)), expected, "{text}");
        let object = json!({"app": "web", "tier": "", "n": "7"});
        assert_eq!(selector.matches(object.as_object().unwrap()), expected, "{text}");
    }
    assert!(LabelSelector::parse("!a").unwrap().matches(&None::<&BTreeMap<String, String>>));
}

#[test]
fn a_bad_label_selector_is_told_in_upstream_words() {
    let cases = [
        ("x y", "unable to parse requirement: found 'y', expected: in, notin, =, ==, !=, gt, lt"),
        ("x=a,", "found '', expected: identifier after ','"),
        ("=a", "found '=', expected: !, identifier, or 'end of string'"),
        ("!", "unable to parse requirement: found '', expected: identifier"),
        ("!x=a", "found '=', expected: ',' or 'end of string'"),
        ("x in a", "unable to parse requirement: found 'a', expected: '('"),
        ("x in (a b)", "unable to parse requirement: found 'b', expected: ',' or ')'"),
        ("x=a b", "found 'b', expected: ',' or 'end of string'"),
        ("x=(", "unable to parse requirement: found '(', expected: identifier"),
        (
            "x>a",
            "unable to parse requirement: values[0]: Invalid value: \"a\": for 'Gt', 'Lt' operators, the value \
             must be an integer",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(LabelSelector::parse(text).unwrap_err().to_string(), expected, "{text}");
    }
    let key = LabelSelector::parse("_=a").unwrap_err().to_string();
    assert!(
        key.starts_with(
            "unable to parse requirement: <nil>: Invalid value: \"_\": name part must consist of"
        ),
        "{key}"
    );
    let value = LabelSelector::parse("a=_").unwrap_err().to_string();
    assert!(value.contains("values[0][a]: Invalid value: \"_\": a valid label must be"), "{value}");
    assert_eq!(LabelSelector::parse(&"x".repeat(LENGTH_MAX + 1)), Err(Error::TooLong(LENGTH_MAX + 1)));
}

#[test]
fn an_object_selects_by_labels_and_expressions() {
    let object = json!({
        "matchLabels": {"app": "web"},
        "matchExpressions": [
            {"key": "tier", "operator": "In", "values": ["b", "a"]},
            {"key": "old", "operator": "DoesNotExist"},
            {"key": "new", "operator": "Exists", "values": []},
            {"key": "zone", "operator": "NotIn", "values": ["z"]},
        ],
    });
    let selector = LabelSelector::from_object(&object).unwrap();
    assert_eq!(selector.to_string(), "app=web,new,!old,tier in (a,b),zone notin (z)");
    assert!(selector.matches(&labels(&[("app", "web"), ("tier", "a"), ("new", "")])));
    assert!(!selector.matches(&labels(&[("app", "web"), ("tier", "a"), ("new", ""), ("zone", "z")])));
    assert!(LabelSelector::from_object(&json!({})).unwrap().is_everything());
    let nothing = LabelSelector::from_object(&Value::Null).unwrap();
    assert!(nothing.is_nothing() && !nothing.matches(&labels(&[])));
}

#[test]
fn an_object_that_is_no_selector_is_refused() {
    let cases = [
        (json!([]), "the whole of a label selector has the wrong type"),
        (json!({"matchLabels": {"a": 1}}), "matchLabels of a label selector"),
        (json!({"matchExpressions": {}}), "matchExpressions of a label selector"),
        (json!({"matchExpressions": [{"key": "a", "operator": "Near"}]}), r#""Near" is not a valid label"#),
        (
            json!({"matchExpressions": [{"key": "a", "operator": "In"}]}),
            "values: Invalid value: []: for 'in', 'notin'",
        ),
        (
            json!({"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}),
            "values set must be empty",
        ),
    ];
    for (object, expected) in cases {
        let error = LabelSelector::from_object(&object).unwrap_err().to_string();
        assert!(error.starts_with(expected) || error.contains(expected), "{error}");
    }
}

#[test]
fn a_field_selector_matches_and_tells_its_fields() {
    let selector =
        FieldSelector::parse("status.phase!=Running,metadata.name==a,,spec.x=p\\,q\\=r\\\\").unwrap();
    assert_eq!(selector.to_string(), "metadata.name=a,spec.x=p\\,q\\=r\\\\,status.phase!=Running");
    assert_eq!(selector.fields().collect::<Vec<_>>(), ["metadata.name", "spec.x", "status.phase"]);
    assert_eq!(selector.exact("metadata.name"), Some("a"));
    assert_eq!(selector.exact("status.phase"), None);
    let pod = |phase: &'static str| {
        move |field: &str| match field {
            "metadata.name" => Some("a".to_owned()),
            "spec.x" => Some("p,q=r\\".to_owned()),
            "status.phase" => Some(phase.to_owned()),
            _ => None,
        }
    };
    assert!(selector.matches(&pod("Pending")));
    assert!(!selector.matches(&pod("Running")));
    assert!(FieldSelector::parse("a=").unwrap().matches(&|_| None));
    assert!(FieldSelector::parse("").unwrap().is_everything());
}

#[test]
fn a_bad_field_selector_is_told_in_upstream_words() {
    let cases = [
        ("a", "invalid selector: 'a'; can't understand 'a'"),
        ("b=1,a", "invalid selector: 'b=1,a'; can't understand 'a'"),
        ("a=\\x", "invalid field selector: invalid escape sequence: \\x"),
        ("a=b\\", "invalid field selector: invalid escape sequence: \\"),
        ("a=b=c", "invalid field selector: unescaped character in value: 61"),
    ];
    for (text, expected) in cases {
        assert_eq!(FieldSelector::parse(text).unwrap_err().to_string(), expected, "{text}");
    }
}

proptest! {
    #[test]
    fn what_is_written_reads_the_same(text in "(!?[a-c]|[a-c](=|==|!=)[a-c]?|[a-c] (in|notin) \\([a-c]?(,[a-c])?\\))(,[a-c])?") {
        let selector = LabelSelector::parse(&text).unwrap();
        prop_assert_eq!(LabelSelector::parse(&selector.to_string()).unwrap(), selector);
    }

    #[test]
    fn any_value_survives_escaping(field in "[a-z.]{1,9}", value in "\\PC{0,20}") {
        let requirement = FieldRequirement { field: field.into(), value: value.into(), equal: true };
        let selector = FieldSelector::parse(&requirement.to_string()).unwrap();
        prop_assert_eq!(selector.requirements(), &[requirement]);
    }

    #[test]
    fn no_text_makes_the_parsers_panic(text in "[ab=!<>(),/ \\\\é\0]{0,40}") {
        let _ = LabelSelector::parse(&text);
        let _ = FieldSelector::parse(&text);
    }
}
