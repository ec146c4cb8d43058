//! What runs pods: Deployments, StatefulSets, Jobs and so on.

use serde_json::Value;

use super::age;
use super::text::{
    NONE, UNSET, containers, count, holds, items, labels, number, quantity, selector, shortened, text,
    text_or,
};
use super::{Heading, Row};
use crate::timestamp::Timestamp;

const CONTAINERS: Heading = Heading::wide("Containers");
const IMAGES: Heading = Heading::wide("Images");
const SELECTOR: Heading = Heading::wide("Selector");

fn put_containers(row: &mut Row<'_>, template: &Value) {
    let (names, images) = containers(&template["spec"]["containers"]);
    row.put(names);
    row.put(images);
}

pub(super) const DEPLOYMENT: &[Heading] = &[
    Heading::NAME,
    Heading::text("Ready"),
    Heading::text("Up-to-date"),
    Heading::text("Available"),
    Heading::AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(super) fn deployment(row: &mut Row<'_>) {
    let (spec, status) = (&row.object["spec"], &row.object["status"]);
    row.name();
    row.put(format!("{}/{}", number(&status["readyReplicas"]), number(&spec["replicas"])));
    row.put(number(&status["updatedReplicas"]));
    row.put(number(&status["availableReplicas"]));
    row.age();
    put_containers(row, &spec["template"]);
    row.put(selector(&spec["selector"]));
}

pub(super) const REPLICA_SET: &[Heading] = &[
    Heading::NAME,
    Heading::number("Desired"),
    Heading::number("Current"),
    Heading::number("Ready"),
    Heading::AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

fn replicas(row: &mut Row<'_>) {
    let (spec, status) = (&row.object["spec"], &row.object["status"]);
    row.name();
    row.put(number(&spec["replicas"]));
    row.put(number(&status["replicas"]));
    row.put(number(&status["readyReplicas"]));
    row.age();
    put_containers(row, &spec["template"]);
}

pub(super) fn replica_set(row: &mut Row<'_>) {
    replicas(row);
    row.put(selector(&row.object["spec"]["selector"]));
}

/// Its selector is a map of labels.
pub(super) fn replication_controller(row: &mut Row<'_>) {
    replicas(row);
    row.put(labels(&row.object["spec"]["selector"]));
}

pub(super) const STATEFUL_SET: &[Heading] =
    &[Heading::NAME, Heading::text("Ready"), Heading::AGE, CONTAINERS, IMAGES];

pub(super) fn stateful_set(row: &mut Row<'_>) {
    let (spec, status) = (&row.object["spec"], &row.object["status"]);
    row.name();
    row.put(format!("{}/{}", number(&status["readyReplicas"]), number(&spec["replicas"])));
    row.age();
    put_containers(row, &spec["template"]);
}

pub(super) const DAEMON_SET: &[Heading] = &[
    Heading::NAME,
    Heading::number("Desired"),
    Heading::number("Current"),
    Heading::number("Ready"),
    Heading::number("Up-to-date"),
    Heading::number("Available"),
    Heading::text("Node Selector"),
    Heading::AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(super) fn daemon_set(row: &mut Row<'_>) {
    let (spec, status) = (&row.object["spec"], &row.object["status"]);
    row.name();
    for field in [
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "numberReady",
        "updatedNumberScheduled",
        "numberAvailable",
    ] {
        row.put(number(&status[field]));
    }
    row.put(labels(&spec["template"]["spec"]["nodeSelector"]));
    row.age();
    put_containers(row, &spec["template"]);
    row.put(selector(&spec["selector"]));
}

pub(super) const JOB: &[Heading] = &[
    Heading::NAME,
    Heading::text("Status"),
    Heading::text("Completions"),
    Heading::text("Duration"),
    Heading::AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(super) fn job(row: &mut Row<'_>) {
    let (spec, status) = (&row.object["spec"], &row.object["status"]);
    row.name();
    row.put(job_status(row.object));
    let succeeded = number(&status["succeeded"]);
    let completions = match (spec["completions"].as_i64(), number(&spec["parallelism"])) {
        (Some(completions), _) => format!("{succeeded}/{completions}"),
        (None, parallelism) if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        _ => format!("{succeeded}/1"),
    };
    row.put(completions);
    let duration = Timestamp::parse(text(&status["startTime"])).map(|start| {
        let end = Timestamp::parse(text(&status["completionTime"]));
        age::between(start, end.unwrap_or(row.now))
    });
    row.put(duration.unwrap_or_default());
    row.age();
    put_containers(row, &spec["template"]);
    row.put(selector(&spec["selector"]));
}

fn job_status(job: &Value) -> &'static str {
    let conditions = &job["status"]["conditions"];
    let first = |states: &[(&str, &'static str)]| {
        states.iter().find(|(condition, _)| holds(conditions, condition)).map(|(_, word)| *word)
    };
    if let Some(done) = first(&[("Complete", "Complete"), ("Failed", "Failed")]) {
        return done;
    }
    if !job["metadata"]["deletionTimestamp"].is_null() {
        return "Terminating";
    }
    let open = [
        ("Suspended", "Suspended"),
        ("FailureTarget", "FailureTarget"),
        ("SuccessCriteriaMet", "SuccessCriteriaMet"),
    ];
    first(&open).unwrap_or("Running")
}

pub(super) const CRON_JOB: &[Heading] = &[
    Heading::NAME,
    Heading::text("Schedule"),
    Heading::text("Timezone"),
    Heading::flag("Suspend"),
    Heading::number("Active"),
    Heading::text("Last Schedule"),
    Heading::AGE,
    CONTAINERS,
    IMAGES,
    SELECTOR,
];

pub(super) fn cron_job(row: &mut Row<'_>) {
    let (spec, status) = (&row.object["spec"], &row.object["status"]);
    row.name();
    row.put(text(&spec["schedule"]));
    row.put(text_or(&spec["timeZone"], NONE));
    // A text, though the column is of booleans: upstream tells apart what was never set.
    row.put(match spec["suspend"].as_bool() {
        Some(true) => "True",
        Some(false) => "False",
        None => UNSET,
    });
    row.put(count(&status["active"]));
    let last = &status["lastScheduleTime"];
    row.put(if last.is_null() { NONE.to_owned() } else { age::age(last, row.now) });
    row.age();
    put_containers(row, &spec["jobTemplate"]["spec"]["template"]);
    row.put(selector(&spec["jobTemplate"]["spec"]["selector"]));
}

pub(super) const POD_TEMPLATE: &[Heading] =
    &[Heading::NAME, Heading::text("Containers"), Heading::text("Images"), Heading::text("Pod Labels")];

pub(super) fn pod_template(row: &mut Row<'_>) {
    let template = &row.object["template"];
    row.name();
    put_containers(row, template);
    row.put(labels(&template["metadata"]["labels"]));
}

pub(super) const CONTROLLER_REVISION: &[Heading] =
    &[Heading::NAME, Heading::text("Controller"), Heading::text("Revision"), Heading::AGE];

pub(super) fn controller_revision(row: &mut Row<'_>) {
    let owners = items(&row.object["metadata"]["ownerReferences"]);
    let controller = owners.iter().find(|owner| owner["controller"] == true).map(|owner| {
        let kind = text(&owner["kind"]).to_lowercase();
        let name = text(&owner["name"]);
        match text(&owner["apiVersion"]).split_once('/') {
            Some((group, _)) => format!("{kind}.{group}/{name}"),
            None => format!("{kind}/{name}"),
        }
    });
    row.name();
    row.put(controller.unwrap_or_else(|| NONE.to_owned()));
    row.put(number(&row.object["revision"]));
    row.age();
}

pub(super) const AUTOSCALER: &[Heading] = &[
    Heading::NAME,
    Heading::text("Reference"),
    Heading::text("Targets"),
    Heading::text("MinPods"),
    Heading::text("MaxPods"),
    Heading::text("Replicas"),
    Heading::AGE,
];

pub(super) fn autoscaler(row: &mut Row<'_>) {
    let (spec, status) = (&row.object["spec"], &row.object["status"]);
    row.name();
    let target = &spec["scaleTargetRef"];
    row.put(format!("{}/{}", text(&target["kind"]), text(&target["name"])));
    row.put(targets(spec, status));
    row.put(quantity(&spec["minReplicas"], UNSET));
    row.put(number(&spec["maxReplicas"]));
    row.put(number(&status["currentReplicas"]));
    row.age();
}

/// `cpu: 10%/80%` for each metric.
fn targets(spec: &Value, status: &Value) -> String {
    if let Some(target) = spec["targetCPUUtilizationPercentage"].as_i64() {
        let current = status["currentCPUUtilizationPercentage"].as_i64();
        let current = current.map_or_else(|| age::UNKNOWN.to_owned(), |percent| format!("{percent}%"));
        return format!("cpu: {current}/{target}%");
    }
    let metrics: Vec<String> = items(&spec["metrics"])
        .iter()
        .enumerate()
        .map(|(at, metric)| metric_target(metric, &status["currentMetrics"][at]))
        .collect();
    if metrics.is_empty() { NONE.to_owned() } else { shortened(&metrics, 2, ", ") }
}

fn metric_target(metric: &Value, measured: &Value) -> String {
    let (source, resource) = match text(&metric["type"]) {
        "External" => ("external", false),
        "Pods" => ("pods", false),
        "Object" => ("object", false),
        "Resource" => ("resource", true),
        "ContainerResource" => ("containerResource", true),
        _ => return "<unknown type>".to_owned(),
    };
    let (target, current) = (&metric[source]["target"], &measured[source]["current"]);
    let prefix = if resource { format!("{}: ", text(&metric[source]["name"])) } else { String::new() };
    if !target["averageValue"].is_null() {
        let note = if matches!(source, "external" | "object") { " (avg)" } else { "" };
        let current = quantity(&current["averageValue"], age::UNKNOWN);
        return format!("{prefix}{current}/{}{note}", quantity(&target["averageValue"], ""));
    }
    if !resource {
        return format!("{}/{}", quantity(&current["value"], age::UNKNOWN), quantity(&target["value"], "0"));
    }
    let percent = |value: &Value, otherwise: &str| match value.as_i64() {
        Some(percent) => format!("{percent}%"),
        None => otherwise.to_owned(),
    };
    let current = percent(&current["averageUtilization"], age::UNKNOWN);
    format!("{prefix}{current}/{}", percent(&target["averageUtilization"], "<auto>"))
}

pub(super) const DISRUPTION_BUDGET: &[Heading] = &[
    Heading::NAME,
    Heading::text("Min Available"),
    Heading::text("Max Unavailable"),
    Heading::number("Allowed Disruptions"),
    Heading::AGE,
];

pub(super) fn disruption_budget(row: &mut Row<'_>) {
    let spec = &row.object["spec"];
    row.name();
    row.put(quantity(&spec["minAvailable"], "N/A"));
    row.put(quantity(&spec["maxUnavailable"], "N/A"));
    row.put(number(&row.object["status"]["disruptionsAllowed"]));
    row.age();
}

pub(super) const SCALE: &[Heading] =
    &[Heading::of("Name", "string"), Heading::number("Desired"), Heading::number("Available"), Heading::AGE];

pub(super) fn scale(row: &mut Row<'_>) {
    row.name();
    row.put(number(&row.object["spec"]["replicas"]));
    row.put(number(&row.object["status"]["replicas"]));
    row.age();
}
