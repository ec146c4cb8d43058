//! What is known of a running pod, and the status that says so.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
    HostIP, Pod, PodCondition, PodIP, PodStatus, ResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// The condition of a pod whose containers are being given more or less to use (KEP-1287).
const RESIZING: &str = "PodResizeInProgress";

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
    /// Whether it has come up: its startup probe, if it has one, was passed.
    pub(crate) started: bool,
    pub(crate) restarts: i32,
    /// Whether it is an init container that runs beside the others (a sidecar).
    pub(crate) sidecar: bool,
    /// What its process was given to use.
    pub(crate) resources: Option<ResourceRequirements>,
    /// Why it could not be given what the pod now asks for.
    pub(crate) refused: Option<String>,
}

impl Progress {
    pub(crate) fn new(name: &str, image: &str, reason: &'static str) -> Self {
        Self {
            name: name.to_owned(),
            image: image.to_owned(),
            image_id: String::new(),
            id: String::new(),
            phase: Phase::Waiting { reason, message: String::new() },
            last: None,
            ready: false,
            started: false,
            restarts: 0,
            sidecar: false,
            resources: None,
            refused: None,
        }
    }

    /// Whether it has done its part of bringing the pod up, as an init container.
    pub(crate) fn has_initialized(&self) -> bool {
        if self.sidecar { self.started } else { matches!(self.phase, Phase::Ended { code: 0, .. }) }
    }

    fn has_failed(&self) -> bool {
        matches!(self.phase, Phase::Ended { code, .. } if code != 0)
    }

    fn status(&self) -> ContainerStatus {
        ContainerStatus {
            name: self.name.clone(),
            image: self.image.clone(),
            image_id: self.image_id.clone(),
            container_id: Some(self.id.clone()).filter(|id| !id.is_empty()),
            ready: self.ready,
            restart_count: self.restarts,
            started: Some(self.started && matches!(self.phase, Phase::Running { .. })),
            state: Some(state(&self.phase, &self.id)),
            last_state: self.last.as_ref().map(|last| state(last, "")),
            allocated_resources: self.resources.as_ref().and_then(|own| own.requests.clone()),
            resources: self.resources.clone(),
            ..ContainerStatus::default()
        }
    }
}

fn time(moment: Timestamp) -> Time {
    Time(Timestamp::from_second(moment.as_second()).unwrap_or(moment))
}

fn state(phase: &Phase, id: &str) -> ContainerState {
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
                container_id: some(id),
            }),
            ..ContainerState::default()
        },
    }
}

/// Why a pod was ended as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

/// Everything known of a pod.
#[derive(Debug, Clone)]
pub(crate) struct PodState {
    pub(crate) address: Option<String>,
    pub(crate) host: String,
    pub(crate) started: Timestamp,
    pub(crate) init: Vec<Progress>,
    pub(crate) containers: Vec<Progress>,
    /// Its ephemeral containers, which say nothing of the pod itself.
    pub(crate) guests: Vec<Progress>,
    pub(crate) failure: Option<Failure>,
    /// Nothing of it runs any more, nor will again.
    pub(crate) over: bool,
}

impl PodState {
    /// The pod's phase as the API defines it. Sidecars do not count.
    fn phase(&self, restarts: &str) -> &'static str {
        if self.failure.is_some() {
            return if self.over { "Failed" } else { "Running" };
        }
        let init_failed = self.init.iter().any(|own| !own.sidecar && own.has_failed());
        if init_failed && (restarts == "Never" || self.over) {
            return "Failed";
        }
        let waits = |own: &Progress| matches!(own.phase, Phase::Waiting { .. }) && own.restarts == 0;
        if !self.over && self.containers.iter().any(waits) {
            return "Pending";
        }
        let all_ended = self.containers.iter().all(|own| matches!(own.phase, Phase::Ended { .. }));
        let any_failed = self.containers.iter().any(Progress::has_failed);
        // The pod is not over while a sidecar still runs.
        let runs = |own: &Progress| own.sidecar && matches!(own.phase, Phase::Running { .. });
        if !self.over && self.init.iter().any(runs) {
            return "Running";
        }
        match (all_ended, any_failed, restarts) {
            (false, _, _) if self.over => "Failed",
            (true, true, _) if self.over => "Failed",
            (true, false, _) if self.over => "Succeeded",
            (true, false, "OnFailure" | "Never") => "Succeeded",
            (true, true, "Never") => "Failed",
            _ => "Running",
        }
    }

    /// The status to write, given the pod as it was read.
    pub(crate) fn status(&self, pod: &Pod, now: Timestamp) -> PodStatus {
        let restarts = pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()).unwrap_or("Always");
        let phase = self.phase(restarts);
        let old: Vec<PodCondition> =
            pod.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
        let mut conditions = self.conditions(pod, phase, &old, now);
        // Conditions of others, such as readiness gates, stay as they are.
        let ours: Vec<String> = conditions.iter().map(|own| own.type_.clone()).collect();
        let is_resize = |own: &PodCondition| own.type_ == RESIZING;
        let resizing = self.resizing(pod, &old, now);
        conditions.extend(old.into_iter().filter(|own| !ours.contains(&own.type_) && !is_resize(own)));
        conditions.extend(resizing);
        let statuses = |list: &[Progress]| {
            Some(list.iter().map(Progress::status).collect::<Vec<_>>()).filter(|list| !list.is_empty())
        };
        PodStatus {
            phase: Some(phase.to_owned()),
            reason: self.failure.as_ref().map(|own| own.reason.to_owned()),
            message: self.failure.as_ref().map(|own| own.message.clone()),
            conditions: Some(conditions),
            container_statuses: statuses(&self.containers),
            init_container_statuses: statuses(&self.init),
            ephemeral_container_statuses: statuses(&self.guests),
            host_ip: Some(self.host.clone()),
            host_ips: Some(vec![HostIP { ip: self.host.clone() }]),
            pod_ip: self.address.clone(),
            pod_ips: self.address.clone().map(|ip| vec![PodIP { ip }]),
            start_time: Some(time(self.started)),
            qos_class: pod.status.as_ref().and_then(|status| status.qos_class.clone()),
            observed_generation: pod.metadata.generation,
            ..PodStatus::default()
        }
    }

    /// Says that containers do not have yet what the pod asks for.
    fn resizing(&self, pod: &Pod, old: &[PodCondition], now: Timestamp) -> Option<PodCondition> {
        let spec = pod.spec.as_ref()?;
        let all = spec.init_containers.iter().flatten().chain(&spec.containers);
        let asked = |name: &str| {
            let found = all.clone().find(|own| own.name == name);
            found.and_then(|own| own.resources.clone()).unwrap_or_default()
        };
        let runs = |own: &&Progress| matches!(own.phase, Phase::Running { .. });
        let behind: Vec<&Progress> = (self.init.iter().chain(&self.containers).filter(runs))
            .filter(|own| own.resources.as_ref().is_some_and(|held| *held != asked(&own.name)))
            .collect();
        if behind.is_empty() {
            return None;
        }
        let mut condition = condition(old, RESIZING, true, "", "", now);
        let refused = behind.iter().find_map(|own| own.refused.clone());
        condition.reason = refused.as_ref().map(|_| "Error".to_owned());
        condition.message = refused;
        condition.observed_generation = pod.metadata.generation;
        Some(condition)
    }

    fn conditions(&self, pod: &Pod, phase: &str, old: &[PodCondition], now: Timestamp) -> Vec<PodCondition> {
        let names = |holds: &dyn Fn(&Progress) -> bool, list: &mut dyn Iterator<Item = &Progress>| {
            let left: Vec<&str> = list.filter(|own| !holds(own)).map(|own| own.name.as_str()).collect();
            (left.is_empty(), format!("[{}]", left.join(" ")))
        };
        let is_ready = |own: &Progress| own.ready;
        let mut lasting = self.init.iter().filter(|own| own.sidecar).chain(&self.containers);
        let (all_ready, unready) = names(&is_ready, &mut lasting);
        let (initialized, incomplete) = names(&Progress::has_initialized, &mut self.init.iter());
        let gates = pod.spec.iter().flat_map(|spec| spec.readiness_gates.iter().flatten());
        let holds = |kind: &str| old.iter().any(|own| own.type_ == kind && own.status == "True");
        let closed: Vec<String> = gates
            .map(|gate| gate.condition_type.clone())
            .filter(|kind| !holds(kind))
            .map(|kind| match old.iter().any(|own| own.type_ == kind) {
                true => format!("the status of pod readiness gate {kind:?} is not \"True\", but False"),
                false => format!("corresponding condition of pod readiness gate {kind:?} does not exist."),
            })
            .collect();
        let ready = phase == "Running" && all_ready;
        let done = phase == "Succeeded";
        let why = match phase {
            "Succeeded" => ("PodCompleted", String::new()),
            "Failed" => ("PodFailed", String::new()),
            _ => ("ContainersNotReady", format!("containers with unready status: {unready}")),
        };
        let wanted = [
            ("PodReadyToStartContainers", self.address.is_some() && !self.over, "", String::new()),
            (
                "Initialized",
                initialized,
                "ContainersNotInitialized",
                format!("containers with incomplete status: {incomplete}"),
            ),
            if ready && !closed.is_empty() {
                ("Ready", false, "ReadinessGatesNotReady", closed.join(", "))
            } else {
                ("Ready", ready, why.0, why.1.clone())
            },
            ("ContainersReady", ready, why.0, why.1),
            ("PodScheduled", true, "", String::new()),
        ];
        wanted
            .into_iter()
            .map(|(kind, holds, reason, message)| {
                let mut own = condition(old, kind, holds, reason, &message, now);
                if done && kind == "Initialized" {
                    own.reason = Some("PodCompleted".to_owned());
                }
                own
            })
            .collect()
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
        let mut running = Progress::new("a", "image", "ContainerCreating");
        running.phase = Phase::Running { since: Timestamp::UNIX_EPOCH };
        running.ready = true;
        PodState {
            address: Some("127.64.0.2".to_owned()),
            host: "127.0.0.1".to_owned(),
            started: Timestamp::UNIX_EPOCH,
            init: Vec::new(),
            containers: vec![running],
            guests: Vec::new(),
            failure: None,
            over: false,
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

    fn phase(state: &PodState) -> String {
        state.status(&Pod::default(), Timestamp::UNIX_EPOCH).phase.unwrap_or_default()
    }

    #[test]
    fn a_sidecar_counts_for_readiness_and_not_for_the_phase() {
        let mut state = pod();
        let mut sidecar = Progress::new("side", "image", "PodInitializing");
        sidecar.sidecar = true;
        state.init.push(sidecar);
        let status = state.status(&Pod::default(), Timestamp::UNIX_EPOCH);
        let initialized = status.conditions.iter().flatten().find(|own| own.type_ == "Initialized");
        assert_eq!(
            initialized.and_then(|own| own.message.as_deref()),
            Some("containers with incomplete status: [side]")
        );
        assert_eq!(ready(&status), "False");
        state.init[0].started = true;
        state.init[0].ready = true;
        assert_eq!(ready(&state.status(&Pod::default(), Timestamp::UNIX_EPOCH)), "True");
        assert_eq!(phase(&state), "Running");
    }

    #[test]
    fn a_pod_runs_once_each_of_its_containers_has_begun() {
        let mut state = pod();
        state.containers.push(Progress::new("late", "image", "ContainerCreating"));
        assert_eq!(phase(&state), "Pending");
        state.containers[1].restarts = 1;
        assert_eq!(phase(&state), "Running", "one that waits for its next run has begun before");
    }

    #[test]
    fn a_pod_that_was_ended_as_a_whole_has_failed_once_it_is_over() {
        let mut state = pod();
        state.failure = Some(Failure { reason: "DeadlineExceeded", message: "too long".to_owned() });
        assert_eq!(phase(&state), "Running");
        state.over = true;
        let status = state.status(&Pod::default(), Timestamp::UNIX_EPOCH);
        assert_eq!(
            (status.phase.as_deref(), status.reason.as_deref()),
            (Some("Failed"), Some("DeadlineExceeded"))
        );
    }
}
