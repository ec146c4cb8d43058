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
    future::join(services, following).await;
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
    let selector = spec.selector.unwrap_or_default();
    if selector.is_empty() {
        let written = objects.get_opt(&service.name_any()).await?;
        let wanted = written.filter(|written| !is_ending(written) && mirror::is_mirrored(written));
        let wanted = wanted.as_ref().map(mirror::slices).unwrap_or_default();
        keep(&slices, &service, mirror::MANAGER, wanted).await?;
        return Ok(Action::requeue(AGAIN));
    }
    let labels: Vec<String> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), &namespace);
    let pods = pods.list(&ListParams::default().labels(&labels.join(","))).await?.items;
    keep(&slices, &service, slice::MANAGER, slice::slices(&service, &pods)).await?;
    keep_object(&objects, &object::endpoints(&service, &pods)).await?;
    Ok(Action::requeue(AGAIN))
}

/// Writes the slices that differ and deletes those that are no longer wanted.
async fn keep(
    api: &Api<EndpointSlice>,
    service: &Service,
    manager: &str,
    wanted: Vec<EndpointSlice>,
) -> Result<(), Error> {
    let labels = format!("{SERVICE}={},{MANAGED_BY}={manager}", service.name_any());
    let there = api.list(&ListParams::default().labels(&labels)).await?.items;
    for slice in &wanted {
        let before = there.iter().find(|before| before.name_any() == slice.name_any());
        if let Some(before) = before
            && before.address_type != slice.address_type
        {
            // The field never changes; the new slice comes with the next pass.
            delete(api, before).await?;
            continue;
        }
        let same = before.is_some_and(|before| {
            before.endpoints.as_deref().unwrap_or_default() == slice.endpoints.as_deref().unwrap_or_default()
                && before.ports.as_deref().unwrap_or_default() == slice.ports.as_deref().unwrap_or_default()
                && before.labels() == slice.labels()
                && before.owner_references() == slice.owner_references()
        });
        if !same {
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
