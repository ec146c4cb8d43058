//! Namespaces on their way out: their contents go first. Namespaces that live get their ServiceAccount.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{DeleteParams, DynamicObject, ListParams, ObjectMeta, PostParams};
use kube::discovery::{Discovery, Scope, verbs};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::watcher;
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;

use crate::Error;
use crate::owner::{drain, retry};
use crate::run::World;

/// How soon a namespace is looked at again while its contents go.
const WHILE_EMPTYING: Duration = Duration::from_millis(200);

/// Runs until the world ends.
pub(crate) async fn run(world: Arc<World>) {
    let ended = world.shutdown.clone();
    let namespaces = Api::<Namespace>::all(world.client.clone());
    let controller = Controller::new(namespaces, watcher::Config::default())
        .graceful_shutdown_on(async move { ended.cancelled().await });
    drain(controller.run(reconcile, retry, world)).await;
}

async fn reconcile(namespace: Arc<Namespace>, world: Arc<World>) -> Result<Action, Error> {
    let name = namespace.name_any();
    if namespace.metadata.deletion_timestamp.is_none() {
        give_account(&world.client, &name).await?;
        return Ok(Action::await_change());
    }
    let held = namespace.spec.as_ref().and_then(|spec| spec.finalizers.clone()).unwrap_or_default();
    if !held.iter().any(|finalizer| finalizer == "kubernetes") {
        return Ok(Action::await_change());
    }
    if !empty(&world.client, &name).await? {
        return Ok(Action::requeue(WHILE_EMPTYING));
    }
    let rest: Vec<String> = held.into_iter().filter(|finalizer| finalizer != "kubernetes").collect();
    let body = json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "resourceVersion": namespace.resource_version()},
        "spec": {"finalizers": rest},
    });
    let body: Namespace = serde_json::from_value(body)?;
    let api = Api::<Namespace>::all(world.client.clone());
    match api.replace_subresource("finalize", &name, &PostParams::default(), &body).await {
        Err(kube::Error::Api(status)) if status.code == 404 => {}
        outcome => drop(outcome?),
    }
    Ok(Action::await_change())
}

/// Every namespace has the account that pods run as when they name none.
async fn give_account(client: &Client, namespace: &str) -> Result<(), Error> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), namespace);
    if accounts.get_opt("default").await?.is_some() {
        return Ok(());
    }
    let account = ServiceAccount {
        metadata: ObjectMeta { name: Some("default".to_owned()), ..ObjectMeta::default() },
        ..ServiceAccount::default()
    };
    match accounts.create(&PostParams::default(), &account).await {
        Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404 | 409) => Ok(()),
        outcome => Ok(outcome.map(drop)?),
    }
}

/// Deletes everything in a namespace; tells whether nothing was left to delete.
async fn empty(client: &Client, namespace: &str) -> Result<bool, Error> {
    let discovery = Discovery::new(client.clone()).run().await?;
    let mut left = false;
    for group in discovery.groups() {
        for (resource, capabilities) in group.recommended_resources() {
            let deletable = capabilities.supports_operation(verbs::LIST)
                && capabilities.supports_operation(verbs::DELETE_COLLECTION);
            if capabilities.scope != Scope::Namespaced || !deletable {
                continue;
            }
            let objects: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
            let there = objects.list(&ListParams::default().limit(1)).await?;
            if there.items.is_empty() {
                continue;
            }
            left = true;
            objects.delete_collection(&DeleteParams::background(), &ListParams::default()).await?;
        }
    }
    Ok(!left)
}
