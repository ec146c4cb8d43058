//! IPAddresses: one for each address that a service has (KEP-1880), stored and taken away together with it.

use std::net::Ipv4Addr;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};
use xebec_admission::companions::{Change, Companion};
use xebec_machinery::status::Status;

use crate::api::Api;
use crate::storage::Stored;
use crate::strategy::{self, Part};
use crate::{object, service_address};

const GROUP: &str = "networking.k8s.io";
const PLURAL: &str = "ipaddresses";
/// How many missing ones are written at once, so that they share their way to the disk.
const AT_ONCE: usize = 64;

impl Api {
    /// The object of an address that somebody has.
    pub(crate) fn ip_address(&self, address: Ipv4Addr) -> Result<Option<Stored>, Status> {
        let served = self.catalog().served();
        let Some(resource) = served.find(GROUP, PLURAL) else { return Ok(None) };
        self.storage().find(resource, None, &address.to_string())
    }

    /// What is stored with a service that is given an address.
    pub(crate) fn ip_address_made(&self, address: Ipv4Addr, service: &Value) -> Result<Companion, Status> {
        Ok(companion(Change::Made(self.ip_address_of(address, service)?)))
    }

    /// What goes with a service that gives an address back, where it is there and of that service.
    pub(crate) fn ip_address_removed(
        &self,
        address: Ipv4Addr,
        service: &Value,
    ) -> Result<Option<Companion>, Status> {
        let found = self.ip_address(address)?;
        let found = found.filter(|found| found.object.pointer("/spec/parentRef") == Some(&parent(service)));
        Ok(found.map(|found| companion(Change::Removed(found.object))))
    }

    fn ip_address_of(&self, address: Ipv4Addr, service: &Value) -> Result<Value, Status> {
        let call = self.own_call(GROUP, "v1", PLURAL, None)?;
        let mut object = json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "IPAddress",
            "metadata": {
                "name": address.to_string(),
                "labels": {
                    "ipaddress.kubernetes.io/ip-family": "IPv4",
                    "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
                },
            },
            "spec": {"parentRef": parent(service)},
        });
        strategy::draft(&call, &mut object)?;
        strategy::track(&call, None, &mut object, Part::Main)?;
        strategy::prepare_create(&call, &mut object)?;
        Ok(object)
    }

    /// Makes those that stored services lack.
    pub(crate) async fn prepare_ip_addresses(&self) -> Result<(), Status> {
        let served = self.catalog().served();
        let Some(resource) = served.find(GROUP, PLURAL) else { return Ok(()) };
        let mut missing = Vec::new();
        for service in self.services()? {
            if let Some(address) = service_address::of(&service)
                && self.ip_address(address)?.is_none()
            {
                missing.push(self.ip_address_of(address, &service)?);
            }
        }
        let written = stream::iter(missing).map(|object| self.storage().create_with(resource, object, &[]));
        written.buffer_unordered(AT_ONCE).try_for_each(|_| async { Ok(()) }).await
    }
}

fn companion(change: Change) -> Companion {
    Companion { group: GROUP, resource: PLURAL, change }
}

fn parent(service: &Value) -> Value {
    json!({
        "resource": "services",
        "namespace": object::namespace(service).unwrap_or_default(),
        "name": object::name(service),
    })
}
