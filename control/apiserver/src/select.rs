//! Which objects of a collection a request means.

use serde_json::Value;
use xebec_machinery::selector::{FieldSelector, LabelSelector};
use xebec_machinery::status::Status;

use crate::call::Call;
use crate::object;
use crate::request::Verb;

/// The label selector and the field selector of a request together.
#[derive(Debug, Clone)]
pub struct Selection {
    labels: LabelSelector,
    fields: FieldSelector,
    custom: bool,
}

impl Selection {
    /// What the call selects. Fields that the resource does not index are refused, as upstream does.
    pub fn of(call: &Call) -> Result<Self, Status> {
        let options = call.options();
        let labels = LabelSelector::parse(options.label_selector.as_deref().unwrap_or_default())
            .map_err(|error| Status::bad_request(error.to_string()))?;
        let mut fields = FieldSelector::parse(options.field_selector.as_deref().unwrap_or_default())
            .map_err(|error| Status::bad_request(error.to_string()))?;
        // By the older paths one object can be watched.
        if let (Verb::Watch, Some(name)) = (call.request.verb, &call.request.name) {
            if fields.is_everything() {
                fields = FieldSelector::equal("metadata.name", name);
            } else if fields.exact("metadata.name") != Some(name.as_str()) {
                let why = "fieldSelector metadata.name doesn't match requested name";
                return Err(Status::bad_request(why));
            }
        }
        for field in fields.fields() {
            if !selectable(call, field) {
                return Err(unselectable(call, field));
            }
        }
        Ok(Self { labels, fields, custom: call.resource.custom })
    }

    /// Whether nothing is left out.
    pub fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_everything()
    }

    /// The one name that is meant, where no other can be.
    pub fn name(&self) -> Option<&str> {
        self.fields.exact("metadata.name")
    }

    /// Whether what rests under a key may be meant, as far as its name tells.
    pub fn may_match(&self, key: &str) -> bool {
        self.name().is_none_or(|name| key.rsplit('/').next() == Some(name))
    }

    /// Whether the object is meant.
    pub fn matches(&self, object: &Value) -> bool {
        let labels = match object::labels(object) {
            Some(labels) => self.labels.matches(labels),
            None => self.labels.matches(&serde_json::Map::new()),
        };
        let text = |field: &str| match self.custom {
            true => plain(object::at_path(object, field)).unwrap_or_default(),
            false => text_at(object, field),
        };
        labels && self.fields.matches(&|field| Some(text(field)))
    }
}

/// A field's value of a built-in kind as selectors compare it: absent fields are empty.
fn text_at(object: &Value, field: &str) -> String {
    match plain(object::at_path(object, alias(field))) {
        Some(text) => text,
        // The flags that can be selected are false where they are absent.
        None if matches!(field, "spec.unschedulable" | "spec.hostNetwork") => "false".to_owned(),
        // An event that came by the newer group names no source (core ToSelectableFields).
        None if field == "source" => plain(object.get("reportingComponent")).unwrap_or_default(),
        None => String::new(),
    }
}

/// A text, number or flag.
fn plain(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) => Some(text.clone()),
        value @ (Value::Bool(_) | Value::Number(_)) => Some(value.to_string()),
        _ => None,
    }
}

/// Where a field rests, if it is not where its name says.
fn alias(field: &str) -> &str {
    match field {
        "source" => "source.component",
        "status.successful" => "status.succeeded",
        _ => field,
    }
}

/// Kinds that have fields of their own to select by speak of the field, others of what there is.
fn unselectable(call: &Call, field: &str) -> Status {
    let kind = &*call.resource.kind;
    Status::bad_request(if (&*call.resource.group, kind) == ("resource.k8s.io", "ResourceSlice") {
        format!("field label not supported for {}, Kind={kind}: {field}", call.api_version())
    } else if call.resource.custom || !call.version().selectable.is_empty() {
        format!("field label not supported: {field}")
    } else {
        format!("{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
    })
}

fn selectable(call: &Call, field: &str) -> bool {
    if field == "metadata.name" || (field == "metadata.namespace" && call.resource.namespaced()) {
        return true;
    }
    call.version().selectable.iter().any(|path| path.trim_start_matches('.') == field)
}
