use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, json};

use super::*;
use crate::resource::{Scale, Scope};
use crate::schema::{Field, ListType, Node, PatchStrategy, Shape};

fn read(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

fn v3(group: &str, version: &str) -> Value {
    read(&Documents::new(builtin::resources()).v3(group, version).unwrap())
}

fn schema<'a>(document: &'a Value, name: &str) -> &'a Value {
    let found = &document["components"]["schemas"][name];
    assert!(!found.is_null(), "{name} is not defined");
    found
}

fn custom(node: Node) -> Arc<Resource> {
    let mut version = Version::new("v1", node.into());
    version.status = true;
    version.scale = Some(Scale {
        spec_replicas: ".spec.size".into(),
        status_replicas: ".status.size".into(),
        selector: None,
    });
    Arc::new(Resource {
        group: "stable.example.com".into(),
        kind: "CronTab".into(),
        list_kind: "CronTabList".into(),
        plural: "crontabs".into(),
        singular: "crontab".into(),
        short_names: Vec::new(),
        categories: Vec::new(),
        scope: Scope::Namespaced,
        verbs: ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
            .map(Into::into)
            .to_vec(),
        versions: vec![version],
        storage: "v1".into(),
        custom: true,
        conversion: crate::crd::Conversion::None,
        unconditional: false,
        made_by_put: false,
    })
}

fn field(name: &str, node: Node) -> Field {
    Field {
        name: name.into(),
        node: node.into(),
        required: false,
        patch: PatchStrategy::default(),
        default: None,
    }
}

fn structure(fields: Vec<Field>) -> Node {
    Node::new(Shape::Struct { fields, atomic: false, preserve_unknown: false })
}

/// Walks a document and collects what its keys `$ref` and `operationId` say.
fn collect(value: &Value, into: &mut BTreeMap<&'static str, Vec<String>>) {
    match value {
        Value::Object(fields) => {
            for key in ["$ref", "operationId"] {
                if let Some(Value::String(text)) = fields.get(key) {
                    into.entry(key).or_default().push(text.clone());
                }
            }
            fields.values().for_each(|value| collect(value, into));
        }
        Value::Array(items) => items.iter().for_each(|value| collect(value, into)),
        _ => {}
    }
}

/// Takes the descriptions out. (A field of that name is an object, and stays.)
fn forget_texts(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.retain(|name, value| name != "description" || !value.is_string());
        fields.values_mut().for_each(forget_texts);
    }
}

#[track_caller]
fn is_whole(document: &Value, definitions: &Map<String, Value>, prefix: &str) {
    let mut found = BTreeMap::new();
    // The type that describes schemas has a field of that name.
    collect(document, &mut found);
    for reference in &found["$ref"] {
        let name = reference.strip_prefix(prefix).unwrap();
        assert!(definitions.contains_key(name), "{reference} leads nowhere");
    }
    let ids = &found["operationId"];
    let unique: HashSet<_> = ids.iter().collect();
    assert_eq!(unique.len(), ids.len(), "two operations have one name");
}

#[test]
fn every_reference_leads_to_a_definition_and_every_operation_has_its_own_name() {
    let mut resources = builtin::resources().to_vec();
    resources.push(custom(structure(vec![])));
    let documents = Documents::new(&resources);
    let root = read(&documents.v3_root());
    let paths = root["paths"].as_object().unwrap();
    assert!(paths.len() > 15);
    for path in paths.keys() {
        let (group, version) = match path.strip_prefix("apis/") {
            Some(named) => named.split_once('/').unwrap(),
            None => ("", path.strip_prefix("api/").unwrap()),
        };
        let document = read(&documents.v3(group, version).unwrap());
        is_whole(&document, document["components"]["schemas"].as_object().unwrap(), "#/components/schemas/");
    }
    let document = read(&documents.v2());
    is_whole(&document, document["definitions"].as_object().unwrap(), "#/definitions/");
}

#[test]
fn a_document_is_the_same_until_its_own_group_version_changes() {
    let before = builtin::resources().to_vec();
    let mut after = before.clone();
    after.push(custom(structure(vec![])));
    let (before, after) = (Documents::new(&before), Documents::new(&after));
    let roots = [read(&before.v3_root()), read(&after.v3_root())];
    let url = |root: &Value, path: &str| {
        root["paths"][path]["serverRelativeURL"].as_str().unwrap_or_default().to_owned()
    };
    let apps = before.v3("apps", "v1").unwrap();
    let expected = format!("/openapi/v3/apis/apps/v1?hash={}", fingerprint(&apps));
    assert_eq!(url(&roots[0], "apis/apps/v1"), expected);
    assert_eq!(url(&roots[1], "apis/apps/v1"), expected);
    assert_eq!(url(&roots[0], "apis/stable.example.com/v1"), "");
    let first = url(&roots[1], "apis/stable.example.com/v1");
    let other = [custom(structure(vec![field("spec", Node::new(Shape::Any))]))];
    let second = url(&read(&Documents::new(&other).v3_root()), "apis/stable.example.com/v1");
    assert_ne!(first, second);
    assert_eq!(before.v3("apps", "v7"), None);
}

#[test]
fn a_type_says_how_patches_and_apply_merge_it() {
    let mut core = v3("", "v1");
    forget_texts(&mut core["components"]["schemas"]);
    let container = schema(&core, "io.k8s.api.core.v1.Container");
    assert_eq!(
        container["properties"]["ports"],
        json!({
            "type": "array", "items": {"allOf": [{"$ref": "#/components/schemas/io.k8s.api.core.v1.ContainerPort"}]},
            "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["containerPort", "protocol"],
            "x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": "containerPort",
        })
    );
    assert_eq!(container["required"], json!(["name"]));
    assert_eq!(container["properties"]["args"]["x-kubernetes-list-type"], "atomic");
    let pod = schema(&core, "io.k8s.api.core.v1.PodSpec");
    assert_eq!(pod["properties"]["volumes"]["x-kubernetes-patch-strategy"], "merge,retainKeys");
    assert_eq!(pod["properties"]["nodeSelector"]["x-kubernetes-map-type"], "atomic");
    let port = schema(&core, "io.k8s.api.core.v1.ContainerPort");
    assert_eq!(port["properties"]["protocol"], json!({"type": "string", "default": "TCP"}));
    assert_eq!(port["properties"]["containerPort"]["format"], "int32");
    let meta = schema(&core, "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
    assert_eq!(meta["properties"]["finalizers"]["x-kubernetes-list-type"], "set");
    assert_eq!(meta["properties"]["ownerReferences"]["x-kubernetes-patch-merge-key"], "uid");
    let selector = schema(&core, "io.k8s.api.core.v1.SecretKeySelector");
    assert_eq!(selector["x-kubernetes-map-type"], "atomic");
    assert_eq!(selector["properties"]["name"]["type"], "string", "the field of the reference within it");
    let time = schema(&core, "io.k8s.apimachinery.pkg.apis.meta.v1.Time");
    assert_eq!(time, &json!({"type": "string", "format": "date-time"}));
    let secret = schema(&core, "io.k8s.api.core.v1.Secret");
    assert_eq!(
        secret["properties"]["data"]["additionalProperties"],
        json!({"type": "string", "format": "byte"})
    );
    let kind = json!([{"group": "", "kind": "Secret", "version": "v1"}]);
    assert_eq!(secret["x-kubernetes-group-version-kind"], kind);
    assert!(schema(&core, "io.k8s.api.core.v1.SecretList")["properties"]["items"].is_object());
}

#[test]
fn an_operation_says_its_kind_and_what_it_takes() {
    let apps = v3("apps", "v1");
    let item = &apps["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"];
    let patch = &item["patch"];
    assert_eq!(patch["operationId"], "patchAppsV1NamespacedDeployment");
    assert_eq!(patch["x-kubernetes-action"], "patch");
    assert_eq!(
        patch["x-kubernetes-group-version-kind"],
        json!({"group": "apps", "kind": "Deployment", "version": "v1"})
    );
    let names = |operation: &Value| -> Vec<String> {
        let parameters = operation["parameters"].as_array().unwrap().iter();
        parameters.map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(patch), ["dryRun", "fieldManager", "fieldValidation", "force"]);
    assert!(patch["requestBody"]["content"]["application/strategic-merge-patch+json"].is_object());
    assert_eq!(names(item), ["name", "namespace", "pretty"]);
    let collection = &apps["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments"];
    for (method, id, action) in [
        ("get", "listAppsV1NamespacedDeployment", "list"),
        ("post", "createAppsV1NamespacedDeployment", "post"),
        ("delete", "deleteAppsV1CollectionNamespacedDeployment", "deletecollection"),
    ] {
        assert_eq!(collection[method]["operationId"], id);
        assert_eq!(collection[method]["x-kubernetes-action"], action);
    }
    let list = &collection["get"]["responses"]["200"]["content"];
    let expected = json!({"schema": {"$ref": "#/components/schemas/io.k8s.api.apps.v1.DeploymentList"}});
    assert_eq!(list["application/json;stream=watch"], expected);
    let everywhere = &apps["paths"]["/apis/apps/v1/deployments"]["get"]["operationId"];
    assert_eq!(everywhere, "listAppsV1DeploymentForAllNamespaces");
    let scale = &apps["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"]["get"];
    assert_eq!(scale["operationId"], "readAppsV1NamespacedDeploymentScale");
    assert_eq!(scale["x-kubernetes-group-version-kind"]["kind"], "Scale");
}

#[test]
fn subresources_of_pods_are_described_by_what_they_take() {
    let core = v3("", "v1");
    let pod = |part: &str| &core["paths"][format!("/api/v1/namespaces/{{namespace}}/pods/{{name}}/{part}")];
    let eviction = &pod("eviction")["post"];
    assert_eq!(eviction["operationId"], "createCoreV1NamespacedPodEviction");
    assert_eq!(
        eviction["requestBody"]["content"]["*/*"]["schema"]["$ref"],
        "#/components/schemas/io.k8s.api.policy.v1.Eviction"
    );
    let exec = &pod("exec")["get"];
    assert_eq!(exec["operationId"], "connectCoreV1GetNamespacedPodExec");
    assert_eq!(exec["x-kubernetes-action"], "connect");
    assert!(exec["parameters"].as_array().unwrap().iter().any(|one| one["name"] == "stdin"));
    let log = &pod("log")["get"];
    assert_eq!(log["operationId"], "readCoreV1NamespacedPodLog");
    assert!(log["parameters"].as_array().unwrap().iter().any(|one| one["name"] == "tailLines"));
    assert_eq!(log["responses"]["200"]["content"]["text/plain"]["schema"]["type"], "string");
    assert!(core["paths"]["/api/v1/namespaces/{name}/finalize"]["put"].is_object());
}

#[test]
fn a_custom_resource_is_described_by_what_its_definition_says() {
    let resources = [custom(structure(vec![]))];
    let given = json!({
        "type": "object", "description": "Runs things.", "required": ["spec"],
        "properties": {
            "metadata": {"type": "object"},
            "spec": {"type": "object", "properties": {
                "size": {"type": "integer", "minimum": 1, "nullable": true},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"a": {"type": "string"}}},
                "port": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]},
                "pod": {"type": "object", "x-kubernetes-embedded-resource": true},
            }},
        },
    });
    let published = |_: &Resource, version: &str| (version == "v1").then(|| given.clone());
    let documents = Documents::new(&resources).with_published(&published);
    let document = read(&documents.v3("stable.example.com", "v1").unwrap());
    let tab = schema(&document, "com.example.stable.v1.CronTab");
    let meta = json!({
        "description": "Standard object's metadata.",
        "allOf": [{"$ref": "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}],
    });
    assert_eq!(tab["properties"]["metadata"], meta);
    let metadata = schema(&document, "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
    for name in metadata["properties"].as_object().unwrap().keys() {
        assert!(metadata["properties"][name]["description"].is_string(), "nothing is said of {name}");
    }
    assert_eq!(tab["description"], "Runs things.");
    assert_eq!(tab["required"], json!(["spec"]));
    let spec = &tab["properties"]["spec"]["properties"];
    assert_eq!(spec["size"], json!({"type": "integer", "minimum": 1, "nullable": true}));
    assert_eq!(spec["port"]["anyOf"][1]["type"], "string");
    assert_eq!(spec["pod"]["properties"]["metadata"], meta);
    let kind = json!([{"group": "stable.example.com", "kind": "CronTab", "version": "v1"}]);
    assert_eq!(tab["x-kubernetes-group-version-kind"], kind);
    let list = schema(&document, "com.example.stable.v1.CronTabList");
    assert_eq!(list["x-kubernetes-group-version-kind"][0]["kind"], "CronTabList");
    let item = &document["paths"]["/apis/stable.example.com/v1/namespaces/{namespace}/crontabs/{name}"];
    assert!(item["patch"]["requestBody"]["content"]["application/merge-patch+json"].is_object());
    assert!(item["patch"]["requestBody"]["content"]["application/strategic-merge-patch+json"].is_null());

    // Version 2 can not say what may be of several types, and must not refuse what it does not know.
    let old = read(&documents.v2());
    let spec = &old["definitions"]["com.example.stable.v1.CronTab"]["properties"]["spec"]["properties"];
    assert_eq!(spec["size"], json!({"minimum": 1}));
    assert_eq!(spec["free"], json!({"x-kubernetes-preserve-unknown-fields": true}));
    assert_eq!(spec["port"], json!({"x-kubernetes-int-or-string": true}));
}

#[test]
fn a_custom_resource_whose_definition_is_not_at_hand_is_described_by_its_merge_model() {
    let names = Node::new(Shape::List {
        items: structure(vec![Field { required: true, ..field("key", Node::new(Shape::String)) }]).into(),
        list_type: ListType::Map(vec!["key".into()]),
    });
    let labels = Node::new(Shape::Map { values: Node::new(Shape::String).into(), atomic: true });
    let mut size = field("size", Node { shape: Shape::IntOrString, nullable: true });
    size.default = Some(json!(3));
    let spec = structure(vec![field("names", names), field("labels", labels), size]);
    let resources = [custom(structure(vec![field("metadata", Node::new(Shape::Any)), field("spec", spec)]))];
    let document = read(&Documents::new(&resources).v3("stable.example.com", "v1").unwrap());
    let tab = schema(&document, "com.example.stable.v1.CronTab");
    assert!(tab["properties"]["metadata"]["allOf"].is_array());
    assert_eq!(
        tab["properties"]["spec"],
        json!({"type": "object", "properties": {
            "names": {
                "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["key"],
                "items": {"type": "object", "required": ["key"], "properties": {"key": {"type": "string"}}},
            },
            "labels": {"type": "object", "additionalProperties": {"type": "string"}, "x-kubernetes-map-type": "atomic"},
            "size": {"x-kubernetes-int-or-string": true, "nullable": true, "default": 3},
        }})
    );
    let untyped = [custom(Node::new(Shape::Any))];
    let document = read(&Documents::new(&untyped).v3("stable.example.com", "v1").unwrap());
    let tab = schema(&document, "com.example.stable.v1.CronTab");
    assert_eq!(tab["type"], "object");
    assert_eq!(tab["properties"]["kind"]["type"], "string");
}

#[test]
fn version_two_says_the_same_in_its_own_form() {
    let document = read(&Documents::new(builtin::resources()).v2());
    assert_eq!(document["swagger"], "2.0");
    let ports = &document["definitions"]["io.k8s.api.core.v1.Container"]["properties"]["ports"];
    assert_eq!(ports["items"], json!({"$ref": "#/definitions/io.k8s.api.core.v1.ContainerPort"}));
    assert_eq!(ports["x-kubernetes-patch-merge-key"], "containerPort");
    let mut quantity = document["definitions"]["io.k8s.apimachinery.pkg.api.resource.Quantity"].clone();
    forget_texts(&mut quantity);
    assert_eq!(quantity, json!({"type": "string"}));
    let patch = &document["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]["patch"];
    assert_eq!(patch["parameters"][0]["in"], "body");
    assert_eq!(
        patch["parameters"][1],
        json!({"name": "dryRun", "in": "query", "type": "string", "uniqueItems": true})
    );
    assert_eq!(patch["responses"]["200"]["schema"]["$ref"], "#/definitions/io.k8s.api.core.v1.Pod");
    let log = &document["paths"]["/api/v1/namespaces/{namespace}/pods/{name}/log"]["get"];
    assert_eq!(log["produces"], json!(["text/plain"]));
}

#[test]
fn documents_say_what_types_and_fields_are_for() {
    let apps = v3("apps", "v1");
    let deployment = schema(&apps, "io.k8s.api.apps.v1.Deployment");
    assert!(deployment["description"].is_string());
    let spec = schema(&apps, "io.k8s.api.apps.v1.DeploymentSpec");
    let strategy = &spec["properties"]["strategy"];
    assert!(strategy["description"].is_string() && strategy["allOf"].is_array(), "{strategy}");
    let time = schema(&apps, "io.k8s.apimachinery.pkg.apis.meta.v1.Time");
    assert!(time["description"].is_string());
    let old = read(&Documents::new(builtin::resources()).v2());
    let old = &old["definitions"]["io.k8s.api.apps.v1.DeploymentSpec"]["properties"]["strategy"];
    assert_eq!(old["description"], strategy["description"]);
    // A field of a type that stands within another is described where it shows.
    let networking = v3("networking.k8s.io", "v1");
    let rule = schema(&networking, "io.k8s.api.networking.v1.IngressRule");
    assert!(rule["properties"]["http"]["description"].is_string(), "{rule}");
}
