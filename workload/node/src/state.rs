//! What is known of a running pod, and the status that says so.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
    Pod, PodCondition, PodIP, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// How far one container is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Phase {
    Waiting {
        reason: &'static str,
        message: String,
    },
    Running {
        since: Timestamp,
    },
    Ended {
        code: i32,
        signal: Option<i32>,
        reason: &'static str,
        message: String,
        began: Timestamp,
        ended: Timestamp,
    },
}

/// One container.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    pub(crate) name: String,
    pub(crate) image: String,
    pub(crate) image_id: String,
    pub(crate) id: String,
    pub(crate) phase: Phase,
    pub(crate) last: Option<Phase>,
    pub(crate) ready: bool,
    pub(crate) restarts: i32,
}

impl Progress {
    pub(crate) fn new(name: &str, image: &str) -> Self {
        Self {
            name: name.to_owned(),
            image: image.to_owned(),
            image_id: String::new(),
            id: String::new(),
            phase: Phase::Waiting { reason: "ContainerCreating", message: String::new() },
            last: None,
            ready: false,
            restarts: 0,
        }
    }

    fn status(&self) -> ContainerStatus {
        ContainerStatus {
            name: self.name.clone(),
            image: self.image.clone(),
            image_id: self.image_id.clone(),
            container_id: Some(self.id.clone()).filter(|id| !id.is_empty()),
            ready: self.ready,
            restart_count: self.restarts,
            started: Some(matches!(self.phase, Phase::Running { .. })),
            state: Some(state(&self.phase)),
            last_state: self.last.as_ref().map(state),
            ..ContainerStatus::default()
        }
    }
}

fn time(moment: Timestamp) -> Time {
    Time(Timestamp::from_second(moment.as_second()).unwrap_or(moment))
}

fn state(phase: &Phase) -> ContainerState {
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    match phase {
        Phase::Waiting { reason, message } => ContainerState {
            waiting: Some(ContainerStateWaiting { reason: some(reason), message: some(message) }),
            ..ContainerState::default()
        },
        Phase::Running { since } => ContainerState {
            running: Some(ContainerStateRunning { started_at: Some(time(*since)) }),
            ..ContainerState::default()
        },
        Phase::Ended { code, signal, reason, message, began, ended } => ContainerState {
            terminated: Some(ContainerStateTerminated {
                exit_code: *code,
                signal: *signal,
                reason: some(reason),
                message: some(message),
                started_at: Some(time(*began)),
                finished_at: Some(time(*ended)),
                ..ContainerStateTerminated::default()
            }),
            ..ContainerState::default()
        },
    }
}

/// Everything known of a pod.
#[derive(Debug, Clone)]
pub(crate) struct PodState {
    pub(crate) address: Option<String>,
    pub(crate) host: String,
    pub(crate) started: Timestamp,
    pub(crate) init: Vec<Progress>,
    pub(crate) containers: Vec<Progress>,
    pub(crate) initialized: bool,
}

impl PodState {
    /// The pod's phase as the API defines it.
    fn phase(&self, restarts: &str) -> &'static str {
        let failed = |progress: &Progress| matches!(progress.phase, Phase::Ended { code, .. } if code != 0);
        if restarts == "Never" && self.init.iter().any(failed) {
            return "Failed";
        }
        if !self.initialized {
            return "Pending";
        }
        let all_ended = self.containers.iter().all(|own| matches!(own.phase, Phase::Ended { .. }));
        let any_failed = self.containers.iter().any(failed);
        match (all_ended, any_failed, restarts) {
            (true, false, "OnFailure" | "Never") => "Succeeded",
            (true, true, "Never") => "Failed",
            _ if self
                .containers
                .iter()
                .all(|own| matches!(own.phase, Phase::Waiting { .. }) && own.restarts == 0) =>
            {
                "Pending"
            }
            _ => "Running",
        }
    }

    /// The status to write, given the pod as it was read.
    pub(crate) fn status(&self, pod: &Pod, now: Timestamp) -> PodStatus {
        let restarts = pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()).unwrap_or("Always");
        let phase = self.phase(restarts);
        let ready = phase == "Running" && self.containers.iter().all(|own| own.ready);
        let gates = pod.spec.iter().flat_map(|spec| spec.readiness_gates.iter().flatten());
        let old: Vec<PodCondition> =
            pod.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
        let is_true = |kind: &str| old.iter().any(|own| own.type_ == kind && own.status == "True");
        let gated = gates.map(|gate| gate.condition_type.as_str()).all(is_true);
        let unready: Vec<&str> =
            self.containers.iter().filter(|own| !own.ready).map(|own| own.name.as_str()).collect();
        let why = format!("containers with unready status: [{}]", unready.join(" "));
        let gate_why = "the status of pod readiness gate is not \"True\"".to_owned();
        let wanted = [
            ("PodReadyToStartContainers", self.address.is_some(), "", String::new()),
            ("Initialized", self.initialized, "ContainersNotInitialized", String::new()),
            if ready && !gated {
                ("Ready", false, "ReadinessGatesNotReady", gate_why)
            } else {
                ("Ready", ready, "ContainersNotReady", why.clone())
            },
            ("ContainersReady", ready, "ContainersNotReady", why),
            ("PodScheduled", true, "", String::new()),
        ];
        let mut conditions: Vec<PodCondition> = wanted
            .into_iter()
            .map(|(kind, holds, reason, message)| condition(&old, kind, holds, reason, &message, now))
            .collect();
        // Conditions of others, such as readiness gates, stay as they are.
        let ours: Vec<String> = conditions.iter().map(|own| own.type_.clone()).collect();
        conditions.extend(old.into_iter().filter(|own| !ours.contains(&own.type_)));
        let statuses = |list: &[Progress]| {
            Some(list.iter().map(Progress::status).collect::<Vec<_>>()).filter(|list| !list.is_empty())
        };
        PodStatus {
            phase: Some(phase.to_owned()),
            conditions: Some(conditions),
            container_statuses: statuses(&self.containers),
            init_container_statuses: statuses(&self.init),
            host_ip: Some(self.host.clone()),
            pod_ip: self.address.clone(),
            pod_ips: self.address.clone().map(|ip| vec![PodIP { ip }]),
            start_time: Some(time(self.started)),
            qos_class: pod.status.as_ref().and_then(|status| status.qos_class.clone()),
            ..PodStatus::default()
        }
    }
}

fn condition(
    old: &[PodCondition],
    kind: &str,
    holds: bool,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> PodCondition {
    let status = if holds { "True" } else { "False" };
    let before = old.iter().find(|own| own.type_ == kind && own.status == status);
    let since = before.and_then(|own| own.last_transition_time.clone()).or_else(|| Some(time(now)));
    let told = |text: &str| Some(text.to_owned()).filter(|text| !holds && !text.is_empty());
    PodCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: told(reason),
        message: told(message),
        last_transition_time: since,
        ..PodCondition::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod() -> PodState {
        let mut running = Progress::new("a", "image");
        running.phase = Phase::Running { since: Timestamp::UNIX_EPOCH };
        running.ready = true;
        PodState {
            address: Some("127.64.0.2".to_owned()),
            host: "127.0.0.1".to_owned(),
            started: Timestamp::UNIX_EPOCH,
            init: Vec::new(),
            containers: vec![running],
            initialized: true,
        }
    }

    fn ready(status: &PodStatus) -> &str {
        let conditions = status.conditions.as_deref().unwrap_or_default();
        conditions.iter().find(|own| own.type_ == "Ready").map_or("", |own| &own.status)
    }

    #[test]
    fn a_pod_is_ready_when_all_its_containers_are() {
        let mut state = pod();
        let status = state.status(&Pod::default(), Timestamp::UNIX_EPOCH);
        assert_eq!((status.phase.as_deref(), ready(&status)), (Some("Running"), "True"));
        state.containers[0].ready = false;
        let status = state.status(&Pod::default(), Timestamp::UNIX_EPOCH);
        assert_eq!((status.phase.as_deref(), ready(&status)), (Some("Running"), "False"));
    }

    #[test]
    fn a_pod_that_does_not_restart_ends_as_its_containers_end() {
        let mut never = Pod::default();
        never.spec.get_or_insert_default().restart_policy = Some("Never".to_owned());
        let mut state = pod();
        for (code, phase) in [(0, "Succeeded"), (1, "Failed")] {
            let moment = Timestamp::UNIX_EPOCH;
            let message = String::new();
            state.containers[0].phase =
                Phase::Ended { code, signal: None, reason: "Error", message, began: moment, ended: moment };
            assert_eq!(state.status(&never, moment).phase.as_deref(), Some(phase));
        }
        assert_eq!(state.status(&Pod::default(), Timestamp::UNIX_EPOCH).phase.as_deref(), Some("Running"));
    }

    #[test]
    fn an_open_readiness_gate_keeps_a_pod_unready() {
        let gated: Pod = serde_json::from_value(serde_json::json!({
            "metadata": {}, "spec": {"containers": [], "readinessGates": [{"conditionType": "example.org/gate"}]},
        }))
        .unwrap_or_default();
        assert_eq!(ready(&pod().status(&gated, Timestamp::UNIX_EPOCH)), "False");
    }
}
