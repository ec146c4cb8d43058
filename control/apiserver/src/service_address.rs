//! Which cluster IP a service has: given when it is made, kept while it lives, free again when it is gone.

use std::net::Ipv4Addr;

use serde_json::{Value, json};
use xebec_machinery::field::{FieldError, Path};
use xebec_machinery::status::Status;
use xebec_store::ListRequest;

use crate::api::Api;
use crate::call::Call;
use crate::cluster_ip::Held;
use crate::{key, object, storage};

impl Api {
    /// Gives a service its address, or gives it back the one it had. What is given is kept once the write is done.
    pub(crate) fn allocate(
        &self,
        call: &Call,
        old: Option<&Value>,
        new: &mut Value,
    ) -> Result<Option<Held>, Status> {
        if (&*call.resource.group, &*call.resource.plural) != ("", "services") {
            return Ok(None);
        }
        let kind =
            object::at_path(new, ".spec.type").and_then(Value::as_str).unwrap_or("ClusterIP").to_owned();
        if kind == "ExternalName" {
            return Ok(None);
        }
        let spec = object::section_mut(new, "spec");
        let had = old.and_then(|old| object::at_path(old, ".spec.clusterIP")).filter(|had| **had != "");
        if let Some(had) = had
            && spec.get("clusterIP").is_none_or(|now| now.is_null() || *now == "")
        {
            spec.insert("clusterIP".to_owned(), had.clone());
        }
        let wanted = spec.get("clusterIP").and_then(Value::as_str).unwrap_or_default().to_owned();
        let kept =
            old.and_then(|old| object::at_path(old, ".spec.clusterIP")).is_some_and(|had| *had == wanted);
        let held = if wanted == "None" || (kept && !wanted.is_empty()) {
            None
        } else {
            Some(self.hold(call, &wanted, object::name(new))?)
        };
        let address = held.as_ref().map_or(wanted, |held| held.address.to_string());
        let spec = object::section_mut(new, "spec");
        spec.insert("clusterIPs".to_owned(), json!([address]));
        spec.insert("clusterIP".to_owned(), address.into());
        spec.entry("ipFamilies").or_insert_with(|| json!(["IPv4"]));
        spec.entry("ipFamilyPolicy").or_insert_with(|| json!("SingleStack"));
        Ok(held)
    }

    fn hold(&self, call: &Call, wanted: &str, name: &str) -> Result<Held, Status> {
        let spec = Path::ROOT.child("spec");
        let place = spec.child("clusterIPs");
        let refused = |detail: String| {
            let error = FieldError::invalid(&place.index(0), wanted, detail);
            Status::invalid(call.qualified_kind(), name, &[error])
        };
        let address = match wanted {
            "" => None,
            text => Some(
                text.parse::<Ipv4Addr>()
                    .map_err(|_| refused("must be a valid IPv4 address (e.g. 10.9.8.7)".to_owned()))?,
            ),
        };
        self.cluster_ips().hold(address).map_err(|error| match address {
            Some(_) => refused(error.to_string()),
            None => Status::internal(&error.to_string()),
        })
    }

    /// Lets go what a deleted object held.
    pub(crate) fn release(&self, call: &Call, gone: &Value) {
        if (&*call.resource.group, &*call.resource.plural) != ("", "services") {
            return;
        }
        if let Some(address) = address_of(gone) {
            self.cluster_ips().free(address);
        }
    }

    /// Notes the addresses of all stored services.
    pub(crate) fn note_addresses(&self) -> Result<(), Status> {
        let served = self.catalog().served();
        let Some(services) = served.find("", "services") else { return Ok(()) };
        let prefix = key::prefix("", "services", None);
        let page =
            self.storage().list(services, &ListRequest { prefix: &prefix, ..ListRequest::default() })?;
        for entry in &page.items {
            if let Some(address) = address_of(&storage::decode(entry)?.object) {
                self.cluster_ips().note(address);
            }
        }
        Ok(())
    }
}

fn address_of(service: &Value) -> Option<Ipv4Addr> {
    object::at_path(service, ".spec.clusterIP")?.as_str()?.parse().ok()
}
