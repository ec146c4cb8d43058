use super::*;
use crate::resource::{Scale, Scope, Subresource};
use crate::schema::{Node, Shape};

fn version(name: &str) -> Version {
    Version::new(name, Node::new(Shape::Any).into())
}

fn resource(group: &str, kind: &str, versions: Vec<Version>) -> Resource {
    let plural = format!("{}s", kind.to_lowercase());
    let verbs = ["create", "list", "get"].map(Into::into).to_vec();
    let first = versions[0].clone();
    Resource { verbs, versions, ..Resource::new(group, kind, &plural, Scope::Namespaced, first) }
}

fn served() -> Vec<Arc<Resource>> {
    let mut pod = version("v1");
    pod.status = true;
    pod.subresources.push(Subresource {
        name: "eviction".into(),
        kind: ("policy".into(), "v1".into(), "Eviction".into()),
        verbs: vec!["create".into()],
    });
    pod.subresources.push(Subresource {
        name: "binding".into(),
        kind: ("".into(), "v1".into(), "Binding".into()),
        verbs: vec!["create".into()],
    });
    let mut pods = resource("", "Pod", vec![pod]);
    pods.short_names.push("po".into());
    pods.categories.push("all".into());
    let mut deployment = version("v1");
    deployment.scale = Some(Scale {
        spec_replicas: ".spec.replicas".into(),
        status_replicas: ".status.replicas".into(),
        selector: None,
    });
    let mut hidden = version("v1beta1");
    hidden.served = false;
    let mut node = resource("", "Node", vec![version("v1")]);
    node.scope = Scope::Cluster;
    [
        resource(
            "zoo.example",
            "Cow",
            vec![version("v1alpha1"), version("v1"), version("v2beta1"), version("barn")],
        ),
        resource("art.example", "Painting", vec![version("v1")]),
        resource("batch", "Job", vec![version("v1")]),
        pods,
        node,
        resource("apps", "Deployment", vec![deployment, hidden]),
        resource("autoscaling", "Scaler", vec![version("v1"), version("v2")]),
    ]
    .map(Arc::new)
    .to_vec()
}

#[test]
fn versions_are_ordered_as_kubernetes_orders_them() {
    let mut names = [
        "foo1",
        "v1alpha2",
        "v1",
        "v10",
        "v2",
        "v11beta2",
        "v3beta1",
        "v12alpha1",
        "foo10",
        "v01",
        "v11alpha2",
    ];
    names.sort_by(|left, right| compare_versions(right, left));
    let expected = [
        "v10",
        "v2",
        "v1",
        "v11beta2",
        "v3beta1",
        "v12alpha1",
        "v11alpha2",
        "v1alpha2",
        "foo1",
        "foo10",
        "v01",
    ];
    assert_eq!(names, expected);
}

#[test]
fn the_groups_of_kubernetes_come_first_and_the_others_by_name() {
    let resources = served();
    let expected = ["apps", "autoscaling", "batch", "art.example", "zoo.example"];
    assert_eq!(groups(&resources, Root::Named), expected);
    assert_eq!(groups(&resources, Root::Core), [""]);
    let list = Directory::new(&resources).group_list();
    let names: Vec<_> =
        list["groups"].as_array().unwrap().iter().map(|group| group["name"].clone()).collect();
    assert_eq!(names, expected);
    assert_eq!(
        list["groups"][0]["versions"],
        json!([{"groupVersion": "apps/v1", "version": "v1"}]),
        "served alone"
    );
}

#[test]
fn a_group_names_the_version_it_prefers() {
    let resources = served();
    let expected = json!({
        "kind": "APIGroup", "apiVersion": "v1", "name": "autoscaling",
        "preferredVersion": {"groupVersion": "autoscaling/v2", "version": "v2"},
        "versions": [
            {"groupVersion": "autoscaling/v2", "version": "v2"}, {"groupVersion": "autoscaling/v1", "version": "v1"},
        ],
    });
    assert_eq!(Directory::new(&resources).group("autoscaling"), Some(expected));
    assert_eq!(Directory::new(&resources).group("nothing.example"), None);
    assert_eq!(versions(&resources, "zoo.example"), ["v1", "v2beta1", "v1alpha1", "barn"]);
}

#[test]
fn the_core_group_tells_its_versions_and_the_address() {
    let expected = json!({
        "kind": "APIVersions", "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": "127.0.0.1:6443"}],
    });
    assert_eq!(Directory::new(&served()).api_versions("127.0.0.1:6443"), expected);
}

#[test]
fn a_group_version_lists_resources_and_their_subresources() {
    let resources = served();
    let verbs = json!(["create", "get", "list"]);
    let expected = json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "v1",
        "resources": [
            {"name": "nodes", "singularName": "node", "namespaced": false, "kind": "Node", "verbs": verbs,
             "storageVersionHash": "XwShjMxG9Fs="},
            {"name": "pods", "singularName": "pod", "namespaced": true, "kind": "Pod", "verbs": verbs,
             "shortNames": ["po"], "categories": ["all"], "storageVersionHash": "xPOwRZ+Yhw8="},
            {"name": "pods/binding", "singularName": "", "namespaced": true, "kind": "Binding", "verbs": ["create"]},
            {"name": "pods/eviction", "singularName": "", "namespaced": true, "group": "policy", "version": "v1",
             "kind": "Eviction", "verbs": ["create"]},
            {"name": "pods/status", "singularName": "", "namespaced": true, "kind": "Pod",
             "verbs": ["get", "patch", "update"]},
        ],
    });
    assert_eq!(resource_list(&resources, "", "v1"), Some(expected));
    let apps = resource_list(&resources, "apps", "v1").unwrap();
    let scale = json!({
        "name": "deployments/scale", "singularName": "", "namespaced": true, "group": "autoscaling", "version": "v1",
        "kind": "Scale", "verbs": ["get", "patch", "update"],
    });
    assert_eq!(apps["resources"][1], scale);
    assert_eq!(resource_list(&resources, "apps", "v1beta1"), None, "not served");
}

#[test]
fn aggregated_discovery_holds_every_group_of_its_root() {
    let resources = served();
    let core = Directory::new(&resources).aggregated(Root::Core, DiscoveryVersion::V2);
    assert_eq!(core["apiVersion"], "apidiscovery.k8s.io/v2");
    assert_eq!(core["items"][0]["metadata"], json!({}));
    let pods = json!({
        "resource": "pods", "responseKind": {"group": "", "version": "", "kind": "Pod"}, "scope": "Namespaced",
        "singularResource": "pod", "verbs": ["create", "get", "list"], "shortNames": ["po"], "categories": ["all"],
        "subresources": [
            {"subresource": "binding", "responseKind": {"group": "", "version": "", "kind": "Binding"},
             "verbs": ["create"]},
            {"subresource": "eviction", "responseKind": {"group": "policy", "version": "v1", "kind": "Eviction"},
             "verbs": ["create"]},
            {"subresource": "status", "responseKind": {"group": "", "version": "", "kind": "Pod"},
             "verbs": ["get", "patch", "update"]},
        ],
    });
    assert_eq!(core["items"][0]["versions"][0]["resources"][1], pods);
    let named = Directory::new(&resources).aggregated(Root::Named, DiscoveryVersion::V2Beta1);
    assert_eq!(named["apiVersion"], "apidiscovery.k8s.io/v2beta1");
    let names: Vec<_> =
        named["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].clone()).collect();
    assert_eq!(names, ["apps", "autoscaling", "batch", "art.example", "zoo.example"]);
    let versions = named["items"][1]["versions"].as_array().unwrap();
    assert_eq!([&versions[0]["version"], &versions[1]["version"]], ["v2", "v1"]);
    assert_eq!(versions[0]["freshness"], "Current");
}

#[test]
fn what_rests_in_one_place_has_one_hash_in_all_its_versions() {
    let hash = |group: &str, version: &str, plural: &str| {
        let list = resource_list(crate::builtin::resources(), group, version).unwrap();
        let own = |one: &&Value| one["name"] == plural;
        list["resources"].as_array().unwrap().iter().find(own).unwrap().get("storageVersionHash").cloned()
    };
    assert_eq!(hash("apps", "v1", "deployments"), Some(json!("8aSe+NMegvE=")));
    assert_eq!(
        hash("autoscaling", "v1", "horizontalpodautoscalers"),
        hash("autoscaling", "v2", "horizontalpodautoscalers")
    );
    assert_eq!(hash("", "v1", "events"), hash("events.k8s.io", "v1", "events"));
    assert_eq!(hash("", "v1", "bindings"), None, "nothing of it rests anywhere");
    assert_eq!(hash("", "v1", "componentstatuses"), None);
}

#[test]
fn another_servers_version_stands_where_its_priority_says_and_before_an_own_one() {
    let resources = served();
    let foreign = |group: &str, version: &str, priority: (i64, i64), is_fresh| Foreign {
        group: group.into(),
        version: version.into(),
        priority: Priority::of(priority.0, priority.1),
        resources: Vec::new(),
        is_fresh,
    };
    let others = [
        foreign("far.example", "v1", (2_000, 10), true),
        foreign("zoo.example", "v1", (500, 200), false),
        foreign("last.example", "v1", (1, 1), true),
    ];
    let directory = Directory::new(&resources).with(&others);
    let named = directory.groups(Root::Named);
    let expected =
        ["apps", "autoscaling", "batch", "far.example", "art.example", "zoo.example", "last.example"];
    assert_eq!(named, expected);
    assert_eq!(directory.versions("zoo.example"), ["v1", "v2beta1", "v1alpha1", "barn"]);
    let document = directory.aggregated(Root::Named, DiscoveryVersion::V2);
    let zoo = &document["items"][5]["versions"];
    assert_eq!(zoo[0], json!({"version": "v1", "freshness": "Stale"}));
    assert_eq!(zoo[1]["resources"][0]["resource"], "cows");
    assert_eq!(directory.group("far.example").unwrap()["preferredVersion"]["groupVersion"], "far.example/v1");
    let index = directory.index();
    for path in ["/api/v1", "/apis/far.example/v1", "/apis/zoo.example", "/version"] {
        assert!(index["paths"].as_array().unwrap().iter().any(|own| own == path), "{path}");
    }
}
