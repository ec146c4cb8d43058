//! What is told of a platform that runs: its figures, and where its gateway is.

use crate::cluster::{Cluster, until};
use crate::demo::runs_containers;
use crate::running::{ended, xebec};

#[test]
fn the_demos_pods_are_measured_and_its_gateway_is_told_again_after_a_restart() {
    let Some(mut cluster) = Cluster::demo() else { return };
    let top = |what: &str| {
        let output = cluster.run(&format!("top {what} --no-headers"), "");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.success() && !text.is_empty()).then_some(text)
    };
    let node = until("the node's figures", || top("nodes"));
    assert!(node.contains('%'), "{node}");
    if runs_containers(&cluster) {
        let pods = until("the pods' figures", || top("pods"));
        assert!(pods.contains("hello-v2-") && pods.contains("Mi"), "{pods}");
        let one = pods.split_whitespace().next().unwrap();
        let path = format!("get --raw /apis/metrics.k8s.io/v1beta1/namespaces/default/pods/{one}");
        let told: serde_json::Value = serde_json::from_str(&cluster.kubectl(&path)).unwrap();
        assert_eq!((&told["kind"], &told["containers"][0]["name"]), (&"PodMetrics".into(), &"hello".into()));
    }

    let gateway = cluster.running().endpoint("gateway");
    cluster.restart_after("TERM");
    assert_eq!(cluster.running().endpoint("gateway"), gateway);
    let mut status = xebec();
    status.args(["status", "--data"]).arg(cluster.data());
    let status = ended(status);
    assert!(String::from_utf8_lossy(&status.stdout).contains(&gateway), "{status:?}");
}
