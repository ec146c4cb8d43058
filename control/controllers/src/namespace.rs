//! Namespaces: what each has from the beginning, and how its contents go before it does.

mod contents;
mod emptying;
mod provision;
mod status;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::{OptionFuture, join};
use futures::stream::select_all;
use futures::{FutureExt as _, StreamExt as _};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use kube::runtime::controller::Action;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, ResourceExt as _};
use serde_json::json;

use crate::Error;
use crate::drive::drive;
use crate::informer::Informer;
use crate::owner::{is_ending, unless_gone, write_status, writing};
use crate::rights::{READ, Right};
use crate::run::World;
use emptying::Emptying;

/// How often it is checked that a namespace still has what each has.
const PROVISIONED: Duration = Duration::from_secs(300);
const FINALIZER: &str = "kubernetes";

/// What it may do.
pub(crate) const RIGHTS: &[Right] = &[
    Right::to(READ, "", &["namespaces"]),
    Right::to(&["patch"], "", &["namespaces/status"]),
    Right::to(&["update"], "", &["namespaces/finalize"]),
    Right::to(&["get", "list", "watch", "create"], "", &["serviceaccounts"]),
    Right::to(&["get", "list", "watch", "create", "patch"], "", &["configmaps"]),
    Right::to(&["list", "delete", "deletecollection"], "*", &["*"]),
];

/// Runs until the world ends.
pub(crate) async fn run(world: Arc<World>) {
    let (accounts, maps) = (Informer::<ServiceAccount>::new(), Informer::<ConfigMap>::new());
    let publishes = world.settings.root_certificates.is_some();
    let following_maps = maps.clone().follow_named(world.client.clone(), provision::CERTIFICATES);
    let following = join(
        accounts.clone().follow_named(world.client.clone(), provision::ACCOUNT),
        OptionFuture::from(publishes.then_some(following_maps)),
    );
    let following = world.clone().until_end(following.map(drop));
    let pods = world.pods.clone();
    let emptying = Arc::new(Mutex::new(Emptying::default()));
    let namespaces = drive(
        world,
        move |namespaces: Store<Namespace>| {
            // Pods take their time to end, and mostly are the last that are left.
            let ended = pods.changes().filter_map(move |change| {
                let name = change.departed().and_then(|pod| pod.namespace());
                let found = name.map(|name| ObjectRef::<Namespace>::new(&name));
                let ending =
                    found.filter(|found| namespaces.get(found).is_some_and(|space| is_ending(&*space)));
                std::future::ready(ending)
            });
            let account =
                accounts.triggers(|object| object.namespace().map(|name| ObjectRef::<Namespace>::new(&name)));
            let map =
                maps.triggers(|object| object.namespace().map(|name| ObjectRef::<Namespace>::new(&name)));
            select_all([account.boxed(), map.boxed(), ended.boxed()])
        },
        move |namespace, world| reconcile(namespace, world, emptying.clone()),
    );
    join(namespaces, following).await;
}

async fn reconcile(
    namespace: Arc<Namespace>,
    world: Arc<World>,
    emptying: Arc<Mutex<Emptying>>,
) -> Result<Action, Error> {
    let emptying = || emptying.lock().unwrap_or_else(PoisonError::into_inner);
    let name = namespace.name_any();
    let namespaces = Api::<Namespace>::all(world.client.clone());
    let Some(namespace) = namespaces.get_opt(&name).await? else {
        emptying().forget(&namespace.uid().unwrap_or_default());
        return Ok(Action::await_change());
    };
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
    let uid = namespace.uid().unwrap_or_default();
    let left = emptying().left(&uid);
    let mut remaining = contents::empty_all_of(&world.client, &name, left).await;
    if remaining.is_empty() {
        // Nothing was left of what was known to be: only a look at everything shows that the namespace is empty.
        remaining = contents::empty(&world.client, &name).await;
    }
    if !remaining.is_empty() {
        let new = status::status(&namespace, &remaining, Timestamp::now());
        write_status(&namespaces, &namespace, namespace.status.as_ref(), &new).await?;
        return Ok(Action::requeue(emptying().note(uid, remaining)));
    }
    emptying().forget(&uid);
    let rest: Vec<String> = held.into_iter().filter(|finalizer| finalizer != FINALIZER).collect();
    let body: Namespace = serde_json::from_value(json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "uid": namespace.uid(), "resourceVersion": namespace.resource_version()},
        "spec": {"finalizers": rest},
    }))?;
    unless_gone(namespaces.replace_subresource("finalize", &name, &writing(), &body).await)?;
    Ok(Action::await_change())
}
