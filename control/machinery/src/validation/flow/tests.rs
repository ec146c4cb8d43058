use super::*;
use crate::{defaults, validation};

fn judged(kind: &str, name: &str, spec: Value) -> Vec<String> {
    let mut object = json!({"metadata": {"name": name}, "spec": spec});
    defaults::apply(crate::flow::GROUP, "v1", kind, &mut object);
    let errors = validation::validate_create(crate::flow::GROUP, "v1", kind, &object);
    errors.iter().map(ToString::to_string).collect()
}

fn schema_with(rule: Value) -> Value {
    json!({"priorityLevelConfiguration": {"name": "x"}, "rules": [rule]})
}

#[test]
fn a_schema_says_who_asks_for_what_and_where_it_goes() {
    let user = json!({"kind": "User", "user": {"name": "jane"}});
    let all = json!({"verbs": ["*"], "nonResourceURLs": ["*"]});
    let good = schema_with(json!({"subjects": [user], "nonResourceRules": [all]}));
    assert_eq!(judged("FlowSchema", "x", good.clone()), [""; 0]);
    let with = |change: fn(&mut Value)| {
        let mut spec = good.clone();
        change(&mut spec);
        judged("FlowSchema", "x", spec)
    };
    assert_eq!(
        with(|spec| spec["matchingPrecedence"] = 1.into()),
        [
            "spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1"
        ]
    );
    assert_eq!(
        with(|spec| spec["matchingPrecedence"] = 10_001.into()),
        ["spec.matchingPrecedence: Invalid value: 10001: must not be greater than 10000"]
    );
    assert_eq!(
        with(|spec| spec["priorityLevelConfiguration"] = json!({"name": ""})),
        ["spec.priorityLevelConfiguration.name: Required value: must reference a priority level"]
    );
    assert_eq!(
        with(|spec| spec["rules"][0]["subjects"] = json!([])),
        ["spec.rules[0].subjects: Required value: subjects must contain at least one value"]
    );
    assert_eq!(
        with(|spec| spec["rules"][0]["subjects"][0]["group"] = json!({"name": "g"})),
        ["spec.rules[0].subjects[0].group: Forbidden: group is forbidden when subject kind is not 'Group'"]
    );
    assert_eq!(
        with(|spec| spec["rules"][0]["nonResourceRules"][0]["verbs"] = json!(["*", "get"])),
        [
            r#"spec.rules[0].nonResourceRules[0].verbs: Invalid value: ["*","get"]: if '*' is present, must not specify other verbs"#
        ]
    );
    assert_eq!(
        with(|spec| spec["rules"][0]["nonResourceRules"][0]["nonResourceURLs"] = json!(["/a*b", "//", "x"]))
            .len(),
        3
    );
}

#[test]
fn resources_are_named_with_where_they_are() {
    let account = json!({"kind": "ServiceAccount", "serviceAccount": {"name": "*"}});
    let rule = json!({"verbs": ["fly"], "apiGroups": [], "resources": ["*", "pods"]});
    let errors =
        judged("FlowSchema", "x", schema_with(json!({"subjects": [account], "resourceRules": [rule]})));
    assert_eq!(
        errors,
        [
            "spec.rules[0].subjects[0].serviceAccount.namespace: Required value: must specify namespace for service account",
            r#"spec.rules[0].resourceRules[0].verbs: Unsupported value: ["fly"]: supported values: "create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch""#,
            "spec.rules[0].resourceRules[0].apiGroups: Required value: resource rules must supply at least one api group",
            r#"spec.rules[0].resourceRules[0].resources: Invalid value: ["*","pods"]: if '*' is present, must not specify other resources"#,
            "spec.rules[0].resourceRules[0].namespaces: Required value: resource rules that are not cluster scoped must supply at least one namespace",
        ]
    );
}

#[test]
fn a_level_is_limited_and_queues_or_rejects() {
    let queue = |queues: i64, hand: i64| json!({"type": "Limited", "limited": {"limitResponse": {"type": "Queue", "queuing": {"queues": queues, "handSize": hand}}}});
    assert_eq!(judged("PriorityLevelConfiguration", "x", queue(64, 8)), [""; 0]);
    let path = "spec.limited.limitResponse.queuing";
    assert_eq!(
        judged("PriorityLevelConfiguration", "x", queue(4, 5)),
        [format!("{path}.handSize: Invalid value: 5: should not be greater than queues (4)")]
    );
    assert_eq!(
        judged("PriorityLevelConfiguration", "x", queue(512, 8)),
        [format!(
            "{path}.handSize: Invalid value: 8: required entropy bits of deckSize 512 and handSize 8 should not be greater than 60"
        )]
    );
    assert_eq!(
        judged("PriorityLevelConfiguration", "x", json!({"type": "Exempt"})),
        ["spec.type: Invalid value: \"Exempt\": must be 'Exempt' if and only if `name` is 'exempt'"]
    );
    assert_eq!(
        judged("PriorityLevelConfiguration", "x", json!({"type": "Limited"})),
        ["spec.limited: Required value: must not be empty when type is Limited"]
    );
    let percents = json!({"type": "Limited", "limited": {
        "nominalConcurrencyShares": -1, "lendablePercent": 101, "borrowingLimitPercent": -1, "limitResponse": {"type": "Reject"},
    }});
    assert_eq!(judged("PriorityLevelConfiguration", "x", percents).len(), 3);
}

#[test]
fn what_requests_cannot_do_without_stays_as_it_is() {
    let mut catch_all = mandatory("PriorityLevelConfiguration", "catch-all").unwrap();
    catch_all["spec"]["limited"]["nominalConcurrencyShares"] = 6.into();
    let errors = judged("PriorityLevelConfiguration", "catch-all", catch_all["spec"].clone());
    assert!(errors[0].ends_with("spec of 'catch-all' must equal the fixed value"), "{errors:?}");
    let lends = json!({"type": "Exempt", "exempt": {"nominalConcurrencyShares": 5, "lendablePercent": 50}});
    assert_eq!(judged("PriorityLevelConfiguration", "exempt", lends), [""; 0]);
}
