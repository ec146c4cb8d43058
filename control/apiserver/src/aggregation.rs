//! Versions of groups that other servers have, and this one passes requests on to: the APIServices that name a Service.
//!
//! An APIService without a Service stands for what is served here ([`registration`]). One with a Service is looked after
//! ([`availability`]): whether its server answers, and what it tells of its resources ([`documents`]). Requests go to it with
//! the user's name on them, over TLS, under a certificate by which the server knows who passes them on ([`channel`],
//! [`passage`]); how it recognizes that is told in a ConfigMap ([`trust`]). It follows upstream's kube-aggregator.

mod availability;
mod channel;
mod documents;
mod passage;
mod registration;
mod schemas;
mod trust;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use serde_json::Value;
use xebec_machinery::builtin;
use xebec_machinery::discovery::{Foreign, Priority};
use xebec_machinery::status::Status;

use crate::follower::{Follower, Gather};
use crate::storage::Storage;
use crate::{key, object};
use channel::Channel;
pub(crate) use schemas::Specs;
pub use trust::Trust;

/// The API group of APIServices.
pub(crate) const GROUP: &str = "apiregistration.k8s.io";
pub(crate) const PLURAL: &str = "apiservices";

/// A port of a Service, behind which a server is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Backend {
    namespace: Box<str>,
    name: Box<str>,
    port: u16,
}

impl Backend {
    /// The name that its certificate is for.
    fn host(&self) -> String {
        format!("{}.{}.svc", self.name, self.namespace)
    }

    /// The same with its port.
    fn authority(&self) -> String {
        format!("{}:{}", self.host(), self.port)
    }
}

impl std::fmt::Display for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}:{}", self.namespace, self.name, self.port)
    }
}

/// A version of a group that another server has, as an APIService says.
#[derive(Debug)]
pub(crate) struct Extension {
    /// The APIService.
    name: Box<str>,
    pub(crate) group: Box<str>,
    pub(crate) version: Box<str>,
    priority: Priority,
    backend: Backend,
    is_available: bool,
    channel: Arc<Channel>,
}

impl Extension {
    /// Reads a stored APIService; nothing where it names no Service. What was connected before stays so where nothing
    /// of that has changed.
    fn read(service: &Value, before: Option<&Self>) -> Option<Self> {
        let spec = service.get("spec")?;
        let of = spec.get("service").filter(|of| !of.is_null())?;
        // Whoever takes this group away could not be taken away again.
        if spec.get("group").is_some_and(|group| group == GROUP) {
            return None;
        }
        let text = |of: &Value, key: &str| -> Box<str> {
            of.get(key).and_then(Value::as_str).unwrap_or_default().into()
        };
        let number = |key: &str| spec.get(key).and_then(Value::as_i64).unwrap_or_default();
        let port = of.get("port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
        let backend =
            Backend { namespace: text(of, "namespace"), name: text(of, "name"), port: port.unwrap_or(443) };
        let insecure = spec.get("insecureSkipTLSVerify").and_then(Value::as_bool).unwrap_or_default();
        let bundle = text(spec, "caBundle");
        let kept = before.filter(|before| before.backend == backend).map(|before| &before.channel);
        let channel = match kept {
            Some(channel) if channel.is_for(&bundle, insecure) => channel.clone(),
            _ => Arc::new(Channel::new(backend.clone(), bundle, insecure)),
        };
        let conditions = object::at_path(service, ".status.conditions").and_then(Value::as_array);
        let mut available = conditions.into_iter().flatten().filter(|one| one["type"] == "Available");
        Some(Self {
            name: object::name(service).into(),
            group: text(spec, "group"),
            version: text(spec, "version"),
            priority: Priority { group: number("groupPriorityMinimum"), version: number("versionPriority") },
            backend,
            is_available: available.any(|one| one["status"] == "True"),
            channel,
        })
    }

    /// Where its paths begin.
    fn root(&self) -> String {
        match &*self.group {
            "" => format!("/api/{}", self.version),
            group => format!("/apis/{group}/{}", self.version),
        }
    }
}

/// The extensions, by the names of their APIServices.
#[derive(Default)]
struct Registered(BTreeMap<Box<str>, Arc<Extension>>);

impl Gather for Registered {
    fn put(&mut self, object: Value) {
        let name = object::name(&object);
        match Extension::read(&object, self.0.get(name).map(|before| &**before)) {
            Some(extension) => drop(self.0.insert(name.into(), Arc::new(extension))),
            None => drop(self.0.remove(name)),
        }
    }

    fn remove(&mut self, object: &Value) {
        self.0.remove(object::name(object));
    }
}

/// What was learned of extensions. Never changes; news make a new one.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// How many changes there were before this one.
    pub(crate) generation: u64,
    pub(crate) foreign: Vec<Foreign>,
    pub(crate) specs: Specs,
}

/// The extensions and what is known of them.
pub(crate) struct Aggregation {
    /// Nothing where APIServices are no built-in kind.
    registered: Option<Follower<Registered>>,
    trust: OnceLock<Trust>,
    known: RwLock<Arc<Known>>,
}

impl Aggregation {
    pub(crate) fn new(storage: Storage) -> Self {
        let resource = builtin::find(GROUP, PLURAL).cloned();
        let prefix = key::prefix(GROUP, PLURAL, None);
        let registered = resource.map(|resource| Follower::new(storage, resource, prefix));
        Self { registered, trust: OnceLock::new(), known: RwLock::default() }
    }

    /// Who has this version of a group, if it is another server.
    ///
    /// # Errors
    ///
    /// The APIServices cannot be read.
    pub(crate) fn find(&self, group: &str, version: &str) -> Result<Option<Arc<Extension>>, Status> {
        let Some(registered) = &self.registered else { return Ok(None) };
        registered.view(|all| {
            let is = |own: &&Arc<Extension>| &*own.group == group && &*own.version == version;
            all.0.values().find(is).cloned()
        })
    }

    /// All of them.
    fn all(&self) -> Result<Vec<Arc<Extension>>, Status> {
        let Some(registered) = &self.registered else { return Ok(Vec::new()) };
        registered.view(|all| all.0.values().cloned().collect())
    }

    /// What is known of them now. Of one whose server has told nothing yet, it is known that it is there.
    ///
    /// # Errors
    ///
    /// The APIServices cannot be read.
    pub(crate) fn known(&self) -> Result<Arc<Known>, Status> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner).clone();
        let all = self.all()?;
        let is_told = |own: &Arc<Extension>| {
            let mut told = known.foreign.iter();
            told.any(|told| told.group == own.group && told.version == own.version)
        };
        if all.len() == known.foreign.len() && all.iter().all(is_told) {
            return Ok(known);
        }
        // Somebody was registered or is gone since it was last looked after.
        Ok(self.learn(|now| {
            let foreign = all.iter().map(|own| documents::foreign(own, &now.foreign, None)).collect();
            let mut specs = now.specs.clone();
            specs.keep(|group, version| {
                all.iter().any(|own| &*own.group == group && &*own.version == version)
            });
            (foreign, specs)
        }))
    }

    /// From now on this is known, as it follows from what is known now.
    fn learn(&self, news: impl FnOnce(&Known) -> (Vec<Foreign>, Specs)) -> Arc<Known> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let (foreign, specs) = news(&known);
        if known.foreign != foreign || known.specs != specs {
            *known = Arc::new(Known { generation: known.generation + 1, foreign, specs });
        }
        known.clone()
    }

    /// Which of them are there, in the Prometheus text format and by the name that upstream's servers use.
    pub(crate) fn metrics(&self) -> String {
        const NAME: &str = "aggregator_unavailable_apiservice";
        let mut text =
            format!("# HELP {NAME} API services whose server is not there.\n# TYPE {NAME} gauge\n");
        // Names hold nothing that needs escaping.
        for own in self.all().unwrap_or_default() {
            let missing = u8::from(!own.is_available);
            text.push_str(&format!("{NAME}{{name=\"{}\"}} {missing}\n", own.name));
        }
        text
    }

    /// By which certificates this server and those behind it know each other.
    pub(crate) fn trust(&self) -> Option<&Trust> {
        self.trust.get()
    }

    pub(crate) fn set_trust(&self, trust: Trust) {
        // There is one authority in a process.
        let _first_stays = self.trust.set(trust);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn service(port: u16, status: &str) -> Value {
        json!({
            "metadata": {"name": "v1.a.example"},
            "spec": {
                "group": "a.example", "version": "v1", "groupPriorityMinimum": 2000, "versionPriority": 200,
                "service": {"namespace": "n", "name": "s", "port": port}, "caBundle": "YWJj",
            },
            "status": {"conditions": [{"type": "Other", "status": "True"}, {"type": "Available", "status": status}]},
        })
    }

    #[test]
    fn an_api_service_with_a_service_is_an_extension_whose_connections_outlive_its_status() {
        let mut all = Registered::default();
        all.put(service(443, "False"));
        let first = all.0["v1.a.example"].clone();
        assert!(!first.is_available);
        assert_eq!((first.root().as_str(), first.backend.host().as_str()), ("/apis/a.example/v1", "s.n.svc"));
        all.put(service(443, "True"));
        let second = all.0["v1.a.example"].clone();
        assert!(second.is_available && Arc::ptr_eq(&first.channel, &second.channel));
        all.put(service(444, "True"));
        assert!(!Arc::ptr_eq(&second.channel, &all.0["v1.a.example"].channel));
        let mut local = service(443, "True");
        local["spec"]["service"] = Value::Null;
        all.put(local);
        assert!(all.0.is_empty());
        let mut own = service(443, "True");
        own["spec"]["group"] = GROUP.into();
        all.put(own);
        assert!(all.0.is_empty(), "the group of API services stays here");
    }
}
