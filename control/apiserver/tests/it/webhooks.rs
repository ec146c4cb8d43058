//! Webhooks as the API server calls them.

use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};

use crate::hook::{Hook, Reply, allow, patched};
use crate::server::Server;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const REGISTRATION: &str = "/apis/admissionregistration.k8s.io/v1";

fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "b"}})
}

/// Registers webhooks; `kind` is `Mutating` or `Validating`.
async fn register(server: &Server, kind: &str, name: &str, hooks: &[Value]) {
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": format!("{kind}WebhookConfiguration"),
        "metadata": {"name": name}, "webhooks": hooks,
    });
    let path = format!("{REGISTRATION}/{}webhookconfigurations", kind.to_lowercase());
    let (code, answer) = server.create(&path, &configuration).await;
    assert_eq!(code, 201, "{answer}");
}

fn with(mut hook: Value, more: Value) -> Value {
    hook.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    hook
}

/// Creates a ConfigMap and gives the code and the message.
async fn told(server: &Server, name: &str) -> (u16, String) {
    let (code, answer) = server.create(MAPS, &config_map(name)).await;
    (code, answer["message"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_hook_sees_the_whole_request_and_changes_the_object() {
    let server = Server::start().await;
    let hook = Hook::start(|_| patched(&json!([{"op": "add", "path": "/data/more", "value": "c"}]))).await;
    register(&server, "Mutating", "m", &[hook.webhook("a.example.org")]).await;
    let (code, made) = server.create(&format!("{MAPS}?fieldManager=me"), &config_map("one")).await;
    assert_eq!((code, &made["data"]), (201, &json!({"a": "b", "more": "c"})));
    let review = &hook.seen()[0];
    assert_eq!(
        (&review["kind"], &review["apiVersion"]),
        (&json!("AdmissionReview"), &json!("admission.k8s.io/v1"))
    );
    assert_eq!(review["uri"], "/judge?timeout=10s");
    let request = &review["request"];
    assert_eq!(request["kind"], json!({"group": "", "version": "v1", "kind": "ConfigMap"}));
    assert_eq!(request["resource"], json!({"group": "", "version": "v1", "resource": "configmaps"}));
    assert_eq!(request["operation"], "CREATE");
    assert_eq!(request["namespace"], "default");
    assert_eq!(request["userInfo"]["username"], "tester");
    assert_eq!(request["object"]["data"], json!({"a": "b"}));
    assert_eq!((&request["oldObject"], &request["dryRun"]), (&json!(null), &json!(false)));
    assert_eq!(request["options"]["kind"], "CreateOptions");
    assert_eq!(request["options"]["fieldManager"], "me");
}

#[tokio::test]
async fn a_refusal_comes_in_the_hooks_words_and_its_warnings_are_passed_on() {
    let server = Server::start().await;
    let hook = Hook::start(|review| match review["request"]["object"]["metadata"]["name"].as_str() {
        Some("odd") => Reply::Response(json!({
            "allowed": false, "status": {"code": 418, "reason": "Teapot", "message": "no coffee"}, "warnings": ["hot"],
        })),
        Some("mute") => Reply::Response(json!({"allowed": false})),
        _ => Reply::Response(json!({"allowed": true, "warnings": ["mind the gap", "mind the gap"]})),
    })
    .await;
    register(&server, "Validating", "v", &[hook.webhook("a.example.org")]).await;
    let (code, answer) = server.create(MAPS, &config_map("odd")).await;
    assert_eq!((code, &answer["reason"]), (418, &json!("Teapot")));
    assert_eq!(answer["message"], "admission webhook \"a.example.org\" denied the request: no coffee");
    let denied = "admission webhook \"a.example.org\" denied the request without explanation";
    assert_eq!(told(&server, "mute").await, (400, denied.to_owned()));
    let request = http::Request::post(MAPS).header("content-type", "application/json");
    let body = http_body_util::Full::new(bytes::Bytes::from(config_map("fine").to_string()));
    let response = server.call(request.body(body).unwrap()).await;
    let warnings: Vec<_> = response.headers().get_all("warning").iter().collect();
    assert_eq!(warnings, ["299 - \"mind the gap\""]);
}

#[tokio::test]
async fn hooks_that_hang_lie_or_answer_rubbish_are_told_in_upstreams_words() {
    let server = Server::start().await;
    let failed = "Internal error occurred: failed calling webhook \"a.example.org\": ";
    for (number, (reply, why)) in [
        (Reply::Raw(200, "hello"), "failed to call webhook: couldn't get version/kind; json parse error: invalid character 'h'"),
        (Reply::Raw(200, "{}"), "received invalid webhook response: webhook response was absent"),
        (Reply::Raw(200, r#"{"response": {"uid": "x", "allowed": true}}"#), "received invalid webhook response: expected response.uid="),
        (Reply::Raw(500, "boom"), "failed to call webhook: an error on the server (\"boom\") has prevented the request from succeeding"),
        (Reply::Raw(404, ""), "failed to call webhook: the server could not find the requested resource"),
        (Reply::Hangup, "failed to call webhook: Post \"https://localhost:PORT/judge?timeout=1s\": EOF"),
        (Reply::Silence, "failed to call webhook: Post \"https://localhost:PORT/judge?timeout=1s\": context deadline exceeded"),
    ]
    .into_iter()
    .enumerate()
    {
        let reply = std::sync::Mutex::new(Some(reply));
        let hook = Hook::start(move |_| reply.lock().unwrap().take().unwrap_or(Reply::Silence)).await;
        let hooks = [with(hook.webhook("a.example.org"), json!({"timeoutSeconds": 1}))];
        register(&server, "Validating", "v", &hooks).await;
        let begun = Instant::now();
        let (code, message) = told(&server, &format!("m{number}")).await;
        assert_eq!(code, 500, "{message}");
        let wanted = format!("{failed}{}", why.replace("PORT", &hook.port().to_string()));
        assert!(message.starts_with(&wanted), "{message}\n{wanted}");
        assert!(begun.elapsed() < Duration::from_secs(5));
        let path = format!("{REGISTRATION}/validatingwebhookconfigurations/v");
        assert_eq!(server.send(Method::DELETE, &path, "application/json", &json!({})).await.0, 200);
        assert_eq!(told(&server, &format!("free{number}")).await.0, 201, "it is asked no longer");
    }
}

#[tokio::test]
async fn a_hook_that_may_fail_is_done_without() {
    let server = Server::start().await;
    let hook = Hook::start(|_| Reply::Raw(500, "boom")).await;
    let open = json!({"failurePolicy": "Ignore"});
    register(&server, "Validating", "v", &[with(hook.webhook("a.example.org"), open.clone())]).await;
    register(&server, "Mutating", "m", &[with(hook.webhook("b.example.org"), open)]).await;
    assert_eq!(told(&server, "one").await.0, 201);
    assert_eq!(hook.seen().len(), 2);
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused() {
    let server = Server::start().await;
    let (hook, other) = (Hook::start(|_| allow()).await, Hook::start(|_| allow()).await);
    let mut webhook = hook.webhook("a.example.org");
    webhook["clientConfig"]["caBundle"] = other.bundle().into();
    register(&server, "Validating", "v", &[webhook]).await;
    let (code, message) = told(&server, "one").await;
    assert_eq!(code, 500);
    assert!(message.contains("tls: failed to verify certificate: x509:"), "{message}");
    assert!(hook.seen().is_empty());
}

#[tokio::test]
async fn hooks_run_in_order_and_once_more_if_needed() {
    let server = Server::start().await;
    // The first marks what it sees; the second adds a field that the first has to see.
    let first = Hook::start(|review| {
        let count = review["request"]["object"]["data"].as_object().map_or(0, serde_json::Map::len);
        patched(
            &json!([{"op": "add", "path": "/metadata/annotations", "value": {"count": count.to_string()}}]),
        )
    })
    .await;
    let second = Hook::start(|_| patched(&json!([{"op": "add", "path": "/data/more", "value": "c"}]))).await;
    let again = json!({"reinvocationPolicy": "IfNeeded"});
    register(&server, "Mutating", "b-later", &[second.webhook("second.example.org")]).await;
    register(&server, "Mutating", "a-sooner", &[with(first.webhook("first.example.org"), again)]).await;
    let (code, made) = server.create(MAPS, &config_map("one")).await;
    assert_eq!(code, 201, "{made}");
    assert_eq!(made["metadata"]["annotations"]["count"], "2", "{made}");
    assert_eq!((first.seen().len(), second.seen().len()), (2, 1));
}

#[tokio::test]
async fn a_dry_run_reaches_only_hooks_without_side_effects() {
    let server = Server::start().await;
    let hook = Hook::start(|_| allow()).await;
    register(
        &server,
        "Validating",
        "v",
        &[with(hook.webhook("a.example.org"), json!({"sideEffects": "NoneOnDryRun"}))],
    )
    .await;
    let path = format!("{MAPS}?dryRun=All");
    assert_eq!(server.create(&path, &config_map("one")).await.0, 201);
    assert_eq!(hook.seen()[0]["request"]["dryRun"], true);
    let some = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "w"}, "webhooks": [with(hook.webhook("b.example.org"), json!({"sideEffects": "Some"}))],
    });
    let (code, answer) =
        server.create(&format!("{REGISTRATION}/validatingwebhookconfigurations"), &some).await;
    assert_eq!(code, 422, "{answer}");
}

#[tokio::test]
async fn conditions_and_selectors_choose_who_is_asked() {
    let server = Server::start().await;
    let hook = Hook::start(|_| Reply::Response(json!({"allowed": false}))).await;
    let condition = |expression: &str| json!([{"name": "c", "expression": expression}]);
    register(&server, "Validating", "v", &[with(
        hook.webhook("a.example.org"),
        json!({
            "matchConditions": condition("object.metadata.name != 'free' && request.userInfo.username == 'tester'"),
            "objectSelector": {"matchExpressions": [{"key": "skip", "operator": "DoesNotExist"}]},
        }),
    )])
    .await;
    assert_eq!(told(&server, "free").await.0, 201);
    assert_eq!(told(&server, "bound").await.0, 400);
    let mut labelled = config_map("labelled");
    labelled["metadata"]["labels"] = json!({"skip": "yes"});
    assert_eq!(server.create(MAPS, &labelled).await.0, 201);
    register(
        &server,
        "Validating",
        "w",
        &[with(
            hook.webhook("b.example.org"),
            json!({"matchConditions": condition("object.data.none == 'x'")}),
        )],
    )
    .await;
    let (code, message) = told(&server, "free2").await;
    assert_eq!(code, 403, "{message}");
    assert!(
        message.ends_with("expression 'object.data.none == 'x'' resulted in error: no such key: none"),
        "{message}"
    );
}

#[tokio::test]
async fn a_service_is_reached_at_its_endpoints_under_its_name() {
    let server = Server::start().await;
    let hook = Hook::start(|_| patched(&json!([{"op": "add", "path": "/data/more", "value": "c"}]))).await;
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "hook"},
        "spec": {"ports": [{"name": "https", "port": 443}]},
    });
    assert_eq!(server.create("/api/v1/namespaces/default/services", &service).await.0, 201);
    let mut webhook = hook.webhook("a.example.org");
    webhook["clientConfig"] =
        json!({"service": {"namespace": "default", "name": "hook", "path": "/x"}, "caBundle": hook.bundle()});
    register(&server, "Mutating", "m", &[webhook]).await;
    let (code, message) = told(&server, "one").await;
    assert_eq!(code, 500);
    assert!(
        message.contains("Post \"https://hook.default.svc:443/x?timeout=10s\": no endpoints available"),
        "{message}"
    );
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": "hook-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "hook"},
        },
        "endpoints": [{"addresses": ["127.0.0.1"]}], "ports": [{"name": "https", "port": hook.port()}],
    });
    // The API lets no endpoints in that lie on this machine alone.
    let key = "/registry/discovery.k8s.io/endpointslices/default/hook-1";
    server.store.create(key, slice.to_string().into()).await.unwrap();
    assert_eq!(told(&server, "one").await.0, 201);
    assert_eq!(hook.seen()[0]["uri"], "/x?timeout=10s");
}

#[tokio::test]
async fn updates_parts_deletions_and_connections_are_asked_about_as_what_they_are() {
    let server = Server::start().await;
    let hook = Hook::start(|_| allow()).await;
    let rules =
        json!([{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}]);
    register(&server, "Validating", "v", &[with(hook.webhook("a.example.org"), json!({"rules": rules}))])
        .await;
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
        },
    });
    let path = "/apis/apps/v1/namespaces/default/deployments";
    assert_eq!(server.create(path, &deployment).await.0, 201);
    let merge = "application/merge-patch+json";
    let scale = json!({"spec": {"replicas": 3}});
    assert_eq!(server.send(Method::PATCH, &format!("{path}/d/scale"), merge, &scale).await.0, 200);
    let status = json!({"status": {"observedGeneration": 2}});
    assert_eq!(server.send(Method::PATCH, &format!("{path}/d/status"), merge, &status).await.0, 200);
    assert_eq!(
        server.send(Method::DELETE, &format!("{path}/d"), "application/json", &json!({})).await.0,
        200
    );
    let seen: Vec<_> = hook
        .seen()
        .iter()
        .map(|review| {
            let request = &review["request"];
            let text = |field: &str| request[field].as_str().unwrap_or_default().to_owned();
            (text("operation"), text("subResource"), request["kind"]["kind"].as_str().unwrap().to_owned())
        })
        .collect();
    let told =
        |operation: &str, part: &str, kind: &str| (operation.to_owned(), part.to_owned(), kind.to_owned());
    assert_eq!(
        seen,
        [
            told("CREATE", "", "Deployment"),
            told("UPDATE", "scale", "Scale"),
            told("UPDATE", "status", "Deployment"),
            told("DELETE", "", "Deployment"),
        ]
    );
    let scaled = &hook.seen()[1]["request"];
    assert_eq!(
        (&scaled["object"]["spec"]["replicas"], &scaled["oldObject"]["spec"]["replicas"]),
        (&json!(3), &json!(1))
    );
    let deleted = &hook.seen()[3]["request"];
    assert_eq!((&deleted["object"], &deleted["oldObject"]["metadata"]["name"]), (&json!(null), &json!("d")));
}

#[tokio::test]
async fn a_hook_for_one_version_is_asked_about_the_others_as_that_one() {
    let server = Server::start().await;
    let version = |name: &str, storage: bool| {
        json!({
            "name": name, "served": true, "storage": storage,
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {"size": {"type": "integer"}}}},
        })
    };
    server
        .define(&json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "gauges.example.org"},
            "spec": {
                "group": "example.org", "scope": "Namespaced", "names": {"plural": "gauges", "kind": "Gauge"},
                "versions": [version("v1", true), version("v2", false)],
            },
        }))
        .await;
    let rules = |policy: &str| {
        json!({
            "matchPolicy": policy,
            "rules": [{"operations": ["CREATE"], "apiGroups": ["example.org"], "apiVersions": ["v1"], "resources": ["gauges"]}],
        })
    };
    let (same, exact) = (
        Hook::start(|_| patched(&json!([{"op": "replace", "path": "/size", "value": 2}]))).await,
        Hook::start(|_| allow()).await,
    );
    register(&server, "Mutating", "m", &[with(same.webhook("a.example.org"), rules("Equivalent"))]).await;
    register(&server, "Validating", "v", &[with(exact.webhook("b.example.org"), rules("Exact"))]).await;
    let gauge =
        json!({"apiVersion": "example.org/v2", "kind": "Gauge", "metadata": {"name": "one"}, "size": 1});
    let (code, made) = server.create("/apis/example.org/v2/namespaces/default/gauges", &gauge).await;
    assert_eq!(
        (code, &made["size"], &made["apiVersion"]),
        (201, &json!(2), &json!("example.org/v2")),
        "{made}"
    );
    let request = &same.seen()[0]["request"];
    assert_eq!(request["kind"]["version"], "v1");
    assert_eq!(request["requestKind"]["version"], "v2");
    assert_eq!(request["object"]["apiVersion"], "example.org/v1");
    assert!(exact.seen().is_empty(), "another version is none of its business");
}

#[tokio::test]
async fn a_hook_that_speaks_the_older_version_is_spoken_to_in_it() {
    let server = Server::start().await;
    let hook = Hook::start(|_| patched(&json!([{"op": "add", "path": "/data/more", "value": "c"}]))).await;
    let versions = json!({"admissionReviewVersions": ["v2", "v1beta1", "v1"]});
    register(&server, "Mutating", "m", &[with(hook.webhook("a.example.org"), versions)]).await;
    assert_eq!(told(&server, "one").await.0, 201);
    assert_eq!(hook.seen()[0]["apiVersion"], "admission.k8s.io/v1beta1");
}

#[tokio::test]
async fn a_hook_that_hangs_holds_up_nobody_else() {
    let server = std::sync::Arc::new(Server::start().await);
    let hook = Hook::start(|_| Reply::Silence).await;
    register(
        &server,
        "Validating",
        "v",
        &[with(hook.webhook("a.example.org"), json!({"timeoutSeconds": 2}))],
    )
    .await;
    let waiting = tokio::spawn({
        let server = server.clone();
        async move { told(&server, "one").await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let begun = Instant::now();
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}});
    assert_eq!(server.create("/api/v1/namespaces/default/secrets", &secret).await.0, 201);
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert_eq!(waiting.await.unwrap().0, 500);
}
