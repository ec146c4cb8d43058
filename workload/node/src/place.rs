//! Where a pod runs: its address, its network and its volumes.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::VolumeMount;
use xebec_container::Network;

use crate::Error;
use crate::event::Kind;
use crate::pod::{Life, pod_id};
use crate::slot::{BackOff, Slot};
use crate::volumes::{self, Volumes};

/// The first and the longest pause before a place is looked for again.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// What all containers of a pod share.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) address: IpAddr,
    pub(crate) network: Network,
    pub(crate) volumes: Arc<Volumes>,
}

impl Place {
    /// Finds the pod a place, however often it takes. Nothing when the pod is to end first.
    pub(crate) async fn find(life: &Arc<Life>, slots: &[Slot]) -> Option<Self> {
        let is_wasm = !life.past.has_containers() && is_wasm(slots).await?;
        let mut back_off = BackOff::new(LOOK_AGAIN);
        loop {
            match Self::prepare(life, is_wasm).await {
                Ok(place) => {
                    life.change(|state| state.address = Some(place.address.to_string()));
                    return Some(place);
                }
                Err((reason, error)) => life.note(None, Kind::Warning, reason, error.to_string()),
            }
            tokio::select! {
                () = life.halt.cancelled() => return None,
                () = tokio::time::sleep(back_off.pause()) => {}
            }
        }
    }

    async fn prepare(life: &Arc<Life>, is_wasm: bool) -> Result<Self, (&'static str, Error)> {
        let network = network(life, is_wasm).await;
        let (address, network) = network.map_err(|error| ("FailedCreatePodSandBox", error))?;
        life.change(|state| state.address = Some(address.to_string()));
        let volumes = volumes::prepare(life, &address.to_string()).await;
        let volumes = volumes.map_err(|error| ("FailedMount", error))?;
        Ok(Self { address, network, volumes: Arc::new(volumes) })
    }
}

/// Whether all of a pod is WebAssembly: known once one image is not, or all are here.
async fn is_wasm(slots: &[Slot]) -> Option<bool> {
    for slot in slots {
        let found = slot.image().await?;
        let is_wasm = found.is_wasm();
        slot.keep_image(found);
        if !is_wasm {
            return Some(false);
        }
    }
    Some(true)
}

/// The pod's address and what network it sees.
async fn network(life: &Life, is_wasm: bool) -> Result<(IpAddr, Network), Error> {
    if life.spec().is_some_and(|spec| spec.host_network == Some(true)) {
        return Ok((IpAddr::V4(life.node.options.address), Network::Host));
    }
    if is_wasm {
        return Ok((IpAddr::V4(life.node.loopback(&life.pod)), Network::Host));
    }
    let containers = life.node.containers()?;
    let (network, id) = (containers.network.clone(), pod_id(&life.pod)?);
    let place = tokio::task::spawn_blocking(move || network.attach(&id)).await??;
    Ok((IpAddr::V4(place.address), Network::Namespace(place.namespace)))
}

/// What of a volume a container sees where.
#[derive(Debug)]
pub(crate) struct Mounted<'a> {
    pub(crate) mount: &'a VolumeMount,
    pub(crate) source: std::path::PathBuf,
    pub(crate) read_only: bool,
}
