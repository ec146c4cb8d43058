use serde_json::json;

use super::*;
use crate::authorizer::Attributes;

fn role(kind: &str, namespace: &str, name: &str, resource: &str) -> Value {
    json!({
        "kind": kind, "metadata": {"name": name, "namespace": namespace},
        "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": [resource]}],
    })
}

fn binding(kind: &str, namespace: &str, name: &str, role: (&str, &str), subject: Value) -> Value {
    json!({
        "kind": kind, "metadata": {"name": name, "namespace": namespace},
        "roleRef": {"kind": role.0, "name": role.1}, "subjects": [subject],
    })
}

fn get(resource: &'static str, namespace: &'static str) -> Asked<'static> {
    Asked::Resource(Attributes { verb: "get", resource, namespace, ..Attributes::default() })
}

#[test]
fn a_binding_lets_its_subjects_do_what_its_role_says() {
    let mut book = Book::default();
    book.put(&role("ClusterRole", "", "reader", "pods"));
    let jane = json!({"kind": "User", "name": "jane"});
    book.put(&binding("RoleBinding", "shop", "b", ("ClusterRole", "reader"), jane));
    let user = User::new("jane", []);
    assert_eq!(
        book.decide(&user, &get("pods", "shop")),
        Decision {
            allowed: true,
            reason: r#"RBAC: allowed by RoleBinding "b/shop" of ClusterRole "reader" to User "jane""#.into()
        }
    );
    for asked in [get("pods", "other"), get("pods", ""), get("secrets", "shop")] {
        assert_eq!(book.decide(&user, &asked), Decision::default());
    }
    assert!(!book.decide(&User::new("joe", ["jane"]), &get("pods", "shop")).allowed);
    assert_eq!(book.rules_for(&user, "shop").len(), 1);
    assert_eq!(book.rules_for(&user, "").len(), 0);

    let ops = json!({"kind": "Group", "name": "ops"});
    book.put(&binding("ClusterRoleBinding", "", "all", ("ClusterRole", "reader"), ops));
    let decision = book.decide(&User::new("joe", ["ops"]), &get("pods", "other"));
    let reason = r#"RBAC: allowed by ClusterRoleBinding "all" of ClusterRole "reader" to Group "ops""#;
    assert_eq!((decision.allowed, decision.reason.as_str()), (true, reason));
}

#[test]
fn a_service_account_is_bound_by_its_namespace_and_name() {
    let mut book = Book::default();
    book.put(&role("Role", "shop", "reader", "pods"));
    let account = json!({"kind": "ServiceAccount", "name": "web"});
    book.put(&binding("RoleBinding", "shop", "b", ("Role", "reader"), account));
    assert!(book.decide(&User::service_account("shop", "web"), &get("pods", "shop")).allowed);
    assert!(!book.decide(&User::service_account("other", "web"), &get("pods", "shop")).allowed);
}

#[test]
fn a_binding_of_a_role_that_is_not_there_says_so_and_allows_nothing() {
    let mut book = Book::default();
    let jane = json!({"kind": "User", "name": "jane"});
    book.put(&binding("ClusterRoleBinding", "", "b", ("ClusterRole", "nope"), jane));
    let decision = book.decide(&User::new("jane", []), &get("pods", ""));
    let reason = r#"RBAC: clusterrole.rbac.authorization.k8s.io "nope" not found"#;
    assert_eq!((decision.allowed, decision.reason.as_str()), (false, reason));
    let mut late = role("ClusterRole", "", "nope", "pods");
    book.put(&late);
    assert!(book.decide(&User::new("jane", []), &get("pods", "")).allowed);
    late["rules"] = json!([]);
    book.put(&late);
    assert!(!book.decide(&User::new("jane", []), &get("pods", "")).allowed);
    book.put(&role("ClusterRole", "", "nope", "pods"));
    book.remove(&json!({"kind": "ClusterRoleBinding", "metadata": {"name": "b"}}));
    assert!(!book.decide(&User::new("jane", []), &get("pods", "")).allowed);
}

#[test]
fn a_role_gathers_the_rules_of_others_by_their_labels_and_a_circle_ends() {
    let labelled = |name: &str, resource: &str, label: &str| {
        let mut role = role("ClusterRole", "", name, resource);
        role["metadata"]["labels"] = json!({label: "true"});
        role
    };
    let gathers = |name: &str, from: &str, label: &str| {
        json!({
            "kind": "ClusterRole", "metadata": {"name": name, "labels": {label: "true"}},
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {from: "true"}}]},
        })
    };
    let mut book = Book::default();
    book.put(&gathers("edit", "to-edit", "to-view"));
    book.put(&gathers("view", "to-view", "to-edit"));
    book.put(&labelled("a", "pods", "to-view"));
    book.put(&labelled("b", "secrets", "to-edit"));
    let view = RoleRef { kind: "ClusterRole".into(), name: "view".into() };
    let mut resources: Vec<String> =
        book.rules(&view, "").unwrap().into_iter().flat_map(|rule| rule.resources).collect();
    resources.sort();
    assert_eq!(resources, ["pods", "secrets"]);
}
