//! The Kubernetes `Status` object: every error that the API answers with.
//!
//! The reasons, codes and message texts are those of Kubernetes; clients branch on the reasons and people know the texts.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::field::FieldError;

/// Why a request failed, for machines (`Status.reason`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// 400: the request makes no sense.
    BadRequest,
    /// 401: nobody knows who is asking.
    Unauthorized,
    /// 403: who is asking may not.
    Forbidden,
    /// 404: the object or path is not there.
    NotFound,
    /// 405: the resource does not take this verb.
    MethodNotAllowed,
    /// 406: no media type that the client accepts can be made.
    NotAcceptable,
    /// 409: a create of what is there already.
    AlreadyExists,
    /// 409: the object changed since it was read.
    Conflict,
    /// 410: what was asked for was there and is no more.
    Gone,
    /// 410: the revision is older than what is kept.
    Expired,
    /// 413: the request is larger than the limit.
    RequestEntityTooLarge,
    /// 415: the body's media type is not understood.
    UnsupportedMediaType,
    /// 422: the object breaks rules, told one by one in the causes.
    Invalid,
    /// 429: the client should slow down.
    TooManyRequests,
    /// 500: a fault of ours.
    InternalError,
    /// 503: not able to serve for now.
    ServiceUnavailable,
    /// 504: the operation took too long.
    Timeout,
    /// 500, as upstream has it: the operation could not be completed in time and may be tried again.
    ServerTimeout,
    /// 500: something failed that has no name.
    Unknown,
}

impl Reason {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "BadRequest",
            Self::Unauthorized => "Unauthorized",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "NotFound",
            Self::MethodNotAllowed => "MethodNotAllowed",
            Self::NotAcceptable => "NotAcceptable",
            Self::AlreadyExists => "AlreadyExists",
            Self::Conflict => "Conflict",
            Self::Gone => "Gone",
            Self::Expired => "Expired",
            Self::RequestEntityTooLarge => "RequestEntityTooLarge",
            Self::UnsupportedMediaType => "UnsupportedMediaType",
            Self::Invalid => "Invalid",
            Self::TooManyRequests => "TooManyRequests",
            Self::InternalError => "InternalError",
            Self::ServiceUnavailable => "ServiceUnavailable",
            Self::Timeout => "Timeout",
            Self::ServerTimeout => "ServerTimeout",
            Self::Unknown => "",
        }
    }

    /// The HTTP status code that goes with the reason.
    pub fn code(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::NotAcceptable => 406,
            Self::AlreadyExists | Self::Conflict => 409,
            Self::Gone | Self::Expired => 410,
            Self::RequestEntityTooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::Invalid => 422,
            Self::TooManyRequests => 429,
            Self::InternalError | Self::ServerTimeout | Self::Unknown => 500,
            Self::ServiceUnavailable => 503,
            Self::Timeout => 504,
        }
    }
}

/// One cause of an error (`Status.details.causes[]`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cause {
    /// For machines: `FieldValueInvalid`, `FieldManagerConflict`, …
    pub reason: String,
    /// For people.
    pub message: String,
    /// The path of the field, where one is meant.
    pub field: String,
}

impl From<&FieldError> for Cause {
    fn from(error: &FieldError) -> Self {
        Self {
            reason: error.error_type.reason().to_owned(),
            message: error.body(),
            // Of the object as a whole, as upstream has it.
            field: if error.field.is_empty() { "<nil>".to_owned() } else { error.field.clone() },
        }
    }
}

/// What the error is about (`Status.details`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Details {
    /// The object's name.
    pub name: String,
    /// The group of the resource.
    pub group: String,
    /// The resource (`pods`), or for [`Reason::Invalid`] the kind (`Pod`), as upstream has it.
    pub kind: String,
    /// The object's uid.
    pub uid: String,
    /// Each thing that was wrong.
    pub causes: Vec<Cause>,
    /// When to try again; 0 says nothing.
    pub retry_after_seconds: u32,
}

/// A group and a resource or kind in it, written `deployments.apps`; the core group is empty and not written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Qualified<'a> {
    /// The API group; empty for core.
    pub group: &'a str,
    /// The resource (`deployments`) or the kind (`Deployment`).
    pub name: &'a str,
}

impl<'a> Qualified<'a> {
    /// `name` of `group`.
    pub fn new(group: &'a str, name: &'a str) -> Self {
        Self { group, name }
    }

    fn details(self, object: &str) -> Details {
        Details {
            name: object.into(),
            group: self.group.into(),
            kind: self.name.into(),
            ..Details::default()
        }
    }
}

impl fmt::Display for Qualified<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        Ok(())
    }
}

/// A failed request, as the API answers it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Status {
    /// For machines.
    pub reason: Reason,
    /// For people.
    pub message: String,
    /// What it is about.
    pub details: Option<Box<Details>>,
    /// The code and reason of someone else who refused, such as a webhook, where they are none of ours.
    pub foreign: Option<Box<Foreign>>,
    /// By which token a list goes on that cannot go on as it began.
    pub goes_on: Option<Box<str>>,
}

/// A code and a reason in someone else's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    /// The HTTP status code.
    pub code: u16,
    /// For machines; may be empty.
    pub reason: String,
}

/// What is said at a path that belongs to nothing at all.
pub const PAGE_NOT_FOUND: &str = "404 page not found";

/// Why an update was refused when its `resourceVersion` is not the stored one.
pub const MODIFIED: &str =
    "the object has been modified; please apply your changes to the latest version and try again";

impl Status {
    /// An error with this reason and text, about nothing in particular.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), details: None, foreign: None, goes_on: None }
    }

    pub(crate) fn about(mut self, details: Details) -> Self {
        self.details = Some(Box::new(details));
        self
    }

    /// The HTTP status code.
    pub fn code(&self) -> u16 {
        self.foreign.as_ref().map_or_else(|| self.reason.code(), |foreign| foreign.code)
    }

    /// A refusal in someone else's words: a `Status` object as they sent it, with this message.
    pub fn foreign(object: &Value, message: String) -> Self {
        let text =
            |of: &Value, field: &str| of.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let code = object.get("code").and_then(Value::as_u64).and_then(|code| u16::try_from(code).ok());
        let code = code.filter(|code| (400..600).contains(code)).unwrap_or(400);
        let reason = text(object, "reason");
        let details = object.get("details").filter(|details| details.is_object()).map(|details| {
            let causes = details.get("causes").and_then(Value::as_array).into_iter().flatten();
            let causes = causes.map(|cause| Cause {
                reason: text(cause, "reason"),
                message: text(cause, "message"),
                field: text(cause, "field"),
            });
            let retry = details.get("retryAfterSeconds").and_then(Value::as_u64);
            Box::new(Details {
                name: text(details, "name"),
                group: text(details, "group"),
                kind: text(details, "kind"),
                uid: text(details, "uid"),
                causes: causes.collect(),
                retry_after_seconds: retry.and_then(|seconds| u32::try_from(seconds).ok()).unwrap_or(0),
            })
        });
        let foreign = Some(Box::new(Foreign { code, reason }));
        Self { reason: Reason::BadRequest, message, details, foreign, goes_on: None }
    }

    /// `pods "x" not found`.
    pub fn not_found(resource: Qualified<'_>, name: &str) -> Self {
        Self::new(Reason::NotFound, format!("{resource} {} not found", quoted(name)))
            .about(resource.details(name))
    }

    /// The path belongs to no resource, in a part of the API where upstream's router says so in an object.
    pub fn no_such_resource() -> Self {
        Self::new(Reason::NotFound, "the server could not find the requested resource")
            .about(Details::default())
    }

    /// The path belongs to nothing at all: [`PAGE_NOT_FOUND`], which is no object on the wire. This is what Go's clients make
    /// of that text.
    pub fn page_not_found() -> Self {
        let cause = Cause {
            reason: "UnexpectedServerResponse".into(),
            message: PAGE_NOT_FOUND.into(),
            field: String::new(),
        };
        Self::new(Reason::NotFound, "the server could not find the requested resource")
            .about(Details { causes: vec![cause], ..Details::default() })
    }

    /// Whether this stands for a text rather than an object.
    pub fn is_page_not_found(&self) -> bool {
        let causes = self.details.as_ref().map_or(&[][..], |details| &details.causes);
        self.reason == Reason::NotFound && matches!(causes, [cause] if cause.message == PAGE_NOT_FOUND)
    }

    /// `pods "x" already exists`.
    pub fn already_exists(resource: Qualified<'_>, name: &str) -> Self {
        Self::new(Reason::AlreadyExists, format!("{resource} {} already exists", quoted(name)))
            .about(resource.details(name))
    }

    /// `Operation cannot be fulfilled on pods "x": why`.
    pub fn conflict(resource: Qualified<'_>, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {resource} {}: {why}", quoted(name));
        Self::new(Reason::Conflict, message).about(resource.details(name))
    }

    /// The update was made from an older version of the object.
    pub fn modified(resource: Qualified<'_>, name: &str) -> Self {
        Self::conflict(resource, name, MODIFIED)
    }

    /// A server-side apply would take fields that other managers own; one cause a field.
    pub fn apply_conflict(message: impl Into<String>, causes: Vec<Cause>) -> Self {
        Self::new(Reason::Conflict, message).about(Details { causes, ..Details::default() })
    }

    /// `Pod "x" is invalid: spec.foo: Required value`.
    pub fn invalid(kind: Qualified<'_>, name: &str, errors: &[FieldError]) -> Self {
        let mut texts: Vec<String> = Vec::new();
        for error in errors {
            let text = error.to_string();
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        let subject = format!("{kind} {} is invalid", quoted(name));
        let message = match texts.as_slice() {
            [] => subject,
            [one] => format!("{subject}: {one}"),
            many => format!("{subject}: [{}]", many.join(", ")),
        };
        let causes = errors.iter().map(Cause::from).collect();
        Self::new(Reason::Invalid, message).about(Details { causes, ..kind.details(name) })
    }

    /// The request makes no sense, and why.
    pub fn bad_request(why: impl Into<String>) -> Self {
        Self::new(Reason::BadRequest, why)
    }

    /// Nobody knows who is asking.
    pub fn unauthorized() -> Self {
        Self::new(Reason::Unauthorized, "Unauthorized")
    }

    /// `pods "x" is forbidden: why`; an empty name speaks of the whole resource.
    pub fn forbidden(resource: Qualified<'_>, name: &str, why: &str) -> Self {
        let message = match (resource.name, name) {
            ("", _) => format!("forbidden: {why}"),
            (_, "") => format!("{resource} is forbidden: {why}"),
            (_, name) => format!("{resource} {} is forbidden: {why}", quoted(name)),
        };
        Self::new(Reason::Forbidden, message).about(resource.details(name))
    }

    /// What was asked for is no more.
    pub fn gone(why: impl Into<String>) -> Self {
        Self::new(Reason::Gone, why)
    }

    /// The revision is older than what is kept; the client lists again.
    pub fn expired(why: impl Into<String>) -> Self {
        Self::new(Reason::Expired, why)
    }

    /// `too old resource version: 3 (17)`.
    pub fn too_old(asked: u64, oldest: u64) -> Self {
        Self::expired(format!("too old resource version: {asked} ({oldest})"))
    }

    /// `patch is not supported on resources of kind "pods"`.
    pub fn method_not_allowed(resource: Qualified<'_>, verb: &str) -> Self {
        let kind = quoted(&resource.to_string());
        Self::new(Reason::MethodNotAllowed, format!("{verb} is not supported on resources of kind {kind}"))
            .about(resource.details(""))
    }

    /// None of the media types that the client accepts can be made.
    pub fn not_acceptable(served: &[&str]) -> Self {
        let message = format!("only the following media types are accepted: {}", served.join(", "));
        Self::new(Reason::NotAcceptable, message)
    }

    /// The body's media type is none of these.
    pub fn unsupported_media_type(understood: &[&str]) -> Self {
        let understood = understood.join(", ");
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {understood}"
        );
        Self::new(Reason::UnsupportedMediaType, message)
    }

    /// The request is larger than `limit` bytes.
    pub fn too_large(limit: usize) -> Self {
        let message = format!("Request entity is too large: limit is {limit}");
        Self::new(Reason::RequestEntityTooLarge, message)
    }

    /// The client should come back later.
    pub fn too_many_requests(why: impl Into<String>, retry_after_seconds: u32) -> Self {
        Self::new(Reason::TooManyRequests, why).about(Details { retry_after_seconds, ..Details::default() })
    }

    /// `Timeout: why`.
    pub fn timeout(why: &str) -> Self {
        Self::new(Reason::Timeout, format!("Timeout: {why}"))
    }

    /// `Timeout: Too large resource version: 9, current: 7`: what is asked for has not happened yet.
    pub fn too_large_revision(asked: u64, current: u64) -> Self {
        let cause = Cause {
            reason: "ResourceVersionTooLarge".into(),
            message: "Too large resource version".into(),
            field: String::new(),
        };
        Self::timeout(&format!("Too large resource version: {asked}, current: {current}")).about(Details {
            causes: vec![cause],
            retry_after_seconds: 1,
            ..Details::default()
        })
    }

    /// `Internal error occurred: why`.
    pub fn internal(why: &str) -> Self {
        let cause = Cause { message: why.into(), ..Cause::default() };
        Self::new(Reason::InternalError, format!("Internal error occurred: {why}"))
            .about(Details { causes: vec![cause], ..Details::default() })
    }

    /// Not able to serve for now.
    pub fn unavailable(why: impl Into<String>) -> Self {
        Self::new(Reason::ServiceUnavailable, why)
    }

    /// The object that the API answers with.
    pub fn to_value(&self) -> Value {
        let mut status = json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "code": self.code(),
        });
        let reason = self.foreign.as_ref().map_or(self.reason.as_str(), |foreign| &foreign.reason);
        if !reason.is_empty() {
            status["reason"] = reason.into();
        }
        if let Some(token) = &self.goes_on {
            status["metadata"]["continue"] = (**token).into();
        }
        if let Some(details) = &self.details {
            status["details"] = details.to_value();
        }
        status
    }
}

impl Details {
    fn to_value(&self) -> Value {
        let mut map = Map::new();
        for (key, text) in
            [("name", &self.name), ("group", &self.group), ("kind", &self.kind), ("uid", &self.uid)]
        {
            put(&mut map, key, text);
        }
        if !self.causes.is_empty() {
            map.insert("causes".into(), self.causes.iter().map(Cause::to_value).collect());
        }
        if self.retry_after_seconds > 0 {
            map.insert("retryAfterSeconds".into(), self.retry_after_seconds.into());
        }
        Value::Object(map)
    }
}

impl Cause {
    fn to_value(&self) -> Value {
        let mut map = Map::new();
        put(&mut map, "reason", &self.reason);
        put(&mut map, "message", &self.message);
        put(&mut map, "field", &self.field);
        Value::Object(map)
    }
}

fn put(map: &mut Map<String, Value>, key: &str, text: &str) {
    if !text.is_empty() {
        map.insert(key.into(), text.into());
    }
}

/// The text in quotes and escaped.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// The answer to a deletion that is done: a `Status` of `Success` about the object that was deleted.
pub fn deleted(resource: Qualified<'_>, name: &str, uid: &str) -> Value {
    let details = Details { uid: uid.into(), ..resource.details(name) };
    json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": details.to_value(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::Path;

    const PODS: Qualified<'static> = Qualified { group: "", name: "pods" };
    const DEPLOYMENTS: Qualified<'static> = Qualified { group: "apps", name: "deployments" };

    #[test]
    fn texts_and_codes_are_those_of_kubernetes() {
        let spec = Path::ROOT.child("spec");
        let foo = spec.child("foo");
        let kind = Qualified::new("apps", "Deployment");
        let missing = FieldError::required(&foo, "");
        let wrong = FieldError::invalid(&foo, 1, "no");
        let cases = [
            (Status::not_found(PODS, "x"), 404, r#"pods "x" not found"#),
            (Status::already_exists(DEPLOYMENTS, "x"), 409, r#"deployments.apps "x" already exists"#),
            (
                Status::modified(PODS, "x"),
                409,
                "Operation cannot be fulfilled on pods \"x\": the object has been modified; please apply your \
                 changes to the latest version and try again",
            ),
            (
                Status::invalid(Qualified::new("", "Pod"), "x", std::slice::from_ref(&missing)),
                422,
                r#"Pod "x" is invalid: spec.foo: Required value"#,
            ),
            (
                Status::invalid(kind, "x", &[missing.clone(), wrong, missing]),
                422,
                r#"Deployment.apps "x" is invalid: [spec.foo: Required value, spec.foo: Invalid value: 1: no]"#,
            ),
            (Status::forbidden(PODS, "", "no"), 403, "pods is forbidden: no"),
            (
                Status::method_not_allowed(DEPLOYMENTS, "patch"),
                405,
                r#"patch is not supported on resources of kind "deployments.apps""#,
            ),
            (Status::too_old(3, 17), 410, "too old resource version: 3 (17)"),
            (Status::internal("boom"), 500, "Internal error occurred: boom"),
        ];
        for (status, code, text) in cases {
            assert_eq!(status.to_string(), text);
            assert_eq!(status.code(), code);
            assert_eq!(status.to_value()["code"], code);
            assert_eq!(status.to_value()["reason"], status.reason.as_str());
        }
    }

    #[test]
    fn an_invalid_object_names_every_field_in_its_causes() {
        let spec = Path::ROOT.child("spec");
        let status =
            Status::invalid(Qualified::new("apps", "Deployment"), "x", &[FieldError::required(&spec, "")]);
        let expected = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Invalid",
            "message": "Deployment.apps \"x\" is invalid: spec: Required value", "code": 422,
            "details": {
                "name": "x", "group": "apps", "kind": "Deployment",
                "causes": [{"reason": "FieldValueRequired", "message": "Required value", "field": "spec"}],
            },
        });
        assert_eq!(status.to_value(), expected);
    }

    #[test]
    fn an_answer_tells_when_to_come_back() {
        let value = Status::too_many_requests("slow down", 7).to_value();
        assert_eq!(value["details"], json!({"retryAfterSeconds": 7}));
    }

    #[test]
    fn a_deletion_says_what_it_deleted() {
        let value = deleted(PODS, "x", "u");
        assert_eq!(value["details"], json!({"name": "x", "kind": "pods", "uid": "u"}));
        assert_eq!(value["status"], "Success");
    }
}
