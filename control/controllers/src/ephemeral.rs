//! The claims of pods' ephemeral volumes: each is made by its pod's template, is its pod's own, and goes with it.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{EphemeralVolumeSource, PersistentVolumeClaim, Pod, Volume};
use kube::api::ObjectMeta;
use kube::runtime::controller::Action;
use kube::{Api, ResourceExt as _};
use xebec_claims::pod::{claim_of, disowned, owns};

use crate::Error;
use crate::drive::drive_lean;
use crate::owner::{controller_reference, is_ending, writing};
use crate::rights::{OWN, READ, Right};
use crate::run::World;

const MANAGER: &str = "ephemeral_volume";

/// What it may do.
pub(crate) const RIGHTS: &[Right] = &[
    Right::to(READ, "", &["pods"]),
    Right::to(OWN, "", &["pods/finalizers"]),
    Right::to(&["get", "create"], "", &["persistentvolumeclaims"]),
];

/// Runs until the world ends.
pub(crate) async fn run(world: Arc<World>) {
    let claims = world.claims.clone();
    drive_lean(world, prune, move |_| claims.controllers::<Pod>(), reconcile).await;
}

/// Leaves of a pod what is looked at here: most pods have no such volumes.
fn prune(pod: &mut Pod) {
    pod.metadata.managed_fields = None;
    pod.status = None;
    if let Some(spec) = &mut pod.spec {
        let mut volumes = spec.volumes.take().unwrap_or_default();
        volumes.retain(|volume| volume.ephemeral.is_some());
        *spec = k8s_openapi::api::core::v1::PodSpec { volumes: Some(volumes), ..Default::default() };
    }
}

/// The claim of an ephemeral volume, if it has a template.
pub fn claim(pod: &Pod, volume: &Volume, source: &EphemeralVolumeSource) -> Option<PersistentVolumeClaim> {
    let template = source.volume_claim_template.clone()?;
    let (name, _) = claim_of(pod, volume)?;
    let meta = template.metadata.unwrap_or_default();
    Some(PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(name),
            namespace: pod.namespace(),
            labels: meta.labels,
            annotations: meta.annotations,
            owner_references: Some(vec![controller_reference(pod)]),
            ..ObjectMeta::default()
        },
        spec: Some(template.spec),
        status: None,
    })
}

async fn reconcile(pod: Arc<Pod>, world: Arc<World>) -> Result<Action, Error> {
    if is_ending(&*pod) {
        return Ok(Action::await_change());
    }
    let namespace = pod.namespace().ok_or(Error::Incomplete { kind: "Pod", field: "namespace" })?;
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(world.client.clone(), &namespace);
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    for (volume, source) in volumes.filter_map(|volume| Some((volume, volume.ephemeral.as_ref()?))) {
        let Some(wanted) = claim(&pod, volume, source) else { continue };
        if let Err(error) = provide(&claims, &pod, &wanted).await {
            if error.namespace_ends() {
                continue;
            }
            let text = format!("ephemeral volume {}: {}", volume.name, error.text());
            world.events.about(MANAGER, &*pod).warning("FailedBinding", text);
            return Err(error);
        }
    }
    Ok(Action::await_change())
}

/// Makes a claim that is not there yet. One that is there must be the pod's.
async fn provide(
    claims: &Api<PersistentVolumeClaim>,
    pod: &Pod,
    wanted: &PersistentVolumeClaim,
) -> Result<(), Error> {
    let name = wanted.name_any();
    if let Some(there) = claims.get_opt(&name).await? {
        if owns(pod, &there) {
            return Ok(());
        }
        let why = disowned(pod, &name);
        return Err(Error::Refused { what: "claim", name, why });
    }
    match claims.create(&writing(), wanted).await.map_err(Error::from) {
        // Whose it is shows at the next look.
        Err(error) if !error.already_exists() => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod() -> Pod {
        serde_json::from_value(json!({
            "metadata": {"namespace": "a", "name": "web", "uid": "p"},
            "spec": {"containers": [], "volumes": [
                {"name": "data", "persistentVolumeClaim": {"claimName": "stays"}},
                {"name": "tmp", "ephemeral": {"volumeClaimTemplate": {
                    "metadata": {"labels": {"app": "web"}}, "spec": {"accessModes": ["ReadWriteOnce"]},
                }}},
            ]},
            "status": {"phase": "Running"},
        }))
        .unwrap()
    }

    #[test]
    fn the_claim_of_an_ephemeral_volume_is_its_pods() {
        let pod = pod();
        let volume = &pod.spec.as_ref().unwrap().volumes.as_ref().unwrap()[1];
        let made = claim(&pod, volume, volume.ephemeral.as_ref().unwrap()).unwrap();
        assert_eq!((made.name_any(), &*made.labels()["app"]), ("web-tmp".to_owned(), "web"));
        assert!(xebec_claims::pod::uses(&pod, &made));
    }

    #[test]
    fn only_what_is_looked_at_is_kept_in_memory() {
        let mut pod = pod();
        prune(&mut pod);
        let volumes = pod.spec.as_ref().unwrap().volumes.as_ref().unwrap();
        assert_eq!((volumes.len(), volumes[0].name.as_str(), pod.status.is_none()), (1, "tmp", true));
        assert_eq!(pod.uid().as_deref(), Some("p"));
    }
}
