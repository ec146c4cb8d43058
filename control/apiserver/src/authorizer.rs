//! May this user do this? The seam that role-based access control fills; until then only administrators touch objects.

use xebec_machinery::status::{Qualified, Status};

use crate::request::{ResourceRequest, Target};

/// The group that may do everything.
pub const ADMINISTRATORS: &str = "system:masters";

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// The groups that the user is in.
    pub groups: Vec<String>,
}

impl User {
    /// Someone who showed no credential.
    pub fn anonymous() -> Self {
        Self { name: "system:anonymous".to_owned(), groups: vec!["system:unauthenticated".to_owned()] }
    }
}

/// Allows the request, or says who may not do what. Health, version and discovery are open to everyone.
pub fn authorize(user: &User, target: &Target) -> Result<(), Status> {
    match target {
        Target::Resource(request) if !user.groups.iter().any(|group| group == ADMINISTRATORS) => {
            Err(deny(user, request))
        }
        _ => Ok(()),
    }
}

fn deny(user: &User, request: &ResourceRequest) -> Status {
    let scope = match &request.namespace {
        Some(namespace) => format!("in the namespace {namespace:?}"),
        None => "at the cluster scope".to_owned(),
    };
    let resource = match &request.subresource {
        Some(subresource) => format!("{}/{subresource}", request.resource),
        None => request.resource.clone(),
    };
    let why = format!(
        "User {:?} cannot {} resource {resource:?} in API group {:?} {scope}",
        user.name,
        request.verb.as_str(),
        request.group
    );
    let qualified = Qualified::new(&request.group, &request.resource);
    Status::forbidden(qualified, request.name.as_deref().unwrap_or_default(), &why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::parse;

    fn target(uri: &str) -> Target {
        parse(&http::Method::GET, &uri.parse().unwrap()).unwrap()
    }

    #[test]
    fn an_administrator_may_do_everything() {
        let user = User { name: "admin".into(), groups: vec![ADMINISTRATORS.into()] };
        assert!(authorize(&user, &target("/api/v1/secrets")).is_ok());
    }

    #[test]
    fn anyone_else_reads_discovery_and_is_told_what_is_forbidden() {
        let user = User::anonymous();
        assert!(authorize(&user, &target("/apis")).is_ok());
        let status = authorize(&user, &target("/api/v1/namespaces/a/pods/b/log")).unwrap_err();
        assert_eq!(status.code(), 403);
        let text = status.to_value().to_string();
        for part in ["system:anonymous", "cannot get resource", "pods/log", "in the namespace"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
