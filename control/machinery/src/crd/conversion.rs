//! Objects from version to version by a webhook: what it is asked (`ConversionReview`), and whether its answer may be
//! believed. It may change everything but the metadata, of which it may change the labels and annotations.

use serde_json::{Map, Value, json};

use super::read::{list, present, text};
use crate::field::Path;
use crate::{go_text, label};

/// How objects come from one version to another.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Conversion {
    /// Only `apiVersion` changes.
    #[default]
    None,
    /// A webhook converts.
    Webhook(Webhook),
}

/// A webhook that converts.
#[derive(Debug, Clone, PartialEq)]
pub struct Webhook {
    /// How it is reached (`spec.conversion.webhook.clientConfig`).
    pub client: Value,
    /// The form of the review that it is asked in: `v1` or `v1beta1`.
    pub review: Box<str>,
}

impl Conversion {
    /// Reads the `spec` of a definition.
    pub(super) fn of(spec: &Value) -> Self {
        let conversion = spec.get("conversion").unwrap_or(&Value::Null);
        let Some(webhook) =
            present(conversion, "webhook").filter(|_| text(conversion, "strategy") == "Webhook")
        else {
            return Self::None;
        };
        let reviews = list(webhook, "conversionReviewVersions").iter().filter_map(Value::as_str);
        let review = reviews.into_iter().find(|review| matches!(*review, "v1" | "v1beta1"));
        Self::Webhook(Webhook {
            client: webhook.get("clientConfig").cloned().unwrap_or_default(),
            review: review.unwrap_or("v1").into(),
        })
    }
}

/// Objects that are to be of another version.
#[derive(Debug, Clone, Copy)]
pub struct Task<'a> {
    /// The objects, none of which is of that version.
    pub objects: &'a [Value],
    /// Its `apiVersion`.
    pub wanted: &'a str,
    /// What the answer must repeat.
    pub uid: &'a str,
    /// The kind of the list that they belong to, where they are more than one may be.
    pub list: Option<&'a str>,
}

impl Webhook {
    /// The question.
    pub fn ask(&self, task: &Task<'_>) -> Value {
        json!({
            "kind": "ConversionReview",
            "apiVersion": format!("apiextensions.k8s.io/{}", self.review),
            "request": {"uid": task.uid, "desiredAPIVersion": task.wanted, "objects": task.objects},
        })
    }

    /// The objects of the answer in their order, with the metadata that is not the webhook's.
    ///
    /// # Errors
    /// What is wrong with the answer, in the words of Kubernetes.
    pub fn answered(&self, answer: Value, task: &Task<'_>) -> Result<Vec<Value>, String> {
        let converted = self.response(answer, task.uid).map_err(|why| task.failed(&why))?;
        let of = task.subject();
        if converted.len() != task.objects.len() {
            let (given, expected) = (converted.len(), task.objects.len());
            return Err(format!("{of} returned {given} objects, expected {expected}"));
        }
        let all = converted.into_iter().zip(task.objects).enumerate();
        all.map(|(index, (new, old))| {
            let place = |what: &str, always: bool| match task.list {
                Some(_) => format!("{of} returned invalid {what} at index {index}"),
                None if always => format!("{of} returned invalid object at index 0"),
                None => format!("{of} returned invalid {}", what.split(' ').next().unwrap_or_default()),
            };
            let invalid = |why: String| Err(format!("{}: {why}", place("converted object", true)));
            let (told, kind, own) = (text(&new, "apiVersion"), text(&new, "kind"), text(old, "kind"));
            if told != task.wanted {
                return invalid(format!("invalid groupVersion (expected {}, received {told})", task.wanted));
            }
            if kind != own {
                return invalid(format!("invalid kind (expected {own}, received {kind})"));
            }
            let object = if task.list.is_some() { "converted object" } else { "object" };
            same(old, &new).map_err(|why| format!("{}: {why}", place(object, false)))?;
            restore(old, new).map_err(|why| format!("{}: {why}", place("metadata in object", false)))
        })
        .collect()
    }

    /// The objects of a successful answer.
    fn response(&self, mut answer: Value, uid: &str) -> Result<Vec<Value>, String> {
        if &*self.review == "v1" {
            let (expected, told) = ("apiextensions.k8s.io/v1, Kind=ConversionReview", kind_of(&answer));
            if told != expected {
                return Err(format!("expected webhook response of {expected}, got {told}"));
            }
        }
        let Some(response) = answer.get_mut("response").filter(|response| response.is_object()) else {
            return Err("no response provided".to_owned());
        };
        let told = text(response, "uid");
        if &*self.review == "v1" && told != uid {
            return Err(format!("expected response.uid={uid:?}, got {told:?}"));
        }
        let result = response.get("result").unwrap_or(&Value::Null);
        let (status, message) = (text(result, "status"), text(result, "message"));
        match (status, message) {
            ("Success", _) => {}
            (_, "") => return Err(format!("response.result.status was '{status}', not 'Success'")),
            (_, message) => return Err(message.to_owned()),
        }
        Ok(match response.get_mut("convertedObjects").map(Value::take) {
            Some(Value::Array(objects)) => objects,
            _ => Vec::new(),
        })
    }
}

impl Task<'_> {
    /// That the webhook failed, and why.
    pub fn failed(&self, why: &str) -> String {
        format!("{} failed: {why}", self.subject())
    }

    fn subject(&self) -> String {
        match self.list {
            Some(list) => format!("conversion webhook for {}, Kind={list}", self.wanted),
            None => {
                format!("conversion webhook for {}", kind_of(self.objects.first().unwrap_or(&Value::Null)))
            }
        }
    }
}

/// A kind as Go prints it: `example.com/v1, Kind=Thing`.
fn kind_of(object: &Value) -> String {
    format!("{}, Kind={}", text(object, "apiVersion"), text(object, "kind"))
}

/// What must be as it was.
fn same(old: &Value, new: &Value) -> Result<(), String> {
    let meta =
        |object: &Value, name: &str| text(object.get("metadata").unwrap_or(&Value::Null), name).to_owned();
    for (field, name) in [("name", "name"), ("namespace", "namespace"), ("uid", "UID")] {
        let (own, told) = (meta(old, field), meta(new, field));
        if own != told {
            return Err(format!("must have the same {name}: {own} != {told}"));
        }
    }
    Ok(())
}

/// Gives the converted object the metadata that the old one has, but for its labels and annotations.
fn restore(old: &Value, mut new: Value) -> Result<Value, String> {
    let told = match new.get("metadata") {
        None => return Err("missing metadata in converted object".to_owned()),
        Some(Value::Object(told)) => told.clone(),
        Some(other) => {
            return Err(format!(
                "invalid metadata of type {} in converted object",
                go_text::type_name(other)
            ));
        }
    };
    let mut metadata = old.get("metadata").and_then(Value::as_object).cloned().unwrap_or_default();
    for field in ["labels", "annotations"] {
        match told.get(field) {
            None | Some(Value::Null) => drop(metadata.remove(field)),
            Some(Value::Object(map)) => {
                check(field, map)?;
                metadata.insert(field.into(), Value::Object(map.clone()));
            }
            Some(other) => {
                return Err(format!(
                    "invalid metadata.{field} of type {} in converted object",
                    go_text::type_name(other)
                ));
            }
        }
    }
    new["metadata"] = Value::Object(metadata);
    Ok(new)
}

fn check(field: &str, map: &Map<String, Value>) -> Result<(), String> {
    if let Some((key, value)) = map.iter().find(|(_, value)| !value.is_string()) {
        let told = go_text::type_name(value);
        return Err(format!("metadata.{field}[{key}] must be a string, but is {told} in converted object"));
    }
    let metadata = Path::ROOT.child("metadata");
    let mut wrong = Vec::new();
    for (key, value) in map {
        let at = metadata.child(field);
        let mut told = match field {
            "labels" => label::key_problems(key),
            _ => label::key_problems(&key.to_lowercase()),
        };
        if field == "labels" {
            told.extend(label::value_problems(value.as_str().unwrap_or_default()));
        }
        wrong.extend(told.into_iter().map(|what| format!("{at}: Invalid value: {key:?}: {what}")));
    }
    match wrong.as_slice() {
        [] => Ok(()),
        [one] => Err(one.clone()),
        many => Err(format!("[{}]", many.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhook(review: &str) -> Webhook {
        Webhook { client: Value::Null, review: review.into() }
    }

    fn object(version: &str, labels: Value) -> Value {
        let metadata = json!({"name": "a", "uid": "u", "labels": labels, "generation": 3});
        json!({"apiVersion": format!("example.com/{version}"), "kind": "Thing", "metadata": metadata, "spec": {}})
    }

    fn answer(objects: &[Value]) -> Value {
        json!({
            "kind": "ConversionReview", "apiVersion": "apiextensions.k8s.io/v1",
            "response": {"uid": "q", "result": {"status": "Success"}, "convertedObjects": objects},
        })
    }

    fn answered(answer: Value, list: Option<&str>) -> Result<Vec<Value>, String> {
        let objects = [object("v1", json!({"a": "b"}))];
        let task = Task { objects: &objects, wanted: "example.com/v2", uid: "q", list };
        webhook("v1").answered(answer, &task)
    }

    #[test]
    fn a_webhook_changes_of_the_metadata_labels_and_annotations_alone() {
        let mut given = object("v2", json!({"c": "d"}));
        given["metadata"]["generation"] = json!(9);
        given["metadata"]["annotations"] = json!({"x": "y"});
        given["spec"]["new"] = json!(1);
        let told = answered(answer(&[given]), None).unwrap();
        let metadata = json!({"name": "a", "uid": "u", "labels": {"c": "d"}, "annotations": {"x": "y"}, "generation": 3});
        assert_eq!(told[0]["metadata"], metadata);
        assert_eq!(told[0]["spec"], json!({"new": 1}));
    }

    #[test]
    fn an_answer_that_can_not_be_right_is_refused_in_the_words_of_kubernetes() {
        let of = "conversion webhook for example.com/v1, Kind=Thing";
        let listed = "conversion webhook for example.com/v2, Kind=ThingList";
        let mut other_name = object("v2", json!({}));
        other_name["metadata"]["name"] = json!("b");
        let mut number = object("v2", json!({}));
        number["metadata"]["labels"]["a"] = json!(1);
        let mut other_kind = object("v2", json!({}));
        other_kind["kind"] = json!("Thong");
        let mut bare = object("v2", json!({}));
        bare["metadata"] = Value::Null;
        let mut failed = answer(&[]);
        failed["response"]["result"] = json!({"status": "Failure", "message": "not today"});
        let mut mute = answer(&[]);
        mute["response"]["result"] = json!({});
        let mut stranger = answer(&[]);
        stranger["response"]["uid"] = json!("other");
        for (given, list, expected) in [
            (failed, None, format!("{of} failed: not today")),
            (mute, None, format!("{of} failed: response.result.status was '', not 'Success'")),
            (stranger, None, format!("{of} failed: expected response.uid=\"q\", got \"other\"")),
            (
                json!({"kind": "X", "apiVersion": "v1"}),
                Some("ThingList"),
                format!(
                    "{listed} failed: expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, \
                     got v1, Kind=X"
                ),
            ),
            (
                json!({"kind": "ConversionReview", "apiVersion": "apiextensions.k8s.io/v1"}),
                None,
                format!("{of} failed: no response provided"),
            ),
            (answer(&[]), None, format!("{of} returned 0 objects, expected 1")),
            (
                answer(&[object("v1", json!({}))]),
                None,
                format!(
                    "{of} returned invalid object at index 0: invalid groupVersion (expected example.com/v2, \
                     received example.com/v1)"
                ),
            ),
            (
                answer(&[other_kind]),
                Some("ThingList"),
                format!(
                    "{listed} returned invalid converted object at index 0: invalid kind (expected Thing, received \
                     Thong)"
                ),
            ),
            (
                answer(std::slice::from_ref(&other_name)),
                None,
                format!("{of} returned invalid object: must have the same name: a != b"),
            ),
            (
                answer(&[other_name]),
                Some("ThingList"),
                format!(
                    "{listed} returned invalid converted object at index 0: must have the same name: a != b"
                ),
            ),
            (
                answer(&[number]),
                None,
                format!(
                    "{of} returned invalid metadata: metadata.labels[a] must be a string, but is int64 in converted \
                     object"
                ),
            ),
            (answer(&[bare]), None, format!("{of} returned invalid object: must have the same name: a != ")),
        ] {
            assert_eq!(answered(given, list).unwrap_err(), expected);
        }
    }

    #[test]
    fn an_older_review_is_believed_without_its_name() {
        let objects = [object("v1", json!({}))];
        let task = Task { objects: &objects, wanted: "example.com/v2", uid: "q", list: None };
        let old = webhook("v1beta1");
        assert_eq!(old.ask(&task)["apiVersion"], "apiextensions.k8s.io/v1beta1");
        let given = json!({"response": {
            "result": {"status": "Success"}, "convertedObjects": [object("v2", json!({}))],
        }});
        assert_eq!(old.answered(given, &task).unwrap()[0]["apiVersion"], "example.com/v2");
    }
}
