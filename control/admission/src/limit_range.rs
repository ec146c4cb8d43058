//! `LimitRanger`: how much a container, a pod or a claim of a namespace may ask for, and what it asks for where it does
//! not say.

use serde_json::Value;
use xebec_machinery::quantity::Quantity;
use xebec_machinery::status::Status;

use crate::object;
use crate::passes::Passes;
use crate::pod_resources::{Amounts, Side, amounts, of_container, of_pod};
use crate::request::{Operation, Request};
use crate::stage::{Case, Mutation, Outcome, Validation, now};

/// Where it is told what was filled in.
const ANNOTATION: &str = "kubernetes.io/limit-ranger";
const NANO: i128 = 1_000_000_000;

pub(crate) struct LimitRanger;

impl Mutation for LimitRanger {
    fn name(&self) -> &'static str {
        "LimitRanger"
    }

    fn handles(&self, request: &Request) -> bool {
        request.is_for("", "pods") && minds(request)
    }

    fn mutate<'a>(&'a self, case: Case<'a>, object: &'a mut Value, _passes: &'a Passes) -> Outcome<'a> {
        now(complete(case, object))
    }
}

impl Validation for LimitRanger {
    fn name(&self) -> &'static str {
        "LimitRanger"
    }

    fn handles(&self, request: &Request) -> bool {
        minds(request)
    }

    fn validate<'a>(&'a self, case: Case<'a>, object: &'a Value) -> Outcome<'a> {
        now(judge(case, object))
    }
}

fn minds(request: &Request) -> bool {
    let writes = matches!(request.operation, Operation::Create | Operation::Update);
    match (request.is_for("", "pods"), request.is_for("", "persistentvolumeclaims")) {
        // What a running pod asks for changes by its resizing alone.
        (true, _) => match request.operation {
            Operation::Create => request.is_whole(),
            Operation::Update => request.subresource == "resize",
            _ => false,
        },
        (_, true) => writes && request.is_whole(),
        _ => false,
    }
}

fn complete(case: Case<'_>, pod: &mut Value) -> Result<(), Status> {
    if case.old.is_some_and(object::is_deleting) {
        return Ok(());
    }
    let ranges = case.world.all("", "limitranges")?;
    for range in ranges.within(&case.request.namespace) {
        fill(range, pod);
    }
    Ok(())
}

/// Fills in what the containers of a pod do not say.
fn fill(range: &Value, pod: &mut Value) {
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    for limit in object::list(range, &["spec", "limits"]) {
        if object::text(limit, &["type"]) == "Container" {
            requests.extend(object::entries(limit, &["defaultRequest"]));
            limits.extend(object::entries(limit, &["default"]));
        }
    }
    let mut told = Vec::new();
    for (field, title) in [("containers", "container"), ("initContainers", "init container")] {
        if object::list(pod, &["spec", field]).is_empty() {
            continue;
        }
        for container in object::list_mut(pod, &["spec", field]) {
            let name = object::name_of(container).to_owned();
            for (side, what, defaults) in [("requests", "request", &requests), ("limits", "limit", &limits)] {
                let set = fill_in(container, side, defaults);
                if !set.is_empty() {
                    told.push(format!("{} {what} for {title} {name}", set.join(", ")));
                }
            }
        }
    }
    if !told.is_empty() {
        object::annotate(pod, ANNOTATION, &format!("LimitRanger plugin set: {}", told.join("; ")));
    }
}

/// Fills in one side of a container's resources, and gives the names that were missing in order.
fn fill_in(container: &mut Value, side: &str, defaults: &[(&str, &Value)]) -> Vec<String> {
    let mut set = Vec::new();
    for (name, amount) in defaults {
        if object::at(container, &["resources", side, name]).is_none() {
            object::set(container, &["resources", side, name], (*amount).clone());
            set.push((*name).to_owned());
        }
    }
    set.sort_unstable();
    set
}

fn judge(case: Case<'_>, new: &Value) -> Result<(), Status> {
    if case.old.is_some_and(object::is_deleting) {
        return Ok(());
    }
    let ranges = case.world.all("", "limitranges")?;
    for range in ranges.within(&case.request.namespace) {
        let wrong = broken(range, case.request, new);
        if !wrong.is_empty() {
            return Err(case.forbidden(new, &aggregate(&wrong)));
        }
    }
    Ok(())
}

/// Several errors as one text.
fn aggregate(errors: &[String]) -> String {
    let mut once: Vec<&str> = Vec::new();
    for error in errors {
        if !once.contains(&error.as_str()) {
            once.push(error);
        }
    }
    match once.as_slice() {
        [one] => (*one).to_owned(),
        many => format!("[{}]", many.join(", ")),
    }
}

/// Everything in which an object breaks a range.
fn broken(range: &Value, request: &Request, new: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    for limit in object::list(range, &["spec", "limits"]) {
        let kind = object::text(limit, &["type"]);
        match kind {
            "Container" if request.is_for("", "pods") => {
                for field in ["containers", "initContainers"] {
                    for container in object::list(new, &["spec", field]) {
                        let asked = [Side::Requests, Side::Limits].map(|side| of_container(container, side));
                        check(limit, kind, &asked, &mut wrong);
                    }
                }
            }
            "Pod" if request.is_for("", "pods") => {
                let spec = new.get("spec").unwrap_or(&Value::Null);
                check(
                    limit,
                    kind,
                    &[Side::Requests, Side::Limits].map(|side| of_pod(spec, side)),
                    &mut wrong,
                );
            }
            "PersistentVolumeClaim" if request.is_for("", "persistentvolumeclaims") => {
                let requests = amounts(object::at(new, &["spec", "resources", "requests"]));
                for (name, least) in amounts(limit.get("min")) {
                    wrong.extend(below(kind, &name, &least, &requests, &Amounts::new()));
                }
                for (name, most) in amounts(limit.get("max")) {
                    wrong.extend(request_above(kind, &name, &most, &requests));
                }
            }
            _ => {}
        }
    }
    wrong
}

fn check(limit: &Value, kind: &str, [requests, limits]: &[Amounts; 2], wrong: &mut Vec<String>) {
    for (name, least) in amounts(limit.get("min")) {
        wrong.extend(below(kind, &name, &least, requests, limits));
    }
    for (name, most) in amounts(limit.get("max")) {
        wrong.extend(above(kind, &name, &most, requests, limits));
    }
    for (name, ratio) in amounts(limit.get("maxLimitRequestRatio")) {
        wrong.extend(out_of_ratio(kind, &name, &ratio, requests, limits));
    }
}

fn below(kind: &str, name: &str, least: &Quantity, requests: &Amounts, limits: &Amounts) -> Option<String> {
    let beginning = format!("minimum {name} usage per {kind} is {least}");
    let Some(request) = requests.get(name) else {
        return Some(format!("{beginning}.  No request is specified"));
    };
    if request.nanos() < least.nanos() {
        return Some(format!("{beginning}, but request is {request}"));
    }
    let limit = limits.get(name).filter(|limit| limit.nanos() < least.nanos())?;
    Some(format!("{beginning}, but limit is {limit}"))
}

fn above(kind: &str, name: &str, most: &Quantity, requests: &Amounts, limits: &Amounts) -> Option<String> {
    let beginning = format!("maximum {name} usage per {kind} is {most}");
    let Some(limit) = limits.get(name) else {
        return Some(format!("{beginning}.  No limit is specified"));
    };
    if limit.nanos() > most.nanos() {
        return Some(format!("{beginning}, but limit is {limit}"));
    }
    let request = requests.get(name).filter(|request| request.nanos() > most.nanos())?;
    Some(format!("{beginning}, but request is {request}"))
}

fn request_above(kind: &str, name: &str, most: &Quantity, requests: &Amounts) -> Option<String> {
    let beginning = format!("maximum {name} usage per {kind} is {most}");
    let Some(request) = requests.get(name) else {
        return Some(format!("{beginning}.  No request is specified"));
    };
    (request.nanos() > most.nanos()).then(|| format!("{beginning}, but request is {request}"))
}

fn out_of_ratio(
    kind: &str,
    name: &str,
    most: &Quantity,
    requests: &Amounts,
    limits: &Amounts,
) -> Option<String> {
    let beginning = format!("{name} max limit to request ratio per {kind} is {most}");
    let given = |amounts: &Amounts| amounts.get(name).map(Quantity::nanos).filter(|nanos| *nanos != 0);
    let Some(request) = given(requests) else {
        return Some(format!("{beginning}, but no request is specified or request is 0"));
    };
    let Some(limit) = given(limits) else {
        return Some(format!("{beginning}, but no limit is specified or limit is 0"));
    };
    // limit / request > most, without a division.
    let exceeds = match (limit.checked_mul(NANO), most.nanos().checked_mul(request)) {
        (Some(left), Some(right)) => left > right,
        _ => limit / request > most.nanos() / NANO,
    };
    exceeds.then(|| format!("{beginning}, but provided ratio is {:.6}", limit as f64 / request as f64))
}

#[cfg(test)]
mod tests;
