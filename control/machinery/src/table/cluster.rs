//! Nodes, namespaces, what is kept in them, who may do what, and what extends the API.

use std::collections::BTreeSet;

use serde_json::Value;

use super::age::{self, UNKNOWN};
use super::text::{NONE, condition, count, items, number, quantity, text, text_or};
use super::{Heading, Row};

/// What upstream shows of kinds that have no columns of their own.
pub(super) const PLAIN: &[Heading] =
    &[Heading::NAME, Heading { format: "date", ..Heading::text("Created At") }];

pub(super) fn plain(row: &mut Row<'_>) {
    row.name();
    row.put(text(&row.object["metadata"]["creationTimestamp"]));
}

pub(super) const NODE: &[Heading] = &[
    Heading::NAME,
    Heading::text("Status"),
    Heading::text("Roles"),
    Heading::AGE,
    Heading::text("Version"),
    Heading::wide("Internal-IP"),
    Heading::wide("External-IP"),
    Heading::wide("OS-Image"),
    Heading::wide("Kernel-Version"),
    Heading::wide("Container-Runtime"),
];

pub(super) fn node(row: &mut Row<'_>) {
    let (metadata, status) = (&row.object["metadata"], &row.object["status"]);
    let state = match condition(&status["conditions"], "Ready") {
        Some(ready) if ready["status"] == "True" => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    };
    let unschedulable = row.object["spec"]["unschedulable"] == true;
    row.name();
    row.put(format!("{state}{}", if unschedulable { ",SchedulingDisabled" } else { "" }));
    let mut roles = BTreeSet::new();
    for (key, value) in metadata["labels"].as_object().into_iter().flatten() {
        let role = key.strip_prefix("node-role.kubernetes.io/").unwrap_or_default();
        roles.insert(if key == "kubernetes.io/role" { text(value) } else { role });
    }
    roles.remove("");
    let roles: Vec<&str> = roles.into_iter().collect();
    row.put(if roles.is_empty() { NONE.to_owned() } else { roles.join(",") });
    row.age();
    let info = &status["nodeInfo"];
    row.put(text(&info["kubeletVersion"]));
    for kind in ["InternalIP", "ExternalIP"] {
        row.put(condition(&status["addresses"], kind).map_or(NONE, |address| text(&address["address"])));
    }
    for field in ["osImage", "kernelVersion", "containerRuntimeVersion"] {
        row.put(text_or(&info[field], UNKNOWN));
    }
}

pub(super) const NAMESPACE: &[Heading] = &[Heading::NAME, Heading::text("Status"), Heading::AGE];

pub(super) fn namespace(row: &mut Row<'_>) {
    row.name();
    row.put(text(&row.object["status"]["phase"]));
    row.age();
}

pub(super) const SECRET: &[Heading] =
    &[Heading::NAME, Heading::text("Type"), Heading::text("Data"), Heading::AGE];

pub(super) fn secret(row: &mut Row<'_>) {
    row.name();
    row.put(text(&row.object["type"]));
    row.put(count(&row.object["data"]));
    row.age();
}

pub(super) const CONFIG_MAP: &[Heading] = &[Heading::NAME, Heading::text("Data"), Heading::AGE];

pub(super) fn config_map(row: &mut Row<'_>) {
    row.name();
    row.put(count(&row.object["data"]) + count(&row.object["binaryData"]));
    row.age();
}

pub(super) const COMPONENT_STATUS: &[Heading] =
    &[Heading::NAME, Heading::text("Status"), Heading::text("Message"), Heading::text("Error")];

pub(super) fn component_status(row: &mut Row<'_>) {
    row.name();
    let healthy = condition(&row.object["conditions"], "Healthy");
    let field = |name: &str| healthy.map_or(String::new(), |healthy| text(&healthy[name]).to_owned());
    row.put(match field("status").as_str() {
        "True" => "Healthy",
        "False" => "Unhealthy",
        _ => "Unknown",
    });
    row.put(field("message"));
    row.put(field("error"));
}

pub(super) const SIGNING_REQUEST: &[Heading] = &[
    Heading::NAME,
    Heading::AGE,
    Heading::text("SignerName"),
    Heading::text("Requestor"),
    Heading::text("RequestedDuration"),
    Heading::text("Condition"),
];

pub(super) fn signing_request(row: &mut Row<'_>) {
    let (spec, status) = (&row.object["spec"], &row.object["status"]);
    row.name();
    row.age();
    row.put(text_or(&spec["signerName"], NONE));
    row.put(text(&spec["username"]));
    row.put(spec["expirationSeconds"].as_i64().map_or(NONE.to_owned(), age::human));
    let has = |kind: &str| condition(&status["conditions"], kind).is_some();
    let mut state = match (has("Denied"), has("Approved")) {
        (true, _) => "Denied",
        (_, true) => "Approved",
        _ => "Pending",
    }
    .to_owned();
    if has("Failed") {
        state.push_str(",Failed");
    }
    if !text(&status["certificate"]).is_empty() {
        state.push_str(",Issued");
    }
    row.put(state);
}

pub(super) const SERVICE_ACCOUNT: &[Heading] = &[Heading::NAME, Heading::AGE];

pub(super) fn service_account(row: &mut Row<'_>) {
    row.name();
    row.age();
}

pub(super) const EVENT: &[Heading] = &[
    Heading::text("Last Seen"),
    Heading::text("Type"),
    Heading::text("Reason"),
    Heading::text("Object"),
    Heading::wide("Subobject"),
    Heading::wide("Source"),
    Heading::text("Message"),
    Heading::wide("First Seen"),
    Heading::wide("Count"),
    Heading { format: "name", ..Heading::wide("Name") },
];

/// One event in either of its two groups, whose fields have different names.
pub(super) fn event(row: &mut Row<'_>) {
    let event = row.object;
    let either =
        |new: &'static str, old: &'static str| if event[new].is_null() { &event[old] } else { &event[new] };
    let (about, source) = (either("regarding", "involvedObject"), either("deprecatedSource", "source"));
    let first_time = either("deprecatedFirstTimestamp", "firstTimestamp");
    let first = age::age(if first_time.is_null() { &event["eventTime"] } else { first_time }, row.now);
    let last_time = either("deprecatedLastTimestamp", "lastTimestamp");
    let series = &event["series"];
    let last = match (series.is_object(), last_time.is_null()) {
        (true, _) => age::age(&series["lastObservedTime"], row.now),
        (false, true) => first.clone(),
        (false, false) => age::age(last_time, row.now),
    };
    let times = if series.is_object() {
        number(&series["count"])
    } else {
        number(either("deprecatedCount", "count")).max(1)
    };
    let kind = text(&about["kind"]).to_lowercase();
    let name = text(&about["name"]);
    let controller = text_or(&event["reportingController"], text(&event["reportingComponent"]));
    let component = text_or(&source["component"], controller);
    let instance = text_or(&source["host"], text(&event["reportingInstance"]));
    row.put(last);
    row.put(text(&event["type"]));
    row.put(text(&event["reason"]));
    row.put(if name.is_empty() { kind } else { format!("{kind}/{name}") });
    row.put(text(&about["fieldPath"]));
    row.put(if instance.is_empty() { component.to_owned() } else { format!("{component}, {instance}") });
    row.put(text(either("note", "message")).trim());
    row.put(first);
    row.put(times);
    row.name();
}

pub(super) const RESOURCE_QUOTA: &[Heading] =
    &[Heading::NAME, Heading::text("Request"), Heading::text("Limit"), Heading::AGE];

pub(super) fn resource_quota(row: &mut Row<'_>) {
    let status = &row.object["status"];
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    let mut hard: Vec<_> = status["hard"].as_object().into_iter().flatten().collect();
    hard.sort_by_key(|(resource, _)| *resource);
    for (resource, most) in hard {
        let used = quantity(&status["used"][resource], "0");
        let text = format!("{resource}: {used}/{}", quantity(most, "0"));
        if resource.starts_with("limits.") { limits.push(text) } else { requests.push(text) }
    }
    row.name();
    row.put(requests.join(", "));
    row.put(limits.join(", "));
    row.age();
}

pub(super) const LEASE: &[Heading] = &[Heading::NAME, Heading::text("Holder"), Heading::AGE];

pub(super) fn lease(row: &mut Row<'_>) {
    row.name();
    row.put(text(&row.object["spec"]["holderIdentity"]));
    row.age();
}

pub(super) const PRIORITY_CLASS: &[Heading] = &[
    Heading::NAME,
    Heading::number("Value"),
    Heading::flag("Global-Default"),
    Heading::AGE,
    Heading::text("PreemptionPolicy"),
];

pub(super) fn priority_class(row: &mut Row<'_>) {
    row.name();
    row.put(number(&row.object["value"]));
    row.put(row.object["globalDefault"] == true);
    row.age();
    row.put(text_or(&row.object["preemptionPolicy"], NONE));
}

pub(super) const RUNTIME_CLASS: &[Heading] = &[Heading::NAME, Heading::text("Handler"), Heading::AGE];

pub(super) fn runtime_class(row: &mut Row<'_>) {
    row.name();
    row.put(text(&row.object["handler"]));
    row.age();
}

pub(super) const ROLE_BINDING: &[Heading] = &[
    Heading::NAME,
    Heading::text("Role"),
    Heading::AGE,
    Heading::wide("Users"),
    Heading::wide("Groups"),
    Heading::wide("ServiceAccounts"),
];

pub(super) fn role_binding(row: &mut Row<'_>) {
    let role = &row.object["roleRef"];
    row.name();
    row.put(format!("{}/{}", text(&role["kind"]), text(&role["name"])));
    row.age();
    let subjects = items(&row.object["subjects"]);
    for kind in ["User", "Group", "ServiceAccount"] {
        let names = subjects.iter().filter(|subject| subject["kind"] == kind).map(|subject| {
            let (namespace, name) = (text(&subject["namespace"]), text(&subject["name"]));
            let qualified = kind == "ServiceAccount" && !namespace.is_empty();
            if qualified { format!("{namespace}/{name}") } else { name.to_owned() }
        });
        row.put(names.collect::<Vec<_>>().join(", "));
    }
}

pub(super) const WEBHOOKS: &[Heading] = &[Heading::NAME, Heading::number("Webhooks"), Heading::AGE];

pub(super) fn webhooks(row: &mut Row<'_>) {
    row.name();
    row.put(count(&row.object["webhooks"]));
    row.age();
}

fn param_kind(policy: &Value) -> String {
    let kind = &policy["spec"]["paramKind"];
    if kind.is_null() {
        return super::text::UNSET.to_owned();
    }
    format!("{}/{}", text(&kind["apiVersion"]), text(&kind["kind"]))
}

pub(super) const VALIDATING_POLICY: &[Heading] =
    &[Heading::NAME, Heading::number("Validations"), Heading::text("ParamKind"), Heading::AGE];

pub(super) fn validating_policy(row: &mut Row<'_>) {
    row.name();
    row.put(count(&row.object["spec"]["validations"]));
    row.put(param_kind(row.object));
    row.age();
}

pub(super) const MUTATING_POLICY: &[Heading] =
    &[Heading::NAME, Heading::number("Mutations"), Heading::text("ParamKind"), Heading::AGE];

pub(super) fn mutating_policy(row: &mut Row<'_>) {
    row.name();
    row.put(count(&row.object["spec"]["mutations"]));
    row.put(param_kind(row.object));
    row.age();
}

pub(super) const POLICY_BINDING: &[Heading] =
    &[Heading::NAME, Heading::text("PolicyName"), Heading::text("ParamRef"), Heading::AGE];

pub(super) fn policy_binding(row: &mut Row<'_>) {
    let spec = &row.object["spec"];
    let parameter = &spec["paramRef"];
    let names = ["namespace", "name"].map(|field| text(&parameter[field])).into_iter();
    let names: Vec<&str> = names.filter(|name| !name.is_empty()).collect();
    row.name();
    row.put(text(&spec["policyName"]));
    row.put(match (parameter.is_null(), names.is_empty()) {
        (true, _) => super::text::UNSET.to_owned(),
        (false, true) => "*".to_owned(),
        (false, false) => names.join("/"),
    });
    row.age();
}

pub(super) const API_SERVICE: &[Heading] =
    &[Heading::NAME, Heading::text("Service"), Heading::text("Available"), Heading::AGE];

pub(super) fn api_service(row: &mut Row<'_>) {
    let service = &row.object["spec"]["service"];
    row.name();
    let (namespace, name) = (text(&service["namespace"]), text(&service["name"]));
    row.put(if service.is_null() { "Local".to_owned() } else { format!("{namespace}/{name}") });
    row.put(match condition(&row.object["status"]["conditions"], "Available") {
        None => "Unknown".to_owned(),
        Some(available) => match (text(&available["status"]), text(&available["reason"])) {
            ("True", _) => "True".to_owned(),
            (status, reason) => format!("{status} ({reason})"),
        },
    });
    row.age();
}
