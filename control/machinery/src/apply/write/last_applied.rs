//! The passage from client-side apply: `kubectl apply` kept what it applied in an annotation, and `kubectl apply
//! --server-side` takes over what that says without a conflict.

use serde_json::Value;

use crate::apply::Context;
use crate::apply::difference::difference;
use crate::apply::element::html_safe;
use crate::apply::fields::FieldSet;
use crate::apply::shape::{Type, owned, validate};

/// The manager that the passage is for.
pub(super) const KUBECTL: &str = "kubectl";
const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";
/// All annotations together have at most this many bytes.
const ANNOTATIONS_MAX: usize = 256 * 1024;

/// The fields that kubectl applied from its side and that are as it left them; none where it did not.
pub(super) fn fields(context: &Context<'_>, live: &Value) -> FieldSet {
    let ty = Type::root(context.node);
    let annotation = live.pointer("/metadata/annotations").and_then(|all| all.get(ANNOTATION));
    let Some(text) = annotation.and_then(Value::as_str) else { return FieldSet::default() };
    let Ok(last) = serde_json::from_str::<Value>(text) else { return FieldSet::default() };
    let same_version = last.get("apiVersion").and_then(Value::as_str) == Some(context.api_version);
    if !same_version || validate(ty, &last, false).and_then(|()| validate(ty, live, false)).is_err() {
        return FieldSet::default();
    }
    let changes = difference(ty, &last, live);
    owned(ty, &last)
        .below
        .difference(&changes.modified)
        .difference(&changes.added)
        .difference(&changes.removed)
}

/// Brings the annotation up to date where there is one, so that client-side apply can be gone back to.
pub(super) fn refresh(object: &mut Value, applied: &Value) {
    let annotations = object.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut);
    let Some(annotations) = annotations else { return };
    if annotations.get(ANNOTATION).and_then(Value::as_str).is_none_or(str::is_empty) {
        return;
    }
    let mut applied = applied.clone();
    if let Some(of_applied) = applied.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        of_applied.remove(ANNOTATION);
    }
    annotations.insert(ANNOTATION.to_owned(), Value::String(html_safe(&applied.to_string()) + "\n"));
    let length = |(key, value): (&String, &Value)| key.len() + value.as_str().map_or(0, str::len);
    if annotations.iter().map(length).sum::<usize>() > ANNOTATIONS_MAX {
        annotations.remove(ANNOTATION);
    }
}
