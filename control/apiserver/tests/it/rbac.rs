//! Roles and bindings: what they let whom do, and what nobody may hand out.

use http::Method;
use serde_json::{Value, json};
use xebec_apiserver::user::{AUTHENTICATED, User};

use crate::server::{Server, ask};

const ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles";
const BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";
const CLUSTER_ROLES: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
const CLUSTER_BINDINGS: &str = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn jane() -> User {
    User::new("jane", ["dev", AUTHENTICATED])
}

fn role(name: &str, verbs: Value, groups: Value, resources: Value) -> Value {
    json!({"metadata": {"name": name}, "rules": [{"verbs": verbs, "apiGroups": groups, "resources": resources}]})
}

/// A binding of a role to jane.
fn to_jane(name: &str, kind: &str, role: &str) -> Value {
    json!({
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"}],
    })
}

async fn made(server: &Server, path: &str, object: Value) {
    let (code, answer) = server.create(path, &object).await;
    assert_eq!(code, 201, "{answer}");
}

async fn get(server: &Server, user: &User, path: &str) -> (u16, Value) {
    ask(server, user, Method::GET, path, &[], &Value::Null).await
}

async fn post(server: &Server, user: &User, path: &str, body: Value) -> (u16, Value) {
    ask(server, user, Method::POST, path, &[], &body).await
}

#[tokio::test]
async fn a_role_counts_from_the_moment_it_is_bound_until_it_is_not() {
    let server = Server::start().await;
    let (code, status) = get(&server, &jane(), MAPS).await;
    let message = r#"configmaps is forbidden: User "jane" cannot list resource "configmaps" in API group "" in the namespace "default""#;
    assert_eq!((code, status["message"].as_str().unwrap()), (403, message));
    assert_eq!(status["details"], json!({"kind": "configmaps"}));

    made(&server, ROLES, role("reader", json!(["get", "list"]), json!([""]), json!(["configmaps"]))).await;
    made(&server, BINDINGS, to_jane("b", "Role", "reader")).await;
    assert_eq!(get(&server, &jane(), MAPS).await.0, 200);
    assert_eq!(get(&server, &jane(), "/api/v1/namespaces/kube-system/configmaps").await.0, 403);
    assert_eq!(get(&server, &jane(), "/api/v1/configmaps").await.0, 403);
    assert_eq!(get(&server, &jane(), &format!("{MAPS}?watch=1&timeoutSeconds=1")).await.0, 403);
    assert_eq!(post(&server, &jane(), MAPS, json!({"metadata": {"name": "a"}})).await.0, 403);

    let can_i = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let question = json!({"spec": {"resourceAttributes": {"verb": "get", "resource": "configmaps", "namespace": "default"}}});
    let (_, review) = post(&server, &jane(), can_i, question).await;
    let reason = r#"RBAC: allowed by RoleBinding "b/default" of Role "reader" to User "jane""#;
    assert_eq!(review["status"], json!({"allowed": true, "reason": reason}));

    let one = format!("{BINDINGS}/b");
    assert_eq!(server.send(Method::DELETE, &one, "application/json", &json!({})).await.0, 200);
    assert_eq!(get(&server, &jane(), MAPS).await.0, 403);
}

#[tokio::test]
async fn nobody_hands_out_rights_that_they_do_not_hold() {
    let server = Server::start().await;
    let rbac = json!(["rbac.authorization.k8s.io"]);
    made(
        &server,
        CLUSTER_ROLES,
        role("giver", json!(["create", "update"]), rbac.clone(), json!(["roles", "rolebindings"])),
    )
    .await;
    made(&server, CLUSTER_ROLES, role("reader", json!(["get"]), json!([""]), json!(["configmaps"]))).await;
    made(&server, CLUSTER_BINDINGS, to_jane("giver", "ClusterRole", "giver")).await;

    let greedy = role("greedy", json!(["get", "list"]), json!([""]), json!(["secrets", "configmaps"]));
    let (code, status) = post(&server, &jane(), ROLES, greedy).await;
    let message = "roles.rbac.authorization.k8s.io \"greedy\" is forbidden: user \"jane\" (groups=[\"dev\" \"system:authenticated\"]) \
                   is attempting to grant RBAC permissions not currently held:\n\
                   {APIGroups:[\"\"], Resources:[\"configmaps\"], Verbs:[\"get\" \"list\"]}\n\
                   {APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\" \"list\"]}";
    assert_eq!((code, status["message"].as_str().unwrap()), (403, message));
    let own = role("own", json!(["create"]), rbac.clone(), json!(["roles"]));
    assert_eq!(post(&server, &jane(), ROLES, own).await.0, 201);

    let (code, status) =
        post(&server, &jane(), BINDINGS, to_jane("more", "ClusterRole", "cluster-admin")).await;
    let opening = "rolebindings.rbac.authorization.k8s.io \"more\" is forbidden: user \"jane\"";
    assert_eq!(code, 403);
    assert!(status["message"].as_str().unwrap().starts_with(opening), "{status}");
    let (code, status) = post(&server, &jane(), BINDINGS, to_jane("none", "ClusterRole", "nope")).await;
    let message = r#"clusterroles.rbac.authorization.k8s.io "nope" not found"#;
    assert_eq!((code, status["message"].as_str().unwrap()), (404, message));

    // Who may bind a role need not hold what it gives.
    let mut binds = role("binder", json!(["bind"]), rbac, json!(["clusterroles"]));
    binds["rules"][0]["resourceNames"] = json!(["reader"]);
    made(&server, CLUSTER_ROLES, binds).await;
    made(&server, CLUSTER_BINDINGS, to_jane("binder", "ClusterRole", "binder")).await;
    assert_eq!(post(&server, &jane(), BINDINGS, to_jane("read", "ClusterRole", "reader")).await.0, 201);
    assert_eq!(post(&server, &jane(), BINDINGS, to_jane("edit", "ClusterRole", "edit")).await.0, 403);
}

#[tokio::test]
async fn a_role_gathers_the_rules_of_new_roles_by_their_labels() {
    let server = Server::start().await;
    let (_, view) = server.get(&format!("{CLUSTER_ROLES}/view")).await;
    let known = view["rules"].as_array().unwrap().len();
    assert!(known > 5, "{view}");
    made(&server, BINDINGS, to_jane("view", "ClusterRole", "view")).await;
    assert_eq!(get(&server, &jane(), MAPS).await.0, 200);
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    assert_eq!(get(&server, &jane(), leases).await.0, 403);

    let mut more = role("view-leases", json!(["list"]), json!(["coordination.k8s.io"]), json!(["leases"]));
    more["metadata"]["labels"] = json!({"rbac.authorization.k8s.io/aggregate-to-view": "true"});
    made(&server, CLUSTER_ROLES, more).await;
    assert_eq!(get(&server, &jane(), leases).await.0, 200);
    for _ in 0..500 {
        let (_, view) = server.get(&format!("{CLUSTER_ROLES}/view")).await;
        if view["rules"].as_array().unwrap().len() == known + 1 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("the role never showed the rules that it gathered");
}

#[tokio::test]
async fn who_may_patch_and_not_create_makes_nothing_by_an_apply() {
    let server = Server::start().await;
    made(&server, ROLES, role("patcher", json!(["patch"]), json!([""]), json!(["configmaps"]))).await;
    made(&server, BINDINGS, to_jane("b", "Role", "patcher")).await;
    let applied =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "1"}});
    let path = format!("{MAPS}/a?fieldManager=test");
    let headers = [("content-type", "application/apply-patch+yaml")];
    let (code, status) = ask(&server, &jane(), Method::PATCH, &path, &headers, &applied).await;
    let message = r#"configmaps "a" is forbidden: User "jane" cannot create resource "configmaps" in API group "" in the namespace "default""#;
    assert_eq!((code, status["message"].as_str().unwrap()), (403, message));
    made(&server, MAPS, json!({"metadata": {"name": "a"}})).await;
    assert_eq!(ask(&server, &jane(), Method::PATCH, &path, &headers, &applied).await.0, 200);
}

#[tokio::test]
async fn a_rule_for_one_object_holds_for_a_watch_of_it_alone() {
    let server = Server::start().await;
    let mut one = role("one", json!(["get", "list"]), json!([""]), json!(["configmaps"]));
    one["rules"][0]["resourceNames"] = json!(["a"]);
    made(&server, ROLES, one).await;
    made(&server, BINDINGS, to_jane("b", "Role", "one")).await;
    made(&server, MAPS, json!({"metadata": {"name": "a"}})).await;
    made(&server, MAPS, json!({"metadata": {"name": "b"}})).await;
    assert_eq!(get(&server, &jane(), &format!("{MAPS}/a")).await.0, 200);
    assert_eq!(get(&server, &jane(), &format!("{MAPS}/b")).await.0, 403);
    assert_eq!(get(&server, &jane(), MAPS).await.0, 403);
    let (code, list) = get(&server, &jane(), &format!("{MAPS}?fieldSelector=metadata.name%3Da")).await;
    assert_eq!((code, list["items"].as_array().unwrap().len()), (200, 1));
}

#[tokio::test]
async fn anonymous_gets_health_and_discovery_alone() {
    let server = Server::start().await;
    let nobody = User::anonymous();
    for path in ["/version", "/api", "/apis", "/apis/apps/v1", "/openapi/v3"] {
        assert_eq!(get(&server, &nobody, path).await.0, 200, "{path}");
    }
    let (code, status) = get(&server, &nobody, "/secret/path").await;
    let message = r#"forbidden: User "system:anonymous" cannot get path "/secret/path""#;
    assert_eq!((code, status["message"].as_str().unwrap()), (403, message));
    assert_eq!(server.get("/secret/path").await.0, 404);
    for path in ["/api/v1/namespaces", MAPS, CLUSTER_ROLES] {
        let (code, status) = get(&server, &nobody, path).await;
        assert_eq!(code, 403, "{path}");
        assert!(
            status["message"].as_str().unwrap().contains(r#"User "system:anonymous" cannot list"#),
            "{status}"
        );
    }
}

#[tokio::test]
async fn a_start_gives_back_what_was_taken_from_the_roles_of_every_cluster() {
    let server = Server::start().await;
    let everyone = format!("{CLUSTER_BINDINGS}/system:basic-user");
    assert_eq!(server.send(Method::DELETE, &everyone, "application/json", &json!({})).await.0, 200);
    let discovery = format!("{CLUSTER_ROLES}/system:discovery");
    let patch = json!({"rules": [{"verbs": ["get"], "nonResourceURLs": ["/mine"]}]});
    assert_eq!(server.send(Method::PATCH, &discovery, "application/merge-patch+json", &patch).await.0, 200);
    assert_eq!(get(&server, &jane(), "/apis").await.0, 403);

    server.service.api().prepare(6443).await.unwrap();
    assert_eq!(server.get(&everyone).await.0, 200);
    assert_eq!(get(&server, &jane(), "/apis").await.0, 200);
    let (_, restored) = server.get(&discovery).await;
    assert_eq!(restored["rules"][0], patch["rules"][0], "what was added is kept: {restored}");
    let revision = server.store.revision();
    server.service.api().prepare(6443).await.unwrap();
    assert_eq!(server.store.revision(), revision, "a start that finds everything writes nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binding_counts_at_once_while_others_write() {
    let server = Server::start().await;
    made(&server, ROLES, role("reader", json!(["list"]), json!([""]), json!(["configmaps"]))).await;
    let busy = async {
        for number in 0.. {
            made(&server, MAPS, json!({"metadata": {"name": format!("m{number}")}})).await;
        }
    };
    let checks = async {
        for number in 0..60 {
            let name = format!("b{number}");
            made(&server, BINDINGS, to_jane(&name, "Role", "reader")).await;
            assert_eq!(get(&server, &jane(), MAPS).await.0, 200, "{name}");
            let one = format!("{BINDINGS}/{name}");
            assert_eq!(server.send(Method::DELETE, &one, "application/json", &json!({})).await.0, 200);
            assert_eq!(get(&server, &jane(), MAPS).await.0, 403, "{name}");
        }
    };
    tokio::select! {
        () = busy => {}
        () = checks => {}
    }
}
