//! One request for objects, with everything that the verbs need to know of it.

use std::sync::Arc;

use jiff::Timestamp;
use xebec_admission::Notes;
use xebec_machinery::resource::{Resource, Version};
use xebec_machinery::status::{Qualified, Reason, Status};

use crate::catalog::Served;
use crate::options::{FieldValidation, Options};
use crate::request::{ResourceRequest, Verb, nothing_at};
use crate::user::{ADMINISTRATORS, SERVER, User};

/// A request for objects of a resource in one of its versions.
#[derive(Debug, Clone)]
pub struct Call {
    /// What is asked for.
    pub request: ResourceRequest,
    /// The resource.
    pub resource: Arc<Resource>,
    /// Which of its versions, by place.
    version: usize,
    /// Who asks.
    pub user: User,
    /// Who owns the fields that this request sets.
    pub manager: String,
    /// When it came.
    pub now: Timestamp,
    /// How many bytes its body has.
    pub(crate) weight: usize,
    /// What is told beside the answer.
    pub notes: Arc<Notes>,
}

impl Call {
    /// Finds what the request is for, or says that no such thing is served.
    pub fn new(request: ResourceRequest, served: &Served, user: User, agent: &str) -> Result<Self, Status> {
        let nothing = || nothing_at(Some(&request.group));
        let resource = served.find(&request.group, &request.resource).cloned().ok_or_else(nothing)?;
        let named = |version: &Version| version.served && *version.name == *request.version;
        let version = resource.versions.iter().position(named).ok_or_else(nothing)?;
        if request.namespace.is_some() && !resource.namespaced() {
            return Err(nothing());
        }
        // Only reading goes across namespaces: nobody means to delete the pods of all of them.
        let anywhere = matches!(request.verb, Verb::List | Verb::Watch) && request.name.is_none();
        if request.namespace.is_none() && resource.namespaced() && !anywhere {
            return Err(if request.name.is_some() || resource.custom {
                nothing()
            } else {
                Status::new(
                    Reason::MethodNotAllowed,
                    "the server does not allow this method on the requested resource",
                )
            });
        }
        let manager = match &request.options.field_manager {
            Some(manager) => manager.clone(),
            None => manager_of(agent),
        };
        let (now, notes) = (Timestamp::now(), Arc::default());
        Ok(Self { request, resource, version, user, manager, now, weight: 0, notes })
    }

    /// A call by the API itself for one object, in the version in which objects of the resource rest.
    pub(crate) fn own(resource: Arc<Resource>, verb: Verb, namespace: Option<&str>, name: &str) -> Self {
        let version = resource.versions.iter().position(|version| version.name == resource.storage);
        let version = version.unwrap_or_default();
        let request = ResourceRequest {
            verb,
            group: resource.group.to_string(),
            version: resource.storage.to_string(),
            resource: resource.plural.to_string(),
            namespace: namespace.map(str::to_owned),
            name: Some(name.to_owned()),
            subresource: None,
            options: Options::default(),
        };
        let user = User::new(SERVER, [ADMINISTRATORS]);
        Self {
            request,
            resource,
            version,
            user,
            manager: "xebec".to_owned(),
            now: Timestamp::now(),
            weight: 0,
            notes: Arc::default(),
        }
    }

    /// The version that the client speaks.
    pub fn version(&self) -> &Version {
        &self.resource.versions[self.version]
    }

    /// The query parameters.
    pub fn options(&self) -> &Options {
        &self.request.options
    }

    /// The namespace, where one was named.
    pub fn namespace(&self) -> Option<&str> {
        self.request.namespace.as_deref()
    }

    /// The object's name, where one was named.
    pub fn name(&self) -> &str {
        self.request.name.as_deref().unwrap_or_default()
    }

    /// `apiVersion` as the client speaks it.
    pub fn api_version(&self) -> String {
        self.resource.api_version(&self.version().name)
    }

    /// The resource, as errors name it.
    pub fn qualified(&self) -> Qualified<'_> {
        Qualified::new(&self.resource.group, &self.resource.plural)
    }

    /// The kind, as validation errors name it.
    pub fn qualified_kind(&self) -> Qualified<'_> {
        Qualified::new(&self.resource.group, &self.resource.kind)
    }

    /// The moment of the request as objects write it: UTC, whole seconds.
    pub fn timestamp(&self) -> String {
        timestamp(self.now)
    }

    /// What happens to unknown and doubled fields; clients are warned where they do not say.
    pub fn validation(&self) -> FieldValidation {
        self.options().field_validation.unwrap_or(FieldValidation::Warn)
    }
}

/// A moment as objects write it: UTC, whole seconds.
pub fn timestamp(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The part of a user agent before the first slash, as upstream names managers that give no name.
fn manager_of(agent: &str) -> String {
    let name = agent.split('/').next().unwrap_or_default();
    let printable: String = name.chars().filter(|letter| !letter.is_control()).take(128).collect();
    if printable.is_empty() { "unknown".to_owned() } else { printable }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_without_a_name_is_called_by_its_program() {
        assert_eq!(manager_of("kubectl/v1.32.4 (linux/amd64)"), "kubectl");
        assert_eq!(manager_of(""), "unknown");
    }

    #[test]
    fn moments_have_whole_seconds() {
        assert_eq!(timestamp(Timestamp::UNIX_EPOCH), "1970-01-01T00:00:00Z");
    }
}
