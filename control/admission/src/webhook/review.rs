//! `AdmissionReview` as hooks answer it.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use xebec_machinery::decoding;

use crate::object;

/// A version of `admission.k8s.io`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V1,
    V1beta1,
}

impl Version {
    /// The version of this name, where it is spoken here.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "v1" => Some(Self::V1),
            "v1beta1" => Some(Self::V1beta1),
            _ => None,
        }
    }

    pub(super) fn api_version(self) -> &'static str {
        match self {
            Self::V1 => "admission.k8s.io/v1",
            Self::V1beta1 => "admission.k8s.io/v1beta1",
        }
    }
}

/// What a hook answered.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Answer {
    pub(super) allowed: bool,
    /// The operations of a JSON patch.
    pub(super) patch: Option<Vec<u8>>,
    /// Why not, as a `Status`.
    pub(super) status: Value,
    pub(super) warnings: Vec<String>,
    pub(super) annotations: BTreeMap<String, String>,
}

/// Reads the body of an answer.
pub(super) fn read(body: &[u8]) -> Result<Value, String> {
    let (value, _) =
        decoding::parse(body).map_err(|why| format!("couldn't get version/kind; json parse error: {why}"))?;
    let wrong = |name: &str, kind: &str| {
        format!("couldn't get version/kind; json parse error: json: cannot unmarshal {kind} into Go {name}")
    };
    let kind = |value: &Value| match value {
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        _ => "object",
    };
    if !value.is_object() {
        return Err(wrong("value of type AdmissionReview", kind(&value)));
    }
    for field in ["apiVersion", "kind"] {
        if let Some(other) = value.get(field).filter(|own| !own.is_string() && !own.is_null()) {
            return Err(wrong(&format!("struct field .{field} of type string"), kind(other)));
        }
    }
    Ok(value)
}

/// The answer, if it is one to the request of this uid.
pub(super) fn verify(review: Value, version: Version, uid: &str, mutating: bool) -> Result<Answer, String> {
    let Some(response) = object::at(&review, &["response"]) else {
        return Err("webhook response was absent".to_owned());
    };
    if !response.is_object() {
        return Err("webhook response is no object".to_owned());
    }
    if version == Version::V1 {
        let own = object::text(response, &["uid"]);
        if own != uid {
            return Err(format!("expected response.uid={uid:?}, got {own:?}"));
        }
        let (api_version, kind) = (object::text(&review, &["apiVersion"]), object::text(&review, &["kind"]));
        if (api_version, kind) != (version.api_version(), "AdmissionReview") {
            let (group, of) = api_version.split_once('/').unwrap_or(("", api_version));
            return Err(format!(
                "expected webhook response of {}, Kind=AdmissionReview, got {group}/{of}, Kind={kind}",
                version.api_version()
            ));
        }
    }
    let texts = |field: &str| {
        object::list(response, &[field]).iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let annotations = object::entries(response, &["auditAnnotations"])
        .filter_map(|(key, value)| Some((key.to_owned(), value.as_str()?.to_owned())));
    Ok(Answer {
        allowed: object::at(response, &["allowed"]) == Some(&Value::Bool(true)),
        patch: patch(response, version, mutating)?,
        status: response.get("status").cloned().unwrap_or(Value::Null),
        warnings: texts("warnings"),
        annotations: annotations.collect(),
    })
}

fn patch(response: &Value, version: Version, mutating: bool) -> Result<Option<Vec<u8>>, String> {
    let (text, kind) = (object::text(response, &["patch"]), object::at(response, &["patchType"]));
    if version == Version::V1 {
        match (mutating, text, kind) {
            (false, "", None) => {}
            (false, "", Some(_)) => {
                return Err("validating webhook may not return response.patchType".to_owned());
            }
            (false, ..) => return Err("validating webhook may not return response.patch".to_owned()),
            (true, "", Some(_)) => {
                return Err("webhook returned response.patchType but not response.patch".to_owned());
            }
            (true, "", None) => {}
            (true, _, None) => {
                return Err("webhook returned response.patch but not response.patchType".to_owned());
            }
            (true, _, Some(kind)) => match kind.as_str() {
                Some("JSONPatch") => {}
                Some("") => return Err("webhook returned invalid response.patchType of \"\"".to_owned()),
                other => return Err(format!("unsupported patch type {:?}", other.unwrap_or_default())),
            },
        }
    }
    if text.is_empty() || !mutating {
        return Ok(None);
    }
    let undecodable = |why: String| format!("received undecodable patch in webhook response: {why}");
    let bytes = STANDARD.decode(text).map_err(|error| undecodable(error.to_string()))?;
    let (operations, _) = decoding::parse(&bytes).map_err(undecodable)?;
    match operations.as_array() {
        Some(list) if list.is_empty() => Ok(None),
        Some(_) => Ok(Some(bytes)),
        None => Err(undecodable("it is no list of operations".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn review(response: Value) -> Value {
        json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": response})
    }

    fn refused(review: Value, mutating: bool) -> String {
        verify(review, Version::V1, "u", mutating).unwrap_err()
    }

    #[test]
    fn rubbish_is_told_from_answers() {
        assert_eq!(
            read(b"hello").unwrap_err(),
            "couldn't get version/kind; json parse error: invalid character 'h' looking for beginning of value"
        );
        assert!(read(b"[]").is_err() && read(b"{\"kind\": 1}").is_err());
        assert_eq!(refused(json!({}), true), "webhook response was absent");
        assert_eq!(refused(review(json!({"uid": "v"})), true), "expected response.uid=\"u\", got \"v\"");
        assert_eq!(
            refused(json!({"response": {"uid": "u"}}), true),
            "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got /, Kind="
        );
    }

    #[test]
    fn a_patch_and_its_type_come_together_and_from_those_who_may_patch() {
        let patch = STANDARD.encode(r#"[{"op":"remove","path":"/a"}]"#);
        let both = json!({"uid": "u", "allowed": true, "patch": patch, "patchType": "JSONPatch"});
        assert!(verify(review(both.clone()), Version::V1, "u", true).unwrap().patch.is_some());
        assert_eq!(refused(review(both), false), "validating webhook may not return response.patch");
        let alone = review(json!({"uid": "u", "patch": patch}));
        assert_eq!(
            refused(alone.clone(), true),
            "webhook returned response.patch but not response.patchType"
        );
        assert!(verify(alone, Version::V1beta1, "other", true).unwrap().patch.is_some());
        let torn = review(json!({"uid": "u", "patch": STANDARD.encode("[{"), "patchType": "JSONPatch"}));
        assert!(refused(torn, true).starts_with("received undecodable patch in webhook response"));
    }
}
