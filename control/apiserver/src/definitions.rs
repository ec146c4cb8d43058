//! CustomResourceDefinitions in life: what is defined is served, says so in its status, and takes its objects with it.
//!
//! One loop follows the definitions. What goes wrong with one of them is told and tried again later, and holds up none of
//! the others; the objects of a definition that goes are deleted in a task of its own ([`retirement`]).

mod retirement;

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::Instant;
use xebec_admission::registration;
use xebec_machinery::crd;
use xebec_machinery::resource::Resource;
use xebec_machinery::status::{Reason, Status};
use xebec_store::{Event, EventKind, ListRequest};

use crate::api::Api;
use crate::backoff::Backoff;
use crate::call::{Call, timestamp};
use crate::catalog::Origin;
use crate::follow::Followed;
use crate::storage::{self, Stored};
use crate::{key, object};

const GROUP: &str = "apiextensions.k8s.io";
/// The group of webhooks and policies.
const REGISTRATION: &str = "admissionregistration.k8s.io";
const PLURAL: &str = "customresourcedefinitions";
/// Holds a definition until its objects are gone.
pub(crate) const CLEANUP: &str = crd::FINALIZER;
/// What conditions, finalizers and accepted names need, beside the names themselves.
const STATUS_ROOM: usize = 16 << 10;

impl Api {
    /// Refuses a definition that does not hold together or that another resource stands in the way of, and webhooks and
    /// policies that could not be followed.
    pub(crate) fn admit_definition(
        &self,
        call: &Call,
        old: Option<&Value>,
        new: &Value,
    ) -> Result<(), Status> {
        if &*call.resource.group == REGISTRATION {
            let errors = registration::check(&call.resource.kind, new, old);
            let kind = call.qualified_kind();
            return if errors.is_empty() {
                Ok(())
            } else {
                Err(Status::invalid(kind, object::name(new), &errors))
            };
        }
        if (&*call.resource.group, &*call.resource.plural) != (GROUP, PLURAL) {
            return Ok(());
        }
        if old.is_some_and(|old| old.get("spec") == new.get("spec")) {
            return Ok(());
        }
        let mut complete = new.clone();
        crd::default(&mut complete);
        crd::store_versions(&mut complete);
        let errors = match old {
            None => crd::validate(&complete),
            Some(old) => crd::validate_update(old, &complete),
        };
        if !errors.is_empty() {
            return Err(Status::invalid(call.qualified_kind(), object::name(new), &errors));
        }
        self.check_room(&complete)
    }

    /// A definition whose status would not fit beside it could never be served.
    fn check_room(&self, definition: &Value) -> Result<(), Status> {
        let size = |value: Option<&Value>| value.map_or(0, |value| value.to_string().len());
        let names = size(object::at_path(definition, ".spec.names"));
        let (own, room) = (size(Some(definition)), STATUS_ROOM + names);
        let limit = self.storage().value_limit();
        if own + room <= limit {
            return Ok(());
        }
        Err(Status::new(
            Reason::RequestEntityTooLarge,
            format!(
                "the definition has {own} bytes and its status may need {room} more, the limit is {limit}; shorten its \
                 descriptions or split its versions"
            ),
        ))
    }

    /// Serves what is stored now, and everything that is defined from here on, until the API stops.
    pub async fn serve_definitions(&self) {
        let Some(resource) = self.catalog().served().find(GROUP, PLURAL).cloned() else { return };
        self.keep_following(Keeper::new(self.clone(), resource)).await;
    }

    /// Serves what is stored now.
    pub(crate) fn load_definitions(&self) -> Result<(), Status> {
        let served = self.catalog().served();
        let Some(definitions) = served.find(GROUP, PLURAL) else { return Ok(()) };
        for stored in self.definitions(definitions)? {
            let compiled = crd::compile(&stored.object);
            if let (true, Ok(definition)) = (crd::established(&stored.object), compiled) {
                let (name, origin) = (object::name(&stored.object), origin(&stored.object));
                self.catalog().install(name, origin, Arc::new(definition.resource));
            }
        }
        Ok(())
    }

    /// The schema that a resource's definition gives for a version, with all its descriptions.
    pub(crate) fn published(&self, resource: &Resource, version: &str) -> Option<Value> {
        if !resource.custom {
            return None;
        }
        let served = self.catalog().served();
        let stored =
            self.storage().find(served.find(GROUP, PLURAL)?, None, &definition_of(resource)).ok()??;
        let versions = object::at_path(&stored.object, ".spec.versions")?.as_array()?;
        let found = versions.iter().find(|one| one.get("name").is_some_and(|name| name == version))?;
        object::at_path(found, ".schema.openAPIV3Schema").cloned()
    }

    fn definitions(&self, definitions: &Resource) -> Result<Vec<Stored>, Status> {
        let prefix = key::prefix(GROUP, PLURAL, None);
        let page =
            self.storage().list(definitions, &ListRequest { prefix: &prefix, ..ListRequest::default() })?;
        page.items.iter().map(storage::decode).collect()
    }
}

/// The name of the definition that a custom resource comes from.
pub(crate) fn definition_of(resource: &Resource) -> String {
    format!("{}.{}", resource.plural, resource.group)
}

/// Which state of a definition this is.
fn origin(definition: &Value) -> Origin {
    let generation = object::at_path(definition, ".metadata.generation").and_then(Value::as_i64);
    Origin { uid: object::meta(definition, "uid").into(), generation: generation.unwrap_or_default() }
}

fn compiled(definition: crd::Definition) -> Arc<Resource> {
    Arc::new(definition.resource)
}

/// Keeps what is served in line with the definitions.
struct Keeper {
    api: Api,
    /// The resource of the definitions themselves.
    resource: Arc<Resource>,
    /// The definitions with which something went wrong.
    failed: HashMap<String, Failed>,
    /// Ends with the keeper: whoever deletes the objects of a definition goes on at the next start.
    retirements: JoinSet<()>,
    retiring: HashMap<tokio::task::Id, String>,
}

struct Failed {
    backoff: Backoff,
    due: Instant,
}

impl Followed for Keeper {
    const NAME: &'static str = "the definitions of custom resources";

    async fn follow(&mut self, backoff: &mut Backoff) -> Result<(), Status> {
        let prefix = key::prefix(GROUP, PLURAL, None);
        let at = self.api.storage().revision();
        let mut watch = self.api.storage().watch(&self.resource, &prefix, Some(at))?;
        let list = ListRequest { prefix: &prefix, at: Some(at), ..ListRequest::default() };
        for entry in self.api.storage().list(&self.resource, &list)?.items {
            self.settle(&storage::decode(&entry)?).await;
        }
        backoff.reset();
        let (api, resource) = (self.api.clone(), self.resource.clone());
        loop {
            let due = self.failed.values().map(|failed| failed.due).min();
            tokio::select! {
                event = api.next_event(&mut watch, &resource) => match event? {
                    Some(event) => self.take_in(&event).await?,
                    None => return Ok(()),
                },
                () = sleep_until(due) => self.retry().await?,
                Some(ended) = self.retirements.join_next_with_id() => {
                    let id = match ended {
                        Ok((id, ())) => id,
                        Err(error) => {
                            tracing::error!(%error, "deleting the objects of a definition failed");
                            error.id()
                        }
                    };
                    self.retiring.remove(&id);
                }
            }
        }
    }
}

impl Keeper {
    fn new(api: Api, resource: Arc<Resource>) -> Self {
        let (failed, retiring) = (HashMap::new(), HashMap::new());
        Self { api, resource, failed, retirements: JoinSet::new(), retiring }
    }

    async fn take_in(&mut self, event: &Event) -> Result<(), Status> {
        match &event.kind {
            EventKind::Put { entry } => self.settle(&storage::decode(entry)?).await,
            EventKind::Delete { last } => {
                let gone = storage::decode(last)?;
                let name = object::name(&gone.object);
                self.failed.remove(name);
                self.api.catalog().remove(name).await;
                // Its names are free for those that wait for them.
                for other in self.api.definitions(&self.resource)? {
                    if !crd::established(&other.object) {
                        self.settle(&other).await;
                    }
                }
            }
        }
        Ok(())
    }

    /// Tries those again whose time has come.
    async fn retry(&mut self) -> Result<(), Status> {
        let now = Instant::now();
        let due: Vec<String> = self
            .failed
            .iter()
            .filter(|(_, failed)| failed.due <= now)
            .map(|(name, _)| name.clone())
            .collect();
        for name in due {
            match self.api.storage().find(&self.resource, None, &name)? {
                Some(stored) => self.settle(&stored).await,
                None => drop(self.failed.remove(&name)),
            }
        }
        Ok(())
    }

    /// Brings what is served, and the definition's status, in line with the definition, now or later.
    async fn settle(&mut self, stored: &Stored) {
        let name = object::name(&stored.object);
        match self.try_settle(stored).await {
            Ok(()) => drop(self.failed.remove(name)),
            Err(error) => {
                let now = Instant::now();
                let fresh = || Failed { backoff: Backoff::default(), due: now };
                let failed = self.failed.entry(name.to_owned()).or_insert_with(fresh);
                failed.due = now + failed.backoff.step();
                tracing::warn!(name, %error, "a definition of custom resources could not be settled; it is tried again");
            }
        }
    }

    async fn try_settle(&mut self, stored: &Stored) -> Result<(), Status> {
        let name = object::name(&stored.object);
        let (origin, now) = (origin(&stored.object), timestamp(jiff::Timestamp::now()));
        // What was compiled from this state of the definition before is shared.
        let known = self.api.catalog().compiled(name, &origin);
        let resource = match known.map_or_else(|| crd::compile(&stored.object).map(compiled), Ok) {
            Ok(resource) => resource,
            Err(errors) if object::deleting(&stored.object) => {
                let kind = xebec_machinery::status::Qualified::new(GROUP, "CustomResourceDefinition");
                return Err(Status::invalid(kind, name, &errors));
            }
            Err(errors) => {
                let mut new = stored.object.clone();
                crd::reject(&mut new, &errors, &now);
                return self.store(stored, new).await;
            }
        };
        if object::deleting(&stored.object) {
            self.retire(stored, resource);
            return Ok(());
        }
        let mut new = stored.object.clone();
        let settled = crd::established(&new)
            && object::at_path(&new, ".spec.names") == object::at_path(&new, ".status.acceptedNames");
        let others = if settled { Vec::new() } else { self.api.definitions(&self.resource)? };
        crd::accept(&mut new, others.iter().map(|other| &other.object), &now);
        if crd::established(&new) {
            self.api.catalog().install(name, origin, resource);
        }
        if !object::meta_list(&new, "finalizers").contains(&CLEANUP) {
            let mut all: Vec<String> =
                object::meta_list(&new, "finalizers").into_iter().map(str::to_owned).collect();
            all.push(CLEANUP.to_owned());
            object::set_meta(&mut new, "finalizers", all);
        }
        self.store(stored, new).await
    }

    /// Stores what changed about a definition.
    async fn store(&self, stored: &Stored, new: Value) -> Result<(), Status> {
        self.api.storage().settle(&self.resource, stored, new).await.map(drop)
    }

    /// Has the objects of a definition deleted that goes, unless somebody does that already.
    fn retire(&mut self, stored: &Stored, resource: Arc<Resource>) {
        let name = object::name(&stored.object);
        let held = object::meta_list(&stored.object, "finalizers").contains(&CLEANUP);
        if !held || self.retiring.values().any(|own| own == name) {
            return;
        }
        let uid = object::meta(&stored.object, "uid").to_owned();
        let (api, definitions) = (self.api.clone(), self.resource.clone());
        let task = retirement::Retirement::new(api, definitions, resource, uid).run();
        let id = self.retirements.spawn(task).id();
        self.retiring.insert(id, name.to_owned());
    }
}

async fn sleep_until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
