//! The volumes that a pod has by claims: where they are on this machine, and who else here has them.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use k8s_openapi::api::core::v1::{
    Node as NodeObject, PersistentVolume, PersistentVolumeClaim, PersistentVolumeSpec, Volume,
};
use kube::{Api, ResourceExt as _};
use xebec_claims::{ONE_POD, pod};

use super::{blocking, host_path};
use crate::Error;
use crate::pod::Life;
use crate::scheduler;

/// Keeps a claim that is to go for as long as a pod uses it.
const PROTECTED: &str = "kubernetes.io/pvc-protection";

/// The volume of a claim.
#[derive(Debug, Clone)]
pub(crate) struct Claimed {
    /// The volume's own name.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) is_read_only: bool,
    /// It belongs to whoever has it: its files may be made its pods' own.
    pub(crate) is_given: bool,
}

/// The volumes of a pod's claims, by the names by which the pod knows them.
pub(crate) type Claims = BTreeMap<String, Claimed>;

/// Which pods of this machine have which volumes.
#[derive(Debug, Default)]
pub(crate) struct Holders(Mutex<BTreeMap<String, BTreeSet<String>>>);

impl Holders {
    /// Notes that a pod has a volume, and tells whether others have it too.
    fn take(&self, volume: &str, pod: &str) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let holders = all.entry(volume.to_owned()).or_default();
        holders.insert(pod.to_owned());
        holders.len() > 1
    }

    /// Gives a pod a volume that one alone may have. Tells whether it has it now.
    fn take_alone(&self, volume: &str, pod: &str) -> bool {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let holders = all.entry(volume.to_owned()).or_default();
        let is_free = holders.iter().all(|own| own == pod);
        if is_free {
            holders.insert(pod.to_owned());
        }
        is_free
    }

    /// A pod has no volumes any more.
    pub(crate) fn release(&self, pod: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, holders| {
            holders.remove(pod);
            !holders.is_empty()
        });
    }
}

impl Claimed {
    /// Notes that a pod has the volume, and tells whether it is the first here.
    pub(crate) fn hold(&self, life: &Life) -> bool {
        !life.node.holders.take(&self.name, &life.uid())
    }
}

/// Finds the volumes of all claims of a pod.
pub(crate) async fn find(life: &Life) -> Result<Claims, Error> {
    let mut claims = Claims::new();
    for volume in life.spec().into_iter().flat_map(|spec| spec.volumes.iter().flatten()) {
        if let Some((name, is_own)) = pod::claim_of(&life.pod, volume) {
            claims.insert(volume.name.clone(), one(life, volume, &name, is_own).await?);
        }
    }
    Ok(claims)
}

async fn one(life: &Life, volume: &Volume, name: &str, is_own: bool) -> Result<Claimed, Error> {
    let namespace = life.pod.namespace().unwrap_or_default();
    let refused = |detail: String| Error::Mount { volume: volume.name.clone(), detail };
    let processing = |why: String| refused(format!("error processing PVC {namespace}/{name}: {why}"));
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(life.node.client.clone(), &namespace);
    let claim = match claims.get(name).await {
        Err(kube::Error::Api(status)) => {
            return Err(processing(format!("failed to fetch PVC from API server: {}", status.message)));
        }
        found => found?,
    };
    if is_own && !pod::owns(&life.pod, &claim) {
        return Err(refused(pod::disowned(&life.pod, name)));
    }
    let bound = bound(&claim, life.past.started.is_some()).map_err(&processing)?;
    let volumes: Api<PersistentVolume> = Api::all(life.node.client.clone());
    let found = match volumes.get(bound).await {
        Err(kube::Error::Api(status)) => {
            let why = format!("failed to fetch PV {bound} from API server: {}", status.message);
            return Err(processing(why));
        }
        found => found?,
    };
    let spec = found.spec.clone().unwrap_or_default();
    refers(&spec, bound, &claim).map_err(&processing)?;
    let mode = spec.volume_mode.as_deref().unwrap_or("Filesystem");
    if mode != "Filesystem" {
        let why = format!("volume {} has volumeMode {mode}, which is not served here", volume.name);
        return Err(refused(why));
    }
    let refused = |detail: String| Error::Mount { volume: bound.to_owned(), detail };
    if spec.node_affinity.is_some() {
        let nodes: Api<NodeObject> = Api::all(life.node.client.clone());
        let node = nodes.get(&life.node.options.name).await?;
        if !scheduler::admits(&found, &node) {
            return Err(refused("NodeAffinity check failed: no matching NodeSelectorTerms".to_owned()));
        }
    }
    let is_alone = spec.access_modes.iter().flatten().any(|mode| mode == ONE_POD);
    if is_alone && !life.node.holders.take_alone(bound, &life.uid()) {
        let why = "volume uses the ReadWriteOncePod access mode and is already in use by another pod";
        return Err(refused(why.to_owned()));
    }
    let (path, is_given) = place(spec).await?.map_err(refused)?;
    let asked = volume.persistent_volume_claim.as_ref().and_then(|source| source.read_only);
    let is_read_only = asked == Some(true);
    Ok(Claimed { name: bound.to_owned(), path, is_read_only, is_given })
}

/// The name of the volume of a claim that is bound to it, for a pod that an earlier process may have begun.
fn bound(claim: &PersistentVolumeClaim, has_begun: bool) -> Result<&str, String> {
    // One that is protected stays until its last pod is gone, which may be this one. A pod that only now begins may be one that
    // whoever takes the protection away has not seen.
    let is_ending = claim.metadata.deletion_timestamp.is_some();
    let stays = has_begun && claim.finalizers().iter().any(|own| own == PROTECTED);
    if is_ending && !stays {
        return Err("PVC is being deleted".to_owned());
    }
    if claim.status.as_ref().and_then(|status| status.phase.as_deref()) != Some("Bound") {
        return Err("PVC is not bound".to_owned());
    }
    let name = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref());
    name.filter(|name| !name.is_empty()).ok_or_else(|| "PVC has empty pvc.Spec.VolumeName".to_owned())
}

/// Checks that a volume is the claim's too.
fn refers(volume: &PersistentVolumeSpec, name: &str, claim: &PersistentVolumeClaim) -> Result<(), String> {
    let Some(reference) = &volume.claim_ref else {
        return Err(format!(
            "found PV object {name} but it has a nil pv.Spec.ClaimRef indicating it is not yet bound to the claim"
        ));
    };
    if reference.uid == claim.metadata.uid {
        return Ok(());
    }
    let text = |uid: &Option<String>| uid.clone().unwrap_or_default();
    Err(format!(
        "found PV object {name} but its pv.Spec.ClaimRef.UID {} does not point to claim.UID {}",
        text(&reference.uid),
        text(&claim.metadata.uid)
    ))
}

/// Where a volume is on this machine, and whether it belongs to whoever has it.
async fn place(spec: PersistentVolumeSpec) -> Result<Result<(PathBuf, bool), String>, Error> {
    if let Some(local) = spec.local {
        let path = PathBuf::from(local.path);
        return blocking(move || {
            if path.components().any(|part| part == std::path::Component::ParentDir) {
                return Err(format!("invalid path: {} must not contain '..'", path.display()));
            }
            match path.metadata() {
                Ok(about) if about.is_dir() => Ok((path, true)),
                Ok(_) => Err(format!("path {:?} is not a directory", path.display().to_string())),
                Err(_) => Err(format!("path {:?} does not exist", path.display().to_string())),
            }
        })
        .await;
    }
    if let Some(host) = spec.host_path {
        let (path, kind) = (PathBuf::from(host.path), host.type_.unwrap_or_default());
        return blocking(move || host_path::check(&path, &kind).map(|()| (path, false))).await;
    }
    Ok(Err("its volume's kind is not served here: use local or hostPath".to_owned()))
}

/// Whether the volumes of claims may be seen under identities of the pod's own: those that are given to it, on the disk that
/// also has the pods' other files.
pub(crate) async fn fit(claims: &Claims, folder: &Path) -> Result<bool, Error> {
    if claims.values().any(|claimed| !claimed.is_given) {
        return Ok(false);
    }
    let paths: Vec<PathBuf> = claims.values().map(|claimed| claimed.path.clone()).collect();
    let folder = folder.to_owned();
    blocking(move || {
        let device = |path: &Path| path.metadata().ok().map(|about| about.dev());
        // The first pod's directory makes it.
        let own = folder.ancestors().find_map(device);
        paths.iter().all(|path| device(path) == own)
    })
    .await
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn claim(meta: Value, spec: Value, phase: &str) -> PersistentVolumeClaim {
        serde_json::from_value(json!({"metadata": meta, "spec": spec, "status": {"phase": phase}})).unwrap()
    }

    #[test]
    fn only_a_bound_claim_has_a_volume_and_one_that_goes_keeps_it_for_pods_that_have_begun() {
        let named = json!({"volumeName": "one"});
        let going = |finalizers: Value| json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": finalizers});
        for (own, wanted) in [
            (claim(json!({}), named.clone(), "Bound"), Ok("one")),
            (claim(json!({}), named.clone(), "Pending"), Err("PVC is not bound")),
            (claim(json!({}), named.clone(), "Lost"), Err("PVC is not bound")),
            (claim(json!({}), json!({}), "Bound"), Err("PVC has empty pvc.Spec.VolumeName")),
            (claim(going(json!(["other"])), named.clone(), "Bound"), Err("PVC is being deleted")),
        ] {
            for has_begun in [false, true] {
                assert_eq!(bound(&own, has_begun), wanted.map_err(str::to_owned));
            }
        }
        let protected = claim(going(json!([PROTECTED])), named, "Bound");
        assert_eq!(bound(&protected, true), Ok("one"));
        assert_eq!(
            bound(&protected, false),
            Err("PVC is being deleted".to_owned()),
            "no new pod begins on it"
        );
    }

    #[test]
    fn a_volume_must_know_its_claim() {
        let own = claim(json!({"uid": "u"}), json!({}), "Bound");
        let volume = |reference: Value| -> PersistentVolumeSpec {
            serde_json::from_value(json!({"claimRef": reference})).unwrap()
        };
        assert_eq!(refers(&volume(json!({"uid": "u"})), "one", &own), Ok(()));
        for reference in [json!(null), json!({"uid": "other"}), json!({})] {
            let why = refers(&volume(reference), "one", &own).unwrap_err();
            assert!(why.starts_with("found PV object one but it"), "{why}");
        }
    }

    #[test]
    fn a_volume_is_known_to_be_shared_until_the_other_pod_lets_go() {
        let holders = Holders::default();
        assert!(!holders.take("one", "a") && !holders.take("one", "a"));
        assert!(holders.take("one", "b"));
        holders.release("a");
        assert!(!holders.take("one", "b"));
    }

    #[test]
    fn of_two_pods_that_begin_together_one_gets_the_volume_that_one_alone_may_have() {
        let holders = Holders::default();
        let got = ["a", "b", "a"].map(|pod| holders.take_alone("one", pod));
        assert_eq!(got, [true, false, true]);
        assert!(!holders.take("one", "a"), "who was refused is no holder");
        holders.release("a");
        assert!(holders.take_alone("one", "b"));
    }

    #[tokio::test]
    async fn a_place_must_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let local = |path: PathBuf| -> PersistentVolumeSpec {
            serde_json::from_value(json!({"local": {"path": path}})).unwrap()
        };
        let found = place(local(folder.path().to_owned())).await.unwrap();
        assert_eq!(found, Ok((folder.path().to_owned(), true)));
        let missing = place(local(folder.path().join("no"))).await.unwrap().unwrap_err();
        assert!(missing.ends_with("/no\" does not exist"), "{missing}");
        let made = folder.path().join("made");
        let host = json!({"hostPath": {"path": made, "type": "DirectoryOrCreate"}});
        let found = place(serde_json::from_value(host).unwrap()).await.unwrap();
        assert_eq!(found, Ok((made.clone(), false)));
        assert!(made.is_dir());
        let nfs = json!({"nfs": {"server": "a", "path": "/"}});
        assert!(place(serde_json::from_value(nfs).unwrap()).await.unwrap().is_err());
    }
}
