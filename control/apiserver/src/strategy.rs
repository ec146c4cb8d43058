//! What happens to an object between the request and the store: what the server fills in, what a write may not touch, and
//! what is refused.

use std::borrow::Cow;

use serde_json::{Value, json};
use uuid::Uuid;
use xebec_machinery::apply::{self, Element, FieldSet, UpdateRequest};
use xebec_machinery::field::{FieldError, Path};
use xebec_machinery::metadata::{self, NameRule};
use xebec_machinery::pod_part::{self, PodPart};
use xebec_machinery::resource::Resource;
use xebec_machinery::status::Status;
use xebec_machinery::structural::{Change, Structural, Verdict};
use xebec_machinery::{canonical, defaults, preparation, validation};

use crate::call::Call;
use crate::{certificates, convert, object};

/// Which part of an object a write is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Everything but the status.
    Main,
    /// The status alone.
    Status,
    /// The finalizers in the spec of a namespace.
    Finalize,
    /// The node of a pod.
    Binding,
    /// How many replicas are asked for.
    Scale,
    /// Whether a certificate may be signed.
    Approval,
    /// A part of a pod's spec.
    OfPod(PodPart),
}

impl Part {
    pub(crate) fn subresource(self) -> Option<&'static str> {
        match self {
            Self::Main => None,
            Self::Status => Some("status"),
            Self::Finalize => Some("finalize"),
            Self::Binding => Some("binding"),
            Self::Scale => Some("scale"),
            Self::Approval => Some("approval"),
            Self::OfPod(PodPart::EphemeralContainers) => Some("ephemeralcontainers"),
            Self::OfPod(PodPart::Resources) => Some("resize"),
        }
    }
}

/// How long a pod may run on after its deletion where its spec does not say, in seconds.
const GRACE: u64 = 30;

/// Completes a new object before the stages of admission change it: all but what is the server's alone to say, of which it
/// has nothing yet.
pub fn draft(call: &Call, new: &mut Value) -> Result<(), Status> {
    let is_named = !object::name(new).is_empty();
    name_and_date(call, new, "")?;
    complete(call, new);
    let metadata = object::meta_mut(new);
    for field in ["uid", "creationTimestamp"] {
        metadata.remove(field);
    }
    if counts_generations(call) {
        metadata.remove("generation");
    }
    if !is_named {
        metadata.remove("name");
    }
    Ok(())
}

/// Fills in what the server decides about a new object.
pub fn prepare_create(call: &Call, new: &mut Value) -> Result<(), Status> {
    name_and_date(call, new, &Uuid::new_v4().to_string())?;
    complete(call, new);
    if !call.resource.custom {
        preparation::create(&call.resource.group, &call.version().name, &call.resource.kind, new);
    } else if let (true, Some(fields)) = (call.version().status, new.as_object_mut()) {
        fields.remove("status");
        // What a schema says of a status that nobody has written yet is there from the beginning.
        complete(call, new);
    }
    if certificates::concerns(call) {
        certificates::prepare_create(call, new);
    }
    Ok(())
}

/// Chance, where something is drawn.
pub(crate) fn chance() -> u64 {
    u64::from_le_bytes(Uuid::new_v4().as_bytes()[..8].try_into().unwrap_or_default())
}

fn name_and_date(call: &Call, new: &mut Value, uid: &str) -> Result<(), Status> {
    let now = call.timestamp();
    // A dry run stores nothing that could have a version; upstream lets it pass.
    let version = call.options().dry_run.then(|| object::meta_mut(new).remove("resourceVersion")).flatten();
    let context = metadata::Context {
        namespace: call.namespace(),
        name: None,
        now: &now,
        uid,
        random: if object::name(new).is_empty() { chance() } else { 0 },
        generation: counts_generations(call),
    };
    metadata::prepare_create(new, &context)?;
    if let Some(version) = version {
        object::set_meta(new, "resourceVersion", version);
    }
    Ok(())
}

/// Whether changes of what is asked for are counted.
fn counts_generations(call: &Call) -> bool {
    call.resource.custom
        || match &*call.resource.group {
            "" => matches!(&*call.resource.plural, "pods" | "podtemplates" | "replicationcontrollers"),
            "apps" => &*call.resource.plural != "controllerrevisions",
            "networking.k8s.io" => {
                matches!(&*call.resource.plural, "ingresses" | "ingressclasses" | "networkpolicies")
            }
            "admissionregistration.k8s.io"
            | "apiextensions.k8s.io"
            | "batch"
            | "discovery.k8s.io"
            | "flowcontrol.apiserver.k8s.io"
            | "policy"
            | "scheduling.k8s.io" => true,
            "resource.k8s.io" => matches!(&*call.resource.plural, "deviceclasses" | "resourceslices"),
            _ => false,
        }
}

/// Puts back what this write may not touch.
pub fn prepare_update(call: &Call, old: &Value, new: &mut Value, part: Part) -> Result<(), Status> {
    match part {
        Part::Main | Part::Binding | Part::Scale => {}
        Part::Status | Part::Approval => {
            let mut sent = std::mem::replace(new, old.clone());
            if sent.get("status").is_some_and(Value::is_null)
                && let Value::Object(fields) = &mut sent
            {
                fields.remove("status");
            }
            for field in fixed_beside_status(call) {
                object::take_over_meta(&mut sent, old, field);
            }
            for section in ["metadata", "status"] {
                object::take_over(new, &sent, section);
            }
        }
        Part::OfPod(part) => {
            let none = Value::Null;
            let spec = |of: &Value| pod_part::prepare(part, old.get("spec").unwrap_or(&none), of);
            let spec = spec(new.get("spec").unwrap_or(&none));
            let sent = std::mem::take(object::meta_mut(new));
            *new = old.clone();
            new["spec"] = spec;
            let of_the_write = |field: &str| matches!(field, "resourceVersion" | "managedFields");
            object::meta_mut(new).extend(sent.into_iter().filter(|(field, _)| of_the_write(field)));
        }
        Part::Finalize => {
            let finalizers = new.get("spec").and_then(|spec| spec.get("finalizers")).cloned();
            *new = old.clone();
            object::section_mut(new, "spec")
                .insert("finalizers".to_owned(), finalizers.unwrap_or_else(|| json!([])));
        }
    }
    if certificates::concerns(call) {
        certificates::prepare_update(call, old, new, part);
    }
    metadata::prepare_update(old, new)?;
    complete(call, new);
    if part == Part::Status && !call.resource.custom {
        preparation::update_status(&call.resource.group, &call.resource.kind, old, new);
    }
    if !matches!(part, Part::Main | Part::Scale | Part::OfPod(_)) {
        return Ok(());
    }
    if !call.resource.custom {
        preparation::update(&call.resource.group, &call.version().name, &call.resource.kind, old, new);
    } else if call.version().status {
        object::take_over(new, old, "status");
    }
    if counts_generations(call) {
        // Where status is no subresource of a custom resource, it is a field like any other.
        let counts = |name: &str| name != "status" || call.resource.custom && !call.version().status;
        metadata::bump_generation(old, new, counts);
    }
    Ok(())
}

/// What of the metadata stays as it is when the status is written: nothing of most built-in kinds, whose controllers keep
/// notes there.
fn fixed_beside_status(call: &Call) -> &'static [&'static str] {
    const ALL: [&str; 4] = ["annotations", "finalizers", "labels", "ownerReferences"];
    if call.resource.custom {
        return &ALL;
    }
    match (&*call.resource.group, &*call.resource.plural) {
        ("apps", "deployments") => &["labels"],
        ("", "pods") => &["ownerReferences"],
        ("admissionregistration.k8s.io" | "apiextensions.k8s.io" | "apiregistration.k8s.io", _)
        | ("flowcontrol.apiserver.k8s.io" | "resource.k8s.io", _)
        | ("networking.k8s.io", "servicecidrs")
        | ("storage.k8s.io", "volumeattachments") => &ALL,
        _ => &[],
    }
}

/// Objects of some kinds are replaced only by those who say which version they have seen.
pub fn check_conditional(call: &Call, new: &Value) -> Result<(), Status> {
    if call.resource.unconditional || !matches!(object::meta(new, "resourceVersion"), "" | "0") {
        return Ok(());
    }
    let metadata = Path::ROOT.child("metadata");
    let path = metadata.child("resourceVersion");
    let error = FieldError::invalid(&path, 0, "must be specified for an update");
    Err(Status::invalid(call.qualified(), call.name(), &[error]))
}

/// Drops what the kind does not know, and fills in what it has defaults for.
fn complete(call: &Call, new: &mut Value) {
    match &call.version().structural {
        Some(structural) => {
            canonical::metadata(new);
            structural.default(new);
        }
        None => {
            let (group, kind) = (&*call.resource.group, &*call.resource.kind);
            defaults::apply(group, &call.version().name, kind, new);
            preparation::date(group, kind, new, &call.timestamp());
        }
    }
}

/// Keeps the books of who owns which field.
pub fn track(call: &Call, old: Option<&Value>, new: &mut Value, part: Part) -> Result<(), Status> {
    let books = Books::of(call, part);
    let context = books.context(call);
    *new = apply::update(UpdateRequest { context, live: old, new: std::mem::take(new) });
    Ok(())
}

/// Applies what a manager wants of an object; gives the object as it should be.
pub fn server_side_apply(
    call: &Call,
    live: Option<&Value>,
    applied: &Value,
    part: Part,
) -> Result<Value, Status> {
    let books = Books::of(call, part);
    let force = call.options().force;
    let request = apply::ApplyRequest { context: books.context(call), live, applied, force };
    Ok(apply::apply(&request).map_err(|error| error.status())?.object)
}

/// What the books of ownership say of a write, beside what its call says.
struct Books {
    api_version: String,
    versions: Vec<String>,
    reset: FieldSet,
    part: Part,
    now: String,
}

impl Books {
    fn of(call: &Call, part: Part) -> Self {
        let resource = &call.resource;
        Self {
            api_version: call.api_version(),
            versions: resource.versions.iter().map(|version| resource.api_version(&version.name)).collect(),
            reset: reset(call, part),
            part,
            now: call.timestamp(),
        }
    }

    fn context<'a>(&'a self, call: &'a Call) -> apply::Context<'a> {
        apply::Context {
            api_version: &self.api_version,
            kind: &call.resource.kind,
            node: call.version().schema.node(),
            versions: &self.versions,
            reset: &self.reset,
            subresource: self.part.subresource(),
            manager: &call.manager,
            now: &self.now,
        }
    }
}

fn reset(call: &Call, part: Part) -> FieldSet {
    match part {
        _ if certificates::concerns(call) => certificates::reset(part),
        Part::Main | Part::Binding | Part::Scale if call.version().status => {
            FieldSet::of_fields(&[&["status"]])
        }
        Part::Main | Part::Binding | Part::Scale => FieldSet::default(),
        Part::Status | Part::Approval => {
            let mut reset = FieldSet::of_fields(&[&["spec"]]);
            for field in fixed_beside_status(call) {
                reset.insert(["metadata", field].map(Element::field));
            }
            reset
        }
        Part::Finalize | Part::OfPod(_) => FieldSet::of_fields(&[&["status"]]),
    }
}

/// Refuses a new object that breaks a rule; `refused` is what was wrong with it already. Gives the warnings of what is
/// let pass.
pub fn validate_create(call: &Call, new: &Value, refused: Vec<FieldError>) -> Result<Vec<String>, Status> {
    let rule = NameRule::of(&call.resource.group, &call.resource.plural);
    let mut errors = refused;
    errors.extend(metadata::validate(new, rule, call.resource.namespaced()));
    match &call.version().structural {
        Some(structural) => errors = judge(call, structural, new, Change::Create, errors).errors,
        None => errors.extend(validation::validate_create(
            &call.resource.group,
            &call.resource.storage,
            &call.resource.kind,
            &*at_rest(call, new)?,
        )),
    }
    if certificates::concerns(call) {
        errors.extend(certificates::validate(None, new, Part::Main));
    }
    refuse(call, new, &errors)?;
    Ok(warnings(call, new))
}

/// Refuses a changed object that breaks a rule; `refused` is what was wrong with it already. Gives the warnings of what
/// is let pass since it did not change.
pub fn validate_update(
    call: &Call,
    old: &Value,
    new: &Value,
    part: Part,
    refused: Vec<FieldError>,
) -> Result<Vec<String>, Status> {
    let rule = NameRule::of(&call.resource.group, &call.resource.plural);
    let mut errors = refused;
    let change = metadata::validate_update(old, new);
    errors.extend(change.iter().cloned());
    let whole = metadata::validate(new, rule, call.resource.namespaced());
    errors.extend(whole.iter().cloned());
    if certificates::concerns(call) {
        errors.extend(certificates::validate(Some(old), new, part));
    }
    let mut warnings = Vec::new();
    match &call.version().structural {
        Some(structural) => {
            let change = if part == Part::Status { Change::Status(old) } else { Change::Update(old) };
            Verdict { errors, warnings } = judge(call, structural, new, change, errors);
        }
        None if let Part::OfPod(part) = part => errors.extend(pod_part::validate(part, old, new)),
        None if part == Part::Status => {
            let (group, kind) = (&*call.resource.group, &*call.resource.kind);
            errors.extend(validation::validate_status(group, kind, old, new));
        }
        // What a subresource writes is not judged with what its clients cannot change.
        None if matches!(part, Part::Main | Part::Scale) => {
            let (group, kind) = (&*call.resource.group, &*call.resource.kind);
            let again = validation::again(group, kind);
            errors.extend(change.into_iter().filter(|_| again.change));
            errors.extend(whole.into_iter().filter(|_| again.whole));
            let (old, new) = (at_rest(call, old)?, at_rest(call, new)?);
            errors.extend(validation::validate_update(group, &call.resource.storage, kind, &old, &new));
            warnings = self::warnings(call, &new);
        }
        None => {}
    }
    refuse(call, new, &errors)?;
    Ok(warnings)
}

fn warnings(call: &Call, object: &Value) -> Vec<String> {
    let is_ours = !call.resource.custom;
    let warnings = || validation::warnings(&call.resource.group, &call.resource.kind, object);
    is_ours.then(warnings).unwrap_or_default()
}

/// An object of a built-in kind in the version in which it rests, whose rules hold for all of them.
fn at_rest<'a>(call: &Call, object: &'a Value) -> Result<Cow<'a, Value>, Status> {
    if call.version().name == call.resource.storage {
        return Ok(Cow::Borrowed(object));
    }
    let mut resting = object.clone();
    convert::to_rest(&call.resource, &mut resting)?;
    Ok(Cow::Owned(resting))
}

/// Everything that is to be said of a custom resource; `errors` are what is wrong with its metadata.
fn judge(
    call: &Call,
    structural: &Structural,
    new: &Value,
    change: Change<'_>,
    errors: Vec<FieldError>,
) -> Verdict {
    let wanted = &*call.resource.kind;
    let kind = new.get("kind").cloned().unwrap_or_default();
    if kind != wanted {
        let error = FieldError::invalid(&Path::ROOT.child("kind"), kind, format!("must be {wanted}"));
        return Verdict { errors: vec![error], warnings: Vec::new() };
    }
    structural.judge(new, change, call.version().scale.as_ref(), errors)
}

fn refuse(call: &Call, object: &Value, errors: &[FieldError]) -> Result<(), Status> {
    if errors.is_empty() {
        return Ok(());
    }
    let mut kind = call.qualified_kind();
    if (kind.group, kind.name) == ("events.k8s.io", "Event") {
        // Upstream judges all events as those of the core.
        kind.group = "";
    }
    Err(Status::invalid(kind, object::name(object), errors))
}

/// How long an object stays after its deletion, in seconds: pods that run get their grace period, all else goes at once.
pub fn grace_seconds(resource: &Resource, old: &Value, asked: Option<u64>) -> u64 {
    if (&*resource.group, &*resource.plural) != ("", "pods") {
        return 0;
    }
    let text = |path: &str| object::at_path(old, path).and_then(Value::as_str).unwrap_or_default();
    if text(".spec.nodeName").is_empty() || matches!(text(".status.phase"), "Succeeded" | "Failed") {
        return 0;
    }
    let own = object::at_path(old, ".spec.terminationGracePeriodSeconds").and_then(Value::as_u64);
    asked.or(own).unwrap_or(GRACE)
}

/// What the beginning of a deletion changes beside the metadata.
pub fn begin_deleting(resource: &Resource, object: &mut Value) {
    if (&*resource.group, &*resource.plural) == ("", "namespaces") {
        object::section_mut(object, "status").insert("phase".to_owned(), "Terminating".into());
    }
}

/// Whether nothing holds a deleted object any more.
pub fn finished_deleting(object: &Value) -> bool {
    let held = object.get("kind").is_some_and(|kind| kind == "Namespace")
        && object::at_path(object, ".spec.finalizers")
            .and_then(Value::as_array)
            .is_some_and(|list| !list.is_empty());
    let grace = object::at_path(object, ".metadata.deletionGracePeriodSeconds").and_then(Value::as_u64);
    object::deleting(object)
        && object::meta_list(object, "finalizers").is_empty()
        && grace.unwrap_or(0) == 0
        && !held
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_stays_until_its_content_is_gone() {
        let mut namespace = json!({
            "kind": "Namespace", "metadata": {"deletionTimestamp": "x", "deletionGracePeriodSeconds": 0},
            "spec": {"finalizers": ["kubernetes"]},
        });
        assert!(!finished_deleting(&namespace));
        namespace["spec"]["finalizers"] = json!([]);
        assert!(finished_deleting(&namespace));
    }
}
