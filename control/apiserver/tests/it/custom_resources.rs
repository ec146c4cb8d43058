//! Custom resources from the definition to the object, through the API's own HTTP service and over a real store.

use http::Method;
use serde_json::{Value, json};

use crate::server::{DEFINITIONS, Server};

const CRONTABS: &str = "/apis/stable.example.com/v1/namespaces/default/crontabs";

async fn define(server: &Server) {
    server.define(&definition()).await;
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
    define(&server).await;
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
async fn a_status_that_nobody_has_written_is_what_the_schema_says() {
    let server = Server::start().await;
    let mut definition = definition();
    let version = &mut definition["spec"]["versions"][0];
    version["subresources"] = json!({"status": {}});
    version["schema"]["openAPIV3Schema"]["properties"]["status"] = json!({
        "type": "object", "default": {"phase": "Pending"}, "properties": {"phase": {"type": "string"}},
    });
    server.define(&definition).await;
    let mut object = crontab("a", json!({"cronSpec": "* * * * */5"}));
    object["status"] = json!({"phase": "Mine"});
    let (code, made) = server.create(CRONTABS, &object).await;
    assert_eq!((code, &made["status"]), (201, &json!({"phase": "Pending"})), "{made}");
    let (_, read) = server.get(&format!("{CRONTABS}/a")).await;
    assert_eq!(read["status"], json!({"phase": "Pending"}));
}

#[tokio::test]
async fn an_object_that_breaks_its_schema_is_refused_with_every_cause() {
    let server = Server::start().await;
    define(&server).await;
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
    // Upstream has no better code for what does not fit the schema of an apply.
    assert_eq!((code, refused.get("reason")), (500, None), "{refused}");
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
    define(&server).await;
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
    define(&server).await;
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

#[tokio::test]
async fn the_documentation_of_a_defined_kind_has_its_definitions_words() {
    let server = Server::start().await;
    let mut given = definition();
    let schema = &mut given["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    schema["description"] = "When to do what.".into();
    schema["properties"]["spec"]["properties"]["cronSpec"]["description"] = "The hours.".into();
    server.define(&given).await;
    let name = "com.example.stable.v1.CronTab";
    let (code, document) = server.get("/openapi/v3/apis/stable.example.com/v1").await;
    assert_eq!(code, 200, "{document}");
    let found = &document["components"]["schemas"][name];
    assert_eq!(found["description"], "When to do what.");
    let hours = &found["properties"]["spec"]["properties"]["cronSpec"];
    assert_eq!(hours["description"], "The hours.");
    assert!(hours["pattern"].is_string(), "{hours}");
    let (_, root) = server.get("/openapi/v3").await;
    let url = root["paths"]["apis/stable.example.com/v1"]["serverRelativeURL"].as_str().unwrap().to_owned();

    // New words are new contents under another address.
    let patch = json!([{
        "op": "replace",
        "path": "/spec/versions/0/schema/openAPIV3Schema/description",
        "value": "When, and what.",
    }]);
    let path = format!("{DEFINITIONS}/crontabs.stable.example.com");
    let (code, answer) = server.send(Method::PATCH, &path, "application/json-patch+json", &patch).await;
    assert_eq!(code, 200, "{answer}");
    for _ in 0..500 {
        let (_, root) = server.get("/openapi/v3").await;
        let next =
            root["paths"]["apis/stable.example.com/v1"]["serverRelativeURL"].as_str().unwrap().to_owned();
        if next != url {
            let (_, document) = server.get(&next).await;
            assert_eq!(document["components"]["schemas"][name]["description"], "When, and what.");
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the address of the documentation never changed");
}

/// A definition of another kind in the same group.
fn define_other(plural: &str, kind: &str) -> Value {
    let mut other = definition();
    other["metadata"]["name"] = format!("{plural}.stable.example.com").into();
    other["spec"]["names"] = json!({"plural": plural, "kind": kind});
    other
}

async fn gone(server: &Server, path: &str) {
    for _ in 0..500 {
        if server.get(path).await.0 == 404 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{path} never went");
}

#[tokio::test]
async fn a_definition_without_room_for_its_status_is_refused_and_one_that_grew_stops_no_other() {
    let server = Server::start().await;
    let words = |bytes: usize| "x".repeat(bytes);
    let mut large = define_other("larges", "Large");
    let schema = "/spec/versions/0/schema/openAPIV3Schema";
    large.pointer_mut(schema).unwrap()["description"] = words((3 << 19) - 3_000).into();
    let (code, refused) = server.create(DEFINITIONS, &large).await;
    assert_eq!(code, 413, "{refused}");
    assert!(refused["message"].as_str().unwrap().contains("its status may need"), "{refused}");

    // Metadata may fill what was left, before the definition is settled.
    large.pointer_mut(schema).unwrap()["description"] = words((3 << 19) - 40_000).into();
    large["metadata"]["annotations"] = json!({"a": "x"});
    assert_eq!(server.create(DEFINITIONS, &large).await.0, 201);
    server.define(&define_other("smalls", "Small")).await;
    let smalls = "/apis/stable.example.com/v1/namespaces/default/smalls";
    let mut small = crontab("a", json!({"cronSpec": "* * * * *"}));
    small["kind"] = "Small".into();
    assert_eq!(server.create(smalls, &small).await.0, 201);
}

#[tokio::test]
async fn the_upkeep_of_definitions_ends_with_the_api_also_while_one_cannot_be_settled() {
    let server = Server::start().await;
    // What an older server, or a larger limit, may have left behind.
    let mut stuck = define_other("stucks", "Stuck");
    stuck.pointer_mut("/spec/versions/0/schema/openAPIV3Schema").unwrap()["description"] = "".into();
    let empty = stuck.to_string().len();
    let words = "x".repeat((3 << 19) - empty);
    stuck.pointer_mut("/spec/versions/0/schema/openAPIV3Schema").unwrap()["description"] = words.into();
    let key = "/registry/apiextensions.k8s.io/customresourcedefinitions/stucks.stable.example.com";
    server.store.create(key, stuck.to_string().into()).await.unwrap();
    // The others are settled, and roles go on.
    define(&server).await;
    server.stop.cancel();
    let ended = tokio::time::timeout(std::time::Duration::from_secs(5), server.upkeep_ended()).await;
    assert!(ended.is_ok(), "the upkeep goes on after the API was stopped");
}

#[tokio::test]
async fn a_definition_goes_after_its_objects_and_takes_no_new_ones_meanwhile() {
    let server = Server::start().await;
    define(&server).await;
    server.define(&define_other("others", "Other")).await;
    let mut held = crontab("held", json!({"cronSpec": "* * * * *"}));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    assert_eq!(server.create(CRONTABS, &held).await.0, 201);
    for number in 0..20 {
        let object = crontab(&format!("free-{number}"), json!({"cronSpec": "* * * * *"}));
        assert_eq!(server.create(CRONTABS, &object).await.0, 201);
    }
    let first = format!("{DEFINITIONS}/crontabs.stable.example.com");
    assert_eq!(server.send(Method::DELETE, &first, "application/json", &json!({})).await.0, 200);
    server.until("crontabs.stable.example.com", "Terminating", "InstanceDeletionInProgress").await;
    for number in 0..20 {
        gone(&server, &format!("{CRONTABS}/free-{number}")).await;
    }
    let one = format!("{CRONTABS}/held");
    let (code, found) = server.get(&one).await;
    assert_eq!(code, 200, "a finalizer holds its object: {found}");
    assert!(found["metadata"]["deletionTimestamp"].is_string(), "{found}");

    let (code, refused) = server.create(CRONTABS, &crontab("late", json!({"cronSpec": "* * * * *"}))).await;
    let why = "create not allowed while custom resource definition is terminating";
    assert_eq!((code, refused["message"].as_str()), (405, Some(why)));
    let applied = crontab("late", json!({"cronSpec": "* * * * *"}));
    let late = format!("{CRONTABS}/late?fieldManager=a");
    assert_eq!(server.send(Method::PATCH, &late, "application/apply-patch+yaml", &applied).await.0, 405);
    // Meanwhile other definitions are served, and objects that are there can be changed.
    server.define(&define_other("thirds", "Third")).await;
    assert_eq!(server.get(&first).await.0, 200, "the definition waits for its objects");

    let patch = json!({"metadata": {"finalizers": null}});
    assert_eq!(server.send(Method::PATCH, &one, "application/merge-patch+json", &patch).await.0, 200);
    gone(&server, &first).await;
    gone(&server, CRONTABS).await;

    // A definition of the same name begins anew, with no object of the one before.
    define(&server).await;
    let (_, list) = server.get(CRONTABS).await;
    assert_eq!(list["items"], json!([]));
    assert_eq!(server.create(CRONTABS, &applied).await.0, 201);
}
