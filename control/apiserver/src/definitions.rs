//! CustomResourceDefinitions in life: what is defined is served, says so in its status, and takes its objects with it.

use std::sync::Arc;

use serde_json::Value;
use xebec_admission::registration;
use xebec_machinery::crd;
use xebec_machinery::resource::Resource;
use xebec_machinery::status::Status;
use xebec_store::{Error, EventKind, ListRequest};

use crate::api::Api;
use crate::call::{Call, timestamp};
use crate::storage::{self, Stored, is_conflict};
use crate::{key, object};

const GROUP: &str = "apiextensions.k8s.io";
/// The group of webhooks and policies.
const REGISTRATION: &str = "admissionregistration.k8s.io";
const PLURAL: &str = "customresourcedefinitions";
/// Holds a definition until its objects are gone.
pub(crate) const CLEANUP: &str = crd::FINALIZER;

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
        if errors.is_empty() {
            return Ok(());
        }
        Err(Status::invalid(call.qualified_kind(), object::name(new), &errors))
    }

    /// Serves what is stored now, and everything that is defined from here on, until the API stops.
    pub async fn serve_definitions(&self) {
        loop {
            match self.follow_definitions().await {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(%error, "lost sight of the definitions of custom resources; reading them again");
                }
            }
        }
    }

    /// Serves what is stored now.
    pub(crate) fn load_definitions(&self) -> Result<(), Status> {
        let served = self.catalog().served();
        let Some(definitions) = served.find(GROUP, PLURAL) else { return Ok(()) };
        for stored in self.definitions(definitions)? {
            let compiled = crd::compile(&stored.object);
            if let (true, Ok(definition)) = (crd::established(&stored.object), compiled) {
                self.catalog().install(object::name(&stored.object), Arc::new(definition.resource));
            }
        }
        Ok(())
    }

    async fn follow_definitions(&self) -> Result<(), Status> {
        let served = self.catalog().served();
        let Some(definitions) = served.find(GROUP, PLURAL) else { return Ok(()) };
        let prefix = key::prefix(GROUP, PLURAL, None);
        let at = self.storage().revision();
        let mut watch = self.storage().watch(definitions, &prefix, Some(at))?;
        let list = ListRequest { prefix: &prefix, at: Some(at), ..ListRequest::default() };
        for entry in self.storage().list(definitions, &list)?.items {
            self.settle(definitions, &storage::decode(&entry)?).await?;
        }
        loop {
            let event = tokio::select! {
                () = self.shutdown().cancelled() => return Ok(()),
                event = watch.next() => event,
            };
            match event {
                Ok(event) => match &event.kind {
                    EventKind::Put { entry } => self.settle(definitions, &storage::decode(entry)?).await?,
                    EventKind::Delete { last } => {
                        self.catalog().remove(object::name(&storage::decode(last)?.object));
                        // Its names are free for those that wait for them.
                        for other in self.definitions(definitions)? {
                            if !crd::established(&other.object) {
                                self.settle(definitions, &other).await?;
                            }
                        }
                    }
                },
                Err(Error::Closed) => return Ok(()),
                Err(error) => return Err(storage::refusal(&error, definitions, "")),
            }
        }
    }

    /// Brings what is served, and the definition's status, in line with the definition.
    async fn settle(&self, definitions: &Resource, stored: &Stored) -> Result<(), Status> {
        let name = object::name(&stored.object);
        let Ok(definition) = crd::compile(&stored.object) else { return Ok(()) };
        let resource = Arc::new(definition.resource);
        let mut new = stored.object.clone();
        if object::deleting(&new) {
            self.delete_all(&resource).await?;
            let rest: Vec<&str> = object::meta_list(&stored.object, "finalizers")
                .into_iter()
                .filter(|own| *own != CLEANUP)
                .collect();
            object::set_meta(&mut new, "finalizers", rest);
            let written = if crate::strategy::finished_deleting(&new) {
                self.storage().delete(definitions, new, stored.revision).await.map(drop)
            } else if new != stored.object {
                self.storage().update(definitions, new, stored.revision).await.map(drop)
            } else {
                Ok(())
            };
            return superseded(written);
        }
        let settled = crd::established(&new)
            && object::at_path(&new, ".spec.names") == object::at_path(&new, ".status.acceptedNames");
        let others = if settled { Vec::new() } else { self.definitions(definitions)? };
        let now = timestamp(jiff::Timestamp::now());
        crd::accept(&mut new, others.iter().map(|other| &other.object), &now);
        if crd::established(&new) {
            self.catalog().install(name, resource);
        }
        if !object::meta_list(&new, "finalizers").contains(&CLEANUP) {
            let mut all: Vec<String> =
                object::meta_list(&new, "finalizers").into_iter().map(str::to_owned).collect();
            all.push(CLEANUP.to_owned());
            object::set_meta(&mut new, "finalizers", all);
        }
        if new == stored.object {
            return Ok(());
        }
        superseded(self.storage().update(definitions, new, stored.revision).await.map(drop))
    }

    /// The schema that a resource's definition gives for a version, with all its descriptions.
    pub(crate) fn published(&self, resource: &Resource, version: &str) -> Option<Value> {
        if !resource.custom {
            return None;
        }
        let served = self.catalog().served();
        let name = format!("{}.{}", resource.plural, resource.group);
        let stored = self.storage().find(served.find(GROUP, PLURAL)?, None, &name).ok()??;
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

    async fn delete_all(&self, resource: &Resource) -> Result<(), Status> {
        let prefix = key::prefix(&resource.group, &resource.plural, None);
        let page =
            self.storage().list(resource, &ListRequest { prefix: &prefix, ..ListRequest::default() })?;
        for entry in page.items {
            let stored = storage::decode(&entry)?;
            superseded(self.storage().delete(resource, stored.object, stored.revision).await.map(drop))?;
        }
        Ok(())
    }
}

/// A write that came too late is made up for when the newer state is seen.
fn superseded(written: Result<(), Status>) -> Result<(), Status> {
    match written {
        Err(status) if is_conflict(&status) || status.code() == 404 => Ok(()),
        outcome => outcome,
    }
}
