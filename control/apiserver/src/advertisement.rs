//! Where the API itself is found: the endpoints of its own Service, as upstream's server keeps them.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use serde_json::{Value, json};
use xebec_machinery::status::Status;

use crate::api::Api;
use crate::call::Call;
use crate::codec::Decoded;
use crate::request::Verb;
use crate::strategy::Part;

/// How often the endpoints are looked after, as upstream has it.
const PACE: Duration = Duration::from_secs(10);
const PLACE: (&str, &str) = ("default", "kubernetes");
/// Documentation's own network (RFC 5737): nothing is sent there, it only has a route where the machine has one.
const ELSEWHERE: (&str, u16) = ("192.0.2.1", 9);

impl Api {
    /// Keeps the endpoints of the API's own Service, until the API stops. An address that only this machine reaches is told
    /// as the machine's own; a machine that has none tells none.
    pub async fn serve_endpoints(&self, address: SocketAddr) {
        let Some(ip) = advertised(address.ip()) else { return };
        let address = SocketAddr::new(ip, address.port());
        loop {
            if let Err(error) = self.advertise(address).await {
                tracing::warn!(%error, "the endpoints of the API's own Service are not kept; trying again");
            }
            tokio::select! {
                () = self.shutdown().cancelled() => return,
                () = tokio::time::sleep(PACE) => {}
            }
        }
    }

    async fn advertise(&self, address: SocketAddr) -> Result<(), Status> {
        let ip = address.ip().to_string();
        let port = json!({"name": "https", "port": address.port(), "protocol": "TCP"});
        let endpoints = json!({
            "apiVersion": "v1",
            "kind": "Endpoints",
            "metadata": {
                "name": PLACE.1, "namespace": PLACE.0,
                "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
            },
            "subsets": [{"addresses": [{"ip": &ip}], "ports": [&port]}],
        });
        self.keep(("", "endpoints"), endpoints, "subsets").await?;
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": PLACE.1, "namespace": PLACE.0, "labels": {"kubernetes.io/service-name": PLACE.1},
            },
            "addressType": if address.is_ipv4() { "IPv4" } else { "IPv6" },
            "endpoints": [{"addresses": [&ip], "conditions": {"ready": true}}],
            "ports": [&port],
        });
        self.keep(("discovery.k8s.io", "endpointslices"), slice, "endpoints").await
    }

    /// Makes an object, or sees to it that its `field` and its ports say what they should.
    async fn keep(&self, (group, plural): (&str, &str), wanted: Value, field: &str) -> Result<(), Status> {
        let making = self.own_call(group, "v1", plural, Some(PLACE.0))?;
        let Some(there) = self.storage().find(&making.resource, Some(PLACE.0), PLACE.1)? else {
            return self.ensure(&making, wanted).await;
        };
        if [field, "ports"].iter().all(|field| there.object.get(field) == wanted.get(field)) {
            return Ok(());
        }
        let changing = Call::own(making.resource.clone(), Verb::Update, Some(PLACE.0), PLACE.1);
        self.update(&changing, Part::Main, Decoded::own(wanted)).await.map(drop)
    }
}

/// The address by which others reach what listens here.
fn advertised(bound: IpAddr) -> Option<IpAddr> {
    if !bound.is_loopback() && !bound.is_unspecified() {
        return Some(bound);
    }
    let socket = UdpSocket::bind(("0.0.0.0", 0)).ok()?;
    socket.connect(ELSEWHERE).ok()?;
    let own = socket.local_addr().ok()?.ip();
    (!own.is_loopback() && !own.is_unspecified()).then_some(own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_the_network_is_told_and_none_of_the_machine_alone() {
        let bound: IpAddr = "198.51.100.7".parse().unwrap();
        assert_eq!(advertised(bound), Some(bound));
        for own in ["127.0.0.1", "0.0.0.0"] {
            let told = advertised(own.parse().unwrap());
            assert!(told.is_none_or(|told| !told.is_loopback() && !told.is_unspecified()), "{told:?}");
        }
    }
}
