//! Devices that a pod's claims were given. They are made ready by their drivers, of which there are none here.

use k8s_openapi::api::resource::v1::ResourceClaim;
use kube::{Api, ResourceExt as _};
use xebec_claims::device::{self, Named};

use crate::Error;
use crate::pod::Life;

/// Makes the devices of a pod ready, or says why it waits, in the kubelet's words.
pub(crate) async fn prepare(life: &Life) -> Result<(), Error> {
    if device::claims(&life.pod).is_empty() {
        return Ok(());
    }
    // Which claims were made for the pod is told after it was seen.
    let pod = life.latest.borrow().clone();
    let fail = |why: String| {
        Err(Error::Config(format!("Failed to prepare dynamic resources: prepare dynamic resources: {why}")))
    };
    let claims: Api<ResourceClaim> =
        Api::namespaced(life.node.client.clone(), &pod.namespace().unwrap_or_default());
    for claim in device::claims(&pod) {
        let (name, is_own) = match device::named(&pod, claim) {
            Named::Claim { name, is_own } => (name, is_own),
            Named::Unneeded => continue,
            Named::Waited => return fail(device::waited(&pod)),
        };
        let claim = match claims.get(&name).await {
            Ok(claim) => claim,
            Err(kube::Error::Api(status)) => {
                return fail(format!("fetch ResourceClaim {name}: {}", status.message));
            }
            Err(error) => return Err(error.into()),
        };
        if is_own && !device::owns(&pod, &claim) {
            return fail(device::disowned(&pod, &name));
        }
        if !device::is_reserved(&pod, &claim) {
            let (pod_uid, uid) = (pod.uid().unwrap_or_default(), claim.uid().unwrap_or_default());
            let own = pod.name_any();
            return fail(format!("pod {own} ({pod_uid}) is not allowed to use ResourceClaim {name} ({uid})"));
        }
        if let Some(driver) = drivers(&claim).next() {
            return fail(format!("DRA driver {driver} is not registered"));
        }
    }
    Ok(())
}

fn drivers(claim: &ResourceClaim) -> impl Iterator<Item = &str> {
    let allocation = claim.status.as_ref().and_then(|status| status.allocation.as_ref());
    let devices = allocation.and_then(|allocation| allocation.devices.as_ref());
    devices.into_iter().flat_map(|devices| devices.results.iter().flatten()).map(|result| &*result.driver)
}
