//! Requests for certificates in a storm: approved where they may be, signed once, failed with the reason.

use std::time::{Duration, SystemTime};

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::json;
use xebec_apiserver::pki::Authority;
use xebec_controllers::certificates::{Issuer, subject};

use crate::cluster::Cluster;
use crate::faults::STORM;
use crate::namespace::eventually;
use crate::seeds;

/// The authority of a test's cluster.
pub(crate) struct Key(pub(crate) Authority);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

impl Issuer for Key {
    fn issue(&self, request: &[u8], usages: &[String], lifetime: Duration) -> Result<String, String> {
        self.0.issue(request, usages, lifetime, SystemTime::now()).map_err(|error| error.to_string())
    }
}

async fn ask(
    requests: &Api<CertificateSigningRequest>,
    name: &str,
    signer: &str,
    usages: &[&str],
    (user, group): (&str, &str),
) {
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.distinguished_name.push(DnType::CommonName, user);
    parameters.distinguished_name.push(DnType::OrganizationName, group);
    let pem = parameters.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap();
    let request = k8s_openapi::ByteString(pem.into_bytes());
    let request = json!({
        "metadata": {"name": name},
        "spec": {"request": request, "signerName": signer, "usages": usages, "expirationSeconds": 3600},
    });
    let request = serde_json::from_value(request).unwrap();
    requests.create(&PostParams::default(), &request).await.unwrap();
}

async fn approve(requests: &Api<CertificateSigningRequest>, name: &str) {
    let status = json!({"conditions": [{"type": "Approved", "status": "True", "reason": "Test"}]});
    let patch = Patch::Merge(json!({"status": status}));
    requests.patch_subresource("approval", name, &PatchParams::default(), &patch).await.unwrap();
}

/// The types of the conditions, and the certificate.
async fn state(requests: &Api<CertificateSigningRequest>, name: &str) -> (Vec<String>, Vec<u8>) {
    let status = requests.get(name).await.unwrap().status.unwrap_or_default();
    let types = status.conditions.into_iter().flatten().map(|condition| condition.type_).collect();
    (types, status.certificate.map(|bytes| bytes.0).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_approved_is_signed_for_as_long_as_was_asked() {
    for seed in seeds() {
        let cluster = Cluster::in_storm(seed, STORM).await;
        let requests: Api<CertificateSigningRequest> = cluster.all();
        let client = "kubernetes.io/kube-apiserver-client";
        ask(&requests, "jill", client, &["client auth"], ("jill", "devs")).await;
        ask(&requests, "wrong", client, &["server auth"], ("jill", "devs")).await;
        ask(&requests, "other", "example.com/own", &["client auth"], ("jill", "devs")).await;
        // The sender may do everything, so its nodes' requests need nobody to approve them.
        let node = ("system:node:edge", "system:nodes");
        let usages = ["digital signature", "client auth"];
        ask(&requests, "node", "kubernetes.io/kube-apiserver-client-kubelet", &usages, node).await;
        for name in ["jill", "wrong", "other"] {
            assert_eq!(state(&requests, name).await, (Vec::new(), Vec::new()), "nobody approved {name}");
            approve(&requests, name).await;
        }
        for name in ["jill", "node"] {
            eventually("a certificate", async || !state(&requests, name).await.1.is_empty()).await;
            let (types, certificate) = state(&requests, name).await;
            assert_eq!(types, ["Approved"]);
            let end = subject::end(&certificate).unwrap();
            let now = jiff::Timestamp::now().as_second();
            assert!((now..=now + 3600).contains(&end), "{end} {now}");
        }
        eventually("a failure", async || state(&requests, "wrong").await.0 == ["Approved", "Failed"]).await;
        assert_eq!(state(&requests, "other").await, (vec!["Approved".to_owned()], Vec::new()));
    }
}
