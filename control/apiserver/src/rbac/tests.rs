use serde_json::json;

use super::*;
use crate::authorizer::Attributes;

fn rule(of: Value) -> Rule {
    Rule::read(&of)
}

fn pods(verb: &'static str, subresource: &'static str, name: &'static str) -> Asked<'static> {
    Asked::Resource(Attributes { verb, resource: "pods", subresource, name, ..Attributes::default() })
}

#[test]
fn a_rule_allows_its_verbs_on_its_resources() {
    let reads = rule(json!({"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "*/scale"]}));
    assert!(reads.allows(&pods("get", "", "a")));
    assert!(!reads.allows(&pods("delete", "", "a")));
    assert!(!reads.allows(&pods("get", "log", "a")), "a subresource is a resource of its own");
    assert!(reads.allows(&pods("get", "scale", "a")));
    let other =
        Asked::Resource(Attributes { verb: "get", group: "apps", resource: "pods", ..Attributes::default() });
    assert!(!reads.allows(&other));
    let everything = rule(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}));
    assert!(everything.allows(&pods("burn", "log", "")) && everything.allows(&other));
    assert!(!everything.allows(&Asked::Path { verb: "get", path: "/metrics" }));
}

#[test]
fn a_rule_with_names_allows_them_alone() {
    let named =
        rule(json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["a"]}));
    assert!(named.allows(&pods("get", "", "a")));
    assert!(!named.allows(&pods("get", "", "b")));
    assert!(!named.allows(&pods("get", "", "")), "what has no name is not one of the names");
}

#[test]
fn a_path_is_allowed_by_itself_or_by_its_beginning() {
    let paths = rule(json!({"verbs": ["get"], "nonResourceURLs": ["/healthz", "/openapi/*"]}));
    let ask = |verb, path| paths.allows(&Asked::Path { verb, path });
    assert!(ask("get", "/healthz") && ask("get", "/openapi/v3"));
    assert!(!ask("get", "/healthz/etcd") && !ask("post", "/healthz") && !ask("get", "/openapi"));
    assert!(!paths.allows(&pods("get", "", "")));
}

#[test]
fn what_is_not_covered_is_told_with_its_verbs_together() {
    let held = [
        rule(json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods", "secrets"]})),
        rule(json!({"verbs": ["list"], "apiGroups": ["*"], "resources": ["*"], "resourceNames": ["a"]})),
    ];
    let wanted = [rule(json!({"verbs": ["get", "list", "watch"], "apiGroups": [""], "resources": ["pods"]}))];
    let lacking = compact(missing(&held, &wanted));
    let texts: Vec<String> = lacking.iter().map(ToString::to_string).collect();
    assert_eq!(texts, [r#"{APIGroups:[""], Resources:["pods"], Verbs:["list" "watch"]}"#]);
    let named =
        [rule(json!({"verbs": ["list"], "apiGroups": ["x"], "resources": ["y"], "resourceNames": ["a"]}))];
    assert_eq!(missing(&held, &named), []);
    let all = [rule(json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}))];
    assert_eq!(missing(&all, &wanted), []);
    assert_eq!(missing(&held, &all).len(), 1);
    let paths = [rule(json!({"verbs": ["get"], "nonResourceURLs": ["/a/*"]}))];
    assert_eq!(
        missing(&paths, &[rule(json!({"verbs": ["get"], "nonResourceURLs": ["/a/b", "/a/b/*"]}))]),
        []
    );
    assert_eq!(missing(&paths, &[rule(json!({"verbs": ["get"], "nonResourceURLs": ["*"]}))]).len(), 1);
}

#[test]
fn a_rule_is_written_as_it_was_read() {
    let given = json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["a"]});
    assert_eq!(rule(given.clone()).write(), given);
    let paths = json!({"verbs": ["get"], "nonResourceURLs": ["/x"]});
    assert_eq!(rule(paths.clone()).write(), paths);
}
