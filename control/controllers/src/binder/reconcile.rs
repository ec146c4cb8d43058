//! The loops of claims and of volumes.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join;
use futures::stream::{self, select};
use futures::{FutureExt as _, Stream, StreamExt as _};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    ObjectReference, PersistentVolume, PersistentVolumeClaim, PersistentVolumeStatus, Pod,
};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{ListParams, Patch};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::controller::Action;
use kube::runtime::reflector::{self, ObjectRef, Store};
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use xebec_claims::pod::uses;
use xebec_claims::{BY_CONTROLLER, COMPLETED, PROVISIONER, matching};

use super::Told;
use super::claim::{self, Snapshot};
use super::volume::{self, Reclaim};
use crate::Error;
use crate::drive::{AGAIN, Patience, drive};
use crate::events::Voice;
use crate::owner::{changing, is_ending, unless_gone, write_status};
use crate::pod::has_ended;
use crate::rights::{READ, Right};
use crate::run::World;
use crate::time::time;

const MANAGER: &str = "persistentvolume-controller";

/// What it may do.
pub(crate) const RIGHTS: &[Right] = &[
    Right::to(READ, "", &["persistentvolumeclaims", "persistentvolumes"]),
    Right::to(&["patch"], "", &["persistentvolumeclaims", "persistentvolumes"]),
    Right::to(&["patch"], "", &["persistentvolumeclaims/status", "persistentvolumes/status"]),
    Right::to(READ, "storage.k8s.io", &["storageclasses"]),
    Right::to(&["list"], "", &["pods"]),
];

/// When a claim is looked at again that came before all volumes and classes were listed.
const SOON: Duration = Duration::from_secs(1);

/// What claims are decided by. It may be behind: what is written by it names the state that was seen, and else is refused.
struct Storage {
    volumes: Store<PersistentVolume>,
    classes: Store<StorageClass>,
}

impl Storage {
    /// Whether everything was seen once.
    fn is_ready(&self) -> bool {
        [self.volumes.wait_until_ready().now_or_never(), self.classes.wait_until_ready().now_or_never()]
            .into_iter()
            .all(|waited| matches!(waited, Some(Ok(()))))
    }
}

/// What was seen of the objects of a kind.
enum Seen<K> {
    /// One changed or went.
    One(K),
    /// All were listed, and any may have changed or gone.
    All,
}

/// The objects of a kind, kept up by whoever listens to what is seen of them; that is told once the store shows it.
fn follow<K>(client: &Client) -> (Store<K>, impl Stream<Item = Seen<K>> + Send + use<K>)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let (known, writer) = reflector::store();
    let seen = watcher::watcher(Api::<K>::all(client.clone()), watcher::Config::default())
        .backoff(Patience::default())
        .modify(|object| object.meta_mut().managed_fields = None)
        .reflect(writer)
        .filter_map(async |event| match event {
            // While all are listed, the store shows what there was before.
            Ok(Event::Init | Event::InitApply(_)) => None,
            Ok(Event::InitDone) => Some(Seen::All),
            Ok(Event::Apply(object) | Event::Delete(object)) => Some(Seen::One(object)),
            Err(error) => {
                tracing::debug!(kind = %K::kind(&()), %error, "a watch broke; it begins anew");
                None
            }
        });
    (known, seen)
}

/// Runs until the world ends.
pub(crate) async fn run(world: Arc<World>) {
    let (volumes, of_volumes) = follow::<PersistentVolume>(&world.client);
    let (classes, of_classes) = follow::<StorageClass>(&world.client);
    let storage = Arc::new(Storage { volumes, classes });
    let claims = world.claims.clone();
    let of_claims = drive(
        world.clone(),
        move |claims: Store<PersistentVolumeClaim>| {
            let known = claims.clone();
            let by_volume = of_volumes.map(move |seen| concerned(&known, |claim| minds(claim, &seen)));
            let by_class = of_classes.map(move |_| concerned(&claims, is_open));
            select(by_volume.boxed(), by_class.boxed()).flat_map(stream::iter)
        },
        move |claim, world| tend_claim(claim, world, storage.clone()),
    );
    let of_volumes = drive(
        world,
        move |volumes: Store<PersistentVolume>| {
            claims.triggers(move |claim| {
                let (namespace, name) = (claim.metadata.namespace.as_deref(), claim.metadata.name.as_deref());
                let refers = |volume: &&Arc<PersistentVolume>| {
                    let reference = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
                    reference.is_some_and(|own| {
                        own.namespace.as_deref() == namespace && own.name.as_deref() == name
                    })
                };
                let all = volumes.state();
                all.iter().filter(refers).map(|own| ObjectRef::from_obj(&**own)).collect::<Vec<_>>()
            })
        },
        tend_volume,
    );
    join(of_claims, of_volumes).await;
}

fn concerned(
    claims: &Store<PersistentVolumeClaim>,
    minds: impl Fn(&PersistentVolumeClaim) -> bool,
) -> Vec<ObjectRef<PersistentVolumeClaim>> {
    let all = claims.state();
    all.iter().filter(|claim| minds(claim)).map(|claim| ObjectRef::from_obj(&**claim)).collect()
}

/// Whether a claim may get another volume than it has.
fn is_open(claim: &PersistentVolumeClaim) -> bool {
    !claim.annotations().contains_key(COMPLETED)
}

/// Whether what was seen of volumes may concern a claim: its own volume does, and one that it may have now.
fn minds(claim: &PersistentVolumeClaim, seen: &Seen<PersistentVolume>) -> bool {
    let Seen::One(volume) = seen else { return true };
    let named = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_ref());
    let reference = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    let may_have = reference.is_none_or(|reference| {
        reference.name == claim.metadata.name && reference.namespace == claim.metadata.namespace
    });
    named.is_some() && named == volume.metadata.name.as_ref() || is_open(claim) && may_have
}

async fn tend_claim(
    claim: Arc<PersistentVolumeClaim>,
    world: Arc<World>,
    storage: Arc<Storage>,
) -> Result<Action, Error> {
    let namespace =
        claim.namespace().ok_or(Error::Incomplete { kind: "PersistentVolumeClaim", field: "namespace" })?;
    if !storage.is_ready() {
        return Ok(Action::requeue(SOON));
    }
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(world.client.clone(), &namespace);
    let Some(claim) = claims.get_opt(&claim.name_any()).await? else { return Ok(Action::await_change()) };
    if is_ending(&claim) && is_open(&claim) {
        return Ok(Action::await_change());
    }
    let volumes: Api<PersistentVolume> = Api::all(world.client.clone());
    let named = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).unwrap_or_default();
    let (mut own, mut known, mut classes, mut pods) = (None, Vec::new(), Vec::new(), Vec::new());
    if named.is_empty() {
        known = storage.volumes.state();
        classes = storage.classes.state().iter().map(|class| StorageClass::clone(class)).collect();
        if claim::is_unwanted(&claim, &classes) {
            pods = homeless(&world, &namespace, &claim).await?;
        }
    } else {
        own = volumes.get_opt(named).await?;
    }
    let there: Vec<&PersistentVolume> = known.iter().map(|volume| &**volume).chain(&own).collect();
    let voice = world.events.about(MANAGER, &claim);
    let step = claim::decide(Snapshot { claim: &claim, volumes: &there, classes: &classes, pods: &pods });
    match step {
        claim::Step::Bind(volume) => bind(&volumes, &claims, volume, &claim).await?,
        claim::Step::Classify(class) => {
            change(&claims, &claim, json!({}), json!({"spec": {"storageClassName": class}})).await?;
        }
        claim::Step::Provision(provisioner) => {
            if PROVISIONER.iter().any(|key| claim.annotations().get(*key) != Some(&provisioner)) {
                let annotations: Value =
                    PROVISIONER.iter().map(|key| ((*key).to_owned(), json!(provisioner))).collect();
                change(&claims, &claim, annotations, json!({})).await?;
            }
            say(&voice, &claim::asked(&provisioner));
        }
        claim::Step::Wait(told) => {
            set_claim(&claims, &claim, "Pending", None).await?;
            told.iter().for_each(|told| say(&voice, told));
        }
        claim::Step::Lose(told) => {
            if phase_of(&claim) != "Lost" {
                set_claim(&claims, &claim, "Lost", None).await?;
                say(&voice, &told);
            }
        }
        claim::Step::Misled(told) => {
            say(&voice, &told);
            let name = claim.name_any();
            return Err(Error::Refused { what: "binding of claim", name, why: told.message });
        }
    }
    Ok(Action::requeue(AGAIN))
}

fn phase_of(claim: &PersistentVolumeClaim) -> &str {
    claim.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

fn say(voice: &Voice<'_>, told: &Told) {
    if told.is_warning {
        voice.warning(told.reason, told.message.clone());
    } else {
        voice.normal(told.reason, told.message.clone());
    }
}

/// The names of the pods that use a claim and have no node yet.
async fn homeless(
    world: &World,
    namespace: &str,
    claim: &PersistentVolumeClaim,
) -> Result<Vec<String>, Error> {
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), namespace);
    let waits = |pod: &&Pod| {
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
        node.is_empty() && !has_ended(pod) && uses(pod, claim)
    };
    let all = pods.list(&ListParams::default()).await?.items;
    Ok(all.iter().filter(waits).map(|pod| pod.name_any()).collect())
}

/// Changes annotations and more of an object that is as it was seen.
async fn change<K>(api: &Api<K>, object: &K, annotations: Value, mut more: Value) -> Result<Option<K>, Error>
where
    K: Resource + Clone + Debug + DeserializeOwned,
{
    more["metadata"] = json!({
        "uid": object.meta().uid, "resourceVersion": object.meta().resource_version, "annotations": annotations,
    });
    unless_gone(api.patch(&object.name_any(), &changing(), &Patch::Merge(more)).await)
}

/// Has both say that they are each other's, the volume first.
async fn bind(
    volumes: &Api<PersistentVolume>,
    claims: &Api<PersistentVolumeClaim>,
    volume: &PersistentVolume,
    claim: &PersistentVolumeClaim,
) -> Result<(), Error> {
    let mut volume = volume.clone();
    let reference = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    let is_whole = matching::is_kept_for(&volume, claim)
        && reference.is_some_and(|reference| reference.uid == claim.metadata.uid);
    if !is_whole {
        let mut annotations = json!({});
        if !matching::is_kept_for(&volume, claim) {
            annotations[BY_CONTROLLER] = json!("yes");
        }
        let reference = ObjectReference { field_path: None, ..claim.object_ref(&()) };
        let spec = json!({"spec": {"claimRef": reference}});
        let Some(written) = change(volumes, &volume, annotations, spec).await? else { return Ok(()) };
        volume = written;
    }
    let Some(volume) = set_phase(volumes, &volume, "Bound", None).await? else { return Ok(()) };
    let mut claim = claim.clone();
    let is_named =
        claim.spec.as_ref().and_then(|spec| spec.volume_name.as_ref()) == volume.metadata.name.as_ref();
    if !is_named || !claim.annotations().contains_key(COMPLETED) {
        let mut annotations = json!({COMPLETED: "yes"});
        if !is_named {
            annotations[BY_CONTROLLER] = json!("yes");
        }
        let spec = json!({"spec": {"volumeName": volume.metadata.name}});
        let Some(written) = change(claims, &claim, annotations, spec).await? else { return Ok(()) };
        claim = written;
    }
    set_claim(claims, &claim, "Bound", Some(&volume)).await
}

async fn set_claim(
    claims: &Api<PersistentVolumeClaim>,
    claim: &PersistentVolumeClaim,
    phase: &str,
    volume: Option<&PersistentVolume>,
) -> Result<(), Error> {
    write_status(claims, claim, claim.status.as_ref(), &claim::status(claim, phase, volume)).await
}

/// Puts a volume into a phase, and gives it as it is then; nothing if it is gone.
async fn set_phase(
    volumes: &Api<PersistentVolume>,
    volume: &PersistentVolume,
    phase: &str,
    message: Option<&str>,
) -> Result<Option<PersistentVolume>, Error> {
    let before = volume.status.clone().unwrap_or_default();
    if before.phase.as_deref() == Some(phase) {
        return Ok(Some(volume.clone()));
    }
    let status = PersistentVolumeStatus {
        phase: Some(phase.to_owned()),
        message: message.map(str::to_owned),
        reason: None,
        last_phase_transition_time: Some(time(Timestamp::now())),
    };
    let mut status = serde_json::to_value(&status)?;
    for (field, is_given) in [("message", message.is_some()), ("reason", false)] {
        if !is_given {
            status[field] = Value::Null;
        }
    }
    let meta = json!({"uid": volume.uid(), "resourceVersion": volume.resource_version()});
    let patch = Patch::Merge(json!({"metadata": meta, "status": status}));
    unless_gone(volumes.patch_status(&volume.name_any(), &changing(), &patch).await)
}

async fn tend_volume(volume: Arc<PersistentVolume>, world: Arc<World>) -> Result<Action, Error> {
    let volumes: Api<PersistentVolume> = Api::all(world.client.clone());
    let Some(volume) = volumes.get_opt(&volume.name_any()).await? else { return Ok(Action::await_change()) };
    let reference = volume.spec.as_ref().and_then(|spec| spec.claim_ref.clone()).unwrap_or_default();
    let claim = match (&reference.namespace, &reference.name) {
        (Some(namespace), Some(name)) => {
            let claims: Api<PersistentVolumeClaim> = Api::namespaced(world.client.clone(), namespace);
            claims.get_opt(name).await?
        }
        _ => None,
    };
    let voice = world.events.about(MANAGER, &volume);
    match volume::decide(&volume, claim.as_ref()) {
        volume::Step::Nothing => {}
        volume::Step::Phase(phase) => drop(set_phase(&volumes, &volume, phase, None).await?),
        volume::Step::Reclaim(becomes) => {
            let phase = volume.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default();
            let mut now = Some(volume.clone());
            if !matches!(phase.as_str(), "Released" | "Failed") {
                now = set_phase(&volumes, &volume, "Released", None).await?;
            }
            if let (Reclaim::Fail(told), Some(now)) = (becomes, now)
                && phase != "Failed"
            {
                set_phase(&volumes, &now, "Failed", Some(&told.message)).await?;
                say(&voice, &told);
            }
        }
        volume::Step::Unbind { whole } => {
            let changed = if whole {
                let nobody = json!({"spec": {"claimRef": null}});
                change(&volumes, &volume, json!({BY_CONTROLLER: null}), nobody).await?
            } else {
                change(&volumes, &volume, json!({}), json!({"spec": {"claimRef": {"uid": null}}})).await?
            };
            if let Some(changed) = changed {
                set_phase(&volumes, &changed, "Available", None).await?;
            }
        }
        volume::Step::Mismatch { volume: of_volume, claim: of_claim } => {
            say(&voice, &of_volume);
            if let Some(claim) = &claim {
                say(&world.events.about(MANAGER, claim), &of_claim);
            }
        }
    }
    Ok(Action::requeue(AGAIN))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;

    #[test]
    fn a_volume_concerns_the_claims_that_have_it_or_may_have_it() {
        let volume = |reference: Value| -> Seen<PersistentVolume> {
            let volume = json!({"metadata": {"name": "one"}, "spec": {"claimRef": reference}});
            Seen::One(serde_json::from_value(volume).unwrap())
        };
        let claim = |name: &str, has: Value, is_bound: bool| -> PersistentVolumeClaim {
            let annotations = if is_bound { json!({COMPLETED: "yes"}) } else { json!({}) };
            serde_json::from_value(json!({
                "metadata": {"namespace": "a", "name": name, "annotations": annotations},
                "spec": {"volumeName": has},
            }))
            .unwrap()
        };
        let (waits, other) = (claim("waits", json!(null), false), claim("other", json!(null), false));
        let (has, lost) = (claim("has", json!("one"), true), claim("lost", json!(null), true));
        let all = [&waits, &other, &has, &lost];
        let reference = json!({"namespace": "a", "name": "waits"});
        for (seen, wanted) in [
            (volume(json!(null)), [true, true, true, false]),
            (volume(reference), [true, false, true, false]),
            (volume(json!({"namespace": "b", "name": "waits"})), [false, false, true, false]),
            (Seen::All, [true; 4]),
        ] {
            assert_eq!(all.map(|claim| minds(claim, &seen)), wanted);
        }
    }
}
