//! `xebec up`: builds the parts, says where they are, and ends them in order.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use xebec_oci::{Limits, Registry, Store};

use crate::api;
use crate::berth::Berth;
use crate::cli::{Part, UpArgs};
use crate::data_dir::{DataDir, Endpoints};
use crate::node::{self, Logs};
use crate::shutdown;
use crate::{demo, gateway};

/// What parts have to end in after they were asked to.
const GRACE: Duration = Duration::from_secs(10);

/// Runs the platform until a signal ends it, or a part ends on its own.
pub(crate) async fn run(args: UpArgs, with_demo: bool) -> Result<()> {
    let begun = Instant::now();
    start_log()?;
    let parts = args.parts();
    if parts.is_empty() {
        bail!("nothing is left to run: --only and --without exclude every part");
    }
    let stop = shutdown::on_signals()?;
    let data = DataDir::hold(&args.data)?;
    let berth = Arc::new(Berth::take(data.path())?);
    let mut running = JoinSet::new();
    let mut endpoints = Endpoints::new();
    let logs = Arc::new(Logs::new(&data));
    let mut store = None;
    let mut client = None;
    let mut notes = Vec::new();
    for part in parts {
        let address = match part {
            Part::Api => {
                let (address, own) = api::start(&args, &data, &stop, &mut running, logs.clone()).await?;
                logs.connect(own.clone());
                running.spawn(ended("controllers", xebec_controllers::run(own.clone(), stop.clone())));
                client = Some(own);
                address
            }
            Part::Registry => {
                let (address, own) = start_registry(&args, &data, &stop, &mut running).await?;
                store = Some(own);
                address
            }
            Part::Gateway => {
                let Some(client) = client.clone() else {
                    bail!("the gateway needs the API: add it to --only, or leave the gateway out too");
                };
                gateway::define(&client).await?;
                running.spawn(ended("gateway", gateway::run(client, stop.clone())));
                if with_demo {
                    endpoints.insert(part.name().to_owned(), gateway::address());
                }
                continue;
            }
            Part::Node => {
                let (Some(client), Some(store)) = (client.clone(), store.clone()) else {
                    bail!(
                        "the node needs the API and the registry: add them to --only, or leave the node out too"
                    );
                };
                let registry = endpoints.get(Part::Registry.name()).copied();
                let options = node::options(&data, berth.clone(), store.clone(), registry).await?;
                if with_demo {
                    demo::load(store, options.containers.is_ok()).await?;
                }
                notes.push(match &options.containers {
                    Ok(_) => "containers  on".to_owned(),
                    Err(why) => format!("containers  off: {why}; WebAssembly pods run"),
                });
                running.spawn(ended("node", xebec_node::run(client, options, stop.clone())));
                continue;
            }
        };
        endpoints.insert(part.name().to_owned(), address);
    }
    if with_demo {
        let Some(client) = &client else { bail!("the demo needs the API: add it to --only") };
        eprintln!("starting the demo's pods …");
        demo::apply(client).await?;
    }
    data.write_endpoints(&endpoints)?;
    if with_demo {
        notes.push(format!("try         curl http://{}/", gateway::address()));
        notes.push(format!(
            "and         kubectl --kubeconfig {} get pods,svc,gateways,httproutes -A",
            args.data.join("kubeconfig").display()
        ));
    }
    announce(begun.elapsed(), &endpoints, &notes)?;

    let ended_early = tokio::select! {
        // A part that ends because it was asked to has not ended early.
        biased;
        () = stop.cancelled() => None,
        ended = running.join_next() => ended,
    };
    stop.cancel();
    let drained = timeout(GRACE, async { while running.join_next().await.is_some() {} }).await;
    if drained.is_err() {
        tracing::warn!("parts were still busy after {} s and were cut off", GRACE.as_secs());
    }
    match ended_early {
        None => Ok(()),
        Some(Ok(part)) => bail!("{part} ended on its own; its log lines above say why"),
        Some(Err(error)) => Err(error).context("a part failed"),
    }
}

/// Logs go to stderr; `RUST_LOG` chooses which.
fn start_log() -> Result<()> {
    let filter = tracing_subscriber::EnvFilter::builder()
        .with_default_directive(tracing_subscriber::filter::LevelFilter::INFO.into())
        .from_env()
        .context("RUST_LOG is not a list of `target=level`")?;
    let colour =
        std::io::IsTerminal::is_terminal(&std::io::stderr()) && std::env::var_os("NO_COLOR").is_none();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colour).init();
    Ok(())
}

/// A part that says its name when it has ended.
async fn ended(name: &'static str, part: impl Future<Output = ()>) -> &'static str {
    part.await;
    name
}

async fn start_registry(
    args: &UpArgs,
    data: &DataDir,
    stop: &CancellationToken,
    running: &mut JoinSet<&'static str>,
) -> Result<(SocketAddr, Arc<Store>)> {
    let listener = bind("registry", args.registry).await?;
    let address = listener.local_addr().context("the registry's address cannot be read")?;
    let store = Store::open(data.path().join("registry"), Limits::default())
        .context("the registry cannot be opened")?;
    let store = Arc::new(store);
    let registry = Arc::new(Registry::new(store.clone()));
    running.spawn({
        let stop = stop.clone();
        async move {
            registry.serve(listener, stop.cancelled_owned()).await;
            "registry"
        }
    });
    Ok((address, store))
}

pub(crate) async fn bind(part: &str, address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("the {part} cannot listen on {address}: free the port, or choose another with --{part} ADDR (port 0 picks one)")
    })
}

fn announce(took: Duration, endpoints: &Endpoints, notes: &[String]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let mut text = format!("ready in {} ms\n", took.as_millis());
    for (part, address) in endpoints {
        text.push_str(&format!("  {part:<10} {address}\n"));
    }
    for note in notes {
        text.push_str(&format!("  {note}\n"));
    }
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("stdout is closed")
}
