//! A visit to one object: what the graph says of it is checked at the API, and what is to be done is done.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{DeleteParams, Patch, Preconditions, PropagationPolicy};
use kube::core::{DynamicObject, PartialObjectMeta};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use xebec_machinery::metadata::{FOREGROUND, ORPHAN};

use super::graph::{Graph, Node, Uid};
use super::kinds::{Kinds, Served};
use super::verdict::{Case, Owner, Verdict, judge};
use crate::Error;
use crate::owner::{changing, unless_gone};
use crate::run::World;

const MANAGER: &str = "garbage-collector-controller";

/// What a visit came to.
#[derive(Debug, PartialEq)]
pub(super) enum Outcome {
    /// Nothing more is to be done now.
    Done,
    /// The object is gone; the watch did not say so.
    Departed,
    /// These are to be visited.
    Look(Vec<Uid>),
    /// It is to be visited again, later each time.
    Again,
    /// It refers to a kind that is not known.
    UnknownKind,
}

/// What the graph says of an object when a visit begins.
pub(super) struct Visit {
    node: Node,
    dependents: Vec<Node>,
    /// For each of its owners, the object of that uid in the graph.
    owners: Vec<(OwnerReference, Option<Node>)>,
}

impl Visit {
    /// A visit to an object, if the graph shows that one may be needed.
    pub(super) fn of(graph: &Graph, uid: &Uid) -> Option<Self> {
        let node = graph.get(uid)?.clone();
        let owners: Vec<_> =
            node.owners.iter().map(|owner| (owner.clone(), graph.get(&owner.uid).cloned())).collect();
        let held = |(reference, owner): &(OwnerReference, Option<Node>)| {
            let namespace = node.namespace.as_deref();
            owner
                .as_ref()
                .is_some_and(|owner| owner.is_named_by(reference, namespace) && !owner.awaits_dependents())
        };
        let waits = node.awaits_dependents() || node.leaves_dependents();
        if !waits && (node.ending || owners.iter().all(held)) {
            return None;
        }
        Some(Self { dependents: graph.dependents(uid).cloned().collect(), owners, node })
    }

    /// Does what is to be done.
    pub(super) async fn make(self, world: &World, kinds: &Kinds) -> Outcome {
        let Some(served) = kinds.collected(&self.node.kind) else { return Outcome::UnknownKind };
        let visited = if self.node.leaves_dependents() {
            self.leave_dependents(&world.client, kinds, served).await
        } else if self.node.awaits_dependents() {
            self.await_dependents(&world.client, served).await
        } else {
            self.check_owners(world, kinds, served).await
        };
        match visited {
            Ok(outcome) => outcome,
            Err(error) => {
                tracing::debug!(object = self.node.name, %error, "a visit failed; it is made again");
                Outcome::Again
            }
        }
    }

    /// Takes the object out of the references of its dependents, and lets it go.
    async fn leave_dependents(
        &self,
        client: &Client,
        kinds: &Kinds,
        served: &Served,
    ) -> Result<Outcome, Error> {
        for dependent in &self.dependents {
            let Some(kind) = kinds.collected(&dependent.kind) else { continue };
            let api = api(client, kind, dependent.namespace.as_deref());
            let Some(object) = current(&api, &dependent.name, &dependent.uid).await? else { continue };
            disown(&api, &object, std::slice::from_ref(&self.node.uid)).await?;
        }
        self.release(client, served, ORPHAN).await
    }

    /// Lets the object go if nothing blocks it any more.
    async fn await_dependents(&self, client: &Client, served: &Served) -> Result<Outcome, Error> {
        let blocking = self.dependents.iter().filter(|dependent| dependent.blocks(&self.node.uid));
        let blocking: Vec<Uid> =
            blocking.filter(|dependent| !dependent.awaits_dependents()).map(|one| one.uid.clone()).collect();
        if self.dependents.iter().any(|dependent| dependent.blocks(&self.node.uid)) {
            return Ok(Outcome::Look(blocking));
        }
        self.release(client, served, FOREGROUND).await
    }

    async fn release(&self, client: &Client, served: &Served, finalizer: &str) -> Result<Outcome, Error> {
        let api = api(client, served, self.node.namespace.as_deref());
        let Some(object) = current(&api, &self.node.name, &self.node.uid).await? else {
            return Ok(Outcome::Departed);
        };
        let rest: Vec<&String> = object.finalizers().iter().filter(|own| *own != finalizer).collect();
        if rest.len() < object.finalizers().len() {
            change(&api, &object, json!({"finalizers": rest})).await?;
        }
        Ok(Outcome::Done)
    }

    async fn check_owners(&self, world: &World, kinds: &Kinds, served: &Served) -> Result<Outcome, Error> {
        let api = api(&world.client, served, self.node.namespace.as_deref());
        let Some(object) = current(&api, &self.node.name, &self.node.uid).await? else {
            return Ok(Outcome::Departed);
        };
        if object.metadata.deletion_timestamp.is_some() {
            return Ok(Outcome::Done);
        }
        let mut owners = Vec::new();
        let mut unseen = false;
        for reference in object.owner_references() {
            let known = self.owners.iter().find(|(own, _)| own.uid == reference.uid);
            let node = known.and_then(|(_, node)| node.as_ref());
            self.refuse_elsewhere(world, reference, node, &served.resource.api_version);
            let Some(kind) = kinds.named(&reference.api_version, &reference.kind) else {
                return Ok(Outcome::UnknownKind);
            };
            if kind.namespaced && self.node.namespace.is_none() {
                // Nobody can say in which namespace the owner would be, so nothing follows from its absence.
                self.refuse(world, reference, &served.resource.api_version);
                return Ok(Outcome::Done);
            }
            let owner = standing(&world.client, kind, self.node.namespace.as_deref(), reference).await?;
            unseen |= owner != Owner::Absent && node.is_none();
            owners.push((reference.clone(), owner));
        }
        let holds = |finalizer: &str| object.finalizers().iter().any(|own| own == finalizer);
        let verdict = judge(Case {
            owners: &owners,
            has_dependents: !self.dependents.is_empty(),
            dependent_waits: self.dependents.iter().any(Node::awaits_dependents),
            orphan: holds(ORPHAN),
            foreground: holds(FOREGROUND),
        });
        match verdict {
            // Should an owner go before its watch has shown it, nobody would tell.
            Verdict::Keep => return Ok(if unseen { Outcome::Again } else { Outcome::Done }),
            Verdict::Disown(gone) => disown(&api, &object, &gone).await?,
            Verdict::Delete { dependents, unblock } => {
                let mut object = object;
                if unblock {
                    object = unblocked(&api, object).await?;
                }
                delete(&api, &object, dependents).await?;
            }
        }
        Ok(Outcome::Done)
    }

    /// Tells of a reference to an owner in another namespace, which counts as absent.
    fn refuse_elsewhere(
        &self,
        world: &World,
        reference: &OwnerReference,
        owner: Option<&Node>,
        version: &str,
    ) {
        let elsewhere = owner.and_then(|owner| owner.namespace.as_ref());
        if elsewhere.is_some() && elsewhere != self.node.namespace.as_ref() {
            self.refuse(world, reference, version);
        }
    }

    fn refuse(&self, world: &World, reference: &OwnerReference, version: &str) {
        let OwnerReference { api_version, kind, name, uid, .. } = reference;
        let namespace = self.node.namespace.as_deref().unwrap_or_default();
        let named = format!("[{api_version}/{kind}, namespace: {namespace}, name: {name}, uid: {uid}]");
        let about = ObjectReference {
            api_version: Some(version.to_owned()),
            kind: Some(self.node.kind.kind.clone()),
            namespace: self.node.namespace.clone(),
            name: Some(self.node.name.clone()),
            uid: Some(self.node.uid.clone()),
            ..ObjectReference::default()
        };
        let note = format!("ownerRef {named} does not exist in namespace \"{namespace}\"");
        world.events.about_reference(MANAGER, about).warning("OwnerRefInvalidNamespace", note);
    }
}

fn api(client: &Client, served: &Served, namespace: Option<&str>) -> Api<DynamicObject> {
    match namespace {
        Some(namespace) if served.namespaced => {
            Api::namespaced_with(client.clone(), namespace, &served.resource)
        }
        _ => Api::all_with(client.clone(), &served.resource),
    }
}

type Object = PartialObjectMeta<DynamicObject>;

/// The object of this name as it is now, if it is still the one of this uid.
async fn current(api: &Api<DynamicObject>, name: &str, uid: &Uid) -> Result<Option<Object>, Error> {
    let found = api.get_metadata_opt(name).await?;
    Ok(found.filter(|object| object.metadata.uid.as_ref() == Some(uid)))
}

/// What became of an owner, asked of the API.
async fn standing(
    client: &Client,
    kind: &Served,
    namespace: Option<&str>,
    reference: &OwnerReference,
) -> Result<Owner, Error> {
    let owners = api(client, kind, namespace);
    let Some(owner) = current(&owners, &reference.name, &reference.uid).await? else {
        return Ok(Owner::Absent);
    };
    let waits =
        owner.metadata.deletion_timestamp.is_some() && owner.finalizers().iter().any(|own| own == FOREGROUND);
    Ok(if waits { Owner::Waiting } else { Owner::Solid })
}

async fn disown(api: &Api<DynamicObject>, object: &Object, gone: &[Uid]) -> Result<(), Error> {
    let before = object.owner_references();
    let rest: Vec<_> = before.iter().filter(|owner| !gone.contains(&owner.uid)).collect();
    if rest.len() < before.len() {
        change(api, object, json!({"ownerReferences": rest})).await?;
    }
    Ok(())
}

async fn unblocked(api: &Api<DynamicObject>, object: Object) -> Result<Object, Error> {
    let mut owners = object.owner_references().to_vec();
    owners.iter_mut().for_each(|owner| owner.block_owner_deletion = Some(false));
    Ok(change(api, &object, json!({"ownerReferences": owners})).await?.unwrap_or(object))
}

/// Changes an object's metadata, if it is still as it was seen.
async fn change(
    api: &Api<DynamicObject>,
    object: &Object,
    mut metadata: Value,
) -> Result<Option<Object>, Error> {
    metadata["uid"] = object.uid().into();
    metadata["resourceVersion"] = object.resource_version().into();
    let patch = Patch::Merge(json!({"metadata": metadata}));
    unless_gone(api.patch_metadata(&object.name_any(), &changing(), &patch).await)
}

/// Deletes an object, if it is still as it was seen.
async fn delete(
    api: &Api<DynamicObject>,
    object: &Object,
    dependents: PropagationPolicy,
) -> Result<(), Error> {
    let preconditions = Preconditions { uid: object.uid(), resource_version: object.resource_version() };
    let parameters = DeleteParams {
        preconditions: Some(preconditions),
        propagation_policy: Some(dependents),
        ..DeleteParams::default()
    };
    unless_gone(api.delete(&object.name_any(), &parameters).await).map(drop)
}
