//! Changing objects in part: JSON patch, merge patch, strategic merge patch and server-side apply.

use serde_json::Value;
use xebec_machinery::field::{FieldError, Path};
use xebec_machinery::status::{Qualified, Reason, Status};
use xebec_machinery::{decoding, go_text, patch};

use crate::api::Api;
use crate::call::Call;
use crate::codec::{self, Decoded};
use crate::intake::Misfit;
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
                let doubled = self.labour().done(body.len(), || codec::operations(body)).await?;
                let change = |old: &Value| Patched::plain(patch::json(old, body));
                self.patch_with(call, part, doubled, change).await
            }
            "application/merge-patch+json" => {
                let read = || codec::patch(body, "error decoding patch: ");
                let Decoded { object: given, doubled, .. } = self.labour().done(body.len(), read).await?;
                let change = |old: &Value| {
                    let mut new = old.clone();
                    Patched::plain(patch::merge(&mut new, given.clone()).map(|()| new))
                };
                self.patch_with(call, part, doubled, change).await
            }
            "application/strategic-merge-patch+json" if !call.resource.custom => {
                let read = || codec::patch(body, "");
                let Decoded { object: given, doubled, .. } = self.labour().done(body.len(), read).await?;
                let node = call.version().schema.node();
                let change = |old: &Value| {
                    let object = patch::strategic(old.clone(), given.clone(), node);
                    let object = object.map_err(|error| error.status())?;
                    Ok(Patched { object, rest: Some(patch::strategic_rest(old, &given, node)) })
                };
                self.patch_with(call, part, doubled, change).await
            }
            _ => Err(not_understood(call)),
        }
    }

    async fn patch_with(
        &self,
        call: &Call,
        part: Part,
        doubled: Vec<String>,
        mut patch: impl FnMut(&Value) -> Result<Patched, Status> + Send,
    ) -> Result<Written, Status> {
        let mut warnings = Vec::new();
        let changed = self
            .change(call, part, Books::Open, |old| {
                let mut patched = patch(old)?;
                warnings = judge(call, &mut patched, doubled.clone())?;
                let mut new = patched.object;
                strategy::check_conditional(call, &new)?;
                intake::check_identity(call, &mut new)?;
                Ok(new)
            })
            .await?;
        Ok(changed.after(warnings))
    }

    async fn apply(&self, call: &Call, part: Part, body: &[u8]) -> Result<Written, Status> {
        check_manager(call)?;
        let decoded = self.labour().done(body.len(), || codec::yaml(body)).await?;
        let mut applied = decoded.object;
        let warnings = check_applied(call, decoded.doubled)?;
        intake::check_type(call, &mut applied)?;
        intake::check_place(call, &mut applied, Some(call.name()))?;
        let apply =
            |old: Option<&Value>, applied: &Value| strategy::server_side_apply(call, old, applied, part);
        for _ in 0..ROUNDS {
            if part == Part::Main && !self.is_there(call)? {
                check_absent(call, &applied)?;
                // Of an object that is not there, every version is as good.
                let mut absent = applied.clone();
                object::meta_mut(&mut absent).remove("resourceVersion");
                self.check_creation(call)?;
                let new = self.labour().done(call.weight, || apply(None, &absent)).await?;
                match self.create_prepared(call, new, Books::Closed).await {
                    // Someone made it in between: apply to that.
                    Err(status) if status.reason == Reason::AlreadyExists => {}
                    outcome => return Ok(outcome?.after(warnings)),
                }
            }
            let changed = self.change(call, part, Books::Closed, |old| apply(Some(old), &applied)).await;
            let is_missing = changed.as_ref().is_err_and(|status| status.reason == Reason::NotFound);
            // Someone took it away in between: make it.
            if !(is_missing && part == Part::Main && !self.is_there(call)?) {
                return Ok(changed?.after(warnings));
            }
        }
        let why = "it is made and deleted again and again while it is applied; try again";
        Err(Status::conflict(call.qualified(), call.name(), why))
    }
}

/// How often what others make or take away in between is applied to.
const ROUNDS: usize = 8;

/// Refuses to apply to an object of a certain identity that is not there.
fn check_absent(call: &Call, applied: &Value) -> Result<(), Status> {
    let uid = object::meta(applied, "uid");
    if uid.is_empty() {
        return Ok(());
    }
    let why =
        format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
    Err(Status::conflict(call.qualified(), call.name(), &why))
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

/// What is to be said of the fields that stand twice in what is applied; refuses them where the client wants that.
pub(crate) fn check_applied(call: &Call, doubled: Vec<String>) -> Result<Vec<String>, Status> {
    match call.validation() {
        FieldValidation::Ignore => Ok(Vec::new()),
        FieldValidation::Strict if !doubled.is_empty() => {
            let why = codec::in_yaml(&doubled);
            let why = format!("error strict decoding YAML: error converting YAML to JSON: {why}");
            Err(Status::bad_request(why))
        }
        _ => Ok(doubled),
    }
}

/// The same for what is merged into a part that is of a kind of its own.
pub(crate) fn check_doubled(call: &Call, given: &Value, doubled: Vec<String>) -> Result<(), Status> {
    match call.validation() {
        FieldValidation::Ignore => {}
        FieldValidation::Strict if !doubled.is_empty() => {
            let why = format!("strict decoding error: {}", doubled.join(", "));
            let error = FieldError::invalid(&Path::ROOT.child("patch"), go_text::plain(given), why);
            return Err(Status::invalid(Qualified::new("", ""), "", &[error]));
        }
        _ => doubled.into_iter().for_each(|finding| call.notes.warn(finding)),
    }
    Ok(())
}

/// The answer to a patch of another media type.
pub(crate) fn not_understood(call: &Call) -> Status {
    let understood = if call.resource.custom { &UNDERSTOOD[..3] } else { &UNDERSTOOD[..] };
    Status::unsupported_media_type(understood)
}

/// What a patch made of an object.
struct Patched {
    object: Value,
    /// What is left of the patch, where errors show that instead of the object.
    rest: Option<Value>,
}

impl Patched {
    fn plain(object: Result<Value, patch::Error>) -> Result<Self, Status> {
        let object = object.map_err(|error| error.status())?;
        Ok(Self { object, rest: None })
    }
}

/// Refuses what a patch made of an object where a value has the wrong type, or where the client wants to know of fields
/// that the kind does not have.
fn judge(call: &Call, patched: &mut Patched, doubled: Vec<String>) -> Result<Vec<String>, Status> {
    let why = match findings(call, patched, doubled)? {
        Err(why) => why,
        Ok(findings) if call.validation() == FieldValidation::Strict && !findings.is_empty() => {
            format!("strict decoding error: {}", findings.join(", "))
        }
        Ok(findings) => return Ok(findings),
    };
    let bad = match &patched.rest {
        Some(rest) => go_text::plain(rest),
        None => patched.object.to_string(),
    };
    let error = FieldError::invalid(&Path::ROOT.child("patch"), bad, why);
    Err(Status::invalid(Qualified::new("", ""), "", &[error]))
}

/// The unknown and doubled fields, or why the object is none of its kind.
fn findings(
    call: &Call,
    patched: &mut Patched,
    mut doubled: Vec<String>,
) -> Result<Result<Vec<String>, String>, Status> {
    let (resource, new) = (&call.resource, &mut patched.object);
    if resource.custom {
        intake::check_type(call, new)?;
        return Ok(intake::findings(call, new, doubled));
    }
    if patched.rest.is_some() {
        let unknown = decoding::restore(&resource.group, &call.version().name, &resource.kind, new);
        // Which kind it is was never asked.
        intake::become_own(call, new);
        return Ok(unknown.map(|unknown| {
            if call.validation() == FieldValidation::Ignore {
                return Vec::new();
            }
            doubled.extend(unknown);
            doubled
        }));
    }
    match intake::fit(call, new) {
        Err(Misfit::Unread(why) | Misfit::Kind { why, .. }) => return Ok(Err(why)),
        // One version is read as well as another.
        Err(Misfit::Version(_)) => intake::become_own(call, new),
        Ok(()) => {}
    }
    Ok(intake::findings(call, new, doubled))
}
