//! What is to be done about a claim.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimStatus};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::ResourceExt as _;
use xebec_claims::{BY_CONTROLLER, COMPLETED, SELECTED_NODE, class, matching};
use xebec_machinery::quantity::Quantity;

use super::{BUILT_IN, Told};

/// The next step of a claim.
#[derive(Debug, Clone, PartialEq)]
pub enum Step<'a> {
    /// It gets this volume, or has it and both are to say so.
    Bind(&'a PersistentVolume),
    /// It is given the class of those that name none.
    Classify(String),
    /// This provisioner is asked to make a volume.
    Provision(String),
    /// It waits, and here is why.
    Wait(Option<Told>),
    /// It has lost its volume, for good.
    Lose(Told),
    /// Its volume is somebody else's though it was given to it: that is looked at again.
    Misled(Told),
}

/// What there is when a claim is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Snapshot<'a> {
    /// The claim.
    pub claim: &'a PersistentVolumeClaim,
    /// All volumes.
    pub volumes: &'a [&'a PersistentVolume],
    /// All classes.
    pub classes: &'a [StorageClass],
    /// The names of the pods that use the claim and have no node yet.
    pub pods: &'a [String],
}

fn says(claim: &PersistentVolumeClaim, key: &str) -> bool {
    claim.annotations().contains_key(key)
}

fn named(claim: &PersistentVolumeClaim) -> &str {
    claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref()).unwrap_or_default()
}

/// Whether a claim's binding waits until a pod wants it.
pub fn waits_for_pod(claim: &PersistentVolumeClaim, classes: &[StorageClass]) -> bool {
    let class = class::of_claim(claim).and_then(|name| class::named(classes, name));
    class.is_some_and(class::waits)
}

/// Whether a claim waits until a pod wants it, and none does yet. Only then is it asked which pods there are.
pub fn is_unwanted(claim: &PersistentVolumeClaim, classes: &[StorageClass]) -> bool {
    named(claim).is_empty()
        && !says(claim, COMPLETED)
        && !says(claim, SELECTED_NODE)
        && waits_for_pod(claim, classes)
}

/// What is to be done.
pub fn decide(there: Snapshot<'_>) -> Step<'_> {
    match (says(there.claim, COMPLETED), named(there.claim)) {
        (true, name) => bound(there, name),
        (false, "") => open(there),
        (false, name) => chosen(there, name),
    }
}

/// A claim that had a volume once.
fn bound<'a>(there: Snapshot<'a>, name: &str) -> Step<'a> {
    if name.is_empty() {
        let why = "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!";
        return Step::Lose(Told::warning("ClaimLost", why));
    }
    let Some(volume) = find(there.volumes, name) else {
        let why = "Bound claim has lost its PersistentVolume. Data on the volume is lost!";
        return Step::Lose(Told::warning("ClaimLost", why));
    };
    let reference = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref());
    if reference.is_none_or(|reference| reference.uid == there.claim.metadata.uid) {
        return Step::Bind(volume);
    }
    let why = "Two claims are bound to the same volume, this one is bound incorrectly";
    Step::Lose(Told::warning("ClaimMisbound", why))
}

/// A claim that takes any volume that will do.
fn open(there: Snapshot<'_>) -> Step<'_> {
    let Snapshot { claim, volumes, classes, pods } = there;
    let waits = waits_for_pod(claim, classes);
    if let Some(volume) = matching::best(claim, volumes.iter().copied(), |_| !waits) {
        return Step::Bind(volume);
    }
    let Some(name) = class::of_claim(claim) else {
        return match class::default(classes) {
            Some(class) => Step::Classify(class.name_any()),
            None => Step::Wait(Some(nothing_fits())),
        };
    };
    if name.is_empty() {
        return Step::Wait(Some(nothing_fits()));
    }
    if waits && !says(claim, SELECTED_NODE) {
        return Step::Wait(Some(unwanted(pods)));
    }
    let Some(class) = class::named(classes, name) else {
        let why = format!("storageclass.storage.k8s.io {name:?} not found");
        return Step::Wait(Some(Told::warning("ProvisioningFailed", why)));
    };
    if class.provisioner.starts_with(BUILT_IN) {
        let why = format!("no volume plugin matched name: {}", class.provisioner);
        return Step::Wait(Some(Told::warning("ProvisioningFailed", why)));
    }
    Step::Provision(class.provisioner.clone())
}

fn nothing_fits() -> Told {
    let why = "no persistent volumes available for this claim and no storage class is set";
    Told::normal("FailedBinding", why)
}

fn unwanted(pods: &[String]) -> Told {
    let why = match pods {
        [] => {
            let why = "waiting for first consumer to be created before binding";
            return Told::normal("WaitForFirstConsumer", why);
        }
        [only] => format!("waiting for pod {only} to be scheduled"),
        several => format!("waiting for pods {} to be scheduled", several.join(",")),
    };
    Told::normal("WaitForPodScheduled", why)
}

/// What is said while somebody else makes a volume.
pub fn asked(provisioner: &str) -> Told {
    let why = format!(
        "Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the system \
         administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered."
    );
    Told::normal("ExternalProvisioning", why)
}

/// A claim for which somebody chose this volume.
fn chosen<'a>(there: Snapshot<'a>, name: &str) -> Step<'a> {
    let claim = there.claim;
    let Some(volume) = find(there.volumes, name) else { return Step::Wait(None) };
    if volume.spec.as_ref().is_none_or(|spec| spec.claim_ref.is_none()) {
        return match matching::unfit(volume, claim) {
            None => Step::Bind(volume),
            Some(why) => {
                let why = format!("Cannot bind to requested volume {name:?}: {why}");
                Step::Wait(Some(Told::warning("VolumeMismatch", why)))
            }
        };
    }
    if matching::is_kept_for(volume, claim) {
        return Step::Bind(volume);
    }
    let told = Told::warning("FailedBinding", format!("volume {name:?} already bound to a different claim."));
    if says(claim, BY_CONTROLLER) { Step::Misled(told) } else { Step::Wait(Some(told)) }
}

fn find<'a>(volumes: &[&'a PersistentVolume], name: &str) -> Option<&'a PersistentVolume> {
    volumes.iter().copied().find(|volume| volume.metadata.name.as_deref() == Some(name))
}

/// The status of a claim in this phase, with the volume that it has.
pub fn status(
    claim: &PersistentVolumeClaim,
    phase: &str,
    volume: Option<&PersistentVolume>,
) -> PersistentVolumeClaimStatus {
    let mut status = claim.status.clone().unwrap_or_default();
    let is_new = status.phase.as_deref() != Some(phase);
    status.phase = Some(phase.to_owned());
    let Some(spec) = volume.and_then(|volume| volume.spec.as_ref()) else {
        status.access_modes = None;
        status.capacity = None;
        status.current_volume_attributes_class_name = None;
        return status;
    };
    status.access_modes.clone_from(&spec.access_modes);
    // A volume that grew may have a file system that did not yet: what a bound claim says stays.
    if is_new {
        let size = |own: Option<&std::collections::BTreeMap<_, _>>| {
            let text: &k8s_openapi::apimachinery::pkg::api::resource::Quantity = own?.get("storage")?;
            Quantity::parse(&text.0).ok().map(|size| size.nanos())
        };
        if size(status.capacity.as_ref()) != size(spec.capacity.as_ref()) {
            status.capacity.clone_from(&spec.capacity);
        }
        status.current_volume_attributes_class_name.clone_from(&spec.volume_attributes_class_name);
    }
    status
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests;
