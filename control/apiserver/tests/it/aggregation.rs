//! Versions of groups that other servers have: who is asked, by whom, and what is told of them.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use xebec_apiserver::service::ResponseBody;
use xebec_apiserver::user::{ADMINISTRATORS, AUTHENTICATED, User};

use crate::extension::{ADDRESS, Extension, GROUP, Mode, ROOT};
use crate::server::Server;

const SERVICES: &str = "/api/v1/namespaces/default/services";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
const API_SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
const NAME: &str = "v1alpha1.wardle.example.com";
const MERGE: &str = "application/merge-patch+json";
const FLUNDERS: &str = "/apis/wardle.example.com/v1alpha1/namespaces/default/flunders";

fn service() -> Value {
    json!({"metadata": {"name": "sample"}, "spec": {"ports": [{"port": 7443, "targetPort": 443}]}})
}

fn slice(extension: &Extension) -> Value {
    json!({
        "metadata": {"name": "sample", "labels": {"kubernetes.io/service-name": "sample"}},
        "addressType": "IPv4",
        "ports": [{"name": "", "port": extension.port}],
        "endpoints": [{"addresses": [ADDRESS]}],
    })
}

fn api_service(bundle: &str) -> Value {
    json!({
        "metadata": {"name": NAME},
        "spec": {
            "group": GROUP, "version": "v1alpha1", "groupPriorityMinimum": 2000, "versionPriority": 200,
            "service": {"namespace": "default", "name": "sample", "port": 7443}, "caBundle": STANDARD.encode(bundle),
        },
    })
}

/// The authority by which extension servers know this one.
async fn proxies(server: &Server) -> String {
    let path = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";
    let (code, map) = server.get(path).await;
    assert_eq!(code, 200, "{map}");
    assert_eq!(map["data"]["requestheader-allowed-names"], "[\"front-proxy-client\"]");
    assert_ne!(map["data"]["client-ca-file"], map["data"]["requestheader-client-ca-file"]);
    map["data"]["requestheader-client-ca-file"].as_str().unwrap().to_owned()
}

async fn extension(server: &Server) -> Extension {
    Extension::start("sample.default.svc", &proxies(server).await).await
}

/// Asks again until the answer fits.
async fn until(server: &Server, path: &str, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    for _ in 0..1_000 {
        last = server.get(path).await.1;
        if fits(&last) {
            return last;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{path} never {what}: {last}");
}

/// Waits until the API service is available, or not, for this reason; gives the message.
async fn until_reason(server: &Server, reason: &str) -> String {
    let path = format!("{API_SERVICES}/{NAME}");
    let is = |found: &Value| found["status"]["conditions"][0]["reason"] == reason;
    let found = until(server, &path, reason, is).await;
    let condition = &found["status"]["conditions"][0];
    let status = if reason == "Passed" { "True" } else { "False" };
    assert_eq!(condition["status"], status, "{condition}");
    condition["message"].as_str().unwrap().to_owned()
}

async fn registered() -> (Server, Extension) {
    registered_with(&["h2", "http/1.1"]).await
}

async fn registered_with(versions: &[&str]) -> (Server, Extension) {
    let server = Server::start().await;
    let extension = Extension::start_with("sample.default.svc", &proxies(&server).await, versions).await;
    assert_eq!(server.create(SERVICES, &service()).await.0, 201);
    assert_eq!(server.create(SLICES, &slice(&extension)).await.0, 201);
    let (code, made) = server.create(API_SERVICES, &api_service(&extension.bundle)).await;
    assert_eq!(code, 201, "{made}");
    until_reason(&server, "Passed").await;
    (server, extension)
}

async fn text(response: Response<ResponseBody>) -> (u16, String) {
    let code = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (code, String::from_utf8(bytes.to_vec()).unwrap())
}

async fn fetch(server: &Server, path: &str, accept: &str) -> (u16, String) {
    let request = Request::get(path).header("accept", accept).body(Full::<Bytes>::default()).unwrap();
    text(server.call(request).await).await
}

#[tokio::test]
async fn each_step_on_the_way_to_a_server_has_its_reason() {
    let server = Server::start().await;
    let extension = extension(&server).await;
    let mut other = service();
    other["spec"]["ports"][0]["port"] = 1.into();
    let stranger = Extension::start("sample.default.svc", &proxies(&server).await).await;
    assert_eq!(server.create(API_SERVICES, &api_service(&stranger.bundle)).await.0, 201);
    let message = until_reason(&server, "ServiceNotFound").await;
    assert_eq!(message, "service/sample in \"default\" is not present");
    let (code, told) = fetch(&server, FLUNDERS, "*/*").await;
    assert_eq!((code, told.as_str()), (503, "service unavailable\n"));
    let (_, metrics) = fetch(&server, "/metrics", "*/*").await;
    let missing = format!("aggregator_unavailable_apiservice{{name=\"{NAME}\"}} 1\n");
    assert!(metrics.contains(&missing), "{metrics}");
    let (_, index) = server.get("/").await;
    assert!(index["paths"].as_array().unwrap().iter().any(|path| path == ROOT), "{index}");

    assert_eq!(server.create(SERVICES, &other).await.0, 201);
    let message = until_reason(&server, "ServicePortError").await;
    assert_eq!(message, "service/sample in \"default\" is not listening on port 7443");
    let ports = json!({"spec": {"ports": [{"port": 7443, "targetPort": 443}]}});
    assert_eq!(server.send(Method::PATCH, &format!("{SERVICES}/sample"), MERGE, &ports).await.0, 200);
    let message = until_reason(&server, "EndpointsNotFound").await;
    assert_eq!(message, "cannot find endpointslices for service/sample in \"default\"");
    let mut unready = slice(&extension);
    unready["endpoints"][0]["conditions"] = json!({"ready": false});
    assert_eq!(server.create(SLICES, &unready).await.0, 201);
    let message = until_reason(&server, "MissingEndpoints").await;
    let expected = "endpointslices for service/sample in \"default\" have no addresses with port name \"\"";
    assert_eq!(message, expected);
    let ready = json!({"endpoints": [{"addresses": [ADDRESS]}]});
    assert_eq!(server.send(Method::PATCH, &format!("{SLICES}/sample"), MERGE, &ready).await.0, 200);
    let message = until_reason(&server, "FailedDiscoveryCheck").await;
    let url = format!("https://sample.default.svc:7443{ROOT}");
    assert!(
        message.starts_with(&format!("failing or missing response from {url}: Get \"{url}\": tls: ")),
        "{message}"
    );

    let own = json!({"spec": {"caBundle": STANDARD.encode(&extension.bundle)}});
    let path = format!("{API_SERVICES}/{NAME}");
    assert_eq!(server.send(Method::PATCH, &path, MERGE, &own).await.0, 200);
    assert_eq!(until_reason(&server, "Passed").await, "all checks passed");
    extension.set(Mode::Refusing);
    // Something happens there.
    assert_eq!(
        server.send(Method::PATCH, &path, MERGE, &json!({"spec": {"versionPriority": 1}})).await.0,
        200
    );
    let message = until_reason(&server, "FailedDiscoveryCheck").await;
    assert!(message.ends_with(&format!("bad status from {url}: 403")), "{message}");
    // Whoever does not ask for a certificate of the right one gets to it.
    extension.set(Mode::Well);
    let insecure = json!({"spec": {"caBundle": null, "insecureSkipTLSVerify": true}});
    assert_eq!(server.send(Method::PATCH, &path, MERGE, &insecure).await.0, 200);
    until_reason(&server, "Passed").await;
}

#[tokio::test]
async fn a_request_is_passed_on_with_the_name_of_whoever_asks() {
    let (server, _extension) = registered().await;
    let body = json!({"kind": "Flunder"}).to_string();
    let mut request = Request::post(format!("{FLUNDERS}?dryRun=whatever&x=%2F"))
        .header("content-type", "application/json")
        .header("authorization", "Bearer s3cret")
        .header("x-remote-user", "root")
        .header("x-remote-group", "system:masters")
        .header("x-remote-extra-scopes", "all")
        .header("connection", "x-hop")
        .header("x-hop", "1")
        .header("x-custom", "kept")
        .body(Full::new(Bytes::from(body.clone())))
        .unwrap();
    request.headers_mut().remove("authorization");
    let mut user = User::new("jane", [ADMINISTRATORS, AUTHENTICATED]);
    user.uid = "u-1".to_owned();
    user.extra.insert("example.org/scopes".to_owned(), vec!["a".to_owned(), "b".to_owned()]);
    request.extensions_mut().insert(user);
    let (code, told) = text(server.call(request).await).await;
    assert_eq!(code, 200, "{told}");
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["method"], &told["body"]), (&json!("POST"), &json!(body)));
    assert_eq!((&told["proxy"], &told["version"]), (&json!("front-proxy-client"), &json!("HTTP/2.0")));
    assert!(told["path"].as_str().unwrap().ends_with("/flunders?dryRun=whatever&x=%2F"), "{told}");
    let headers = &told["headers"];
    assert_eq!(headers["x-remote-user"], json!(["jane"]));
    assert_eq!(headers["x-remote-uid"], json!(["u-1"]));
    assert_eq!(headers["x-remote-group"], json!([ADMINISTRATORS, AUTHENTICATED]));
    assert_eq!(headers["x-remote-extra-example.org%2fscopes"], json!(["a", "b"]));
    assert_eq!(headers["x-custom"], json!(["kept"]));
    for gone in ["x-remote-extra-scopes", "x-hop", "authorization"] {
        assert_eq!(headers[gone], Value::Null, "{gone}");
    }
    // Who may not, is told so here.
    let mut request = Request::get(FLUNDERS).body(Full::<Bytes>::default()).unwrap();
    request.extensions_mut().insert(User::new("mallory", [AUTHENTICATED]));
    let (code, told) = text(server.call(request).await).await;
    assert_eq!(code, 403, "{told}");
    assert!(told.contains("flunders.wardle.example.com is forbidden"), "{told}");
    let (code, told) = fetch(&server, &format!("{ROOT}/elsewhere"), "*/*").await;
    assert_eq!(code, 502, "{told}");
}

#[tokio::test]
async fn a_watch_comes_as_it_goes_on() {
    let (server, _extension) = registered().await;
    let request = Request::get(format!("{FLUNDERS}?watch=1")).body(Full::<Bytes>::default()).unwrap();
    let mut body = server.call(request).await.into_body();
    let mut seen = String::new();
    while !seen.contains("3\n") {
        let frame = body.frame().await.unwrap().unwrap();
        seen.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
    }
    assert!(seen.starts_with("0\n1\n2\n"), "{seen}");
}

#[tokio::test]
async fn a_server_that_knows_only_the_older_http_is_spoken_to_in_that() {
    let (server, _extension) = registered_with(&["http/1.1"]).await;
    for number in 0..3 {
        let (code, told) = server.create(&format!("{FLUNDERS}?n={number}"), &json!({"n": number})).await;
        assert_eq!((code, &told["version"]), (200, &json!("HTTP/1.1")));
        assert_eq!(told["headers"]["host"], json!(["sample.default.svc:7443"]));
        assert_eq!(told["body"], json!({"n": number}).to_string());
    }
}

#[tokio::test]
async fn a_connection_that_becomes_something_else_goes_through() {
    let (server, _extension) = registered().await;
    let binding = json!({
        "metadata": {"name": "robot"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "robot"}],
    });
    let path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    assert_eq!(server.create(path, &binding).await.0, 201);
    let mut stream = crate::sockets::connect_to(&server).await;
    let head = format!(
        "GET {FLUNDERS}/x/connect/deep HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer s3cret\r\n\
         connection: Upgrade\r\nupgrade: echo\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    stream.write_all(b"echo").await.unwrap();
    let mut four = [0; 4];
    stream.read_exact(&mut four).await.unwrap();
    assert_eq!(&four, b"ECHO");
}

#[tokio::test]
async fn what_a_server_has_is_told_with_everything_else_until_it_is_gone() {
    const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let (server, extension) = registered().await;
    let groups =
        until(&server, "/apis", "told of the group", |found| found.to_string().contains(GROUP)).await;
    let names: Vec<&str> =
        groups["groups"].as_array().unwrap().iter().map(|group| group["name"].as_str().unwrap()).collect();
    let place = |name: &str| names.iter().position(|own| *own == name).unwrap();
    assert!(place(GROUP) > place("flowcontrol.apiserver.k8s.io"), "{names:?}");
    let (code, group) = server.get(&format!("/apis/{GROUP}")).await;
    assert_eq!((code, &group["preferredVersion"]["version"]), (200, &json!("v1alpha1")));
    assert_eq!(server.get(ROOT).await.1["kind"], "APIResourceList");

    let version = |told: &str| -> Value {
        let document: Value = serde_json::from_str(told).unwrap();
        let items = document["items"].as_array().unwrap().iter();
        items
            .clone()
            .find(|item| item["metadata"]["name"] == GROUP)
            .map_or(Value::Null, |item| item["versions"][0].clone())
    };
    let mut told = Value::Null;
    for _ in 0..500 {
        told = version(&fetch(&server, "/apis", AGGREGATED).await.1);
        if told["freshness"] == "Current" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(
        (&told["freshness"], &told["resources"][0]["resource"]),
        (&json!("Current"), &json!("flunders")),
        "{told}"
    );
    assert_eq!(told["resources"][0]["secret"], Value::Null, "only what is known is passed on");

    let root = until(&server, "/openapi/v3", "named it", |root| {
        root["paths"]["apis/wardle.example.com/v1alpha1"].is_object()
    });
    let url = root.await["paths"]["apis/wardle.example.com/v1alpha1"]["serverRelativeURL"].clone();
    assert_eq!(url, "/openapi/v3/apis/wardle.example.com/v1alpha1?hash=0A");
    let (code, passed) = server.get(url.as_str().unwrap()).await;
    assert_eq!((code, &passed["path"]), (200, &url), "it is passed on");
    let (_, spec) = server.get("/openapi/v2").await;
    assert!(spec["paths"][format!("{ROOT}/flunders")]["get"].is_object());
    assert_eq!(spec["definitions"]["Flunder"], json!({"type": "object"}));
    assert!(spec["paths"]["/api/v1/namespaces"].is_object() && spec["paths"]["/apis/apps/v1/"] != json!({}));

    // It does not answer any more: what it had is still told, as what it was.
    extension.set(Mode::Refusing);
    let path = format!("{API_SERVICES}/{NAME}");
    assert_eq!(
        server.send(Method::PATCH, &path, MERGE, &json!({"spec": {"versionPriority": 1}})).await.0,
        200
    );
    until_reason(&server, "FailedDiscoveryCheck").await;
    for _ in 0..500 {
        told = version(&fetch(&server, "/apis", AGGREGATED).await.1);
        if told["freshness"] == "Stale" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(
        (&told["freshness"], &told["resources"][0]["resource"]),
        (&json!("Stale"), &json!("flunders")),
        "{told}"
    );

    assert_eq!(server.send(Method::DELETE, &path, "application/json", &json!({})).await.0, 200);
    assert_eq!(version(&fetch(&server, "/apis", AGGREGATED).await.1), Value::Null);
    assert_eq!(server.get(&format!("/apis/{GROUP}")).await.0, 404);
    assert_eq!(server.get(FLUNDERS).await.0, 404);
    assert_eq!(server.get("/openapi/v2").await.1["definitions"]["Flunder"], Value::Null);
}

#[tokio::test]
async fn a_server_that_talks_rubbish_is_told_as_stale_and_harms_no_other() {
    const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let server = Server::start().await;
    let extension = extension(&server).await;
    extension.set(Mode::Rubbish);
    assert_eq!(server.create(SERVICES, &service()).await.0, 201);
    assert_eq!(server.create(SLICES, &slice(&extension)).await.0, 201);
    assert_eq!(server.create(API_SERVICES, &api_service(&extension.bundle)).await.0, 201);
    until_reason(&server, "Passed").await;
    let (code, told) = fetch(&server, "/apis", AGGREGATED).await;
    assert_eq!(code, 200);
    let document: Value = serde_json::from_str(&told).unwrap();
    let own =
        document["items"].as_array().unwrap().iter().find(|item| item["metadata"]["name"] == GROUP).unwrap();
    assert_eq!(own["versions"][0], json!({"version": "v1alpha1", "freshness": "Stale"}));
    assert_eq!(server.get("/openapi/v2").await.0, 200);
    assert_eq!(server.get("/apis/apps/v1").await.0, 200);
    assert_eq!(server.get(FLUNDERS).await.0, 200, "its requests are passed on all the same");

    extension.set(Mode::Old);
    let path = format!("{API_SERVICES}/{NAME}");
    // It goes and comes back, and is asked again.
    assert_eq!(
        server.send(Method::PATCH, &path, MERGE, &json!({"spec": {"service": {"port": 1}}})).await.0,
        200
    );
    until_reason(&server, "ServicePortError").await;
    assert_eq!(
        server.send(Method::PATCH, &path, MERGE, &json!({"spec": {"service": {"port": 7443}}})).await.0,
        200
    );
    until_reason(&server, "Passed").await;
    for _ in 0..500 {
        let (_, told) = fetch(&server, "/apis", AGGREGATED).await;
        if told.contains("flunders") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("a server that knows only the older form was never understood");
}

#[tokio::test]
async fn what_is_served_here_is_registered_as_local() {
    let server = Server::start().await;
    let (_, apps) = server.get(&format!("{API_SERVICES}/v1.apps")).await;
    assert_eq!(apps["metadata"]["labels"]["kube-aggregator.kubernetes.io/automanaged"], "onstart");
    let condition = &apps["status"]["conditions"][0];
    assert_eq!((&condition["status"], &condition["reason"]), (&json!("True"), &json!("Local")));
    assert_eq!(server.get(&format!("{API_SERVICES}/v1.")).await.0, 200);

    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}],
        },
    });
    server.define(&definition).await;
    let own = format!("{API_SERVICES}/v1.example.com");
    until(&server, &own, "was registered", |found| found["spec"]["groupPriorityMinimum"] == 1000).await;
    assert_eq!(server.send(Method::DELETE, &own, "application/json", &json!({})).await.0, 200);
    until(&server, &own, "came back", |found| found["kind"] == "APIService").await;
    let path = format!("{}/things.example.com", crate::server::DEFINITIONS);
    assert_eq!(server.send(Method::DELETE, &path, "application/json", &json!({})).await.0, 200);
    until(&server, &own, "went", |found| found["code"] == 404).await;
}
