//! Custom resources from the definition to the object, through the API's own HTTP service and over a real store.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::Service as _;
use xebec_apiserver::api::Api;
use xebec_apiserver::authenticate::Tokens;
use xebec_apiserver::authorizer::{ADMINISTRATORS, User};
use xebec_apiserver::catalog::Catalog;
use xebec_apiserver::cluster_ip::{ClusterIps, Range};
use xebec_apiserver::pods::NoPods;
use xebec_apiserver::service::Service;
use xebec_apiserver::storage::Storage;
use xebec_machinery::builtin;
use xebec_store::{Options, Store};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const CRONTABS: &str = "/apis/stable.example.com/v1/namespaces/default/crontabs";

struct Server {
    service: Service,
    stop: CancellationToken,
    _data: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Server {
    async fn start() -> Self {
        let data = tempfile::tempdir().expect("a directory");
        let store = Store::open(data.path(), &Options::default()).expect("an empty store");
        let stop = CancellationToken::new();
        let range = Range::new(Ipv4Addr::new(10, 96, 0, 0), 16).expect("a range");
        let catalog = Catalog::new(builtin::resources().to_vec());
        let api = Api::new(Storage::new(store), catalog, ClusterIps::new(range), stop.clone());
        api.prepare(6443).await.expect("the first objects");
        let service = Service::new(api.clone(), Tokens::default(), Arc::new(NoPods), "127.0.0.1:6443".into());
        tokio::spawn(async move { api.serve_definitions().await });
        Self { service, stop, _data: data }
    }

    async fn send(&self, method: Method, path: &str, media: &str, body: &Value) -> (u16, Value) {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", media)
            .body(Full::new(Bytes::from(body.to_string())))
            .expect("a request");
        let user = User { name: "tester".to_owned(), groups: vec![ADMINISTRATORS.to_owned()] };
        request.extensions_mut().insert(user);
        let response = self.service.clone().call(request).await.expect("an answer");
        let code = response.status().as_u16();
        let bytes = response.into_body().collect().await.expect("a body").to_bytes();
        (code, serde_json::from_slice(&bytes).expect("JSON"))
    }

    async fn create(&self, path: &str, body: &Value) -> (u16, Value) {
        self.send(Method::POST, path, "application/json", body).await
    }

    /// Creates the definition and waits until it is served.
    async fn define(&self) {
        let (code, answer) = self.create(DEFINITIONS, &definition()).await;
        assert_eq!(code, 201, "{answer}");
        let found = self.until("crontabs.stable.example.com", "Established", "InitialNamesAccepted").await;
        assert_eq!(found["status"]["storedVersions"], json!(["v1"]));
    }

    /// Waits until the condition of a definition has this reason.
    async fn until(&self, name: &str, condition: &str, reason: &str) -> Value {
        let path = format!("{DEFINITIONS}/{name}");
        for _ in 0..500 {
            let (_, found) = self.send(Method::GET, &path, "application/json", &Value::Null).await;
            let conditions = found["status"]["conditions"].as_array().cloned().unwrap_or_default();
            if conditions.iter().any(|one| one["type"] == condition && one["reason"] == reason) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{condition} of {name} was never {reason}");
    }
}

fn definition() -> Value {
    let schema = json!({"type": "object", "properties": {"spec": {
        "type": "object",
        "required": ["cronSpec"],
        "properties": {
            "cronSpec": {"type": "string", "pattern": "^(\\d+|\\*)(/\\d+)?(\\s+(\\d+|\\*)(/\\d+)?){4}$"},
            "replicas": {"type": "integer", "minimum": 1, "maximum": 10, "default": 1},
            "note": {"type": "string", "nullable": true},
        },
    }}});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "crontabs.stable.example.com"},
        "spec": {
            "group": "stable.example.com", "scope": "Namespaced",
            "names": {"plural": "crontabs", "kind": "CronTab", "shortNames": ["ct"]},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        },
    })
}

fn crontab(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "stable.example.com/v1", "kind": "CronTab", "metadata": {"name": name}, "spec": spec})
}

#[tokio::test]
async fn an_object_is_completed_and_pruned_by_its_schema() {
    let server = Server::start().await;
    server.define().await;
    let object = crontab("a", json!({"cronSpec": "* * * * */5", "note": null, "unknown": 1}));
    let (code, made) = server.create(CRONTABS, &object).await;
    assert_eq!(code, 201, "{made}");
    assert_eq!(made["spec"], json!({"cronSpec": "* * * * */5", "note": null, "replicas": 1}));
    assert_eq!(made["metadata"]["generation"], 1);
    let patch = json!({"metadata": {"labels": {"a": "b"}}});
    let one = format!("{CRONTABS}/a");
    let (_, labelled) = server.send(Method::PATCH, &one, "application/merge-patch+json", &patch).await;
    assert_eq!(labelled["metadata"]["generation"], 1, "{labelled}");
    let patch = json!({"spec": {"replicas": 2}});
    let (_, scaled) = server.send(Method::PATCH, &one, "application/merge-patch+json", &patch).await;
    assert_eq!(scaled["metadata"]["generation"], 2, "{scaled}");

    let strict = format!("{CRONTABS}?fieldValidation=Strict");
    let (code, refused) =
        server.create(&strict, &crontab("b", json!({"cronSpec": "* * * * *", "unknown": 1}))).await;
    assert_eq!(code, 400);
    assert!(refused["message"].as_str().unwrap().contains("unknown field \"spec.unknown\""), "{refused}");
}

#[tokio::test]
async fn an_object_that_breaks_its_schema_is_refused_with_every_cause() {
    let server = Server::start().await;
    server.define().await;
    let (code, refused) =
        server.create(CRONTABS, &crontab("a", json!({"cronSpec": "* * * *", "replicas": 15}))).await;
    assert_eq!(code, 422);
    let message = refused["message"].as_str().unwrap();
    for part in [
        r#"CronTab.stable.example.com "a" is invalid: ["#,
        r#"spec.cronSpec: Invalid value: "* * * *": spec.cronSpec in body should match '^(\d+|\*)"#,
        "spec.replicas: Invalid value: 15: spec.replicas in body should be less than or equal to 10",
    ] {
        assert!(message.contains(part), "{part}\n{message}");
    }
    assert_eq!(refused["details"]["causes"].as_array().unwrap().len(), 2);

    let (code, refused) = server.create(CRONTABS, &crontab("a", json!({"cronSpec": 5}))).await;
    assert_eq!(code, 422);
    let text =
        r#"spec.cronSpec: Invalid value: "integer": spec.cronSpec in body must be of type string: "integer""#;
    assert!(refused["message"].as_str().unwrap().ends_with(text), "{refused}");

    let (code, refused) = server.create(CRONTABS, &crontab("A", json!({}))).await;
    assert_eq!(code, 422);
    assert!(refused["message"].as_str().unwrap().contains("spec.cronSpec: Required value"), "{refused}");

    // What a patch makes of an object is held to the same rules.
    let (code, _) = server.create(CRONTABS, &crontab("a", json!({"cronSpec": "* * * * *"}))).await;
    assert_eq!(code, 201);
    let one = format!("{CRONTABS}/a");
    let patch = json!({"spec": {"replicas": 0}});
    let (code, _) = server.send(Method::PATCH, &one, "application/merge-patch+json", &patch).await;
    assert_eq!(code, 422);
    let applied = json!({
        "apiVersion": "stable.example.com/v1", "kind": "CronTab", "metadata": {"name": "a"}, "spec": {"replicas": "two"},
    });
    let forced = format!("{one}?fieldManager=test&force=true");
    let (code, refused) = server.send(Method::PATCH, &forced, "application/apply-patch+yaml", &applied).await;
    assert!((400..500).contains(&code), "{code} {refused}");
}

#[tokio::test]
async fn a_definition_that_is_wrong_is_refused() {
    let server = Server::start().await;
    let mut given = definition();
    given["metadata"]["name"] = json!("other.stable.example.com");
    given["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["replicas"] =
        json!({});
    let (code, refused) = server.create(DEFINITIONS, &given).await;
    assert_eq!(code, 422);
    let message = refused["message"].as_str().unwrap();
    for part in [
        r#"metadata.name: Invalid value: "other.stable.example.com": must be spec.names.plural+"."+spec.group"#,
        "spec.validation.openAPIV3Schema.properties[spec].properties[replicas].type: Required value: must not be empty",
    ] {
        assert!(message.contains(part), "{part}\n{message}");
    }
}

#[tokio::test]
async fn a_definition_keeps_its_group_and_kind() {
    let server = Server::start().await;
    server.define().await;
    let path = format!("{DEFINITIONS}/crontabs.stable.example.com");
    let patch = json!({"spec": {"names": {"kind": "Other"}}});
    let (code, refused) = server.send(Method::PATCH, &path, "application/merge-patch+json", &patch).await;
    assert_eq!(code, 422);
    let text = r#"spec.names.kind: Invalid value: "Other": field is immutable"#;
    assert!(refused["message"].as_str().unwrap().contains(text), "{refused}");

    let patch = json!({"spec": {"names": {"categories": ["all"]}}});
    let (code, changed) = server.send(Method::PATCH, &path, "application/merge-patch+json", &patch).await;
    assert_eq!(code, 200, "{changed}");
}

#[tokio::test]
async fn a_definition_waits_for_names_that_another_has() {
    let server = Server::start().await;
    server.define().await;
    let mut second = definition();
    second["metadata"]["name"] = json!("jobs.stable.example.com");
    second["spec"]["names"] = json!({"plural": "jobs", "kind": "CronTab", "listKind": "JobList"});
    assert_eq!(server.create(DEFINITIONS, &second).await.0, 201);
    let found = server.until("jobs.stable.example.com", "NamesAccepted", "KindConflict").await;
    assert_eq!(found["status"]["acceptedNames"]["plural"], "jobs");
    let jobs = "/apis/stable.example.com/v1/namespaces/default/jobs";
    assert_eq!(server.send(Method::GET, jobs, "application/json", &Value::Null).await.0, 404);

    let first = format!("{DEFINITIONS}/crontabs.stable.example.com");
    assert_eq!(server.send(Method::DELETE, &first, "application/json", &json!({})).await.0, 200);
    server.until("jobs.stable.example.com", "Established", "InitialNamesAccepted").await;
    assert_eq!(server.send(Method::GET, jobs, "application/json", &Value::Null).await.0, 200);
}
