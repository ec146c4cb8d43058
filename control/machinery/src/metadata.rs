//! The rules that metadata of every object keeps, whatever its kind.

use serde_json::{Map, Value};

use crate::field::{FieldError, Path};
use crate::label;

/// The most bytes of all annotations together.
pub const ANNOTATIONS_MAX: usize = 256 * 1024;
/// The longest name.
pub const NAME_MAX: usize = 253;

/// What a kind allows as a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameRule {
    /// A DNS subdomain (RFC 1123), as most kinds have it.
    Subdomain,
    /// A DNS label (RFC 1123) of at most 63 letters.
    Label,
    /// Anything that can be one segment of a path.
    Segment,
}

const LABEL_WORDS: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
     start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";

impl NameRule {
    /// The rule of a resource.
    pub fn of(group: &str, plural: &str) -> Self {
        match (group, plural) {
            ("", "namespaces" | "services") => Self::Label,
            ("rbac.authorization.k8s.io", _) => Self::Segment,
            _ => Self::Subdomain,
        }
    }

    /// What is wrong with a name.
    pub fn problems(self, name: &str) -> Vec<String> {
        match self {
            Self::Subdomain => label::subdomain_problems(name),
            Self::Label => label_problems(name),
            Self::Segment => match name {
                "." | ".." => vec![format!("may not be '{name}'")],
                _ => ["/", "%"]
                    .into_iter()
                    .filter(|mark| name.contains(mark))
                    .map(|mark| format!("may not contain '{mark}'"))
                    .collect(),
            },
        }
    }
}

fn label_problems(name: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if name.len() > 63 {
        problems.push("must be no more than 63 characters".to_owned());
    }
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = |at: Option<&u8>| at.is_some_and(|byte| inner(*byte));
    let bytes = name.as_bytes();
    if !(ends(bytes.first()) && ends(bytes.last()) && bytes.iter().all(|byte| inner(*byte) || *byte == b'-'))
    {
        problems.push(LABEL_WORDS.to_owned());
    }
    problems
}

/// Everything that is wrong with an object's metadata.
pub fn validate(object: &Value, rule: NameRule, namespaced: bool) -> Vec<FieldError> {
    let root = Path::ROOT;
    let path = root.child("metadata");
    let empty = Map::new();
    let meta = object.get("metadata").and_then(Value::as_object).unwrap_or(&empty);
    let text = |field: &str| meta.get(field).and_then(Value::as_str).unwrap_or_default();
    let mut errors = Vec::new();
    let name = text("name");
    if name.is_empty() {
        errors.push(FieldError::required(&path.child("name"), "name or generateName is required"));
    } else if name.len() > NAME_MAX {
        errors.push(FieldError::too_long(&path.child("name"), NAME_MAX));
    } else {
        for problem in rule.problems(name) {
            errors.push(FieldError::invalid(&path.child("name"), name, problem));
        }
    }
    let namespace = text("namespace");
    if namespaced {
        for problem in label_problems(namespace) {
            errors.push(FieldError::invalid(&path.child("namespace"), namespace, problem));
        }
    } else if !namespace.is_empty() {
        errors.push(FieldError::forbidden(&path.child("namespace"), "not allowed on this type"));
    }
    labels(meta.get("labels"), &path.child("labels"), &mut errors);
    annotations(meta.get("annotations"), &path.child("annotations"), &mut errors);
    finalizers(meta.get("finalizers"), &path.child("finalizers"), &mut errors);
    owners(meta.get("ownerReferences"), &path.child("ownerReferences"), &mut errors);
    errors
}

fn labels(labels: Option<&Value>, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    for (key, value) in labels.and_then(Value::as_object).into_iter().flatten() {
        for problem in label::key_problems(key) {
            errors.push(FieldError::invalid(path, key.as_str(), problem));
        }
        let value = value.as_str().unwrap_or_default();
        for problem in label::value_problems(value) {
            errors.push(FieldError::invalid(path, value, problem));
        }
    }
}

fn annotations(annotations: Option<&Value>, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let mut total = 0;
    for (key, value) in annotations.and_then(Value::as_object).into_iter().flatten() {
        for problem in label::key_problems(&key.to_ascii_lowercase()) {
            errors.push(FieldError::invalid(path, key.as_str(), problem));
        }
        total += key.len() + value.as_str().map_or(0, str::len);
    }
    if total > ANNOTATIONS_MAX {
        errors.push(FieldError::too_long(path, ANNOTATIONS_MAX));
    }
}

fn finalizers(finalizers: Option<&Value>, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    for (at, finalizer) in finalizers.and_then(Value::as_array).into_iter().flatten().enumerate() {
        let finalizer = finalizer.as_str().unwrap_or_default();
        for problem in label::key_problems(finalizer) {
            errors.push(FieldError::invalid(&path.index(at), finalizer, problem));
        }
        let known = matches!(finalizer, "orphan" | "foregroundDeletion" | "kubernetes");
        if !finalizer.contains('/') && !known {
            let detail = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(FieldError::invalid(&path.index(at), finalizer, detail));
        }
    }
}

fn owners(owners: Option<&Value>, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let mut controllers = 0;
    for (at, owner) in owners.and_then(Value::as_array).into_iter().flatten().enumerate() {
        let place = path.index(at);
        for (field, word) in [("apiVersion", "version"), ("kind", "kind"), ("name", "name"), ("uid", "uid")] {
            let value = owner.get(field).and_then(Value::as_str).unwrap_or_default();
            if value.is_empty() {
                errors.push(FieldError::invalid(
                    &place.child(field),
                    value,
                    format!("{word} must not be empty"),
                ));
            }
        }
        controllers += u32::from(owner.get("controller") == Some(&Value::Bool(true)));
    }
    if controllers > 1 {
        let detail = format!("Only one reference can have Controller set to true. Found {controllers}");
        errors.push(FieldError::invalid(path, "", detail));
    }
}

/// What an update may not change.
pub fn validate_update(old: &Value, new: &Value) -> Vec<FieldError> {
    let root = Path::ROOT;
    let path = root.child("metadata");
    let at =
        |object: &'_ Value, field: &str| object.get("metadata").and_then(|meta| meta.get(field)).cloned();
    let mut errors = Vec::new();
    for field in
        ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"]
    {
        let value = at(new, field).filter(|value| !value.is_null());
        if value != at(old, field).filter(|value| !value.is_null()) {
            let shown = value.unwrap_or_default();
            errors.push(FieldError::invalid(&path.child(field), shown, "field is immutable"));
        }
    }
    if at(old, "deletionTimestamp").is_some() {
        let list = |object| match at(object, "finalizers") {
            Some(Value::Array(list)) => list,
            _ => Vec::new(),
        };
        let before = list(old);
        let added: Vec<String> =
            list(new).iter().filter(|item| !before.contains(item)).map(ToString::to_string).collect();
        if !added.is_empty() {
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers [{}]",
                added.join(", ")
            );
            errors.push(FieldError::forbidden(&path.child("finalizers"), detail));
        }
    }
    errors
}

/// The letters of generated names: no vowels and nothing that looks like another, so that no word comes about.
const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// A name from its prefix and random bits.
pub fn generate_name(prefix: &str, random: u64) -> String {
    let mut name: String = prefix.chars().take(NAME_MAX.min(63) - 5).collect();
    let mut rest = random;
    for _ in 0..5 {
        let at = usize::try_from(rest % 27).unwrap_or_default();
        name.push(char::from(LETTERS[at]));
        rest /= 27;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn words(metadata: Value, rule: NameRule) -> String {
        let errors = validate(&json!({"metadata": metadata}), rule, true);
        errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn names_are_held_to_the_rule_of_their_kind() {
        let with = |name: &str| json!({"name": name, "namespace": "a"});
        assert_eq!(words(with("a.b"), NameRule::Subdomain), "");
        assert!(words(with("a.b"), NameRule::Label).contains("a lowercase RFC 1123 label must consist of"));
        assert_eq!(words(with("system:node"), NameRule::Segment), "");
        assert!(words(with("a/b"), NameRule::Segment).contains("may not contain '/'"));
        assert!(
            words(json!({"namespace": "a"}), NameRule::Subdomain)
                .contains("name or generateName is required")
        );
    }

    #[test]
    fn labels_finalizers_and_owners_are_checked() {
        let bad = json!({
            "name": "a", "namespace": "b", "labels": {"-x": "y z"}, "finalizers": ["mine"],
            "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": ""}],
        });
        let words = words(bad, NameRule::Subdomain);
        for part in ["metadata.labels", "neither a standard finalizer", "uid must not be empty"] {
            assert!(words.contains(part), "{part}: {words}");
        }
    }

    #[test]
    fn an_object_on_its_way_out_takes_no_new_finalizers() {
        let old = json!({"metadata": {"name": "a", "deletionTimestamp": "x", "finalizers": ["a/b"]}});
        let mut new = old.clone();
        new["metadata"]["finalizers"] = json!(["a/b", "c/d"]);
        assert_eq!(validate_update(&old, &new).len(), 1);
        new["metadata"]["finalizers"] = json!([]);
        assert_eq!(validate_update(&old, &new), []);
        new["metadata"]["uid"] = json!("other");
        assert_eq!(validate_update(&old, &new).len(), 1);
    }

    #[test]
    fn a_generated_name_fits_and_has_five_letters_more() {
        let name = generate_name("web-", 123_456_789);
        assert_eq!(name.len(), 9);
        assert!(name.starts_with("web-"));
        assert_eq!(generate_name(&"x".repeat(300), 1).len(), 63);
    }
}
