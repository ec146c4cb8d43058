//! Pods: what `READY`, `STATUS` and `RESTARTS` say.

use serde_json::{Value, json};

use super::age;
use super::text::{NONE, condition, holds, items, number, text, text_or};
use super::{Heading, Row};
use crate::timestamp::Timestamp;

pub(super) const HEADINGS: &[Heading] = &[
    Heading::NAME,
    Heading::text("Ready"),
    Heading::text("Status"),
    Heading::text("Restarts"),
    Heading::AGE,
    Heading::wide("IP"),
    Heading::wide("Node"),
    Heading::wide("Nominated Node"),
    Heading::wide("Readiness Gates"),
];

pub(super) fn fill(row: &mut Row<'_>) {
    let pod = row.object;
    let summary = Summary::of(pod);
    row.name();
    row.put(format!("{}/{}", summary.ready, summary.containers));
    row.put(summary.reason);
    let restarts = match summary.restarts.last {
        Some(last) => format!("{} ({} ago)", summary.restarts.count, age::between(last, row.now)),
        None => summary.restarts.count.to_string(),
    };
    row.put(restarts);
    row.age();
    let (spec, status) = (&pod["spec"], &pod["status"]);
    let address = text(&status["podIPs"][0]["ip"]);
    row.put(if address.is_empty() { text_or(&status["podIP"], NONE) } else { address });
    row.put(text_or(&spec["nodeName"], NONE));
    row.put(text_or(&status["nominatedNodeName"], NONE));
    row.put(gates(spec, status));
    row.conditions = match text(&status["phase"]) {
        "Succeeded" => Some(completed("Succeeded", "The pod has completed successfully.")),
        "Failed" => Some(completed("Failed", "The pod failed.")),
        _ => None,
    };
}

fn completed(reason: &str, message: &str) -> Value {
    json!([{"type": "Completed", "status": "True", "reason": reason, "message": message}])
}

fn gates(spec: &Value, status: &Value) -> String {
    let gates = items(&spec["readinessGates"]);
    if gates.is_empty() {
        return NONE.to_owned();
    }
    let open = gates.iter().filter(|gate| holds(&status["conditions"], text(&gate["conditionType"]))).count();
    format!("{open}/{}", gates.len())
}

/// How often containers were restarted, and when last.
#[derive(Debug, Default, Clone, Copy)]
struct Restarts {
    count: i64,
    last: Option<Timestamp>,
}

impl Restarts {
    fn add(&mut self, container: &Value) {
        self.count = self.count.saturating_add(number(&container["restartCount"]));
        let finished = Timestamp::parse(text(&container["lastState"]["terminated"]["finishedAt"]));
        self.last = self.last.max(finished);
    }
}

struct Summary {
    ready: usize,
    containers: usize,
    reason: String,
    restarts: Restarts,
}

impl Summary {
    fn of(pod: &Value) -> Self {
        let (spec, status) = (&pod["spec"], &pod["status"]);
        let phase = text(&status["phase"]);
        let mut summary = Self {
            ready: 0,
            containers: items(&spec["containers"]).len(),
            reason: text_or(&status["reason"], phase).to_owned(),
            restarts: Restarts::default(),
        };
        if condition(&status["conditions"], "PodScheduled")
            .is_some_and(|one| one["reason"] == "SchedulingGated")
        {
            summary.reason = "SchedulingGated".to_owned();
        }
        let (initializing, sidecars) = summary.initialize(spec, status);
        if !initializing || holds(&status["conditions"], "Initialized") {
            summary.restarts = sidecars;
            summary.run(status);
        }
        if !pod["metadata"]["deletionTimestamp"].is_null() {
            if status["reason"] == "NodeLost" {
                summary.reason = "Unknown".to_owned();
            } else if !matches!(phase, "Succeeded" | "Failed") {
                summary.reason = "Terminating".to_owned();
            }
        }
        summary
    }

    /// Looks at the init containers until one that is not done. Tells whether there is one, and the restarts of those that
    /// run beside the others.
    fn initialize(&mut self, spec: &Value, status: &Value) -> (bool, Restarts) {
        let declared = items(&spec["initContainers"]);
        let sidecar = |container: &Value| container["restartPolicy"] == "Always";
        self.containers += declared.iter().filter(|container| sidecar(container)).count();
        let mut sidecars = Restarts::default();
        for (at, container) in items(&status["initContainerStatuses"]).iter().enumerate() {
            self.restarts.add(container);
            let stays = declared.iter().any(|one| one["name"] == container["name"] && sidecar(one));
            if stays {
                sidecars.add(container);
            }
            let state = &container["state"];
            let terminated = &state["terminated"];
            if terminated.is_object() && number(&terminated["exitCode"]) == 0 {
                continue;
            }
            if stays && container["started"] == true {
                self.ready += usize::from(container["ready"] == true);
                continue;
            }
            let waiting = text(&state["waiting"]["reason"]);
            self.reason = if terminated.is_object() {
                format!("Init:{}", ended(terminated))
            } else if !waiting.is_empty() && waiting != "PodInitializing" {
                format!("Init:{waiting}")
            } else {
                format!("Init:{at}/{}", declared.len())
            };
            return (true, sidecars);
        }
        (false, sidecars)
    }

    /// Looks at the containers; the first that is not running says why.
    fn run(&mut self, status: &Value) {
        let mut running = false;
        for container in items(&status["containerStatuses"]).iter().rev() {
            self.restarts.add(container);
            let state = &container["state"];
            let waiting = text(&state["waiting"]["reason"]);
            if !waiting.is_empty() {
                self.reason = waiting.to_owned();
            } else if state["terminated"].is_object() {
                self.reason = ended(&state["terminated"]);
            } else if container["ready"] == true && state["running"].is_object() {
                running = true;
                self.ready += 1;
            }
        }
        if self.reason == "Completed" && running {
            let ready = holds(&status["conditions"], "Ready");
            self.reason = if ready { "Running" } else { "NotReady" }.to_owned();
        }
    }
}

/// Why a container ended.
fn ended(terminated: &Value) -> String {
    match (text(&terminated["reason"]), number(&terminated["signal"])) {
        ("", 0) => format!("ExitCode:{}", number(&terminated["exitCode"])),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}
