//! The loop: watch, translate, have the kernel follow.

use std::collections::BTreeSet;
use std::net::SocketAddrV4;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use xebec_datapath::{Reason, Refusal, Subnet, Table, Translation, translate};

use crate::translation;
use crate::world::World;

/// Changes that come this close together are translated at once.
const DEBOUNCE: Duration = Duration::from_millis(10);
/// The waits after a translation that the kernel did not take.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));
/// How long one event may take to write.
const WRITE: Duration = Duration::from_secs(10);
const REPORTER: &str = "xebec.dev/services";

/// What services are translated for.
pub struct Options {
    /// The machine as objects name it.
    pub node: String,
    /// The addresses of its pods.
    pub pods: Subnet,
    /// Where the API listens here, if it does: its own Service leads there, whatever others are told.
    pub api: Option<SocketAddrV4>,
    /// What translates.
    pub table: Table,
}

/// Keeps the kernel's table in step with the objects until `shutdown` is cancelled, and removes it then.
pub async fn run(client: Client, options: Options, shutdown: CancellationToken) {
    let mut watches = JoinSet::new();
    let world = World::watch(&client, &options.node, &mut watches);
    let Options { node, pods, api, table } = options;
    let table = Arc::new(Mutex::new(table));
    let passes = async {
        // Half the objects would take translations away that are right.
        if world.listed().await.is_err() {
            return;
        }
        let recorder = Recorder::new(client.clone(), REPORTER.into());
        let mut told = BTreeSet::new();
        let (mut wait, mut is_open) = (AGAIN.0, false);
        loop {
            let (services, slices, own) = (world.services(), world.slices(), world.pods());
            let services = translation::services(&services, &translation::by_service(&slices), &node, api);
            let (translation, refusals) = translate(&services, &translation::host_ports(&own), pods);
            let applied = apply(&table, translation, &mut is_open).await;
            tell(&recorder, &refusals, &mut told).await;
            if applied {
                wait = AGAIN.0;
                world.changed().await;
            } else {
                _ = tokio::time::timeout(wait, world.changed()).await;
                wait = (wait * 2).min(AGAIN.1);
            }
            tokio::time::sleep(DEBOUNCE).await;
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = passes => {}
    }
    watches.shutdown().await;
    let Some(table) = Arc::into_inner(table) else { return };
    let table = table.into_inner().unwrap_or_else(PoisonError::into_inner);
    match tokio::task::spawn_blocking(move || table.close()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the table of services stays"),
        Err(error) => tracing::warn!(%error, "the table of services stays"),
    }
}

/// Whether the kernel does what the translation says.
async fn apply(table: &Arc<Mutex<Table>>, translation: Translation, is_open: &mut bool) -> bool {
    let (table, first) = (table.clone(), !*is_open);
    let applied = tokio::task::spawn_blocking(move || {
        let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
        table.apply(&translation)?;
        if first {
            match table.let_through() {
                Ok(true) => {
                    tracing::info!("net.ipv4.ip_forward is on now, so that pods reach other networks")
                }
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, "pods may not reach all networks and services"),
            }
        }
        Ok::<_, xebec_datapath::Error>(())
    });
    match applied.await {
        Ok(Ok(())) => *is_open = true,
        Ok(Err(error)) => {
            tracing::warn!(%error, "services are not translated; trying again");
            return false;
        }
        Err(error) => {
            tracing::error!(%error, "services are not translated; trying again");
            return false;
        }
    }
    true
}

/// Says at its object what is not translated; what was said before, and still holds, is not said again.
async fn tell(recorder: &Recorder, refusals: &[Refusal], told: &mut BTreeSet<String>) {
    let now: BTreeSet<String> = refusals.iter().map(Refusal::to_string).collect();
    told.retain(|message| now.contains(message));
    for refusal in refusals {
        let message = refusal.to_string();
        if told.contains(&message) {
            continue;
        }
        let event = Event {
            type_: EventType::Warning,
            reason: match refusal.reason {
                Reason::Sctp { .. } => "ProtocolNotSupported",
                Reason::Taken { .. } => "AddressTaken",
            }
            .to_owned(),
            note: Some(message.clone()),
            action: "Translating".to_owned(),
            secondary: None,
        };
        let object = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some(if refusal.is_pods { "Pod" } else { "Service" }.to_owned()),
            namespace: Some(refusal.of.namespace.clone()),
            name: Some(refusal.of.name.clone()),
            ..ObjectReference::default()
        };
        match tokio::time::timeout(WRITE, recorder.publish(&event, &object)).await {
            Ok(Ok(())) => drop(told.insert(message)),
            Ok(Err(error)) => tracing::warn!(%error, message, "an event was not written"),
            Err(_) => tracing::warn!(message, "an event was not written in time"),
        }
    }
}
