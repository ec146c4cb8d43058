//! One webhook of a configuration: when it is called, how, and what its failing means.

use std::time::Duration;

use serde_json::{Value, json};
use tracing::warn;
use uuid::Uuid;
use xebec_expressions::MATCH_CONDITIONS_BUDGET;
use xebec_expressions::admission::{Variables, environment};
use xebec_machinery::status::{Reason, Status};

use super::client::Client;
use super::review::{self, Answer, Version};
use super::shown;
use crate::expression::{Conditions, Knowledge};
use crate::matching::{Match, Seen};
use crate::object;
use crate::stage::Case;

/// How long a hook that says nothing may take.
const USUAL_TIMEOUT: u64 = 10;

/// The largest answer to a review: a patch that writes an object of the largest size anew, in base64, and some more.
const LARGEST: usize = 8 << 20;

/// A webhook, ready to be called.
pub(super) struct Hook {
    pub(super) name: String,
    /// The hook among all: the name of its configuration and its own.
    pub(super) key: String,
    /// Whether it runs again where others changed the object after it.
    pub(super) again: bool,
    meant: Match,
    conditions: Conditions,
    /// Whether a request is let through where the hook cannot be asked.
    fails_open: bool,
    side_effects: String,
    timeout: Duration,
    version: Option<Version>,
    client: Result<Client, String>,
}

/// Why a hook did not let a request through.
#[derive(Debug)]
pub(super) enum Fault {
    /// It could not be asked, or gave no answer that can be understood.
    Call(String),
    /// It refused, or nothing else is possible.
    Refused(Status),
}

impl Fault {
    /// What becomes of the request: the refusal, or nothing where the hook may fail.
    pub(super) fn settle(self, case: Case<'_>, hook: &Hook, what: &str, index: usize) -> Result<(), Status> {
        match self {
            Self::Refused(status) => Err(status),
            Self::Call(why) if hook.fails_open => {
                warn!(
                    webhook = hook.name,
                    why, "a webhook could not be asked; the request goes on without it"
                );
                let key = format!("failed-open.{what}.webhook.admission.k8s.io/round_0_index_{index}");
                case.notes.annotate(key, hook.name.clone());
                Ok(())
            }
            Self::Call(why) => {
                Err(Status::internal(&format!("failed calling webhook \"{}\": {why}", hook.name)))
            }
        }
    }
}

impl Hook {
    /// The hooks of a configuration, in its order.
    pub(super) fn all(configuration: &Value) -> Vec<Self> {
        let read = |hook: &Value| Self::read(object::name(configuration), hook);
        object::list(configuration, &["webhooks"]).iter().map(read).collect()
    }

    fn read(configuration: &str, hook: &Value) -> Self {
        let name = object::name_of(hook).to_owned();
        let seconds = object::at(hook, &["timeoutSeconds"]).and_then(Value::as_u64);
        let environment = environment(Variables { authorizer: true, ..Variables::default() });
        let versions = object::list(hook, &["admissionReviewVersions"]);
        Self {
            key: format!("{configuration}/{name}"),
            again: object::text(hook, &["reinvocationPolicy"]) == "IfNeeded",
            meant: Match::of_webhook(hook),
            conditions: Conditions::compile(object::list(hook, &["matchConditions"]), &environment),
            fails_open: object::text(hook, &["failurePolicy"]) == "Ignore",
            side_effects: object::text(hook, &["sideEffects"]).to_owned(),
            timeout: Duration::from_secs(seconds.unwrap_or(USUAL_TIMEOUT).clamp(1, 30)),
            version: versions.iter().filter_map(Value::as_str).find_map(Version::parse),
            client: Client::of(object::at(hook, &["clientConfig"]).unwrap_or(&Value::Null), LARGEST),
            name,
        }
    }

    /// Whether the hook is to be asked, and as what it then sees the object.
    pub(super) async fn is_meant(&self, case: Case<'_>, object: &Value) -> Result<Option<Seen>, Status> {
        let Some(seen) = self.meant.find(case, object, false)? else { return Ok(None) };
        if self.conditions.all.is_empty() {
            return Ok(Some(seen));
        }
        let (new, old) = shown(case, &seen, object).await?;
        let knowledge = Knowledge::gather(case, &seen, &new, &old)?;
        let bindings = knowledge.bindings(None, true, None);
        match self.conditions.hold(&bindings, MATCH_CONDITIONS_BUDGET) {
            Ok(true) => Ok(Some(seen)),
            Ok(false) => Ok(None),
            Err(_) if self.fails_open => Ok(None),
            Err(why) => Err(Status::forbidden(case.request.qualified(), &case.request.name, &why)),
        }
    }

    /// Asks the hook. Its warnings and annotations are noted; an answer that allows the request is given back.
    pub(super) async fn call(
        &self,
        case: Case<'_>,
        seen: &Seen,
        (new, old): (&Value, &Value),
        mutating: bool,
    ) -> Result<Answer, Fault> {
        if case.request.dry_run && !matches!(self.side_effects.as_str(), "None" | "NoneOnDryRun") {
            let why = format!("admission webhook \"{}\" does not support dry run", self.name);
            return Err(Fault::Refused(Status::new(Reason::BadRequest, why)));
        }
        let Some(version) = self.version else {
            let why = "could not create admission objects: webhook does not accept known AdmissionReview versions \
                       (v1, v1beta1)";
            return Err(Fault::Call(why.to_owned()));
        };
        let client =
            self.client.as_ref().map_err(|why| Fault::Call(format!("could not get REST client: {why}")))?;
        let uid = Uuid::new_v4().to_string();
        let mut request = crate::expression::review(case, seen, &uid);
        for (field, object) in [("object", new), ("oldObject", old)] {
            request[field] = object.clone();
        }
        if request.get("options").is_none() {
            request["options"] = Value::Null;
        }
        let body =
            json!({"kind": "AdmissionReview", "apiVersion": version.api_version(), "request": request});
        let failed = |why: String| Fault::Call(format!("failed to call webhook: {why}"));
        let reply = client.post(case.world, &body, self.timeout).await.map_err(failed)?;
        let answer = review::read(&reply).map_err(failed)?;
        let answer = review::verify(answer, version, &uid, mutating)
            .map_err(|why| Fault::Call(format!("received invalid webhook response: {why}")))?;
        for (key, value) in &answer.annotations {
            case.notes.annotate(format!("{}/{key}", self.name), value.clone());
        }
        answer.warnings.iter().for_each(|warning| case.notes.warn(warning.clone()));
        match answer.allowed {
            true => Ok(answer),
            false => Err(Fault::Refused(denial(&self.name, &answer.status))),
        }
    }
}

/// A refusal in the hook's own words.
fn denial(name: &str, status: &Value) -> Status {
    let by = format!("admission webhook \"{name}\" denied the request");
    let text = |field: &str| object::text(status, &[field]);
    let message = match (text("message"), text("reason")) {
        ("", "") => format!("{by} without explanation"),
        ("", reason) => format!("{by}: {reason}"),
        (message, _) => format!("{by}: {message}"),
    };
    Status::foreign(status, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_keeps_the_hooks_code_and_reason() {
        let status =
            denial("a.example.org", &json!({"code": 418, "reason": "Teapot", "message": "no coffee"}));
        assert_eq!(status.code(), 418);
        let value = status.to_value();
        assert_eq!(value["reason"], "Teapot");
        assert_eq!(value["message"], "admission webhook \"a.example.org\" denied the request: no coffee");
        let silent = denial("a", &Value::Null);
        assert_eq!((silent.code(), silent.to_value().get("reason")), (400, None));
        assert_eq!(silent.message, "admission webhook \"a\" denied the request without explanation");
    }
}
