//! Requests for certificates: who asks, who may approve and sign, and which are refused.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::{Value, json};
use xebec_apiserver::user::{AUTHENTICATED, User};

use crate::server::{Server, administrator, ask};

const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
const CLIENTS: &str = "kubernetes.io/kube-apiserver-client";

/// A request for a certificate of this subject, as the API takes it.
fn pem(user: &str, group: &str) -> String {
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.distinguished_name.push(DnType::CommonName, user);
    parameters.distinguished_name.push(DnType::OrganizationName, group);
    let request = parameters.serialize_request(&KeyPair::generate().unwrap()).unwrap();
    STANDARD.encode(request.pem().unwrap())
}

fn request(name: &str, signer: &str, pem: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"request": pem, "signerName": signer, "usages": ["client auth"]}})
}

fn message(answer: &Value) -> &str {
    answer["message"].as_str().unwrap_or_default()
}

fn condition(kind: &str) -> Value {
    json!({"type": kind, "status": "True", "reason": "Test", "message": "so"})
}

#[tokio::test]
async fn who_asks_is_noted_and_nothing_else_of_what_a_client_says_of_itself() {
    let server = Server::start().await;
    let mut asked = request("a", CLIENTS, &pem("jill", "devs"));
    asked["spec"]["username"] = "someone-else".into();
    asked["spec"]["groups"] = json!(["system:masters"]);
    asked["status"] = json!({"conditions": [condition("Approved")]});
    let user = User::new("jane", [AUTHENTICATED, "makers"]);
    let role = json!({
        "metadata": {"name": "makers"},
        "rules": [{"verbs": ["create", "update"], "apiGroups": ["certificates.k8s.io"], "resources": ["*"]}],
    });
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    assert_eq!(server.create(&format!("{rbac}/clusterroles"), &role).await.0, 201);
    let binding = json!({
        "metadata": {"name": "makers"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "makers"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "makers"}],
    });
    assert_eq!(server.create(&format!("{rbac}/clusterrolebindings"), &binding).await.0, 201);
    let (code, made) = ask(&server, &user, Method::POST, REQUESTS, &[], &asked).await;
    assert_eq!(code, 201, "{made}");
    assert_eq!(
        (&made["spec"]["username"], &made["spec"]["groups"]),
        (&json!("jane"), &json!([AUTHENTICATED, "makers"]))
    );
    assert_eq!(made["status"], json!({}));

    // An update of the whole changes neither, and the subresources want leave of their own.
    let mut changed = made.clone();
    changed["spec"]["username"] = "joe".into();
    changed["status"] = json!({"conditions": [condition("Approved")]});
    let one = format!("{REQUESTS}/a");
    let (code, kept) = server.send(Method::PUT, &one, "application/json", &changed).await;
    assert_eq!((code, &kept["spec"], &kept["status"]), (200, &made["spec"], &made["status"]));
    for (part, verb, status) in [
        ("approval", "approve", json!({"conditions": [condition("Approved")]})),
        ("status", "sign", json!({"conditions": [condition("Failed")]})),
    ] {
        changed["status"] = status;
        let path = format!("{one}/{part}");
        let (code, refused) = ask(&server, &user, Method::PUT, &path, &[], &changed).await;
        let why = format!(
            "certificatesigningrequests.certificates.k8s.io \"a\" is forbidden: user not permitted to {verb} requests \
             with signerName \"{CLIENTS}\""
        );
        assert_eq!((code, message(&refused)), (403, why.as_str()));
    }
}

#[tokio::test]
async fn approval_sets_conditions_and_status_the_certificate_once() {
    let server = Server::start().await;
    assert_eq!(server.create(REQUESTS, &request("a", CLIENTS, &pem("jill", "devs"))).await.0, 201);
    let put = async |part: &str, status: Value| {
        let body = json!({"metadata": {"name": "a"}, "status": status});
        let path = format!("{REQUESTS}/a/{part}");
        let (code, answer) = server.send(Method::PUT, &path, "application/json", &body).await;
        (code, answer)
    };
    let refused = |answer: (u16, Value), why: &str| {
        assert_eq!(answer.0, 422, "{}", answer.1);
        let start = "CertificateSigningRequest.certificates.k8s.io \"a\" is invalid: ";
        assert_eq!(message(&answer.1).strip_prefix(start), Some(why), "{}", answer.1);
    };
    let approved = json!({"conditions": [condition("Approved")]});
    refused(
        put("status", approved.clone()).await,
        r#"status.conditions: Forbidden: updates may not add a condition of type "Approved""#,
    );
    refused(
        put("approval", json!({"conditions": [condition("Approved"), condition("Denied")]})).await,
        r#"status.conditions: Invalid value: "Denied": Approved and Denied conditions are mutually exclusive"#,
    );
    let (code, done) = put("approval", approved.clone()).await;
    assert_eq!(code, 200, "{done}");
    assert!(done["status"]["conditions"][0]["lastTransitionTime"].is_string(), "{done}");
    refused(
        put("approval", json!({})).await,
        r#"status.conditions: Forbidden: updates may not remove a condition of type "Approved""#,
    );
    let conditions = &done["status"]["conditions"];
    let with =
        |certificate: &str| json!({"conditions": conditions, "certificate": STANDARD.encode(certificate)});
    refused(
        put("status", with("x")).await,
        r#"status.certificate: Invalid value: "<certificate data>": must contain at least one CERTIFICATE PEM block"#,
    );
    let certificate = || {
        let key = KeyPair::generate().unwrap();
        CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap().pem()
    };
    let (code, signed) = put("status", with(&certificate())).await;
    assert_eq!((code, &signed["status"]["conditions"]), (200, conditions), "{signed}");
    refused(
        put("status", with(&certificate())).await,
        "status.certificate: Forbidden: updates may not modify existing certificate content",
    );
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let path = format!("{REQUESTS}/a");
    let (_, table) = ask(&server, &administrator(), Method::GET, &path, &accept, &json!(null)).await;
    assert_eq!(table["rows"][0]["cells"][5], "Approved,Issued");
}

#[tokio::test]
async fn a_request_that_is_none_is_refused_in_upstreams_words() {
    let server = Server::start().await;
    let good = pem("jill", "devs");
    let start = "CertificateSigningRequest.certificates.k8s.io \"a\" is invalid: ";
    for (spec, why) in [
        (
            json!({"request": "aGVsbG8=", "signerName": "x", "usages": ["any", "any"], "expirationSeconds": 5}),
            "[spec.request: Invalid value: \"aGVsbG8=\": PEM block type must be CERTIFICATE REQUEST, \
             spec.usages[1]: Duplicate value: \"any\", spec.signerName: Invalid value: \"x\": must be a fully qualified \
             domain and path of the form 'example.com/signer-name', spec.expirationSeconds: Invalid value: 5: may not \
             specify a duration less than 600 seconds (10 minutes)]",
        ),
        (
            json!({}),
            "[spec.request: Invalid value: null: PEM block type must be CERTIFICATE REQUEST, spec.usages: Required \
             value, spec.signerName: Required value]",
        ),
        (
            json!({"request": &good, "usages": ["any"], "signerName": "kubernetes.io/legacy-unknown"}),
            "spec.signerName: Invalid value: \"kubernetes.io/legacy-unknown\": the legacy signerName is not allowed \
             via this API version",
        ),
    ] {
        let (code, answer) = server.create(REQUESTS, &json!({"metadata": {"name": "a"}, "spec": spec})).await;
        assert_eq!((code, message(&answer).strip_prefix(start)), (422, Some(why)), "{answer}");
    }
    // A signature that does not hold is one of nobody.
    let text = String::from_utf8(STANDARD.decode(&good).unwrap()).unwrap();
    let body: String = text.lines().filter(|line| !line.starts_with('-')).collect();
    let mut der = STANDARD.decode(body).unwrap();
    *der.last_mut().unwrap() ^= 1;
    let body = STANDARD.encode(der);
    let broken = format!("-----BEGIN CERTIFICATE REQUEST-----\n{body}\n-----END CERTIFICATE REQUEST-----\n");
    let (code, answer) = server.create(REQUESTS, &request("a", CLIENTS, &STANDARD.encode(broken))).await;
    assert_eq!(code, 422, "{answer}");
    let masters = request("a", CLIENTS, &pem("jill", "system:masters"));
    let (code, answer) = server.create(REQUESTS, &masters).await;
    let why = format!(
        "certificatesigningrequests.certificates.k8s.io \"a\" is forbidden: use of {CLIENTS} signer with \
         system:masters group is not allowed"
    );
    assert_eq!((code, message(&answer)), (403, why.as_str()));
    assert_eq!(
        server.create(REQUESTS, &request("a", "example.com/own", &pem("a", "system:masters"))).await.0,
        201
    );
}
