//! Who asks.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The group of everyone who showed a credential.
pub const AUTHENTICATED: &str = "system:authenticated";
/// The group of everyone who showed none.
pub const UNAUTHENTICATED: &str = "system:unauthenticated";
/// The group that may do everything.
pub const ADMINISTRATORS: &str = "system:masters";
/// The name of someone who showed no credential.
pub const ANONYMOUS: &str = "system:anonymous";
/// Who acts where the API does something of its own accord.
pub const SERVER: &str = "system:apiserver";
/// What stands before the names of service accounts.
pub const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// Who asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: String,
    /// What tells the user from others of the name that were before; often empty.
    pub uid: String,
    /// The groups that the user is in.
    pub groups: Vec<String>,
    /// What else is known of the user.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// A user of this name in these groups.
    pub fn new<'a>(name: &str, groups: impl IntoIterator<Item = &'a str>) -> Self {
        let groups = groups.into_iter().map(str::to_owned).collect();
        Self { name: name.to_owned(), groups, ..Self::default() }
    }

    /// Someone who showed no credential.
    pub fn anonymous() -> Self {
        Self::new(ANONYMOUS, [UNAUTHENTICATED])
    }

    /// The service account of this name.
    pub fn service_account(namespace: &str, name: &str) -> Self {
        let groups =
            ["system:serviceaccounts", &format!("system:serviceaccounts:{namespace}"), AUTHENTICATED];
        Self::new(&format!("{SERVICE_ACCOUNT}{namespace}:{name}"), groups)
    }

    /// Whether the user may do everything.
    pub fn is_administrator(&self) -> bool {
        self.is_in(ADMINISTRATORS)
    }

    /// Whether the user is in the group.
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }

    /// The user as `UserInfo` of authentication.k8s.io tells it.
    pub fn info(&self) -> Value {
        let mut info = Map::new();
        info.insert("username".to_owned(), self.name.clone().into());
        if !self.uid.is_empty() {
            info.insert("uid".to_owned(), self.uid.clone().into());
        }
        if !self.groups.is_empty() {
            info.insert("groups".to_owned(), self.groups.clone().into());
        }
        if !self.extra.is_empty() {
            let extra = self.extra.iter().map(|(key, values)| (key.clone(), values.clone().into()));
            info.insert("extra".to_owned(), Value::Object(extra.collect()));
        }
        info.into()
    }
}

/// The namespace and name of the service account that a user's name speaks of.
pub fn service_account_of(name: &str) -> Option<(&str, &str)> {
    let (namespace, name) = name.strip_prefix(SERVICE_ACCOUNT)?.split_once(':')?;
    (!namespace.is_empty() && !name.is_empty() && !name.contains(':')).then_some((namespace, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_account_is_known_by_its_name() {
        let user = User::service_account("shop", "web");
        assert_eq!(service_account_of(&user.name), Some(("shop", "web")));
        assert!(user.is_in("system:serviceaccounts:shop"));
        for name in [
            "admin",
            "system:serviceaccount:shop",
            "system:serviceaccount::web",
            "system:serviceaccount:a:b:c",
        ] {
            assert_eq!(service_account_of(name), None, "{name}");
        }
    }
}
