//! Claims as users of a cluster of one machine have them: data that outlives pods and processes, and goes when it is to.

use std::path::PathBuf;

use serde_json::Value;

use crate::busybox;
use crate::cluster::{Cluster, until};
use crate::running::installed;

const APPLETS: [&str; 4] = ["sh", "cat", "sleep", "touch"];

/// A set whose pod notes once when its volume was new.
const SET: &str = r#"
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      terminationGracePeriodSeconds: 0
      securityContext: {runAsUser: 1000, fsGroup: 1000}
      containers:
      - name: box
        image: localhost/tools/busybox:1
        command: [sh, -c, "[ -e /data/born ] || cat /proc/sys/kernel/random/uuid > /data/born; exec sleep 100000"]
        volumeMounts: [{name: data, mountPath: /data}]
        readinessProbe: {exec: {command: [cat, /data/born]}, periodSeconds: 1}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec:
      accessModes: [ReadWriteOnce]
      resources: {requests: {storage: 1Mi}}
"#;

/// A pod with a volume of its own, and one that waits for a claim that nobody made.
const PODS: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: own}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: box
    image: localhost/tools/busybox:1
    command: [sh, -c, "touch /scratch/file /part/file && exec sleep 100000"]
    volumeMounts: [{name: scratch, mountPath: /scratch}, {name: scratch, mountPath: /part, subPath: a/part}]
    readinessProbe: {exec: {command: [cat, /scratch/file, /scratch/a/part/file]}, periodSeconds: 1}
  volumes:
  - name: scratch
    ephemeral: {volumeClaimTemplate: {spec: {accessModes: [ReadWriteOncePod], resources: {requests: {storage: 1Mi}}}}}
---
apiVersion: v1
kind: Pod
metadata: {name: waiting}
spec:
  containers: [{name: box, image: localhost/tools/busybox:1}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: none}}]
"#;

/// A claim that no pod uses yet, and a quota that it leaves nothing of.
const CLAIM: &str = r#"
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: idle}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
"#;

fn start(test: &str) -> Option<Cluster> {
    if !installed("busybox") {
        return None;
    }
    if let Err(why) = xebec_container::check(&std::env::temp_dir()) {
        println!("skipped: {test}: {why}");
        return None;
    }
    let cluster = Cluster::start()?;
    let root = tempfile::tempdir().expect("a temporary directory");
    busybox::fill(root.path(), &APPLETS);
    busybox::build(&cluster, root.path());
    Some(cluster)
}

/// What the set's pod noted when its volume was new; a pod other than `old`.
fn born(cluster: &Cluster, old: &str) -> (String, String) {
    until("the set's pod to be ready", || {
        let pods = cluster.ready_pods_or_none("db")?;
        let uid = pods.first()?["metadata"]["uid"].as_str()?.to_owned();
        let read = cluster.run("exec db-0 -- cat /data/born", "");
        let text = String::from_utf8_lossy(&read.stdout).trim().to_owned();
        (uid != old && read.status.success() && !text.is_empty()).then_some((uid, text))
    })
}

fn directories(cluster: &Cluster) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(cluster.data().join("volumes")).expect("volumes have a place");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

fn told(cluster: &Cluster, reason: &str, text: &str) {
    until(&format!("an event that says {text:?}"), || {
        let events = cluster.get(&format!("events --field-selector reason={reason}"));
        let mut all = events["items"].as_array()?.iter();
        all.any(|event| event["message"].as_str().is_some_and(|message| message.contains(text))).then_some(())
    });
}

#[test]
fn data_outlives_pods_and_processes_and_goes_with_its_claim() {
    let Some(mut cluster) = start("data_outlives_pods_and_processes_and_goes_with_its_claim") else { return };
    cluster.apply(SET);
    let (pod, first) = born(&cluster, "");
    cluster.kubectl("delete pod db-0");
    let (_, again) = born(&cluster, &pod);
    assert_eq!(again, first);
    cluster.restart_after("KILL");
    assert_eq!(born(&cluster, "").1, first);
    cluster.restart_after("TERM");
    let (_, after) = born(&cluster, "");
    assert_eq!(after, first);

    let kept = directories(&cluster);
    assert_eq!(kept.len(), 1, "{kept:?}");
    let file = kept[0].join("born");
    assert_eq!(std::fs::read_to_string(&file).expect("the data is there").trim(), first);
    cluster.kubectl("delete pvc data-db-0 --wait=false");
    std::thread::sleep(std::time::Duration::from_secs(1));
    let claim = cluster.get("pvc data-db-0");
    assert_eq!(claim["status"]["phase"], "Bound");
    assert!(claim["metadata"]["deletionTimestamp"].is_string() && file.exists(), "it is in use: {claim}");
    cluster.kubectl("delete statefulset db");
    cluster.kubectl("wait --for=delete pvc/data-db-0 --timeout=60s");
    until("the directory to be gone", || directories(&cluster).is_empty().then_some(()));
    until("the volume to be gone", || {
        cluster.get("pv")["items"].as_array().is_some_and(Vec::is_empty).then_some(())
    });
}

#[test]
fn pods_have_volumes_of_their_own_and_say_what_they_wait_for() {
    let Some(cluster) = start("pods_have_volumes_of_their_own_and_say_what_they_wait_for") else { return };
    cluster.apply(PODS);
    cluster.kubectl("wait --for=condition=Ready pod/own --timeout=120s");
    let claim = cluster.get("pvc own-scratch");
    assert_eq!(claim["metadata"]["ownerReferences"][0]["name"], "own");
    assert_eq!(directories(&cluster).len(), 1);
    told(
        &cluster,
        "FailedScheduling",
        "0/1 nodes are available: persistentvolumeclaim \"none\" not found. preemption: ",
    );
    cluster.kubectl("delete pod own");
    cluster.kubectl("wait --for=delete pvc/own-scratch --timeout=60s");
    until("the directory to be gone", || directories(&cluster).is_empty().then_some(()));

    cluster.apply(CLAIM);
    told(&cluster, "WaitForFirstConsumer", "waiting for first consumer to be created before binding");
    let idle = cluster.get("pvc idle");
    assert_eq!(
        (&idle["status"]["phase"], &idle["spec"]["storageClassName"]),
        (&Value::from("Pending"), &Value::from("local-path"))
    );
    cluster.kubectl(
        "create quota storage --hard=requests.storage=1Mi,local-path.storageclass.storage.k8s.io/persistentvolumeclaims=5",
    );
    until("the quota to be counted", || {
        let used = cluster.get("quota storage")["status"]["used"]["requests.storage"].clone();
        (used == "1Mi").then_some(())
    });
    let refused = cluster.refused("apply -f -", &CLAIM.replace("idle", "second"));
    assert!(refused.contains("exceeded quota: storage, requested: requests.storage=1Mi"), "{refused}");
}
