//! The parts of a pod's spec that are written through subresources of their own: the containers that join it for a look
//! (`ephemeralcontainers`), and how much its containers may use (`resize`).

use serde_json::{Map, Value, json};

use crate::field::{FieldError, Path};
use crate::preparation::quality;
use crate::validation;

/// Which of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodPart {
    /// `spec.ephemeralContainers`.
    EphemeralContainers,
    /// `resources` and `resizePolicy` of containers.
    Resources,
}

/// The lists of containers that may be resized.
const LISTS: [&str; 2] = ["containers", "initContainers"];
/// The spec of a pod after a write of one part. What else was sent does not count, but for containers that came, went or
/// changed places: that is told as an error later.
pub fn prepare(part: PodPart, old: &Value, sent: &Value) -> Value {
    let mut spec = old.clone();
    match part {
        PodPart::EphemeralContainers => {
            let all = sent.get("ephemeralContainers").filter(|all| !all.is_null());
            if let Value::Object(fields) = &mut spec {
                match all {
                    Some(all) => fields.insert("ephemeralContainers".into(), all.clone()),
                    None => fields.remove("ephemeralContainers"),
                };
            }
        }
        PodPart::Resources => {
            for list in LISTS {
                let (before, after) = (named(&spec, list), named(sent, list));
                if before != after {
                    spec[list] = sent.get(list).cloned().unwrap_or_else(|| json!([]));
                    continue;
                }
                let sent = sent.get(list).and_then(Value::as_array).into_iter().flatten();
                let own = spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten();
                own.zip(sent).for_each(|(own, sent)| take_resources(own, sent));
            }
        }
    }
    spec
}

fn take_resources(container: &mut Value, sent: &Value) {
    let Value::Object(fields) = container else { return };
    for field in ["resources", "resizePolicy"] {
        match sent.get(field).filter(|value| !value.is_null()) {
            Some(value) => fields.insert(field.into(), value.clone()),
            None => fields.remove(field),
        };
    }
}

fn containers<'a>(spec: &'a Value, list: &str) -> &'a [Value] {
    spec.get(list).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn named<'a>(spec: &'a Value, list: &str) -> Vec<&'a str> {
    containers(spec, list).iter().map(name).collect()
}

fn name(container: &Value) -> &str {
    container.get("name").and_then(Value::as_str).unwrap_or_default()
}

/// What is wrong with a pod of which a part was written.
pub fn validate(part: PodPart, old: &Value, new: &Value) -> Vec<FieldError> {
    let mut errors = validation::standing("", "v1", "Pod", new);
    let none = Value::Null;
    let (before, after) = (old.get("spec").unwrap_or(&none), new.get("spec").unwrap_or(&none));
    let path = Path::ROOT.child("spec");
    match part {
        PodPart::EphemeralContainers => ephemeral(before, after, &path, &mut errors),
        PodPart::Resources => {
            let class = |pod: &Value| pod.as_object().map_or("", quality);
            if class(old) != class(new) {
                let why = "Pod QOS Class may not change as a result of resizing";
                errors.push(FieldError::invalid(&path, class(old), why));
            }
            resources(before, after, &path, &mut errors);
        }
    }
    errors
}

fn ephemeral(before: &Value, after: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let path = path.child("ephemeralContainers");
    let all = containers(after, "ephemeralContainers");
    for own in containers(before, "ephemeralContainers") {
        let what = match all.iter().find(|other| name(other) == name(own)) {
            None => "removed",
            Some(other) if other != own => "changed",
            Some(_) => continue,
        };
        let why = format!("existing ephemeral containers {:?} may not be {what}\n", name(own));
        errors.push(FieldError::forbidden(&path, why));
    }
}

fn resources(before: &Value, after: &Value, path: &Path<'_>, errors: &mut Vec<FieldError>) {
    let mut is_same = true;
    for list in LISTS {
        let (path, before, after) = (path.child(list), named(before, list), named(after, list));
        if before.len() != after.len() {
            let why = format!("{list} may not be added or removed on resize");
            errors.push(FieldError::forbidden(&path, why));
            is_same = false;
            continue;
        }
        for at in (0..before.len()).filter(|at| before[*at] != after[*at]) {
            let why = format!("{list} may not be renamed or reordered on resize");
            errors.push(FieldError::forbidden(&path.index(at).child("name"), why));
            is_same = false;
        }
    }
    if !is_same {
        return;
    }
    for list in LISTS {
        let inner = path.child(list);
        let pairs = containers(before, list).iter().zip(containers(after, list)).enumerate();
        for (at, (before, after)) in pairs {
            let inner = inner.index(at);
            let inner = inner.child("resources");
            for field in ["requests", "limits"] {
                let amounts = |of: &Value| -> Map<String, Value> {
                    let found = of.get("resources").and_then(|own| own.get(field)?.as_object());
                    found.cloned().unwrap_or_default()
                };
                let (old, new) = (amounts(before), amounts(after));
                if old.keys().any(|name| !new.contains_key(name)) {
                    let why = format!("resource {field} cannot be removed");
                    errors.push(FieldError::forbidden(&inner.child(field), why));
                }
                let others = |of: &Map<String, Value>| -> Map<String, Value> {
                    let others = of.iter().filter(|(name, _)| !matches!(name.as_str(), "cpu" | "memory"));
                    others.map(|(name, amount)| (name.clone(), amount.clone())).collect()
                };
                if others(&old) != others(&new) {
                    errors.push(FieldError::forbidden(path, "only cpu and memory resources are mutable"));
                }
            }
            let is_init = list == "initContainers" && before.get("restartPolicy") != Some(&json!("Always"));
            if is_init && before.get("resources") != after.get("resources") {
                let why = "resources for non-sidecar init containers are immutable";
                errors.push(FieldError::forbidden(path, why));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(cpu: &str) -> Value {
        let resources = json!({"requests": {"cpu": cpu, "memory": "10Mi"}});
        json!({
            "metadata": {"name": "a", "namespace": "b"},
            "spec": {"containers": [
                {"name": "a", "image": "a", "resources": resources},
                {"name": "b", "image": "b"},
            ]},
        })
    }

    fn told(part: PodPart, old: &Value, new: &Value) -> Vec<String> {
        validate(part, old, new).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_resize_takes_nothing_but_resources() {
        let mut sent = pod("200m");
        sent["spec"]["containers"][0]["image"] = "other".into();
        sent["spec"]["nodeName"] = "other".into();
        let mut new = pod("100m");
        new["spec"] = prepare(PodPart::Resources, &new["spec"], &sent["spec"]);
        assert_eq!(new, pod("200m"));
        assert_eq!(told(PodPart::Resources, &pod("100m"), &new), [""; 0]);
    }

    #[test]
    fn a_resize_that_changes_more_is_refused() {
        let old = pod("100m");
        let mut fewer = old.clone();
        fewer["spec"]["containers"] = json!([old["spec"]["containers"][0]]);
        let mut without = old.clone();
        without["spec"]["containers"][0]["resources"] = json!({"requests": {"memory": "10Mi"}});
        let mut class = old.clone();
        class["spec"]["containers"][0]["resources"] = json!({});
        let cases = [
            (fewer, "spec.containers: Forbidden: containers may not be added or removed on resize"),
            (
                without,
                "spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed",
            ),
            (
                class,
                "spec: Invalid value: \"Burstable\": Pod QOS Class may not change as a result of resizing",
            ),
        ];
        for (sent, why) in cases {
            let mut new = old.clone();
            new["spec"] = prepare(PodPart::Resources, &old["spec"], &sent["spec"]);
            let told = told(PodPart::Resources, &old, &new);
            assert!(told.iter().any(|own| own == why), "{told:?}");
        }
    }

    #[test]
    fn ephemeral_containers_come_and_stay() {
        let part = PodPart::EphemeralContainers;
        let with = |containers: Value| {
            let mut pod = pod("100m");
            pod["spec"]["ephemeralContainers"] = containers;
            pod
        };
        let look = |name: &str| json!({"name": name, "image": "look", "terminationMessagePolicy": "File"});
        let (one, two) = (with(json!([look("x")])), with(json!([look("x"), look("y")])));
        assert_eq!(told(part, &one, &two), [""; 0]);
        let why =
            "spec.ephemeralContainers: Forbidden: existing ephemeral containers \"y\" may not be removed\n";
        assert_eq!(told(part, &two, &one), [why]);
        let mut wrong = look("x");
        wrong["ports"] = json!([{"containerPort": 80, "protocol": "TCP"}]);
        wrong["targetContainerName"] = "none".into();
        assert_eq!(
            told(part, &pod("100m"), &with(json!([wrong]))),
            [
                "spec.ephemeralContainers[0].targetContainerName: Not found: \"none\"",
                "spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container",
            ]
        );
        assert_eq!(
            told(part, &pod("100m"), &with(json!([look("a")]))),
            ["spec.ephemeralContainers[0].name: Duplicate value: \"a\""]
        );
    }
}
