use super::*;

fn errors(text: &str) -> Vec<String> {
    parse(text, UnknownFields::Refused, ParserOptions::default()).err().unwrap_or_default()
}

/// A group `g` with these rules.
fn group(rules: &str) -> String {
    format!("groups:\n- name: g\n  rules:\n{rules}")
}

#[test]
fn fields_that_nobody_knows_are_refused_with_their_lines() {
    let rule = group("  - alert: a\n    expr: 1\n    annotation:\n      x: y\n");
    assert_eq!(
        errors(&rule),
        ["yaml: unmarshal errors:\n  line 6: field annotation not found in type rulefmt.Rule"]
    );
    assert_eq!(
        errors("groups:\n- name: g\n  rulez: []\nfoo: 1\n"),
        ["yaml: unmarshal errors:\n  line 3: field rulez not found in type rulefmt.RuleGroup\n  \
          line 4: field foo not found in type rulefmt.RuleGroups"]
    );
    assert!(parse(&rule, UnknownFields::Ignored, ParserOptions::default()).is_ok());
}

#[test]
fn what_cannot_be_is_told_with_its_place() {
    for (text, expected) in [
        (
            "groups:\n- name: g\n- name: g\n- rules: []\n".to_owned(),
            &["0:0: groupname: \"g\" is repeated in the same file", "0:0: Groupname must not be empty"][..],
        ),
        (
            group("  - record: a\n    alert: b\n    expr: 1\n  - expr: up\n  - record: x\n"),
            &[
                "4:13: 5:12: group \"g\", rule 1, \"b\": only one of 'record' and 'alert' must be set",
                "0:0: 0:0: group \"g\", rule 2, \"\": one of 'record' or 'alert' must be set",
                "0:0: group \"g\", rule 3, \"x\": field 'expr' must be set in rule",
            ],
        ),
        (
            group(
                "  - record: a\n    expr: rate(hi)\n  - record: b\n    expr: |\n      sum(\n        up[5m])\n",
            ),
            &[
                "5:11: group \"g\", rule 1, \"a\": could not parse expression: 1:6: parse error: expected type range \
                 vector in call to function \"rate\", got instant vector",
                "7:11: group \"g\", rule 2, \"b\": could not parse expression: 2:3: parse error: expected type \
                 instant vector in aggregation expression, got range vector",
            ],
        ),
        (
            group(
                "  - record: 'a{b=\"c\"}'\n    expr: up\n    for: 1m\n    keep_firing_for: 2m\n    annotations:\n\
                 \u{20}     a: b\n    labels:\n      __name__: x\n",
            ),
            &[
                "4:13: group \"g\", rule 1, \"a{b=\\\"c\\\"}\": invalid field 'annotations' in recording rule",
                "4:13: group \"g\", rule 1, \"a{b=\\\"c\\\"}\": invalid field 'for' in recording rule",
                "4:13: group \"g\", rule 1, \"a{b=\\\"c\\\"}\": invalid field 'keep_firing_for' in recording rule",
                "4:13: group \"g\", rule 1, \"a{b=\\\"c\\\"}\": braces present in the recording rule name; should it \
                 be in expr?: a{b=\"c\"}",
                "group \"g\", rule 1, \"a{b=\\\"c\\\"}\": invalid label name: __name__",
            ],
        ),
        (
            "groups:\n- name: g\n  interval: 5x\n  rules: []\n".to_owned(),
            &["unknown unit \"x\" in duration \"5x\"", "unknown unit \"x\" in duration \"5x\""],
        ),
        (
            "groups:\n- name: g\n  limit: many\n  rules:\n  - record: [a]\n    expr: {a: b}\n    labels: 5\n"
                .to_owned(),
            &[
                "yaml: unmarshal errors:\n  line 3: cannot unmarshal !!str `many` into int\n  \
                 line 5: cannot unmarshal !!seq into string\n  line 6: cannot unmarshal !!map into string\n  \
                 line 7: cannot unmarshal !!int `5` into map[string]string",
                "yaml: unmarshal errors:\n  line 3: cannot unmarshal !!str `many` into int\n  \
                 line 7: cannot unmarshal !!int `5` into map[string]string",
            ],
        ),
        (
            group("  - record: a\n    expr: up\n    expr: down\n"),
            &[
                "yaml: unmarshal errors:\n  line 6: mapping key \"expr\" already defined at line 5",
                "yaml: unmarshal errors:\n  line 6: mapping key \"expr\" already defined at line 5",
            ],
        ),
        (
            group(
                "  - alert: a\n    expr: up\n    labels:\n      x: '{{ $label.x }}'\n    annotations:\n\
                 \u{20}     y: '{{ nope }}'\n      z: '{{ if }}'\n",
            ),
            &[
                "group \"g\", rule 1, \"a\": label \"x\": template: __alert_a:1: undefined variable \"$label\"",
                "group \"g\", rule 1, \"a\": annotation \"y\": template: __alert_a:1: function \"nope\" not defined",
                "group \"g\", rule 1, \"a\": annotation \"z\": template: __alert_a:1: missing value for if",
            ],
        ),
        (
            "- a\n".to_owned(),
            &[
                "yaml: unmarshal errors:\n  line 1: cannot unmarshal !!seq into rulefmt.RuleGroups",
                "yaml: unmarshal errors:\n  line 1: cannot unmarshal !!seq into rulefmt.ruleGroups",
            ],
        ),
        (
            group(
                "  - &x\n    alert: a\n    expr: up ==\n    for: 1m\n  - <<: *x\n    alert: b\n  - alert: c\n    \
                 expr: &e 'up{'\n  - alert: d\n    expr: *e\n",
            ),
            &[
                "6:11: group \"g\", rule 1, \"a\": could not parse expression: 1:6: parse error: unexpected end of input",
                "6:11: group \"g\", rule 2, \"b\": could not parse expression: 1:6: parse error: unexpected end of input",
                "11:11: group \"g\", rule 3, \"c\": could not parse expression: 1:4: parse error: unexpected end of \
                 input inside braces",
                "13:11: group \"g\", rule 4, \"d\": could not parse expression: 1:4: parse error: unexpected end of \
                 input inside braces",
            ],
        ),
    ] {
        assert_eq!(errors(&text), expected, "{text}");
    }
}

#[test]
fn a_file_may_say_little_and_odd_things() {
    for text in ["", "groups:\n", "groups: []\n", "groups:\n- name: g\n  rules:\n  -\n  - ~\n"] {
        assert_eq!(errors(text), Vec::<String>::new(), "{text}");
    }
    let text = "groups:\n- name: 12\n  labels: {a: 1.50, b: true}\n  limit: 0x10\n  rules:\n  - record: r\n    expr: 1\n    \
                labels: {b: x}\n";
    let groups = parse(text, UnknownFields::Refused, ParserOptions::default()).unwrap();
    let group = &groups[0];
    assert_eq!((group.name.as_str(), group.limit), ("12", 16));
    let labels = group.labels_of(&group.rules[0]);
    assert_eq!(labels, [("a".to_owned(), "1.50".to_owned()), ("b".to_owned(), "x".to_owned())].into());
    for text in ["groups: [\n", "groups:\n- name: *nope\n", "groups:\n- name: g\n   rules: []\n"] {
        assert!(errors(text)[0].starts_with("yaml: "), "{text}");
    }
}

#[test]
fn rules_that_stand_twice_are_found() {
    let text = group(
        "  - record: a\n    expr: 1\n  - record: a\n    expr: 2\n  - record: a\n    expr: 3\n    labels: {x: y}\n",
    );
    let groups = parse(&text, UnknownFields::Refused, ParserOptions::default()).unwrap();
    let twice = duplicates(&groups);
    assert_eq!((twice.len(), twice[0].name.as_str()), (1, "a"));
}

#[test]
fn huge_files_are_read_or_refused_with_reasons() {
    let many: String =
        (0..5000).map(|at| format!("- name: g{at}\n  rules:\n  - record: r{at}\n    expr: up\n")).collect();
    let groups = parse(&format!("groups:\n{many}"), UnknownFields::Refused, ParserOptions::default());
    assert_eq!(groups.unwrap().len(), 5000);
    let too_many = "- name: g\n".repeat(MOST_GROUPS + 1);
    assert!(errors(&format!("groups:\n{too_many}"))[0].contains("split the file"));
    let bomb = format!(
        "groups:\n- name: g\n  labels: &l\n{}  rules:\n{}",
        (0..5_000).map(|at| format!("    l{at}: x\n")).collect::<String>(),
        "  - {record: a, expr: b, labels: *l}\n".repeat(5_000)
    );
    assert_eq!(errors(&bomb), ["yaml: document contains excessive aliasing"]);
    assert!(errors(&"x".repeat(MOST_BYTES + 1))[0].contains("over the limit"));
}
