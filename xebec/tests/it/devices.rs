//! Devices as users of a cluster of one machine have them: claimed by templates, given to one pod each, and never ready, since
//! the machine has no drivers.

use serde_json::Value;

use crate::cluster::{Cluster, until};

/// A class, and a template of claims for one of its devices.
const CLASS: &str = r#"
apiVersion: resource.k8s.io/v1
kind: DeviceClass
metadata: {name: gpu.example.com}
spec: {selectors: [{cel: {expression: "device.attributes['gpu.example.com'].year > 2020"}}]}
---
apiVersion: resource.k8s.io/v1
kind: ResourceClaimTemplate
metadata: {name: gpu}
spec: {spec: {devices: {requests: [{name: gpu, exactly: {deviceClassName: gpu.example.com}}]}}}
"#;

/// Two devices of which the class takes one.
const SLICE: &str = r#"
apiVersion: resource.k8s.io/v1
kind: ResourceSlice
metadata: {name: offered}
spec:
  driver: gpu.example.com
  nodeName: NODE
  pool: {name: NODE, generation: 1, resourceSliceCount: 1}
  devices:
  - {name: old, attributes: {year: {int: 2019}}}
  - {name: new, attributes: {year: {int: 2026}}}
"#;

const POD: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: NAME}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: c, image: localhost/tools/none:1, resources: {claims: [{name: gpu}]}}]
  resourceClaims: [{name: gpu, resourceClaimTemplateName: gpu}]
"#;

/// Why a pod waits for a place.
fn waits(cluster: &Cluster, pod: &str) -> Option<String> {
    let pod = cluster.get(&format!("pod {pod}"));
    let conditions = pod["status"]["conditions"].as_array()?;
    let told = conditions.iter().find(|own| own["type"] == "PodScheduled" && own["status"] == "False")?;
    told["message"].as_str().map(str::to_owned)
}

fn node_of(cluster: &Cluster, pod: &str) -> Option<String> {
    cluster.get(&format!("pod {pod}"))["spec"]["nodeName"].as_str().map(str::to_owned)
}

/// The claims by how many have devices.
fn allocated(cluster: &Cluster) -> usize {
    let claims = cluster.get("resourceclaims");
    let has = |claim: &&Value| claim["status"]["allocation"].is_object();
    claims["items"].as_array().into_iter().flatten().filter(has).count()
}

#[test]
fn a_device_is_given_to_one_pod_which_waits_for_its_driver() {
    let Some(cluster) = Cluster::start() else { return };
    cluster.apply(CLASS);
    cluster.apply(&POD.replace("NAME", "one"));
    until("the pod says what it waits for", || {
        waits(&cluster, "one")
            .filter(|why| why.contains(": 1 cannot allocate all claims. still not schedulable"))
    });
    let nodes = cluster.get("nodes");
    let node = nodes["items"][0]["metadata"]["name"].as_str().expect("a node").to_owned();
    cluster.apply(&SLICE.replace("NODE", &node));
    until("the pod has its place", || node_of(&cluster, "one"));
    let claims = cluster.get("resourceclaims");
    let given = &claims["items"][0]["status"]["allocation"]["devices"]["results"][0];
    assert_eq!((&given["device"], &given["pool"]), (&"new".into(), &node.into()));
    until("what is lacking is said", || {
        let events = cluster.get("events");
        let is_told = |event: &&Value| {
            event["reason"] == "FailedPrepareDynamicResources"
                && event["message"]
                    .as_str()
                    .is_some_and(|why| why.ends_with("DRA driver gpu.example.com is not registered"))
        };
        events["items"].as_array().into_iter().flatten().find(is_told).cloned()
    });
    // The device is taken until the pod that has it goes, and its claim with it.
    cluster.apply(&POD.replace("NAME", "two"));
    until("the other waits", || {
        waits(&cluster, "two").filter(|why| why.contains("cannot allocate all claims"))
    });
    assert_eq!((node_of(&cluster, "two"), allocated(&cluster)), (None, 1));
    cluster.kubectl("delete pod one");
    until("the other has its place", || node_of(&cluster, "two"));
    assert_eq!(allocated(&cluster), 1);
}
