//! The loop: watch, translate, apply, write statuses.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::networking::v1::Ingress;
use kube::api::{Patch, PatchParams};
use kube::core::NamespaceResourceScope;
use kube::runtime::events::{Event, EventType, Recorder};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use xebec_api::gateway::{
    BackendTLSPolicy, GRPCRoute, Gateway, GatewayClass, HTTPRoute, ListenerSet, TCPRoute, TLSRoute, UDPRoute,
};
use xebec_proxy::config::{Config, Listener, Protocol, TrustRoots};
use xebec_proxy::proxy::{ListenError, Proxy};

use crate::snapshot::{Place, Unbound};
use crate::world::World;
use crate::{CONTROLLER, Hold, Notice, Options, Said, Snapshot, Status, Translation, translate};

/// Changes that come this close together are translated at once.
const DEBOUNCE: Duration = Duration::from_millis(5);
/// The waits after a pass that did not end well.
const PASS_AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// How long one status may take to write.
const WRITE: Duration = Duration::from_secs(10);
/// How long requests may go on after the shutdown.
const DRAIN: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
enum WriteError {
    #[error("the API refused: {0}")]
    Api(#[from] kube::Error),
    #[error("the status cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the API did not answer within {} s", WRITE.as_secs())]
    Late,
}

/// Serves Gateways with `proxy` until `shutdown` is cancelled, then lets the proxy's requests end. `system_roots` are the
/// authorities that this machine believes.
pub async fn run(
    client: Client,
    mut proxy: Proxy,
    options: Options,
    system_roots: Option<TrustRoots>,
    shutdown: CancellationToken,
) {
    let world = World::watch(client.clone());
    let passes = async {
        // A translation of half the objects would take statuses away that are right.
        if world.listed().await.is_err() {
            return;
        }
        let mut unbound = BTreeMap::new();
        let mut told = Vec::new();
        let recorder = Recorder::new(client.clone(), CONTROLLER.into());
        let mut wait = PASS_AGAIN.0;
        loop {
            let snapshot = world.snapshot(options, system_roots.clone(), unbound.clone());
            let Translation { config, mut statuses, accounts, notices, holds } = translate(&snapshot);
            let failed = apply(&mut proxy, config).await;
            if failed != unbound {
                unbound = failed;
                statuses = translate(&Snapshot { unbound: unbound.clone(), ..snapshot }).statuses;
            }
            let placed = place(&client, accounts).await && hold(&client, holds).await;
            let heard = tell(&recorder, notices, &mut told).await;
            if write(&client, statuses).await && placed && heard && unbound.is_empty() {
                wait = PASS_AGAIN.0;
                world.changed().await;
            } else {
                _ = tokio::time::timeout(wait, world.changed()).await;
                wait = (wait * 2).min(PASS_AGAIN.1);
            }
            tokio::time::sleep(DEBOUNCE).await;
        }
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = passes => {}
    }
    proxy.shutdown(DRAIN).await;
}

/// Applies a configuration and returns the places that could not be opened.
async fn apply(proxy: &mut Proxy, config: Config) -> BTreeMap<Place, Unbound> {
    let place = |listener: &Listener| Place {
        address: listener.address,
        udp: matches!(listener.protocol, Protocol::Udp(_)),
    };
    let places: Vec<_> = config.listeners.iter().map(place).collect();
    let applied = proxy.apply(config).await;
    let unbound = |error: ListenError| {
        let foreign = matches!(&error, ListenError::Bind { source, .. }
            if source.kind() == std::io::ErrorKind::AddrNotAvailable);
        Unbound { reason: error.to_string(), foreign }
    };
    places
        .into_iter()
        .zip(applied.listeners)
        .filter_map(|(place, bound)| Some((place, unbound(bound.err()?))))
        .collect()
}

/// Whether all objects that are to be there were put there.
async fn place(client: &Client, accounts: Vec<ServiceAccount>) -> bool {
    let mut all = true;
    for account in accounts {
        let (name, namespace) = (account.name_any(), account.namespace().unwrap_or_default());
        let objects = Api::<ServiceAccount>::namespaced(client.clone(), &namespace);
        let parameters = PatchParams::apply(CONTROLLER).force();
        let change = Patch::Apply(&account);
        let placed = tokio::time::timeout(WRITE, objects.patch(&name, &parameters, &change)).await;
        if let Err(error) = placed.map_err(|_| WriteError::Late).and_then(|placed| Ok(placed?)) {
            tracing::warn!(%error, namespace, name, "a Gateway's ServiceAccount was not made and is tried again");
            all = false;
        }
    }
    all
}

/// Whether all classes have the finalizers that they should have. One that has changed meanwhile is looked at again.
async fn hold(client: &Client, holds: Vec<Hold>) -> bool {
    let classes = Api::<GatewayClass>::all(client.clone());
    let mut all = true;
    for Hold { class, version, finalizers } in holds {
        let change = json!({"metadata": {"resourceVersion": version, "finalizers": finalizers}});
        let (parameters, change) = (PatchParams::default(), Patch::Merge(change));
        let held = tokio::time::timeout(WRITE, classes.patch_metadata(&class, &parameters, &change)).await;
        match held.map_err(|_| WriteError::Late).and_then(|held| Ok(held?)) {
            Ok(_) => {}
            Err(WriteError::Api(kube::Error::Api(answer))) if matches!(answer.code, 404 | 409) => {}
            Err(error) => {
                tracing::warn!(%error, class, "the finalizers of a class were not written and are tried again");
                all = false;
            }
        }
    }
    all
}

/// Whether everything was said. What was said before, and still holds, is not said again.
async fn tell(recorder: &Recorder, notices: Vec<Notice>, told: &mut Vec<Notice>) -> bool {
    told.retain(|notice| notices.contains(notice));
    let mut all = true;
    for notice in notices {
        if told.contains(&notice) {
            continue;
        }
        let event = Event {
            type_: EventType::Warning,
            reason: notice.reason.to_owned(),
            note: Some(notice.message.clone()),
            action: "Translating".to_owned(),
            secondary: None,
        };
        let published = tokio::time::timeout(WRITE, recorder.publish(&event, &notice.object)).await;
        match published.map_err(|_| WriteError::Late).and_then(|published| Ok(published?)) {
            Ok(()) => told.push(notice),
            Err(error) => {
                let (kind, name) = (&notice.object.kind, &notice.object.name);
                tracing::warn!(%error, ?kind, ?name, "an event was not written and is tried again");
                all = false;
            }
        }
    }
    all
}

/// Whether all statuses were written, or their objects are gone.
async fn write(client: &Client, statuses: Vec<Status>) -> bool {
    let mut all = true;
    for status in statuses {
        let written = tokio::time::timeout(WRITE, write_one(client, &status)).await;
        match written.unwrap_or(Err(WriteError::Late)) {
            Ok(()) => {}
            Err(WriteError::Api(kube::Error::Api(answer))) if answer.code == 404 => {}
            Err(error) => {
                tracing::warn!(%error, kind = status.kind, name = status.name, "a status was not written and is tried again");
                all = false;
            }
        }
    }
    all
}

async fn write_one(client: &Client, status: &Status) -> Result<(), WriteError> {
    let mut value = serde_json::to_value(&status.status)?;
    // A merge patch takes away only what it names.
    match &status.status {
        Said::Gateway(said) => {
            value["addresses"] = serde_json::to_value(&said.addresses)?;
            value["listeners"] = serde_json::to_value(&said.listeners)?;
        }
        Said::Listeners(said) => value["listeners"] = serde_json::to_value(&said.listeners)?,
        Said::Class(_) | Said::Route(_) | Said::Policy(_) | Said::Ingress(_) => {}
    }
    let change = json!({ "status": value });
    match status.kind {
        "Gateway" => patch::<Gateway>(client, status, change).await,
        "ListenerSet" => patch::<ListenerSet>(client, status, change).await,
        "HTTPRoute" => patch::<HTTPRoute>(client, status, change).await,
        "GRPCRoute" => patch::<GRPCRoute>(client, status, change).await,
        "TLSRoute" => patch::<TLSRoute>(client, status, change).await,
        "TCPRoute" => patch::<TCPRoute>(client, status, change).await,
        "UDPRoute" => patch::<UDPRoute>(client, status, change).await,
        "Ingress" => patch::<Ingress>(client, status, change).await,
        "BackendTLSPolicy" => patch::<BackendTLSPolicy>(client, status, change).await,
        _ => {
            let classes = Api::<GatewayClass>::all(client.clone());
            classes.patch_status(&status.name, &PatchParams::default(), &Patch::Merge(change)).await?;
            Ok(())
        }
    }
}

async fn patch<K>(client: &Client, status: &Status, change: Value) -> Result<(), WriteError>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + Debug,
{
    let objects = Api::<K>::namespaced(client.clone(), status.namespace.as_deref().unwrap_or_default());
    objects.patch_status(&status.name, &PatchParams::default(), &Patch::Merge(change)).await?;
    Ok(())
}
