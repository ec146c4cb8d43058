//! Which node ports services have: each is one service's alone, whatever the protocols.

use std::collections::{BTreeSet, HashMap};
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use xebec_machinery::field::{FieldError, Path};

use crate::object::at_path;
use crate::service_shape::needs_health_check;

/// The ports that services may have.
pub const RANGE: RangeInclusive<u16> = 30_000..=32_767;

/// The node ports of all services: how many hold each. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct NodePorts(Arc<Mutex<HashMap<u16, u32>>>);

/// Ports that are kept once their write is done, and free again otherwise.
#[derive(Debug)]
pub(crate) struct HeldPorts {
    of: NodePorts,
    ports: BTreeSet<u16>,
}

impl HeldPorts {
    pub(crate) fn is_empty(&self) -> bool {
        self.ports.is_empty()
    }

    /// The write is done; the ports stay taken.
    pub(crate) fn keep(mut self) {
        self.ports.clear();
    }
}

impl Drop for HeldPorts {
    fn drop(&mut self) {
        self.of.free(&self.ports);
    }
}

impl NodePorts {
    /// Marks the ports of a stored service as taken.
    pub(crate) fn note(&self, ports: &BTreeSet<u16>) {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for port in ports {
            *taken.entry(*port).or_default() += 1;
        }
    }

    /// Gives ports back.
    pub(crate) fn free(&self, ports: &BTreeSet<u16>) {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for port in ports {
            if let Some(holders) = taken.get_mut(port) {
                *holders -= 1;
                if *holders == 0 {
                    taken.remove(port);
                }
            }
        }
    }

    /// Gives each port of a service its node port where its type asks for some. `had` are those that the service has
    /// already, `chance` where the search for a free one begins.
    ///
    /// # Errors
    ///
    /// Which port cannot have the one that it asks for, and why.
    pub(crate) fn hold(
        &self,
        service: &mut Value,
        had: &BTreeSet<u16>,
        chance: u64,
    ) -> Result<HeldPorts, FieldError> {
        let mut held = HeldPorts { of: self.clone(), ports: BTreeSet::new() };
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if needs_health_check(service) {
            let wanted = health_port(service);
            let number = match wanted.and_then(|port| u16::try_from(port).ok()) {
                // Validation says what is wrong with one that is none.
                _ if wanted.is_some_and(|port| !(0..=65_535).contains(&port)) => None,
                None => free(&taken, had, chance),
                Some(number) if had.contains(&number) => None,
                Some(number) if taken.contains_key(&number) => {
                    drop(taken);
                    let path = Path::ROOT.child("spec");
                    let why = "provided port is already allocated";
                    return Err(FieldError::invalid(&path.child("healthCheckNodePort"), number, why));
                }
                Some(number) => Some(number),
            };
            if let (Some(number), Some(spec)) =
                (number, service.get_mut("spec").and_then(Value::as_object_mut))
            {
                taken.insert(number, 1);
                held.ports.insert(number);
                spec.insert("healthCheckNodePort".to_owned(), number.into());
            }
        }
        if !asks(service) {
            drop(taken);
            return Ok(held);
        }
        let spec = Path::ROOT.child("spec");
        let place = spec.child("ports");
        let ports = service.pointer_mut("/spec/ports").and_then(Value::as_array_mut);
        let ports = ports.map(Vec::as_mut_slice).unwrap_or_default();
        for (index, port) in ports.iter().enumerate() {
            let Some(wanted) = wanted(port) else { continue };
            let Some(number) = u16::try_from(wanted).ok().filter(|number| RANGE.contains(number)) else {
                let why = format!(
                    "provided port is not in the valid range. The range of valid ports is {}-{}",
                    RANGE.start(),
                    RANGE.end()
                );
                drop(taken);
                return Err(FieldError::invalid(&place.index(index).child("nodePort"), wanted, why));
            };
            if had.contains(&number) || held.ports.contains(&number) {
                continue;
            }
            if taken.contains_key(&number) {
                drop(taken);
                let why = "provided port is already allocated";
                return Err(FieldError::invalid(&place.index(index).child("nodePort"), wanted, why));
            }
            taken.insert(number, 1);
            held.ports.insert(number);
        }
        let mut start = chance;
        for (index, port) in ports.iter_mut().enumerate() {
            if wanted(port).is_some() {
                continue;
            }
            let Some(number) = free(&taken, had, start) else {
                drop(taken);
                let why =
                    "range is full; delete services of type NodePort or LoadBalancer that are not needed";
                return Err(FieldError::invalid(&place.index(index).child("nodePort"), 0, why));
            };
            taken.insert(number, 1);
            held.ports.insert(number);
            start = start.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            if let Some(port) = port.as_object_mut() {
                port.insert("nodePort".to_owned(), number.into());
            }
        }
        drop(taken);
        Ok(held)
    }
}

/// A port that no service has, searched from some beginning.
fn free(taken: &HashMap<u16, u32>, had: &BTreeSet<u16>, start: u64) -> Option<u16> {
    let count = u64::from(RANGE.end() - RANGE.start()) + 1;
    (0..count)
        .filter_map(|step| u16::try_from((start % count + step) % count).ok())
        .map(|offset| RANGE.start() + offset)
        .find(|number| !taken.contains_key(number) && !had.contains(number))
}

/// The port at which the nodes are asked whether they have endpoints.
fn health_port(service: &Value) -> Option<i64> {
    at_path(service, ".spec.healthCheckNodePort").and_then(Value::as_i64).filter(|port| *port != 0)
}

fn wanted(port: &Value) -> Option<i64> {
    port.get("nodePort").and_then(Value::as_i64).filter(|number| *number != 0)
}

/// Whether the ports of a service of this type are ports of nodes too.
fn asks(service: &Value) -> bool {
    match at_path(service, ".spec.type").and_then(Value::as_str) {
        Some("NodePort") => true,
        Some("LoadBalancer") => {
            at_path(service, ".spec.allocateLoadBalancerNodePorts").is_none_or(|asked| *asked != false)
        }
        _ => false,
    }
}

/// The node ports that a service holds.
pub(crate) fn ports_of(service: &Value) -> BTreeSet<u16> {
    let ports = at_path(service, ".spec.ports").and_then(Value::as_array);
    let health = health_port(service).filter(|_| needs_health_check(service));
    let numbers = ports.into_iter().flatten().filter_map(wanted).chain(health);
    numbers.filter_map(|number| u16::try_from(number).ok()).collect()
}

/// Gives the ports of a service the node ports that ports of these names had, where its writer left them out.
pub(crate) fn keep(old: &Value, new: &mut Value) {
    if !asks(old) || !asks(new) {
        return;
    }
    let (had, has) = (ports_of(old), ports_of(new));
    let name = |port: &Value| port.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let before = at_path(old, ".spec.ports").and_then(Value::as_array);
    let named: HashMap<String, i64> =
        before.into_iter().flatten().filter_map(|port| Some((name(port), wanted(port)?))).collect();
    let ports = new.pointer_mut("/spec/ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten().filter(|port| wanted(port).is_none()) {
        let number = named.get(&name(port)).and_then(|number| u16::try_from(*number).ok());
        if let Some(number) = number.filter(|number| had.contains(number) && !has.contains(number))
            && let Some(port) = port.as_object_mut()
        {
            port.insert("nodePort".to_owned(), number.into());
        }
    }
}

/// Clears the node ports that a service had because of its type, where its writer did not ask for others.
pub(crate) fn shed(old: &Value, new: &mut Value) {
    let of_nodes = |service: &Value| {
        matches!(at_path(service, ".spec.type").and_then(Value::as_str), Some("NodePort" | "LoadBalancer"))
    };
    if !of_nodes(old) || of_nodes(new) {
        return;
    }
    let had = ports_of(old);
    let ports = new.pointer_mut("/spec/ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten() {
        let same = wanted(port).and_then(|number| u16::try_from(number).ok());
        if same.is_some_and(|number| had.contains(&number))
            && let Some(port) = port.as_object_mut()
        {
            port.remove("nodePort");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service(kind: &str, ports: &Value) -> Value {
        json!({"spec": {"type": kind, "ports": ports}})
    }

    #[test]
    fn ports_are_given_kept_and_freed() {
        let all = NodePorts::default();
        let mut one = service("NodePort", &json!([{"port": 80}, {"port": 443}]));
        let held = all.hold(&mut one, &BTreeSet::new(), 7).unwrap();
        let ports = ports_of(&one);
        assert_eq!(ports.len(), 2);
        assert!(ports.iter().all(|port| RANGE.contains(port)), "{ports:?}");
        held.keep();

        let first = *ports.first().unwrap();
        let asked = json!([{"port": 1, "nodePort": first}]);
        let refused = all.hold(&mut service("NodePort", &asked), &BTreeSet::new(), 7).unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!("spec.ports[0].nodePort: Invalid value: {first}: provided port is already allocated")
        );
        // The service itself keeps what it has.
        assert!(all.hold(&mut one, &ports, 7).unwrap().is_empty());
        all.free(&ports);
        assert!(all.hold(&mut service("NodePort", &asked), &BTreeSet::new(), 7).is_ok());
    }

    #[test]
    fn a_write_that_fails_holds_nothing() {
        let all = NodePorts::default();
        let asked = json!([{"port": 1, "nodePort": 30_001}, {"port": 2, "nodePort": 80}]);
        let refused = all.hold(&mut service("NodePort", &asked), &BTreeSet::new(), 0).unwrap_err();
        assert!(refused.to_string().contains("The range of valid ports is 30000-32767"), "{refused}");
        let asked = json!([{"port": 1, "nodePort": 30_001}]);
        drop(all.hold(&mut service("LoadBalancer", &asked), &BTreeSet::new(), 0).unwrap());
        assert!(all.hold(&mut service("NodePort", &asked), &BTreeSet::new(), 0).is_ok());
    }

    #[test]
    fn a_service_that_needs_none_sheds_what_it_had() {
        let old = service("NodePort", &json!([{"port": 80, "nodePort": 30_080}]));
        let mut new = service("ClusterIP", &json!([{"port": 80, "nodePort": 30_080}]));
        shed(&old, &mut new);
        assert!(ports_of(&new).is_empty());
        assert!(NodePorts::default().hold(&mut new, &BTreeSet::new(), 0).unwrap().is_empty());
    }
}
