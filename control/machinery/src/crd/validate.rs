//! What is wrong with a definition, in the words of Kubernetes.
//!
//! Upstream says what all versions have alike once, above them: a fault in the schema of a definition with one version is
//! told at `spec.validation.openAPIV3Schema`, not at `spec.versions[0].schema.openAPIV3Schema`. People search for those
//! paths, so they are told the same here.

mod parts;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::read::{flag, list, present, text};
use super::status::established;
use crate::field::{Bad, FieldError, Path};
use crate::label::subdomain_problems;
use crate::metadata::{self, NameRule, dns_label_1035};
use crate::structural::{self, Structural};

/// The annotation that names the approval of kinds in groups of Kubernetes itself.
pub(super) const APPROVAL: &str = "api-approved.kubernetes.io";
const APPROVAL_RULE: &str = "https://github.com/kubernetes/enhancements/pull/1111";

/// Everything that is wrong with a new definition, whose defaults are filled in.
pub fn validate(definition: &Value) -> Vec<FieldError> {
    let mut errors = metadata::validate(definition, NameRule::Subdomain, false);
    let spec_value = definition.get("spec").unwrap_or(&Value::Null);
    let plural = text(spec_value.get("names").unwrap_or(&Value::Null), "plural");
    let name = metadata::text(definition, "name");
    if name != format!("{plural}.{}", text(spec_value, "group")) {
        let meta = Path::ROOT.child("metadata");
        errors.push(FieldError::invalid(
            &meta.child("name"),
            name,
            "must be spec.names.plural+\".\"+spec.group",
        ));
    }
    errors.extend(spec(spec_value, structural::compile_at).1);
    errors.extend(accepted_names(definition));
    // The first version that is to be stored is noted as such before upstream judges.
    let first = list(spec_value, "versions").iter().find(|version| flag(version, "storage"));
    let stored: Vec<Value> = first.map(|version| text(version, "name").into()).into_iter().collect();
    stored_versions(&stored, spec_value, &mut errors);
    approved(definition, &mut errors);
    errors
}

/// Everything that is wrong with the definition `new` in the place of `old`.
pub fn validate_update(old: &Value, new: &Value) -> Vec<FieldError> {
    let mut errors = metadata::validate_update(old, new);
    let (spec_value, before) =
        (new.get("spec").unwrap_or(&Value::Null), old.get("spec").unwrap_or(&Value::Null));
    errors.extend(spec(spec_value, structural::compile_at).1);
    let at = Path::ROOT.child("spec");
    let names = at.child("names");
    let (now, then) =
        (spec_value.get("names").unwrap_or(&Value::Null), before.get("names").unwrap_or(&Value::Null));
    let mut immutable = |path: Path<'_>, now: &str, then: &str| {
        if now != then {
            errors.push(FieldError::invalid(&path, now, "field is immutable"));
        }
    };
    if established(old) {
        immutable(at.child("scope"), text(spec_value, "scope"), text(before, "scope"));
        immutable(names.child("kind"), text(now, "kind"), text(then, "kind"));
    }
    immutable(at.child("group"), text(spec_value, "group"), text(before, "group"));
    immutable(names.child("plural"), text(now, "plural"), text(then, "plural"));
    errors.extend(accepted_names(new));
    let stored = list(new.get("status").unwrap_or(&Value::Null), "storedVersions");
    stored_versions(stored, spec_value, &mut errors);
    if approval(new) != approval(old) {
        approved(new, &mut errors);
    }
    errors
}

fn stored_versions(stored: &[Value], spec: &Value, errors: &mut Vec<FieldError>) {
    let status = Path::ROOT.child("status");
    let at = status.child("storedVersions");
    if stored.is_empty() {
        errors.push(FieldError::invalid(&at, Value::Null, "must have at least one stored version"));
        return;
    }
    let versions = list(spec, "versions");
    for version in versions.iter().filter(|version| flag(version, "storage")) {
        let name = text(version, "name");
        if !stored.iter().any(|stored| stored == name) {
            let detail = format!("must have the storage version {name}");
            errors.push(FieldError::invalid(&at, Value::Array(stored.to_vec()), detail));
        }
    }
    for (index, name) in stored.iter().enumerate() {
        let name = name.as_str().unwrap_or_default();
        if !versions.iter().any(|version| text(version, "name") == name) {
            let detail = format!(
                "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions \
                 until a storage migration ensures no data remains persisted in {name} and removes {name} from \
                 status.storedVersions"
            );
            errors.push(FieldError::invalid(&at.index(index), name, detail));
        }
    }
}

/// Whether a kind in a group of Kubernetes itself is approved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Approval {
    Approved,
    Bypassed,
    Missing(String),
    Invalid(String),
}

/// What the definition says of its approval; `None` where its group needs none.
pub(super) fn approval(definition: &Value) -> Option<Approval> {
    let group = definition.pointer("/spec/group").and_then(Value::as_str).unwrap_or_default();
    let protected = ["k8s.io", "kubernetes.io"].iter().any(|owned| {
        group.strip_suffix(owned).is_some_and(|prefix| prefix.is_empty() || prefix.ends_with('.'))
    });
    if !protected {
        return None;
    }
    let told = definition.pointer("/metadata/annotations").map(|all| text(all, APPROVAL)).unwrap_or_default();
    let address = told.split_once("://").is_some_and(|(scheme, rest)| {
        !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) && !rest.is_empty()
    });
    Some(if told.is_empty() {
        Approval::Missing(format!(
            "protected groups must have approval annotation \"{APPROVAL}\", see {APPROVAL_RULE}"
        ))
    } else if told.starts_with("unapproved") {
        Approval::Bypassed
    } else if address {
        Approval::Approved
    } else {
        Approval::Invalid(format!(
            "protected groups must have approval annotation \"{APPROVAL}\" with either a URL or a reason starting with \
             \"unapproved\", see {APPROVAL_RULE}"
        ))
    })
}

fn approved(definition: &Value, errors: &mut Vec<FieldError>) {
    let metadata = Path::ROOT.child("metadata");
    let annotations = metadata.child("annotations");
    let at = annotations.key(APPROVAL);
    match approval(definition) {
        Some(Approval::Missing(message)) => errors.push(FieldError::required(&at, message)),
        Some(Approval::Invalid(message)) => {
            let told = definition
                .pointer("/metadata/annotations")
                .map(|all| text(all, APPROVAL))
                .unwrap_or_default();
            errors.push(FieldError::invalid(&at, told, message));
        }
        Some(Approval::Approved | Approval::Bypassed) | None => {}
    }
}

fn accepted_names(definition: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if let Some(accepted) = definition.pointer("/status/acceptedNames") {
        let status = Path::ROOT.child("status");
        names(accepted, &status.child("acceptedNames"), &mut errors);
    }
    errors
}

type Schemas = BTreeMap<Box<str>, Arc<Structural>>;

/// What compiles a schema at a path.
type Compile = fn(&Value, &Path<'_>) -> Result<Structural, Vec<FieldError>>;

/// Compiles the schemas of a `spec`, and tells everything that is wrong with it.
pub(super) fn spec(spec: &Value, compile: Compile) -> (Schemas, Vec<FieldError>) {
    let mut errors = Vec::new();
    let path = Path::ROOT.child("spec");
    let group = text(spec, "group");
    let at = path.child("group");
    let problems = subdomain_problems(group);
    if group.is_empty() {
        errors.push(FieldError::required(&at, ""));
    } else if !problems.is_empty() {
        errors.push(FieldError::invalid(&at, group, problems.join(",")));
    } else if !group.contains('.') {
        errors.push(FieldError::invalid(&at, group, "should be a domain with at least one dot"));
    }
    one_of(text(spec, "scope"), &["Cluster", "Namespaced"], &path.child("scope"), &mut errors);
    if flag(spec, "preserveUnknownFields") {
        let detail = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        errors.push(FieldError::invalid(&path.child("preserveUnknownFields"), true, detail));
    }
    let schemas = versions(spec, &path, compile, &mut errors);
    let at = path.child("names");
    let given = spec.get("names").unwrap_or(&Value::Null);
    for name in ["plural", "singular", "kind", "listKind"] {
        if text(given, name).is_empty() {
            errors.push(FieldError::required(&at.child(name), ""));
        }
    }
    names(given, &at, &mut errors);
    if let Some(conversion) = present(spec, "conversion") {
        parts::conversion(conversion, &path.child("conversion"), &mut errors);
    }
    (schemas, errors)
}

fn one_of(value: &str, accepted: &[&str], path: &Path<'_>, errors: &mut Vec<FieldError>) {
    if value.is_empty() {
        errors.push(FieldError::required(path, ""));
    } else if !accepted.contains(&value) {
        errors.push(FieldError::not_supported(path, value, accepted));
    }
}

fn versions(spec: &Value, path: &Path<'_>, compile: Compile, errors: &mut Vec<FieldError>) -> Schemas {
    let versions = list(spec, "versions");
    let at = path.child("versions");
    let mut schemas = Schemas::new();
    let alike = |part: &str| {
        let of = |version: &Value| {
            present(version, part).filter(|value| **value != Value::Array(Vec::new())).cloned()
        };
        let first = versions.first().and_then(of);
        first.is_some() && versions.iter().all(|version| of(version) == first)
    };
    let [schema, subresources, columns, selectable] =
        ["schema", "subresources", "additionalPrinterColumns", "selectableFields"].map(alike);
    let mut shared: Option<Arc<Structural>> = None;
    for (index, version) in versions.iter().enumerate() {
        let here = at.index(index);
        let name = text(version, "name");
        let problems = dns_label_1035(name);
        if !problems.is_empty() {
            errors.push(FieldError::invalid(&here.child("name"), name, problems.join(",")));
        }
        parts::deprecation(version, &here, errors);
        // What all versions have alike is told once.
        let first = index == 0;
        let status = version.pointer("/subresources/status").is_some_and(Value::is_object);
        let compiled = if schema {
            if first {
                shared = compiled(version, (&path.child("validation"), compile), status, errors);
            }
            shared.clone()
        } else {
            compiled(version, (&here.child("schema"), compile), status, errors)
        };
        if first || !subresources {
            let at = if subresources { path.child("subresources") } else { here.child("subresources") };
            parts::subresources(version.get("subresources").unwrap_or(&Value::Null), &at, errors);
        }
        if first || !columns {
            let at = if columns { *path } else { here };
            parts::columns(
                list(version, "additionalPrinterColumns"),
                &at.child("additionalPrinterColumns"),
                errors,
            );
        }
        if let (true, Some(compiled)) = (first || !selectable, &compiled) {
            let at = if selectable { *path } else { here };
            parts::selectable(
                list(version, "selectableFields"),
                compiled,
                &at.child("selectableFields"),
                errors,
            );
        }
        if let Some(compiled) = compiled {
            schemas.insert(name.into(), compiled);
        }
    }
    let unique: BTreeSet<&str> = versions.iter().map(|version| text(version, "name")).collect();
    let mut refuse = |why: &str| errors.push(FieldError::invalid(&at, Bad::Text(shown(versions)), why));
    if unique.len() < versions.len() {
        refuse("must contain unique version names");
    }
    if versions.iter().filter(|version| flag(version, "storage")).count() != 1 {
        refuse("must have exactly one version marked as storage version");
    }
    schemas
}

/// Versions as upstream shows them: the fields of its own structure. What all of them have alike stands above them there.
fn shown(versions: &[Value]) -> String {
    let own = |version: &Value, name: &str| match version.get(name) {
        Some(value) if versions.iter().any(|other| other.get(name) != Some(value)) => value.to_string(),
        _ => "null".to_owned(),
    };
    let version = |version: &Value| {
        let told = |name: &str| version.get(name).map_or("null".to_owned(), Value::to_string);
        format!(
            "{{\"Name\":{},\"Served\":{},\"Storage\":{},\"Deprecated\":{},\"DeprecationWarning\":{},\"Schema\":{},\
             \"Subresources\":{},\"AdditionalPrinterColumns\":{},\"SelectableFields\":{}}}",
            Value::from(text(version, "name")),
            flag(version, "served"),
            flag(version, "storage"),
            flag(version, "deprecated"),
            told("deprecationWarning"),
            own(version, "schema"),
            own(version, "subresources"),
            own(version, "additionalPrinterColumns"),
            own(version, "selectableFields"),
        )
    };
    format!("[{}]", versions.iter().map(version).collect::<Vec<_>>().join(","))
}

/// Compiles the schema of a version.
fn compiled(
    version: &Value,
    (path, compile): (&Path<'_>, Compile),
    status: bool,
    errors: &mut Vec<FieldError>,
) -> Option<Arc<Structural>> {
    let at = path.child("openAPIV3Schema");
    let Some(schema) = version.get("schema").and_then(|schema| present(schema, "openAPIV3Schema")) else {
        errors.push(FieldError::required(&at, "schemas are required"));
        return None;
    };
    if flag(schema, "nullable") {
        errors.push(FieldError::forbidden(&at.child("nullable"), "nullable cannot be true at the root"));
    }
    if status {
        parts::root_with_status(schema, &at, errors);
    }
    match compile(schema, &at) {
        Ok(structural) => Some(Arc::new(structural)),
        Err(found) => {
            errors.extend(found);
            None
        }
    }
}

/// The names of a definition, as far as they are given.
fn names(names: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    for name in ["plural", "singular"] {
        let value = text(names, name);
        let problems = dns_label_1035(value);
        if !value.is_empty() && !problems.is_empty() {
            errors.push(FieldError::invalid(&path.child(name), value, problems.join(",")));
        }
    }
    for name in ["kind", "listKind"] {
        let value = text(names, name);
        let problems = dns_label_1035(&value.to_lowercase());
        if !value.is_empty() && !problems.is_empty() {
            let detail = format!("may have mixed case, but should otherwise match: {}", problems.join(","));
            errors.push(FieldError::invalid(&path.child(name), value, detail));
        }
    }
    let (kind, list_kind) = (text(names, "kind"), text(names, "listKind"));
    if !kind.is_empty() && kind == list_kind {
        let detail = "kind and listKind may not be the same";
        errors.push(FieldError::invalid(&path.child("listKind"), list_kind, detail));
    }
    for name in ["shortNames", "categories"] {
        let at = path.child(name);
        for (index, value) in list(names, name).iter().enumerate() {
            let value = value.as_str().unwrap_or_default();
            let problems = dns_label_1035(value);
            if !problems.is_empty() {
                errors.push(FieldError::invalid(&at.index(index), value, problems.join(",")));
            }
        }
    }
}
