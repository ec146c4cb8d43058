//! Tokens of service accounts: who gets them, what they open, and when they no longer do.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use serde_json::{Value, json};
use xebec_apiserver::service_account::ISSUER;
use xebec_apiserver::user::User;
use xebec_machinery::protobuf;

use crate::server::{Server, ask};

const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";
const TOKEN: &str = "/api/v1/namespaces/default/serviceaccounts/web/token";
const WHOAMI: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
const PODS: &str = "/api/v1/namespaces/default/pods";

async fn with_account() -> Server {
    let server = Server::start().await;
    let (code, account) = server.create(ACCOUNTS, &json!({"metadata": {"name": "web"}})).await;
    assert_eq!(code, 201, "{account}");
    server
}

/// Asks with a token alone.
async fn bearing(server: &Server, token: &str, method: Method, path: &str, body: &Value) -> (u16, Value) {
    let header = format!("Bearer {token}");
    ask(server, &User::anonymous(), method, path, &[("authorization", &header)], body).await
}

async fn token(server: &Server, spec: Value) -> String {
    let (code, request) = server.create(TOKEN, &json!({"spec": spec})).await;
    assert_eq!(code, 201, "{request}");
    request["status"]["token"].as_str().unwrap().to_owned()
}

fn claims(token: &str) -> Value {
    let part = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

async fn pod(server: &Server) -> Value {
    let pod = json!({
        "metadata": {"name": "p"},
        "spec": {"serviceAccountName": "web", "nodeName": "n", "containers": [{"name": "c", "image": "i"}]},
    });
    let (code, pod) = server.create(PODS, &pod).await;
    assert_eq!(code, 201, "{pod}");
    pod
}

#[tokio::test]
async fn a_token_makes_its_bearer_the_service_account() {
    let server = with_account().await;
    let (code, request) = server.create(TOKEN, &json!({"spec": {"expirationSeconds": 7200}})).await;
    assert_eq!(code, 201, "{request}");
    assert_eq!((&request["kind"], &request["metadata"]["name"]), (&json!("TokenRequest"), &json!("web")));
    assert_eq!(request["spec"], json!({"expirationSeconds": 7200, "audiences": [ISSUER]}));
    let token = request["status"]["token"].as_str().unwrap();
    let told = claims(token);
    assert_eq!((&told["iss"], &told["sub"]), (&json!(ISSUER), &json!("system:serviceaccount:default:web")));
    assert_eq!(told["exp"].as_i64().unwrap() - told["iat"].as_i64().unwrap(), 7200);

    let (code, review) = bearing(&server, token, Method::POST, WHOAMI, &json!({})).await;
    assert_eq!(code, 201, "{review}");
    let user = &review["status"]["userInfo"];
    assert_eq!(user["username"], "system:serviceaccount:default:web");
    assert_eq!(
        user["groups"],
        json!(["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"])
    );
    assert_eq!(user["uid"], request["metadata"]["uid"]);
    let id = format!("JTI={}", told["jti"].as_str().unwrap());
    assert_eq!(user["extra"], json!({"authentication.kubernetes.io/credential-id": [id]}));
    assert_eq!(bearing(&server, token, Method::GET, PODS, &Value::Null).await.0, 403);

    // kubectl asks in protobuf.
    let typed = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": {}, "spec": {"audiences": null},
    });
    let bytes = protobuf::encode(&typed).unwrap();
    let (code, request) = server.raw(Method::POST, TOKEN, protobuf::MEDIA_TYPE, &bytes).await;
    assert_eq!(code, 201, "{request}");
    assert!(request["status"]["expirationTimestamp"].is_string(), "{request}");
}

#[tokio::test]
async fn a_token_ends_with_what_it_is_bound_to() {
    let server = with_account().await;
    let pod = pod(&server).await;
    let reference = json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": pod["metadata"]["uid"]});
    let bound = token(&server, json!({"boundObjectRef": reference})).await;
    let free = token(&server, json!({})).await;
    let (code, review) = bearing(&server, &bound, Method::POST, WHOAMI, &json!({})).await;
    assert_eq!(code, 201, "{review}");
    let extra = &review["status"]["userInfo"]["extra"];
    assert_eq!(extra["authentication.kubernetes.io/pod-name"], json!(["p"]));
    assert_eq!(extra["authentication.kubernetes.io/node-name"], json!(["n"]));

    let gone = json!({"gracePeriodSeconds": 0});
    assert_eq!(server.send(Method::DELETE, &format!("{PODS}/p"), "application/json", &gone).await.0, 200);
    let (code, status) = bearing(&server, &bound, Method::POST, WHOAMI, &json!({})).await;
    assert_eq!((code, &status["reason"]), (401, &json!("Unauthorized")));
    assert_eq!(bearing(&server, &free, Method::POST, WHOAMI, &json!({})).await.0, 201);

    let account = format!("{ACCOUNTS}/web");
    assert_eq!(server.send(Method::DELETE, &account, "application/json", &json!({})).await.0, 200);
    assert_eq!(bearing(&server, &free, Method::POST, WHOAMI, &json!({})).await.0, 401);
    // One of the same name is another.
    assert_eq!(server.create(ACCOUNTS, &json!({"metadata": {"name": "web"}})).await.0, 201);
    assert_eq!(bearing(&server, &free, Method::POST, WHOAMI, &json!({})).await.0, 401);
}

#[tokio::test]
async fn a_token_for_others_does_not_open_the_api_and_is_told_to_them() {
    let server = with_account().await;
    let token = token(&server, json!({"audiences": ["vault"]})).await;
    assert_eq!(bearing(&server, &token, Method::POST, WHOAMI, &json!({})).await.0, 401);
    let reviews = "/apis/authentication.k8s.io/v1/tokenreviews";
    let review = json!({"spec": {"token": token, "audiences": ["vault", "bank"]}});
    let (_, review) = server.create(reviews, &review).await;
    assert_eq!(review["status"]["audiences"], json!(["vault"]), "{review}");
    assert_eq!(review["status"]["user"]["username"], "system:serviceaccount:default:web");
    let (_, review) = server.create(reviews, &json!({"spec": {"token": token}})).await;
    assert_eq!(review["status"]["authenticated"], Value::Null);
}

#[tokio::test]
async fn a_request_that_makes_no_sense_gets_no_token() {
    let server = with_account().await;
    let pod = pod(&server).await;
    let other = json!({"metadata": {"name": "other"}});
    assert_eq!(server.create(ACCOUNTS, &other).await.0, 201);
    let reference = |name: &str, uid: &str| json!({"spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid}}});
    let elsewhere = TOKEN.replace("web", "other");
    for (path, body, code, message) in [
        (
            TOKEN,
            json!({"spec": {"expirationSeconds": 5}}),
            422,
            r#"TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 5: may not specify a duration less than 10 minutes"#,
        ),
        (
            TOKEN,
            json!({"metadata": {"name": "x"}}),
            422,
            r#"TokenRequest.authentication.k8s.io "web" is invalid: metadata.name: Invalid value: "x": must match the service account name if specified"#,
        ),
        (TOKEN, reference("none", ""), 404, r#"pods "none" not found"#),
        (
            TOKEN,
            reference("p", "wrong"),
            409,
            "Operation cannot be fulfilled on Pod \"p\": the UID in the bound object reference (wrong) does not match",
        ),
        (
            elsewhere.as_str(),
            reference("p", pod["metadata"]["uid"].as_str().unwrap()),
            400,
            r#"cannot bind token for serviceaccount "other" to pod running with different serviceaccount name."#,
        ),
        (
            TOKEN,
            json!({"spec": {"boundObjectRef": {"apiVersion": "v1", "kind": "Service", "name": "p"}}}),
            400,
            "cannot bind token to object of type v1, Kind=Service",
        ),
        (&TOKEN.replace("web", "none"), json!({}), 404, r#"serviceaccounts "none" not found"#),
    ] {
        let (found, status) = server.create(path, &body).await;
        assert!(status["message"].as_str().unwrap().starts_with(message), "{status}");
        assert_eq!(found, code, "{status}");
    }
}

#[tokio::test]
async fn others_can_check_a_token_by_the_servers_keys() {
    let server = with_account().await;
    let token = token(&server, json!({})).await;
    let (code, configuration) = server.get("/.well-known/openid-configuration").await;
    assert_eq!((code, &configuration["issuer"]), (200, &json!(ISSUER)), "{configuration}");
    assert!(configuration["jwks_uri"].as_str().unwrap().ends_with("/openid/v1/jwks"));
    let (code, keys) = bearing(&server, &token, Method::GET, "/openid/v1/jwks", &Value::Null).await;
    assert_eq!(code, 200, "{keys}");
    let head: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap()).unwrap()).unwrap();
    let key = &keys["keys"][0];
    assert_eq!((&head["kid"], &head["alg"]), (&key["kid"], &json!("ES256")));
    let mut point = vec![4];
    for part in ["x", "y"] {
        point.extend(URL_SAFE_NO_PAD.decode(key[part].as_str().unwrap()).unwrap());
    }
    let (text, signature) = token.rsplit_once('.').unwrap();
    let public = ring::signature::UnparsedPublicKey::new(&ring::signature::ECDSA_P256_SHA256_FIXED, point);
    public.verify(text.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
    let (code, _) = ask(&server, &User::anonymous(), Method::GET, "/openid/v1/jwks", &[], &Value::Null).await;
    assert_eq!(code, 403);
}
