//! Names and addresses of services for whoever is in this very process, and needs neither DNS nor the kernel for them.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::{Arc, PoisonError, RwLock};

use xebec_datapath::{Target, Translation, Transport};
use xebec_dns::{Known, Zone};

/// What is known of services at this moment. Cheap to clone.
#[derive(Clone, Default)]
pub struct Directory {
    known: Arc<RwLock<Option<Services>>>,
}

/// The names and what becomes of the addresses.
type Services = (Arc<Zone>, Arc<Translation>);

/// Where a host and a port lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// They are no service's.
    Unknown,
    /// They are a service's, and nobody answers there.
    Closed,
    /// To one of these, in this order.
    At(Vec<SocketAddr>),
    /// They are another host's, who is known elsewhere.
    Alias(String),
}

impl Directory {
    pub(crate) fn set(&self, zone: Arc<Zone>, translation: Arc<Translation>) {
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Some((zone, translation));
    }

    /// Where a host, by name or by address, and a TCP port lead for pods of a namespace.
    #[must_use]
    pub fn find(&self, namespace: &str, host: &str, port: u16) -> Destination {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Some((zone, translation)) = known else { return Destination::Unknown };
        let (addresses, is_named) = match host.parse::<Ipv4Addr>() {
            Ok(address) => (vec![address], false),
            Err(_) => match zone.look_up(host, namespace) {
                Known::Elsewhere => return Destination::Unknown,
                Known::Alias(target) => return Destination::Alias(target.trim_end_matches('.').to_owned()),
                Known::Addresses(addresses) => (addresses, true),
            },
        };
        let mut found = Vec::new();
        for address in addresses {
            let place = SocketAddrV4::new(address, port);
            match translation.target(place, Transport::Tcp, chance) {
                Target::None if is_named => found.push(SocketAddr::V4(place)),
                Target::None => return Destination::Unknown,
                Target::Closed => {}
                Target::At(endpoint) => found.push(SocketAddr::V4(endpoint)),
            }
        }
        if found.is_empty() { Destination::Closed } else { Destination::At(found) }
    }
}

/// A number below `count`, by chance.
fn chance(count: usize) -> usize {
    let number = RandomState::new().build_hasher().finish();
    usize::try_from(number % (count.max(1) as u64)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use xebec_datapath::{Endpoint, Name, Policy, Protocol, Service, ServicePort, Stage, translate};
    use xebec_dns::Scope;

    #[test]
    fn a_name_leads_to_an_endpoint_without_the_kernel() {
        let endpoint = Endpoint {
            address: SocketAddrV4::new([127, 128, 0, 9].into(), 8080),
            stage: Stage::Ready,
            is_local: true,
        };
        let port = |port, endpoints: &[Endpoint]| ServicePort {
            protocol: Protocol::Tcp,
            port,
            node_port: None,
            endpoints: endpoints.to_vec(),
        };
        let service = Service {
            name: Name { namespace: "default".into(), name: "web".into() },
            cluster_ips: vec![[10, 96, 0, 20].into()],
            external_ips: Vec::new(),
            balancer_ips: Vec::new(),
            sources: Vec::new(),
            ports: vec![port(80, &[endpoint]), port(81, &[])],
            affinity: None,
            internal: Policy::Cluster,
            external: Policy::Cluster,
        };
        let pods = "10.244.0.0/24".parse().expect("a range");
        let (translation, _) = translate(&[service], &[], pods);
        let scope = Scope { domain: "cluster.local".into(), server: None, ranges: Vec::new() };
        let own = |name: &str| ("default".to_owned(), name.to_owned());
        let web = xebec_dns::Service::Address {
            addresses: vec![[10, 96, 0, 20].into()],
            ports: Vec::new(),
            named: Vec::new(),
        };
        let out = xebec_dns::Service::Alias { target: "www.example.org".into() };
        let zone = Zone::compile(scope, 1, ["default".to_owned()], [(own("web"), web), (own("out"), out)]);
        let directory = Directory::default();
        assert_eq!(directory.find("default", "web", 80), Destination::Unknown, "nothing is known yet");
        directory.set(Arc::new(zone.expect("a zone")), Arc::new(translation));
        let at = Destination::At(vec![SocketAddr::V4(endpoint.address)]);
        assert_eq!(directory.find("default", "web", 80), at);
        assert_eq!(directory.find("other", "web.default", 80), at);
        assert_eq!(directory.find("default", "10.96.0.20", 80), at);
        assert_eq!(directory.find("default", "web", 81), Destination::Closed);
        assert_eq!(directory.find("default", "10.96.0.20", 82), Destination::Unknown);
        assert_eq!(directory.find("default", "www.example.org", 80), Destination::Unknown);
        assert_eq!(directory.find("default", "out", 80), Destination::Alias("www.example.org".into()));
    }
}
