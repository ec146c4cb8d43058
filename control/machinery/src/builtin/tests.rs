use super::types::{Element, Types};
use super::*;
use crate::resource::Scope;
use crate::schema::{ListType, Shape};

const CONTAINER: &str = "io.k8s.api.core.v1.Container";

fn field<'a>(node: &'a Node, path: &str) -> &'a Node {
    path.split('.').fold(node, |node, name| match &node.shape {
        Shape::List { items, .. } => items.node().field(name).unwrap().node.node(),
        _ => node.field(name).unwrap_or_else(|| panic!("no {name}")).node.node(),
    })
}

#[test]
fn both_tables_are_sound() {
    let types = Types::read().unwrap();
    assert!(types.messages.len() > 550, "{}", types.messages.len());
    assert!(kinds::read().unwrap().len() > 50);
}

#[test]
fn no_message_uses_a_number_or_a_name_twice() {
    fn names<'a>(types: &'a Types, at: usize, found: &mut Vec<&'a str>) {
        for row in &types.messages[at].fields {
            match row.kind.of {
                Element::Message(inner) if row.json.is_empty() => names(types, inner, found),
                _ => found.push(row.json),
            }
        }
    }
    let types = types();
    for (at, message) in types.messages.iter().enumerate() {
        let mut numbers: Vec<u32> = message.fields.iter().map(|row| row.number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), message.fields.len(), "{}", message.name);
        let mut found = Vec::new();
        names(types, at, &mut found);
        let all = found.len();
        found.sort_unstable();
        found.dedup();
        assert_eq!(found.len(), all, "{}", message.name);
    }
}

#[test]
fn every_kind_has_its_shape_its_list_and_its_metadata() {
    for resource in resources() {
        let version = &resource.versions[0];
        let node = version.schema.node();
        assert!(matches!(node.shape, Shape::Struct { .. }), "{}", resource.kind);
        assert!(node.field("metadata").is_some(), "{}", resource.kind);
        assert_eq!(node.field("status").is_some() && version.status, version.status, "{}", resource.kind);
        if resource.verbs.iter().any(|verb| &**verb == "list") {
            let list = kind_node(&resource.group, &version.name, &resource.list_kind).unwrap();
            assert!(list.field("items").unwrap().required, "{}", resource.list_kind);
        }
    }
}

#[test]
fn names_of_resources_are_unique_within_their_group() {
    let mut names: Vec<_> = resources().iter().map(|r| (&r.group, &r.plural)).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), resources().len());
}

#[test]
fn a_pod_is_found_with_all_that_discovery_says_of_it() {
    let pod = find("", "pods").unwrap();
    assert_eq!((&*pod.kind, &*pod.singular, &*pod.list_kind), ("Pod", "pod", "PodList"));
    assert_eq!((pod.short_names.join(","), pod.categories.join(",")), ("po".into(), "all".into()));
    assert_eq!(pod.scope, Scope::Namespaced);
    let version = pod.version("v1").unwrap();
    assert!(version.status);
    let eviction = version.subresources.iter().find(|sub| &*sub.name == "eviction").unwrap();
    assert_eq!(eviction.kind, ("policy".into(), "v1".into(), "Eviction".into()));
    assert!(find("apps", "pods").is_none());
    let scale = find("apps", "deployments").unwrap().versions[0].scale.clone().unwrap();
    assert_eq!(&*scale.spec_replicas, ".spec.replicas");
}

#[test]
fn lists_know_their_keys_and_patch_strategies() {
    let container = type_node(CONTAINER).unwrap();
    let ports = container.field("ports").unwrap();
    assert_eq!(ports.patch.merge_key.as_deref(), Some("containerPort"));
    let Shape::List { list_type, items } = &ports.node.node().shape else { panic!("no list") };
    assert_eq!(*list_type, ListType::Map(vec!["containerPort".into(), "protocol".into()]));
    assert_eq!(items.node().field("protocol").unwrap().default, Some("TCP".into()));
    let strategy = type_node("io.k8s.api.apps.v1.DeploymentSpec").unwrap().field("strategy").unwrap();
    assert!(strategy.patch.retain_keys && !strategy.patch.merge);
    let args = container.field("args").unwrap();
    assert!(!args.patch.merge && !args.required);
    assert!(container.field("name").unwrap().required);
}

#[test]
fn fields_of_embedded_go_structs_stand_in_their_parent() {
    let pod = kind_node("", "v1", "Pod").unwrap();
    let volume = field(pod, "spec.volumes");
    assert!(matches!(field(volume, "hostPath.path").shape, Shape::String));
    let probe = field(pod, "spec.containers.livenessProbe");
    assert!(matches!(field(probe, "httpGet.port").shape, Shape::IntOrString));
    assert!(probe.field("periodSeconds").is_some());
}

#[test]
fn a_field_may_be_called_like_a_word_of_the_table() {
    let metric = type_node("io.k8s.api.autoscaling.v2.MetricSpec").unwrap();
    assert!(metric.field("object").is_some() && metric.field("resource").is_some());
}

#[test]
fn a_field_may_overrule_whether_its_type_is_one_value() {
    let reference = type_node("io.k8s.api.core.v1.ObjectReference").unwrap();
    assert!(matches!(reference.shape, Shape::Struct { atomic: true, .. }));
    let volume = type_node("io.k8s.api.core.v1.PersistentVolumeSpec").unwrap();
    assert!(matches!(field(volume, "claimRef").shape, Shape::Struct { atomic: false, .. }));
}

#[test]
fn recursive_types_come_back_to_themselves() {
    let props = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps";
    let node = type_node(props).unwrap();
    let Shape::Map { values, .. } = &node.field("properties").unwrap().node.node().shape else {
        panic!("no map")
    };
    assert!(std::ptr::eq(values.node(), node));
    assert_eq!(type_name(values), Some(props));
}

#[test]
fn options_belong_to_every_group_and_reviews_are_only_created() {
    assert!(kind_node("apps", "v1", "DeleteOptions").unwrap().field("preconditions").is_some());
    assert!(kind_node("", "v1", "Status").is_some());
    assert!(kind_node("autoscaling", "v1", "Scale").is_some());
    assert!(kind_node("apps", "v1", "Container").is_none());
    assert!(kind_node("nowhere", "v1", "DeleteOptions").is_none());
    assert_eq!(find("authentication.k8s.io", "tokenreviews").unwrap().verbs.join(","), "create");
}
