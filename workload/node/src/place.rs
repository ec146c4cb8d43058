//! Where a pod runs: its address, its network and its volumes.

use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::VolumeMount;
use kube::ResourceExt as _;
use xebec_container::{Network, UserNamespace};

use crate::event::Kind;
use crate::pod::{Life, pod_id};
use crate::slot::{BackOff, Slot};
use crate::volumes::{self, Claims, Volumes};
use crate::{Error, devices, security};

/// The first and the longest pause before a place is looked for again.
const LOOK_AGAIN: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// What all containers of a pod share.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) address: IpAddr,
    pub(crate) network: Network,
    /// The pod's own identities; without, its users are the machine's.
    pub(crate) users: Option<UserNamespace>,
    pub(crate) volumes: Arc<Volumes>,
}

impl Place {
    /// Finds the pod a place, however often it takes. Nothing when the pod is to end first.
    pub(crate) async fn find(life: &Arc<Life>, slots: &[Slot]) -> Option<Self> {
        let mut back_off = BackOff::new(LOOK_AGAIN);
        // Images are fetched for what can run.
        while let Err(error) = devices::prepare(life).await {
            life.note(None, Kind::Warning, "FailedPrepareDynamicResources", error.to_string());
            tokio::select! {
                () = life.halt.cancelled() => return None,
                () = tokio::time::sleep(back_off.pause()) => {}
            }
        }
        let is_wasm = !life.past.has_containers() && is_wasm(slots).await?;
        let mut back_off = BackOff::new(LOOK_AGAIN);
        loop {
            match Self::prepare(life, is_wasm).await {
                Ok(place) => {
                    life.change(|state| state.address = Some(place.address.to_string()));
                    return Some(place);
                }
                Err(_) if life.halt.is_cancelled() => return None,
                Err((reason, error)) => life.note(None, Kind::Warning, reason, error.to_string()),
            }
            tokio::select! {
                () = life.halt.cancelled() => return None,
                () = tokio::time::sleep(back_off.pause()) => {}
            }
        }
    }

    async fn prepare(life: &Arc<Life>, is_wasm: bool) -> Result<Self, (&'static str, Error)> {
        let claims = volumes::find(life).await.map_err(|error| ("FailedMount", error))?;
        let network = network(life, is_wasm, &claims).await;
        let (address, network, users) = network.map_err(|error| ("FailedCreatePodSandBox", error))?;
        life.change(|state| state.address = Some(address.to_string()));
        cover(life, address).await;
        let volumes = volumes::prepare(life, &address.to_string(), &claims).await;
        let volumes = volumes.map_err(|error| ("FailedMount", error))?;
        Ok(Self { address, network, users, volumes: Arc::new(volumes) })
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

/// The pod's address, what network it sees, and its own identities.
async fn network(
    life: &Life,
    is_wasm: bool,
    claims: &Claims,
) -> Result<(IpAddr, Network, Option<UserNamespace>), Error> {
    if life.spec().is_some_and(|spec| spec.host_network == Some(true)) {
        return Ok((IpAddr::V4(life.node.options.address), Network::Host, None));
    }
    if is_wasm {
        return Ok((IpAddr::V4(life.node.loopback(&life.pod)), Network::Host, None));
    }
    // The network belongs to the user namespace, so that one comes first.
    let users = users(life, claims).await?;
    let containers = life.node.containers()?;
    let (network, id) = (containers.network.clone(), pod_id(&life.pod)?);
    let place = tokio::task::spawn_blocking(move || network.attach(&id)).await??;
    Ok((IpAddr::V4(place.address), Network::Namespace(place.namespace), users))
}

/// Waits until the pod's address is filtered, where it has one of its own.
async fn cover(life: &Life, address: IpAddr) {
    let is_own = life.spec().is_some_and(|spec| spec.host_network != Some(true));
    if let (Some(covers), IpAddr::V4(address), true) = (&life.node.options.covers, address, is_own) {
        covers(life.pod.clone(), address).await;
    }
}

/// Gives the pod identities of its own (KEP-127), where it asks for them, or where it says nothing and they are to be had.
async fn users(life: &Life, claims: &Claims) -> Result<Option<UserNamespace>, Error> {
    let containers = life.node.containers()?;
    let id = pod_id(&life.pod)?;
    let wanted = life.spec().and_then(|spec| spec.host_users);
    // A pod that an earlier process began stays as it was.
    let has_own = containers.runtime.user_namespaces().contains(&id);
    let may = if life.past.is_whole {
        has_own
    } else {
        wanted == Some(false) || fits(life) && volumes::fit(claims, &life.node.options.folder).await?
    };
    if wanted == Some(true) || !may {
        return Ok(None);
    }
    let path = containers.network.namespace(&id);
    match containers.runtime.user_namespace(&id, Some(path)).await {
        Err(error) if wanted.is_none() && !life.past.is_whole => {
            tracing::info!(pod = life.pod.name_any(), %error, "a pod's users are the machine's");
            Ok(None)
        }
        made => Ok(made.map(Some)?),
    }
}

/// Whether a pod that says nothing about it may have identities of its own: not where it shares more with the machine.
fn fits(life: &Life) -> bool {
    life.spec().is_some_and(|spec| {
        let mut volumes = spec.volumes.iter().flatten();
        let shares = [spec.host_pid, spec.host_ipc].contains(&Some(true));
        let mut containers = spec.init_containers.iter().flatten().chain(&spec.containers);
        let is_privileged = containers.any(|container| {
            let context = container.security_context.as_ref();
            context.is_some_and(|context| context.privileged == Some(true))
        });
        // Not all parameters of the kernel can be set in a user namespace.
        !shares
            && !is_privileged
            && security::sysctls(&life.pod).is_empty()
            && security::fits_namespace(&life.pod)
            && volumes.all(|volume| volume.host_path.is_none())
    })
}

/// What of a volume a container sees where.
#[derive(Debug)]
pub(crate) struct Mounted<'a> {
    pub(crate) mount: &'a VolumeMount,
    /// The volume.
    pub(crate) source: PathBuf,
    /// The part of it, which is there; empty is all of it.
    pub(crate) part: PathBuf,
    /// That part as it was found. By its path something else may be found by now.
    pub(crate) held: OwnedFd,
    pub(crate) read_only: bool,
}
