//! Claims of devices: those that pods' templates ask for are made and told, and a claim is free again once no pod is left
//! that it is reserved for.

use std::sync::Arc;

use futures::future::join4;
use futures::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::{Pod, PodResourceClaim, PodSpec, PodStatus};
use k8s_openapi::api::resource::v1::{ResourceClaim, ResourceClaimConsumerReference, ResourceClaimTemplate};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{ListParams, ObjectMeta, Patch};
use kube::runtime::controller::Action;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use xebec_claims::device::{
    self, FINALIZER, MADE_FOR, Named, RESERVED_MAX, is_allocated, is_reserved, owns, reserved_for,
};

use crate::Error;
use crate::drive::{drive, drive_lean};
use crate::informer::Informer;
use crate::owner::{changing, controller_reference, delete, is_ending, unless_gone, writing};
use crate::rights::{OWN, READ, Right};
use crate::run::World;

const MANAGER: &str = "resource_claim";
const GROUP: &str = "resource.k8s.io";
/// How long what comes before the five random characters of a name may be.
const BASE_MAX: usize = 57;

/// What it may do.
pub(crate) const RIGHTS: &[Right] = &[
    Right::to(READ, "", &["pods"]),
    Right::to(OWN, "", &["pods/finalizers"]),
    Right::to(&["patch"], "", &["pods/status"]),
    Right::to(READ, GROUP, &["resourceclaims", "resourceclaimtemplates"]),
    Right::to(&["create", "patch", "delete"], GROUP, &["resourceclaims"]),
    Right::to(&["patch"], GROUP, &["resourceclaims/binding", "resourceclaims/status"]),
];

/// Runs until the world ends.
pub(crate) async fn run(world: Arc<World>) {
    let claims: Informer<ResourceClaim> = Informer::new();
    let templates: Informer<ResourceClaimTemplate> = Informer::new();
    let (known, pods) = (claims.clone(), world.pods.clone());
    let (made, followed) = (templates.clone(), claims.follow(world.client.clone()));
    let of_pods = drive_lean(
        world.clone(),
        prune,
        move |pods: Store<Pod>| {
            let users = pods.clone();
            let of_claims = known.triggers(move |claim| {
                let (namespace, name) = (claim.namespace(), claim.name_any());
                find(&users, &|pod| pod.namespace() == namespace && uses(pod, &name))
            });
            let of_templates = made.triggers(move |template| {
                let (namespace, name) = (template.namespace(), template.name_any());
                find(&pods, &|pod| pod.namespace() == namespace && asks(pod, &name))
            });
            stream::select(of_claims, of_templates)
        },
        provide,
    );
    let of_claims = drive(
        world.clone(),
        move |claims: Store<ResourceClaim>| {
            pods.changes().flat_map(move |change| {
                let states: Vec<_> = change.states().cloned().collect();
                let concerns = |claim: &ResourceClaim| {
                    states.iter().any(|pod| {
                        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
                        pod.namespace() == claim.namespace()
                            && (reserved_for(claim).iter().any(|own| own.uid == uid)
                                || crate::owner::controlled_by(claim, uid))
                    })
                };
                let all = claims.state();
                let found = all.iter().filter(|claim| concerns(claim));
                let found = found.map(|claim| ObjectRef::from_obj(&**claim));
                stream::iter(found.collect::<Vec<_>>())
            })
        },
        release,
    );
    let follow_claims = world.clone().until_end(followed);
    let follow_templates = world.clone().until_end(templates.follow(world.client.clone()));
    join4(of_pods, of_claims, follow_claims, follow_templates).await;
}

/// Leaves of a pod what is looked at here: most pods claim no devices.
fn prune(pod: &mut Pod) {
    pod.metadata.managed_fields = None;
    let spec = pod.spec.take().unwrap_or_default();
    let status = pod.status.take().unwrap_or_default();
    if spec.resource_claims.is_some() {
        let resource_claims = spec.resource_claims;
        pod.spec = Some(PodSpec { resource_claims, node_name: spec.node_name, ..PodSpec::default() });
        let resource_claim_statuses = status.resource_claim_statuses;
        pod.status = Some(PodStatus { resource_claim_statuses, phase: status.phase, ..PodStatus::default() });
    }
}

fn find(pods: &Store<Pod>, is_meant: &dyn Fn(&Pod) -> bool) -> Vec<ObjectRef<Pod>> {
    pods.state().iter().filter(|pod| is_meant(pod)).map(|pod| ObjectRef::from_obj(&**pod)).collect()
}

/// Whether a pod uses the claim of this name.
fn uses(pod: &Pod, name: &str) -> bool {
    let is_meant = |claim: &PodResourceClaim| matches!(device::named(pod, claim), Named::Claim { name: own, .. } if own == name);
    device::claims(pod).iter().any(is_meant)
}

/// Whether a pod has claims that this template makes.
fn asks(pod: &Pod, template: &str) -> bool {
    device::claims(pod).iter().any(|claim| claim.resource_claim_template_name.as_deref() == Some(template))
}

/// What a pod's claim is called before the characters that make it unique.
fn base(pod: &str, claim: &str) -> String {
    let whole = format!("{pod}-{claim}-");
    if whole.len() <= BASE_MAX {
        return whole;
    }
    // Both are cut, each by its share.
    let cut = |text: &str| text[..text.floor_char_boundary(text.len() * BASE_MAX / whole.len())].to_owned();
    format!("{}-{}", cut(pod), cut(claim))
}

/// The claim that a template makes for a pod.
fn made(pod: &Pod, name: &str, template: &ResourceClaimTemplate) -> ResourceClaim {
    let spec = template.spec.clone().unwrap_or_default();
    let meta = spec.metadata.unwrap_or_default();
    let mut annotations = meta.annotations.unwrap_or_default();
    annotations.insert(MADE_FOR.to_owned(), name.to_owned());
    let owner = OwnerReference { block_owner_deletion: None, ..controller_reference(pod) };
    ResourceClaim {
        metadata: ObjectMeta {
            generate_name: Some(base(&pod.name_any(), name)),
            namespace: pod.namespace(),
            labels: meta.labels,
            annotations: Some(annotations),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(spec.spec.unwrap_or_default()),
        status: None,
    }
}

/// Makes the claims that a pod has templates for, and reserves those that it uses once it has a node.
async fn provide(pod: Arc<Pod>, world: Arc<World>) -> Result<Action, Error> {
    if is_ending(&*pod) || device::claims(&pod).is_empty() {
        return Ok(Action::await_change());
    }
    let namespace = pod.namespace().ok_or(Error::Incomplete { kind: "Pod", field: "namespace" })?;
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), &namespace);
    // Whether something was made already is to be known for sure.
    let Some(pod) = unless_gone(pods.get(&pod.name_any()).await)? else { return Ok(Action::await_change()) };
    if is_ending(&pod) || is_over(&pod) {
        return Ok(Action::await_change());
    }
    let claims: Api<ResourceClaim> = Api::namespaced(world.client.clone(), &namespace);
    let all = claims.list(&ListParams::default()).await?.items;
    let mut told = Vec::new();
    for claim in device::claims(&pod) {
        let Some(template) = &claim.resource_claim_template_name else { continue };
        match device::named(&pod, claim) {
            Named::Unneeded => continue,
            Named::Claim { name, .. }
                if all.iter().any(|there| there.name_any() == name && owns(&pod, there)) =>
            {
                continue;
            }
            _ => {}
        }
        let is_its = |there: &&ResourceClaim| {
            owns(&pod, there) && there.annotations().get(MADE_FOR) == Some(&claim.name)
        };
        let name = match all.iter().find(is_its) {
            Some(there) => there.name_any(),
            None => match make(&world, &claims, &pod, claim, template).await {
                Ok(name) => name,
                Err(error) if error.namespace_ends() => continue,
                Err(error) => {
                    let text = format!("PodResourceClaim {}: {}", claim.name, error.text());
                    world.events.about(MANAGER, &pod).warning("FailedResourceClaimCreation", text);
                    return Err(error);
                }
            },
        };
        told.push(json!({"name": claim.name, "resourceClaimName": name}));
    }
    if !told.is_empty() {
        let patch = json!({"metadata": {"uid": pod.uid()}, "status": {"resourceClaimStatuses": told}});
        unless_gone(pods.patch_status(&pod.name_any(), &changing(), &Patch::Strategic(patch)).await)?;
    }
    let has_node =
        pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()).is_some_and(|own| !own.is_empty());
    if has_node {
        reserve(&claims, &pod, &all).await?;
    }
    Ok(Action::await_change())
}

async fn make(
    world: &World,
    claims: &Api<ResourceClaim>,
    pod: &Pod,
    claim: &PodResourceClaim,
    template: &str,
) -> Result<String, Error> {
    let namespace = pod.namespace().unwrap_or_default();
    let templates: Api<ResourceClaimTemplate> = Api::namespaced(world.client.clone(), &namespace);
    let Some(found) = unless_gone(templates.get(template).await)? else {
        let why = format!("resourceclaimtemplate.{GROUP} {template:?} not found");
        return Err(Error::Missing { what: "resource claim template", name: template.to_owned(), why });
    };
    let made = claims.create(&writing(), &made(pod, &claim.name, &found)).await?;
    Ok(made.name_any())
}

/// Reserves the claims of a pod that somebody else put on its node.
async fn reserve(claims: &Api<ResourceClaim>, pod: &Pod, all: &[ResourceClaim]) -> Result<(), Error> {
    for claim in device::claims(pod) {
        let Named::Claim { name, is_own } = device::named(pod, claim) else { continue };
        let Some(claim) = all.iter().find(|claim| claim.name_any() == name) else { continue };
        let is_due = is_allocated(claim) && !is_reserved(pod, claim) && (!is_own || owns(pod, claim));
        if !is_due || is_ending(claim) || reserved_for(claim).len() >= RESERVED_MAX {
            continue;
        }
        let mut users = reserved_for(claim).to_vec();
        users.push(device::user(pod));
        change(claims, claim, json!({"reservedFor": users})).await?;
    }
    Ok(())
}

/// Changes the status of a claim that nobody else changed.
async fn change(
    claims: &Api<ResourceClaim>,
    claim: &ResourceClaim,
    status: Value,
) -> Result<Option<ResourceClaim>, Error> {
    let meta = json!({"uid": claim.uid(), "resourceVersion": claim.resource_version()});
    let patch = Patch::Merge(json!({"metadata": meta, "status": status}));
    unless_gone(claims.patch_status(&claim.name_any(), &changing(), &patch).await)
}

/// Whether a pod runs no more, or never will.
fn is_over(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
    matches!(phase, Some("Succeeded" | "Failed")) || is_ending(pod) && node.is_empty()
}

/// Takes from a claim the pods that are gone; one that nobody uses is free again, or goes if it was made for a pod.
async fn release(claim: Arc<ResourceClaim>, world: Arc<World>) -> Result<Action, Error> {
    let namespace =
        claim.namespace().ok_or(Error::Incomplete { kind: "ResourceClaim", field: "namespace" })?;
    let claims: Api<ResourceClaim> = Api::namespaced(world.client.clone(), &namespace);
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), &namespace);
    let users = reserved_for(&claim);
    let mut left: Vec<&ResourceClaimConsumerReference> = Vec::new();
    for user in users {
        let is_pod = user.resource == "pods" && user.api_group.as_deref().unwrap_or_default().is_empty();
        if !is_pod
            || unless_gone(pods.get(&user.name).await)?
                .is_some_and(|pod| pod.uid().as_deref() == Some(&*user.uid) && !is_over(&pod))
        {
            left.push(user);
        }
    }
    let is_kept = claim.finalizers().iter().any(|own| own == FINALIZER);
    let mut now = Some((*claim).clone());
    if left.len() < users.len() {
        let mut status = json!({"reservedFor": left});
        if left.is_empty() && is_kept {
            status["allocation"] = Value::Null;
        }
        now = change(&claims, &claim, status).await?;
    } else if left.is_empty() && is_kept && is_ending(&*claim) && is_allocated(&claim) {
        now = change(&claims, &claim, json!({"allocation": null})).await?;
    }
    let Some(now) = now else { return Ok(Action::await_change()) };
    let is_freed = left.len() < users.len() || left.is_empty() && is_ending(&now);
    if is_kept && is_freed && !is_allocated(&now) {
        let finalizers: Vec<&String> = now.finalizers().iter().filter(|own| *own != FINALIZER).collect();
        let meta = json!({
            "uid": now.uid(), "resourceVersion": now.resource_version(), "finalizers": finalizers,
        });
        let patch = Patch::Merge(json!({"metadata": meta}));
        unless_gone(claims.patch(&now.name_any(), &changing(), &patch).await)?;
    }
    if left.is_empty() && !is_ending(&now) {
        drop_unused(&claims, &pods, &now).await?;
    }
    Ok(Action::await_change())
}

/// Deletes a claim that was made for a pod that does not need it any more, though it may still be there for long.
async fn drop_unused(
    claims: &Api<ResourceClaim>,
    pods: &Api<Pod>,
    claim: &ResourceClaim,
) -> Result<(), Error> {
    let owner = claim.owner_references().iter().find(|own| own.controller == Some(true));
    let Some(owner) = owner.filter(|own| own.kind == "Pod" && own.api_version == "v1") else { return Ok(()) };
    // One that is gone takes its claims along.
    let Some(pod) = unless_gone(pods.get(&owner.name).await)? else { return Ok(()) };
    if pod.uid().as_deref() != Some(&*owner.uid) || is_over(&pod) {
        delete(claims, claim).await?;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;

    fn pod() -> Pod {
        serde_json::from_value(json!({
            "metadata": {"namespace": "a", "name": "web", "uid": "p"},
            "spec": {"containers": [], "nodeName": "edge", "resourceClaims": [
                {"name": "gpu", "resourceClaimTemplateName": "t"}, {"name": "disk", "resourceClaimName": "shared"},
            ]},
            "status": {"phase": "Running", "hostIP": "10.0.0.1"},
        }))
        .unwrap()
    }

    #[test]
    fn a_claim_is_made_by_its_template_for_its_pod() {
        let template: ResourceClaimTemplate = serde_json::from_value(json!({
            "metadata": {"name": "t"},
            "spec": {"metadata": {"labels": {"app": "web"}}, "spec": {"devices": {}}},
        }))
        .unwrap();
        let claim = made(&pod(), "gpu", &template);
        assert_eq!(claim.metadata.generate_name.as_deref(), Some("web-gpu-"));
        assert_eq!((&*claim.annotations()[MADE_FOR], &*claim.labels()["app"]), ("gpu", "web"));
        assert!(owns(&pod(), &claim) && claim.owner_references()[0].block_owner_deletion.is_none());
    }

    #[test]
    fn a_long_name_loses_some_of_both_its_parts() {
        assert_eq!(base("web", "gpu"), "web-gpu-");
        let cut = base(&"p".repeat(60), &"c".repeat(20));
        assert_eq!(cut, format!("{}-{}", "p".repeat(41), "c".repeat(13)));
    }

    #[test]
    fn only_what_is_looked_at_is_kept_in_memory() {
        let mut kept = pod();
        prune(&mut kept);
        assert!(uses(&kept, "shared") && asks(&kept, "t") && !asks(&kept, "shared"));
        assert_eq!(kept.status.unwrap().host_ip, None);
        let mut plain: Pod = serde_json::from_value(json!({"spec": {"containers": []}})).unwrap();
        prune(&mut plain);
        assert!(plain.spec.is_none() && plain.status.is_none());
    }
}
