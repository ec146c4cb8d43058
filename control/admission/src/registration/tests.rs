use super::*;
use serde_json::json;

fn told(kind: &str, object: Value) -> Vec<String> {
    check(kind, &object, None).iter().map(ToString::to_string).collect()
}

fn webhook() -> Value {
    json!({
        "name": "a.example.org", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "clientConfig": {"url": "https://example.org/x"},
        "rules": [{"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}],
    })
}

fn policy(spec: Value) -> Value {
    let mut whole = json!({
        "matchConstraints": {"resourceRules": [
            {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]},
        ]},
        "validations": [{"expression": "true"}],
    });
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    json!({"spec": whole})
}

#[test]
fn webhooks_are_judged_when_they_are_written() {
    let kind = "ValidatingWebhookConfiguration";
    assert!(told(kind, json!({"webhooks": [webhook()]})).is_empty());
    let with = |path: &[&str], value: Value| {
        let mut hook = webhook();
        object::set(&mut hook, path, value);
        told(kind, json!({"webhooks": [hook]}))
    };
    for (path, value, why) in [
        (
            &["name"][..],
            json!("short"),
            "webhooks[0].name: Invalid value: \"short\": should be a domain with at least three segments separated by dots",
        ),
        (
            &["sideEffects"],
            json!("Some"),
            "webhooks[0].sideEffects: Unsupported value: \"Some\": supported values: \"None\", \"NoneOnDryRun\"",
        ),
        (
            &["timeoutSeconds"],
            json!(31),
            "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds",
        ),
        (
            &["clientConfig"],
            json!({}),
            "webhooks[0].clientConfig: Required value: exactly one of url or service is required",
        ),
        (
            &["clientConfig", "url"],
            json!("http://example.org"),
            "webhooks[0].clientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired format: https://host[/path]",
        ),
        (
            &["admissionReviewVersions"],
            json!(["v2"]),
            "webhooks[0].admissionReviewVersions: Invalid value: [\"v2\"]: must include at least one of v1, v1beta1",
        ),
    ] {
        assert_eq!(with(path, value), [why]);
    }
    let broken = with(&["matchConditions"], json!([{"name": "c", "expression": "object.x =="}]));
    assert!(broken[0].starts_with("webhooks[0].matchConditions[0].expression: Invalid value: \"object.x ==\": compilation failed: ERROR: <input>:1:12: Syntax error"), "{broken:?}");
    let twice = told(kind, json!({"webhooks": [webhook(), webhook()]}));
    assert_eq!(twice, ["webhooks[1].name: Duplicate value: \"a.example.org\""]);
}

#[test]
fn policies_are_judged_when_they_are_written() {
    let kind = "ValidatingAdmissionPolicy";
    assert!(told(kind, policy(json!({}))).is_empty());
    let typed = told(kind, policy(json!({"validations": [{"expression": "1 + 1"}]})));
    assert_eq!(
        typed,
        ["spec.validations[0].expression: Invalid value: \"1 + 1\": must evaluate to bool but got int"]
    );
    let unknown = told(kind, policy(json!({"validations": [{"expression": "params.x"}]})));
    assert!(unknown[0].contains("undeclared reference to 'params'"), "{unknown:?}");
    let known = json!({"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}, "validations": [{"expression": "params.x"}]});
    assert!(told(kind, policy(known)).is_empty());
    let variables = json!({"variables": [{"name": "1a", "expression": "1 +"}]});
    let wrong = told(kind, policy(variables));
    assert_eq!(wrong[0], "spec.variables[0].name: Invalid value: \"1a\": must be a valid CEL identifier");
    assert!(wrong[1].starts_with("spec.variables[0].expression: Invalid value: \"1 +\": compilation failed"));
    let mutation = json!({"mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": "'x'"}}], "reinvocationPolicy": "Never"});
    assert_eq!(
        told("MutatingAdmissionPolicy", policy(mutation)),
        [
            "spec.mutations[0].jsonPatch.expression: Invalid value: \"'x'\": must evaluate to list(JSONPatch) but got string"
        ]
    );
}

#[test]
fn bindings_say_what_they_do_and_where() {
    let kind = "ValidatingAdmissionPolicyBinding";
    assert_eq!(
        told(kind, json!({"spec": {"policyName": "p"}})),
        ["spec.validationActions: Required value: at least one validation action is required"]
    );
    let both = told(kind, json!({"spec": {"policyName": "p", "validationActions": ["Deny", "Warn"]}}));
    assert!(both[0].contains("must not contain both Deny and Warn"), "{both:?}");
}
