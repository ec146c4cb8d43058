//! Kinds that are questions: who am I, whose token is this, may they do that? They are answered and never stored.

use serde_json::{Value, json};
use xebec_machinery::defaults;
use xebec_machinery::field::{FieldError, Path};
use xebec_machinery::status::{Qualified, Status};

use crate::authorizer::{Asked, Attributes};
use crate::call::Call;
use crate::codec::Decoded;
use crate::intake;
use crate::object::{self, at_path};
use crate::policy::Policy;
use crate::service_account;
use crate::user::User;

/// Whether objects of the call's resource are questions.
pub fn is_review(call: &Call) -> bool {
    matches!(&*call.resource.group, "authentication.k8s.io" | "authorization.k8s.io")
}

/// Answers a question. `authenticate` tells whose token it is and for whom, or why it is nobody's.
pub fn answer(
    call: &Call,
    policy: &Policy,
    authenticate: impl Fn(&str, &[String]) -> Result<(User, Vec<String>), Status>,
    body: Decoded,
) -> Result<(Value, Vec<String>), Status> {
    let mut review = body.object;
    intake::check_type(call, &mut review)?;
    let warnings = intake::admit_fields(call, &mut review, (body.doubled, body.form))?;
    defaults::apply(&call.resource.group, &call.version().name, &call.resource.kind, &mut review);
    let status = match &*call.resource.kind {
        "SelfSubjectReview" => {
            object::set_meta(&mut review, "creationTimestamp", call.timestamp());
            json!({"userInfo": call.user.info()})
        }
        "TokenReview" => token(&review, authenticate)?,
        "SelfSubjectAccessReview" => {
            refuse(call, wrong_question(&review))?;
            access(policy, &call.user, &review)?
        }
        "SubjectAccessReview" => {
            let mut wrong = wrong_question(&review);
            wrong.extend(wrong_subject(&review));
            refuse(call, wrong)?;
            access(policy, &subject(&review), &review)?
        }
        "LocalSubjectAccessReview" => {
            let mut wrong = wrong_question(&review);
            wrong.extend(wrong_subject(&review));
            wrong.extend(wrong_namespace(call, &review));
            refuse(call, wrong)?;
            access(policy, &subject(&review), &review)?
        }
        _ => rules(call, policy, &review)?,
    };
    review["status"] = status;
    Ok((review, warnings))
}

fn text<'a>(review: &'a Value, path: &str) -> &'a str {
    at_path(review, path).and_then(Value::as_str).unwrap_or_default()
}

fn token(
    review: &Value,
    authenticate: impl Fn(&str, &[String]) -> Result<(User, Vec<String>), Status>,
) -> Result<Value, Status> {
    let token = text(review, ".spec.token");
    if token.is_empty() {
        return Err(Status::bad_request("token is required for TokenReview in authentication"));
    }
    let asked = at_path(review, ".spec.audiences").and_then(Value::as_array).into_iter().flatten();
    let mut audiences: Vec<String> = asked.filter_map(Value::as_str).map(str::to_owned).collect();
    if audiences.is_empty() {
        audiences.push(service_account::ISSUER.to_owned());
    }
    Ok(match authenticate(token, &audiences) {
        Ok((user, audiences)) => {
            json!({"authenticated": true, "user": user.info(), "audiences": audiences})
        }
        Err(_) => json!({"user": {}, "error": "invalid bearer token"}),
    })
}

fn wrong_question(review: &Value) -> Vec<FieldError> {
    let spec = Path::ROOT.child("spec");
    let part = |name: &str| at_path(review, ".spec").and_then(|spec| spec.get(name));
    match (part("resourceAttributes"), part("nonResourceAttributes")) {
        (Some(_), Some(path)) => {
            let why = "cannot be specified in combination with resourceAttributes";
            vec![FieldError::invalid(&spec.child("nonResourceAttributes"), path.clone(), why)]
        }
        (None, None) => {
            let why = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            vec![FieldError::invalid(&spec.child("resourceAttributes"), Value::Null, why)]
        }
        _ => Vec::new(),
    }
}

fn wrong_subject(review: &Value) -> Option<FieldError> {
    let groups = at_path(review, ".spec.groups").and_then(Value::as_array).is_none_or(Vec::is_empty);
    let spec = Path::ROOT.child("spec");
    (text(review, ".spec.user").is_empty() && groups).then(|| {
        FieldError::invalid(&spec.child("user"), "", "at least one of user or group must be specified")
    })
}

fn wrong_namespace(call: &Call, review: &Value) -> Option<FieldError> {
    let spec = Path::ROOT.child("spec");
    if let Some(path) = at_path(review, ".spec.nonResourceAttributes") {
        let why = "disallowed on this kind of request";
        return Some(FieldError::invalid(&spec.child("nonResourceAttributes"), path.clone(), why));
    }
    let asked = text(review, ".spec.resourceAttributes.namespace");
    let attributes = spec.child("resourceAttributes");
    (Some(asked) != call.namespace())
        .then(|| FieldError::invalid(&attributes.child("namespace"), asked, "must match metadata.namespace"))
}

fn refuse(call: &Call, wrong: Vec<FieldError>) -> Result<(), Status> {
    // Upstream names the group alone.
    let nameless = Qualified::new(&call.resource.group, "");
    if wrong.is_empty() { Ok(()) } else { Err(Status::invalid(nameless, "", &wrong)) }
}

fn subject(review: &Value) -> User {
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let extra = at_path(review, ".spec.extra").and_then(Value::as_object);
    User {
        name: text(review, ".spec.user").to_owned(),
        uid: text(review, ".spec.uid").to_owned(),
        groups: at_path(review, ".spec.groups").map(texts).unwrap_or_default(),
        extra: extra.into_iter().flatten().map(|(key, values)| (key.clone(), texts(values))).collect(),
    }
}

fn access(policy: &Policy, user: &User, review: &Value) -> Result<Value, Status> {
    let asked = match at_path(review, ".spec.resourceAttributes") {
        Some(attributes) => {
            let field = |name: &str| attributes.get(name).and_then(Value::as_str).unwrap_or_default();
            Asked::Resource(Attributes {
                verb: field("verb"),
                group: field("group"),
                resource: field("resource"),
                subresource: field("subresource"),
                namespace: field("namespace"),
                name: field("name"),
            })
        }
        None => Asked::Path {
            verb: text(review, ".spec.nonResourceAttributes.verb"),
            path: text(review, ".spec.nonResourceAttributes.path"),
        },
    };
    let decision = policy.decide(user, &asked)?;
    let mut status = json!({"allowed": decision.allowed});
    if !decision.reason.is_empty() {
        status["reason"] = decision.reason.into();
    }
    Ok(status)
}

fn rules(call: &Call, policy: &Policy, review: &Value) -> Result<Value, Status> {
    let namespace = text(review, ".spec.namespace");
    if namespace.is_empty() {
        return Err(Status::bad_request("no namespace on request"));
    }
    policy.rules(&call.user, namespace)
}
