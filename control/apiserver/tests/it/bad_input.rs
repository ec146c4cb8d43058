//! What clients get who send what makes no sense: upstream's words, and nothing of it stored.

use bytes::Bytes;
use http::{Method, Request};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use serde_json::{Value, json};
use xebec_machinery::protobuf;
use xebec_store::Revision;

use crate::server::{Server, object};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const JSON: &str = "application/json";
const YAML: &str = "application/yaml";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

fn map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}})
}

fn deployment(spec: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec})
}

/// The answer is this Status.
fn assert_status(answer: &(u16, Value), code: u16, reason: &str, message: &str) {
    let (found, status) = answer;
    assert_eq!(status["kind"], "Status", "{status}");
    assert_eq!(status["status"], "Failure", "{status}");
    assert_eq!(status["message"], message);
    assert_eq!((*found, &status["code"], status["reason"].as_str().unwrap()), (code, &json!(code), reason));
}

#[tokio::test]
async fn a_body_that_is_no_object_is_refused_in_upstreams_words() {
    let server = Server::start().await;
    let before = server.store.revision();
    let deep = "[".repeat(20_000);
    let hidden = format!("{{\"a\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let cases: [(&str, &[u8], &str); 9] = [
        (JSON, b"", "couldn't get version/kind; json parse error: unexpected end of JSON input (<empty>)"),
        (
            JSON,
            br#"{"kind": "ConfigMap", "#,
            r#"couldn't get version/kind; json parse error: unexpected end of JSON input ({"kind": "ConfigMap", )"#,
        ),
        (
            JSON,
            b"{kind: ConfigMap}",
            "couldn't get version/kind; json parse error: invalid character 'k' looking for beginning of object key string \
             ({kind: ConfigMap})",
        ),
        (
            JSON,
            b"{} trailing",
            "couldn't get version/kind; json parse error: invalid character 't' after top-level value ({} trailing)",
        ),
        (
            JSON,
            deep.as_bytes(),
            "couldn't get version/kind; json parse error: exceeded max depth \
             (5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b5b ...)",
        ),
        (
            JSON,
            hidden.as_bytes(),
            "couldn't get version/kind; json parse error: exceeded max depth ({\"a\":[[[[[[[[[[[[[[[[[[[[[[[[[ ...)",
        ),
        (
            JSON,
            br#"{"kind": 5}"#,
            "couldn't get version/kind; json parse error: json: cannot unmarshal number into Go struct field .kind of \
             type string ({\"kind\":5})",
        ),
        (
            PROTOBUF,
            b"{}",
            "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0] ({})",
        ),
        (
            PROTOBUF,
            b"k8s\0\x0a\x7f",
            "the body ends within a field: it was cut short or is no protobuf (6b3873000a7f)",
        ),
    ];
    for (media, body, why) in cases {
        let answer = server.raw(Method::POST, MAPS, media, body).await;
        let message = format!("the object provided is unrecognized (must be of type ConfigMap): {why}");
        assert_status(&answer, 400, "BadRequest", &message);
    }
    let (code, status) = server.raw(Method::POST, MAPS, YAML, b"kind: [ConfigMap").await;
    assert_eq!(code, 400);
    let opening = "the object provided is unrecognized (must be of type ConfigMap): error converting YAML to JSON: yaml: ";
    assert!(status["message"].as_str().unwrap().starts_with(opening), "{status}");
    let answer = server.raw(Method::POST, MAPS, "text/csv", b"a,b").await;
    assert_status(
        &answer,
        415,
        "UnsupportedMediaType",
        "the body of the request was in an unknown format - accepted media types include: application/json, \
         application/yaml, application/vnd.kubernetes.protobuf",
    );
    assert_eq!(server.store.revision(), before);
}

#[tokio::test]
async fn an_object_of_another_kind_is_refused_and_one_that_does_not_say_is_taken() {
    let server = Server::start().await;
    let cases = [
        (
            json!({"apiVersion": "v1", "kind": "Secret"}),
            r#"Secret in version "v1" cannot be handled as a ConfigMap: converting (v1.Secret) to (core.ConfigMap): unknown conversion"#,
        ),
        (
            json!({"apiVersion": "example.com/v1", "kind": "Foo"}),
            r#"Foo in version "v1" cannot be handled as a ConfigMap: no kind "Foo" is registered for version "example.com/v1" in scheme "pkg/runtime/scheme.go:111""#,
        ),
    ];
    for (body, message) in cases {
        assert_status(&server.create(MAPS, &body).await, 400, "BadRequest", message);
    }
    let scaler =
        json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "a"}});
    let (code, status) =
        server.create("/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers", &scaler).await;
    assert_eq!(code, 400, "{status}");
    let (code, made) = server.create(MAPS, &json!({"metadata": {"name": "plain"}})).await;
    assert_eq!((code, &made["kind"], &made["apiVersion"]), (201, &json!("ConfigMap"), &json!("v1")));
    let foreign = json!({"metadata": {"name": "a", "namespace": "kube-system"}});
    assert_status(
        &server.create(MAPS, &foreign).await,
        400,
        "BadRequest",
        "the namespace of the provided object does not match the namespace sent on the request",
    );
    let one = format!("{MAPS}/plain");
    for (name, message) in [
        ("other", "the name of the object (other) does not match the name on the URL (plain)"),
        ("", "the name of the object (plain based on URL) was undeterminable: name must be provided"),
    ] {
        let answer = server.send(Method::PUT, &one, JSON, &map(name)).await;
        assert_status(&answer, 400, "BadRequest", message);
    }
}

#[tokio::test]
async fn unknown_and_doubled_fields_are_refused_told_or_dropped_as_the_client_asks() {
    let server = Server::start().await;
    let body = br#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"NAME","colour":"red"},"data":{"a":"1"},"data":{"a":"2"},"more":1}"#;
    let named = |name: &str| String::from_utf8_lossy(body).replace("NAME", name);
    let strict = format!("{MAPS}?fieldValidation=Strict");
    let answer = server.raw(Method::POST, &strict, JSON, named("a").as_bytes()).await;
    let message = r#"ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: unknown field "metadata.colour", duplicate field "data", unknown field "more""#;
    assert_status(&answer, 400, "BadRequest", message);
    assert_eq!(server.get(&format!("{MAPS}/a")).await.0, 404);

    for (mode, warned) in [("Warn", true), ("Ignore", false), ("", true)] {
        let name = format!("a{}", mode.to_lowercase());
        let request = Request::post(format!("{MAPS}?fieldValidation={mode}"))
            .header("content-type", JSON)
            .body(Full::new(Bytes::from(named(&name))))
            .unwrap();
        let response = server.call(request).await;
        let warnings: Vec<String> = response
            .headers()
            .get_all("warning")
            .iter()
            .map(|value| value.to_str().unwrap().to_owned())
            .collect();
        if warned {
            let expected = [
                r#"299 - "unknown field \"metadata.colour\"""#,
                r#"299 - "duplicate field \"data\"""#,
                r#"299 - "unknown field \"more\"""#,
            ];
            assert_eq!(warnings, expected);
        } else {
            assert!(warnings.is_empty(), "{warnings:?}");
        }
        let (code, made) = object(response).await;
        assert_eq!((code, &made["data"]["a"]), (201, &json!("2")), "{mode}");
        assert!(made.get("more").is_none() && made["metadata"].get("colour").is_none(), "{made}");
    }
}

#[tokio::test]
async fn a_value_of_the_wrong_type_is_refused_by_its_field() {
    let server = Server::start().await;
    let path = "/apis/apps/v1/namespaces/default/deployments";
    let answer = server.create(path, &deployment(json!({"replicas": "3"}))).await;
    let message = r#"Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"#;
    assert_status(&answer, 400, "BadRequest", message);
    let answer = server.create(MAPS, &json!({"metadata": 7})).await;
    assert_eq!(answer.0, 400, "{}", answer.1);
    let labels = json!({"metadata": {"name": "a", "labels": ["x"]}});
    let answer = server.create(MAPS, &labels).await;
    let message = r#"ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal array into Go struct field ObjectMeta.metadata.labels of type map[string]string"#;
    assert_status(&answer, 400, "BadRequest", message);
}

#[tokio::test]
async fn what_is_too_large_is_refused_and_not_stored() {
    let server = Server::start().await;
    let before = server.store.revision();
    let sized = |bytes: usize| {
        let mut object = map("big");
        object["data"]["a"] = "x".repeat(bytes).into();
        object
    };
    let message = "Request entity is too large: limit is 3145728";
    assert_status(&server.create(MAPS, &sized(3 << 20)).await, 413, "RequestEntityTooLarge", message);
    let (code, status) = server.create(MAPS, &sized(2 << 20)).await;
    // A ConfigMap has a limit of its own.
    assert_eq!((code, &status["reason"]), (422, &json!("Invalid")), "{status}");
    let annotated = json!({"metadata": {"name": "big", "annotations": {"a": "x".repeat(300 * 1024)}}});
    let (code, status) = server.create(MAPS, &annotated).await;
    assert_eq!(code, 422);
    let why = "metadata.annotations: Too long: may not be more than 262144 bytes";
    assert!(status["message"].as_str().unwrap().contains(why), "{status}");
    let mut large = json!({
        "apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": {"name": "big"}, "revision": 1,
    });
    large["data"] = json!({"a": "x".repeat(2 << 20)});
    let path = "/apis/apps/v1/namespaces/default/controllerrevisions";
    assert_status(
        &server.create(path, &large).await,
        413,
        "RequestEntityTooLarge",
        "Request entity is too large: limit is 1572864",
    );
    assert_eq!(server.store.revision(), before);
}

#[tokio::test]
async fn a_body_that_breaks_off_stores_nothing() {
    let server = Server::start().await;
    let before = server.store.revision();
    let frames: [Result<Frame<Bytes>, std::io::Error>; 2] = [
        Ok(Frame::data(Bytes::from_static(br#"{"metadata": {"name": "half"}}"#))),
        Err(std::io::ErrorKind::UnexpectedEof.into()),
    ];
    let body = StreamBody::new(futures::stream::iter(frames));
    let request = Request::post(MAPS).header("content-type", JSON).body(body).unwrap();
    let (code, status) = object(server.call(request).await).await;
    assert_eq!((code, &status["reason"]), (400, &json!("BadRequest")), "{status}");
    let packed = Request::post(MAPS)
        .header("content-type", JSON)
        .header("content-encoding", "gzip")
        .body(Full::new(Bytes::from_static(b"\x1f\x8b\x08\x00broken")))
        .unwrap();
    assert_eq!(object(server.call(packed).await).await.0, 400);
    assert_eq!(server.store.revision(), before);
}

#[tokio::test]
async fn a_watch_from_a_forgotten_revision_is_told_to_list_again() {
    let server = Server::start().await;
    for name in ["a", "b", "c"] {
        assert_eq!(server.create(MAPS, &map(name)).await.0, 201);
    }
    let now = server.store.revision();
    server.store.compact(Revision(now.0 - 1)).await.unwrap();
    let request =
        Request::get(format!("{MAPS}?watch=1&resourceVersion=2")).body(Full::new(Bytes::new())).unwrap();
    let response = server.call(request).await;
    assert_eq!(response.status(), 200);
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let event: Value = serde_json::from_slice(&bytes).unwrap();
    let status = &event["object"];
    assert_eq!(
        (&event["type"], &status["reason"], &status["code"]),
        (&json!("ERROR"), &json!("Expired"), &json!(410))
    );
    let opening = "too old resource version: 2 (";
    assert!(status["message"].as_str().unwrap().starts_with(opening), "{status}");

    let (code, status) = server.get(&format!("{MAPS}?resourceVersion=2&resourceVersionMatch=Exact")).await;
    assert_eq!((code, &status["reason"]), (410, &json!("Expired")));
    let future = now.0 + 1000;
    let answer = server.get(&format!("{MAPS}?resourceVersion={future}")).await;
    let message = format!("Timeout: Too large resource version: {future}, current: {now}");
    assert_status(&answer, 504, "Timeout", &message);
    assert_eq!(answer.1["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
}

#[tokio::test]
async fn bad_continue_tokens_and_those_of_a_forgotten_list_are_refused() {
    let server = Server::start().await;
    for name in ["a", "b", "c"] {
        assert_eq!(server.create(MAPS, &map(name)).await.0, 201);
    }
    for (token, why) in [
        ("%21%21", "illegal base64 data at input byte 0"),
        ("bm90IGpzb24", "invalid character 'o' in literal null (expecting 'u')"),
        ("e30", r#"server does not recognize this encoded version """#),
    ] {
        let answer = server.get(&format!("{MAPS}?limit=1&continue={token}")).await;
        let message = format!("invalid continue token: continue key is not valid: {why}");
        assert_status(&answer, 400, "BadRequest", &message);
    }
    let (code, page) = server.get(&format!("{MAPS}?limit=1")).await;
    assert_eq!((code, page["items"].as_array().unwrap().len()), (200, 1));
    let token = page["metadata"]["continue"].as_str().unwrap();
    let (code, next) = server.get(&format!("{MAPS}?limit=1&continue={token}")).await;
    assert_eq!((code, &next["items"][0]["metadata"]["name"]), (200, &json!("b")));
    let answer = server.get(&format!("{MAPS}?limit=1&continue={token}&resourceVersion=3")).await;
    let message = "specifying resource version is not allowed when using continue";
    assert_status(&answer, 400, "BadRequest", message);

    assert_eq!(server.create(MAPS, &map("d")).await.0, 201);
    server.store.compact(server.store.revision()).await.unwrap();
    let (code, status) = server.get(&format!("{MAPS}?limit=1&continue={token}")).await;
    assert_eq!((code, &status["reason"]), (410, &json!("Expired")));
    let opening = "The provided continue parameter is too old to display a consistent list result.";
    assert!(status["message"].as_str().unwrap().starts_with(opening), "{status}");
    let token = status["metadata"]["continue"].as_str().unwrap();
    let (code, rest) = server.get(&format!("{MAPS}?limit=2&continue={token}")).await;
    let names: Vec<_> =
        rest["items"].as_array().unwrap().iter().map(|one| &one["metadata"]["name"]).collect();
    assert_eq!(
        (code, names),
        (200, vec![&json!("b"), &json!("c")]),
        "the list goes on with what is there now"
    );
    let token = rest["metadata"]["continue"].as_str().unwrap();
    let (code, last) = server.get(&format!("{MAPS}?limit=2&continue={token}")).await;
    assert_eq!((code, &last["items"][0]["metadata"]["name"]), (200, &json!("d")));
    assert_eq!(last["metadata"]["resourceVersion"], rest["metadata"]["resourceVersion"], "as it was by then");
}

#[tokio::test]
async fn bad_selectors_and_absurd_parameters_are_refused_in_upstreams_words() {
    let server = Server::start().await;
    let long = "a".repeat(40_000);
    let cases = [
        ("labelSelector=a%3D%3Db%3D%3Dc", "found '==', expected: ',' or 'end of string'"),
        (
            "fieldSelector=metadata.name",
            "invalid selector: 'metadata.name'; can't understand 'metadata.name'",
        ),
        (
            "fieldSelector=spec.colour%3Dred",
            r#""spec.colour" is not a known field selector: only "metadata.name", "metadata.namespace""#,
        ),
        ("limit=many", r#"strconv.ParseInt: parsing "many": invalid syntax"#),
        (
            "timeoutSeconds=9999999999999999999999",
            r#"strconv.ParseInt: parsing "9999999999999999999999": value out of range"#,
        ),
    ];
    for (query, message) in cases {
        assert_status(&server.get(&format!("{MAPS}?{query}")).await, 400, "BadRequest", message);
    }
    let pods = "/api/v1/namespaces/default/pods?fieldSelector=spec.colour%3Dred";
    assert_status(&server.get(pods).await, 400, "BadRequest", "field label not supported: spec.colour");
    for query in [format!("labelSelector={long}"), "labelSelector=%ff%fe".to_owned(), format!("x={long}")] {
        let (code, status) = server.get(&format!("{MAPS}?{query}")).await;
        assert_eq!((code, &status["reason"]), (400, &json!("BadRequest")));
    }
    let answer = server.create(&format!("{MAPS}?dryRun=Perhaps"), &map("a")).await;
    let message = r#"CreateOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: ["Perhaps"]: supported values: "All""#;
    assert_status(&answer, 422, "Invalid", message);
    assert_eq!(server.get(&format!("{MAPS}/a")).await.0, 404);
    for path in
        ["/api/v1/namespaces/..%2f..%2fx/pods", "/api/v1/namespaces/default/pods/a%00b", "/api/v1/pods/%ff"]
    {
        assert_eq!(server.get(path).await.0, 400, "{path}");
    }
}

#[tokio::test]
async fn a_bad_patch_changes_nothing() {
    let server = Server::start().await;
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    let template =
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let spec = json!({"selector": {"matchLabels": {"a": "b"}}, "template": template});
    let (code, made) = server.create(deployments, &deployment(spec)).await;
    assert_eq!(code, 201, "{made}");
    let one = format!("{deployments}/web");
    let (merge, strategic) = ("application/merge-patch+json", "application/strategic-merge-patch+json");
    let (list, apply) = ("application/json-patch+json", "application/apply-patch+yaml");
    let cases: [(&str, &str, &[u8], u16, &str); 10] = [
        (merge, "", b"{", 400, "error decoding patch: unexpected end of JSON input"),
        (strategic, "", b"{a}", 400, "invalid character 'a' looking for beginning of object key string"),
        (
            list,
            "",
            b"[{]",
            400,
            "error decoding patch: invalid character ']' looking for beginning of object key string",
        ),
        (
            list,
            "",
            br#"[{"op": "remove", "path": "/spec/none"}]"#,
            422,
            "the server rejected our request due to an error in our request",
        ),
        (
            strategic,
            "",
            br#"{"spec": {"replicas": "two"}}"#,
            422,
            r#" "" is invalid: patch: Invalid value: "map[spec:map[replicas:two]]": unrecognized type: int32"#,
        ),
        (
            strategic,
            "?fieldValidation=Strict",
            br#"{"spec": {"colour": "red"}}"#,
            422,
            r#" "" is invalid: patch: Invalid value: "map[spec:map[colour:red]]": strict decoding error: unknown field "spec.colour""#,
        ),
        (
            merge,
            "",
            br#"{"spec": {"replicas": -1}}"#,
            422,
            r#"Deployment.apps "web" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0"#,
        ),
        (
            merge,
            "?force=true",
            b"{}",
            422,
            r#"PatchOptions.meta.k8s.io "" is invalid: force: Forbidden: may not be specified for non-apply patch"#,
        ),
        (
            apply,
            "",
            b"{}",
            422,
            r#"PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch"#,
        ),
        (
            "application/json",
            "",
            b"{}",
            415,
            "the body of the request was in an unknown format - accepted media types include: application/json-patch+json",
        ),
    ];
    for (media, query, body, code, message) in cases {
        let (found, status) = server.raw(Method::PATCH, &format!("{one}{query}"), media, body).await;
        assert!(status["message"].as_str().unwrap().starts_with(message), "{status}\n{message}");
        assert_eq!(found, code, "{status}");
    }
    let operations: Vec<Value> =
        (0..10_001).map(|_| json!({"op": "test", "path": "/kind", "value": "x"})).collect();
    let (code, _) = server.send(Method::PATCH, &one, list, &operations.into()).await;
    assert_eq!(code, 413);
    // Built-in kinds nest less deep than others may.
    for (media, levels) in [(merge, 10_001), (strategic, 120)] {
        let deep = format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels));
        let (code, status) = server.raw(Method::PATCH, &one, media, deep.as_bytes()).await;
        assert!((400..500).contains(&code), "{status}");
    }
    assert_eq!(server.get(&one).await.1, made);
}

#[tokio::test]
async fn protobuf_of_another_kind_or_with_bad_content_is_refused() {
    let server = Server::start().await;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}});
    let bytes = protobuf::encode(&secret).unwrap();
    let answer = server.raw(Method::POST, MAPS, PROTOBUF, &bytes).await;
    let message = r#"Secret in version "v1" cannot be handled as a ConfigMap: converting (v1.Secret) to (core.ConfigMap): unknown conversion"#;
    assert_status(&answer, 400, "BadRequest", message);
    let good = protobuf::encode(&map("bin")).unwrap();
    // The envelope ends with two empty fields, without which it is whole too.
    for cut in 5..good.len() - 4 {
        let (code, status) =
            server.raw(Method::POST, &format!("{MAPS}?dryRun=All"), PROTOBUF, &good[..cut]).await;
        assert!((400..500).contains(&code), "{cut}: {code} {status}");
    }
    assert_eq!(server.raw(Method::POST, MAPS, PROTOBUF, &good).await.0, 201);
}

#[tokio::test]
async fn a_deletion_with_bad_options_deletes_nothing() {
    let server = Server::start().await;
    assert_eq!(server.create(MAPS, &map("a")).await.0, 201);
    let one = format!("{MAPS}/a");
    for (body, code, message) in [
        (
            json!({"propagationPolicy": "Later"}),
            422,
            r#"DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: "Later": supported values: "Foreground", "Background", "Orphan", "nil""#,
        ),
        (
            json!({"gracePeriodSeconds": "soon"}),
            400,
            r#"DeleteOptions in version "v1" cannot be handled as a DeleteOptions: json: cannot unmarshal string into Go struct field DeleteOptions.gracePeriodSeconds of type int64"#,
        ),
        (
            json!({"dryRun": ["Some"]}),
            422,
            r#"DeleteOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: ["Some"]: supported values: "All""#,
        ),
    ] {
        let (found, status) = server.send(Method::DELETE, &one, JSON, &body).await;
        assert_eq!((found, status["message"].as_str().unwrap()), (code, message));
    }
    assert_eq!(server.get(&one).await.0, 200);
}
