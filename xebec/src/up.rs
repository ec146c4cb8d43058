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
use crate::cli::{Part, UpArgs};
use crate::data_dir::{DataDir, Endpoints};
use crate::shutdown;

/// What parts have to end in after they were asked to.
const GRACE: Duration = Duration::from_secs(10);

/// Runs the platform until a signal ends it, or a part ends on its own.
pub(crate) async fn run(args: UpArgs) -> Result<()> {
    let begun = Instant::now();
    start_log()?;
    let parts = args.parts();
    if parts.is_empty() {
        bail!("nothing is left to run: --only and --without exclude every part");
    }
    let stop = shutdown::on_signals()?;
    let data = DataDir::hold(&args.data)?;
    let mut running = JoinSet::new();
    let mut endpoints = Endpoints::new();
    for part in parts {
        let address = match part {
            Part::Api => {
                let (address, client) = api::start(&args, &data, &stop, &mut running).await?;
                running.spawn({
                    let stop = stop.clone();
                    async move {
                        xebec_controllers::run(client, stop).await;
                        "controllers"
                    }
                });
                address
            }
            Part::Registry => start_registry(&args, &data, &stop, &mut running).await?,
        };
        endpoints.insert(part.name().to_owned(), address);
    }
    data.write_endpoints(&endpoints)?;
    announce(begun.elapsed(), &endpoints)?;

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

async fn start_registry(
    args: &UpArgs,
    data: &DataDir,
    stop: &CancellationToken,
    running: &mut JoinSet<&'static str>,
) -> Result<SocketAddr> {
    let listener = bind("registry", args.registry).await?;
    let address = listener.local_addr().context("the registry's address cannot be read")?;
    let store = Store::open(data.path().join("registry"), Limits::default())
        .context("the registry cannot be opened")?;
    let registry = Arc::new(Registry::new(Arc::new(store)));
    running.spawn({
        let stop = stop.clone();
        async move {
            registry.serve(listener, stop.cancelled_owned()).await;
            "registry"
        }
    });
    Ok(address)
}

pub(crate) async fn bind(part: &str, address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("the {part} cannot listen on {address}: free the port, or choose another with --{part} ADDR (port 0 picks one)")
    })
}

fn announce(took: Duration, endpoints: &Endpoints) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let mut text = format!("ready in {} ms\n", took.as_millis());
    for (part, address) in endpoints {
        text.push_str(&format!("  {part:<10} {address}\n"));
    }
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("stdout is closed")
}
