//! Devices that are claimed (`resource.k8s.io`): classes of them, claims and templates of claims.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use xebec_expressions::devices::{LONGEST, Refusal, Selector};

use super::{IMMUTABLE, driver, given, invalid, list, names, number, required, resources, text, volume};
use crate::field::{FieldError, Path};

/// How many requests a claim has, and devices its allocation.
pub(super) const REQUESTS_MAX: usize = 32;
/// How many configurations come from a claim, or from a class.
pub(super) const CONFIGS_MAX: usize = 32;
const SELECTORS_MAX: usize = 32;
const CONSTRAINTS_MAX: usize = 32;
const ALTERNATIVES_MAX: usize = 8;
const PARAMETERS_MAX: usize = 10 * 1024;
const ID_MAX: usize = 32;
const MODES: [&str; 2] = ["All", "ExactCount"];
const EFFECTS: [&str; 3] = ["NoExecute", "NoSchedule", "None"];
const OPERATORS: [&str; 2] = ["Equal", "Exists"];
const ONE_KIND: &str = "exactly one of `exactly` or `firstAvailable` is required";
const NO_REQUEST: &str = "must be the name of a request in the claim or the name of a request and a subrequest separated \
                          by '/'";
const IDENTIFIER: &str = "a valid C identifier must start with alphabetic character or '_', followed by a string of \
                          alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for \
                          validation is '[A-Za-z_][A-Za-z0-9_]*')";

type Errors = Vec<FieldError>;

/// Each item of a list that is not too long.
pub(super) fn each(
    all: &[Value],
    most: usize,
    path: &Path<'_>,
    errors: &mut Errors,
    mut judge: impl FnMut(&Value, &Path<'_>, &mut Errors),
) -> bool {
    if all.len() > most {
        errors.push(FieldError::too_many(path, all.len(), most));
        return false;
    }
    for (at, item) in all.iter().enumerate() {
        judge(item, &path.index(at), errors);
    }
    true
}

/// The same of a list in which each key stands once.
pub(super) fn each_once(
    all: &[Value],
    most: usize,
    path: &Path<'_>,
    errors: &mut Errors,
    key: impl Fn(&Value) -> Value,
    judge: impl FnMut(&Value, &Path<'_>, &mut Errors),
) {
    if !each(all, most, path, errors, judge) {
        return;
    }
    let mut seen = HashSet::new();
    for (at, item) in all.iter().enumerate() {
        let key = key(item);
        if !seen.insert(key.to_string()) {
            errors.push(FieldError::duplicate(&path.index(at), key));
        }
    }
}

/// A name of a device, request or set of counters.
pub(super) fn label(name: &str, path: &Path<'_>, errors: &mut Errors) {
    invalid(path, name, names::label(name), errors);
}

/// The key of a label.
pub(super) fn key(key: &str, path: &Path<'_>, errors: &mut Errors) {
    invalid(path, key, names::qualified(key), errors);
}

/// A claim.
pub(super) fn claim(claim: &Value, errors: &mut Errors) {
    spec(claim.get("spec").unwrap_or(&Value::Null), &Path::ROOT.child("spec"), errors);
}

/// What is claimed does not change.
pub(super) fn unchanged(old: &Value, new: &Value, errors: &mut Errors) {
    if given(old, "spec") != given(new, "spec") {
        let value = given(new, "spec").cloned().unwrap_or_default();
        errors.push(FieldError::invalid(&Path::ROOT.child("spec"), value, IMMUTABLE));
    }
}

/// A template of claims.
pub(super) fn template(template: &Value, errors: &mut Errors) {
    let path = Path::ROOT.child("spec");
    let of = template.get("spec").unwrap_or(&Value::Null);
    volume::made_metadata(of, &path, errors);
    spec(of.get("spec").unwrap_or(&Value::Null), &path.child("spec"), errors);
}

fn spec(spec: &Value, path: &Path<'_>, errors: &mut Errors) {
    let path = path.child("devices");
    let claim = spec.get("devices").unwrap_or(&Value::Null);
    let names = Requests::of(claim);
    let by_name = |request: &Value| text(request, "name").into();
    each_once(list(claim, "requests"), REQUESTS_MAX, &path.child("requests"), errors, by_name, request);
    each(
        list(claim, "constraints"),
        CONSTRAINTS_MAX,
        &path.child("constraints"),
        errors,
        |of, path, errors| constraint(of, &names, path, errors),
    );
    each(list(claim, "config"), CONFIGS_MAX, &path.child("config"), errors, |of, path, errors| {
        names.are_of(of, path, errors);
        configuration(of, false, path, errors);
    });
}

/// The names of a claim's requests, each with those of its alternatives.
#[derive(Debug, Default)]
pub(super) struct Requests<'a>(HashMap<&'a str, Vec<&'a str>>);

impl<'a> Requests<'a> {
    /// Those of a claim for devices.
    pub(super) fn of(claim: &'a Value) -> Self {
        let names = |of: &'a Value| list(of, "firstAvailable").iter().map(|of| text(of, "name")).collect();
        Self(list(claim, "requests").iter().map(|of| (text(of, "name"), names(of))).collect())
    }

    fn has(&self, name: &str) -> bool {
        match name.split('/').collect::<Vec<_>>().as_slice() {
            [request] => self.0.contains_key(request),
            [request, alternative] => self.0.get(request).is_some_and(|all| all.contains(alternative)),
            _ => false,
        }
    }

    /// The name of a request.
    pub(super) fn is_one(&self, name: &str, path: &Path<'_>, errors: &mut Errors) {
        let steps: Vec<&str> = name.split('/').collect();
        if steps.len() > 2 {
            errors.push(FieldError::invalid(path, name, NO_REQUEST));
            return;
        }
        steps.iter().for_each(|step| label(step, path, errors));
        if !self.has(name) {
            errors.push(FieldError::invalid(path, name, NO_REQUEST));
        }
    }

    /// The requests that something is for.
    pub(super) fn are_of(&self, of: &Value, path: &Path<'_>, errors: &mut Errors) {
        let judge = |name: &Value, path: &Path<'_>, errors: &mut Errors| {
            self.is_one(name.as_str().unwrap_or_default(), path, errors);
        };
        each_once(list(of, "requests"), REQUESTS_MAX, &path.child("requests"), errors, Value::clone, judge);
    }
}

fn request(of: &Value, path: &Path<'_>, errors: &mut Errors) {
    label(text(of, "name"), &path.child("name"), errors);
    let alternatives = list(of, "firstAvailable");
    match (given(of, "exactly"), alternatives.is_empty()) {
        (None, true) => errors.push(FieldError::required(path, ONE_KIND)),
        (Some(_), false) => {
            let why = format!("{ONE_KIND}, but multiple fields are set");
            errors.push(FieldError::invalid(path, Value::Null, why));
        }
        (None, false) => {
            let by_name = |request: &Value| text(request, "name").into();
            let path = path.child("firstAvailable");
            each_once(alternatives, ALTERNATIVES_MAX, &path, errors, by_name, |of, path, errors| {
                label(text(of, "name"), &path.child("name"), errors);
                exactly(of, path, errors);
            });
        }
        (Some(of), true) => exactly(of, &path.child("exactly"), errors),
    }
}

fn exactly(of: &Value, path: &Path<'_>, errors: &mut Errors) {
    if required(of, "deviceClassName", path, errors) {
        let class = text(of, "deviceClassName");
        invalid(&path.child("deviceClassName"), class, names::subdomain(class), errors);
    }
    selectors(of, path, errors);
    let count = number(of, "count").unwrap_or_default();
    let why = match text(of, "allocationMode") {
        "All" if count != 0 => Some("must not be specified when allocationMode is 'All'"),
        "ExactCount" if count <= 0 => Some("must be greater than zero"),
        "All" | "ExactCount" => None,
        other => {
            errors.push(FieldError::not_supported(&path.child("allocationMode"), other, &MODES));
            None
        }
    };
    errors.extend(why.map(|why| FieldError::invalid(&path.child("count"), count, why)));
    let path = path.child("tolerations");
    for (at, of) in list(of, "tolerations").iter().enumerate() {
        toleration(of, &path.index(at), errors);
    }
}

fn toleration(of: &Value, path: &Path<'_>, errors: &mut Errors) {
    if !text(of, "key").is_empty() {
        key(text(of, "key"), &path.child("key"), errors);
    }
    let value = text(of, "value");
    let place = path.child("value");
    match text(of, "operator") {
        "Exists" if !value.is_empty() => {
            errors.push(FieldError::invalid(&place, value, "must be empty for operator `Exists`"));
        }
        "Exists" => {}
        "Equal" => invalid(&place, value, names::label_value(value), errors),
        "" => errors.push(FieldError::required(&path.child("operator"), "")),
        other => errors.push(FieldError::not_supported(&path.child("operator"), other, &OPERATORS)),
    }
    super::one_of(of, "effect", &EFFECTS, path, errors);
}

/// What keeps pods from a device.
pub(super) fn taint(of: &Value, path: &Path<'_>, errors: &mut Errors) {
    key(text(of, "key"), &path.child("key"), errors);
    let value = text(of, "value");
    invalid(&path.child("value"), value, names::label_value(value), errors);
    required(of, "effect", path, errors);
    super::one_of(of, "effect", &EFFECTS, path, errors);
}

fn selectors(of: &Value, path: &Path<'_>, errors: &mut Errors) {
    each(list(of, "selectors"), SELECTORS_MAX, &path.child("selectors"), errors, |of, path, errors| {
        let path = path.child("cel");
        match given(of, "cel") {
            None => errors.push(FieldError::required(&path, "")),
            Some(cel) => expression(text(cel, "expression"), &path.child("expression"), errors),
        }
    });
}

fn expression(expression: &str, path: &Path<'_>, errors: &mut Errors) {
    if expression.len() > LONGEST {
        errors.push(FieldError::too_long(path, LONGEST));
        return;
    }
    errors.extend(Selector::compile(expression).err().map(|refusal| match refusal {
        Refusal::Invalid(why) => FieldError::invalid(path, expression, why),
        Refusal::TooComplex => FieldError::forbidden(path, refusal.to_string()),
        Refusal::Internal(why) => FieldError::internal(path, why),
    }));
}

fn constraint(of: &Value, names: &Requests<'_>, path: &Path<'_>, errors: &mut Errors) {
    names.are_of(of, path, errors);
    let given = ["matchAttribute", "distinctAttribute"].into_iter().find(|key| given(of, key).is_some());
    let Some(kind) = given else {
        let why = "exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple fields are set";
        errors.push(FieldError::required(path, why));
        return;
    };
    let (name, path) = (text(of, kind), path.child(kind));
    qualified(name, &path, errors);
    if !name.contains('/') {
        let why = "a fully qualified name must be a domain and a name separated by a slash";
        errors.push(FieldError::invalid(&path, name, why));
    }
}

/// The name of an attribute or a capacity, after a domain or not.
pub(super) fn qualified(name: &str, path: &Path<'_>, errors: &mut Errors) {
    match name.split('/').collect::<Vec<_>>().as_slice() {
        [name] => identifier(name, path, errors),
        [domain, name] => {
            match *domain {
                "" => errors.push(FieldError::invalid(path, "", "the domain must not be empty")),
                domain => driver::named(domain, path, errors),
            }
            match *name {
                "" => errors.push(FieldError::invalid(path, "", "the name must not be empty")),
                name => identifier(name, path, errors),
            }
        }
        // Upstream says nothing of more.
        _ => {}
    }
}

fn identifier(name: &str, path: &Path<'_>, errors: &mut Errors) {
    if name.len() > ID_MAX {
        errors.push(FieldError::too_long(path, ID_MAX));
    }
    let is_first = |byte: &u8| byte.is_ascii_alphabetic() || *byte == b'_';
    let sound = name.as_bytes().first().is_some_and(is_first)
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !sound {
        errors.push(FieldError::invalid(path, name, IDENTIFIER));
    }
}

/// What a driver is told; what was `stored` before may be longer.
pub(super) fn configuration(of: &Value, stored: bool, path: &Path<'_>, errors: &mut Errors) {
    let path = path.child("opaque");
    let Some(opaque) = given(of, "opaque") else {
        errors.push(FieldError::required(&path, ""));
        return;
    };
    driver::name(opaque, "driver", &path, errors);
    let most = if stored { usize::MAX } else { PARAMETERS_MAX };
    raw(opaque.get("parameters").unwrap_or(&Value::Null), most, &path.child("parameters"), errors);
}

/// Any object that is not too large.
pub(super) fn raw(of: &Value, most: usize, path: &Path<'_>, errors: &mut Errors) {
    if of.to_string().len() > most {
        errors.push(FieldError::too_long(path, most));
    } else if of.is_null() {
        errors.push(FieldError::required(path, ""));
    } else if !of.is_object() {
        errors.push(FieldError::invalid(path, "<value omitted>", "must be a valid JSON object"));
    }
}

/// A class of devices; what its `old` self has told drivers may stay as long as it is.
pub(super) fn class(old: Option<&Value>, class: &Value, errors: &mut Errors) {
    let path = Path::ROOT.child("spec");
    let spec = class.get("spec").unwrap_or(&Value::Null);
    let before = old.and_then(|old| given(old, "spec"));
    selectors(spec, &path, errors);
    let stored = before.is_some_and(|before| list(before, "config") == list(spec, "config"));
    each(list(spec, "config"), CONFIGS_MAX, &path.child("config"), errors, |of, path, errors| {
        configuration(of, stored, path, errors);
    });
    let resource = "extendedResourceName";
    if let Some(name) = given(spec, resource).and_then(Value::as_str)
        && !resources::is_extended(name)
    {
        let why = "must be a valid extended resource name";
        errors.push(FieldError::invalid(&path.child(resource), name, why));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(devices: &Value) -> Vec<String> {
        let mut errors = Vec::new();
        claim(&json!({"spec": {"devices": devices}}), &mut errors);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_claim_asks_for_devices_of_classes() {
        let one = |more: Value| {
            let mut exactly = json!({"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 1});
            for (key, value) in more.as_object().cloned().unwrap_or_default() {
                exactly[key] = value;
            }
            json!({"requests": [{"name": "a", "exactly": exactly}]})
        };
        assert_eq!(told(&one(json!({}))), [""; 0]);
        for (more, wanted) in [
            (json!({"deviceClassName": ""}), "deviceClassName: Required value"),
            (json!({"count": 0}), "count: Invalid value: 0: must be greater than zero"),
            (
                json!({"allocationMode": "All"}),
                "count: Invalid value: 1: must not be specified when allocationMode is 'All'",
            ),
            (
                json!({"allocationMode": "Some"}),
                "allocationMode: Unsupported value: \"Some\": supported values: \"All\", \"ExactCount\"",
            ),
            (json!({"selectors": [{}]}), "selectors[0].cel: Required value"),
            (
                json!({"selectors": [{"cel": {"expression": "device.driver"}}]}),
                "selectors[0].cel.expression: Invalid value: \"device.driver\": must evaluate to bool or the unknown type, not string",
            ),
            (
                json!({"tolerations": [{"operator": "Exists", "value": "a"}]}),
                "tolerations[0].value: Invalid value: \"a\": must be empty for operator `Exists`",
            ),
        ] {
            assert_eq!(told(&one(more)), [format!("spec.devices.requests[0].exactly.{wanted}")]);
        }
    }

    #[test]
    fn what_is_said_of_requests_names_them() {
        let requests = json!([
            {"name": "a", "firstAvailable": [{"name": "b", "deviceClassName": "x", "allocationMode": "All"}]},
        ]);
        let with = |names: &[&str]| {
            told(
                &json!({"requests": requests, "constraints": [{"requests": names, "matchAttribute": "a.b/c"}]}),
            )
        };
        assert_eq!(with(&["a", "a/b"]), [""; 0]);
        let place = "spec.devices.constraints[0].requests[0]";
        for name in ["x", "a/c", "a/b/c"] {
            assert_eq!(with(&[name]), [format!("{place}: Invalid value: \"{name}\": {NO_REQUEST}")]);
        }
        assert_eq!(with(&["a", "a"]), ["spec.devices.constraints[0].requests[1]: Duplicate value: \"a\""]);
    }
}
