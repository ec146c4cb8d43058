use serde_json::json;

use super::*;

fn deployment(spec: Value) -> Result<Vec<String>, String> {
    check("apps", "v1", "Deployment", &json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": spec}))
}

#[test]
fn values_of_the_wrong_type_are_refused_in_the_words_of_go() {
    let pod = |container: Value| json!({"template": {"spec": {"containers": [container]}}});
    let cases = [
        (
            json!({"replicas": "3"}),
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            json!({"replicas": 1.5}),
            "json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            pod(json!({"env": [{"name": "A", "value": 1}]})),
            "json: cannot unmarshal number into Go struct field EnvVar.spec.template.spec.containers.env.value of \
             type string",
        ),
        (
            json!({"template": {"metadata": {"labels": {"a": 1}}}}),
            "json: cannot unmarshal number into Go struct field ObjectMeta.spec.template.metadata.labels of type \
             string",
        ),
        (
            json!({"template": {"spec": {"containers": {}}}}),
            "json: cannot unmarshal object into Go struct field PodSpec.spec.template.spec.containers of type \
             []v1.Container",
        ),
        (
            json!([]),
            "json: cannot unmarshal array into Go struct field Deployment.spec of type v1.DeploymentSpec",
        ),
        (
            pod(json!({"resources": {"limits": {"cpu": "much"}}})),
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
    ];
    for (spec, text) in cases {
        assert_eq!(deployment(spec), Err(text.to_owned()));
    }
    let secret = json!({"data": {"a": "?"}});
    assert_eq!(check("", "v1", "Secret", &secret), Err("illegal base64 data at input byte 0".into()));
    let status = unfit("v1", "Deployment", "why");
    assert_eq!(status.to_string(), r#"Deployment in version "v1" cannot be handled as a Deployment: why"#);
    assert_eq!(status.code(), 400);
}

#[test]
fn unknown_fields_are_found_wherever_they_are() {
    let spec = json!({"foo": 1, "template": {"spec": {"containers": [{}, {"imag": 1}], "nodeSelector": {"any": "x"}}}});
    let unknown = deployment(spec).unwrap();
    assert_eq!(
        unknown,
        [r#"unknown field "spec.foo""#, r#"unknown field "spec.template.spec.containers[1].imag""#]
    );
    assert_eq!(
        not_strict("v1", "Deployment", &unknown[..1]).to_string(),
        "Deployment in version \"v1\" cannot be handled as a Deployment: strict decoding error: unknown field \
         \"spec.foo\""
    );
}

#[test]
fn nulls_and_objects_of_any_kind_pass() {
    assert_eq!(deployment(json!({"replicas": null, "template": null})), Ok(vec![]));
    let revision =
        json!({"data": {"anything": [1]}, "metadata": {"managedFields": [{"fieldsV1": {"f:a": {}}}]}});
    assert_eq!(check("apps", "v1", "ControllerRevision", &revision), Ok(vec![]));
    let definition = json!({"spec": {"versions": [{"schema": {"openAPIV3Schema": {
        "items": [{"type": "string"}], "additionalProperties": false, "default": 3,
    }}}]}});
    assert_eq!(check("apiextensions.k8s.io", "v1", "CustomResourceDefinition", &definition), Ok(vec![]));
    assert_eq!(check("example.com", "v1", "Foo", &json!({"x": 1})), Ok(vec![]));
}

#[test]
fn doubled_fields_are_found_and_the_last_one_counts() {
    let text = br#"{"spec": {"a": [{"x": 1, "x": 2}], "b": 1}, "spec": {"b": 2}}"#;
    let (value, doubled) = parse(text).unwrap();
    assert_eq!(value, json!({"spec": {"b": 2}}));
    assert_eq!(doubled, [r#"duplicate field "spec.a[0].x""#, r#"duplicate field "spec""#]);
}

#[test]
fn json_is_read_as_deep_as_upstream_reads_it_and_no_deeper() {
    crate::sample::on_a_deep_stack(|| {
        let nested = |levels: usize, open: &str, close: &str| {
            format!("{}1{}", open.repeat(levels), close.repeat(levels))
        };
        for (open, close) in [("[", "]"), ("{\"a\":", "}"), ("[{\"a\":", "}]")] {
            let per = open.matches(['[', '{']).count();
            let text = nested(DEPTH_MAX / per, open, close);
            let (value, doubled) = parse(text.as_bytes()).unwrap();
            // Copied, compared, written and let go.
            let copy = value.clone();
            assert!(copy == value && doubled.is_empty());
            assert_eq!(copy.to_string(), text);
            assert!(own(copy.to_string().as_bytes()).unwrap() == value);
            let deeper = nested(DEPTH_MAX / per + 1, open, close);
            assert_eq!(parse(deeper.as_bytes()).unwrap_err(), "exceeded max depth");
        }
        let doubled = nested(200, "{\"a\":[", "]}").replace('1', r#"{"b": 1, "b": 2}"#);
        let (_, told) = parse(doubled.as_bytes()).unwrap();
        assert_eq!(told, [format!("duplicate field \"a[0].{}b\"", "a[0].".repeat(199))]);
    });
}

#[test]
fn what_is_no_json_is_refused() {
    for text in [&b"{"[..], b"", b"{} {}", b"nul", &[b'['; 100_000]] {
        assert!(parse(text).is_err());
    }
    let many = format!("{{{}\"a\":1}}", "\"a\":1,".repeat(1000));
    assert_eq!(parse(many.as_bytes()).unwrap().1.len(), FINDINGS_MAX);
}
