use super::*;
use crate::sample::{Sample, object as named, request};
use serde_json::json;

fn quota(name: &str, hard: Value, used: Value, more: Value) -> Value {
    let mut quota = named("default", name);
    quota["metadata"]["resourceVersion"] = json!("7");
    quota["spec"] = json!({"hard": hard});
    quota["spec"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    quota["status"] = json!({"hard": hard, "used": used});
    quota
}

fn pod(resources: Value) -> Value {
    json!({"metadata": {"name": "web"}, "spec": {"containers": [{"name": "c", "resources": resources}]}})
}

async fn charged(
    sample: &Sample,
    request: &Request,
    old: Option<&Value>,
    new: &Value,
) -> Result<Vec<Value>, String> {
    let stage = ResourceQuota::default();
    let case = Case { old, ..sample.case(request) };
    stage.validate(case, new).await.map_err(|status| status.message)?;
    Ok(sample.companions.objects().into_iter().map(|one| one.object()["status"]["used"].clone()).collect())
}

#[tokio::test]
async fn what_is_asked_for_is_charged_with_the_write() {
    let hard = json!({"pods": "2", "requests.cpu": "1"});
    let sample = Sample::with(
        "",
        "resourcequotas",
        [quota("q", hard, json!({"pods": "1", "requests.cpu": "250m"}), json!({}))],
    );
    let request = request(Operation::Create, "", "pods");
    let pod = pod(json!({"requests": {"cpu": "500m"}}));
    let used = charged(&sample, &request, None, &pod).await.unwrap();
    assert_eq!(used, [json!({"pods": "2", "requests.cpu": "750m"})]);
    let with = &sample.companions.objects()[0];
    assert_eq!(with.object()["metadata"]["resourceVersion"], "7", "it must still be what was judged");
}

#[tokio::test]
async fn too_much_is_refused_in_upstreams_words() {
    let hard = json!({"pods": "1", "requests.cpu": "1", "requests.memory": "1Gi"});
    let used = json!({"pods": "1", "requests.cpu": "750m", "requests.memory": "0"});
    let sample = Sample::with("", "resourcequotas", [quota("small", hard, used, json!({}))]);
    let request = request(Operation::Create, "", "pods");
    let new = pod(json!({"requests": {"cpu": "500m", "memory": "64Mi"}}));
    assert_eq!(
        charged(&sample, &request, None, &new).await.unwrap_err(),
        "pods \"web\" is forbidden: exceeded quota: small, requested: pods=1,requests.cpu=500m, used: \
         pods=1,requests.cpu=750m, limited: pods=1,requests.cpu=1"
    );
    assert_eq!(
        charged(&sample, &request, None, &pod(json!({}))).await.unwrap_err(),
        "pods \"web\" is forbidden: failed quota: small: must specify requests.cpu for: c; requests.memory for: c"
    );
}

#[tokio::test]
async fn a_quota_that_nobody_has_counted_yet_lets_nothing_in_by_guess() {
    let sample =
        Sample::with("", "resourcequotas", [quota("q", json!({"configmaps": "1"}), json!({}), json!({}))]);
    let request = request(Operation::Create, "", "configmaps");
    assert_eq!(
        charged(&sample, &request, None, &named("default", "a")).await.unwrap_err(),
        "configmaps \"a\" is forbidden: status unknown for quota: q, resources: configmaps"
    );
}

#[tokio::test]
async fn objects_are_counted_by_their_resource() {
    let hard = json!({"count/deployments.apps": "1"});
    let sample = Sample::with(
        "",
        "resourcequotas",
        [quota("q", hard, json!({"count/deployments.apps": "1"}), json!({}))],
    );
    let create = request(Operation::Create, "apps", "deployments");
    let refused = charged(&sample, &create, None, &named("default", "a")).await.unwrap_err();
    assert!(refused.ends_with("exceeded quota: q, requested: count/deployments.apps=1, used: count/deployments.apps=1, limited: count/deployments.apps=1"));
    let update = request(Operation::Update, "apps", "deployments");
    assert_eq!(charged(&sample, &update, None, &named("default", "a")).await, Ok(vec![]));
}

#[tokio::test]
async fn a_change_is_charged_for_what_it_adds() {
    let hard =
        json!({"requests.storage": "10Gi", "fast.storageclass.storage.k8s.io/requests.storage": "3Gi"});
    let used = json!({"requests.storage": "1Gi", "fast.storageclass.storage.k8s.io/requests.storage": "1Gi"});
    let sample = Sample::with("", "resourcequotas", [quota("q", hard, used, json!({}))]);
    let claim = |size: &str| json!({"metadata": {"name": "c"}, "spec": {"storageClassName": "fast", "resources": {"requests": {"storage": size}}}});
    let update = request(Operation::Update, "", "persistentvolumeclaims");
    let refused = charged(&sample, &update, Some(&claim("1Gi")), &claim("4Gi")).await.unwrap_err();
    assert!(refused.ends_with(
        "requested: fast.storageclass.storage.k8s.io/requests.storage=3Gi, used: \
         fast.storageclass.storage.k8s.io/requests.storage=1Gi, limited: fast.storageclass.storage.k8s.io/requests.storage=3Gi"
    ), "{refused}");
    let used = charged(&sample, &update, Some(&claim("1Gi")), &claim("2Gi")).await.unwrap();
    assert_eq!(used[0]["requests.storage"], "2Gi");
    assert_eq!(charged(&Sample::default(), &update, Some(&claim("2Gi")), &claim("1Gi")).await, Ok(vec![]));
}

#[tokio::test]
async fn scopes_choose_among_pods() {
    let full = |more: Value| {
        Sample::with("", "resourcequotas", [quota("q", json!({"pods": "0"}), json!({"pods": "0"}), more)])
    };
    let request = request(Operation::Create, "", "pods");
    let terms = |operator: &str, values: Value| json!({"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass", "operator": operator, "values": values}]}});
    let idle = pod(json!({}));
    let mut batch = pod(json!({"requests": {"cpu": "1"}}));
    batch["spec"]["activeDeadlineSeconds"] = json!(5);
    batch["spec"]["priorityClassName"] = json!("high");
    for (more, idle_fits, batch_fits) in [
        (json!({"scopes": ["Terminating"]}), true, false),
        (json!({"scopes": ["NotTerminating"]}), false, true),
        (json!({"scopes": ["BestEffort"]}), false, true),
        (json!({"scopes": ["NotBestEffort"]}), true, false),
        (terms("In", json!(["high"])), true, false),
        (terms("NotIn", json!(["high"])), false, true),
        (terms("DoesNotExist", json!([])), false, true),
        (json!({"scopes": ["CrossNamespacePodAffinity"]}), true, true),
    ] {
        let sample = full(more.clone());
        assert_eq!(charged(&sample, &request, None, &idle).await.is_ok(), idle_fits, "{more}");
        assert_eq!(charged(&sample, &request, None, &batch).await.is_ok(), batch_fits, "{more}");
    }
}

#[tokio::test]
async fn a_dry_run_is_judged_and_charges_nothing() {
    let hard = json!({"pods": "1"});
    let sample = Sample::with("", "resourcequotas", [quota("q", hard, json!({"pods": "0"}), json!({}))]);
    let request = Request { dry_run: true, ..request(Operation::Create, "", "pods") };
    assert_eq!(charged(&sample, &request, None, &pod(json!({}))).await, Ok(vec![]));
}
