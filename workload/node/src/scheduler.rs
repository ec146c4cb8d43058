//! Which pods run here. There is one node, so the question is only whether it takes a pod: its cordon and taints, the labels
//! that the pod asks for, room, and the volumes of its claims. The words are those of Kubernetes' own scheduler.

mod affinity;
mod claims;
mod devices;
mod load;
mod preemption;

use k8s_openapi::api::core::v1::{Binding, Node as NodeObject, ObjectReference, Pod, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;

use crate::agent::Node;
use crate::event::{Kind, Source, pod_reference};
use crate::taint::{NO_EXECUTE, NO_SCHEDULE, UNSCHEDULABLE, is_tolerated};

pub(crate) use affinity::admits;
pub(crate) use claims::{Plan, Storage, follow, take};
pub(crate) use devices::Devices;
pub(crate) use load::Load;
pub(crate) use preemption::{PREEMPTION, is_making_room, may_preempt, priority, victims};

const AFFINITY: &str = "node(s) didn't match Pod's node affinity/selector";
const PORTS: &str = "node(s) didn't have free ports for the requested pod ports";

/// Why the node does not take a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) message: String,
    /// The reason of the condition that tells it.
    pub(crate) reason: &'static str,
    /// Whether it would if other pods went.
    pub(crate) is_full: bool,
}

const UNHELPFUL: &str = "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.";

impl Refusal {
    /// What speaks against the pod, whatever the node.
    pub(crate) fn of_pod(reason: &str) -> Self {
        Self::new(reason, false)
    }

    /// What speaks against the node.
    pub(crate) fn of_node(reasons: &[impl AsRef<str>], is_full: bool) -> Self {
        let reasons: Vec<String> = reasons.iter().map(|reason| format!("1 {}", reason.as_ref())).collect();
        Self::new(&reasons.join(", "), is_full)
    }

    /// What speaks against the claims of devices of a pod, whatever the node.
    pub(crate) fn of_claims(reason: &str) -> Self {
        let rest = format!("no new claims to deallocate, {UNHELPFUL}");
        Self::told(format!("0/1 nodes are available: {reason}. {rest}"))
    }

    /// What speaks against the node's devices, and what was done about it.
    pub(crate) fn of_devices(reason: &str, done: &str) -> Self {
        Self::told(format!("0/1 nodes are available: 1 {reason}. {done}, {UNHELPFUL}"))
    }

    /// Nothing can be said of the pod, since something failed.
    pub(crate) fn of_failure(why: &str) -> Self {
        Self { reason: "SchedulerError", ..Self::told(why.to_owned()) }
    }

    fn told(message: String) -> Self {
        Self { message, reason: "Unschedulable", is_full: false }
    }

    fn new(reasons: &str, is_full: bool) -> Self {
        let preemption = if is_full {
            "1 No preemption victims found for incoming pod."
        } else {
            "1 Preemption is not helpful for scheduling."
        };
        let message =
            format!("0/1 nodes are available: {reasons}. preemption: 0/1 nodes are available: {preemption}");
        Self { is_full, ..Self::told(message) }
    }
}

/// Whether the node takes a pod beside what it has.
pub(crate) fn judge(pod: &Pod, node: &NodeObject, load: &Load) -> Result<(), Refusal> {
    let spec = node.spec.clone().unwrap_or_default();
    let cordon = Taint { key: UNSCHEDULABLE.to_owned(), effect: NO_SCHEDULE.to_owned(), ..Taint::default() };
    let hard = |taint: &&Taint| matches!(taint.effect.as_str(), NO_SCHEDULE | NO_EXECUTE);
    let (mut reasons, mut is_full) = (Vec::new(), false);
    if spec.unschedulable == Some(true) && !is_tolerated(pod, &cordon) {
        reasons.push("node(s) were unschedulable".to_owned());
    } else if let Some(taint) =
        spec.taints.iter().flatten().filter(hard).find(|taint| !is_tolerated(pod, taint))
    {
        let value = taint.value.as_deref().unwrap_or_default();
        reasons.push(format!("node(s) had untolerated taint {{{}: {value}}}", taint.key));
    } else if !affinity::matches(pod, node) {
        reasons.push(AFFINITY.to_owned());
    } else {
        let asked = Load::of(pod);
        if load.takes_ports_of(&asked) {
            reasons.push(PORTS.to_owned());
        }
        let there = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
        reasons.extend(load.lacks(&asked, there).into_iter().map(|(name, _)| match name.as_str() {
            "pods" => "Too many pods".to_owned(),
            name => format!("Insufficient {name}"),
        }));
        is_full = !reasons.is_empty();
    }
    if reasons.is_empty() {
        return Ok(());
    }
    Err(Refusal::of_node(&reasons, is_full))
}

/// Why the node's own agent does not run a pod that was put here by others: the reason and the words.
pub(crate) fn admit(pod: &Pod, node: &NodeObject, load: &Load) -> Result<(), (String, String)> {
    let predicate = |name: &str, why: &str| (name.to_owned(), format!("Predicate {name} failed: {why}"));
    if !affinity::matches(pod, node) {
        return Err(predicate("NodeAffinity", AFFINITY));
    }
    let asked = Load::of(pod);
    if load.takes_ports_of(&asked) {
        return Err(predicate("NodePorts", PORTS));
    }
    let there = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
    let Some((name, amounts)) = load.lacks(&asked, there).into_iter().next() else { return Ok(()) };
    // Processors are counted in thousandths.
    let factor = if name == "cpu" { 1000.0 } else { 1.0 };
    let [asked, used, there] = amounts.map(|amount| (amount * factor).round());
    let message = format!(
        "Node didn't have enough resource: {name}, requested: {asked}, used: {used}, capacity: {there}"
    );
    Err((format!("OutOf{name}"), message))
}

/// Tells the API that a pod does not run here.
pub(crate) async fn reject(node: &Node, pod: &Pod, reason: &str, message: &str) {
    node.events.note(Source::Kubelet, pod_reference(pod, None), Kind::Warning, "Failed", message.to_owned());
    let status =
        json!({"phase": "Failed", "reason": reason, "message": format!("Pod was rejected: {message}")});
    let patch = json!({"metadata": {"uid": pod.uid()}, "status": status});
    let pods: Api<Pod> = Api::namespaced(node.client.clone(), &pod.namespace().unwrap_or_default());
    let told = pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await;
    if let Err(error) = told {
        tracing::warn!(pod = pod.name_any(), %error, "cannot tell that a pod does not run here");
    }
}

/// Tells the API that a pod will get its place here once others have made room.
pub(crate) async fn nominate(node: &Node, pod: &Pod) {
    let patch = json!({"status": {"nominatedNodeName": node.options.name}});
    let pods: Api<Pod> = Api::namespaced(node.client.clone(), &pod.namespace().unwrap_or_default());
    let told = pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await;
    if let Err(error) = told {
        tracing::debug!(pod = pod.name_any(), %error, "cannot tell where a pod will get its place");
    }
}

/// Whether this scheduler is to decide about a pod, and there is nothing that it waits for.
pub(crate) fn is_ours(pod: &Pod) -> bool {
    let spec = pod.spec.as_ref();
    let scheduler = spec.and_then(|spec| spec.scheduler_name.as_deref());
    scheduler.is_none_or(|own| own == "default-scheduler")
}

pub(crate) fn is_gated(pod: &Pod) -> bool {
    pod.spec
        .as_ref()
        .is_some_and(|spec| spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty()))
}

/// Tells the API why a pod waits.
pub(crate) async fn refuse(node: &Node, pod: &Pod, reason: &str, message: &str) {
    let now = jiff::Timestamp::now();
    let old = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let told = |own: &k8s_openapi::api::core::v1::PodCondition| {
        own.type_ == "PodScheduled" && own.message.as_deref() == Some(message)
    };
    if old.into_iter().any(told) {
        return;
    }
    let now = Time(jiff::Timestamp::from_second(now.as_second()).unwrap_or(now));
    let condition = json!({"type": "PodScheduled", "status": "False", "reason": reason, "message": message,
        "lastTransitionTime": now});
    let patch = json!({"status": {"phase": "Pending", "conditions": [condition]}});
    let pods: Api<Pod> = Api::namespaced(node.client.clone(), &pod.namespace().unwrap_or_default());
    if let Err(error) =
        pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Strategic(patch)).await
    {
        tracing::debug!(pod = pod.name_any(), %error, "cannot tell why a pod waits");
    }
}

/// Puts a pod on this node. Tells whether it is there now.
pub(crate) async fn bind(node: &Node, pod: &Pod) -> bool {
    let namespace = pod.namespace().unwrap_or_default();
    let name = pod.name_any();
    let binding = Binding {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(namespace.clone()),
            uid: pod.uid(),
            ..ObjectMeta::default()
        },
        target: ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Node".to_owned()),
            name: Some(node.options.name.clone()),
            ..ObjectReference::default()
        },
    };
    let pods: Api<Pod> = Api::namespaced(node.client.clone(), &namespace);
    let bound: Result<serde_json::Value, _> =
        pods.create_subresource("binding", &name, &PostParams::default(), &binding).await;
    match bound {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => true,
        Err(error) => {
            tracing::warn!(pod = name, %error, "cannot put a pod on this node");
            false
        }
        Ok(_) => {
            let message = format!("Successfully assigned {namespace}/{name} to {}", node.options.name);
            let object = pod_reference(pod, None);
            node.events.note(Source::Scheduler, object, Kind::Normal, "Scheduled", message);
            true
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;

    fn pod(spec: serde_json::Value) -> Pod {
        serde_json::from_value(json!({"spec": spec})).unwrap_or_default()
    }

    fn node(spec: serde_json::Value) -> NodeObject {
        let allocatable = json!({"cpu": "2", "memory": "1Gi", "pods": "3"});
        serde_json::from_value(json!({
            "metadata": {"name": "edge", "labels": {"disk": "fast"}}, "spec": spec,
            "status": {"allocatable": allocatable},
        }))
        .unwrap_or_default()
    }

    fn why(pod: &Pod, node: &NodeObject, load: Load) -> String {
        judge(pod, node, &load).err().map(|refusal| refusal.message).unwrap_or_default()
    }

    #[test]
    fn a_cordon_and_taints_keep_out_who_does_not_tolerate_them() {
        let plain = pod(json!({"containers": []}));
        let cordoned = node(json!({"unschedulable": true}));
        assert_eq!(
            why(&plain, &cordoned, Load::default()),
            "0/1 nodes are available: 1 node(s) were unschedulable. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
        );
        let tainted = node(json!({"taints": [
            {"key": "soft", "effect": "PreferNoSchedule"}, {"key": "spot", "value": "yes", "effect": "NoSchedule"},
        ]}));
        assert!(
            why(&plain, &tainted, Load::default()).contains("1 node(s) had untolerated taint {spot: yes}.")
        );
        let brave = pod(json!({"containers": [], "tolerations": [{"operator": "Exists"}]}));
        assert_eq!(why(&brave, &tainted, Load::default()), "");
        assert_eq!(why(&brave, &cordoned, Load::default()), "");
    }

    #[test]
    fn a_full_node_says_what_it_lacks() {
        let greedy = pod(json!({"containers": [
            {"name": "a", "resources": {"requests": {"cpu": "1500m", "memory": "2Gi"}}},
        ]}));
        let mut used = Load::default();
        let own = pod(json!({"containers": [{"name": "a", "resources": {"requests": {"cpu": "1"}}}]}));
        (0..3).for_each(|_| used.add(&Load::of(&own)));
        assert!(
            why(&greedy, &node(json!({})), used)
                .contains(": 1 Too many pods, 1 Insufficient cpu, 1 Insufficient memory.")
        );
        let small = pod(json!({"containers": [{"name": "a"}]}));
        let mut used = Load::default();
        (0..2).for_each(|_| used.add(&Load::of(&greedy)));
        assert_eq!(why(&small, &node(json!({})), used), "", "who asks for nothing is always taken");
    }

    #[test]
    fn a_pod_that_others_put_here_is_judged_by_the_node_itself() {
        let port = json!({"containerPort": 80, "hostPort": 80});
        let one = pod(json!({"containers": [{"name": "a", "ports": [port]}]}));
        let there = node(json!({}));
        assert_eq!(admit(&one, &there, &Load::default()), Ok(()));
        let (reason, why) = admit(&one, &there, &Load::of(&one)).unwrap_err();
        assert_eq!(reason, "NodePorts");
        assert!(why.ends_with("node(s) didn't have free ports for the requested pod ports"), "{why}");
        let big = pod(json!({"containers": [{"name": "a", "resources": {"requests": {"cpu": "3"}}}]}));
        let (reason, why) = admit(&big, &there, &Load::default()).unwrap_err();
        assert_eq!(reason, "OutOfcpu");
        assert!(why.ends_with("resource: cpu, requested: 3000, used: 0, capacity: 2000"), "{why}");
    }
}
