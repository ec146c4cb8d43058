use super::*;

const RULES: &str = r#"
groups:
- name: alerts
  rules:
  - alert: InstanceDown
    expr: up == 0
    for: 5m
    labels: {severity: page}
    annotations: {summary: "{{ $labels.instance }} is down in {{ $externalLabels.zone }}"}
- name: records
  rules:
  - record: job:test:count
    expr: sum without(instance) (count_over_time(test[1m]))
  - record: fixed
    expr: 1
"#;

fn run_tests(tests: &str) -> Result<Vec<String>, String> {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("rules.yml"), RULES).unwrap();
    let path = directory.path().join("test.yml");
    std::fs::write(&path, tests).unwrap();
    run(&path, &Options::default()).map(|report| report.failures)
}

#[test]
fn good_tests_pass() {
    let tests = r#"
rule_files: ["rules*.yml"]
evaluation_interval: 1m
tests:
- name: alerts
  interval: 1m
  external_labels: {zone: z}
  input_series:
  - series: 'up{instance="a"}'
    values: '0x10'
  alert_rule_test:
  - eval_time: 4m
    alertname: InstanceDown
  - eval_time: 5m
    alertname: InstanceDown
    exp_alerts:
    - exp_labels: {severity: page, instance: a}
      exp_annotations: {summary: a is down in z}
  promql_expr_test:
  - expr: ALERTS
    eval_time: 6m
    exp_samples:
    - labels: 'ALERTS{alertname="InstanceDown",alertstate="firing",instance="a",severity="page"}'
      value: 1
- input_series:
  - {series: 'test{job="j",instance="x"}', values: 1 2 3}
  - {series: h, values: '{{sum:3 count:2 buckets:[2]}}+{{sum:1.3 count:1 buckets:[1]}}x2'}
  start_timestamp: 2024-01-01T00:00:00Z
  promql_expr_test:
  - {expr: 'job:test:count', eval_time: 2m, exp_samples: [{labels: 'job:test:count{job="j"}', value: 1}]}
  - {expr: time(), eval_time: 2m, exp_samples: [{value: 1704067320}]}
  - {expr: fixed, exp_samples: [{labels: fixed, value: 1}]}
  - expr: h
    eval_time: 2m
    exp_samples: [{labels: h, histogram: '{{count:4 sum:5.6 counter_reset_hint:not_reset buckets:[4]}}'}]
"#;
    assert_eq!(run_tests(tests), Ok(Vec::new()));
}

#[test]
fn what_differs_is_told() {
    let tests = r#"
rule_files: [rules.yml]
tests:
- name: differs
  input_series: [{series: 'up{instance="a"}', values: 0x10}]
  alert_rule_test:
  - {eval_time: 5m, alertname: InstanceDown, exp_alerts: []}
  promql_expr_test:
  - {expr: fixed, eval_time: 1m, exp_samples: [{labels: fixed, value: 2.5}]}
  - {expr: 'up[', eval_time: 1m}
"#;
    assert_eq!(
        run_tests(tests).unwrap(),
        [
            "    name: differs,\n    alertname: InstanceDown, time: 5m, \n        exp:[], \n        got:[\n            0:\n\
             \u{20}             Labels:{alertname=\"InstanceDown\", instance=\"a\", severity=\"page\"}\n\
             \u{20}             Annotations:{summary=\"a is down in \"}\n            ]",
            "    expr: \"fixed\", time: 1m,\n        exp: {__name__=\"fixed\"} 2.5E+00\n        got: {__name__=\"fixed\"} \
             1E+00",
            "    expr: \"up[\", time: 1m, err: 1:4: parse error: unexpected end of input in duration expression",
        ]
    );
}

#[test]
fn numbers_may_be_compared_loosely() {
    let tests = "fuzzy_compare: FUZZY\ntests:\n- input_series: [{series: a, values: 2.9999999999999996}]\n  promql_expr_test:\n\
                 \u{20} - {expr: a, exp_samples: [{labels: a, value: 3}]}\n";
    assert_eq!(run_tests(&tests.replace("FUZZY", "true")), Ok(Vec::new()));
    assert_eq!(run_tests(&tests.replace("FUZZY", "false")).unwrap().len(), 1);
}

#[test]
fn rules_that_fail_end_a_test() {
    let tests = "rule_files: [rules.yml]\ntests:\n- input_series:\n  - {series: 'test{instance=\"a\",__name__=\"x\"}', values: '1'}\n\
                 \u{20} promql_expr_test: [{expr: 'sum(', eval_time: 0}]\n";
    assert_eq!(run_tests(tests).unwrap().len(), 1);
    assert!(run_tests("tests: [{nope: 1}]").is_err());
    let broken = run_tests("tests: [{input_series: [{series: 'a{', values: 1}]}]").unwrap();
    assert!(broken[0].contains("parse error"), "{broken:?}");
    assert!(run_tests("group_eval_order: [a, a]").unwrap_err().contains("repeated"));
    let endless = "evaluation_interval: 1ms\ntests: [{promql_expr_test: [{expr: '1', eval_time: 1y}]}]";
    assert!(run_tests(endless).unwrap()[0].contains("lengthen evaluation_interval"));
}

#[test]
fn times_are_read() {
    for (text, millis) in [
        ("2024-01-01T00:00:00Z", 1_704_067_200_000),
        ("2024-02-29T12:30:15.25+01:30", 1_709_204_415_250),
        ("1970-01-01T00:00:00Z", 0),
        ("1609459200", 1_609_459_200_000),
    ] {
        assert_eq!(timestamp(text), Ok(millis), "{text}");
    }
    assert!(timestamp("yesterday").is_err());
    assert_eq!(
        (text::go_duration(90_500), text::go_duration(3_600_000)),
        ("1m30.5s".into(), "1h0m0s".into())
    );
}
