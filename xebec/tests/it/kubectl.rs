//! What users do with kubectl, done with kubectl.

use std::collections::BTreeSet;

use crate::cluster::{Cluster, ask, name, until};

mod admission;
mod attachments;
mod objects;
mod streams;

/// A deployment of two pods and its service.
pub(crate) const HELLO: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata: {name: hello}
spec:
  replicas: 2
  selector: {matchLabels: {app: hello}}
  template:
    metadata: {labels: {app: hello}}
    spec:
      containers:
      - name: hello
        image: localhost/demo/hello:v1
        ports: [{containerPort: 8080}]
        env: [{name: GREETING, value: first}]
        readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: hello}
spec:
  selector: {app: hello}
  ports: [{port: 80, targetPort: 8080}]
"#;

/// A cluster in which the deployment has two ready pods.
fn with_hello() -> Option<Cluster> {
    let cluster = Cluster::start()?;
    cluster.apply(HELLO);
    cluster.rolled_out("hello");
    cluster.ready_pods("hello", 2);
    Some(cluster)
}

#[test]
fn an_applied_deployment_answers_at_every_pods_address_and_writes_logs() {
    let Some(cluster) = with_hello() else { return };
    let pods = cluster.ready_pods("hello", 2);
    for pod in &pods {
        let answer = ask(pod);
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.contains("first"), "{answer}");
        let logs = cluster.kubectl(&format!("logs {}", name(pod)));
        assert!(logs.lines().any(|line| line == "request /"), "{logs}");
    }
    assert!(cluster.get("service hello")["spec"]["clusterIP"].as_str().unwrap().starts_with("10.96."));
    let addresses: BTreeSet<_> = pods.iter().map(|pod| pod["status"]["podIP"].as_str().unwrap()).collect();
    until("both pods in the service's endpoint slice", || {
        let slices = cluster.get("endpointslices -l kubernetes.io/service-name=hello");
        let slices = slices["items"].as_array()?;
        let endpoints = slices.iter().filter_map(|slice| slice["endpoints"].as_array()).flatten();
        let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] == true);
        let found: BTreeSet<_> = ready.filter_map(|endpoint| endpoint["addresses"][0].as_str()).collect();
        (found == addresses).then_some(())
    });
}

#[test]
fn scaling_acts_in_both_directions() {
    let Some(cluster) = with_hello() else { return };
    for replicas in [3, 1] {
        cluster.kubectl(&format!("scale deployment/hello --replicas={replicas}"));
        cluster.rolled_out("hello");
        cluster.ready_pods("hello", replicas);
    }
}

#[test]
fn a_changed_environment_rolls_out_and_undo_brings_the_old_one_back() {
    let Some(cluster) = with_hello() else { return };
    let greeted = |greeting: &str| {
        cluster.rolled_out("hello");
        for pod in cluster.ready_pods("hello", 2) {
            let answer = ask(&pod);
            assert!(answer.contains(greeting), "{answer}");
        }
    };
    cluster.kubectl("set env deployment/hello GREETING=second");
    greeted("second");
    cluster.kubectl("rollout undo deployment/hello");
    greeted("first");
    let history = cluster.kubectl("rollout history deployment/hello");
    let revisions: Vec<_> = history.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(revisions.ends_with(&["2", "3"]), "{history}");
}

#[test]
fn a_deleted_pod_is_replaced() {
    let Some(cluster) = with_hello() else { return };
    let before = cluster.ready_pods("hello", 2);
    let lost = name(&before[0]);
    cluster.kubectl(&format!("delete pod {lost} --timeout=60s"));
    let after = cluster.ready_pods("hello", 2);
    assert!(after.iter().all(|pod| name(pod) != lost));
    assert!(after.iter().any(|pod| name(pod) == name(&before[1])), "the other pod was left alone");
}

#[test]
fn a_deleted_deployment_takes_its_pods_and_replica_sets_along() {
    let Some(cluster) = with_hello() else { return };
    cluster.kubectl("delete deployment hello --timeout=60s");
    until("no pods and no replica sets", || {
        cluster.get("pods,replicasets -l app=hello")["items"].as_array()?.is_empty().then_some(())
    });
}

#[test]
fn pods_that_a_deletion_orphans_go_on_serving() {
    let Some(cluster) = with_hello() else { return };
    let before = cluster.ready_pods("hello", 2);
    cluster.kubectl("delete deployment hello --cascade=orphan --timeout=60s");
    let orphan = &cluster.get("replicasets -l app=hello")["items"][0];
    assert!(orphan["metadata"]["ownerReferences"].as_array().is_none_or(Vec::is_empty), "{orphan}");
    assert!(before.iter().all(answers));
    cluster.kubectl("delete replicasets -l app=hello --cascade=foreground --timeout=60s");
    assert!(cluster.pods("hello").is_empty(), "a foreground deletion ends after its dependents");
}

#[test]
fn a_killed_process_comes_back_with_everything_on_the_same_data() {
    let Some(mut cluster) = with_hello() else { return };
    let uid = cluster.get("deployment hello")["metadata"]["uid"].clone();
    cluster.restart_after("KILL");
    assert_eq!(cluster.get("deployment hello")["metadata"]["uid"], uid);
    // What the store says of the pods may be older than the kill, so only an answer shows that they run again.
    until("two pods that answer", || {
        let pods = cluster.pods("hello");
        (pods.len() == 2 && pods.iter().all(answers)).then_some(())
    });
    cluster.kubectl("wait deployment/hello --for=condition=Available --timeout=60s");
    cluster.kubectl("scale deployment/hello --replicas=3");
    cluster.ready_pods("hello", 3);
}

#[test]
fn a_rollout_that_does_not_become_ready_leaves_the_old_pods_serving() {
    let Some(cluster) = with_hello() else { return };
    let before = cluster.ready_pods("hello", 2);
    cluster.kubectl("set image deployment/hello hello=localhost/demo/absent:v2");
    let waiting = until("a pod that waits for its image", || {
        let pods = cluster.pods("hello");
        let mut states = pods.iter().map(|pod| &pod["status"]["containerStatuses"][0]["state"]["waiting"]);
        states.find(|waiting| waiting["reason"] == "ErrImagePull").cloned()
    });
    assert!(waiting["message"].as_str().unwrap().contains("demo/absent:v2"), "{waiting}");
    assert!(!cluster.run("rollout status deployment/hello --timeout=2s", "").status.success());
    let serving: Vec<_> = before.iter().filter(|pod| answers(pod)).collect();
    assert_eq!(serving.len(), 2, "a surge comes before any old pod goes");
    cluster.kubectl("rollout undo deployment/hello");
    cluster.rolled_out("hello");
    cluster.ready_pods("hello", 2);
}

#[test]
fn a_pod_whose_probe_fails_runs_and_is_not_ready() {
    let Some(cluster) = Cluster::start() else { return };
    cluster.apply(&HELLO.replace("path: /,", "path: /nowhere,"));
    let pods = until("two running pods that were probed", || {
        let pods = cluster.pods("hello");
        let probed = |pod: &serde_json::Value| {
            pod["status"]["phase"] == "Running"
                && cluster.kubectl(&format!("logs {}", name(pod))).contains("request /nowhere")
        };
        (pods.len() == 2 && pods.iter().all(probed)).then_some(pods)
    });
    assert!(pods.iter().all(answers));
    let ready = &cluster.get("deployment hello")["status"]["readyReplicas"];
    assert!(ready.is_null() || *ready == 0, "{ready}");
}

#[test]
fn a_pods_environment_comes_from_configmaps_and_secrets() {
    let Some(cluster) = Cluster::start() else { return };
    cluster.kubectl("create configmap greeting --from-literal=text=mapped");
    cluster.kubectl("create secret generic version --from-literal=VERSION=hidden");
    let source = "env: [{name: GREETING, valueFrom: {configMapKeyRef: {name: greeting, key: text}}}]\n        \
                  envFrom: [{secretRef: {name: version}}]";
    cluster.apply(&HELLO.replace("env: [{name: GREETING, value: first}]", source));
    for pod in cluster.ready_pods("hello", 2) {
        let answer = ask(&pod);
        assert!(answer.contains("mapped hidden"), "{answer}");
    }
}

#[test]
fn it_ends_cleanly_while_pods_run() {
    let Some(cluster) = with_hello() else { return };
    assert_eq!(cluster.terminate(), Some(0));
}

fn answers(pod: &serde_json::Value) -> bool {
    let address = pod["status"]["podIP"].as_str();
    address.is_some_and(|address| std::net::TcpStream::connect((address, 8080)).is_ok())
        && ask(pod).starts_with("HTTP/1.1 200 ")
}
