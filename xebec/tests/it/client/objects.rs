//! Built-in objects: every verb, typed.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, Node, Service};
use kube::ResourceExt as _;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::core::params::ValidationDirective;
use kube::discovery::{Discovery, Scope, verbs};
use serde_json::json;

use super::*;

#[tokio::test]
async fn objects_are_made_read_replaced_and_deleted_with_optimistic_locks() {
    let (_cluster, client) = connect().await;
    let api = Api::<ConfigMap>::default_namespaced(client);
    let made = api.create(&PostParams::default(), &settings("one", "red")).await.expect("made");
    assert!(made.uid().is_some() && made.creation_timestamp().is_some());
    let again = api.create(&PostParams::default(), &settings("one", "blue")).await;
    assert_eq!(refusal(again).1, "AlreadyExists");

    let mut changed = api.get("one").await.expect("read");
    changed.data = Some([("colour".to_owned(), "green".to_owned())].into());
    let replaced = api.replace("one", &PostParams::default(), &changed).await.expect("replaced");
    assert_ne!(replaced.resource_version(), made.resource_version());
    assert_eq!(refusal(api.replace("one", &PostParams::default(), &changed).await).1, "Conflict");

    let dry = PostParams { dry_run: true, ..PostParams::default() };
    api.create(&dry, &settings("dry", "red")).await.expect("would be made");
    assert!(api.get_opt("dry").await.expect("answered").is_none());
    let named = ConfigMap {
        metadata: ObjectMeta { generate_name: Some("g-".to_owned()), ..Default::default() },
        ..Default::default()
    };
    let named = api.create(&PostParams::default(), &named).await.expect("made");
    assert!(named.name_any().len() > 2 && named.name_any().starts_with("g-"));

    api.delete("one", &DeleteParams::default()).await.expect("deleted");
    assert_eq!(refusal(api.get("one").await).1, "NotFound");
    assert_eq!(api.get_metadata_opt("one").await.expect("answered").map(|_| ()), None);
}

#[tokio::test]
async fn lists_are_selected_paged_and_deleted_together() {
    let (_cluster, client) = connect().await;
    let api = Api::<ConfigMap>::default_namespaced(client);
    for (at, colour) in ["red", "blue", "red", "blue", "red"].into_iter().enumerate() {
        api.create(&PostParams::default(), &settings(&format!("c{at}"), colour)).await.expect("made");
    }
    let red = ListParams::default().labels("colour=red");
    assert_eq!(api.list(&red).await.expect("a list").items.len(), 3);
    let other = ListParams::default().labels("colour in (blue, green)");
    assert_eq!(api.list_metadata(&other).await.expect("a list").items.len(), 2);
    let named = ListParams::default().fields("metadata.name=c3");
    assert_eq!(api.list(&named).await.expect("a list").items[0].name_any(), "c3");

    let mut names = Vec::new();
    let mut page = ListParams::default().labels("colour").limit(2);
    loop {
        let part = api.list(&page).await.expect("a page");
        assert!(part.items.len() <= 2);
        names.extend(part.items.iter().map(kube::ResourceExt::name_any));
        match part.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => break,
        }
    }
    assert_eq!(names, ["c0", "c1", "c2", "c3", "c4"]);

    api.delete_collection(&DeleteParams::default(), &red).await.expect("deleted");
    let left = api.list(&ListParams::default().labels("colour")).await.expect("a list");
    assert_eq!(left.items.iter().map(kube::ResourceExt::name_any).collect::<Vec<_>>(), ["c1", "c3"]);
}

fn shop(image: &str) -> Deployment {
    let object = json!({
        "metadata": {"name": "shop"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "shop"}},
            "template": {
                "metadata": {"labels": {"app": "shop"}},
                "spec": {"containers": [{"name": "main", "image": image}, {"name": "side", "image": "side:v1"}]},
            },
        },
    });
    serde_json::from_value(object).expect("a Deployment")
}

#[tokio::test]
async fn merge_strategic_and_json_patches_do_what_each_promises() {
    let (_cluster, client) = connect().await;
    let api = Api::<Deployment>::default_namespaced(client);
    api.create(&PostParams::default(), &shop("main:v1")).await.expect("made");
    let images = |deployment: &Deployment| {
        let spec = deployment.spec.template.spec.as_ref().expect("a pod");
        spec.containers.iter().filter_map(|own| own.image.clone()).collect::<Vec<_>>()
    };
    let parameters = PatchParams::default();
    let containers =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "main:v2"}]}}}});
    let strategic = api.patch("shop", &parameters, &Patch::Strategic(&containers)).await.expect("patched");
    assert_eq!(images(&strategic), ["main:v2", "side:v1"], "containers are merged by name");
    let merged = api.patch("shop", &parameters, &Patch::Merge(&containers)).await.expect("patched");
    assert_eq!(images(&merged), ["main:v2"], "a list is replaced");
    assert_eq!(merged.metadata.generation, Some(3));
    let labelled = json!({"metadata": {"labels": {"tier": "front"}}});
    let labelled = api.patch_metadata("shop", &parameters, &Patch::Merge(&labelled)).await.expect("patched");
    assert_eq!(labelled.labels()["tier"], "front");
    assert_eq!(labelled.metadata.generation, Some(3));
    let strict =
        PatchParams { field_validation: Some(ValidationDirective::Strict), ..PatchParams::default() };
    let wrong = api.patch("shop", &strict, &Patch::Merge(json!({"spec": {"replicaz": 1}}))).await;
    assert!(refusal(wrong).2.contains("replicaz"));
}

#[tokio::test]
async fn an_applied_field_is_its_managers_until_another_takes_it_by_force() {
    let (_cluster, client) = connect().await;
    let api = Api::<Deployment>::default_namespaced(client);
    let whole = |image: &str| {
        let mut deployment = shop(image);
        deployment.metadata.managed_fields = None;
        Patch::Apply(deployment)
    };
    api.patch("shop", &PatchParams::apply("alice"), &whole("main:v1")).await.expect("made by apply");
    let taken = api.patch("shop", &PatchParams::apply("bob"), &whole("main:v2")).await;
    let (code, reason, message) = refusal(taken);
    assert_eq!((code, &*reason), (409, "Conflict"));
    assert!(message.contains("alice") && message.contains("image"), "{message}");
    let forced =
        api.patch("shop", &PatchParams::apply("bob").force(), &whole("main:v2")).await.expect("by force");
    let managers: Vec<_> = forced.managed_fields().iter().filter_map(|own| own.manager.clone()).collect();
    assert!(managers.contains(&"alice".to_owned()) && managers.contains(&"bob".to_owned()), "{managers:?}");
}

#[tokio::test]
async fn scale_and_status_are_written_by_their_own_paths() {
    let (_cluster, client) = connect().await;
    let api = Api::<Deployment>::default_namespaced(client);
    let absent = shop("localhost/absent:v1");
    api.create(&PostParams::default(), &absent).await.expect("made");
    let parameters = PatchParams::default();
    let mut scale = api
        .patch_scale("shop", &parameters, &Patch::Merge(json!({"spec": {"replicas": 1}})))
        .await
        .expect("scaled");
    assert_eq!(scale.spec.as_ref().and_then(|spec| spec.replicas), Some(1));
    scale.spec.as_mut().expect("a spec").replicas = Some(0);
    scale.metadata.resource_version = None;
    api.replace_scale("shop", &PostParams::default(), &scale).await.expect("scaled");
    assert_eq!(api.get_scale("shop").await.expect("a scale").spec.and_then(|spec| spec.replicas), Some(0));
    assert_eq!(api.get("shop").await.expect("read").spec.replicas, Some(0));

    let condition = json!({"type": "Tested", "status": "True", "reason": "Test", "message": ""});
    let both = json!({"status": {"conditions": [condition]}, "spec": {"replicas": 7}});
    let told = api.patch_status("shop", &parameters, &Patch::Strategic(&both)).await.expect("told");
    let conditions = told.status.and_then(|status| status.conditions).unwrap_or_default();
    assert!(conditions.iter().any(|own| own.type_.as_deref() == Some("Tested")));
    assert_eq!(told.spec.replicas, Some(0), "the status path leaves the spec alone");
}

#[tokio::test]
async fn discovery_leads_to_every_kind() {
    let (_cluster, client) = connect().await;
    let version = client.apiserver_version().await.expect("a version");
    assert_eq!(version.major, "1");
    let legacy = Discovery::new(client.clone()).run().await.expect("the groups");
    let aggregated = Discovery::new(client.clone()).run_aggregated().await.expect("the groups at once");
    for found in [legacy, aggregated] {
        for (group, version, kind, scope) in [
            ("", "v1", "Pod", Scope::Namespaced),
            ("", "v1", "Node", Scope::Cluster),
            ("apps", "v1", "Deployment", Scope::Namespaced),
            ("gateway.networking.k8s.io", "v1", "HTTPRoute", Scope::Namespaced),
        ] {
            let kind = GroupVersionKind::gvk(group, version, kind);
            let (resource, can) = found.resolve_gvk(&kind).unwrap_or_else(|| panic!("{kind:?} is not found"));
            assert_eq!(can.scope, scope, "{kind:?}");
            assert!(can.supports_operation(verbs::WATCH), "{kind:?}");
            let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
            api.list(&ListParams::default().limit(1)).await.expect("a list");
        }
        let (_, can) = found.resolve_gvk(&GroupVersionKind::gvk("apps", "v1", "Deployment")).expect("found");
        assert!(can.subresources.iter().any(|(own, _)| own.plural.ends_with("scale")));
    }
    let services = Api::<Service>::default_namespaced(client.clone());
    assert!(services.get("kubernetes").await.expect("the API's own Service").spec.is_some());
    assert_eq!(
        Api::<Node>::all(client.clone()).list(&ListParams::default()).await.expect("nodes").items.len(),
        1
    );
    Api::<Namespace>::all(client).get("kube-system").await.expect("a namespace of the system");
}
