//! What a service is by its type: which IP families it has on a cluster that has IPv4 alone, and what it keeps and loses as
//! it becomes another.

use serde_json::{Map, Value, json};
use xebec_machinery::field::{FieldError, Path};
use xebec_machinery::validation;

use crate::object;
use crate::object::at_path;

const FAMILY: &str = "IPv4";

fn text<'a>(service: &'a Value, path: &str) -> &'a str {
    at_path(service, path).and_then(Value::as_str).unwrap_or_default()
}

fn kind(service: &Value) -> &str {
    text(service, ".spec.type")
}

fn list<'a>(service: &'a Value, path: &str) -> &'a [Value] {
    at_path(service, path).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// Whether somebody outside of the cluster can reach a service.
fn is_reached(service: &Value) -> bool {
    matches!(kind(service), "LoadBalancer" | "NodePort")
        || kind(service) == "ClusterIP" && !list(service, ".spec.externalIPs").is_empty()
}

/// Whether a load balancer asks the nodes if they have endpoints.
pub(crate) fn needs_health_check(service: &Value) -> bool {
    kind(service) == "LoadBalancer" && text(service, ".spec.externalTrafficPolicy") == "Local"
}

/// Clears what a service had because of its type, where its writer did not ask for something else. What is left is for
/// validation to refuse.
pub(crate) fn shed(old: &Value, new: &mut Value) {
    let balances = |service: &Value| kind(service) == "LoadBalancer";
    let fields = [
        ("healthCheckNodePort", needs_health_check(old) && !needs_health_check(new)),
        ("allocateLoadBalancerNodePorts", balances(old) && !balances(new)),
        ("loadBalancerClass", balances(old) && !balances(new)),
        ("externalTrafficPolicy", is_reached(old) && !is_reached(new)),
    ];
    let before = old.get("spec").cloned().unwrap_or_default();
    let balancer = balances(new);
    let spec = object::section_mut(new, "spec");
    for (field, is_over) in fields {
        if is_over && spec.get(field) == before.get(field) {
            spec.remove(field);
        }
    }
    if !balancer && let Some(status) = new.get_mut("status").and_then(Value::as_object_mut) {
        status.insert("loadBalancer".to_owned(), json!({}));
    }
}

/// Gives a service the port at which its nodes are asked, where its writer left it out.
pub(crate) fn keep_health_port(old: &Value, new: &mut Value) {
    let port = |service: &Value| at_path(service, ".spec.healthCheckNodePort").and_then(Value::as_i64);
    if needs_health_check(old)
        && needs_health_check(new)
        && port(new).is_none_or(|port| port == 0)
        && let Some(port) = port(old)
    {
        object::section_mut(new, "spec").insert("healthCheckNodePort".to_owned(), port.into());
    }
}

/// Gives a service its families, and says which of those that it asks for cannot be had.
pub(crate) fn families(old: Option<&Value>, new: &mut Value) -> Vec<FieldError> {
    if kind(new) == "ExternalName" || old.is_some_and(|old| stays_as_it_is(old, new)) {
        return Vec::new();
    }
    let headless = text(new, ".spec.clusterIP") == "None";
    let everything = at_path(new, ".spec.selector").and_then(Value::as_object).is_none_or(Map::is_empty);
    if at_path(new, ".spec.ipFamilyPolicy").is_none_or(Value::is_null) {
        let had = old.and_then(|old| at_path(old, ".spec.ipFamilyPolicy")).filter(|policy| !policy.is_null());
        let first = if headless && everything { "RequireDualStack" } else { "SingleStack" };
        let policy = had.cloned().unwrap_or_else(|| first.into());
        object::section_mut(new, "spec").insert("ipFamilyPolicy".to_owned(), policy);
    }
    let errors = validation::service_addresses(old, new);
    if !errors.is_empty() {
        return errors;
    }
    let mut errors = Vec::new();
    let mut families = list(new, ".spec.ipFamilies").to_vec();
    let addresses = list(new, ".spec.clusterIPs").to_vec();
    let policy = at_path(new, ".spec.ipFamilyPolicy").cloned().unwrap_or_default();
    let spec = Path::ROOT.child("spec");
    if policy == "SingleStack" {
        for (count, what) in [(addresses.len(), "cluster IPs"), (families.len(), "IP families")] {
            if count == 2 {
                let why = format!(
                    "must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified"
                );
                errors.push(FieldError::invalid(&spec.child("ipFamilyPolicy"), policy.clone(), why));
            }
        }
    }
    for (at, address) in addresses.iter().filter_map(Value::as_str).enumerate() {
        if address == "None" {
            break;
        }
        if at < families.len() {
            continue;
        }
        if address.contains(':') {
            let why = "IPv6 is not configured on this cluster";
            errors.push(FieldError::invalid(&spec.child("clusterIPs").index(at), addresses.clone(), why));
        } else {
            families.push(FAMILY.into());
        }
    }
    if !errors.is_empty() {
        return errors;
    }
    if headless && everything {
        if families.is_empty() {
            families.push(FAMILY.into());
        }
        if families.len() < 2 && policy != "SingleStack" {
            let other = if families.iter().any(|family| family == FAMILY) { "IPv6" } else { FAMILY };
            families.push(other.into());
        }
    } else {
        if policy == "RequireDualStack" {
            let why = "this cluster is not configured for dual-stack services";
            errors.push(FieldError::invalid(&spec.child("ipFamilyPolicy"), policy, why));
        }
        let place = spec.child("ipFamilies");
        for (at, family) in families.iter().enumerate().filter(|(_, family)| **family != FAMILY) {
            let why = "not configured on this cluster";
            errors.push(FieldError::invalid(&place.index(at), family.clone(), why));
        }
        if families.is_empty() {
            families.push(FAMILY.into());
        }
    }
    if errors.is_empty() {
        object::section_mut(new, "spec").insert("ipFamilies".to_owned(), families.into());
    }
    errors
}

/// Whether a service would have two families if it could, and changes in nothing of it.
fn stays_as_it_is(old: &Value, new: &Value) -> bool {
    let policy = |service: &Value| text(service, ".spec.ipFamilyPolicy") == "PreferDualStack";
    let same = |field: &str| {
        let path = format!(".spec.{field}");
        at_path(old, &path) == at_path(new, &path)
    };
    policy(old) && policy(new) && ["type", "clusterIP", "clusterIPs", "ipFamilies"].into_iter().all(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(spec: Value) -> Value {
        let mut service = json!({"spec": {"type": "ClusterIP", "selector": {"a": "b"}}});
        for (field, value) in spec.as_object().cloned().unwrap_or_default() {
            service["spec"][field] = value;
        }
        service
    }

    fn told(spec: Value) -> Vec<String> {
        families(None, &mut service(spec)).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn two_families_are_more_than_there_are() {
        let mut plain = service(json!({}));
        assert_eq!(families(None, &mut plain), []);
        assert_eq!(plain["spec"]["ipFamilyPolicy"], "SingleStack");
        assert_eq!(plain["spec"]["ipFamilies"], json!(["IPv4"]));
        assert_eq!(
            told(json!({"ipFamilyPolicy": "RequireDualStack"})),
            [
                "spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured for dual-stack \
              services"
            ]
        );
        assert_eq!(
            told(json!({"ipFamilies": ["IPv6"]})),
            ["spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster"]
        );
        let mut bare = service(json!({"clusterIP": "None", "clusterIPs": ["None"], "selector": {}}));
        assert_eq!(families(None, &mut bare), []);
        assert_eq!(bare["spec"]["ipFamilyPolicy"], "RequireDualStack");
        assert_eq!(bare["spec"]["ipFamilies"], json!(["IPv4", "IPv6"]));
    }

    #[test]
    fn what_a_type_brought_goes_with_it() {
        let old = service(json!({
            "type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": 30_100,
            "allocateLoadBalancerNodePorts": true, "loadBalancerClass": "a.b/c",
        }));
        let mut new = old.clone();
        new["spec"]["type"] = "ClusterIP".into();
        new["spec"]["loadBalancerClass"] = "a.b/d".into();
        new["status"] = json!({"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}});
        shed(&old, &mut new);
        assert_eq!(
            new["spec"],
            json!({"type": "ClusterIP", "selector": {"a": "b"}, "loadBalancerClass": "a.b/d"})
        );
        assert_eq!(new["status"]["loadBalancer"], json!({}));
    }
}
