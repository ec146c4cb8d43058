//! The loop: watch, translate, have the kernel and cluster DNS follow.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::{ObjectReference, Service};
use kube::runtime::events::{Event, EventType, Recorder};
use kube::{Client, ResourceExt as _};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use xebec_datapath::{Reason, Refusal, Subnet, Table, Translation, translate};
use xebec_dns::{Scope, Server};

use crate::translation::{self, Slices};
use crate::world::World;
use crate::{Directory, name_server, zone};

/// Changes that come this close together are translated at once.
const DEBOUNCE: Duration = Duration::from_millis(10);
/// The waits after a pass that did not end well.
const AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));
/// How long one object may take to write.
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
    /// What translates, where the kernel lets it.
    pub table: Option<Table>,
    /// The names of services.
    pub names: Names,
    /// Who is told of all of it.
    pub directory: Directory,
}

/// The names of services.
pub struct Names {
    /// Which names are the cluster's.
    pub scope: Scope,
    /// Who answers for them to pods, if anybody does.
    pub server: Option<Server>,
    /// The address that pods ask, if its Service can have it.
    pub wanted: Ipv4Addr,
}

/// Keeps the kernel's table and cluster DNS in step with the objects until `shutdown` is cancelled, and removes the table then.
pub async fn run(client: Client, options: Options, shutdown: CancellationToken) {
    let mut tasks = JoinSet::new();
    let world = World::watch(client.clone(), &options.node);
    // Taken out when it is to be closed, which waits for whoever works with it.
    let table = options.table.map(|table| Arc::new(Mutex::new(Some(table))));
    let passes = Passes {
        recorder: Recorder::new(client.clone(), REPORTER.into()),
        client,
        world,
        node: options.node,
        pods: options.pods,
        api: options.api,
        table: table.clone(),
        names: options.names,
        directory: options.directory,
    };
    if let Some(server) = passes.names.server.clone() {
        tasks.spawn(server.serve(shutdown.clone()));
    }
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = passes.run() => {}
    }
    tasks.shutdown().await;
    let Some(table) = table else { return };
    let closed = tokio::task::spawn_blocking(move || {
        let own = table.lock().unwrap_or_else(PoisonError::into_inner).take();
        own.map_or(Ok(()), Table::close)
    });
    match closed.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the table of services stays"),
        Err(error) => tracing::warn!(%error, "the table of services stays"),
    }
}

/// The table, until it is closed.
type Shared = Arc<Mutex<Option<Table>>>;

struct Passes {
    client: Client,
    recorder: Recorder,
    world: World,
    node: String,
    pods: Subnet,
    api: Option<SocketAddrV4>,
    table: Option<Shared>,
    names: Names,
    directory: Directory,
}

impl Passes {
    async fn run(self) {
        // Half the objects would take translations away that are right.
        if self.world.listed().await.is_err() {
            return;
        }
        let mut told = BTreeSet::new();
        let (mut wait, mut is_open, mut serial) = (AGAIN.0, false, 0u32);
        loop {
            let (services, slices, own) = (self.world.services(), self.world.slices(), self.world.pods());
            let slices = translation::by_service(&slices);
            let addressed = translation::services(&services, &slices, &self.node, self.api);
            let (translation, refusals) = translate(&addressed, &translation::host_ports(&own), self.pods);
            let translation = Arc::new(translation);
            // The zone first: a name that is known leads somewhere at once.
            serial = serial.wrapping_add(1);
            self.name(serial, &services, &slices, &translation);
            let is_announced = self.announce(&services, &slices).await;
            let is_applied = match &self.table {
                Some(table) => apply(table, translation, &mut is_open).await,
                None => true,
            };
            tell(&self.recorder, &refusals, &mut told).await;
            if is_applied && is_announced {
                wait = AGAIN.0;
                self.world.changed().await;
            } else {
                _ = tokio::time::timeout(wait, self.world.changed()).await;
                wait = (wait * 2).min(AGAIN.1);
            }
            tokio::time::sleep(DEBOUNCE).await;
        }
    }

    fn name(
        &self,
        serial: u32,
        services: &[Arc<Service>],
        slices: &Slices<'_>,
        translation: &Arc<Translation>,
    ) {
        let scope = self.names.scope.clone();
        match zone::zone(scope, serial, &self.world.namespaces(), services, slices) {
            Ok(zone) => {
                let zone = Arc::new(zone);
                self.directory.set(zone.clone(), translation.clone());
                if let Some(server) = &self.names.server {
                    server.set_zone(zone);
                }
            }
            Err(error) => tracing::error!(%error, "the names of services are not known"),
        }
    }

    /// Whether the Service of cluster DNS is there and leads somewhere. What somebody deleted is made again.
    async fn announce(&self, services: &[Arc<Service>], slices: &Slices<'_>) -> bool {
        let Some(server) = &self.names.server else { return true };
        let own = name_server::key();
        let is_it = |service: &Arc<Service>| {
            service.namespace().as_ref() == Some(&own.0) && service.name_any() == own.1
        };
        if services.iter().any(is_it) && slices.contains_key(&own) {
            return true;
        }
        let announced = name_server::announce(&self.client, &self.node, self.names.wanted, server.address());
        match tokio::time::timeout(WRITE, announced).await {
            Ok(Ok(_)) => return true,
            Ok(Err(error)) => tracing::warn!(%error, "the Service of cluster DNS is not made; trying again"),
            Err(_) => tracing::warn!("the Service of cluster DNS is not made in time; trying again"),
        }
        false
    }
}

/// Whether the kernel does what the translation says.
async fn apply(table: &Shared, translation: Arc<Translation>, is_open: &mut bool) -> bool {
    let (table, first) = (table.clone(), !*is_open);
    let applied = tokio::task::spawn_blocking(move || {
        let mut table = table.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(table) = table.as_mut() else { return Ok(()) };
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
