//! API services (`apiregistration.k8s.io`): which server has which version of a group.

use serde_json::Value;

use super::names::{self, PORT};
use super::{given, invalid, number, required, text};
use crate::field::{FieldError, Path};
use crate::metadata::dns_label_1035;

/// An APIService.
pub(super) fn api_service(service: &Value, errors: &mut Vec<FieldError>) {
    let spec = service.get("spec").unwrap_or(&Value::Null);
    let (group, version) = (text(spec, "group"), text(spec, "version"));
    let name = service.get("metadata").map_or("", |metadata| text(metadata, "name"));
    let wanted = format!("{version}.{group}");
    if name != wanted {
        let at = Path::ROOT.child("metadata");
        let why = format!("must be `spec.version+\".\"+spec.group`: {}", Value::from(wanted));
        errors.push(FieldError::invalid(&at.child("name"), name, why));
    }
    let path = Path::ROOT.child("spec");
    if group.is_empty() && version != "v1" {
        let why = "only v1 may have an empty group and it better be legacy kube";
        errors.push(FieldError::required(&path.child("group"), why));
    }
    if !group.is_empty() {
        invalid(&path.child("group"), group, names::subdomain(group), errors);
    }
    invalid(&path.child("version"), version, dns_label_1035(version), errors);
    for (key, most) in [("groupPriorityMinimum", 20_000), ("versionPriority", 1_000)] {
        let value = number(spec, key).unwrap_or_default();
        if !(1..=most).contains(&value) {
            let why = format!("must be positive and less than {most}");
            errors.push(FieldError::invalid(&path.child(key), value, why));
        }
    }
    let bundle = given(spec, "caBundle").and_then(Value::as_str).filter(|bundle| !bundle.is_empty());
    let insecure = spec.get("insecureSkipTLSVerify") == Some(&Value::Bool(true));
    let Some(of) = given(spec, "service") else {
        if let Some(bundle) = bundle {
            let bytes = bundle.trim_end_matches('=').len() * 3 / 4;
            let why = "local APIServices may not have a caBundle";
            errors.push(FieldError::invalid(&path.child("caBundle"), format!("{bytes} bytes"), why));
        }
        if insecure {
            let why = "local APIServices may not have insecureSkipTLSVerify";
            errors.push(FieldError::invalid(&path.child("insecureSkipTLSVerify"), true, why));
        }
        return;
    };
    let at = path.child("service");
    required(of, "namespace", &at, errors);
    required(of, "name", &at, errors);
    let port = number(of, "port").unwrap_or_default();
    if !(1..=65_535).contains(&port) {
        errors.push(FieldError::invalid(&at.child("port"), port, format!("port is not valid: {PORT}")));
    }
    if insecure && bundle.is_some() {
        let why = "may not be true if caBundle is present";
        errors.push(FieldError::invalid(&path.child("insecureSkipTLSVerify"), true, why));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::validation::validate_create;
    use serde_json::json;

    fn judged(name: &str, spec: Value) -> Vec<String> {
        let object = json!({"metadata": {"name": name}, "spec": spec});
        let errors = validate_create("apiregistration.k8s.io", "v1", "APIService", &object);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_api_service_is_named_after_its_version_and_group() {
        let good =
            json!({"group": "a.example", "version": "v1", "groupPriorityMinimum": 10, "versionPriority": 10});
        assert_eq!(judged("v1.a.example", good.clone()), [""; 0]);
        assert_eq!(
            judged("x", good.clone()),
            [r#"metadata.name: Invalid value: "x": must be `spec.version+"."+spec.group`: "v1.a.example""#]
        );
        let with = |key: &str, value: Value| {
            let mut spec = good.clone();
            spec[key] = value;
            judged("v1.a.example", spec)
        };
        assert_eq!(
            with("groupPriorityMinimum", 20_001.into()),
            ["spec.groupPriorityMinimum: Invalid value: 20001: must be positive and less than 20000"]
        );
        assert_eq!(
            with("caBundle", "YWJj".into()),
            [r#"spec.caBundle: Invalid value: "3 bytes": local APIServices may not have a caBundle"#]
        );
        assert_eq!(
            with("service", json!({"name": "s", "port": 0})),
            [
                "spec.service.namespace: Required value",
                "spec.service.port: Invalid value: 0: port is not valid: must be between 1 and 65535, inclusive",
            ]
        );
    }

    #[test]
    fn whoever_names_an_authority_checks_certificates() {
        let spec = json!({
            "group": "a.example", "version": "v1", "groupPriorityMinimum": 10, "versionPriority": 10,
            "service": {"namespace": "n", "name": "s", "port": 443}, "caBundle": "YWJj", "insecureSkipTLSVerify": true,
        });
        assert_eq!(
            judged("v1.a.example", spec),
            ["spec.insecureSkipTLSVerify: Invalid value: true: may not be true if caBundle is present"]
        );
    }
}
