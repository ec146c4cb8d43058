//! Which volume a claim is to have.

use k8s_openapi::api::core::v1::{
    PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimSpec, PersistentVolumeSpec,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Written;
use kube::ResourceExt as _;
use kube::core::{Selector, SelectorExt as _};
use xebec_machinery::quantity::Quantity;

use crate::class;

const FILESYSTEM: &str = "Filesystem";

/// How much a claim asks for, in billionths.
fn wanted(claim: &PersistentVolumeClaimSpec) -> i128 {
    amount(claim.resources.as_ref().and_then(|own| own.requests.as_ref()?.get("storage")))
}

/// How much a volume holds, in billionths.
fn held(volume: &PersistentVolumeSpec) -> i128 {
    amount(volume.capacity.as_ref().and_then(|own| own.get("storage")))
}

fn amount(text: Option<&Written>) -> i128 {
    text.and_then(|text| Quantity::parse(&text.0).ok()).map_or(0, |amount| amount.nanos())
}

/// Whether a volume says that it is a claim's: by its name, and by its uid if it knows that already.
pub fn is_kept_for(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let Some(reference) = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()) else { return false };
    let uid = reference.uid.as_deref().unwrap_or_default();
    reference.name.as_deref() == claim.metadata.name.as_deref()
        && reference.namespace == claim.metadata.namespace
        && (uid.is_empty() || claim.metadata.uid.as_deref() == Some(uid))
}

/// Whether a volume is a file system or a device where the claim wants the other.
pub fn differ_in_mode(claim: &PersistentVolumeClaimSpec, volume: &PersistentVolumeSpec) -> bool {
    claim.volume_mode.as_deref().unwrap_or(FILESYSTEM) != volume.volume_mode.as_deref().unwrap_or(FILESYSTEM)
}

fn is_ending(volume: &PersistentVolume) -> bool {
    volume.metadata.deletion_timestamp.is_some()
}

fn allows(volume: &PersistentVolumeSpec, claim: &PersistentVolumeClaimSpec) -> bool {
    let allowed = volume.access_modes.as_deref().unwrap_or_default();
    claim.access_modes.iter().flatten().all(|mode| allowed.contains(mode))
}

fn attributes(name: Option<&String>) -> &str {
    name.map(String::as_str).unwrap_or_default()
}

/// Why a volume that a claim names is not for it.
pub fn unfit(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> Option<String> {
    let (Some(own), Some(asked)) = (&volume.spec, &claim.spec) else { return None };
    let why = if is_ending(volume) {
        return Some(format!("the volume is marked for deletion {:?}", volume.name_any()));
    } else if held(own) < wanted(asked) {
        "requested PV is too small"
    } else if class::of_volume(volume) != class::of_claim(claim).unwrap_or_default() {
        "storageClassName does not match"
    } else if attributes(own.volume_attributes_class_name.as_ref())
        != attributes(asked.volume_attributes_class_name.as_ref())
    {
        "volumeAttributesClassName does not match"
    } else if differ_in_mode(asked, own) {
        "incompatible volumeMode"
    } else if !allows(own, asked) {
        "incompatible accessMode"
    } else {
        return None;
    };
    Some(why.to_owned())
}

/// The volume that a claim is to have of those there are: the one that is kept for it, or the smallest that will do, of those
/// that allow the fewest kinds of access. `may_take` says which of the free ones it may have.
pub fn best<'a>(
    claim: &PersistentVolumeClaim,
    volumes: impl IntoIterator<Item = &'a PersistentVolume>,
    may_take: impl Fn(&PersistentVolume) -> bool,
) -> Option<&'a PersistentVolume> {
    let asked = claim.spec.as_ref()?;
    let (size, class) = (wanted(asked), class::of_claim(claim).unwrap_or_default());
    // What cannot be read selects nothing.
    let selector = asked.selector.clone().map(|selector| Selector::try_from(selector).ok());
    let will_do = |volume: &&PersistentVolume| {
        volume.spec.as_ref().is_some_and(|own| {
            (own.claim_ref.is_none() || is_kept_for(volume, claim))
                && !is_ending(volume)
                && held(own) >= size
                && !differ_in_mode(asked, own)
                && allows(own, asked)
                && attributes(own.volume_attributes_class_name.as_ref())
                    == attributes(asked.volume_attributes_class_name.as_ref())
        })
    };
    let volumes: Vec<&PersistentVolume> = volumes.into_iter().filter(will_do).collect();
    if let Some(kept) = volumes.iter().find(|volume| is_kept_for(volume, claim)) {
        return Some(kept);
    }
    let is_free = |volume: &&PersistentVolume| {
        let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
        let is_selected = match &selector {
            None => true,
            Some(selector) => selector.as_ref().is_some_and(|own| own.matches(volume.labels())),
        };
        phase == Some("Available") && is_selected && class::of_volume(volume) == class && may_take(volume)
    };
    volumes.into_iter().filter(is_free).min_by_key(|volume| {
        let own = volume.spec.as_ref();
        let modes = own.and_then(|own| own.access_modes.as_ref()).map_or(0, Vec::len);
        (modes, own.map(held), volume.name_any())
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests;
