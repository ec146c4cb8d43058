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
    /// already, if it is not new; `chance` where the search for a free one begins. A `dry` write may ask for a port
    /// that is out of range, as upstream's may.
    ///
    /// # Errors
    ///
    /// Which port cannot have the one that it asks for, and why.
    pub(crate) fn hold(
        &self,
        service: &mut Value,
        had: Option<&BTreeSet<u16>>,
        chance: u64,
        dry: bool,
    ) -> Result<HeldPorts, FieldError> {
        let mut held = HeldPorts { of: self.clone(), ports: BTreeSet::new() };
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = had.cloned().unwrap_or_default();
        let asked = &kept | &ports_of(service);
        let mut search =
            Search { taken: &mut taken, held: &mut held.ports, kept: &kept, asked: &asked, chance, dry };
        let ports = if had.is_none() { search.first(service) } else { search.again(service) };
        let found = ports.and_then(|()| search.health(service));
        drop(taken);
        found.map(|()| held)
    }
}

/// A search for the ports of one service.
struct Search<'a> {
    taken: &'a mut HashMap<u16, u32>,
    held: &'a mut BTreeSet<u16>,
    /// What the service has already.
    kept: &'a BTreeSet<u16>,
    /// With what it asks for.
    asked: &'a BTreeSet<u16>,
    chance: u64,
    dry: bool,
}

impl Search<'_> {
    fn hold(&mut self, number: u16) {
        self.taken.insert(number, 1);
        self.held.insert(number);
    }

    /// Takes the port that is asked for.
    fn take(&mut self, wanted: i64, path: &Path<'_>) -> Result<(), FieldError> {
        let Some(number) = u16::try_from(wanted).ok().filter(|number| RANGE.contains(number)) else {
            if self.dry {
                return Ok(());
            }
            let (from, to) = (RANGE.start(), RANGE.end());
            let why =
                format!("provided port is not in the valid range. The range of valid ports is {from}-{to}");
            return Err(FieldError::invalid(path, wanted, why));
        };
        if self.taken.contains_key(&number) {
            return Err(FieldError::invalid(path, wanted, "provided port is already allocated"));
        }
        self.hold(number);
        Ok(())
    }

    /// Takes any port.
    fn any(&mut self, path: &Path<'_>) -> Result<u16, FieldError> {
        let Some(number) = free(self.taken, self.asked, self.chance) else {
            let why = "range is full; delete services of type NodePort or LoadBalancer that are not needed";
            return Err(FieldError::invalid(path, 0, why));
        };
        self.hold(number);
        self.chance = self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        Ok(number)
    }

    /// The ports of a new service: ports of one number, which differ in their protocols, share one of the nodes.
    fn first(&mut self, service: &mut Value) -> Result<(), FieldError> {
        let (of_nodes, all) = (of_nodes(service), asks(service));
        if !of_nodes {
            return Ok(());
        }
        let mut shared: HashMap<i64, i64> = HashMap::new();
        let spec = Path::ROOT.child("spec");
        let place = spec.child("ports");
        let ports = service.pointer_mut("/spec/ports").and_then(Value::as_array_mut);
        let ports = ports.map(Vec::as_mut_slice).unwrap_or_default();
        for index in 0..ports.len() {
            let path = place.index(index);
            let path = path.child("nodePort");
            let number = |port: &Value| port.get("port").and_then(Value::as_i64).unwrap_or_default();
            let (own, port) = (wanted(&ports[index]), number(&ports[index]));
            if own.is_none() && !all {
                continue;
            }
            let given = match (shared.get(&port), own) {
                (Some(shared), None) => *shared,
                (Some(shared), Some(own)) if *shared == own => own,
                (Some(_), Some(own)) => {
                    self.take(own, &path)?;
                    own
                }
                (None, _) => {
                    let asked = ports[index..].iter().filter(|other| number(other) == port).find_map(wanted);
                    match asked {
                        Some(asked) => self.take(asked, &path).map(|()| asked)?,
                        None => self.any(&path)?.into(),
                    }
                }
            };
            shared.entry(port).or_insert(given);
            set(&mut ports[index], given);
        }
        Ok(())
    }

    /// The ports of a service that was there before.
    fn again(&mut self, service: &mut Value) -> Result<(), FieldError> {
        if !asks(service) {
            return Ok(());
        }
        let spec = Path::ROOT.child("spec");
        let place = spec.child("ports");
        let ports = service.pointer_mut("/spec/ports").and_then(Value::as_array_mut);
        for (index, port) in ports.into_iter().flatten().enumerate() {
            let path = place.index(index);
            let path = path.child("nodePort");
            let Some(wanted) = wanted(port) else {
                let number = self.any(&path)?;
                set(port, number.into());
                continue;
            };
            let has = |all: &BTreeSet<u16>| u16::try_from(wanted).is_ok_and(|number| all.contains(&number));
            // Validation says what is wrong with one that stands twice.
            if !has(self.kept) && !has(self.held) {
                self.take(wanted, &path)?;
            }
        }
        Ok(())
    }

    /// The port at which the nodes tell of their endpoints.
    fn health(&mut self, service: &mut Value) -> Result<(), FieldError> {
        if !needs_health_check(service) {
            return Ok(());
        }
        let spec = Path::ROOT.child("spec");
        let path = spec.child("healthCheckNodePort");
        let number = match health_port(service) {
            None => self.any(&path)?,
            Some(wanted) => match u16::try_from(wanted) {
                Ok(number) if self.kept.contains(&number) => return Ok(()),
                Ok(number) if self.taken.contains_key(&number) => {
                    return Err(FieldError::invalid(&path, number, "provided port is already allocated"));
                }
                Ok(number) => {
                    self.hold(number);
                    number
                }
                // Validation says what is wrong with one that is none.
                Err(_) => return Ok(()),
            },
        };
        if let Some(spec) = service.get_mut("spec").and_then(Value::as_object_mut) {
            spec.insert("healthCheckNodePort".to_owned(), number.into());
        }
        Ok(())
    }
}

fn set(port: &mut Value, number: i64) {
    if let Some(port) = port.as_object_mut() {
        port.insert("nodePort".to_owned(), number.into());
    }
}

/// A port that no service has, searched from some beginning.
fn free(taken: &HashMap<u16, u32>, asked: &BTreeSet<u16>, start: u64) -> Option<u16> {
    let count = u64::from(RANGE.end() - RANGE.start()) + 1;
    (0..count)
        .filter_map(|step| u16::try_from((start % count + step) % count).ok())
        .map(|offset| RANGE.start() + offset)
        .find(|number| !taken.contains_key(number) && !asked.contains(number))
}

/// The port at which the nodes are asked whether they have endpoints.
fn health_port(service: &Value) -> Option<i64> {
    at_path(service, ".spec.healthCheckNodePort").and_then(Value::as_i64).filter(|port| *port != 0)
}

fn wanted(port: &Value) -> Option<i64> {
    port.get("nodePort").and_then(Value::as_i64).filter(|number| *number != 0)
}

/// Whether a service of this type may have ports of nodes.
fn of_nodes(service: &Value) -> bool {
    matches!(at_path(service, ".spec.type").and_then(Value::as_str), Some("NodePort" | "LoadBalancer"))
}

/// Whether each port of a service of this type is a port of nodes too.
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
        if let Some(number) = number.filter(|number| had.contains(number) && !has.contains(number)) {
            set(port, number.into());
        }
    }
}

/// Clears the node ports that a service had because of its type, where its writer did not ask for others.
pub(crate) fn shed(old: &Value, new: &mut Value) {
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
        let held = all.hold(&mut one, None, 7, false).unwrap();
        let ports = ports_of(&one);
        assert_eq!(ports.len(), 2);
        assert!(ports.iter().all(|port| RANGE.contains(port)), "{ports:?}");
        held.keep();

        let first = *ports.first().unwrap();
        let asked = json!([{"port": 1, "nodePort": first}]);
        let refused = all.hold(&mut service("NodePort", &asked), None, 7, false).unwrap_err();
        assert_eq!(
            refused.to_string(),
            format!("spec.ports[0].nodePort: Invalid value: {first}: provided port is already allocated")
        );
        // The service itself keeps what it has.
        assert!(all.hold(&mut one, Some(&ports), 7, false).unwrap().is_empty());
        all.free(&ports);
        assert!(all.hold(&mut service("NodePort", &asked), None, 7, false).is_ok());
    }

    #[test]
    fn ports_of_one_number_share_theirs() {
        let both = json!([{"port": 53, "protocol": "UDP"}, {"port": 53, "nodePort": 30_053}, {"port": 54}]);
        let mut one = service("NodePort", &both);
        NodePorts::default().hold(&mut one, None, 53, false).unwrap();
        let ports: Vec<Option<i64>> = one["spec"]["ports"].as_array().unwrap().iter().map(wanted).collect();
        assert_eq!(ports[..2], [Some(30_053); 2]);
        assert!(ports[2] != Some(30_053) && ports[2].is_some(), "{ports:?}");
        let twice = json!([{"port": 1, "nodePort": 30_001}, {"port": 2, "nodePort": 30_001}]);
        let refused = NodePorts::default().hold(&mut service("NodePort", &twice), None, 0, true).unwrap_err();
        assert!(refused.to_string().contains("spec.ports[1].nodePort"), "{refused}");
        let out = json!([{"port": 1, "nodePort": 80}]);
        assert!(NodePorts::default().hold(&mut service("NodePort", &out), None, 0, true).is_ok());
    }

    #[test]
    fn a_write_that_fails_holds_nothing() {
        let all = NodePorts::default();
        let asked = json!([{"port": 1, "nodePort": 30_001}, {"port": 2, "nodePort": 80}]);
        let refused = all.hold(&mut service("NodePort", &asked), None, 0, false).unwrap_err();
        assert!(refused.to_string().contains("The range of valid ports is 30000-32767"), "{refused}");
        let asked = json!([{"port": 1, "nodePort": 30_001}]);
        drop(all.hold(&mut service("LoadBalancer", &asked), None, 0, false).unwrap());
        assert!(all.hold(&mut service("NodePort", &asked), None, 0, false).is_ok());
    }

    #[test]
    fn a_service_that_needs_none_sheds_what_it_had() {
        let old = service("NodePort", &json!([{"port": 80, "nodePort": 30_080}]));
        let mut new = service("ClusterIP", &json!([{"port": 80, "nodePort": 30_080}]));
        shed(&old, &mut new);
        assert!(ports_of(&new).is_empty());
        assert!(NodePorts::default().hold(&mut new, None, 0, false).unwrap().is_empty());
    }
}
