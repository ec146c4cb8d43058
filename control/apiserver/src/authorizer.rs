//! May this user do this?

use xebec_machinery::status::{Qualified, Status};

use crate::request::{ResourceRequest, Target, Verb};
use crate::user::User;

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked<'a> {
    /// Something with objects.
    Resource(Attributes<'a>),
    /// Something with a path that is none of objects.
    Path {
        /// The method in small letters.
        verb: &'a str,
        /// The path.
        path: &'a str,
    },
}

/// What somebody wants to do with objects. What is not named is empty.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attributes<'a> {
    /// The verb, as rules write it.
    pub verb: &'a str,
    /// The API group.
    pub group: &'a str,
    /// The plural name of the resource.
    pub resource: &'a str,
    /// The subresource.
    pub subresource: &'a str,
    /// The namespace.
    pub namespace: &'a str,
    /// The object.
    pub name: &'a str,
}

/// What was decided.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// Whether the user may.
    pub allowed: bool,
    /// Why.
    pub reason: String,
}

impl<'a> Asked<'a> {
    /// What a request wants to do.
    pub fn of(method: &'a str, path: &'a str, target: &'a Target) -> Self {
        match target {
            Target::Resource(request) => Self::Resource(Attributes::of(request)),
            _ => Self::Path { verb: method, path },
        }
    }

    /// The answer to a user who may not.
    pub fn refuse(&self, user: &User, reason: &str) -> Status {
        let mut why = format!("User {:?} cannot {self}", user.name);
        if !reason.is_empty() {
            why = format!("{why}: {reason}");
        }
        match self {
            Self::Resource(asked) => {
                Status::forbidden(Qualified::new(asked.group, asked.resource), asked.name, &why)
            }
            Self::Path { .. } => Status::forbidden(Qualified::new("", ""), "", &why),
        }
    }
}

impl std::fmt::Display for Asked<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Resource(asked) => {
                let resource = asked.combined();
                write!(f, "{} resource {resource:?} in API group {:?} ", asked.verb, asked.group)?;
                match asked.namespace {
                    "" => f.write_str("at the cluster scope"),
                    namespace => write!(f, "in the namespace {namespace:?}"),
                }
            }
            Self::Path { verb, path } => write!(f, "{verb} path {path:?}"),
        }
    }
}

impl<'a> Attributes<'a> {
    fn of(request: &'a ResourceRequest) -> Self {
        let name = request.name.as_deref().or_else(|| selected(request)).unwrap_or_default();
        // A namespace counts as within itself.
        let itself =
            if (request.group.as_str(), request.resource.as_str()) == ("", "namespaces") { name } else { "" };
        Self {
            verb: request.verb.as_str(),
            group: &request.group,
            resource: &request.resource,
            subresource: request.subresource.as_deref().unwrap_or_default(),
            namespace: request.namespace.as_deref().unwrap_or(itself),
            name,
        }
    }

    /// The resource as rules name it, such as `pods/log`.
    pub fn combined(&self) -> String {
        match self.subresource {
            "" => self.resource.to_owned(),
            subresource => format!("{}/{subresource}", self.resource),
        }
    }
}

/// The one object that a list or watch selects by its name, so that rules for single objects hold for those too.
fn selected(request: &ResourceRequest) -> Option<&str> {
    let selector = request.options.field_selector.as_deref()?;
    let name = selector.strip_prefix("metadata.name=")?;
    let name = name.strip_prefix('=').unwrap_or(name);
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-._:".contains(letter);
    (matches!(request.verb, Verb::List | Verb::Watch) && !name.is_empty() && name.chars().all(plain))
        .then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::parse;

    #[test]
    fn a_refusal_names_user_verb_resource_and_place() {
        let refused = |uri: &str| {
            let target = parse(&http::Method::GET, &uri.parse().unwrap()).unwrap();
            Asked::of("get", uri, &target).refuse(&User::anonymous(), "").message
        };
        assert_eq!(
            refused("/api/v1/namespaces/a/pods/b/log"),
            r#"pods "b" is forbidden: User "system:anonymous" cannot get resource "pods/log" in API group "" in the namespace "a""#
        );
        assert_eq!(
            refused("/apis/apps/v1/deployments"),
            r#"deployments.apps is forbidden: User "system:anonymous" cannot list resource "deployments" in API group "apps" at the cluster scope"#
        );
        assert_eq!(
            refused("/api/v1/namespaces/a"),
            r#"namespaces "a" is forbidden: User "system:anonymous" cannot get resource "namespaces" in API group "" in the namespace "a""#
        );
        assert_eq!(
            refused("/api/v1/namespaces/a/secrets?fieldSelector=metadata.name%3Db"),
            r#"secrets "b" is forbidden: User "system:anonymous" cannot list resource "secrets" in API group "" in the namespace "a""#
        );
        for more in ["metadata.name%3Db%2Ctype%3Dc", "metadata.name%21%3Db"] {
            let message = refused(&format!("/api/v1/namespaces/a/secrets?fieldSelector={more}"));
            assert!(message.starts_with("secrets is forbidden"), "{message}");
        }
        assert_eq!(refused("/apis"), r#"forbidden: User "system:anonymous" cannot get path "/apis""#);
    }
}
