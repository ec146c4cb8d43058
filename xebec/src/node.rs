//! Pods on this machine as a part of `up`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use tokio_util::sync::CancellationToken;
use xebec_container::{MonitorCommand, Runtime};
use xebec_datapath::{Place, Subnet, Table};
use xebec_node::meter::Meter;
use xebec_node::{Containers, Options};
use xebec_oci::Store;
use xebec_oci::client::ClientOptions;
use xebec_wasm::{Host, HostOptions};

use crate::MONITOR;
use crate::api::SERVICES;
use crate::berth::{Berth, PODS_LENGTH};
use crate::data_dir::DataDir;
use crate::pods::LocalPods;

/// A node that does not run yet.
pub(crate) struct Node {
    options: Options,
    berth: Arc<Berth>,
    meter: Arc<Meter>,
    /// What translates the addresses of services for pods, or why nothing does.
    services: Result<xebec_services::Options, String>,
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
    tokio::task::spawn_blocking(move || {
        let host =
            Host::new(HostOptions::new(root.join("wasm"))).context("the WebAssembly host cannot start")?;
        let folder = root.join("containers");
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let options = Options {
            name: name(),
            address: Ipv4Addr::LOCALHOST,
            loopback: berth.loopback(),
            folder: root.join("pods"),
            store,
            registry,
            registries: ClientOptions::default(),
            host,
            containers: containers(&folder, &berth),
            hurry,
        };
        let runtime = options.containers.as_ref().ok().map(|own| own.runtime.clone());
        let services = match &options.containers {
            Ok(_) => services(&berth, &options.name, api),
            Err(_) => Err("no pod has a network of its own".to_owned()),
        };
        Ok(Node { options, berth, meter: Arc::new(Meter::new(runtime)), services })
    })
    .await
    .context("preparing the node failed")?
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
fn services(berth: &Berth, node: &str, api: Option<SocketAddr>) -> Result<xebec_services::Options, String> {
    xebec_datapath::probe().map_err(|error| error.to_string())?;
    let subnet = |(address, length)| Subnet::new(address, length).ok_or("a range of addresses is none");
    let pods = subnet((berth.pods(), PODS_LENGTH))?;
    let place = Place { table: berth.bridge(), bridge: berth.bridge(), pods, services: subnet(SERVICES)? };
    let table = Table::new(place).map_err(|error| error.to_string())?;
    // One that listens on all addresses listens on this machine's own too.
    let api = api.and_then(|address| match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Some(SocketAddrV4::new(Ipv4Addr::LOCALHOST, address.port())),
        IpAddr::V4(ip) => Some(SocketAddrV4::new(ip, address.port())),
        IpAddr::V6(_) => None,
    });
    Ok(xebec_services::Options { node: node.to_owned(), pods, api, table })
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
        match &self.services {
            Ok(own) => {
                let Place { services, table, .. } = own.table.place();
                format!("on: addresses of {services} lead to pods (nftables: table ip {table})")
            }
            Err(why) => format!("off: {why}"),
        }
    }

    /// Runs the pods of this machine until the platform stops.
    pub(crate) async fn run(self, client: kube::Client, stop: CancellationToken) {
        let network = self.options.containers.as_ref().ok().map(|own| Arc::clone(&own.network));
        // Pods that end may still ask services, so these end last.
        let last = CancellationToken::new();
        let services = async {
            if let Ok(options) = self.services {
                xebec_services::run(client.clone(), options, last.clone()).await;
            }
        };
        let pods = async {
            xebec_node::run(client.clone(), self.options, stop.clone()).await;
            last.cancel();
        };
        tokio::join!(self.meter.run(stop.clone()), pods, services);
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
