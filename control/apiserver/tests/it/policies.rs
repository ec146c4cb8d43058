//! Policies in the Common Expression Language, as the API server follows them.

use http::Method;
use serde_json::{Value, json};

use crate::server::Server;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const REGISTRATION: &str = "/apis/admissionregistration.k8s.io/v1";

fn config_map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

/// For the creation and change of ConfigMaps.
fn on_maps() -> Value {
    json!({"resourceRules": [{
        "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["CREATE", "UPDATE"],
    }]})
}

fn merged(mut object: Value, more: Value) -> Value {
    object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    object
}

async fn put(server: &Server, plural: &str, kind: &str, name: &str, spec: Value) -> Value {
    let object = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec,
    });
    let (code, answer) = server.create(&format!("{REGISTRATION}/{plural}"), &object).await;
    assert_eq!(code, 201, "{answer}");
    answer
}

/// A validating policy for ConfigMaps, bound as `b`.
async fn validate(server: &Server, spec: Value, binding: Value) {
    let spec = merged(json!({"matchConstraints": on_maps()}), spec);
    put(server, "validatingadmissionpolicies", "ValidatingAdmissionPolicy", "p", spec).await;
    let binding = merged(json!({"policyName": "p", "validationActions": ["Deny"]}), binding);
    put(server, "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", "b", binding).await;
}

/// A mutating policy for ConfigMaps, bound as `b`.
async fn change(server: &Server, name: &str, spec: Value) {
    let spec = merged(json!({"matchConstraints": on_maps(), "reinvocationPolicy": "Never"}), spec);
    put(server, "mutatingadmissionpolicies", "MutatingAdmissionPolicy", name, spec).await;
    let kind = "MutatingAdmissionPolicyBinding";
    put(server, "mutatingadmissionpolicybindings", kind, &format!("{name}-b"), json!({"policyName": name}))
        .await;
}

async fn told(server: &Server, name: &str, data: Value) -> (u16, String) {
    let (code, answer) = server.create(MAPS, &config_map(name, data)).await;
    (code, answer["message"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn what_a_policy_forbids_is_refused_with_its_message() {
    let server = Server::start().await;
    validate(
        &server,
        json!({"validations": [
            {"expression": "!has(object.data) || size(object.data) < 3", "message": "too much"},
             {"expression": "!has(object.data) || !('secret' in object.data)", "messageExpression": "'no ' + request.namespace + ' secrets'", "reason": "Forbidden"},
            {"expression": "object.metadata.name != 'odd'"},
        ]}),
        json!({}),
    )
    .await;
    let denied = |why: &str| format!("ValidatingAdmissionPolicy 'p' with binding 'b' denied request: {why}");
    let forbidden = |name: &str, why: &str| format!("configmaps \"{name}\" is forbidden: {}", denied(why));
    assert_eq!(told(&server, "a", json!({"x": "y"})).await.0, 201);
    assert_eq!(
        told(&server, "b", json!({"1": "", "2": "", "3": ""})).await,
        (422, forbidden("b", "too much"))
    );
    assert_eq!(told(&server, "c", json!({"secret": ""})).await, (403, forbidden("c", "no default secrets")));
    let failed = "failed expression: object.metadata.name != 'odd'";
    assert_eq!(told(&server, "odd", json!({})).await, (422, forbidden("odd", failed)));
    let (code, answer) = server.create(MAPS, &config_map("odd", json!({}))).await;
    assert_eq!((code, &answer["reason"]), (422, &json!("Invalid")));
    assert_eq!(answer["details"]["causes"], json!([{"message": denied(failed)}]));
}

#[tokio::test]
async fn a_policy_without_a_binding_does_nothing_and_its_actions_are_the_bindings() {
    let server = Server::start().await;
    validate(
        &server,
        json!({"validations": [{"expression": "false", "message": "never"}]}),
        json!({"validationActions": ["Warn", "Audit"]}),
    )
    .await;
    let request = http::Request::post(MAPS).header("content-type", "application/json");
    let body = http_body_util::Full::new(bytes::Bytes::from(config_map("a", json!({})).to_string()));
    let response = server.call(request.body(body).unwrap()).await;
    assert_eq!(response.status(), 201);
    assert_eq!(
        response.headers()["warning"],
        "299 - \"Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': never\""
    );
    let path = format!("{REGISTRATION}/validatingadmissionpolicybindings/b");
    assert_eq!(server.send(Method::DELETE, &path, "application/json", &json!({})).await.0, 200);
    let request = http::Request::post(MAPS).header("content-type", "application/json");
    let body = http_body_util::Full::new(bytes::Bytes::from(config_map("b", json!({})).to_string()));
    assert!(server.call(request.body(body).unwrap()).await.headers().get("warning").is_none());
}

#[tokio::test]
async fn variables_are_worked_out_in_their_order_and_only_where_they_are_read() {
    let server = Server::start().await;
    validate(
        &server,
        json!({
            "variables": [
                {"name": "count", "expression": "size(object.data)"},
                {"name": "twice", "expression": "variables.count * 2"},
                {"name": "broken", "expression": "1 / 0"},
            ],
            "validations": [{
                "expression": "variables.twice < 4 || variables.broken == 1",
                "messageExpression": "'twice is ' + string(variables.twice)",
            }],
        }),
        json!({}),
    )
    .await;
    assert_eq!(told(&server, "a", json!({"x": "y"})).await.0, 201);
    let (code, message) = told(&server, "b", json!({"x": "", "y": ""})).await;
    assert_eq!(code, 422);
    assert!(
        message.contains("composited variable \"broken\" fails to evaluate: division by zero"),
        "{message}"
    );
}

#[tokio::test]
async fn a_policy_that_cannot_be_followed_refuses_or_is_passed_over() {
    let server = Server::start().await;
    let broken = json!([{"expression": "object.data.none == 'x'"}]);
    validate(&server, json!({"validations": broken}), json!({})).await;
    let (code, message) = told(&server, "a", json!({"some": "x"})).await;
    assert_eq!(code, 422);
    assert!(
        message.ends_with(
            "denied request: expression 'object.data.none == 'x'' resulted in error: no such key: none"
        ),
        "{message}"
    );
    let path = format!("{REGISTRATION}/validatingadmissionpolicies/p");
    let ignore = json!({"spec": {"failurePolicy": "Ignore"}});
    assert_eq!(server.send(Method::PATCH, &path, "application/merge-patch+json", &ignore).await.0, 200);
    assert_eq!(told(&server, "a", json!({})).await.0, 201);
}

#[tokio::test]
async fn parameters_come_from_named_or_selected_objects() {
    let server = Server::start().await;
    let limit = |name: &str, most: &str| {
        let mut limit = config_map(name, json!({"most": most}));
        limit["metadata"]["labels"] = json!({"role": "limit"});
        limit
    };
    let spec = json!({
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "matchConditions": [{"name": "others", "expression": "!has(object.metadata.labels)"}],
        "validations": [{"expression": "size(object.data) <= int(params.data.most)", "messageExpression": "'at most ' + params.data.most"}],
    });
    validate(&server, spec, json!({"paramRef": {"name": "limit", "parameterNotFoundAction": "Deny"}})).await;
    let (code, message) = told(&server, "a", json!({})).await;
    assert_eq!(code, 422);
    assert!(message.ends_with("denied request: failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"), "{message}");
    let binding = format!("{REGISTRATION}/validatingadmissionpolicybindings/b");
    let allow = json!({"spec": {"paramRef": {"parameterNotFoundAction": "Allow"}}});
    assert_eq!(server.send(Method::PATCH, &binding, "application/merge-patch+json", &allow).await.0, 200);
    assert_eq!(server.create(MAPS, &limit("limit", "1")).await.0, 201);
    let (code, message) = told(&server, "b", json!({"1": "", "2": ""})).await;
    assert_eq!((code, message.ends_with("at most 1")), (422, true), "{message}");
    let select =
        json!({"spec": {"paramRef": {"name": null, "selector": {"matchLabels": {"role": "limit"}}}}});
    assert_eq!(server.send(Method::PATCH, &binding, "application/merge-patch+json", &select).await.0, 200);
    let path = format!("{MAPS}/limit");
    let raised = json!({"data": {"most": "3"}});
    assert_eq!(server.send(Method::PATCH, &path, "application/merge-patch+json", &raised).await.0, 200);
    assert_eq!(
        told(&server, "b", json!({"1": "", "2": ""})).await.0,
        201,
        "a change of a parameter counts at once"
    );
    assert_eq!(server.create(MAPS, &limit("other", "1")).await.0, 201);
    assert_eq!(
        told(&server, "c", json!({"1": "", "2": ""})).await.0,
        422,
        "each selected one must be satisfied"
    );
}

#[tokio::test]
async fn parameters_can_be_custom_resources_and_their_kind_must_be_served() {
    let server = Server::start().await;
    let spec = json!({
        "paramKind": {"apiVersion": "example.org/v1", "kind": "Limit"},
        "validations": [{"expression": "size(object.data) <= params.most"}],
    });
    validate(&server, spec, json!({"paramRef": {"name": "limit", "parameterNotFoundAction": "Allow"}})).await;
    let (code, message) = told(&server, "a", json!({"1": "", "2": ""})).await;
    assert_eq!(code, 422);
    assert!(message.ends_with("failed to configure policy: failed to find resource referenced by paramKind: 'example.org/v1, Kind=Limit'"), "{message}");
    server
        .define(&json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "limits.example.org"},
            "spec": {
                "group": "example.org", "scope": "Namespaced", "names": {"plural": "limits", "kind": "Limit"},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                    "type": "object", "properties": {"most": {"type": "integer"}},
                }}}],
            },
        }))
        .await;
    let limit =
        json!({"apiVersion": "example.org/v1", "kind": "Limit", "metadata": {"name": "limit"}, "most": 1});
    assert_eq!(server.create("/apis/example.org/v1/namespaces/default/limits", &limit).await.0, 201);
    assert_eq!(told(&server, "a", json!({"1": "", "2": ""})).await.0, 422);
    assert_eq!(told(&server, "a", json!({"1": ""})).await.0, 201);
}

#[tokio::test]
async fn expressions_can_ask_who_may_do_what() {
    let server = Server::start().await;
    validate(
        &server,
        json!({"validations": [
            {"expression": "authorizer.group('').resource('secrets').namespace('default').check('get').allowed() \
                            && authorizer.requestResource.check('create').allowed()"},
            {"expression": "!authorizer.serviceAccount('default', 'nobody').group('').resource('secrets').check('get').allowed()"},
        ]}),
        json!({}),
    )
    .await;
    let (code, message) = told(&server, "a", json!({})).await;
    assert_eq!(code, 201, "{message}");
}

#[tokio::test]
async fn changes_apply_as_configurations_and_as_patches() {
    let server = Server::start().await;
    change(
        &server,
        "a-apply",
        json!({"mutations": [{
            "patchType": "ApplyConfiguration",
            "applyConfiguration": {"expression": "Object{metadata: Object.metadata{labels: Object.metadata.labels{team: 'a'}}, data: Object.data{count: string(size(object.data))}}"},
        }]}),
    )
    .await;
    change(
        &server,
        "b-patch",
        json!({
            "variables": [{"name": "key", "expression": "'x/y'"}],
            "mutations": [
                {"patchType": "JSONPatch", "jsonPatch": {"expression":
                    "[JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey(variables.key), value: object.metadata.labels.team + '-2'}]"}},
                {"patchType": "JSONPatch", "jsonPatch": {"expression":
                    "[JSONPatch{op: 'test', path: '/data/none', value: 'x'}, JSONPatch{op: 'remove', path: '/data'}]"}},
            ],
        }),
    )
    .await;
    let (code, made) = server.create(MAPS, &config_map("one", json!({"k": "v"}))).await;
    assert_eq!(code, 201, "{made}");
    assert_eq!(made["data"], json!({"k": "v", "count": "1"}));
    assert_eq!(made["metadata"]["labels"], json!({"team": "a", "x/y": "a-2"}));
}

#[tokio::test]
async fn a_change_that_fails_is_told_and_policies_run_again_if_needed() {
    let server = Server::start().await;
    change(
        &server,
        "counts",
        json!({
            "reinvocationPolicy": "IfNeeded",
            "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression":
                "Object{metadata: Object.metadata{annotations: {'count': string(size(object.data))}}}"}}],
        }),
    )
    .await;
    change(
        &server,
        "fills",
        json!({"mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression":
            "[JSONPatch{op: 'add', path: '/data/more', value: 'x'}]"}}]}),
    )
    .await;
    let (code, made) = server.create(MAPS, &config_map("one", json!({"k": "v"}))).await;
    assert_eq!(code, 201, "{made}");
    assert_eq!(made["metadata"]["annotations"]["count"], "2", "{made}");
    change(
        &server,
        "wrong",
        json!({"mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": "[JSONPatch{op: 'remove', path: '/nowhere'}]"}}]}),
    )
    .await;
    let (code, answer) = server.create(MAPS, &config_map("two", json!({"k": "v"}))).await;
    assert_eq!((code, &answer["reason"]), (403, &json!("Invalid")));
    let message = answer["message"].as_str().unwrap();
    assert!(
        message.starts_with("policy 'wrong' with binding 'wrong-b' denied request: JSON Patch: "),
        "{message}"
    );
}

#[tokio::test]
async fn expressions_that_do_not_fit_their_kinds_are_told_in_the_status() {
    let server = Server::start().await;
    let spec = json!({
        "matchConstraints": {"resourceRules": [{
            "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"], "operations": ["CREATE"],
        }]},
        "variables": [{"name": "replicas", "expression": "object.spec.replicas"}],
        "validations": [
            {"expression": "variables.replicas < 5 && object.metadata.creationTimestamp < timestamp('2100-01-01T00:00:00Z')"},
            {"expression": "object.spec.replica < 5"},
            {"expression": "object.spec.replicas == 'five'"},
        ],
    });
    put(&server, "validatingadmissionpolicies", "ValidatingAdmissionPolicy", "typed", spec).await;
    let path = format!("{REGISTRATION}/validatingadmissionpolicies/typed");
    let mut status = json!(null);
    for _ in 0..500 {
        status = server.get(&path).await.1["status"].clone();
        if status["observedGeneration"] == 1 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let warnings = status["typeChecking"]["expressionWarnings"].as_array().cloned().unwrap_or_default();
    let places: Vec<_> = warnings.iter().map(|warning| warning["fieldRef"].as_str().unwrap()).collect();
    assert_eq!(places, ["spec.validations[1].expression", "spec.validations[2].expression"], "{status}");
    let told = warnings[0]["warning"].as_str().unwrap();
    assert!(
        told.starts_with(
            "apps/v1, Kind=Deployment: compilation failed: ERROR: <input>:1:12: undefined field 'replica'"
        ),
        "{told}"
    );
}

#[tokio::test]
async fn a_configuration_cannot_say_a_part_of_what_is_one_value() {
    let server = Server::start().await;
    let spec = json!({
        "matchConstraints": {"resourceRules": [{
            "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"],
        }]},
        "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression":
            "Object{spec: Object.spec{containers: [Object.spec.containers{name: 'c', command: ['sh']}]}}"}}],
    });
    change(&server, "atomic", spec).await;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    });
    let (code, answer) = server.create("/api/v1/namespaces/default/pods", &pod).await;
    assert_eq!(code, 403, "{answer}");
    let message = answer["message"].as_str().unwrap();
    let why = "error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: \
               .spec.containers[0].command";
    assert!(message.ends_with(why), "{message}");
}

#[tokio::test]
async fn who_wants_to_talk_to_a_pod_is_judged_by_what_they_ask_for() {
    let server = Server::start().await;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    });
    assert_eq!(server.create("/api/v1/namespaces/default/pods", &pod).await.0, 201);
    validate(
        &server,
        json!({
            "matchConstraints": {"resourceRules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods/exec"], "operations": ["CONNECT"],
            }]},
            "validations": [{"expression": "!('sh' in object.command) && !object.?tty.orValue(false)", "message": "no shells"}],
        }),
        json!({}),
    )
    .await;
    let ask = async |command: &str| {
        let path = format!("/api/v1/namespaces/default/pods/p/exec?{command}");
        server.raw(Method::POST, &path, "application/json", b"").await
    };
    let (code, answer) = ask("command=sh&stdin=true").await;
    assert_eq!(code, 422, "{answer}");
    assert!(answer["message"].as_str().unwrap().ends_with("denied request: no shells"), "{answer}");
    assert_ne!(ask("command=ls").await.0, 422);
}

#[tokio::test]
async fn an_expression_that_costs_too_much_is_stopped() {
    let server = Server::start().await;
    let all = "object.data.all(a, object.data.all(b, object.data.all(c, a != b || b != c || true)))";
    validate(&server, json!({"validations": [{"expression": all}]}), json!({})).await;
    let data: serde_json::Map<String, Value> =
        (0..200).map(|number| (format!("k{number}"), "".into())).collect();
    let (code, message) = told(&server, "a", data.into()).await;
    assert_eq!(code, 422);
    assert!(
        message.ends_with("resulted in error: operation cancelled: actual cost limit exceeded"),
        "{message}"
    );
}
