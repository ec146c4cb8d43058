//! Pods on this machine as a part of `up`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use tokio_util::sync::CancellationToken;
use xebec_container::{MonitorCommand, Runtime};
use xebec_datapath::{Bridge, Filter, Place, Subnet, Table};
use xebec_dns::{Limits, Resolvers, Scope, Server};
use xebec_node::meter::Meter;
use xebec_node::{ClusterDns, Containers, Options};
use xebec_oci::Store;
use xebec_oci::client::ClientOptions;
use xebec_services::{Destination, Directory, Names};
use xebec_wasm::{Found, Host, HostOptions};

use crate::MONITOR;
use crate::api::SERVICES;
use crate::berth::{Berth, PODS_LENGTH};
use crate::data_dir::DataDir;
use crate::pods::LocalPods;

/// The domain of the names of services.
const DOMAIN: &str = "cluster.local";
/// Which address of services' range is that of cluster DNS, as other distributions have it.
const DNS_OFFSET: u32 = 10;
const DNS_PORT: u16 = 53;

/// A node that does not run yet.
pub(crate) struct Node {
    options: Options,
    berth: Arc<Berth>,
    meter: Arc<Meter>,
    services: xebec_services::Options,
    /// What enforces NetworkPolicies, or why nothing does.
    isolation: Result<xebec_isolation::Options, String>,
    volumes: xebec_local_path::Options,
    /// Whether the kernel translates the addresses of services for pods, or why it does not.
    translates: Result<(), String>,
}

/// Looks what the node can run here.
pub(crate) async fn prepare(
    data: &DataDir,
    berth: Arc<Berth>,
    store: Arc<Store>,
    registry: Option<SocketAddr>,
    api: Option<SocketAddr>,
    hurry: CancellationToken,
) -> Result<Node> {
    let root = data.path().to_owned();
    let mut node = tokio::task::spawn_blocking(move || {
        let host =
            Host::new(HostOptions::new(root.join("wasm"))).context("the WebAssembly host cannot start")?;
        let folder = root.join("containers");
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let directory = Directory::default();
        let containers = containers(&folder, &berth);
        // Where pods have a network of their own, the machine is reached from there as from here by the bridge's address.
        let address = containers.as_ref().map_or(Ipv4Addr::LOCALHOST, |own| own.network.range().gateway());
        let mut options = Options {
            name: name(),
            address,
            loopback: berth.loopback(),
            folder: root.join("pods"),
            store,
            registry,
            registries: ClientOptions::default(),
            host,
            containers,
            dns: None,
            names: Some(names_of(directory.clone())),
            covers: None,
            hurry,
        };
        let runtime = options.containers.as_ref().ok().map(|own| own.runtime.clone());
        let table = match &options.containers {
            Ok(_) => table(&berth),
            Err(_) => Err("no pod has a network of its own".to_owned()),
        };
        let (table, translates) = match table {
            Ok(table) => (Some(table), Ok(())),
            Err(why) => (None, Err(why)),
        };
        let services = services(&berth, &options.name, api, table, directory)?;
        let isolation = isolation(&berth, &mut options);
        let volumes = xebec_local_path::Options { node: options.name.clone(), folder: root.join("volumes") };
        Ok::<_, anyhow::Error>(Node {
            options,
            berth,
            meter: Arc::new(Meter::new(runtime)),
            services,
            isolation,
            volumes,
            translates,
        })
    })
    .await
    .context("preparing the node failed")??;
    node.services.names.server = node.name_server().await;
    Ok(node)
}

/// What runs containers here, or why nothing can.
fn containers(folder: &std::path::Path, berth: &Berth) -> Result<Containers, String> {
    let privilege = xebec_container::check(folder)?;
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let monitor = MonitorCommand { program, args: vec![MONITOR.into()] };
    let runtime =
        Runtime::open(folder.join("runtime"), monitor, privilege).map_err(|error| error.to_string())?;
    let network = berth.network(&folder.join("network")).map_err(|error| error.to_string())?;
    Ok(Containers { runtime: Arc::new(runtime), network: Arc::new(network) })
}

/// What translates the addresses of services here, or why nothing can.
fn table(berth: &Berth) -> Result<Table, String> {
    xebec_datapath::probe().map_err(|error| error.to_string())?;
    let (pods, services) = ranges(berth).map_err(|error| error.to_string())?;
    let place = Place { table: berth.bridge(), bridge: berth.bridge(), pods, services };
    Table::new(place).map_err(|error| error.to_string())
}

/// What enforces NetworkPolicies here, to whom pods are announced before they start, or why nothing can.
fn isolation(berth: &Berth, options: &mut Options) -> Result<xebec_isolation::Options, String> {
    let Ok(Containers { network, .. }) = &options.containers else {
        return Err("no pod has a network of its own".to_owned());
    };
    if !network.carries() {
        return Err("pods reach each other without the machine: mount /proc/sys for writing".to_owned());
    }
    Filter::probe().map_err(|error| error.to_string())?;
    let name = berth.bridge();
    let table = format!("{name}-policies");
    let bridge = Bridge { name, hardware: network.hardware(), group: network.group() };
    let filter = Filter::new(&table, bridge).map_err(|error| error.to_string())?;
    let (arrivals, expected) = xebec_isolation::arrivals();
    options.covers = Some(Arc::new(move |pod, address| {
        let arrivals = arrivals.clone();
        Box::pin(async move { arrivals.cover(pod, address).await })
    }));
    Ok(xebec_isolation::Options { node: options.name.clone(), filter, expected })
}

/// The addresses of pods and of services.
fn ranges(berth: &Berth) -> Result<(Subnet, Subnet)> {
    let pods = Subnet::new(berth.pods(), PODS_LENGTH).context("the range of pods' addresses is none")?;
    let services = Subnet::new(SERVICES.0, SERVICES.1).context("the range of services' addresses is none")?;
    Ok((pods, services))
}

/// Services as this node needs them.
fn services(
    berth: &Berth,
    node: &str,
    api: Option<SocketAddr>,
    table: Option<Table>,
    directory: Directory,
) -> Result<xebec_services::Options> {
    let (pods, range) = ranges(berth)?;
    let wanted = Ipv4Addr::from(u32::from(range.network()) + DNS_OFFSET);
    // One that listens on all addresses listens on this machine's own too.
    let api = api.and_then(|address| match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Some(SocketAddrV4::new(Ipv4Addr::LOCALHOST, address.port())),
        IpAddr::V4(ip) => Some(SocketAddrV4::new(ip, address.port())),
        IpAddr::V6(_) => None,
    });
    let scope = Scope {
        domain: DOMAIN.to_owned(),
        server: Some(wanted),
        ranges: vec![(berth.pods(), PODS_LENGTH), SERVICES],
    };
    let names = Names { scope, server: None, wanted };
    Ok(xebec_services::Options { node: node.to_owned(), pods, api, table, names, directory })
}

/// The names of services as components of each namespace know them.
fn names_of(directory: Directory) -> xebec_node::NamesOf {
    struct Own(Directory, String);

    impl xebec_wasm::Names for Own {
        fn find(&self, host: &str, port: u16) -> Found {
            match self.0.find(&self.1, host, port) {
                Destination::Unknown => Found::Unknown,
                Destination::Closed => Found::Closed,
                Destination::At(addresses) => Found::At(addresses),
                Destination::Alias(name) => Found::Alias(name),
            }
        }
    }

    Arc::new(move |namespace| Arc::new(Own(directory.clone(), namespace.to_owned())))
}

impl Node {
    /// Whether containers run here.
    pub(crate) fn runs_containers(&self) -> bool {
        self.options.containers.is_ok()
    }

    /// Lets the API reach the containers that run here.
    pub(crate) fn serve(&self, pods: &LocalPods) {
        pods.measure(self.options.name.clone(), self.meter.clone());
        if let Ok(containers) = &self.options.containers {
            pods.run_containers(containers.clone());
        }
    }

    /// Whether containers run here, in words.
    pub(crate) fn containers(&self) -> String {
        match &self.options.containers {
            Ok(own) => {
                format!("on: pods have addresses of {} on {}", own.network.range(), self.berth.bridge())
            }
            Err(why) => format!("off: {why}; WebAssembly pods run"),
        }
    }

    /// Whether pods reach services by the services' own addresses, in words.
    pub(crate) fn services(&self) -> String {
        match (&self.services.table, &self.translates) {
            (Some(table), _) => {
                let Place { services, table, .. } = table.place();
                format!("on: addresses of {services} lead to pods (nftables: table ip {table})")
            }
            (None, Err(why)) => format!("off: {why}; components reach services by name"),
            (None, Ok(())) => "off".to_owned(),
        }
    }

    /// Whether NetworkPolicies are enforced, in words.
    pub(crate) fn policies(&self) -> String {
        match &self.isolation {
            Ok(own) => {
                format!(
                    "on: pods are isolated as NetworkPolicies say (nftables: tables {})",
                    own.filter.table()
                )
            }
            Err(why) => format!("off: {why}; NetworkPolicies are kept and not enforced"),
        }
    }

    /// Where pods ask for names, in words.
    pub(crate) fn dns(&self) -> String {
        match (&self.options.dns, &self.services.names.server) {
            (Some(dns), Some(server)) => {
                format!("on: {} at {}, from {}", dns.domain, dns.server, server.address())
            }
            _ => "off: pods look names up as this machine does".to_owned(),
        }
    }

    /// Cluster DNS for pods with a network of their own, if it can be had. Where the kernel does not translate, pods know no
    /// other port than the usual one.
    async fn name_server(&self) -> Option<Server> {
        let network = &self.options.containers.as_ref().ok()?.network;
        let own = network.range().gateway();
        let ports = if self.services.table.is_some() { &[DNS_PORT, 0][..] } else { &[DNS_PORT] };
        for port in ports {
            let resolvers =
                Resolvers::of_file("/etc/resolv.conf", [own.into(), self.services.names.wanted.into()]);
            match Server::bind(SocketAddr::new(own.into(), *port), resolvers, Limits::default()).await {
                Ok(server) => return Some(server),
                Err(error) => tracing::warn!(%error, "cluster DNS does not listen there"),
            }
        }
        None
    }

    /// Makes cluster DNS known to the pods that start from now on.
    pub(crate) async fn announce(&mut self, client: &kube::Client) {
        let names = &mut self.services.names;
        let Some(server) = &names.server else { return };
        let address = server.address();
        let announced = xebec_services::announce(client, &self.options.name, names.wanted, address);
        let server = match announced.await {
            Ok(Some(service)) if self.services.table.is_some() => {
                names.scope.server = Some(service);
                Some(service)
            }
            Ok(_) => None,
            Err(error) => {
                tracing::warn!(%error, "the Service of cluster DNS is not made yet");
                None
            }
        };
        let direct = match address {
            SocketAddr::V4(own) if own.port() == DNS_PORT => Some(*own.ip()),
            _ => None,
        };
        self.options.dns = server.or(direct).map(|server| ClusterDns { server, domain: DOMAIN.to_owned() });
    }

    /// Makes the class of volumes on this machine known, if this is its first start.
    pub(crate) async fn announce_volumes(&self, client: &kube::Client) -> Result<()> {
        let announced = xebec_local_path::announce(client, &self.volumes.folder).await;
        announced.context("the class of volumes on this machine cannot be made")
    }

    /// Runs the pods of this machine until the platform stops.
    pub(crate) async fn run(self, client: kube::Client, stop: CancellationToken) {
        let network = self.options.containers.as_ref().ok().map(|own| Arc::clone(&own.network));
        // Pods that end may still ask services, so these end last.
        let last = CancellationToken::new();
        let services = async {
            xebec_services::run(client.clone(), self.services, last.clone()).await;
        };
        let isolation = async {
            if let Ok(options) = self.isolation {
                xebec_isolation::run(client.clone(), options, last.clone()).await;
            }
        };
        let pods = async {
            xebec_node::run(client.clone(), self.options, stop.clone()).await;
            last.cancel();
        };
        let volumes = xebec_local_path::run(client.clone(), self.volumes, stop.clone());
        tokio::join!(self.meter.run(stop.clone()), pods, services, isolation, volumes);
        if let Some(network) = network {
            self.berth.leave(network).await;
        }
    }
}

/// The machine's name, as a node may be called.
fn name() -> String {
    let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let allowed = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-';
    let own: String = own.trim().to_lowercase().chars().filter(|letter| allowed(*letter)).take(63).collect();
    let own = own.trim_matches('-');
    if own.is_empty() { "xebec".to_owned() } else { own.to_owned() }
}
