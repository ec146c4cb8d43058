//! The loop of Services and what shows their pods.

use std::sync::Arc;

use futures::stream::{select, select_all};
use futures::{StreamExt as _, future};
use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{ListParams, Patch, PatchParams};
use kube::runtime::controller::Action;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Resource, ResourceExt as _};

use super::{MANAGED_BY, SERVICE, mirror, object, selects, slice};
use crate::Error;
use crate::drive::{AGAIN, drive};
use crate::informer::Informer;
use crate::owner::{delete, is_ending};
use crate::rights::{KEEP, OWN, READ, Right};
use crate::run::World;

/// What it may do.
pub(crate) const RIGHTS: &[Right] = &[
    Right::to(READ, "", &["services"]),
    Right::to(OWN, "", &["services/finalizers"]),
    Right::to(&["list"], "", &["pods"]),
    Right::to(KEEP, "", &["endpoints"]),
    Right::to(OWN, "", &["endpoints/finalizers"]),
    Right::to(KEEP, "discovery.k8s.io", &["endpointslices"]),
];

/// Runs until the world ends.
pub(crate) async fn run(world: Arc<World>) {
    let slices = Informer::<EndpointSlice>::new();
    let endpoints = Informer::<Endpoints>::new();
    let following = future::join(
        slices.clone().follow(world.client.clone()),
        endpoints.clone().follow(world.client.clone()),
    );
    let following = world.clone().until_end(async {
        following.await;
    });
    let pods = world.pods.clone();
    let departures = world.services.changes().filter_map(|change| {
        let gone = change
            .departed()
            .map(|gone| ObjectRef::new(&gone.name_any()).within(&gone.namespace().unwrap_or_default()));
        future::ready(gone)
    });
    let leftovers = drive(world.clone(), |_: Store<Endpoints>| departures, clear);
    let services = drive(
        world,
        move |services: Store<Service>| {
            let chosen = pods.triggers(move |pod| choosing(pod, &services));
            let of_slice = slices.triggers(|slice| {
                let service = slice.labels().get(SERVICE)?;
                Some(ObjectRef::new(service).within(&slice.namespace()?))
            });
            let of_object = endpoints
                .triggers(|object| Some(ObjectRef::new(&object.name_any()).within(&object.namespace()?)));
            select_all([chosen.boxed(), select(of_slice, of_object).boxed()])
        },
        reconcile,
    );
    future::join3(services, leftovers, following).await;
}

/// Takes away the Endpoints of a Service that is gone: they name no owner by which they would go.
async fn clear(endpoints: Arc<Endpoints>, world: Arc<World>) -> Result<Action, Error> {
    let (namespace, name) = (endpoints.namespace().unwrap_or_default(), endpoints.name_any());
    if object::is_own(&endpoints) && world.services.get(&namespace, &name).is_none() {
        let services: Api<Service> = Api::namespaced(world.client.clone(), &namespace);
        if services.get_metadata_opt(&name).await?.is_none() {
            delete(&Api::namespaced(world.client.clone(), &namespace), &*endpoints).await?;
        }
    }
    Ok(Action::await_change())
}

/// The Services that choose a pod.
fn choosing(pod: &impl Resource, services: &Store<Service>) -> Vec<ObjectRef<Service>> {
    let here = |service: &&Arc<Service>| service.namespace() == pod.meta().namespace;
    let services = services.state();
    services
        .iter()
        .filter(here)
        .filter(|service| selects(service, pod))
        .map(|service| ObjectRef::from_obj(&**service))
        .collect()
}

async fn reconcile(service: Arc<Service>, world: Arc<World>) -> Result<Action, Error> {
    let namespace = service.namespace().ok_or(Error::Incomplete { kind: "Service", field: "namespace" })?;
    let services: Api<Service> = Api::namespaced(world.client.clone(), &namespace);
    let Some(service) = services.get_opt(&service.name_any()).await? else {
        return Ok(Action::await_change());
    };
    let spec = service.spec.clone().unwrap_or_default();
    if is_ending(&service) || spec.type_.as_deref() == Some("ExternalName") {
        return Ok(Action::await_change());
    }
    let objects: Api<Endpoints> = Api::namespaced(world.client.clone(), &namespace);
    let slices: Api<EndpointSlice> = Api::namespaced(world.client.clone(), &namespace);
    let of_service = ListParams::default().labels(&format!("{SERVICE}={}", service.name_any()));
    let there = slices.list(&of_service).await?.items;
    let selector = spec.selector.unwrap_or_default();
    if selector.is_empty() {
        let written = objects.get_opt(&service.name_any()).await?;
        let wanted = written.filter(|written| !is_ending(written) && mirror::is_mirrored(written));
        let wanted = wanted.as_ref().map(mirror::slices).unwrap_or_default();
        keep(&slices, &there, mirror::MANAGER, wanted).await?;
        return Ok(Action::requeue(AGAIN));
    }
    let labels: Vec<String> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), &namespace);
    let pods = pods.list(&ListParams::default().labels(&labels.join(","))).await?.items;
    keep(&slices, &there, slice::MANAGER, slice::slices(&service, &pods)).await?;
    // From when there was no selector.
    keep(&slices, &there, mirror::MANAGER, Vec::new()).await?;
    keep_object(&objects, &object::endpoints(&service, &pods)).await?;
    Ok(Action::requeue(AGAIN))
}

/// Writes the slices that differ and deletes those of this manager that are no longer wanted.
async fn keep(
    api: &Api<EndpointSlice>,
    there: &[EndpointSlice],
    manager: &str,
    wanted: Vec<EndpointSlice>,
) -> Result<(), Error> {
    let is_its = |slice: &&EndpointSlice| slice.labels().get(MANAGED_BY).is_some_and(|own| own == manager);
    let there: Vec<&EndpointSlice> = there.iter().filter(is_its).collect();
    for slice in &wanted {
        let before = there.iter().find(|before| before.name_any() == slice.name_any());
        if let Some(before) = before
            && before.address_type != slice.address_type
        {
            // The field never changes; the new slice comes with the next pass.
            delete(api, *before).await?;
            continue;
        }
        let same = before.is_some_and(|before| {
            before.endpoints.as_deref().unwrap_or_default() == slice.endpoints.as_deref().unwrap_or_default()
                && before.ports.as_deref().unwrap_or_default() == slice.ports.as_deref().unwrap_or_default()
                && before.labels() == slice.labels()
                && before.owner_references() == slice.owner_references()
        });
        if !same {
            if before.is_none()
                && let Some(there) = api.get_metadata_opt(&slice.name_any()).await?
                && is_others(&there, slice)
            {
                let why = "a slice that somebody else keeps has the name: delete that one".to_owned();
                return Err(Error::Refused { what: "EndpointSlice", name: slice.name_any(), why });
            }
            let parameters = PatchParams::apply(manager).force();
            api.patch(&slice.name_any(), &parameters, &Patch::Apply(slice)).await?;
        }
    }
    for surplus in
        there.iter().filter(|there| !wanted.iter().any(|slice| slice.name_any() == there.name_any()))
    {
        delete(api, surplus).await?;
    }
    Ok(())
}

/// Whether what has a wanted slice's name is not that slice.
fn is_others(there: &impl Resource, wanted: &EndpointSlice) -> bool {
    let is_kept_by_others = there
        .labels()
        .get(MANAGED_BY)
        .is_some_and(|manager| Some(manager) != wanted.labels().get(MANAGED_BY));
    let owners = wanted.owner_references();
    let is_ours = there.owner_references().iter().any(|own| owners.iter().any(|owner| owner.uid == own.uid));
    is_kept_by_others || !is_ours
}

async fn keep_object(api: &Api<Endpoints>, wanted: &Endpoints) -> Result<(), Error> {
    let before = api.get_opt(&wanted.name_any()).await?;
    let same = before.is_some_and(|before| {
        before.subsets.as_deref().unwrap_or_default() == wanted.subsets.as_deref().unwrap_or_default()
            && before.labels() == wanted.labels()
    });
    if !same {
        let parameters = PatchParams::apply(object::MANAGER).force();
        api.patch(&wanted.name_any(), &parameters, &Patch::Apply(wanted)).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_slice_is_written_over_only_where_the_same_keeper_made_it_for_the_same_owner() {
        let slice = |manager: Option<&str>, owner: Option<&str>| -> EndpointSlice {
            let owner =
                owner.map(|uid| json!([{"apiVersion": "v1", "kind": "Service", "name": "web", "uid": uid}]));
            serde_json::from_value(json!({
                "metadata": {"name": "web", "labels": manager.map(|own| json!({MANAGED_BY: own})), "ownerReferences": owner},
                "addressType": "IPv4", "endpoints": [],
            }))
            .unwrap_or_default()
        };
        let wanted = slice(Some(slice::MANAGER), Some("1"));
        assert!(!is_others(&wanted, &wanted));
        for (manager, owner) in [
            (Some(slice::MANAGER), Some("2")),
            (Some(slice::MANAGER), None),
            (Some(mirror::MANAGER), Some("1")),
            (None, None),
        ] {
            assert!(is_others(&slice(manager, owner), &wanted), "{manager:?} {owner:?}");
        }
    }
}
