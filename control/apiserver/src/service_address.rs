//! Which cluster IP and node ports a service has: given when it is made, kept while it lives, free again when it is gone
//! or becomes something that has none.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use serde_json::{Map, Value, json};
use xebec_admission::companions::Companion;
use xebec_machinery::field::{FieldError, Path};
use xebec_machinery::status::Status;
use xebec_store::ListRequest;

use crate::api::Api;
use crate::call::Call;
use crate::cluster_ip::{ClusterIps, Held};
use crate::node_port::{self, HeldPorts, NodePorts};
use crate::{cluster_ip, key, object, service_shape, storage, strategy};

/// What a write does to the addresses once it is done. Dropped before that, it does nothing.
#[derive(Debug, Default)]
pub(crate) struct Allotment {
    held: Option<Held>,
    freed: Option<(ClusterIps, Ipv4Addr)>,
    /// The IPAddress that comes or goes with the address.
    companion: Option<Companion>,
    held_ports: Option<HeldPorts>,
    freed_ports: Option<(NodePorts, BTreeSet<u16>)>,
}

impl Allotment {
    /// Whether the write touches no address.
    pub(crate) fn is_empty(&self) -> bool {
        self.held.is_none()
            && self.freed.is_none()
            && self.held_ports.as_ref().is_none_or(HeldPorts::is_empty)
            && self.freed_ports.as_ref().is_none_or(|(_, ports)| ports.is_empty())
    }

    /// What is stored or taken away with the write.
    pub(crate) fn companion(&self) -> impl Iterator<Item = Companion> + use<> {
        self.companion.clone().into_iter()
    }

    /// The write is done.
    pub(crate) fn settle(self) {
        if let Some(held) = self.held {
            held.keep();
        }
        if let Some((addresses, address)) = self.freed {
            addresses.free(address);
        }
        if let Some(held) = self.held_ports {
            held.keep();
        }
        if let Some((all, ports)) = self.freed_ports {
            all.free(&ports);
        }
    }
}

impl Api {
    /// Gives a service its address and node ports, or gives it back those it had, or takes them where its type has none.
    pub(crate) fn allocate(
        &self,
        call: &Call,
        old: Option<&Value>,
        new: &mut Value,
    ) -> Result<Allotment, Status> {
        if !is_service(call) {
            return Ok(Allotment::default());
        }
        if let Some(old) = old {
            node_port::shed(old, new);
            service_shape::shed(old, new);
            node_port::keep(old, new);
            service_shape::keep_health_port(old, new);
        }
        let allotment = self.allocate_address(call, old, new)?;
        let had = old.map(node_port::ports_of);
        let dry = call.options().dry_run;
        let held = self.node_ports().hold(new, had.as_ref(), strategy::chance(), dry);
        let held =
            held.map_err(|error| Status::invalid(call.qualified_kind(), object::name(new), &[error]))?;
        let freed = &had.unwrap_or_default() - &node_port::ports_of(new);
        Ok(Allotment {
            held_ports: Some(held),
            freed_ports: Some((self.node_ports().clone(), freed)),
            ..allotment
        })
    }

    fn allocate_address(
        &self,
        call: &Call,
        old: Option<&Value>,
        new: &mut Value,
    ) -> Result<Allotment, Status> {
        // What was a mere name had no address of its own, whatever it says.
        let before = old.filter(|old| has_address(old)).and_then(|old| old.get("spec"));
        if !has_address(new) {
            let given_back = old.map_or_else(|| Ok(Allotment::default()), |old| self.give_back(old));
            become_name(before, object::section_mut(new, "spec"));
            return given_back;
        }
        let spec = object::section_mut(new, "spec");
        let had = before.and_then(|before| before.get("clusterIP")).filter(|had| **had != "");
        if let Some(had) = had
            && spec.get("clusterIP").is_none_or(|now| now.is_null() || *now == "")
        {
            spec.insert("clusterIP".to_owned(), had.clone());
        }
        let wanted = spec.get("clusterIP").and_then(Value::as_str).unwrap_or_default().to_owned();
        let first = spec.get("clusterIPs").and_then(|all| all.get(0)).and_then(Value::as_str);
        let stale = before.is_some_and(|before| before.get("clusterIPs") == spec.get("clusterIPs"));
        if first.is_some_and(|first| first != wanted) && !stale {
            // Validation says what is wrong with that.
            return Ok(Allotment::default());
        }
        if first.is_none_or(|first| first != wanted) && !wanted.is_empty() {
            spec.insert("clusterIPs".to_owned(), json!([wanted]));
        }
        let errors = service_shape::families(before.and(old), new);
        if !errors.is_empty() {
            return Err(Status::invalid(call.qualified_kind(), object::name(new), &errors));
        }
        let kept = had.is_some_and(|had| *had == *wanted);
        let held = if wanted == "None" || kept {
            None
        } else {
            Some(self.hold(call, &wanted, object::name(new))?)
        };
        let address = held.as_ref().map_or(wanted, |held| held.address.to_string());
        let spec = object::section_mut(new, "spec");
        if spec.get("clusterIPs").and_then(|all| all.get(0)).is_none_or(|first| *first != *address) {
            spec.insert("clusterIPs".to_owned(), json!([address]));
        }
        spec.insert("clusterIP".to_owned(), address.into());
        let made = held.as_ref().map(|held| self.ip_address_made(held.address, new));
        Ok(Allotment { companion: made.transpose()?, held, ..Allotment::default() })
    }

    fn give_back(&self, service: &Value) -> Result<Allotment, Status> {
        let Some(address) = of(service) else { return Ok(Allotment::default()) };
        let companion = self.ip_address_removed(address, service)?;
        Ok(Allotment {
            companion,
            freed: Some((self.cluster_ips().clone(), address)),
            ..Allotment::default()
        })
    }

    fn hold(&self, call: &Call, wanted: &str, name: &str) -> Result<Held, Status> {
        let spec = Path::ROOT.child("spec");
        let place = spec.child("clusterIPs");
        let refused = |detail: String| {
            let error = FieldError::invalid(&place, json!([wanted]), detail);
            Status::invalid(call.qualified_kind(), name, &[error])
        };
        let address = match wanted {
            "" => None,
            text => Some(
                text.parse::<Ipv4Addr>()
                    .map_err(|_| refused("must be a valid IPv4 address (e.g. 10.9.8.7)".to_owned()))?,
            ),
        };
        let mut passed = Vec::new();
        loop {
            let held = self.cluster_ips().hold(address).map_err(|error| match address {
                Some(_) => refused(error.to_string()),
                None => Status::internal(&error.to_string()),
            })?;
            // Whoever makes an IPAddress has the address.
            if self.ip_address(held.address)?.is_none() {
                return Ok(held);
            }
            if let Some(address) = address {
                return Err(refused(cluster_ip::Error::Taken(address).to_string()));
            }
            passed.push(held);
        }
    }

    /// What the end of an object gives back.
    pub(crate) fn release(&self, call: &Call, gone: &Value) -> Result<Allotment, Status> {
        if !is_service(call) {
            return Ok(Allotment::default());
        }
        let freed_ports = Some((self.node_ports().clone(), node_port::ports_of(gone)));
        Ok(Allotment { freed_ports, ..self.give_back(gone)? })
    }

    /// Notes the addresses and node ports of all stored services.
    pub(crate) fn note_addresses(&self) -> Result<(), Status> {
        for service in self.services()? {
            if let Some(address) = of(&service) {
                self.cluster_ips().note(address);
            }
            self.node_ports().note(&node_port::ports_of(&service));
        }
        Ok(())
    }

    /// All stored services.
    pub(crate) fn services(&self) -> Result<Vec<Value>, Status> {
        let served = self.catalog().served();
        let Some(services) = served.find("", "services") else { return Ok(Vec::new()) };
        let prefix = key::prefix("", "services", None);
        let page =
            self.storage().list(services, &ListRequest { prefix: &prefix, ..ListRequest::default() })?;
        page.items.iter().map(|entry| Ok(storage::decode(entry)?.object)).collect()
    }
}

fn is_service(call: &Call) -> bool {
    (&*call.resource.group, &*call.resource.plural) == ("", "services")
}

/// Whether a service of this type has an address: all but those that are names of something outside.
fn has_address(service: &Value) -> bool {
    object::at_path(service, ".spec.type").is_none_or(|kind| *kind != "ExternalName")
}

/// The address that a service holds.
pub(crate) fn of(service: &Value) -> Option<Ipv4Addr> {
    if !has_address(service) {
        return None;
    }
    object::at_path(service, ".spec.clusterIP")?.as_str()?.parse().ok()
}

/// Clears what a service had because of its type, where its writer did not ask for something else. What is left is for
/// validation to refuse.
fn become_name(before: Option<&Value>, spec: &mut Map<String, Value>) {
    let Some(before) = before else { return };
    let same = |spec: &Map<String, Value>, field: &str| before.get(field) == spec.get(field);
    let address = same(spec, "clusterIP") && (same(spec, "clusterIPs") || !spec.contains_key("clusterIPs"));
    if address {
        spec.remove("clusterIP");
        spec.remove("clusterIPs");
    }
    for field in ["ipFamilies", "ipFamilyPolicy"] {
        if same(spec, field) {
            spec.remove(field);
        }
    }
}
