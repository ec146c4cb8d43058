//! Whether the servers behind this one are there (the `Available` condition of APIServices), and what they tell of
//! themselves.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::time::Instant;
use xebec_machinery::resource::Resource;
use xebec_machinery::status::Status;
use xebec_store::{EventKind, ListRequest, Watch};

use super::documents::foreign;
use super::{Extension, GROUP, PLURAL};
use crate::api::Api;
use crate::backoff::Backoff;
use crate::call::Call;
use crate::codec::Decoded;
use crate::follow::Followed;
use crate::request::Verb;
use crate::strategy::Part;
use crate::{key, object, storage};

/// How often it is asked whether a server is there, and how often one that was not.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
const LOOK_SOON: Duration = Duration::from_secs(3);
/// How often servers are asked what they have.
const ASK_AGAIN: Duration = Duration::from_secs(60);
/// Changes that come together are looked at together.
const SETTLE: Duration = Duration::from_millis(50);
/// How often a server is tried before it counts as gone.
const ATTEMPTS: usize = 3;
/// How many servers are looked after at a time.
const AT_ONCE: usize = 8;

/// Whether a server is there, as the condition says it.
struct Found {
    status: &'static str,
    reason: &'static str,
    message: String,
}

impl Found {
    fn no(reason: &'static str, message: String) -> Self {
        Self { status: "False", reason, message }
    }
}

/// The extensions, looked after.
pub(super) struct Extensions<'a> {
    api: &'a Api,
    /// Which were asked what they have, and when that was.
    asked: Option<Instant>,
    known: HashSet<Box<str>>,
}

impl<'a> Extensions<'a> {
    pub(super) fn new(api: &'a Api) -> Self {
        Self { api, asked: None, known: HashSet::new() }
    }
}

impl Followed for Extensions<'_> {
    const NAME: &'static str = "the API services";

    async fn follow(&mut self, backoff: &mut Backoff) -> Result<(), Status> {
        let api = self.api;
        let served = api.catalog().served();
        let find = |group, plural| served.find(group, plural).cloned();
        let slices_group = "discovery.k8s.io";
        let (Some(own), Some(services), Some(slices)) =
            (find(GROUP, PLURAL), find("", "services"), find(slices_group, "endpointslices"))
        else {
            return Ok(());
        };
        drop(served);
        let at = Some(api.storage().revision());
        let watch = |resource: &Resource, prefix: String| api.storage().watch(resource, &prefix, at);
        let mut own_watch = watch(&own, key::prefix(GROUP, PLURAL, None))?;
        let mut service_watch = watch(&services, key::prefix("", "services", None))?;
        let mut slice_watch = watch(&slices, key::prefix(slices_group, "endpointslices", None))?;
        loop {
            api.tell_local(&own).await?;
            let all = api.aggregation().all()?;
            let are_well = self.look(&all).await?;
            backoff.reset();
            let pause = if are_well { LOOK_AGAIN } else { LOOK_SOON };
            let places: HashSet<&str> = all.iter().map(|own| &*own.backend.namespace).collect();
            let goes_on = tokio::select! {
                goes_on = api.changed(&mut own_watch, &own) => goes_on?,
                goes_on = api.changed_within(&mut service_watch, &services, &places) => goes_on?,
                goes_on = api.changed_within(&mut slice_watch, &slices, &places) => goes_on?,
                () = tokio::time::sleep(pause), if !all.is_empty() => true,
            };
            if !goes_on {
                return Ok(());
            }
            tokio::time::sleep(SETTLE).await;
        }
    }
}

impl Extensions<'_> {
    /// Looks after all of them; whether all are there.
    async fn look(&mut self, all: &[Arc<Extension>]) -> Result<bool, Status> {
        let api = self.api;
        let found: Vec<Found> = stream::iter(all.iter().cloned())
            .map(|own| async move { api.look_for(&own).await })
            .buffered(AT_ONCE)
            .collect()
            .await;
        let is_there = |(_, found): &(&Arc<Extension>, &Found)| found.status == "True";
        let available: HashSet<Box<str>> =
            all.iter().zip(&found).filter(is_there).map(|(own, _)| own.name.clone()).collect();
        let is_time = self.asked.is_none_or(|asked| asked.elapsed() >= ASK_AGAIN);
        let is_due = is_time || available != self.known;
        let mut have_told = true;
        if is_due {
            // Whoever sees that a server is there sees what it has.
            have_told = api.learn_resources(all, &available).await?;
        }
        for (own, found) in all.iter().zip(&found) {
            api.tell_found(own, found).await?;
        }
        if is_due {
            api.learn_specs(all, &available).await?;
            self.asked = have_told.then(Instant::now);
            self.known = available;
        }
        Ok(have_told && self.known.len() == all.len())
    }
}

impl Api {
    /// Looks after the servers behind this one until the API stops, and keeps what they know this one by.
    pub async fn serve_aggregation(&self) {
        let extensions = async {
            tokio::select! {
                // Servers may take their time to answer.
                () = self.shutdown().cancelled() => {}
                () = self.keep_following(Extensions::new(self)) => {}
            }
        };
        tokio::join!(extensions, self.keep_registered(), self.keep_trust());
    }

    /// [`Api::changed`] within some namespaces.
    async fn changed_within(
        &self,
        watch: &mut Watch,
        resource: &Resource,
        namespaces: &HashSet<&str>,
    ) -> Result<bool, Status> {
        loop {
            let Some(event) = self.next_event(watch, resource).await? else { return Ok(false) };
            let (EventKind::Put { entry } | EventKind::Delete { last: entry }) = &event.kind;
            // `/registry/GROUP/RESOURCE/NAMESPACE/NAME`
            let namespace = entry.key.split('/').nth(4).unwrap_or_default();
            if namespaces.contains(namespace) {
                return Ok(true);
            }
        }
    }

    /// Whether the server of an extension is there.
    async fn look_for(&self, extension: &Extension) -> Found {
        let backend = &extension.backend;
        let (name, namespace, port) = (&backend.name, &backend.namespace, backend.port);
        let failed = |reason, why: &Status| Found {
            status: "Unknown",
            reason,
            message: format!("service/{name} in {namespace:?} cannot be checked due to: {why}"),
        };
        let served = self.catalog().served();
        let service = served.find("", "services").map(|services| {
            let found = self.storage().find(services, Some(namespace), name);
            found.map(|found| found.map(|stored| stored.object))
        });
        let service = match service {
            Some(Ok(Some(service))) => service,
            Some(Err(why)) => return failed("ServiceAccessError", &why),
            _ => {
                let message = format!("service/{name} in {namespace:?} is not present");
                return Found::no("ServiceNotFound", message);
            }
        };
        if service["spec"]["type"] == "ClusterIP" {
            let ports = service["spec"]["ports"].as_array().into_iter().flatten();
            let Some(own) = ports.clone().find(|own| own["port"] == port) else {
                let message = format!("service/{name} in {namespace:?} is not listening on port {port}");
                return Found::no("ServicePortError", message);
            };
            let port_name = own["name"].as_str().unwrap_or_default();
            let slices = match self.slices_of(namespace, name) {
                Ok(slices) => slices,
                Err(why) => return failed("EndpointsAccessError", &why),
            };
            if slices.is_empty() {
                let message = format!("cannot find endpointslices for service/{name} in {namespace:?}");
                return Found::no("EndpointsNotFound", message);
            }
            if !slices.iter().any(|slice| serves(slice, port_name)) {
                let message = format!(
                    "endpointslices for service/{name} in {namespace:?} have no addresses with port name {port_name:?}"
                );
                return Found::no("MissingEndpoints", message);
            }
        }
        drop(served);
        match self.knock(extension).await {
            Ok(()) => Found { status: "True", reason: "Passed", message: "all checks passed".to_owned() },
            Err(why) => Found::no("FailedDiscoveryCheck", why),
        }
    }

    /// Asks a server for something that each must have.
    async fn knock(&self, extension: &Extension) -> Result<(), String> {
        let path = extension.root();
        let mut last = String::new();
        for _ in 0..ATTEMPTS {
            let address = self.address_of(extension)?;
            // Not the address, which changes from one look to the next where there are several.
            let authority = extension.backend.authority();
            let url = format!("https://{authority}{path}");
            match self.question(extension, &address, &path, "application/json").await {
                Ok(answer) if answer.code.is_success() => return Ok(()),
                Ok(answer) => {
                    last = format!(
                        "failing or missing response from {url}: bad status from {url}: {}",
                        answer.code.as_u16()
                    );
                    // It has answered, and will say the same again.
                    if answer.code != StatusCode::SERVICE_UNAVAILABLE {
                        break;
                    }
                }
                Err(why) => {
                    let why = why.replace(&*address, &authority);
                    last = format!("failing or missing response from {url}: Get {url:?}: {why}");
                }
            }
        }
        Err(last)
    }

    /// Writes down whether the server of an extension is there, if that is news.
    async fn tell_found(&self, extension: &Extension, found: &Found) -> Result<(), Status> {
        let condition = json!({
            "type": "Available", "status": found.status, "reason": found.reason, "message": found.message,
        });
        self.tell_availability(&extension.name, condition).await
    }

    /// What is served here is always available: also an API service that named another server before.
    async fn tell_local(&self, resource: &Resource) -> Result<(), Status> {
        let prefix = key::prefix(GROUP, PLURAL, None);
        let page =
            self.storage().list(resource, &ListRequest { prefix: &prefix, ..ListRequest::default() })?;
        for entry in &page.items {
            let own = storage::decode(entry)?.object;
            if own["spec"]["service"].is_null() {
                let condition = json!({
                    "type": "Available", "status": "True", "reason": "Local",
                    "message": "Local APIServices are always available",
                });
                self.tell_availability(object::name(&own), condition).await?;
            }
        }
        Ok(())
    }

    async fn tell_availability(&self, name: &str, condition: Value) -> Result<(), Status> {
        let served = self.catalog().served();
        let Some(resource) = served.find(GROUP, PLURAL).cloned() else { return Ok(()) };
        drop(served);
        let Some(found) = self.storage().find(&resource, None, name)? else { return Ok(()) };
        let mut call = Call::own(resource, Verb::Update, None, name);
        "kube-apiserver".clone_into(&mut call.manager);
        let mut new = found.object.clone();
        object::set_condition(&mut new, condition, &call.timestamp());
        if new == found.object {
            return Ok(());
        }
        storage::unless_late(self.update(&call, Part::Status, Decoded::own(new)).await).map(drop)
    }

    /// Asks those that are there what they have; whether all of them have told.
    async fn learn_resources(
        &self,
        all: &[Arc<Extension>],
        available: &HashSet<Box<str>>,
    ) -> Result<bool, Status> {
        let known = self.aggregation().known()?;
        let told = stream::iter(all.iter().cloned()).map(|own| {
            let is_there = available.contains(&own.name);
            async move {
                match self.address_of(&own) {
                    Ok(address) if is_there => self.ask_for_resources(&own, &address).await,
                    Ok(_) => Err("the server is not available".to_owned()),
                    Err(why) => Err(why),
                }
            }
        });
        let told: Vec<_> = told.buffered(AT_ONCE).collect().await;
        let (mut news, mut have_told) = (Vec::new(), true);
        for (own, told) in all.iter().zip(told) {
            if let Err(why) = &told {
                have_told &= !available.contains(&own.name);
                tracing::warn!(api_service = %own.name, why, "an extension server does not tell what it has");
            }
            news.push(foreign(own, &known.foreign, Some(told)));
        }
        self.aggregation().learn(|now| (news, now.specs.clone()));
        Ok(have_told)
    }

    /// Asks those that are there what that looks like.
    async fn learn_specs(&self, all: &[Arc<Extension>], available: &HashSet<Box<str>>) -> Result<(), Status> {
        let mut specs = self.aggregation().known()?.specs.clone();
        for own in all.iter().filter(|own| available.contains(&own.name)) {
            if let Ok(address) = self.address_of(own) {
                self.ask_for_specs(own, &address, &mut specs).await;
            }
        }
        self.aggregation().learn(|now| {
            specs.keep(|group, version| {
                now.foreign.iter().any(|own| &*own.group == group && &*own.version == version)
            });
            (now.foreign.clone(), specs)
        });
        Ok(())
    }
}

/// Whether somebody serves a port of this name.
fn serves(slice: &Value, port: &str) -> bool {
    let list = |key: &str| slice[key].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_ready = |endpoint: &Value| endpoint["conditions"]["ready"] != false;
    let is_own = |own: &Value| own["name"].as_str().unwrap_or_default() == port && own["port"].is_number();
    list("endpoints").iter().any(is_ready) && list("ports").iter().any(is_own)
}
