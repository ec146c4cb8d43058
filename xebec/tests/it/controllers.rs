//! The controllers on a cluster that another process serves, under an account that may do no more than they need.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::cluster::{Cluster, until};
use crate::kubectl::HELLO;
use crate::running::{installed, output_of, xebec};

const ACCOUNT: &str = "system:serviceaccount:kube-system:xebec-controllers";

/// A process that stands for the lease.
struct Standing {
    child: Child,
    log: PathBuf,
}

impl Standing {
    fn start(kubeconfig: &Path, certificates: &Path, log: PathBuf) -> Self {
        let file = fs::File::create(&log).expect("a log");
        let mut command = xebec();
        command.arg("controllers").arg("--kubeconfig").arg(kubeconfig).arg("--root-ca").arg(certificates);
        command.env("RUST_LOG", "info,xebec_controllers=debug");
        let child = command.stdout(Stdio::null()).stderr(file).spawn().expect("the binary starts");
        Self { child, log }
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).expect("the log is text")
    }

    fn leads(&self) -> bool {
        self.log().contains("this process leads")
    }

    fn end_with(&mut self, signal: &str) -> Option<i32> {
        let pid = self.child.id().to_string();
        let sent = std::process::Command::new("kill").args([&format!("-{signal}"), &pid]).status();
        assert!(sent.expect("kill runs").success());
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the log of the controllers:\n{}", self.log());
        }
    }
}

/// A kubeconfig that knows the same API as the administrator's, and only the account's token.
fn kubeconfig_of_the_account(cluster: &Cluster, folder: &Path) -> PathBuf {
    let admin: Value =
        serde_json::from_str(&cluster.kubectl("config view --raw -o json")).expect("kubectl prints JSON");
    let token = cluster.kubectl("create token xebec-controllers -n kube-system");
    let own = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "own",
        "clusters": [{"name": "own", "cluster": admin["clusters"][0]["cluster"]}],
        "users": [{"name": "own", "user": {"token": token.trim()}}],
        "contexts": [{"name": "own", "context": {"cluster": "own", "user": "own"}}],
    });
    let path = folder.join("account.kubeconfig");
    fs::write(&path, own.to_string()).expect("the kubeconfig is written");
    path
}

#[test]
fn controllers_work_on_a_cluster_of_others_with_no_more_rights_than_they_need() {
    if !installed("kubectl") {
        return;
    }
    let cluster = Cluster::started(&["up", "--without", "controllers"]);
    cluster.apply(HELLO);
    let folder = TempDir::new().expect("a temporary directory");
    let roles = output_of(&["controllers", "--print-rbac"]);
    cluster.apply(&String::from_utf8(roles.stdout).expect("text"));
    let may = |what: &str| cluster.run(&format!("auth can-i {what} --as {ACCOUNT}"), "").status.success();
    assert!(may("create pods") && may("patch deployments --subresource status"));
    for refused in ["create secrets", "create clusterroles", "update pods", "create pods --subresource exec"]
    {
        assert!(!may(refused), "the account may {refused}");
    }
    assert!(cluster.pods("hello").is_empty(), "nobody makes pods yet");

    let kubeconfig = kubeconfig_of_the_account(&cluster, folder.path());
    let certificates = cluster.data().join("ca.crt");
    let mut first = Standing::start(&kubeconfig, &certificates, folder.path().join("first.log"));
    until("the first to lead", || first.leads().then_some(()));
    let mut second = Standing::start(&kubeconfig, &certificates, folder.path().join("second.log"));
    cluster.rolled_out("hello");
    cluster.ready_pods("hello", 2);

    // What they make, keep, count and take away.
    cluster.kubectl("create namespace shop");
    cluster.kubectl("create quota all -n shop --hard=count/configmaps=5");
    cluster.kubectl("create configmap prices -n shop");
    cluster.kubectl("create cronjob tick -n shop --image=a:1 --schedule=@hourly");
    cluster.kubectl("create job once -n shop --from=cronjob/tick");
    cluster.apply(
        r#"
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: shop}
spec:
  serviceName: db
  selector: {matchLabels: {app: db}}
  template: {metadata: {labels: {app: db}}, spec: {containers: [{name: db, image: "a:1"}]}}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent, namespace: shop}
spec:
  selector: {matchLabels: {app: agent}}
  template: {metadata: {labels: {app: agent}}, spec: {containers: [{name: agent, image: "a:1"}]}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: db, namespace: shop}
spec: {maxUnavailable: 1, selector: {matchLabels: {app: db}}}
"#,
    );
    until("the quota to count that and the certificates", || {
        (cluster.get("quota all -n shop")["status"]["used"]["count/configmaps"] == "2").then_some(())
    });
    for made in ["pod/db-0", "pvc/data-db-0", "pods -l job-name=once", "pods -l app=agent"] {
        until(made, || {
            let found = cluster.run(&format!("get {made} -n shop -o name"), "");
            (!found.stdout.is_empty()).then_some(())
        });
    }
    until("the budget to count", || {
        (cluster.get("pdb db -n shop")["status"]["expectedPods"] == 1).then_some(())
    });
    cluster.kubectl("delete namespace shop --timeout=90s");

    assert!(!second.leads(), "{}", second.log());
    first.end_with("KILL");
    until("the second to lead", || second.leads().then_some(()));
    cluster.kubectl("scale deployment hello --replicas=3");
    cluster.ready_pods("hello", 3);
    cluster.kubectl("delete deployment hello");
    until("the pods to go with their deployment", || cluster.pods("hello").is_empty().then_some(()));

    assert_eq!(second.end_with("TERM"), Some(0));
    let third = Standing::start(&kubeconfig, &certificates, folder.path().join("third.log"));
    until("the third to lead at once", || third.leads().then_some(()));
    for log in [first.log(), second.log(), third.log()] {
        assert!(!log.contains("\" cannot "), "a right is missing: {log}");
    }
}

#[test]
fn a_cluster_that_does_not_answer_is_named() {
    let folder = TempDir::new().expect("a temporary directory");
    let missing = folder.path().join("none");
    let output = output_of(&["controllers", "--kubeconfig", &missing.to_string_lossy()]);
    let error = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("the kubeconfig") && error.contains("none"), "{error}");

    let path = folder.path().join("kubeconfig");
    let nobody = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "a",
        "clusters": [{"name": "a", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "a", "user": {}}],
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
    });
    fs::write(&path, nobody.to_string()).expect("the kubeconfig is written");
    let output = output_of(&["controllers", "--kubeconfig", &path.to_string_lossy()]);
    let error = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains("the API at https://127.0.0.1:1/ does not answer"), "{error}");
}
