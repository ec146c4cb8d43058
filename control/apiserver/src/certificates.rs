//! CertificateSigningRequests: what the server says of them, who may approve and sign them, and which are refused.
//!
//! Who asks is noted at the creation and never changes. Afterwards the object changes by its subresources alone: `approval`
//! sets conditions, `status` sets the certificate.

mod validation;

use serde_json::{Value, json};
use xebec_machinery::apply::FieldSet;
use xebec_machinery::field::FieldError;
use xebec_machinery::status::Status;

use crate::api::Api;
use crate::authorizer::{Asked, Attributes};
use crate::call::Call;
use crate::object;
use crate::strategy::Part;

const GROUP: &str = "certificates.k8s.io";
/// The signer whose certificates the API takes for its clients' own.
const CLIENTS: &str = "kubernetes.io/kube-apiserver-client";
/// The group that may do everything, which nobody is signed into.
const MASTERS: &str = "system:masters";
/// The conditions that `approval` alone may set.
const JUDGEMENTS: [&str; 2] = ["Approved", "Denied"];

/// Whether the call is for such requests.
pub(crate) fn concerns(call: &Call) -> bool {
    (&*call.resource.group, &*call.resource.plural) == (GROUP, "certificatesigningrequests")
}

/// Notes who asks.
pub(crate) fn prepare_create(call: &Call, new: &mut Value) {
    let spec = object::section_mut(new, "spec");
    for field in ["username", "uid", "groups", "extra"] {
        spec.remove(field);
    }
    if let Value::Object(info) = call.user.info() {
        spec.extend(info);
    }
}

/// Puts back what a write of this part may not touch.
pub(crate) fn prepare_update(call: &Call, old: &Value, new: &mut Value, part: Part) {
    if let (Some(spec), Some(fields)) = (old.get("spec"), new.as_object_mut()) {
        fields.insert("spec".to_owned(), spec.clone());
    }
    match part {
        Part::Status => {
            JUDGEMENTS.into_iter().for_each(|kind| preserve(old, new, kind));
            date(call, old, new);
        }
        Part::Approval => {
            date(call, old, new);
            let status = object::section_mut(new, "status");
            match old.get("status").and_then(|status| status.get("certificate")) {
                Some(certificate) => status.insert("certificate".to_owned(), certificate.clone()),
                None => status.remove("certificate"),
            };
        }
        _ => {}
    }
}

/// The fields that a write of this part does not set.
pub(crate) fn reset(part: Part) -> FieldSet {
    match part {
        Part::Status => FieldSet::of_fields(&[&["spec"], &["status", "conditions"]]),
        Part::Approval => FieldSet::of_fields(&[&["spec"], &["status", "certificate"]]),
        _ => FieldSet::of_fields(&[&["spec"], &["status"]]),
    }
}

/// What is wrong with a new request, or with one that changes.
pub(crate) fn validate(old: Option<&Value>, new: &Value, part: Part) -> Vec<FieldError> {
    validation::validate(old, new, part)
}

fn conditions(object: &Value) -> &[Value] {
    let list = object::at_path(object, ".status.conditions").and_then(Value::as_array);
    list.map(Vec::as_slice).unwrap_or_default()
}

fn conditions_of<'a>(object: &'a Value, kind: &str) -> Vec<&'a Value> {
    conditions(object).iter().filter(|condition| condition["type"] == kind).collect()
}

/// Keeps the conditions of a type as they were. Where there are more or fewer of them, that is told as an error later.
fn preserve(old: &Value, new: &mut Value, kind: &str) {
    let before = conditions_of(old, kind);
    if before.len() != conditions_of(new, kind).len() {
        return;
    }
    let list = new.get_mut("status").and_then(|status| status.get_mut("conditions")?.as_array_mut());
    let after = list.into_iter().flatten().filter(|condition| condition["type"] == kind);
    after.zip(before).for_each(|(after, before)| *after = before.clone());
}

/// Dates the conditions that are not.
fn date(call: &Call, old: &Value, new: &mut Value) {
    let now = Value::from(call.timestamp());
    let list = new.get_mut("status").and_then(|status| status.get_mut("conditions")?.as_array_mut());
    for condition in list.into_iter().flatten().filter_map(Value::as_object_mut) {
        let dated =
            |of: &Value, field: &str| of.get(field).is_some_and(|time| !time.is_null() && *time != json!(""));
        let before = conditions(old).iter().find(|before| {
            ["type", "status"].iter().all(|field| before.get(field) == condition.get(*field))
                && dated(before, "lastTransitionTime")
        });
        let changed = before.map_or(now.clone(), |before| before["lastTransitionTime"].clone());
        for (field, time) in [("lastUpdateTime", now.clone()), ("lastTransitionTime", changed)] {
            if condition.get(field).is_none_or(|there| there.is_null() || *there == json!("")) {
                condition.insert(field.to_owned(), time);
            }
        }
    }
}

impl Api {
    /// Refuses a write by who may not approve or sign for the request's signer, and a request for more than it signs.
    pub(crate) fn check_signer(
        &self,
        call: &Call,
        old: Option<&Value>,
        new: &Value,
        part: Part,
    ) -> Result<(), Status> {
        if !concerns(call) {
            return Ok(());
        }
        let refuse = |why: String| Err(Status::forbidden(call.qualified(), object::name(new), &why));
        let signer = |of: &Value| {
            object::at_path(of, ".spec.signerName").and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let (verb, name) = match (part, old) {
            (Part::Approval, Some(old)) => ("approve", signer(old)),
            (Part::Status, Some(old)) => {
                let part = |of: &Value, field: &str| {
                    object::at_path(of, field).cloned().filter(|value| *value != json!([]))
                };
                let same = |field: &str| part(old, field) == part(new, field);
                if same(".status.certificate") && same(".status.conditions") {
                    return Ok(());
                }
                ("sign", signer(old))
            }
            _ => {
                let asked = object::at_path(new, ".spec.request").and_then(Value::as_str).unwrap_or_default();
                let masters = || validation::organizations(asked).iter().any(|group| group == MASTERS);
                if signer(new) == CLIENTS && masters() {
                    return refuse(format!("use of {CLIENTS} signer with {MASTERS} group is not allowed"));
                }
                return Ok(());
            }
        };
        let domain = format!("{}/*", name.split('/').next().unwrap_or_default());
        for name in [&name, &domain] {
            let asked = Attributes { verb, group: GROUP, resource: "signers", name, ..Attributes::default() };
            if self.policy().decide(&call.user, &Asked::Resource(asked))?.allowed {
                return Ok(());
            }
        }
        refuse(format!("user not permitted to {verb} requests with signerName {name:?}"))
    }
}
