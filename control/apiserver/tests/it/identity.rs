//! Who asks, as whom, and what they may do.

use http::Method;
use serde_json::{Value, json};
use xebec_apiserver::user::{AUTHENTICATED, User};
use xebec_machinery::protobuf;

use crate::server::{Server, ask};

const WHOAMI: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
const TOKENS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";
const CAN_I: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
const CAN_THEY: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
const CAN_THEY_HERE: &str = "/apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews";
const RULES: &str = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";

fn jane() -> User {
    User::new("jane", ["dev", AUTHENTICATED])
}

async fn post(server: &Server, user: &User, path: &str, body: Value) -> (u16, Value) {
    ask(server, user, Method::POST, path, &[], &body).await
}

#[tokio::test]
async fn everyone_learns_who_they_are() {
    let server = Server::start().await;
    let (code, review) = post(&server, &jane(), WHOAMI, json!({})).await;
    assert_eq!(code, 201, "{review}");
    assert_eq!(review["kind"], "SelfSubjectReview");
    assert_eq!(
        review["status"]["userInfo"],
        json!({"username": "jane", "groups": ["dev", "system:authenticated"]})
    );
    // Questions are not kept.
    assert_eq!(server.get(WHOAMI).await.0, 405);
}

#[tokio::test]
async fn a_token_is_told_by_its_user() {
    let server = Server::start().await;
    let (_, review) = server.create(TOKENS, &json!({"spec": {"token": "s3cret", "audiences": ["x"]}})).await;
    assert_eq!(review["status"], json!({"user": {}, "error": "invalid bearer token"}));
    let (code, review) = server.create(TOKENS, &json!({"spec": {"token": "s3cret"}})).await;
    assert_eq!(code, 201, "{review}");
    assert_eq!(review["status"]["authenticated"], true);
    assert_eq!(review["status"]["user"]["username"], "robot");
    assert_eq!(review["status"]["audiences"], json!(["https://kubernetes.default.svc.cluster.local"]));
    let (_, review) = server.create(TOKENS, &json!({"spec": {"token": "wrong"}})).await;
    assert_eq!(review["status"], json!({"user": {}, "error": "invalid bearer token"}));
    let (code, status) = server.create(TOKENS, &json!({"spec": {"token": ""}})).await;
    assert_eq!(
        (code, status["message"].as_str()),
        (400, Some("token is required for TokenReview in authentication"))
    );
}

#[tokio::test]
async fn a_question_of_access_is_answered_as_the_request_would_be() {
    let server = Server::start().await;
    let question = json!({"spec": {"resourceAttributes": {"verb": "list", "resource": "secrets", "namespace": "default"}}});
    let (code, review) = server.create(CAN_I, &question).await;
    assert_eq!((code, &review["status"]["allowed"]), (201, &json!(true)), "{review}");
    assert_eq!(review["spec"], question["spec"]);
    let (_, review) = post(&server, &jane(), CAN_I, question.clone()).await;
    assert_eq!(review["status"]["allowed"], false);
    let (code, _) =
        ask(&server, &jane(), Method::GET, "/api/v1/namespaces/default/secrets", &[], &Value::Null).await;
    assert_eq!(code, 403);

    // kubectl asks in protobuf.
    let mut typed = question.clone();
    typed["apiVersion"] = "authorization.k8s.io/v1".into();
    typed["kind"] = "SelfSubjectAccessReview".into();
    let bytes = protobuf::encode(&typed).unwrap();
    let (code, review) = server.raw(Method::POST, CAN_I, protobuf::MEDIA_TYPE, &bytes).await;
    assert_eq!((code, &review["status"]["allowed"]), (201, &json!(true)), "{review}");

    let mut about = question.clone();
    about["spec"]["user"] = "jane".into();
    for path in [CAN_THEY, CAN_THEY_HERE] {
        let (code, review) = server.create(path, &about).await;
        assert_eq!((code, &review["status"]["allowed"]), (201, &json!(false)), "{review}");
    }
    about["spec"]["groups"] = json!(["system:masters"]);
    assert_eq!(server.create(CAN_THEY, &about).await.1["status"]["allowed"], true);
    // Nobody else may ask about others.
    assert_eq!(post(&server, &jane(), CAN_THEY, about).await.0, 403);
}

#[tokio::test]
async fn a_question_that_makes_no_sense_is_refused() {
    let server = Server::start().await;
    let path = json!({"path": "/healthz", "verb": "get"});
    let resource = json!({"verb": "get", "resource": "pods", "namespace": "elsewhere"});
    for (url, spec, why) in [
        (
            CAN_I,
            json!({}),
            "spec.resourceAttributes: Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified",
        ),
        (
            CAN_I,
            json!({"resourceAttributes": resource, "nonResourceAttributes": path}),
            "cannot be specified in combination with resourceAttributes",
        ),
        (
            CAN_THEY,
            json!({"resourceAttributes": resource}),
            r#"spec.user: Invalid value: "": at least one of user or group must be specified"#,
        ),
        (
            CAN_THEY_HERE,
            json!({"resourceAttributes": resource, "user": "x"}),
            r#"spec.resourceAttributes.namespace: Invalid value: "elsewhere": must match metadata.namespace"#,
        ),
    ] {
        let (code, status) = server.create(url, &json!({"spec": spec})).await;
        assert_eq!((code, &status["reason"]), (422, &json!("Invalid")), "{status}");
        assert!(status["message"].as_str().unwrap().contains(why), "{status}");
    }
    assert_eq!(server.create(RULES, &json!({"spec": {}})).await.0, 400);
}

#[tokio::test]
async fn the_rules_of_an_administrator_are_everything() {
    let server = Server::start().await;
    let (code, review) = server.create(RULES, &json!({"spec": {"namespace": "default"}})).await;
    assert_eq!(code, 201, "{review}");
    let everything = json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]});
    assert!(review["status"]["resourceRules"].as_array().unwrap().contains(&everything), "{review}");
    assert_eq!(review["status"]["incomplete"], false);
}

#[tokio::test]
async fn an_administrator_acts_as_others_and_others_do_not() {
    let server = Server::start().await;
    let headers = [
        ("Impersonate-User", "jane"),
        ("Impersonate-Group", "dev"),
        ("Impersonate-Uid", "u1"),
        ("Impersonate-Extra-scopes", "read"),
    ];
    let root = crate::server::administrator();
    let (code, review) = ask(&server, &root, Method::POST, WHOAMI, &headers, &json!({})).await;
    assert_eq!(code, 201, "{review}");
    let expected = json!({
        "username": "jane", "uid": "u1", "groups": ["dev", "system:authenticated"], "extra": {"scopes": ["read"]},
    });
    assert_eq!(review["status"]["userInfo"], expected);
    let secrets = "/api/v1/namespaces/default/secrets";
    let (code, status) = ask(&server, &root, Method::GET, secrets, &headers[..1], &Value::Null).await;
    assert_eq!((code, &status["reason"]), (403, &json!("Forbidden")), "{status}");

    let (code, status) =
        ask(&server, &jane(), Method::GET, "/version", &[("Impersonate-User", "root")], &Value::Null).await;
    let message = r#"users "root" is forbidden: User "jane" cannot impersonate resource "users" in API group "" at the cluster scope"#;
    assert_eq!((code, status["message"].as_str().unwrap()), (403, message));
}
