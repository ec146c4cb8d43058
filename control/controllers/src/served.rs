//! What the API serves, for the controllers that mind every kind.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use kube::Client;
use kube::core::discovery::v2::{APIGroupDiscovery, APIResourceDiscovery};
use kube::core::{ApiResource, Version};

use crate::Error;

/// A resource and what can be done with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kind {
    pub(crate) resource: ApiResource,
    pub(crate) is_namespaced: bool,
    verbs: Vec<String>,
}

impl Kind {
    fn of(group: &str, version: &str, api_version: &str, told: APIResourceDiscovery) -> Self {
        let resource = ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version: api_version.to_owned(),
            kind: told.response_kind.and_then(|kind| kind.kind).unwrap_or_default(),
            plural: told.resource.unwrap_or_default(),
        };
        Self { resource, is_namespaced: told.scope.as_deref() == Some("Namespaced"), verbs: told.verbs }
    }

    /// Whether the API does this with it.
    pub(crate) fn can(&self, verb: &str) -> bool {
        self.verbs.iter().any(|own| own == verb)
    }

    /// Its name among those of all groups.
    pub(crate) fn qualified(&self) -> String {
        let ApiResource { group, plural, .. } = &self.resource;
        if group.is_empty() { plural.clone() } else { format!("{plural}.{group}") }
    }
}

/// What the API serves, all seen at one moment: what has no resources then is among what is stale then.
#[derive(Debug, Default)]
pub(crate) struct Served {
    /// Every resource, in the most stable version that serves it. A group's preferred version need not serve all of them.
    pub(crate) kinds: Vec<Kind>,
    /// The versions of groups whose servers do not say now what they have.
    pub(crate) stale: Vec<String>,
}

impl Served {
    /// Asks the API.
    pub(crate) async fn look(client: &Client) -> Result<Self, Error> {
        let core = client.list_core_api_versions_aggregated().await?;
        let others = client.list_api_groups_aggregated().await?;
        Ok(Self::of(core.items.into_iter().chain(others.items)))
    }

    fn of(groups: impl Iterator<Item = APIGroupDiscovery>) -> Self {
        let mut served = Self::default();
        for told in groups {
            let group = told.metadata.and_then(|metadata| metadata.name).unwrap_or_default();
            let versions = told.versions.into_iter();
            let mut versions: Vec<_> =
                versions.map(|told| (told.version.clone().unwrap_or_default(), told)).collect();
            versions.sort_by_cached_key(|(version, _)| Reverse(Version::parse(version).priority()));
            let mut seen = BTreeSet::new();
            for (version, told) in versions {
                let api_version =
                    if group.is_empty() { version.clone() } else { format!("{group}/{version}") };
                let kinds =
                    told.resources.into_iter().map(|own| Kind::of(&group, &version, &api_version, own));
                served.kinds.extend(kinds.filter(|own| seen.insert(own.resource.plural.clone())));
                if told.freshness.as_deref() == Some("Stale") {
                    served.stale.push(api_version);
                }
            }
        }
        let place = |own: &Kind| (own.resource.group.clone(), own.resource.plural.clone());
        served.kinds.sort_by_cached_key(place);
        served
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn each_resource_is_known_in_its_most_stable_version_and_the_silent_are_named() {
        let own = |plural: &str, scope: &str| {
            json!({
                "resource": plural, "responseKind": {"kind": "Own"}, "scope": scope, "verbs": ["list", "delete"],
            })
        };
        let version = |name: &str, freshness: &str, resources: Value| json!({"version": name, "freshness": freshness, "resources": resources});
        let told = json!([
            {"metadata": {"name": "shop.io"}, "versions": [
                version("v1beta1", "Current", json!([own("routes", "Namespaced"), own("grants", "Namespaced")])),
                version("v1", "Stale", json!([own("routes", "Cluster")])),
            ]},
            {"metadata": {"name": "gone.io"}, "versions": [version("v2", "Stale", json!([]))]},
            {"metadata": {}, "versions": [version("v1", "Current", json!([own("pods", "Namespaced")]))]},
        ]);
        let groups: Vec<APIGroupDiscovery> = serde_json::from_value(told).unwrap();
        let served = Served::of(groups.into_iter());
        let seen = |own: &Kind| (own.qualified(), own.resource.api_version.clone(), own.is_namespaced);
        let all: Vec<_> = served.kinds.iter().map(seen).collect();
        let text =
            |name: &str, version: &str, is_namespaced| (name.to_owned(), version.to_owned(), is_namespaced);
        assert_eq!(
            all,
            [
                text("pods", "v1", true),
                text("grants.shop.io", "shop.io/v1beta1", true),
                text("routes.shop.io", "shop.io/v1", false),
            ]
        );
        assert!(served.kinds.iter().all(|own| own.can("delete") && !own.can("deletecollection")));
        assert_eq!(served.stale, ["shop.io/v1", "gone.io/v2"]);
    }
}
