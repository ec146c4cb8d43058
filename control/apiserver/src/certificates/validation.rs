//! What is wrong with a CertificateSigningRequest, in the words of Kubernetes.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer as _;
use xebec_machinery::field::{FieldError, Path};
use xebec_machinery::metadata::{NameRule, dns_label};

use super::{JUDGEMENTS, conditions, conditions_of};
use crate::object::at_path;
use crate::strategy::Part;

const LEGACY: &str = "kubernetes.io/legacy-unknown";
const REQUEST: &str = "CERTIFICATE REQUEST";
const CERTIFICATE: &str = "CERTIFICATE";
/// The conditions that are there or are not, and never false.
const CERTAIN: [&str; 3] = ["Approved", "Denied", "Failed"];
/// What a certificate may be for, by name.
const USAGES: [&str; 23] = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];
/// The shortest life that may be asked for, in seconds.
const SHORTEST: i64 = 600;
const DOMAIN_MAX: usize = 253;
const SIGNER_MAX: usize = DOMAIN_MAX + 1 + DOMAIN_MAX + 1 + 63;

/// Everything but what is wrong with the metadata. What was wrong before an update and did not change is let pass.
pub(super) fn validate(old: Option<&Value>, new: &Value, part: Part) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let path = Path::ROOT.child("spec");
    let spec = |field: &str| new.get("spec").and_then(|spec| spec.get(field)).unwrap_or(&Value::Null);
    if old.is_none() {
        if let Err(why) = request(spec("request").as_str().unwrap_or_default()) {
            errors.push(FieldError::invalid(&path.child("request"), spec("request").clone(), why));
        }
        usages(spec("usages"), &path.child("usages"), &mut errors);
        signer(spec("signerName").as_str().unwrap_or_default(), &path.child("signerName"), &mut errors);
        if let Some(seconds) = spec("expirationSeconds").as_i64().filter(|seconds| *seconds < SHORTEST) {
            let why = "may not specify a duration less than 600 seconds (10 minutes)";
            errors.push(FieldError::invalid(&path.child("expirationSeconds"), seconds, why));
        }
    }
    let status = Path::ROOT.child("status");
    judged(old, new, &status.child("conditions"), &mut errors);
    let certificate = |of: &Value| {
        at_path(of, ".status.certificate").and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let (before, after) = (old.map(certificate).unwrap_or_default(), certificate(new));
    let path = status.child("certificate");
    if let (true, Err(why)) = (before != after, certificates(&after)) {
        errors.push(FieldError::invalid(&path, "<certificate data>", why));
    }
    if let Some(old) = old {
        kept(old, new, part, &status.child("conditions"), &mut errors);
        if before != after && part != Part::Status {
            errors.push(FieldError::forbidden(&path, "updates may not set certificate content"));
        } else if before != after && !before.is_empty() {
            errors.push(FieldError::forbidden(&path, "updates may not modify existing certificate content"));
        }
    }
    errors
}

/// The blocks of a text in PEM that stands in base64.
fn blocks(base64: &str) -> Vec<Pem> {
    let bytes = STANDARD.decode(base64).unwrap_or_default();
    Pem::iter_from_buffer(&bytes).map_while(Result::ok).collect()
}

fn request(base64: &str) -> Result<(), String> {
    let block = blocks(base64).into_iter().next().filter(|block| block.label == REQUEST);
    let block = block.ok_or("PEM block type must be CERTIFICATE REQUEST")?;
    let (_, request) = X509CertificationRequest::from_der(&block.contents)
        .map_err(|error| format!("x509: malformed certificate request: {error}"))?;
    request.verify_signature().map_err(|error| format!("x509: the signature does not hold: {error}"))
}

/// The organizations in the subject of a request, which are the groups of whom it is for.
pub(super) fn organizations(base64: &str) -> Vec<String> {
    let Some(block) = blocks(base64).into_iter().next() else { return Vec::new() };
    let Ok((_, request)) = X509CertificationRequest::from_der(&block.contents) else { return Vec::new() };
    let subject = &request.certification_request_info.subject;
    let texts = subject.iter_organization().filter_map(|name| name.as_str().ok());
    texts.map(str::to_owned).collect()
}

fn certificates(base64: &str) -> Result<(), String> {
    if base64.is_empty() {
        return Ok(());
    }
    let blocks = blocks(base64);
    if blocks.is_empty() {
        return Err("must contain at least one CERTIFICATE PEM block".to_owned());
    }
    for block in blocks {
        if block.label != CERTIFICATE {
            return Err(format!("only CERTIFICATE PEM blocks are allowed, found {:?}", block.label));
        }
        block.parse_x509().map_err(|error| format!("x509: malformed certificate: {error}"))?;
    }
    Ok(())
}

fn usages(value: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let list: Vec<&str> = value.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if list.is_empty() {
        errors.push(FieldError::required(path, ""));
    }
    for (at, usage) in list.iter().enumerate().filter(|(_, usage)| !USAGES.contains(usage)) {
        errors.push(FieldError::not_supported(&path.index(at), *usage, &USAGES));
    }
    let mut seen = BTreeSet::new();
    for (at, usage) in list.iter().enumerate() {
        if !seen.insert(*usage) {
            errors.push(FieldError::duplicate(&path.index(at), *usage));
        }
    }
}

/// A signer's name is a domain and a path: `example.com/signer-name`.
fn signer(name: &str, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if name == LEGACY {
        let why = "the legacy signerName is not allowed via this API version";
        return errors.push(FieldError::invalid(path, name, why));
    }
    if name.is_empty() {
        return errors.push(FieldError::required(path, ""));
    }
    let (domain, rest) = match name.split_once('/') {
        Some((domain, rest)) if !rest.contains('/') => (domain, rest),
        _ => {
            let why = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
            return errors.push(FieldError::invalid(path, name, why));
        }
    };
    if domain.len() > DOMAIN_MAX {
        errors.push(FieldError::too_long(path, DOMAIN_MAX));
    }
    let labels = |text: &str, problems: &dyn Fn(&str) -> Vec<String>, errors: &mut Vec<FieldError>| {
        let mut wrong = text.split('.').map(|label| (label, problems(label)));
        let Some((label, found)) = wrong.find(|(_, found)| !found.is_empty()) else { return };
        for why in found {
            errors.push(FieldError::invalid(path, text, format!("validating label {label:?}: {why}")));
        }
    };
    labels(domain, &dns_label, errors);
    if !domain.contains('.') {
        let why = "should be a domain with at least two segments separated by dots";
        errors.push(FieldError::invalid(path, domain, why));
    }
    labels(rest, &|label| NameRule::Subdomain.problems(label), errors);
    if name.len() > SIGNER_MAX {
        errors.push(FieldError::too_long(path, SIGNER_MAX));
    }
}

/// What is wrong with the conditions in themselves.
fn judged(old: Option<&Value>, new: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let text = |of: &Value, field: &str| of.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    let has = |of: &Value, kind: &str| !conditions_of(of, kind).is_empty();
    let before = old.map(conditions).unwrap_or_default();
    let types: BTreeSet<String> = before.iter().map(|condition| text(condition, "type")).collect();
    let (was_doubled, was_empty) = (types.len() < before.len(), types.contains(""));
    let was_both = old.is_some_and(|old| JUDGEMENTS.iter().all(|kind| has(old, kind)));
    let mut seen = BTreeSet::new();
    for (at, condition) in conditions(new).iter().enumerate() {
        let place = path.index(at);
        let (kind, status) = (text(condition, "type"), text(condition, "status"));
        if kind.is_empty() && !was_empty {
            errors.push(FieldError::required(&place.child("type"), ""));
        }
        let allowed: &[&str] =
            if CERTAIN.contains(&kind.as_str()) { &["True"] } else { &["False", "True", "Unknown"] };
        if status.is_empty() {
            errors.push(FieldError::required(&place.child("status"), ""));
        } else if !allowed.contains(&status.as_str()) {
            errors.push(FieldError::not_supported(&place.child("status"), status, allowed));
        }
        let other = JUDGEMENTS.iter().find(|own| **own != kind).copied().unwrap_or_default();
        if JUDGEMENTS.contains(&kind.as_str()) && seen.contains(other) && !was_both {
            let why = "Approved and Denied conditions are mutually exclusive";
            errors.push(FieldError::invalid(path, kind.as_str(), why));
        }
        if seen.contains(&kind) && !was_doubled {
            errors.push(FieldError::duplicate(&place.child("type"), kind.as_str()));
        }
        seen.insert(kind);
    }
}

/// What is wrong with how the conditions changed.
fn kept(old: &Value, new: &Value, part: Part, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let mut refuse = |why: String| errors.push(FieldError::forbidden(path, why));
    for kind in CERTAIN {
        if conditions_of(new, kind).len() < conditions_of(old, kind).len() {
            refuse(format!("updates may not remove a condition of type {kind:?}"));
        }
    }
    for kind in JUDGEMENTS.into_iter().filter(|_| part != Part::Approval) {
        let (before, after) = (conditions_of(old, kind), conditions_of(new, kind));
        if after.len() > before.len() {
            refuse(format!("updates may not add a condition of type {kind:?}"));
        } else if after.len() == before.len() && after != before {
            refuse(format!("updates may not modify a condition of type {kind:?}"));
        }
    }
}
