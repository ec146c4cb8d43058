//! The resource metrics API (`metrics.k8s.io/v1beta1`): what nodes and pods use now, of which nothing is stored. Whoever
//! runs the pods measures; here that is joined to the objects that it is about.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use xebec_machinery::builtin;
use xebec_machinery::resource::{Resource, Scope, Version};
use xebec_machinery::schema::{Node, Shape};
use xebec_machinery::status::Status;

use crate::api::Api;
use crate::call::Call;
use crate::object;
use crate::read::Listed;
use crate::request::Verb;

/// The group of the resource metrics API.
pub const GROUP: &str = "metrics.k8s.io";
const VERSION: &str = "v1beta1";

/// What something uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// Processor time, in billionths of one processor, on the average of the window.
    pub cpu_nanocores: u64,
    /// Memory that cannot be taken from it without harm.
    pub memory_bytes: u64,
    /// The end of the window.
    pub until: Timestamp,
    /// How long was measured.
    pub window: Duration,
}

/// A container of a pod: its place in the list of that name in the pod's specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// Of `containers`.
    Main(usize),
    /// Of `initContainers`.
    Init(usize),
}

/// What one machine measured.
#[derive(Debug, Clone, Default)]
pub struct Usage {
    /// The machine's name as a node.
    pub node: String,
    /// The whole machine.
    pub machine: Option<Measured>,
    /// The containers of pods, by the pods' uids.
    pub pods: HashMap<String, Vec<(Place, Measured)>>,
}

/// The resources of this API, for a catalog.
pub fn resources() -> Vec<std::sync::Arc<Resource>> {
    let resource = |kind: &str, plural: &str, scope| {
        let version = Version::new(VERSION, Node::new(Shape::Any).into());
        let verbs = vec!["get".into(), "list".into()];
        let resource = Resource::new(GROUP, kind, plural, scope, version);
        Resource { singular: "".into(), verbs, ..resource }.into()
    };
    vec![resource("NodeMetrics", "nodes", Scope::Cluster), resource("PodMetrics", "pods", Scope::Namespaced)]
}

/// Whether the call is for what is measured here. Where nobody measures, others may define the kinds of this group.
pub(crate) fn is_usage(call: &Call) -> bool {
    &*call.resource.group == GROUP && !call.resource.custom
}

impl Api {
    /// One object of this API.
    pub(crate) async fn usage_of(&self, call: &Call, usage: &Usage) -> Result<Value, Status> {
        let about = about(call, Verb::Get)?;
        let unknown = || Status::not_found(call.qualified(), call.name());
        let object = self.read(&about).await;
        let object = object.map_err(|status| if status.code() == 404 { unknown() } else { status })?;
        metrics(&call.resource.kind, &object, usage, call).ok_or_else(unknown)
    }

    /// The objects of this API that are about what the call selects.
    pub(crate) async fn usage_list(&self, call: &Call, usage: &Usage) -> Result<Listed, Status> {
        let mut listed = self.list(&about(call, Verb::List)?).await?;
        let kind = &call.resource.kind;
        listed.items = listed.items.iter().filter_map(|object| metrics(kind, object, usage, call)).collect();
        Ok(listed)
    }
}

/// The same call to the objects that the metrics are about.
fn about(call: &Call, verb: Verb) -> Result<Call, Status> {
    let plural = &call.resource.plural;
    let mut resources = builtin::resources().iter();
    let resource = resources.find(|own| own.group.is_empty() && own.plural == *plural);
    let resource = resource.ok_or_else(Status::no_such_resource)?;
    let mut about = Call::own(resource.clone(), verb, call.namespace(), call.name());
    about.request.name.clone_from(&call.request.name);
    about.request.options = call.request.options.clone();
    Ok(about)
}

/// What is measured of an object; nothing where nothing is, as of a pod that has just begun.
fn metrics(kind: &str, of: &Value, usage: &Usage, call: &Call) -> Option<Value> {
    let metadata = json!({
        "name": object::name(of), "namespace": object::namespace(of), "labels": of["metadata"]["labels"],
        "creationTimestamp": call.timestamp(),
    });
    let metadata: serde_json::Map<String, Value> = match metadata {
        Value::Object(fields) => fields.into_iter().filter(|(_, value)| !value.is_null()).collect(),
        _ => return None,
    };
    let mut metrics = json!({"kind": kind, "apiVersion": call.api_version(), "metadata": metadata});
    let measured = if kind == "NodeMetrics" {
        let machine = usage.machine.filter(|_| usage.node == object::name(of))?;
        metrics["usage"] = amounts(machine);
        machine
    } else {
        let measured = usage.pods.get(object::meta(of, "uid"))?;
        let containers = measured.iter().filter_map(|(place, measured)| {
            let name = match place {
                Place::Main(at) => &of["spec"]["containers"][at]["name"],
                Place::Init(at) => &of["spec"]["initContainers"][at]["name"],
            };
            Some(json!({"name": name.as_str()?, "usage": amounts(*measured)}))
        });
        metrics["containers"] = containers.collect();
        // The figures of a pod are as old as the oldest of them.
        measured.iter().map(|(_, measured)| *measured).min_by_key(|measured| measured.until)?
    };
    metrics["timestamp"] = crate::call::timestamp(measured.until).into();
    metrics["window"] =
        format!("{}.{:03}s", measured.window.as_secs(), measured.window.subsec_millis()).into();
    Some(metrics)
}

fn amounts(measured: Measured) -> Value {
    json!({
        "cpu": format!("{}n", measured.cpu_nanocores),
        "memory": format!("{}Ki", measured.memory_bytes >> 10),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;

    fn measured(cpu_nanocores: u64) -> Measured {
        let until = "2026-01-01T00:00:00Z".parse().unwrap();
        Measured { cpu_nanocores, memory_bytes: 3 << 20, until, window: Duration::from_millis(5_250) }
    }

    fn call(plural: &str) -> Call {
        let resource = resources().into_iter().find(|own| &*own.plural == plural).unwrap();
        Call::own(resource, Verb::Get, Some("shop"), "web")
    }

    #[test]
    fn a_pod_is_told_by_container_and_is_left_out_until_it_is_measured() {
        let pod = json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "u1", "labels": {"app": "web"}},
            "spec": {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "side"}]},
        });
        let containers =
            vec![(Place::Main(0), measured(1)), (Place::Main(1), measured(2)), (Place::Init(0), measured(3))];
        let pods = HashMap::from([("u1".to_owned(), containers)]);
        let usage = Usage { pods, ..Usage::default() };
        let call = call("pods");
        let told = metrics("PodMetrics", &pod, &usage, &call).unwrap();
        let names: Vec<_> =
            told["containers"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["a", "b", "side"]);
        assert_eq!(told["containers"][1]["usage"], json!({"cpu": "2n", "memory": "3072Ki"}));
        assert_eq!((&told["window"], &told["timestamp"]), (&"5.250s".into(), &"2026-01-01T00:00:00Z".into()));
        assert_eq!(told["metadata"]["labels"], json!({"app": "web"}));
        assert_eq!(metrics("PodMetrics", &pod, &Usage::default(), &call), None);
    }

    #[test]
    fn a_node_is_told_by_whoever_measures_it() {
        let usage = Usage { node: "edge".to_owned(), machine: Some(measured(7)), ..Usage::default() };
        let node = |name: &str| json!({"metadata": {"name": name, "uid": "n"}});
        let told = metrics("NodeMetrics", &node("edge"), &usage, &call("nodes")).unwrap();
        assert_eq!(told["usage"], json!({"cpu": "7n", "memory": "3072Ki"}));
        assert_eq!(metrics("NodeMetrics", &node("other"), &usage, &call("nodes")), None);
    }
}
