use super::*;
use crate::sample::{Sample, object, request};

fn pod(spec: Value) -> Value {
    json!({"metadata": {"name": "web"}, "spec": spec})
}

async fn admitted(sample: &Sample, mut pod: Value) -> Result<Value, String> {
    let request = request(Operation::Create, "", "pods");
    let passes = Passes::default();
    let outcome = ServiceAccount.mutate(sample.case(&request), &mut pod, &passes).await;
    outcome.map(|()| pod).map_err(|status| status.message)
}

fn account(name: &str, more: Value) -> Value {
    let mut account = object("default", name);
    account.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    account
}

#[tokio::test]
async fn a_pod_runs_as_its_account_and_mounts_its_token() {
    let sample = Sample::with(
        "",
        "serviceaccounts",
        [account("default", json!({"imagePullSecrets": [{"name": "hub"}]}))],
    );
    let containers =
        json!([{"name": "a"}, {"name": "b", "volumeMounts": [{"name": "own", "mountPath": MOUNT_PATH}]}]);
    let pod = admitted(&sample, pod(json!({"containers": containers}))).await.unwrap();
    let spec = &pod["spec"];
    assert_eq!(spec["serviceAccountName"], "default");
    assert_eq!(spec["imagePullSecrets"], json!([{"name": "hub"}]));
    let volume = spec["volumes"][0]["name"].as_str().unwrap();
    assert!(volume.starts_with(VOLUME) && volume.len() == VOLUME.len() + 5, "{volume}");
    assert_eq!(spec["containers"][0]["volumeMounts"][0]["name"], volume);
    assert_eq!(spec["containers"][1]["volumeMounts"].as_array().unwrap().len(), 1);
    assert_eq!(spec["volumes"][0]["projected"]["sources"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn pod_and_account_can_do_without_the_token() {
    let quiet = Sample::with(
        "",
        "serviceaccounts",
        [account("default", json!({"automountServiceAccountToken": false}))],
    );
    let containers = json!([{"name": "a"}]);
    let without = admitted(&quiet, pod(json!({"containers": containers}))).await.unwrap();
    assert!(without["spec"].get("volumes").is_none());
    let spec = json!({"containers": containers, "automountServiceAccountToken": true});
    let with = admitted(&quiet, pod(spec)).await.unwrap();
    assert!(with["spec"].get("volumes").is_some(), "what the pod says counts for more");
}

#[tokio::test(start_paused = true)]
async fn an_account_that_is_not_there_is_told() {
    let sample = Sample::default();
    let named = pod(json!({"containers": [], "serviceAccountName": "robot"}));
    assert_eq!(
        admitted(&sample, named).await.unwrap_err(),
        "pods \"web\" is forbidden: error looking up service account default/robot: serviceaccount \"robot\" not found"
    );
    let before = tokio::time::Instant::now();
    assert!(admitted(&sample, pod(json!({"containers": []}))).await.is_err());
    assert!(before.elapsed() >= INTERVAL, "the default account may be about to be made");
}

#[tokio::test]
async fn an_account_can_limit_its_pods_to_its_secrets() {
    let mut strict = account("default", json!({"secrets": [{"name": "known"}]}));
    object::annotate(&mut strict, ENFORCE, "true");
    let sample = Sample::with("", "serviceaccounts", [strict]);
    let volume = |name: &str| json!({"name": "v", "secret": {"secretName": name}});
    let of = |name: &str| pod(json!({"containers": [{"name": "c"}], "volumes": [volume(name)]}));
    assert!(admitted(&sample, of("known")).await.is_ok());
    assert_eq!(
        admitted(&sample, of("other")).await.unwrap_err(),
        "pods \"web\" is forbidden: volume with secret.secretName=\"other\" is not allowed because service account \
         default does not reference that secret"
    );
    let env = json!([{"name": "E", "valueFrom": {"secretKeyRef": {"name": "other", "key": "k"}}}]);
    let refused =
        admitted(&sample, pod(json!({"containers": [{"name": "c", "env": env}]}))).await.unwrap_err();
    assert!(
        refused.contains("container c with envVar E referencing secret.secretName=\"other\""),
        "{refused}"
    );
}

#[tokio::test]
async fn a_mirror_pod_gets_nothing() {
    let mut mirror = pod(json!({"containers": [{"name": "c"}]}));
    object::annotate(&mut mirror, MIRROR, "x");
    assert_eq!(admitted(&Sample::default(), mirror.clone()).await.unwrap(), mirror);
    mirror["spec"]["serviceAccountName"] = json!("default");
    let refused = admitted(&Sample::default(), mirror).await.unwrap_err();
    assert!(refused.ends_with("a mirror pod may not reference service accounts"), "{refused}");
}
