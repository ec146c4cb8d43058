//! `xebec up`: builds the parts, says where they are, and ends them in order.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures::StreamExt as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use xebec_apiserver::api::Api;
use xebec_apiserver::components::Component;
use xebec_oci::{Limits, Registry, Store};

use crate::berth::Berth;
use crate::cli::{Part, UpArgs};
use crate::data_dir::{DataDir, Endpoints};
use crate::demo::Demo;
use crate::metrics::Metrics;
use crate::node;
use crate::parts::{Parts, Stage};
use crate::pods::LocalPods;
use crate::{access_log, api, console, gateway, output, prometheus, shutdown};

/// How often `endpoints.json` is looked at at the most while Gateways change, or while it cannot be written.
const ENTRANCES_AGAIN: Duration = Duration::from_millis(500);

/// Runs the platform until a signal ends it, or a part ends on its own.
pub(crate) async fn run(args: UpArgs, demo: Option<Demo>) -> Result<()> {
    start_log()?;
    raise_open_files();
    let stop = shutdown::on_signals()?;
    let data = DataDir::hold(&args.data)?;
    let mut parts = Parts::new();
    let ended = tokio::select! {
        // A part that ends because it was asked to has not ended early.
        biased;
        () = stop.wish.cancelled() => Ok(()),
        Err(error) = serve(&args, &data, demo, &mut parts, &stop.hurry) => Err(error),
    };
    parts.end(&stop.hurry).await;
    ended
}

/// Lets as many files be open as the system allows: every connection is one, and many systems begin with 1024.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!(%error, ?limit, "the limit of open files stays as it is; raise it with `ulimit -n`");
    }
}

/// Starts everything, says so, and returns only when something goes wrong.
async fn serve(
    args: &UpArgs,
    data: &DataDir,
    demo: Option<Demo>,
    parts: &mut Parts,
    hurry: &CancellationToken,
) -> Result<std::convert::Infallible> {
    let begun = Instant::now();
    let wanted = args.parts();
    if wanted.is_empty() {
        bail!("nothing is left to run: --only and --without exclude every part");
    }
    let lacks = |part: &&Part| !wanted.contains(part) && !matches!(part, Part::Console | Part::Metrics);
    if let (Some(_), Some(part)) = (&demo, Part::ALL.iter().find(lacks)) {
        bail!("the demo needs the part {}: add it to --only, or take it out of --without", part.name());
    }
    let metrics = Metrics::new();
    let mut endpoints = Endpoints::new();
    let mut notes = Vec::new();
    let berth = Arc::new(Berth::take(data.path())?);
    let pods = Arc::new(LocalPods::new(data));
    let mut store = None;
    let mut client = None;
    let mut issuer: Option<Arc<api::Issuer>> = None;
    let mut served: Option<Api> = None;
    let mut entrance = None;
    for part in wanted {
        let address = match part {
            Part::Api => {
                let own = api::start(args, data, &mut parts.servers, pods.clone(), &metrics).await?;
                pods.connect(own.client.clone());
                (issuer, client, served) = (Some(own.issuer), Some(own.client), Some(own.api));
                own.address
            }
            Part::Controllers => {
                let Some(client) = client.clone() else {
                    bail!("the controllers need the API: add it to --only, or leave the controllers out too");
                };
                let stop = parts.clients.stop();
                let settings = xebec_controllers::Settings {
                    root_certificates: issuer.as_ref().map(|issuer| issuer.certificate().to_owned()),
                    issuer: issuer.take().map(|issuer| issuer as Arc<_>),
                    ..Default::default()
                };
                if let Some(api) = &served {
                    api.has_component(Component::ControllerManager, stop.clone());
                }
                parts.clients.spawn("controllers", xebec_controllers::run_with(client, settings, stop));
                continue;
            }
            Part::Console => {
                let listener = bind("console", args.console).await?;
                let address = listener.local_addr().context("the console's address cannot be read")?;
                let stop = parts.servers.stop();
                parts.servers.spawn("console", console::serve(listener, Arc::clone(&metrics), stop));
                address
            }
            Part::Registry => {
                let (address, own) = start_registry(args, data, &mut parts.servers).await?;
                store = Some(own);
                address
            }
            Part::Gateway => {
                let Some(client) = client.clone() else {
                    bail!("the gateway needs the API: add it to --only, or leave the gateway out too");
                };
                gateway::define(&client).await?;
                if let Some(demo) = &demo {
                    let chosen = demo.entrance(&client).await?;
                    entrance = Some(chosen);
                }
                let stop = parts.clients.stop();
                let options = gateway::options(berth.gateways(), data.path())?;
                let log = match args.access_log.as_deref().map(access_log::open).transpose()? {
                    None => None,
                    Some((log, writer)) => {
                        let writing = access_log::write(writer, parts.servers.stop());
                        parts.servers.spawn("access-log", writing);
                        Some(log)
                    }
                };
                let engine = gateway::engine(log.clone());
                metrics.observe(&engine, log);
                parts.clients.spawn("gateway", gateway::run(client, engine, options, stop));
                continue;
            }
            Part::Node => {
                let (Some(client), Some(store)) = (client.clone(), store.clone()) else {
                    bail!(
                        "the node needs the API and the registry: add them to --only, or leave the node out too"
                    );
                };
                let registry = endpoints.get(Part::Registry.name()).copied();
                let api = endpoints.get(Part::Api.name()).copied();
                let mut node =
                    node::prepare(data, berth.clone(), store.clone(), registry, api, hurry.clone()).await?;
                node.announce(&client).await;
                node.announce_volumes(&client).await?;
                node.serve(&pods);
                if let Some(demo) = &demo {
                    demo.load(store, node.runs_containers()).await?;
                }
                notes.push(format!("containers  {}", node.containers()));
                notes.push(format!("services    {}", node.services()));
                notes.push(format!("policies    {}", node.policies()));
                notes.push(format!("dns         {}", node.dns()));
                let stop = parts.clients.stop();
                if let Some(api) = &served {
                    // The node finds places for pods itself.
                    api.has_component(Component::Scheduler, stop.clone());
                }
                parts.clients.spawn("node", node.run(client, stop));
                continue;
            }
            Part::Metrics => {
                let Some(console) = endpoints.get(Part::Console.name()).copied() else {
                    bail!(
                        "metrics are served below the console's address: add the console to --only, or leave the \
                         metrics out too"
                    );
                };
                let own = prometheus::prepare(data.path(), args.metrics_config.as_deref(), console).await?;
                metrics.serve(own.api.clone());
                let stop = parts.clients.stop();
                parts.clients.spawn("metrics", own.run(client.clone(), stop));
                console
            }
        };
        endpoints.insert(part.name().to_owned(), address);
    }
    if let (Some(demo), Some(client), Some(entrance)) = (&demo, &client, entrance) {
        output::tell("starting the demo's pods …");
        if demo.apply(client, entrance, data).await? {
            notes.push(format!("try         curl http://{}/", entrance.address));
        } else {
            notes.push(
                "deleted     the demo's Gateway; --data with another DIR begins the demo anew".to_owned(),
            );
        }
        notes.push(format!(
            "and         kubectl --kubeconfig {} get pods,svc,gateways,httproutes -A",
            quoted(&args.data.join("kubeconfig").display().to_string())
        ));
    }
    let client = client.filter(|_| args.parts().contains(&Part::Gateway));
    let others = endpoints.clone();
    if let Some(client) = &client {
        endpoints =
            with_entrances(&others, entrance.map(|chosen| chosen.address), gateway::entrances(client).await?);
    }
    data.write_endpoints(&endpoints)?;
    metrics.set_ready();
    announce(begun.elapsed(), &endpoints, &notes)?;
    let keeping = async {
        match &client {
            Some(client) => keep_entrances(client, data, &others, endpoints).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        early = parts.ended_early() => Err(early),
        never = keeping => match never {},
    }
}

/// The addresses of the parts with those of the Gateways. The first of them, or the one that was `gateway` before, is called
/// so.
fn with_entrances(
    others: &Endpoints,
    first: Option<SocketAddr>,
    found: Vec<(String, SocketAddr)>,
) -> Endpoints {
    let mut endpoints = others.clone();
    let leading = found.iter().position(|(_, address)| Some(*address) == first).unwrap_or(0);
    for (at, (name, address)) in found.into_iter().enumerate() {
        let name = if at == leading { Part::Gateway.name().to_owned() } else { name };
        endpoints.insert(name, address);
    }
    endpoints
}

/// Keeps `endpoints.json` in step with the Gateways.
async fn keep_entrances(
    client: &kube::Client,
    data: &DataDir,
    others: &Endpoints,
    mut told: Endpoints,
) -> std::convert::Infallible {
    // However many change at once, they are listed once.
    let mut changes = std::pin::pin!(gateway::changes(client).ready_chunks(usize::from(u16::MAX)));
    loop {
        let first = told.get(Part::Gateway.name()).copied();
        let written = async {
            let updated = with_entrances(others, first, gateway::told(client).await?);
            if updated != told {
                data.write_endpoints(&updated)?;
            }
            anyhow::Ok(updated)
        };
        match written.await {
            Ok(updated) => {
                told = updated;
                // The watch begins anew by itself and has no end.
                changes.next().await;
            }
            Err(error) => tracing::warn!(error = format!("{error:#}"), "endpoints.json is not up to date"),
        }
        tokio::time::sleep(ENTRANCES_AGAIN).await;
    }
}

/// Logs go to stderr; `RUST_LOG` chooses which.
pub(crate) fn start_log() -> Result<()> {
    let filter = tracing_subscriber::EnvFilter::builder()
        .with_default_directive(tracing_subscriber::filter::LevelFilter::INFO.into())
        .from_env()
        .context("RUST_LOG is not a list of `target=level`")?;
    let colour =
        std::io::IsTerminal::is_terminal(&std::io::stderr()) && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| output::Log).with_ansi(colour).init();
    Ok(())
}

async fn start_registry(
    args: &UpArgs,
    data: &DataDir,
    servers: &mut Stage,
) -> Result<(SocketAddr, Arc<Store>)> {
    let listener = bind("registry", args.registry).await?;
    let address = listener.local_addr().context("the registry's address cannot be read")?;
    let store = Store::open(data.path().join("registry"), Limits::default())
        .context("the registry cannot be opened")?;
    let store = Arc::new(store);
    let registry = Arc::new(Registry::new(store.clone()));
    servers.spawn("registry", registry.serve(listener, servers.stop().cancelled_owned()));
    Ok((address, store))
}

/// Listens for a part whose address the flag of its name gives.
pub(crate) async fn bind(part: &str, address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("the {part} cannot listen on {address}: free the port, or choose another with --{part} ADDR (port 0 picks one)")
    })
}

/// A word of a shell's line.
fn quoted(word: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+:@%".contains(letter);
    if word.chars().all(is_plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

fn announce(took: Duration, endpoints: &Endpoints, notes: &[String]) -> Result<()> {
    let mut text = format!("ready in {} ms\n", took.as_millis());
    for (part, address) in endpoints {
        text.push_str(&format!("  {part:<10} {address}\n"));
    }
    for note in notes {
        text.push_str(&format!("  {note}\n"));
    }
    output::write(text.as_bytes())
}
