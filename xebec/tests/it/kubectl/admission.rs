//! What is let in, and how changed: quotas, limits, pod security, policies and the accounts of pods.

use crate::cluster::{Cluster, until};

use super::HELLO;

#[test]
fn a_quota_holds_back_a_deployments_pods_and_lets_them_in_when_it_grows() {
    let Some(cluster) = Cluster::start() else { return };
    cluster.kubectl("create quota few --hard=pods=1,count/configmaps=1");
    until("the quota to be counted", || {
        let quota = cluster.get("quota few");
        (quota["status"]["used"]["pods"] == "0").then_some(())
    });
    cluster.apply(HELLO);
    cluster.ready_pods("hello", 1);
    let told = until("the ReplicaSet to tell of it", || {
        let events = cluster
            .kubectl("get events --field-selector reason=FailedCreate -o jsonpath={.items[*].message}");
        (!events.is_empty()).then_some(events)
    });
    let why = "exceeded quota: few, requested: pods=1, used: pods=1, limited: pods=1";
    assert!(told.contains(why), "{told}");
    let described = cluster.kubectl("describe quota few");
    assert!(described.contains("pods"), "{described}");
    let refused = cluster.refused("create configmap more", "");
    assert!(refused.contains("exceeded quota: few, requested: count/configmaps=1"), "{refused}");
    cluster.kubectl("patch quota few --type=merge -p {\"spec\":{\"hard\":{\"pods\":\"4\"}}}");
    cluster.ready_pods("hello", 2);
}

#[test]
fn a_namespace_enforces_a_level_of_pod_security_and_warns_of_it() {
    let Some(cluster) = Cluster::start() else { return };
    cluster.kubectl("create namespace strict");
    let labels = "pod-security.kubernetes.io/enforce=baseline pod-security.kubernetes.io/warn=restricted";
    cluster.kubectl(&format!("label namespace strict {labels}"));
    let pod = |name: &str, more: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}}}\nspec: {{{more}containers: [{{name: c, image: localhost/demo/hello:v1}}]}}\n"
        )
    };
    let refused = cluster.refused("apply -n strict -f -", &pod("bad", "hostNetwork: true, "));
    let why =
        "pods \"bad\" is forbidden: violates PodSecurity \"baseline:latest\": host namespaces (hostNetwork)";
    assert!(refused.contains(why), "{refused}");
    let output = cluster.run("apply -n strict -f -", &pod("fine", ""));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    assert!(
        told.contains(
            "Warning: would violate PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false"
        ),
        "{told}"
    );
    let output =
        cluster.run("label --overwrite namespace strict pod-security.kubernetes.io/enforce=restricted", "");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("existing pods in namespace \"strict\" violate the new PodSecurity enforce level \"restricted:latest\""), "{told}");
    let refused =
        cluster.refused("label --overwrite namespace strict pod-security.kubernetes.io/warn=much", "");
    assert!(refused.contains("must be one of privileged, baseline, restricted"), "{refused}");
}

#[test]
fn a_pod_has_its_accounts_token_and_the_certificate_of_the_api() {
    let Some(cluster) = Cluster::start() else { return };
    cluster.apply(HELLO);
    let pods = cluster.ready_pods("hello", 2);
    let spec = &pods[0]["spec"];
    assert_eq!(spec["serviceAccountName"], "default");
    let volume = spec["volumes"][0]["name"].as_str().unwrap();
    assert!(volume.starts_with("kube-api-access-"), "{volume}");
    assert_eq!(
        spec["containers"][0]["volumeMounts"][0]["mountPath"],
        "/var/run/secrets/kubernetes.io/serviceaccount"
    );
    let map = cluster.get("configmap kube-root-ca.crt");
    assert!(map["data"]["ca.crt"].as_str().unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
}

#[test]
fn a_policy_refuses_what_kubectl_applies() {
    let Some(cluster) = Cluster::start() else { return };
    cluster.apply(
        r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: few-replicas}
spec:
  matchConstraints:
    resourceRules:
    - {apiGroups: [apps], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [deployments, deployments/scale]}
  validations:
  - expression: object.spec.replicas <= 2
    messageExpression: "'no more than two, not ' + string(object.spec.replicas)"
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: few-replicas}
spec: {policyName: few-replicas, validationActions: [Deny]}
"#,
    );
    cluster.apply(HELLO);
    let refused = cluster.refused("scale deployment hello --replicas=3", "");
    let why = "ValidatingAdmissionPolicy 'few-replicas' with binding 'few-replicas' denied request: no more than two, not 3";
    assert!(refused.contains(why), "{refused}");
    let refused = cluster.refused("apply -f -", &HELLO.replace("replicas: 2", "replicas: 5"));
    assert!(refused.contains("no more than two, not 5"), "{refused}");
}
