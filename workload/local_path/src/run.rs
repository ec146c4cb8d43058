//! The loops: claims get volumes, and volumes go.

use std::collections::HashSet;
use std::future::{Future, ready};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::join;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::events::{Event, EventType, Recorder};
use kube::runtime::watcher;
use kube::{Api, Client, Resource, ResourceExt as _};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use xebec_claims::class;
use xebec_follow::caught;

use crate::volume::{self, FINALIZER, Step};
use crate::{Error, PROVISIONER, folder};

/// When something is tried again that failed.
const AGAIN: Duration = Duration::from_secs(5);
/// How long passes that are under way may take when the program ends.
const GRACE: Duration = Duration::from_secs(5);

/// Where volumes are made.
#[derive(Debug, Clone)]
pub struct Options {
    /// The node whose disk it is.
    pub node: String,
    /// The directory below which each volume has its own. Absolute, and nobody else's.
    pub folder: PathBuf,
}

struct World {
    client: Client,
    options: Options,
    recorder: Recorder,
}

/// Makes and removes volumes until `shutdown` is cancelled. [`announce`](crate::announce) came before.
pub async fn run(client: Client, options: Options, shutdown: CancellationToken) {
    let recorder = Recorder::new(client.clone(), PROVISIONER.into());
    let world = Arc::new(World { client: client.clone(), options, recorder });
    loop {
        let swept = tokio::select! {
            () = shutdown.cancelled() => return,
            swept = world.sweep() => swept,
        };
        let Err(error) = swept else { break };
        tracing::warn!(%error, "cannot look for directories of volumes that never came; trying again");
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
    let claims = Api::<PersistentVolumeClaim>::all(client.clone());
    let claims = drive(Controller::new(claims, watcher::Config::default()), &world, &shutdown, tend_claim);
    let volumes = Api::<PersistentVolume>::all(client);
    let volumes = drive(Controller::new(volumes, watcher::Config::default()), &world, &shutdown, tend_volume);
    let both = join(claims, volumes);
    tokio::pin!(both);
    tokio::select! {
        _ = &mut both => {}
        () = shutdown.cancelled() => {
            if tokio::time::timeout(GRACE, both).await.is_err() {
                tracing::debug!("volumes were still being made or removed; the next start finishes that");
            }
        }
    }
}

async fn drive<K, F>(
    controller: Controller<K>,
    world: &Arc<World>,
    shutdown: &CancellationToken,
    pass: fn(Arc<K>, Arc<World>) -> F,
) where
    K: Resource<DynamicType = ()>
        + Clone
        + serde::de::DeserializeOwned
        + std::fmt::Debug
        + Send
        + Sync
        + 'static,
    F: Future<Output = Result<Action, Error>> + Send + 'static,
{
    let failed = |object: Arc<K>, error: &Error, _: Arc<World>| {
        tracing::warn!(kind = %K::kind(&()), name = object.name_any(), %error, "a volume is not as it should be yet");
        Action::requeue(AGAIN)
    };
    controller
        .graceful_shutdown_on(shutdown.clone().cancelled_owned())
        .run(
            move |object, world| {
                let passing = caught(pass(object, world));
                async { passing.await? }
            },
            failed,
            world.clone(),
        )
        .for_each(|_| ready(()))
        .await;
}

impl World {
    fn volumes(&self) -> Api<PersistentVolume> {
        Api::all(self.client.clone())
    }

    async fn sweep(&self) -> Result<(), Error> {
        let all = ListParams::default();
        let claims = Api::<PersistentVolumeClaim>::all(self.client.clone()).list_metadata(&all).await?;
        let volumes = self.volumes().list_metadata(&all).await?;
        let known: HashSet<String> = volumes.items.iter().map(|volume| volume.name_any()).collect();
        let of_claims = claims.items.iter().filter_map(|claim| Some(volume::name(&claim.uid()?)));
        let known: HashSet<String> = known.into_iter().chain(of_claims).collect();
        let path = self.options.folder.clone();
        blocking(move || folder::sweep(&path, |volume| known.contains(volume))).await
    }

    async fn tell<K: Resource<DynamicType = ()>>(
        &self,
        about: &K,
        kind: EventType,
        reason: &str,
        note: String,
    ) {
        let event = Event {
            type_: kind,
            reason: reason.to_owned(),
            note: Some(note),
            action: reason.to_owned(),
            secondary: None,
        };
        if let Err(error) = self.recorder.publish(&event, &about.object_ref(&())).await {
            tracing::debug!(reason, %error, "an event could not be written");
        }
    }

    /// Makes the volume of a claim: the directory first, so that whoever sees the volume may mount it.
    async fn provide(&self, claim: &PersistentVolumeClaim, class: &StorageClass) -> Result<(), Error> {
        let options = self.options.clone();
        let own = volume::directory(&volume::reference(claim));
        let path = blocking(move || folder::make(&options.folder, &own)).await?;
        let volume = volume::volume(claim, class, &path, &self.options.node);
        match self.volumes().create(&PostParams::default(), &volume).await {
            // An earlier pass made it, and this one did not see that yet.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            made => made.map(drop).map_err(Error::from),
        }
    }

    /// Deletes a volume as it was seen, which nobody can call back then.
    async fn delete(&self, volume: &PersistentVolume) -> Result<(), Error> {
        let preconditions = Preconditions { uid: volume.uid(), resource_version: volume.resource_version() };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        unless_gone(self.volumes().delete(&volume.name_any(), &parameters).await)
    }

    /// Removes the directory of a volume that was deleted, and lets the volume go.
    async fn remove(&self, volume: &PersistentVolume, own: String) -> Result<(), Error> {
        let options = self.options.clone();
        blocking(move || folder::remove(&options.folder, &own)).await?;
        self.hold(volume, false).await
    }

    /// Gives or takes the finalizer of a volume that is as it was seen.
    async fn hold(&self, volume: &PersistentVolume, is_held: bool) -> Result<(), Error> {
        let mut finalizers = volume.finalizers().to_vec();
        finalizers.retain(|own| own != FINALIZER);
        if is_held {
            finalizers.push(FINALIZER.to_owned());
        }
        let meta = json!({
            "uid": volume.uid(), "resourceVersion": volume.resource_version(), "finalizers": finalizers,
        });
        let patch = Patch::Merge(json!({"metadata": meta}));
        unless_gone(self.volumes().patch(&volume.name_any(), &PatchParams::default(), &patch).await)
    }
}

/// Takes "not found" and "somebody wrote in between" for an answer: the object's next state has a pass of its own.
fn unless_gone<T>(outcome: Result<T, kube::Error>) -> Result<(), Error> {
    match outcome {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        outcome => outcome.map(drop).map_err(Error::from),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await?
}

async fn tend_claim(claim: Arc<PersistentVolumeClaim>, world: Arc<World>) -> Result<Action, Error> {
    if !volume::is_wanted(&claim, &world.options.node) {
        return Ok(Action::await_change());
    }
    let (namespace, uid) = (claim.namespace().unwrap_or_default(), claim.uid().unwrap_or_default());
    let name = volume::name(&uid);
    if world.volumes().get_opt(&name).await?.is_some() {
        return Ok(Action::await_change());
    }
    // What was seen may be old: no directory is made for a claim that is gone.
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(world.client.clone(), &namespace);
    let claim = claims.get_opt(&claim.name_any()).await?.filter(|own| own.uid() == Some(uid));
    let Some(claim) = claim.filter(|own| volume::is_wanted(own, &world.options.node)) else {
        return Ok(Action::await_change());
    };
    let provided = match volume::unserved(&claim) {
        Some(why) => Err(why),
        None => class_of(&world, &claim).await,
    };
    let provided = match provided {
        Ok(class) => world.provide(&claim, &class).await,
        Err(why) => Err(why),
    };
    if let Err(error) = provided {
        let class = class::of_claim(&claim).unwrap_or_default();
        let note = format!("failed to provision volume with StorageClass {class:?}: {error}");
        world.tell(&claim, EventType::Warning, "ProvisioningFailed", note).await;
        // What cannot be served does not become so by waiting.
        return if matches!(error, Error::Unserved(_)) { Ok(Action::await_change()) } else { Err(error) };
    }
    let note = format!("Successfully provisioned volume {name}");
    world.tell(&claim, EventType::Normal, "ProvisioningSucceeded", note).await;
    Ok(Action::await_change())
}

/// The class by which a claim asks.
async fn class_of(world: &World, claim: &PersistentVolumeClaim) -> Result<StorageClass, Error> {
    let name = class::of_claim(claim).unwrap_or_default();
    Ok(Api::<StorageClass>::all(world.client.clone()).get(name).await?)
}

async fn tend_volume(volume: Arc<PersistentVolume>, world: Arc<World>) -> Result<Action, Error> {
    let decide =
        |volume: &PersistentVolume| volume::decide(volume, &world.options.folder, &world.options.node);
    if decide(&volume) == Step::Leave {
        return Ok(Action::await_change());
    }
    // What was seen may be old, and somebody may have the volume by now.
    let Some(volume) = world.volumes().get_opt(&volume.name_any()).await? else {
        return Ok(Action::await_change());
    };
    let error = match decide(&volume) {
        Step::Leave => return Ok(Action::await_change()),
        Step::Hold(is_held) => {
            world.hold(&volume, is_held).await?;
            return Ok(Action::await_change());
        }
        Step::Delete => match world.delete(&volume).await {
            Ok(()) => return Ok(Action::await_change()),
            Err(error) => error,
        },
        Step::Remove(own) => match world.remove(&volume, own).await {
            Ok(()) => return Ok(Action::await_change()),
            Err(error) => error,
        },
        Step::Refuse(path) => Error::Elsewhere { volume: volume.name_any(), path },
    };
    world.tell(&volume, EventType::Warning, "VolumeFailedDelete", error.to_string()).await;
    if matches!(error, Error::Elsewhere { .. }) {
        tracing::warn!(%error, "a volume is not removed");
        return Ok(Action::await_change());
    }
    Err(error)
}
