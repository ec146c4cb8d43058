//! Namespaces: what each has from the beginning, and how its contents go before it does.

mod contents;
mod provision;
mod status;

use std::sync::Arc;
use std::time::Duration;

use futures::stream::select;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::PostParams;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::{Api, ResourceExt as _};
use serde_json::json;

use crate::Error;
use crate::drive::drive;
use crate::informer::Informer;
use crate::owner::{is_ending, unless_gone, write_status};
use crate::run::World;

/// How soon a namespace is looked at again while its contents go.
const WHILE_EMPTYING: Duration = Duration::from_millis(200);
/// How often it is checked that a namespace still has what each has.
const PROVISIONED: Duration = Duration::from_secs(300);
const FINALIZER: &str = "kubernetes";
const MANAGER: &str = "namespace-controller";

/// Runs until the world ends.
pub(crate) async fn run(world: Arc<World>) {
    let accounts = Informer::<ServiceAccount>::new();
    let following = world.clone().until_end(accounts.clone().follow(world.client.clone()));
    let maps = world.maps.clone();
    let namespaces = drive(
        world,
        move |_| {
            let account = accounts
                .triggers(|object| provision::of_account(&object.metadata).map(ObjectRef::<Namespace>::new));
            let map =
                maps.triggers(|object| provision::of_map(&object.metadata).map(ObjectRef::<Namespace>::new));
            select(account, map)
        },
        reconcile,
    );
    futures::future::join(namespaces, following).await;
}

async fn reconcile(namespace: Arc<Namespace>, world: Arc<World>) -> Result<Action, Error> {
    let name = namespace.name_any();
    let namespaces = Api::<Namespace>::all(world.client.clone());
    let Some(namespace) = namespaces.get_opt(&name).await? else { return Ok(Action::await_change()) };
    if !is_ending(&namespace) {
        provision::account(&world.client, &name).await?;
        if let Some(certificates) = &world.settings.root_certificates {
            provision::certificates(&world.client, &name, certificates).await?;
        }
        return Ok(Action::requeue(PROVISIONED));
    }
    let held = namespace.spec.as_ref().and_then(|spec| spec.finalizers.clone()).unwrap_or_default();
    if !held.iter().any(|finalizer| finalizer == FINALIZER) {
        return Ok(Action::await_change());
    }
    let remaining = contents::empty(&world.client, &name).await;
    if !remaining.is_empty() {
        let new = status::status(&namespace, &remaining, Timestamp::now());
        write_status(&namespaces, &namespace, MANAGER, namespace.status.as_ref(), &new).await?;
        return Ok(Action::requeue(WHILE_EMPTYING));
    }
    let rest: Vec<String> = held.into_iter().filter(|finalizer| finalizer != FINALIZER).collect();
    let body: Namespace = serde_json::from_value(json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "uid": namespace.uid(), "resourceVersion": namespace.resource_version()},
        "spec": {"finalizers": rest},
    }))?;
    unless_gone(namespaces.replace_subresource("finalize", &name, &PostParams::default(), &body).await)?;
    Ok(Action::await_change())
}
