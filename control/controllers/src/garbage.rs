//! Garbage collection: what becomes of objects whose owners go.
//!
//! A pass looks at all objects' metadata. An object whose owners are all gone goes too. An owner that waits for its
//! dependents (`foregroundDeletion`) goes when those that block it are gone; one that leaves them behind (`orphan`) is
//! taken out of their references first.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions};
use kube::core::{ApiResource, DynamicObject, PartialObjectMeta};
use kube::discovery::{Discovery, Scope, verbs};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;

use crate::Error;
use crate::run::World;

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";
/// The pause between two passes.
const PAUSE: Duration = Duration::from_millis(500);

/// Runs until the world ends.
pub(crate) async fn run(world: Arc<World>) {
    loop {
        tokio::select! {
            () = world.shutdown.cancelled() => return,
            () = tokio::time::sleep(PAUSE) => {}
        }
        if let Err(error) = pass(&world.client).await {
            tracing::warn!(%error, "a pass of the garbage collector failed; it is tried again");
        }
    }
}

/// An object as the collector sees it.
struct Node {
    resource: ApiResource,
    namespaced: bool,
    object: PartialObjectMeta<DynamicObject>,
}

impl Node {
    fn api(&self, client: &Client) -> Api<DynamicObject> {
        match self.object.namespace() {
            Some(namespace) if self.namespaced => {
                Api::namespaced_with(client.clone(), &namespace, &self.resource)
            }
            _ => Api::all_with(client.clone(), &self.resource),
        }
    }

    fn holds(&self, finalizer: &str) -> bool {
        self.object.finalizers().iter().any(|own| own == finalizer)
    }
}

/// What is to be done about one object.
#[derive(Debug, PartialEq)]
enum Step {
    Delete,
    /// The references that stay.
    Disown(Vec<OwnerReference>),
    /// The finalizers that stay.
    Release(Vec<String>),
}

async fn pass(client: &Client) -> Result<(), Error> {
    let nodes = read(client).await?;
    let steps = steps(&nodes);
    futures::stream::iter(steps)
        .for_each_concurrent(16, |(at, step)| {
            let node = &nodes[at];
            async move {
                if let Err(error) = act(client, node, step).await {
                    tracing::warn!(object = node.object.name_any(), %error, "cannot collect an object; it is tried again");
                }
            }
        })
        .await;
    Ok(())
}

async fn read(client: &Client) -> Result<Vec<Node>, Error> {
    let discovery = Discovery::new(client.clone()).run().await?;
    let mut nodes = Vec::new();
    for group in discovery.groups() {
        for (resource, capabilities) in group.recommended_resources() {
            let collectable = capabilities.supports_operation(verbs::LIST)
                && capabilities.supports_operation(verbs::DELETE)
                && capabilities.supports_operation(verbs::PATCH);
            if !collectable || resource.kind == "Event" {
                continue;
            }
            let namespaced = capabilities.scope == Scope::Namespaced;
            let all: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
            for object in all.list_metadata(&ListParams::default()).await?.items {
                nodes.push(Node { resource: resource.clone(), namespaced, object });
            }
        }
    }
    Ok(nodes)
}

/// What to do, for each object that something is to be done about.
fn steps(nodes: &[Node]) -> Vec<(usize, Step)> {
    let owners: HashMap<String, &Node> =
        nodes.iter().filter_map(|node| Some((node.object.uid()?, node))).collect();
    let mut dependents: HashMap<&str, Vec<&Node>> = HashMap::new();
    for node in nodes {
        for owner in node.object.owner_references() {
            dependents.entry(&owner.uid).or_default().push(node);
        }
    }
    let of = |at: &usize| step(&nodes[*at], &owners, &dependents);
    (0..nodes.len()).filter_map(|at| Some((at, of(&at)?))).collect()
}

fn step(
    node: &Node,
    owners: &HashMap<String, &Node>,
    dependents: &HashMap<&str, Vec<&Node>>,
) -> Option<Step> {
    let uid = node.object.uid()?;
    let ending = node.object.metadata.deletion_timestamp.is_some();
    let mine = dependents.get(uid.as_str()).map_or(&[][..], Vec::as_slice);
    let without = |finalizer: &str| {
        let all = node.object.finalizers().iter();
        Step::Release(all.filter(|own| *own != finalizer).cloned().collect())
    };
    if ending && node.holds(ORPHAN) && mine.is_empty() {
        return Some(without(ORPHAN));
    }
    let blocks = |dependent: &&&Node| {
        dependent
            .object
            .owner_references()
            .iter()
            .any(|owner| owner.uid == uid && owner.block_owner_deletion == Some(true))
    };
    if ending && node.holds(FOREGROUND) && !mine.iter().any(|dependent| blocks(&dependent)) {
        return Some(without(FOREGROUND));
    }
    let references = node.object.owner_references();
    if references.is_empty() {
        return None;
    }
    let leaving = |owner: &&OwnerReference| {
        owners
            .get(&owner.uid)
            .is_some_and(|owner| owner.object.metadata.deletion_timestamp.is_some() && owner.holds(ORPHAN))
    };
    if references.iter().any(|owner| leaving(&owner)) {
        return Some(Step::Disown(references.iter().filter(|owner| !leaving(owner)).cloned().collect()));
    }
    if ending {
        return None;
    }
    // Owners that are there and do not wait for this object to go.
    let stays = |owner: &OwnerReference| {
        owners.get(&owner.uid).is_some_and(|owner| {
            !(owner.object.metadata.deletion_timestamp.is_some() && owner.holds(FOREGROUND))
        })
    };
    (!references.iter().any(stays)).then_some(Step::Delete)
}

async fn act(client: &Client, node: &Node, step: Step) -> Result<(), Error> {
    let api = node.api(client);
    let name = node.object.name_any();
    let outcome = match step {
        Step::Delete => {
            // The owner may have been made again since, which the object's version tells.
            let preconditions =
                Preconditions { uid: node.object.uid(), resource_version: node.object.resource_version() };
            let parameters =
                DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
            api.delete(&name, &parameters).await.map(drop)
        }
        Step::Disown(references) => {
            let patch = json!({"metadata": {"uid": node.object.uid(), "ownerReferences": references}});
            api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await.map(drop)
        }
        Step::Release(finalizers) => {
            let metadata = json!({
                "uid": node.object.uid(),
                "resourceVersion": node.object.resource_version(),
                "finalizers": finalizers,
            });
            api.patch(&name, &PatchParams::default(), &Patch::Merge(json!({"metadata": metadata})))
                .await
                .map(drop)
        }
    };
    match outcome {
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        outcome => Ok(outcome?),
    }
}
