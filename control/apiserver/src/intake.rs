//! From what a body says to an object of the kind that the URL names, or to upstream's words for why it is none.

use serde_json::Value;
use xebec_machinery::decoding;
use xebec_machinery::status::Status;
use xebec_machinery::{builtin, metadata};

use crate::call::Call;
use crate::codec::{Decoded, Form};
use crate::object;
use crate::options::FieldValidation;

/// How much of a body is shown to a client whose object is not recognized.
const SHOWN: usize = 30;
/// Where upstream keeps the kinds that it knows; it says so to clients that send another.
const SCHEME: &str = "pkg/runtime/scheme.go:111";

/// Tells the fields that the kind does not know or that stand twice, as the client asked for; refuses values of a wrong
/// type.
pub(crate) fn admit_fields(
    call: &Call,
    new: &mut Value,
    (doubled, form): (Vec<String>, Form),
) -> Result<Vec<String>, Status> {
    let (version, kind, count) = (&*call.version().name, &*call.resource.kind, doubled.len());
    let mut findings = findings(call, new, doubled).map_err(|why| decoding::unfit(version, kind, &why))?;
    if let (Form::Json(text), false) = (&form, call.resource.custom) {
        findings = decoding::in_order(text, findings);
    }
    if call.validation() == FieldValidation::Strict && !findings.is_empty() {
        return Err(decoding::not_strict(version, kind, &form.refusal(count, &findings)));
    }
    Ok(findings)
}

/// The fields that stand twice and those that the kind does not know; those of a custom resource are taken away at once.
/// Nothing, where the client does not care for them.
///
/// # Errors
///
/// What Go's decoder says of the first value that has the wrong type.
pub(crate) fn findings(
    call: &Call,
    new: &mut Value,
    mut doubled: Vec<String>,
) -> Result<Vec<String>, String> {
    let unknown = match &call.version().structural {
        None => decoding::check(&call.resource.group, &call.version().name, &call.resource.kind, new)?,
        Some(structural) => {
            let mut unknown = decoding::check_metadata(new)?;
            let pruned = structural.prune(new);
            unknown.extend(pruned.into_iter().map(|path| format!("unknown field \"{path}\"")));
            unknown
        }
    };
    if call.validation() == FieldValidation::Ignore {
        return Ok(Vec::new());
    }
    doubled.extend(unknown);
    Ok(doubled)
}

/// [`admit_fields`] of a body that is of a kind of its own, such as a Scale: of its group, version and name.
pub(crate) fn admit_part(
    call: &Call,
    (group, version, kind): (&str, &str, &str),
    body: Decoded,
) -> Result<Decoded, Status> {
    let unknown = decoding::check(group, version, kind, &body.object);
    let unknown = unknown.map_err(|why| decoding::unfit(version, kind, &why))?;
    let count = body.doubled.len();
    let mut findings = [body.doubled, unknown].concat();
    if let Form::Json(text) = &body.form {
        findings = decoding::in_order(text, findings);
    }
    match call.validation() {
        FieldValidation::Strict if !findings.is_empty() => {
            return Err(decoding::not_strict(version, kind, &body.form.refusal(count, &findings)));
        }
        FieldValidation::Ignore => {}
        FieldValidation::Strict | FieldValidation::Warn => {
            findings.into_iter().for_each(|finding| call.notes.warn(finding));
        }
    }
    Ok(Decoded { object: body.object, doubled: Vec::new(), form: body.form })
}

/// Why an object is not of the kind that the URL says.
pub(crate) enum Misfit {
    /// What it says of its kind is no text, or nothing at all.
    Unread(String),
    /// It is in another version of the kind.
    Version(String),
    /// It is of another kind.
    Kind {
        /// The version that it says it is in.
        version: String,
        /// The kind that it says it is of.
        kind: String,
        /// Why that is none of the wanted one.
        why: String,
    },
}

impl Misfit {
    fn status(self, call: &Call, new: &Value) -> Status {
        match self {
            Self::Unread(why) => unrecognized(call, new, &why),
            Self::Version(found) => Status::bad_request(format!(
                "the API version in the data ({found}) does not match the expected API version ({})",
                call.api_version()
            )),
            Self::Kind { version, kind, why } => {
                cannot_be_handled(&version, &kind, &call.resource.kind, &why)
            }
        }
    }
}

/// The object must be of the kind that the URL says; a built-in one that does not say its kind is taken for one.
pub(crate) fn check_type(call: &Call, new: &mut Value) -> Result<(), Status> {
    fit(call, new).map_err(|misfit| misfit.status(call, new))
}

/// [`check_type`] before it is told to a client.
pub(crate) fn fit(call: &Call, new: &mut Value) -> Result<(), Misfit> {
    for name in ["apiVersion", "kind"] {
        if let Some(word) = new.get(name).and_then(not_a_text) {
            return Err(Misfit::Unread(format!(
                "couldn't get version/kind; json parse error: json: cannot unmarshal {word} into Go struct field \
                 .{name} of type string"
            )));
        }
    }
    let text = |name: &str| new.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let wanted = call.api_version();
    if call.resource.custom {
        if kind.is_empty() {
            return Err(Misfit::Unread(format!("Object 'Kind' is missing in '{new}'")));
        }
        if api_version != wanted {
            return Err(Misfit::Version(api_version));
        }
        // That it is of another kind is told by its validation.
        return Ok(());
    }
    let own_kind = &*call.resource.kind;
    let (same_version, same_kind) =
        (["", &wanted].contains(&api_version.as_str()), ["", own_kind].contains(&kind.as_str()));
    if same_version && same_kind {
        become_own(call, new);
        return Ok(());
    }
    let kind = if kind.is_empty() { own_kind.to_owned() } else { kind };
    let api_version = if api_version.is_empty() { wanted } else { api_version };
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let why = if builtin::kind_node(group, version, &kind).is_none() {
        not_registered(&api_version, &kind)
    } else if same_kind && group == &*call.resource.group {
        return Err(Misfit::Version(api_version));
    } else {
        let package = match call.resource.group.split('.').next() {
            None | Some("") => "core",
            Some(first) => first,
        };
        format!("converting ({version}.{kind}) to ({package}.{own_kind}): unknown conversion")
    };
    Err(Misfit::Kind { version: version.to_owned(), kind, why })
}

/// Says that the object is of the kind that the URL says.
pub(crate) fn become_own(call: &Call, new: &mut Value) {
    if let Some(fields) = new.as_object_mut() {
        fields.insert("apiVersion".to_owned(), call.api_version().into());
        fields.insert("kind".to_owned(), (*call.resource.kind).into());
    }
}

/// The object must say its name, which must be that of the URL.
pub(crate) fn check_identity(call: &Call, new: &mut Value) -> Result<(), Status> {
    if object::name(new).is_empty() {
        return Err(Status::bad_request(format!(
            "the name of the object ({} based on URL) was undeterminable: name must be provided",
            call.name()
        )));
    }
    check_place(call, new, Some(call.name()))
}

/// The answer to an object of a kind that nobody knows, where one of `wanted` should be.
pub(crate) fn unregistered(api_version: &str, kind: &str, wanted: &str) -> Status {
    let version = api_version.rsplit('/').next().unwrap_or_default();
    cannot_be_handled(version, kind, wanted, &not_registered(api_version, kind))
}

fn not_registered(api_version: &str, kind: &str) -> String {
    format!("no kind {kind:?} is registered for version {api_version:?} in scheme {SCHEME:?}")
}

fn cannot_be_handled(version: &str, kind: &str, wanted: &str, why: &str) -> Status {
    Status::bad_request(format!("{kind} in version {version:?} cannot be handled as a {wanted}: {why}"))
}

fn not_a_text(value: &Value) -> Option<&'static str> {
    match value {
        Value::Null | Value::String(_) => None,
        Value::Bool(_) => Some("bool"),
        Value::Number(_) => Some("number"),
        Value::Array(_) => Some("array"),
        Value::Object(_) => Some("object"),
    }
}

/// The answer to a body that says nothing of its kind, or nothing at all.
pub(crate) fn unrecognized(call: &Call, body: &Value, why: &str) -> Status {
    unrecognized_bytes(&call.resource.kind, body.to_string().as_bytes(), why)
}

/// [`unrecognized`] where the body could not be read.
pub(crate) fn unrecognized_bytes(kind: &str, body: &[u8], why: &str) -> Status {
    let summary = summary(body);
    Status::bad_request(format!(
        "the object provided is unrecognized (must be of type {kind}): {why} ({summary})"
    ))
}

/// The beginning of a body: text where it may be JSON, else in hexadecimal.
fn summary(body: &[u8]) -> String {
    let cut = &body[..body.len().min(SHOWN)];
    let more = if body.len() > SHOWN { " ..." } else { "" };
    match body.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => format!("{}{more}", String::from_utf8_lossy(cut)),
        Some(_) => {
            let digits: String = cut.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{digits}{more}")
        }
    }
}

/// The object's namespace is that of the URL, and is filled in from there.
pub(crate) fn check_place(call: &Call, new: &mut Value, name: Option<&str>) -> Result<(), Status> {
    if call.namespace().is_none() && call.resource.namespaced() {
        return Err(Status::bad_request("an empty namespace may not be set during creation"));
    }
    metadata::match_request(new, call.namespace(), name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_a_body_is_shown() {
        assert_eq!(summary(b""), "<empty>");
        assert_eq!(summary(b"{\"a\":"), "{\"a\":");
        assert_eq!(summary(&[b'{'; 31]), format!("{} ...", "{".repeat(30)));
        assert_eq!(summary(b"\x00\xffhi"), "00ff6869");
    }
}
