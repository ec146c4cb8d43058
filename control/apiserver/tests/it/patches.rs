//! What a patch may make of an object, and what is said where it may not.

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};

use crate::server::Server;

const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const WEB: &str = "/apis/apps/v1/namespaces/default/deployments/web";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

async fn with_web() -> Server {
    let server = Server::start().await;
    let web = json!({
        "metadata": {"name": "web"},
        "spec": {
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": "a"}]},
            },
        },
    });
    assert_eq!(server.create(DEPLOYMENTS, &web).await.0, 201);
    server
}

fn message(answer: &Value) -> &str {
    answer["message"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_patch_cannot_make_another_object_of_one() {
    let server = with_web().await;
    for media in [MERGE, STRATEGIC] {
        for (patch, code, why) in [
            (
                json!({"metadata": {"name": "other"}}),
                400,
                "the name of the object (other) does not match the name on the URL (web)",
            ),
            (
                json!({"metadata": {"name": null}}),
                400,
                "the name of the object (web based on URL) was undeterminable: name must be provided",
            ),
            (
                json!({"metadata": {"namespace": "other"}}),
                400,
                "the namespace of the provided object does not match the namespace sent on the request",
            ),
            (
                json!({"metadata": {"uid": "other"}}),
                422,
                r#"Deployment.apps "web" is invalid: metadata.uid: Invalid value: "other": field is immutable"#,
            ),
        ] {
            let (found, answer) = server.send(Method::PATCH, WEB, media, &patch).await;
            assert_eq!((found, message(&answer)), (code, why), "{media} {patch}");
        }
    }
    // A strategic merge patch is never asked for the kind; what another patch makes is read anew.
    let other = json!({"kind": "Pod"});
    let (code, patched) = server.send(Method::PATCH, WEB, STRATEGIC, &other).await;
    assert_eq!((code, &patched["kind"]), (200, &json!("Deployment")), "{patched}");
    let (code, answer) = server.send(Method::PATCH, WEB, MERGE, &other).await;
    let why = r#": no kind "Pod" is registered for version "apps/v1" in scheme "pkg/runtime/scheme.go:111""#;
    assert!(code == 422 && message(&answer).ends_with(why), "{answer}");
}

#[tokio::test]
async fn a_refused_strategic_patch_is_shown_as_its_merge_left_it() {
    let server = with_web().await;
    let containers =
        json!({"$setElementOrder/containers": [{"name": "c"}], "containers": [{"name": "c", "x": 1}]});
    let patch = json!({"spec": {"replicas": "two", "template": {"spec": containers}}});
    let (code, answer) = server.send(Method::PATCH, WEB, STRATEGIC, &patch).await;
    let why = r#" "" is invalid: patch: Invalid value: "map[spec:map[replicas:two template:map[spec:map[]]]]": unrecognized type: int32"#;
    assert_eq!((code, message(&answer)), (422, why));
}

#[tokio::test]
async fn a_replacement_with_another_identity_is_told_where_upstream_keeps_the_object() {
    let server = with_web().await;
    let (_, mut web) = server.get(WEB).await;
    let uid = web["metadata"]["uid"].as_str().unwrap().to_owned();
    web["metadata"]["uid"] = "other".into();
    let (code, answer) = server.send(Method::PUT, WEB, "application/json", &web).await;
    let why = format!(
        "Operation cannot be fulfilled on deployments.apps \"web\": StorageError: invalid object, Code: 4, Key: \
         /registry/deployments/default/web, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in \
         precondition: other, UID in object meta: {uid}"
    );
    assert_eq!((code, message(&answer)), (409, why.as_str()));
}

#[tokio::test]
async fn an_apply_makes_an_object_whatever_version_it_names_but_not_one_of_an_identity() {
    let server = Server::start().await;
    let path = "/api/v1/namespaces/default/configmaps/a?fieldManager=me";
    let map = |metadata: Value| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata});
    let (code, answer) =
        server.send(Method::PATCH, path, APPLY, &map(json!({"name": "a", "uid": "5"}))).await;
    let why = "Operation cannot be fulfilled on configmaps \"a\": uid mismatch: the provided object specified uid 5, \
               and no existing object was found";
    assert_eq!((code, message(&answer)), (409, why));
    let versioned = map(json!({"name": "a", "resourceVersion": "5"}));
    assert_eq!(server.send(Method::PATCH, path, APPLY, &versioned).await.0, 201);
    assert_eq!(server.send(Method::PATCH, path, APPLY, &versioned).await.0, 409);
}

#[tokio::test]
async fn a_generation_is_the_clients_where_nobody_counts() {
    let server = Server::start().await;
    let made = async |path: &str, mut object: Value| {
        object["metadata"] = json!({"name": "a", "generation": 7});
        let (code, made) = server.create(path, &object).await;
        assert_eq!(code, 201, "{made}");
        made["metadata"]["generation"].clone()
    };
    assert_eq!(made("/api/v1/namespaces/default/configmaps", json!({})).await, 7);
    assert_eq!(made("/api/v1/namespaces/default/resourcequotas", json!({})).await, 7);
    let class = json!({"value": 1});
    assert_eq!(made("/apis/scheduling.k8s.io/v1/priorityclasses", class).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn patches_that_name_no_revision_all_come_through_however_many_meet() {
    let server = Arc::new(with_web().await);
    let patches: Vec<_> = (0..128)
        .map(|number| {
            let server = server.clone();
            tokio::spawn(async move {
                let patch = json!({"metadata": {"annotations": {format!("from-{number}"): "it"}}});
                server.send(Method::PATCH, WEB, MERGE, &patch).await
            })
        })
        .collect();
    for patch in patches {
        let (code, answer) = patch.await.unwrap();
        assert_eq!(code, 200, "{answer}");
    }
    let (_, web) = server.get(WEB).await;
    assert_eq!(web["metadata"]["annotations"].as_object().map(serde_json::Map::len), Some(128));
}
