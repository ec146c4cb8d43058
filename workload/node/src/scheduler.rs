//! Which pods run here. There is one node, so the question is only whether it takes a pod: its cordon and taints, the labels
//! that the pod asks for, and room. The words are those of Kubernetes' own scheduler.

mod affinity;

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Binding, Node as NodeObject, ObjectReference, Pod, Taint};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;

use crate::agent::Node;
use crate::event::{Kind, Source, pod_reference};
use crate::quantity::quantity;
use crate::taint::{NO_EXECUTE, NO_SCHEDULE, UNSCHEDULABLE, is_tolerated};

/// Why the node does not take a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) message: String,
}

/// What pods ask for.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Load {
    pub(crate) pods: f64,
    pub(crate) cpu: f64,
    pub(crate) memory: f64,
}

impl Load {
    /// What one pod asks for: its containers together, or its greediest init container with the sidecars before it.
    pub(crate) fn of(pod: &Pod) -> Self {
        let Some(spec) = &pod.spec else { return Self::default() };
        let whole = |name: &str| {
            let one = |container: &k8s_openapi::api::core::v1::Container| {
                let own = container.resources.as_ref();
                let asks = |list: Option<&BTreeMap<String, Quantity>>| quantity(&list?.get(name)?.0);
                let requests = own.and_then(|own| own.requests.as_ref());
                asks(requests).or_else(|| asks(own.and_then(|own| own.limits.as_ref()))).unwrap_or(0.0)
            };
            let (mut sidecars, mut most) = (0.0, 0.0_f64);
            for container in spec.init_containers.iter().flatten() {
                if container.restart_policy.as_deref() == Some("Always") {
                    sidecars += one(container);
                    most = most.max(sidecars);
                } else {
                    most = most.max(sidecars + one(container));
                }
            }
            let overhead =
                spec.overhead.as_ref().and_then(|list| quantity(&list.get(name)?.0)).unwrap_or(0.0);
            most.max(sidecars + spec.containers.iter().map(one).sum::<f64>()) + overhead
        };
        Self { pods: 1.0, cpu: whole("cpu"), memory: whole("memory") }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.pods += other.pods;
        self.cpu += other.cpu;
        self.memory += other.memory;
    }
}

/// Whether the node takes a pod beside what it has.
pub(crate) fn judge(pod: &Pod, node: &NodeObject, load: Load) -> Result<(), Refusal> {
    let spec = node.spec.clone().unwrap_or_default();
    let cordon = Taint { key: UNSCHEDULABLE.to_owned(), effect: NO_SCHEDULE.to_owned(), ..Taint::default() };
    let hard = |taint: &&Taint| matches!(taint.effect.as_str(), NO_SCHEDULE | NO_EXECUTE);
    let (mut reasons, mut helps) = (Vec::new(), false);
    if spec.unschedulable == Some(true) && !is_tolerated(pod, &cordon) {
        reasons.push("node(s) were unschedulable".to_owned());
    } else if let Some(taint) =
        spec.taints.iter().flatten().filter(hard).find(|taint| !is_tolerated(pod, taint))
    {
        let value = taint.value.as_deref().unwrap_or_default();
        reasons.push(format!("node(s) had untolerated taint {{{}: {value}}}", taint.key));
    } else if !affinity::matches(pod, node) {
        reasons.push("node(s) didn't match Pod's node affinity/selector".to_owned());
    } else {
        reasons = short_of(node, load, Load::of(pod));
        helps = !reasons.is_empty();
    }
    if reasons.is_empty() {
        return Ok(());
    }
    let reasons: Vec<String> = reasons.into_iter().map(|reason| format!("1 {reason}")).collect();
    let preemption = if helps {
        "1 No preemption victims found for incoming pod."
    } else {
        "1 Preemption is not helpful for scheduling."
    };
    let message = format!(
        "0/1 nodes are available: {}. preemption: 0/1 nodes are available: {preemption}",
        reasons.join(", ")
    );
    Err(Refusal { message })
}

fn short_of(node: &NodeObject, load: Load, asked: Load) -> Vec<String> {
    let there = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
    let there = |name: &str| there.and_then(|list| quantity(&list.get(name)?.0)).unwrap_or(f64::INFINITY);
    let lacks = |name, used: f64, asked: f64| asked > 0.0 && used + asked > there(name);
    let mut reasons = Vec::new();
    if lacks("pods", load.pods, asked.pods) {
        reasons.push("Too many pods".to_owned());
    }
    for (name, used, asked) in [("cpu", load.cpu, asked.cpu), ("memory", load.memory, asked.memory)] {
        if lacks(name, used, asked) {
            reasons.push(format!("Insufficient {name}"));
        }
    }
    reasons
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
        judge(pod, node, load).err().map(|refusal| refusal.message).unwrap_or_default()
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
        let used = Load { pods: 3.0, cpu: 1.0, memory: 0.0 };
        assert!(
            why(&greedy, &node(json!({})), used)
                .contains(": 1 Too many pods, 1 Insufficient cpu, 1 Insufficient memory.")
        );
        let small = pod(json!({"containers": [{"name": "a"}]}));
        assert_eq!(why(&small, &node(json!({})), Load { pods: 2.0, cpu: 5.0, memory: 9e9 }), "");
    }

    #[test]
    fn init_containers_ask_in_turn_and_sidecars_beside_all() {
        let asks = |cpu: &str| json!({"requests": {"cpu": cpu}});
        let whole = Load::of(&pod(json!({
            "initContainers": [
                {"name": "first", "resources": asks("2")},
                {"name": "side", "restartPolicy": "Always", "resources": asks("500m")},
                {"name": "last", "resources": asks("1")},
            ],
            "containers": [{"name": "a", "resources": asks("1")}, {"name": "b", "resources": asks("250m")}],
        })));
        assert_eq!(whole.cpu, 2.0);
    }
}
