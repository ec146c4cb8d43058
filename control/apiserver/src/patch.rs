//! Changing objects in part: JSON patch, merge patch, strategic merge patch and server-side apply.

use serde_json::Value;
use xebec_machinery::field::{FieldError, Path};
use xebec_machinery::patch;
use xebec_machinery::status::{Qualified, Status};

use crate::api::Api;
use crate::call::Call;
use crate::codec::{self, Decoded};
use crate::options::FieldValidation;
use crate::strategy::{self, Part};
use crate::write::{Books, Written};
use crate::{intake, object};

/// The media types of patches; custom resources take no strategic merge patch.
const UNDERSTOOD: [&str; 4] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/apply-patch+yaml",
    "application/strategic-merge-patch+json",
];

impl Api {
    /// Changes an object, or a part of it, by a patch.
    pub async fn patch(&self, call: &Call, part: Part, media: &str, body: &[u8]) -> Result<Written, Status> {
        check_force(call, media)?;
        match media {
            "application/apply-patch+yaml" => self.apply(call, part, body).await,
            "application/json-patch+json" => {
                let doubled = codec::operations(body)?;
                let change = |old: &Value| patch::json(old, body).map_err(|error| error.status());
                self.patch_with(call, part, doubled, Shown::Result, change).await
            }
            "application/merge-patch+json" => {
                let Decoded { object: given, doubled } = codec::patch(body, "error decoding patch: ")?;
                let change = |old: &Value| {
                    let mut new = old.clone();
                    patch::merge(&mut new, given.clone()).map_err(|error| error.status())?;
                    Ok(new)
                };
                self.patch_with(call, part, doubled, Shown::Result, change).await
            }
            "application/strategic-merge-patch+json" if !call.resource.custom => {
                let Decoded { object: given, doubled } = codec::patch(body, "")?;
                let node = call.version().schema.node();
                let change = |old: &Value| {
                    patch::strategic(old.clone(), given.clone(), node).map_err(|error| error.status())
                };
                self.patch_with(call, part, doubled, Shown::Patch(&given), change).await
            }
            _ => Err(not_understood(call)),
        }
    }

    async fn patch_with(
        &self,
        call: &Call,
        part: Part,
        doubled: Vec<String>,
        shown: Shown<'_>,
        mut patch: impl FnMut(&Value) -> Result<Value, Status> + Send,
    ) -> Result<Written, Status> {
        let mut warnings = Vec::new();
        let changed = self
            .change(call, part, Books::Open, |old| {
                let mut new = patch(old)?;
                strategy::check_conditional(call, &new)?;
                intake::check_type(call, &mut new)?;
                warnings = judge(call, &mut new, doubled.clone(), shown)?;
                Ok(new)
            })
            .await?;
        Ok(changed.after(warnings))
    }

    async fn apply(&self, call: &Call, part: Part, body: &[u8]) -> Result<Written, Status> {
        check_manager(call)?;
        let decoded = codec::yaml(body)?;
        let mut applied = decoded.object;
        let warnings = match call.validation() {
            FieldValidation::Ignore => Vec::new(),
            FieldValidation::Strict if !decoded.doubled.is_empty() => {
                let doubled = decoded.doubled.join(", ");
                return Err(Status::bad_request(format!("error strict decoding YAML: {doubled}")));
            }
            _ => decoded.doubled,
        };
        intake::check_type(call, &mut applied)?;
        intake::check_place(call, &mut applied, Some(call.name()))?;
        let there = self.storage().find(&call.resource, call.namespace(), call.name())?.is_some();
        if !there && part == Part::Main {
            if !object::meta(&applied, "uid").is_empty() {
                let why = "Precondition failed: the object that is applied has a UID and does not exist";
                return Err(Status::conflict(call.qualified(), call.name(), why));
            }
            self.check_creation(call)?;
            let new = strategy::server_side_apply(call, None, &applied, part)?;
            match self.create_prepared(call, new, Books::Closed).await {
                // Someone made it in between: apply to that.
                Err(status) if status.code() == 409 => {}
                outcome => return Ok(Written { warnings, ..outcome? }),
            }
        }
        let changed = self
            .change(call, part, Books::Closed, |old| {
                strategy::server_side_apply(call, Some(old), &applied, part)
            })
            .await?;
        Ok(changed.after(warnings))
    }
}

/// Only who applies may take fields from others.
pub(crate) fn check_force(call: &Call, media: &str) -> Result<(), Status> {
    if !call.options().force || media.starts_with("application/apply-patch+") {
        return Ok(());
    }
    let path = Path::ROOT.child("force");
    let error = FieldError::forbidden(&path, "may not be specified for non-apply patch");
    Err(Status::invalid(Qualified::new("meta.k8s.io", "PatchOptions"), "", &[error]))
}

/// Who applies says as whom.
pub(crate) fn check_manager(call: &Call) -> Result<(), Status> {
    if call.options().field_manager.is_some() {
        return Ok(());
    }
    let path = Path::ROOT.child("fieldManager");
    let error = FieldError::required(&path, "is required for apply patch");
    Err(Status::invalid(Qualified::new("meta.k8s.io", "PatchOptions"), "", &[error]))
}

/// The answer to a patch of another media type.
pub(crate) fn not_understood(call: &Call) -> Status {
    let understood = if call.resource.custom { &UNDERSTOOD[..3] } else { &UNDERSTOOD[..] };
    Status::unsupported_media_type(understood)
}

/// What an error shows of a patch that leads to no object of the kind.
#[derive(Clone, Copy)]
enum Shown<'a> {
    /// The patch, as Go prints a map.
    Patch(&'a Value),
    /// The patched object.
    Result,
}

/// Refuses what a patch made of an object where a value has the wrong type, or where the client wants to know of fields
/// that the kind does not have.
fn judge(
    call: &Call,
    new: &mut Value,
    doubled: Vec<String>,
    shown: Shown<'_>,
) -> Result<Vec<String>, Status> {
    let why = match intake::findings(call, new, doubled) {
        Err(why) => why,
        Ok(findings) if call.validation() == FieldValidation::Strict && !findings.is_empty() => {
            format!("strict decoding error: {}", findings.join(", "))
        }
        Ok(findings) => return Ok(findings),
    };
    let bad = match shown {
        Shown::Patch(patch) => go_text(patch),
        Shown::Result => new.to_string(),
    };
    let error = FieldError::invalid(&Path::ROOT.child("patch"), bad, why);
    Err(Status::invalid(Qualified::new("", ""), "", &[error]))
}

/// A value as Go prints it: `map[spec:map[replicas:2]]`.
fn go_text(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(go_text).collect::<Vec<_>>().join(" "))
        }
        Value::Object(fields) => {
            let mut entries: Vec<_> = fields.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            let entries: Vec<_> =
                entries.into_iter().map(|(key, value)| format!("{key}:{}", go_text(value))).collect();
            format!("map[{}]", entries.join(" "))
        }
        scalar => scalar.to_string(),
    }
}
