//! What is to be done about a request for a certificate.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::certificates::v1::{CertificateSigningRequest, CertificateSigningRequestCondition};

use super::subject::{self, Subject};

/// Certificates of clients of the API.
pub const CLIENT: &str = "kubernetes.io/kube-apiserver-client";
/// Certificates by which nodes are clients of the API.
pub const NODE_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
/// Certificates by which nodes are servers.
pub const NODE_SERVER: &str = "kubernetes.io/kubelet-serving";
const LEGACY: &str = "kubernetes.io/legacy-unknown";
const NODES: &str = "system:nodes";
const NODE: &str = "system:node:";

const HOUR: Duration = Duration::from_secs(3600);
/// How long a request stays that was answered, and one that was not.
const ANSWERED: Duration = HOUR;
const WAITING: Duration = HOUR.saturating_mul(24);
/// The longest and shortest life of a certificate.
const LONGEST: Duration = HOUR.saturating_mul(8760);
const SHORTEST: Duration = Duration::from_secs(600);

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing before this much time is over, or before somebody changes the request.
    Wait(Option<Duration>),
    /// It has been there for long enough.
    Forget,
    /// It is a node's: if its sender may have one of the first of these subresources, it is approved with the text beside
    /// it.
    Ask(Vec<(&'static str, &'static str)>),
    /// Nobody can sign it, for this reason.
    Fail(String),
    /// It is to be signed, for so long.
    Sign(Duration),
}

/// What is to be done at a moment.
pub fn decide(request: &CertificateSigningRequest, subject: Option<&Subject>, now: Timestamp) -> Step {
    let left = match remaining(request, now) {
        Some(left) if left.is_zero() => return Step::Forget,
        left => left,
    };
    let status = request.status.clone().unwrap_or_default();
    let is = |kind: &str| conditions(request).iter().any(|own| own.type_ == kind && own.status == "True");
    let Some(subject) = subject.filter(|_| status.certificate.is_none_or(|bytes| bytes.0.is_empty())) else {
        return Step::Wait(left);
    };
    if is("Denied") || is("Failed") {
        return Step::Wait(left);
    }
    let usages = request.spec.usages.clone().unwrap_or_default();
    if is("Approved") {
        return match judge(&request.spec.signer_name, subject, &usages) {
            None => Step::Wait(left),
            Some(Err(why)) => Step::Fail(why),
            Some(Ok(())) => Step::Sign(lifetime(request.spec.expiration_seconds)),
        };
    }
    if request.spec.signer_name != NODE_CLIENT || node_client(subject, &usages).is_err() {
        return Step::Wait(left);
    }
    let own = request.spec.username.as_deref() == Some(subject.common_name.as_str());
    let mut asked = Vec::new();
    if own {
        let text = "Auto approving self kubelet client certificate after SubjectAccessReview.";
        asked.push(("selfnodeclient", text));
    }
    asked.push(("nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview."));
    Step::Ask(asked)
}

fn conditions(request: &CertificateSigningRequest) -> &[CertificateSigningRequestCondition] {
    request.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default()
}

/// How long the request still stays; nothing where that is not known.
fn remaining(request: &CertificateSigningRequest, now: Timestamp) -> Option<Duration> {
    let left = |since: Timestamp, stay: Duration| {
        let passed = Duration::try_from(now.duration_since(since)).unwrap_or_default();
        stay.saturating_sub(passed)
    };
    let certificate = request.status.as_ref().and_then(|status| status.certificate.as_ref());
    let certificate = certificate.map(|bytes| bytes.0.as_slice()).filter(|bytes| !bytes.is_empty());
    let mut shortest = None;
    let mut note = |stay: Duration| shortest = Some(shortest.map_or(stay, |other: Duration| other.min(stay)));
    for condition in conditions(request) {
        let stay = match condition.type_.as_str() {
            "Approved" if certificate.is_none() => WAITING,
            "Approved" | "Denied" | "Failed" => ANSWERED,
            _ => continue,
        };
        if let Some(since) = &condition.last_update_time {
            note(left(since.0, stay));
        }
        let end = certificate.filter(|_| condition.type_ == "Approved").and_then(subject::end);
        if let Some(end) = end.and_then(|end| Timestamp::from_second(end).ok()) {
            note(Duration::try_from(end.duration_since(now)).unwrap_or_default());
        }
    }
    if conditions(request).is_empty()
        && let Some(since) = &request.metadata.creation_timestamp
    {
        note(left(since.0, WAITING));
    }
    shortest
}

/// Whether a signer of ours signs this, and if it is asked, why not; nothing where it is not ours to say.
fn judge(signer: &str, subject: &Subject, usages: &[String]) -> Option<Result<(), String>> {
    match signer {
        CLIENT => Some(client(usages)),
        NODE_CLIENT => Some(node_client(subject, usages)),
        NODE_SERVER => Some(node_server(subject, usages)),
        LEGACY => Some(Ok(())),
        _ => None,
    }
}

fn client(usages: &[String]) -> Result<(), String> {
    let needed = "client auth";
    let other =
        |usage: &&String| !["digital signature", "key encipherment", needed].contains(&usage.as_str());
    if let Some(other) = usages.iter().find(other) {
        return Err(format!("invalid usage for client certificate: {other}"));
    }
    match usages.iter().any(|usage| usage == needed) {
        true => Ok(()),
        false => Err(format!("missing required usage for client certificate: {needed}")),
    }
}

fn node_client(subject: &Subject, usages: &[String]) -> Result<(), String> {
    let refusals = [
        (subject.organizations != [NODES], "subject organization is not system:nodes"),
        (subject.dns > 0, "DNS subjectAltNames are not allowed"),
        (subject.mail > 0, "Email subjectAltNames are not allowed"),
        (subject.addresses > 0, "IP subjectAltNames are not allowed"),
        (subject.uris > 0, "URI subjectAltNames are not allowed"),
        (!subject.common_name.starts_with(NODE), "subject common name does not begin with system:node:"),
    ];
    refused(&refusals)?;
    exactly(usages, "client auth")
}

fn node_server(subject: &Subject, usages: &[String]) -> Result<(), String> {
    let refusals = [
        (subject.organizations != [NODES], "subject organization is not system:nodes"),
        (subject.dns + subject.addresses == 0, "DNS or IP subjectAltName is required"),
        (subject.mail > 0, "Email subjectAltNames are not allowed"),
        (subject.uris > 0, "URI subjectAltNames are not allowed"),
    ];
    refused(&refusals)?;
    exactly(usages, "server auth")?;
    refused(&[(
        !subject.common_name.starts_with(NODE),
        "subject common name does not begin with system:node:",
    )])
}

fn refused(refusals: &[(bool, &str)]) -> Result<(), String> {
    refusals.iter().find(|(wrong, _)| *wrong).map_or(Ok(()), |(_, why)| Err((*why).to_owned()))
}

/// A node's certificate signs and does one thing; that of an RSA key enciphers keys too.
fn exactly(usages: &[String], purpose: &str) -> Result<(), String> {
    let mut wanted = ["digital signature", "key encipherment", purpose];
    wanted.sort_unstable();
    let mut own: Vec<&str> = usages.iter().map(String::as_str).collect();
    own.sort_unstable();
    own.dedup();
    let without: Vec<&str> = wanted.iter().copied().filter(|usage| *usage != "key encipherment").collect();
    match own == wanted || own == without {
        true => Ok(()),
        false => Err(format!("usages did not match [{}]", wanted.join(" "))),
    }
}

fn lifetime(asked: Option<i32>) -> Duration {
    let asked = asked.and_then(|seconds| u64::try_from(seconds).ok()).map(Duration::from_secs);
    asked.unwrap_or(LONGEST).clamp(SHORTEST, LONGEST)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;
    use serde_json::json;

    fn node() -> Subject {
        Subject {
            common_name: "system:node:edge".to_owned(),
            organizations: vec![NODES.to_owned()],
            ..Subject::default()
        }
    }

    fn request(signer: &str, usages: &[&str], conditions: &[(&str, &str)]) -> CertificateSigningRequest {
        let conditions: Vec<_> = conditions
            .iter()
            .map(|(kind, since)| json!({"type": kind, "status": "True", "lastUpdateTime": since}))
            .collect();
        serde_json::from_value(json!({
            "metadata": {"name": "a", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"request": "", "signerName": signer, "usages": usages, "username": "system:node:edge"},
            "status": {"conditions": conditions},
        }))
        .unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    const SOON: &str = "2026-01-01T00:10:00Z";
    const CLIENTS: [&str; 2] = ["digital signature", "client auth"];

    #[test]
    fn a_node_is_approved_if_it_may_and_nobody_else_is() {
        let own = request(NODE_CLIENT, &CLIENTS, &[]);
        let Step::Ask(asked) = decide(&own, Some(&node()), at(SOON)) else { panic!("a node asks") };
        assert_eq!(asked.iter().map(|(part, _)| *part).collect::<Vec<_>>(), ["selfnodeclient", "nodeclient"]);
        let mut others = own.clone();
        others.spec.username = Some("bootstrap".to_owned());
        let Step::Ask(asked) = decide(&others, Some(&node()), at(SOON)) else { panic!("a node asks") };
        assert_eq!(asked.len(), 1);
        for (request, subject) in [
            (request(CLIENT, &CLIENTS, &[]), node()),
            (request(NODE_CLIENT, &["server auth"], &[]), node()),
            (request(NODE_CLIENT, &CLIENTS, &[]), Subject { dns: 1, ..node() }),
            (request(NODE_CLIENT, &CLIENTS, &[("Denied", SOON)]), node()),
        ] {
            assert!(matches!(decide(&request, Some(&subject), at(SOON)), Step::Wait(Some(_))), "{request:?}");
        }
    }

    #[test]
    fn what_is_approved_is_signed_by_its_signer_or_failed_with_the_reason() {
        let approved = [("Approved", SOON)];
        let serving = ["digital signature", "key encipherment", "server auth"];
        let server = Subject { dns: 1, ..node() };
        for (signer, usages, subject, step) in [
            (CLIENT, &["client auth"][..], node(), Step::Sign(LONGEST)),
            (NODE_CLIENT, &CLIENTS[..], node(), Step::Sign(LONGEST)),
            (NODE_SERVER, &serving[..], server.clone(), Step::Sign(LONGEST)),
            (
                CLIENT,
                &["server auth"][..],
                node(),
                Step::Fail("invalid usage for client certificate: server auth".to_owned()),
            ),
            (
                NODE_SERVER,
                &CLIENTS[..],
                server,
                Step::Fail(
                    "usages did not match [digital signature key encipherment server auth]".to_owned(),
                ),
            ),
            (
                NODE_SERVER,
                &serving[..],
                node(),
                Step::Fail("DNS or IP subjectAltName is required".to_owned()),
            ),
        ] {
            assert_eq!(
                decide(&request(signer, usages, &approved), Some(&subject), at(SOON)),
                step,
                "{signer}"
            );
        }
        let other = request("example.com/own", &CLIENTS, &approved);
        assert!(matches!(decide(&other, Some(&node()), at(SOON)), Step::Wait(Some(_))));
        let mut short = request(CLIENT, &["client auth"], &approved);
        short.spec.expiration_seconds = Some(3600);
        assert_eq!(decide(&short, Some(&node()), at(SOON)), Step::Sign(HOUR));
    }

    #[test]
    fn a_request_is_forgotten_in_time() {
        for (conditions, until) in [
            (&[][..], "2026-01-02T00:00:00Z"),
            (&[("Denied", SOON)][..], "2026-01-01T01:10:00Z"),
            (&[("Approved", SOON), ("Failed", SOON)][..], "2026-01-01T01:10:00Z"),
            (&[("Approved", SOON)][..], "2026-01-02T00:10:00Z"),
        ] {
            let request = request("example.com/own", &CLIENTS, conditions);
            let end = at(until);
            let before = end.checked_sub(jiff::SignedDuration::from_secs(1)).unwrap();
            assert_eq!(decide(&request, Some(&node()), before), Step::Wait(Some(Duration::from_secs(1))));
            assert_eq!(decide(&request, Some(&node()), end), Step::Forget, "{conditions:?}");
        }
    }
}
