//! Custom resources of several versions, which a webhook converts over HTTPS.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::server::{DEFINITIONS, Server};

/// A webhook that turns `spec.size` of v1 into `spec.width` of v2 and back.
struct Webhook {
    port: u16,
    bundle: String,
    calls: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The answer to a `ConversionReview`.
type Answer = fn(&Value) -> (StatusCode, Value);

fn honest(review: &Value) -> (StatusCode, Value) {
    let wanted = review["request"]["desiredAPIVersion"].as_str().unwrap();
    let convert = |object: &Value| {
        let mut new = object.clone();
        let (from, to) = if wanted.ends_with("v2") { ("size", "width") } else { ("width", "size") };
        new["apiVersion"] = wanted.into();
        if let Some(value) = new["spec"].as_object_mut().and_then(|spec| spec.remove(from)) {
            new["spec"][to] = value;
        }
        // Not its business; the API puts it back.
        new["metadata"]["generation"] = json!(77);
        new
    };
    let converted: Vec<Value> =
        review["request"]["objects"].as_array().unwrap().iter().map(convert).collect();
    let answer = json!({
        "kind": "ConversionReview", "apiVersion": review["apiVersion"],
        "response": {
            "uid": review["request"]["uid"], "result": {"status": "Success"}, "convertedObjects": converted,
        },
    });
    (StatusCode::OK, answer)
}

fn unwilling(review: &Value) -> (StatusCode, Value) {
    let (code, mut answer) = honest(review);
    answer["response"]["result"] = json!({"status": "Failure", "message": "not today"});
    (code, answer)
}

fn lying(review: &Value) -> (StatusCode, Value) {
    let (code, mut answer) = honest(review);
    for object in answer["response"]["convertedObjects"].as_array_mut().unwrap() {
        object["metadata"]["name"] = json!("other");
    }
    (code, answer)
}

fn broken(_: &Value) -> (StatusCode, Value) {
    (StatusCode::INTERNAL_SERVER_ERROR, json!("on fire"))
}

impl Webhook {
    async fn start(answer: Answer) -> Self {
        let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let bundle = STANDARD.encode(key.cert.pem());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![key.cert.der().clone()],
                rustls_pki_types::PrivateKeyDer::Pkcs8(key.signing_key.serialize_der().into()),
            )
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = calls.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, calls) = (acceptor.clone(), counted.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(move |request: Request<Incoming>| {
                        calls.fetch_add(1, Ordering::Relaxed);
                        async move {
                            assert_eq!(request.uri().path(), "/convert");
                            let body = request.into_body().collect().await?.to_bytes();
                            let (code, answer) = answer(&serde_json::from_slice(&body).unwrap());
                            let mut response = Response::new(Full::new(Bytes::from(answer.to_string())));
                            *response.status_mut() = code;
                            Ok::<_, hyper::Error>(response)
                        }
                    });
                    // The client may leave whenever it likes.
                    drop(
                        hyper::server::conn::http1::Builder::new()
                            .serve_connection(TokioIo::new(stream), service)
                            .await,
                    );
                });
            }
        });
        Self { port, bundle, calls, task }
    }

    fn conversion(&self) -> Value {
        json!({"strategy": "Webhook", "webhook": {
            "conversionReviewVersions": ["v1"],
            "clientConfig": {
                "url": format!("https://localhost:{}/convert", self.port), "caBundle": self.bundle,
            },
        }})
    }
}

fn definition(conversion: &Value) -> Value {
    let version = |name: &str, field: &str, storage: bool| {
        json!({
            "name": name, "served": true, "storage": storage,
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {
                "type": "object", "properties": {(field): {"type": "integer"}, "color": {"type": "string"}},
            }}}},
            "selectableFields": [{"jsonPath": format!(".spec.{field}")}, {"jsonPath": ".spec.color"}],
            "subresources": {"status": {}},
        })
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"},
            "versions": [version("v1", "size", true), version("v2", "width", false)],
            "conversion": conversion,
        },
    })
}

fn path(version: &str) -> String {
    format!("/apis/example.com/{version}/namespaces/default/things")
}

fn thing(version: &str, name: &str, spec: Value) -> Value {
    let api_version = format!("example.com/{version}");
    json!({"apiVersion": api_version, "kind": "Thing", "metadata": {"name": name}, "spec": spec})
}

#[tokio::test]
async fn a_webhook_gives_each_client_its_version() {
    let server = Server::start().await;
    let webhook = Webhook::start(honest).await;
    server.define(&definition(&webhook.conversion())).await;
    let (code, made) =
        server.create(&path("v1"), &thing("v1", "a", json!({"size": 1, "color": "red"}))).await;
    assert_eq!((code, webhook.calls.load(Ordering::Relaxed)), (201, 0), "nothing is to convert: {made}");
    let (code, made) =
        server.create(&path("v2"), &thing("v2", "b", json!({"width": 2, "color": "red"}))).await;
    assert_eq!(code, 201, "{made}");
    assert_eq!((&made["spec"]["width"], &made["metadata"]["generation"]), (&json!(2), &json!(1)));

    let (_, found) = server.get(&format!("{}/b", path("v1"))).await;
    assert_eq!((&found["apiVersion"], &found["spec"]["size"]), (&json!("example.com/v1"), &json!(2)));
    let before = webhook.calls.load(Ordering::Relaxed);
    let (code, list) = server.get(&path("v2")).await;
    assert_eq!(code, 200, "{list}");
    let widths: Vec<&Value> =
        list["items"].as_array().unwrap().iter().map(|item| &item["spec"]["width"]).collect();
    assert_eq!(widths, [&json!(1), &json!(2)]);
    assert_eq!(webhook.calls.load(Ordering::Relaxed), before + 1, "one call for all of a list");

    // A patch is of the version of its URL, and so is what a selector looks at.
    let patch = json!({"spec": {"width": 5}, "metadata": {"labels": {"x": "y"}}});
    let one = format!("{}/a", path("v2"));
    let (code, changed) = server.send(Method::PATCH, &one, "application/merge-patch+json", &patch).await;
    assert_eq!(code, 200, "{changed}");
    assert_eq!(changed["metadata"]["labels"], json!({"x": "y"}));
    let (_, found) = server.get(&format!("{}/a", path("v1"))).await;
    assert_eq!((&found["spec"]["size"], &found["metadata"]["generation"]), (&json!(5), &json!(2)));
    let (code, list) = server.get(&format!("{}?fieldSelector=spec.width%3D5", path("v2"))).await;
    assert_eq!((code, list["items"].as_array().map(Vec::len)), (200, Some(1)), "{list}");
    let (code, refused) = server.get(&format!("{}?fieldSelector=spec.size%3D5", path("v2"))).await;
    assert_eq!((code, &refused["message"]), (400, &json!("field label not supported: spec.size")));

    let applied = thing("v2", "a", json!({"color": "blue"}));
    let (code, answer) = server
        .send(
            Method::PATCH,
            &format!("{one}?fieldManager=t&force=true"),
            "application/apply-patch+yaml",
            &applied,
        )
        .await;
    assert_eq!((code, &answer["spec"]), (200, &json!({"color": "blue", "width": 5})), "{answer}");
    let (code, gone) = server.send(Method::DELETE, &one, "application/json", &json!({})).await;
    assert_eq!(code, 200, "{gone}");
}

#[tokio::test]
async fn a_watch_is_of_its_version_and_its_selected_fields() {
    let server = Server::start().await;
    let webhook = Webhook::start(honest).await;
    server.define(&definition(&webhook.conversion())).await;
    let url = format!("{}?watch=true&fieldSelector=spec.color%3Dred", path("v2"));
    let request = Request::builder().uri(url).body(Full::new(Bytes::new())).unwrap();
    let mut body = server.call(request).await.into_body();
    for (name, color) in [("a", "blue"), ("b", "red")] {
        let (code, _) =
            server.create(&path("v1"), &thing("v1", name, json!({"size": 1, "color": color}))).await;
        assert_eq!(code, 201);
    }
    let patch = json!({"spec": {"color": "green"}});
    let one = format!("{}/b", path("v1"));
    let (code, _) = server.send(Method::PATCH, &one, "application/merge-patch+json", &patch).await;
    assert_eq!(code, 200);
    for (kind, color) in [("ADDED", "red"), ("DELETED", "red")] {
        let frame = tokio::time::timeout(Duration::from_secs(5), body.frame()).await;
        let bytes = frame.unwrap().unwrap().unwrap().into_data().unwrap();
        let event: Value = serde_json::from_slice(&bytes).unwrap();
        assert_eq!((&event["type"], &event["object"]["metadata"]["name"]), (&json!(kind), &json!("b")));
        assert_eq!(event["object"]["spec"], json!({"width": 1, "color": color}), "{event}");
    }
}

/// What a definition makes of its objects from now on, a watch that began before cannot show.
#[tokio::test]
async fn a_watch_ends_when_its_definition_changes() {
    let server = Server::start().await;
    let mut definition = definition(&json!({"strategy": "None"}));
    server.define(&definition).await;
    let request = Request::builder().uri(format!("{}?watch=true", path("v1")));
    let mut body = server.call(request.body(Full::new(Bytes::new())).unwrap()).await.into_body();
    assert_eq!(server.create(&path("v1"), &thing("v1", "a", json!({"size": 1}))).await.0, 201);
    let event = tokio::time::timeout(Duration::from_secs(5), body.frame()).await.unwrap();
    assert!(event.is_some_and(|event| event.is_ok()), "the object is shown");
    definition["spec"]["versions"][0]["additionalPrinterColumns"] =
        json!([{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}]);
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/things.example.com";
    let patch = json!({"spec": {"versions": definition["spec"]["versions"]}});
    assert_eq!(server.send(Method::PATCH, path, "application/merge-patch+json", &patch).await.0, 200);
    let ended = tokio::time::timeout(Duration::from_secs(5), body.frame()).await.unwrap();
    assert!(ended.is_none(), "it goes on with {ended:?}");
}

#[tokio::test]
async fn a_webhook_that_fails_or_lies_is_named_with_what_it_did() {
    let of = "conversion webhook for example.com/v1, Kind=Thing";
    let fire = r#"an error on the server ("\"on fire\"") has prevented the request from succeeding"#;
    for (answer, expected) in [
        (unwilling as Answer, format!("{of} failed: not today")),
        (lying, format!("{of} returned invalid object: must have the same name: a != other")),
        (broken, format!("{of} failed: {fire}")),
    ] {
        let server = Server::start().await;
        let webhook = Webhook::start(answer).await;
        server.define(&definition(&webhook.conversion())).await;
        assert_eq!(server.create(&path("v1"), &thing("v1", "a", json!({"size": 1}))).await.0, 201);
        let (code, refused) = server.get(&format!("{}/a", path("v2"))).await;
        assert_eq!((code, &refused["message"]), (500, &json!(expected)), "{refused}");
        assert_eq!(server.get(&format!("{}/a", path("v1"))).await.0, 200, "what is not converted is served");
    }
}

#[tokio::test]
async fn a_webhook_that_is_not_there_or_not_trusted_is_told_so() {
    let server = Server::start().await;
    let (one, other) = (Webhook::start(honest).await, Webhook::start(honest).await);
    let mut conversion = one.conversion();
    conversion["webhook"]["clientConfig"]["caBundle"] = other.bundle.clone().into();
    server.define(&definition(&conversion)).await;
    assert_eq!(server.create(&path("v1"), &thing("v1", "a", json!({"size": 1}))).await.0, 201);
    let (code, refused) = server.get(&path("v2")).await;
    let list = "conversion webhook for example.com/v2, Kind=ThingList failed";
    let post = format!("Post \"https://localhost:{}/convert?timeout=30s\"", one.port);
    let untrusted = format!(
        "{list}: {post}: tls: failed to verify certificate: x509: certificate signed by unknown authority"
    );
    assert_eq!((code, &refused["message"]), (500, &json!(untrusted)));

    let name = format!("{DEFINITIONS}/things.example.com");
    let patch = json!({"spec": {"conversion": {"webhook": {"clientConfig": {"url": "https://localhost:1/convert"}}}}});
    let (code, answer) = server.send(Method::PATCH, &name, "application/merge-patch+json", &patch).await;
    assert_eq!(code, 200, "{answer}");
    for _ in 0..500 {
        let (_, refused) = server.get(&path("v2")).await;
        let message = refused["message"].as_str().unwrap();
        if message.contains("localhost:1/") {
            assert!(
                message.starts_with(list) && message.ends_with("connect: connection refused"),
                "{message}"
            );
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the new webhook was never asked");
}

/// Registers a policy for things of v1, in whatever version they come, and binds it.
async fn bound(server: &Server, (plural, kind): (&str, &str), spec: Value) {
    let mut spec = spec;
    spec["matchConstraints"] = json!({"matchPolicy": "Equivalent", "resourceRules": [{
        "apiGroups": ["example.com"], "apiVersions": ["v1"], "resources": ["things"], "operations": ["*"],
    }]});
    let mut binding = json!({"policyName": "p"});
    if plural.starts_with("validating") {
        binding["validationActions"] = json!(["Deny"]);
    }
    let objects = [(plural.replace("policies", "policy") + "bindings", format!("{kind}Binding"), binding)];
    for (plural, kind, spec) in [(plural.to_owned(), kind.to_owned(), spec)].into_iter().chain(objects) {
        let api = "admissionregistration.k8s.io/v1";
        let object = json!({"apiVersion": api, "kind": kind, "metadata": {"name": "p"}, "spec": spec});
        let (code, answer) = server.create(&format!("/apis/{api}/{plural}"), &object).await;
        assert_eq!(code, 201, "{answer}");
    }
}

#[tokio::test]
async fn a_policy_judges_and_changes_objects_in_its_own_version() {
    let server = Server::start().await;
    let webhook = Webhook::start(honest).await;
    server.define(&definition(&webhook.conversion())).await;
    let small = json!({"validations": [{"expression": "object.spec.size < 10", "message": "too large"}]});
    bound(&server, ("validatingadmissionpolicies", "ValidatingAdmissionPolicy"), small).await;
    for (version, field) in [("v1", "size"), ("v2", "width")] {
        let (code, refused) = server.create(&path(version), &thing(version, "a", json!({(field): 11}))).await;
        assert_eq!(code, 422, "{version}: {refused}");
        assert!(refused["message"].as_str().unwrap().ends_with("too large"), "{refused}");
    }
    let changed = json!({"reinvocationPolicy": "Never", "mutations": [{
        "patchType": "JSONPatch",
        "jsonPatch": {"expression": "[JSONPatch{op: 'replace', path: '/spec/size', value: object.spec.size + 1}]"},
    }]});
    bound(&server, ("mutatingadmissionpolicies", "MutatingAdmissionPolicy"), changed).await;
    let (code, made) = server.create(&path("v2"), &thing("v2", "a", json!({"width": 2}))).await;
    assert_eq!((code, &made["spec"]), (201, &json!({"width": 3})), "{made}");
}
