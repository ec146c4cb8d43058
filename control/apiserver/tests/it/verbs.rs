//! What may be done where, and under which conditions.

use http::Method;
use serde_json::{Value, json};
use xebec_apiserver::user::{AUTHENTICATED, User};

use crate::server::{Server, ask};

const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

#[tokio::test]
async fn only_reading_goes_across_namespaces() {
    let server = Server::start().await;
    let map = json!({"metadata": {"name": "a", "namespace": "default"}});
    assert_eq!(server.create("/api/v1/namespaces/default/configmaps", &map).await.0, 201);
    let why = "the server does not allow this method on the requested resource";
    for method in [Method::DELETE, Method::POST] {
        let (code, answer) = server.send(method, "/api/v1/configmaps", JSON, &map).await;
        assert_eq!((code, answer["message"].as_str()), (405, Some(why)), "{answer}");
        assert_eq!(answer["reason"], "MethodNotAllowed");
    }
    let (code, list) = server.get("/api/v1/configmaps?fieldSelector=metadata.name%3Da").await;
    assert_eq!((code, list["items"].as_array().map(Vec::len)), (200, Some(1)), "nothing was deleted");
    let review = json!({"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}});
    assert_eq!(server.create("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", &review).await.0, 201);
}

#[tokio::test]
async fn a_stream_that_begins_with_a_get_needs_leave_to_create() {
    let server = Server::start().await;
    let rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    let streams = ["pods/exec", "pods/attach", "pods/portforward"];
    let rules = json!([{"verbs": ["get"], "apiGroups": [""], "resources": streams}]);
    let role = json!({"metadata": {"name": "look"}, "rules": rules});
    assert_eq!(server.create(&format!("{rbac}/roles"), &role).await.0, 201);
    let binding = json!({
        "metadata": {"name": "look"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "look"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"}],
    });
    assert_eq!(server.create(&format!("{rbac}/rolebindings"), &binding).await.0, 201);
    let jane = User::new("jane", [AUTHENTICATED]);
    let pod = json!({"metadata": {"name": "a"}, "spec": {"containers": [{"name": "a", "image": "a"}]}});
    assert_eq!(server.create("/api/v1/namespaces/default/pods", &pod).await.0, 201);
    for stream in ["exec", "attach", "portforward"] {
        let path = format!("/api/v1/namespaces/default/pods/a/{stream}?command=sh&stdout=1&ports=80");
        let (code, answer) = ask(&server, &jane, Method::GET, &path, &[], &Value::Null).await;
        let why = format!(
            "pods \"a\" is forbidden: User \"jane\" cannot create resource \"pods/{stream}\" in API group \"\" in the \
             namespace \"default\""
        );
        assert_eq!((code, answer["message"].as_str()), (403, Some(why.as_str())), "{answer}");
        // With that leave, the stream goes on to what comes next.
        assert_eq!(server.get(&path).await.0, 400);
    }
}

/// A custom resource with a scale, and its path.
async fn defined(server: &Server) -> &'static str {
    let number = json!({"type": "integer"});
    let replicas = json!({"type": "object", "properties": {"replicas": number}});
    let schema = json!({"type": "object", "properties": {"spec": replicas, "status": replicas}});
    let scale = json!({"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"});
    server
        .define(&json!({
            "metadata": {"name": "sets.example.com"},
            "spec": {
                "group": "example.com", "scope": "Namespaced", "names": {"plural": "sets", "kind": "Set"},
                "versions": [{
                    "name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema},
                    "subresources": {"scale": scale, "status": {}},
                }],
            },
        }))
        .await;
    let sets = "/apis/example.com/v1/namespaces/default/sets";
    let set = json!({"apiVersion": "example.com/v1", "kind": "Set", "metadata": {"name": "a"}, "spec": {"replicas": 1}});
    let (code, answer) = server.create(sets, &set).await;
    assert_eq!(code, 201, "{answer}");
    "/apis/example.com/v1/namespaces/default/sets/a"
}

#[tokio::test]
async fn some_kinds_are_replaced_only_by_those_who_say_what_they_have_seen() {
    let server = Server::start().await;
    let custom = defined(&server).await;
    let lease = "/apis/coordination.k8s.io/v1/namespaces/default/leases/a";
    let made = json!({"metadata": {"name": "a"}, "spec": {"holderIdentity": "me"}});
    assert_eq!(server.create(lease.strip_suffix("/a").unwrap(), &made).await.0, 201);
    for (path, name) in [(custom, "sets.example.com"), (lease, "leases.coordination.k8s.io")] {
        let (_, mut object) = server.get(path).await;
        let version = object["metadata"]["resourceVersion"].take();
        object["metadata"].as_object_mut().unwrap().remove("resourceVersion");
        let why = format!(
            "{name} \"a\" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update"
        );
        let (code, answer) = server.send(Method::PUT, path, JSON, &object).await;
        assert_eq!((code, answer["message"].as_str()), (422, Some(why.as_str())), "{answer}");
        object["metadata"]["labels"] = json!({"a": "b"});
        object["metadata"]["resourceVersion"] = version;
        assert_eq!(server.send(Method::PUT, path, JSON, &object).await.0, 200);
        // A patch speaks of what is there.
        let patch = json!({"metadata": {"labels": {"a": "c"}}});
        assert_eq!(server.send(Method::PATCH, path, MERGE, &patch).await.0, 200);
    }
    let scale = json!({"metadata": {"name": "a", "namespace": "default"}, "spec": {"replicas": 3}});
    let (code, answer) = server.send(Method::PUT, &format!("{custom}/scale"), JSON, &scale).await;
    assert_eq!((code, &answer["spec"]["replicas"]), (200, &json!(3)), "{answer}");

    let maps = "/api/v1/namespaces/default/configmaps";
    let map = json!({"metadata": {"name": "a"}});
    assert_eq!(server.create(maps, &map).await.0, 201);
    assert_eq!(server.send(Method::PUT, &format!("{maps}/a"), JSON, &map).await.0, 200);
}

#[tokio::test]
async fn a_scale_takes_the_patches_that_are_patches_and_notes_its_owner() {
    let server = Server::start().await;
    let custom = defined(&server).await;
    let template = json!({
        "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "a", "image": "a"}]},
    });
    let deployment = json!({
        "metadata": {"name": "a"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": template},
    });
    assert_eq!(server.create(DEPLOYMENTS, &deployment).await.0, 201);
    for (path, strategic) in [(format!("{DEPLOYMENTS}/a"), 200), (custom.to_owned(), 415)] {
        let scale = format!("{path}/scale");
        let patch = json!({"spec": {"replicas": 2}});
        assert_eq!(server.send(Method::PATCH, &scale, "text/plain", &patch).await.0, 415);
        assert_eq!(server.send(Method::PATCH, &scale, JSON, &patch).await.0, 415);
        let media = "application/strategic-merge-patch+json";
        assert_eq!(server.send(Method::PATCH, &scale, media, &patch).await.0, strategic);
        let (code, answer) = server.send(Method::PATCH, &scale, MERGE, &patch).await;
        assert_eq!((code, &answer["spec"]["replicas"]), (200, &json!(2)), "{answer}");
        let patch = json!({"spec": {"replicas": -1}});
        let (code, answer) = server.send(Method::PATCH, &scale, MERGE, &patch).await;
        let why = "Scale.autoscaling \"a\" is invalid: spec.replicas: Invalid value: -1: must be greater than or equal to 0";
        assert_eq!((code, answer["message"].as_str()), (422, Some(why)), "{answer}");

        let applied = json!({
            "apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "a"}, "spec": {"replicas": 5},
        });
        let media = "application/apply-patch+yaml";
        assert_eq!(
            server.send(Method::PATCH, &scale, media, &applied).await.0,
            422,
            "who applies says as whom"
        );
        let mine = format!("{scale}?fieldManager=me");
        let (code, answer) = server.send(Method::PATCH, &mine, media, &applied).await;
        assert_eq!(code, 409, "someone else set the number: {answer}");
        let (code, answer) = server.send(Method::PATCH, &format!("{mine}&force=true"), media, &applied).await;
        assert_eq!((code, &answer["spec"]["replicas"]), (200, &json!(5)), "{answer}");
        let (_, object) = server.get(&path).await;
        let entries = object["metadata"]["managedFields"].as_array().unwrap();
        let own = entries.iter().find(|entry| entry["manager"] == "me").unwrap();
        assert_eq!((&own["operation"], &own["subresource"]), (&json!("Apply"), &json!("scale")), "{own}");
        assert_eq!(own["fieldsV1"], json!({"f:spec": {"f:replicas": {}}}));
    }
}

#[tokio::test]
async fn metadata_that_comes_with_a_status_counts_but_where_a_kind_keeps_it() {
    let server = Server::start().await;
    let template =
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "a", "image": "a"}]}});
    let spec = json!({"selector": {"matchLabels": {"a": "b"}}, "template": template});
    for (plural, kind, keeps_labels) in
        [("deployments", "Deployment", true), ("replicasets", "ReplicaSet", false)]
    {
        let path = format!("/apis/apps/v1/namespaces/default/{plural}");
        let body = json!({"kind": kind, "metadata": {"name": "a", "labels": {"old": "1"}}, "spec": spec});
        assert_eq!(server.create(&path, &body).await.0, 201);
        let patch = json!({
            "metadata": {"labels": {"new": "1"}, "annotations": {"seen": "yes"}},
            "spec": {"replicas": 5}, "status": {"replicas": 3},
        });
        let (code, changed) = server.send(Method::PATCH, &format!("{path}/a/status"), MERGE, &patch).await;
        assert_eq!((code, &changed["status"]["replicas"]), (200, &json!(3)), "{changed}");
        assert_eq!(changed["spec"]["replicas"], 1, "the status says nothing of the spec");
        assert_eq!(changed["metadata"]["annotations"]["seen"], "yes");
        assert_eq!(changed["metadata"]["labels"].get("new").is_none(), keeps_labels, "{changed}");
    }
}

#[tokio::test]
async fn an_event_of_the_newer_group_is_found_by_its_source() {
    let server = Server::start().await;
    let event = json!({
        "metadata": {"name": "a"}, "regarding": {"kind": "Pod", "namespace": "default", "name": "a"},
        "reportingController": "tester", "reportingInstance": "t-1", "action": "Do", "reason": "Done",
        "type": "Normal", "eventTime": "2026-01-01T00:00:00.000000Z",
    });
    let (code, made) = server.create("/apis/events.k8s.io/v1/namespaces/default/events", &event).await;
    assert_eq!(code, 201, "{made}");
    for (source, count) in [("tester", 1), ("other", 0)] {
        let path = format!("/api/v1/namespaces/default/events?fieldSelector=source%3D{source}");
        let found = server.get(&path).await.1;
        assert_eq!(found["items"].as_array().map(Vec::len), Some(count), "{source}");
    }
}

#[tokio::test]
async fn there_is_no_table_of_a_review() {
    let server = Server::start().await;
    let review = json!({"spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}});
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let admin = User::new("admin", [AUTHENTICATED]);
    for (accept, expected) in
        [("application/json", 201), ("application/json;as=Table;v=v1;g=meta.k8s.io", 406)]
    {
        let headers = [("accept", accept), ("content-type", JSON)];
        let (code, answer) = ask(&server, &admin, Method::POST, path, &headers, &review).await;
        assert_eq!(code, expected, "{answer}");
    }
}

#[tokio::test]
async fn parts_of_a_pod_are_written_by_their_own_subresources_alone() {
    let server = Server::start().await;
    let pods = "/api/v1/namespaces/default/pods";
    let resources = json!({"requests": {"cpu": "100m"}});
    let pod = json!({"metadata": {"name": "a"}, "spec": {"containers": [
        {"name": "a", "image": "a", "resources": resources},
    ]}});
    assert_eq!(server.create(pods, &pod).await.0, 201);
    let strategic = "application/strategic-merge-patch+json";
    let patch = async |part: &str, spec: Value| {
        server.send(Method::PATCH, &format!("{pods}/a/{part}"), strategic, &json!({"spec": spec})).await
    };
    let look = json!({"ephemeralContainers": [{"name": "look", "image": "b"}], "nodeName": "elsewhere"});
    let (code, with) = patch("ephemeralcontainers", look).await;
    assert_eq!((code, &with["metadata"]["generation"]), (200, &json!(2)), "{with}");
    assert_eq!(with["spec"]["ephemeralContainers"][0]["name"], "look");
    assert!(with["spec"].get("nodeName").is_none(), "nothing else was written");
    let (code, _) = patch("ephemeralcontainers", json!({"ephemeralContainers": null})).await;
    assert_eq!(code, 422, "who has joined stays");

    let more = json!({"requests": {"cpu": "200m"}});
    let resize = json!({"containers": [{"name": "a", "image": "c", "resources": more}]});
    let (code, resized) = patch("resize", resize).await;
    assert_eq!((code, &resized["metadata"]["generation"]), (200, &json!(3)), "{resized}");
    let container = &resized["spec"]["containers"][0];
    assert_eq!((&container["resources"], &container["image"]), (&more, &json!("a")));
    let none = json!({"containers": [{"name": "a", "resources": {"requests": null}}]});
    assert_eq!(patch("resize", none).await.0, 422, "the class of a pod stays");
}

#[tokio::test]
async fn some_kinds_are_made_by_a_replacement_of_what_is_not_there() {
    let server = Server::start().await;
    let lease = "/apis/coordination.k8s.io/v1/namespaces/default/leases/mine";
    let body = json!({
        "metadata": {"name": "mine", "namespace": "default", "resourceVersion": "1"},
        "spec": {"holderIdentity": "me"},
    });
    let mut known = body.clone();
    known["metadata"]["uid"] = json!("8a4f5a4e-0f5e-4b43-8f0b-6a9c8b9a7f11");
    let (code, refused) = server.send(Method::PUT, lease, JSON, &known).await;
    assert_eq!((code, &refused["reason"]), (409, &json!("Conflict")), "{refused}");
    let (code, made) = server.send(Method::PUT, lease, "application/json", &body).await;
    assert_eq!((code, &made["spec"]["holderIdentity"]), (201, &json!("me")), "{made}");
    let (code, refused) = server.send(Method::PUT, lease, "application/json", &body).await;
    assert_eq!(code, 409, "it is there now, of another version: {refused}");
    let (code, replaced) = server.send(Method::PUT, lease, "application/json", &made).await;
    assert_eq!(code, 200, "{replaced}");

    let map = json!({"metadata": {"name": "mine"}});
    let path = "/api/v1/namespaces/default/configmaps/mine";
    let (code, refused) = server.send(Method::PUT, path, "application/json", &map).await;
    assert_eq!(code, 404, "others are not: {refused}");
}

#[tokio::test]
async fn a_pod_is_bound_only_as_the_one_that_was_meant() {
    let server = Server::start().await;
    let pods = "/api/v1/namespaces/default/pods";
    let pod = |name: &str, more: Value| {
        let mut spec = json!({"containers": [{"name": "a", "image": "a:1"}]});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"metadata": {"name": name, "finalizers": ["example.com/stay"]}, "spec": spec})
    };
    for (name, more) in
        [("a", json!({})), ("gated", json!({"schedulingGates": [{"name": "example.com/wait"}]}))]
    {
        let (code, made) = server.create(pods, &pod(name, more)).await;
        assert_eq!(code, 201, "{made}");
    }
    let bind = async |name: &str, meta: Value| {
        let mut binding = json!({"metadata": {"name": name}, "target": {"kind": "Node", "name": "n"}});
        binding["metadata"].as_object_mut().unwrap().extend(meta.as_object().unwrap().clone());
        server.create(&format!("{pods}/{name}/binding"), &binding).await
    };
    let (code, refused) = bind("a", json!({"uid": "8a4f5a4e-0f5e-4b43-8f0b-6a9c8b9a7f11"})).await;
    assert_eq!(code, 409, "{refused}");
    assert!(refused["message"].as_str().unwrap().contains("UID in precondition"), "{refused}");
    let (code, refused) = bind("a", json!({"resourceVersion": "1"})).await;
    assert_eq!(code, 409, "{refused}");
    let (code, refused) = bind("gated", json!({})).await;
    assert_eq!(code, 409, "{refused}");
    assert!(refused["message"].as_str().unwrap().ends_with("pod gated has non-empty .spec.schedulingGates"));

    let there = server.get(&format!("{pods}/a")).await.1;
    let meta = json!({"uid": there["metadata"]["uid"], "annotations": {"example.com/why": "room"}});
    assert_eq!(bind("a", meta).await.0, 201);
    let bound = server.get(&format!("{pods}/a")).await.1;
    assert_eq!(bound["spec"]["nodeName"], "n");
    assert_eq!(bound["metadata"]["annotations"]["example.com/why"], "room");
    let (_, refused) = bind("a", json!({})).await;
    assert!(
        refused["message"].as_str().unwrap().ends_with("pod a is already assigned to node \"n\""),
        "{refused}"
    );
    server.send(Method::DELETE, &format!("{pods}/gated"), "application/json", &json!({})).await;
    let (_, refused) = bind("gated", json!({})).await;
    let why = "pod gated is being deleted, cannot be assigned to a host";
    assert!(refused["message"].as_str().unwrap().ends_with(why), "{refused}");
}
