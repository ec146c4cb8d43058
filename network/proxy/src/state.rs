//! What a listener serves at one moment, compiled from its configuration and swapped whole.

use std::sync::Arc;

use http::StatusCode;
use rustls::ServerConfig;

use crate::answer::Refusal;
use crate::config::{Backend, Domain, Ending, Protocol, ServerNameRoute, Tls};
use crate::host_table::HostTable;
use crate::table::RouteTable;
use crate::tls;
use crate::traffic::Traffic;

/// Backends, shared by the connections that go to them.
pub(crate) type Backends = Arc<[Backend]>;

/// What a listener serves now.
pub(crate) struct State {
    pub(crate) inside: Inside,
    domains: HostTable<Served>,
    /// What was made of the TLS settings, so that those that stay keep their sessions.
    made: Vec<Made>,
}

/// TLS settings, whether HTTP is inside, and what was made of them.
type Made = (Tls, bool, Option<Arc<ServerConfig>>);

/// What connections begin with.
pub(crate) enum Inside {
    Http,
    Tls(Box<HostTable<TlsEnd>>),
    Tcp(Backends),
}

/// The routes of a domain; the number tells domains apart.
struct Served {
    number: usize,
    id: Arc<str>,
    table: RouteTable,
}

/// Where the TLS of a server name ends.
pub(crate) struct TlsEnd {
    pub(crate) id: Arc<str>,
    pub(crate) served: TlsServed,
}

/// What becomes of the connections of a server name.
pub(crate) enum TlsServed {
    Http(Arc<ServerConfig>),
    Tcp(Arc<ServerConfig>, HostTable<Backends>),
    Passthrough(HostTable<Backends>),
    /// Its settings contradict each other.
    Refused,
}

impl State {
    /// Compiles a configuration that follows on `last`; its requests are counted in `traffic`.
    pub(crate) fn new(protocol: Protocol, last: Option<&Self>, traffic: &Traffic) -> Self {
        let mut made = Vec::new();
        let mut config = |tls: Tls, http: bool| {
            let before = last.iter().flat_map(|last| &last.made);
            let mut before = before.filter(|(known, inside, _)| *inside == http && *known == tls);
            let config = match before.next() {
                Some((_, _, config)) => config.clone(),
                None => tls::server_config(&tls, http),
            };
            made.push((tls, http, config.clone()));
            config
        };
        let mut domains = HostTable::default();
        let mut number = 0;
        let mut serve = |domain: Domain| {
            number += 1;
            let Domain { id, host, hosts } = domain;
            domains.entry(host, || Served { number, id, table: RouteTable::counted(hosts, traffic) });
        };
        let inside = match protocol {
            Protocol::Http(given) => {
                given.into_iter().for_each(serve);
                Inside::Http
            }
            Protocol::Tls(given) => {
                let mut endings = HostTable::default();
                for domain in given {
                    let host = domain.host;
                    let served = match domain.ending {
                        Ending::Http(tls, hosts) => {
                            serve(Domain { id: Arc::clone(&domain.id), host: host.clone(), hosts });
                            config(tls, true).map(TlsServed::Http)
                        }
                        Ending::Tcp(tls, routes) => {
                            config(tls, false).map(|config| TlsServed::Tcp(config, by_server_name(routes)))
                        }
                        Ending::Passthrough(routes) => Some(TlsServed::Passthrough(by_server_name(routes))),
                    };
                    let served = served.unwrap_or(TlsServed::Refused);
                    endings.entry(host, || TlsEnd { id: domain.id, served });
                }
                Inside::Tls(Box::new(endings))
            }
            Protocol::Tcp(backends) | Protocol::Udp(backends) => Inside::Tcp(backends.into()),
        };
        Self { inside, domains, made }
    }

    /// The routes for a request's host. Under TLS the host must be of the domain that the client's server name chose
    /// (RFC 9110 section 15.5.20).
    pub(crate) fn table(&self, host: &str, server_name: Option<&str>) -> Result<&RouteTable, Refusal> {
        self.domain(host, server_name).map(|(_, table)| table)
    }

    /// The same, with the name of the domain.
    pub(crate) fn domain(
        &self,
        host: &str,
        server_name: Option<&str>,
    ) -> Result<(&Arc<str>, &RouteTable), Refusal> {
        let no_route =
            || Refusal::new(StatusCode::NOT_FOUND, "no listener here is for the host of the request");
        let of_host = self.domains.find(host).ok_or_else(no_route)?;
        if matches!(self.inside, Inside::Tls(_)) && server_name != Some(host) {
            let of_name = self.domains.find(server_name.unwrap_or_default());
            if of_name.is_none_or(|of_name| of_name.number != of_host.number) {
                let reason = "the connection was made for another server name; connect anew for this host";
                return Err(Refusal::new(StatusCode::MISDIRECTED_REQUEST, reason));
            }
        }
        Ok((&of_host.id, &of_host.table))
    }
}

fn by_server_name(routes: Vec<ServerNameRoute>) -> HostTable<Backends> {
    let mut table = HostTable::default();
    for route in routes {
        table.entry(route.host, || route.backends.into());
    }
    table
}
