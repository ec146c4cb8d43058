//! What the API serves, for the controllers that mind every kind.

use kube::Client;
use kube::core::ApiResource;
use kube::discovery::{ApiCapabilities, Discovery};

use crate::Error;

/// Every resource, in the most stable version that serves it. A group's preferred version need not serve all of them.
pub(crate) async fn resources(client: &Client) -> Result<Vec<(ApiResource, ApiCapabilities)>, Error> {
    let discovery = Discovery::new(client.clone()).run_aggregated().await?;
    let mut all: Vec<_> = discovery.groups().flat_map(|group| group.resources_by_stability()).collect();
    all.sort_by(|(one, _), (other, _)| (&one.group, &one.plural).cmp(&(&other.group, &other.plural)));
    Ok(all)
}

/// A resource's name among those of all groups.
pub(crate) fn qualified(resource: &ApiResource) -> String {
    if resource.group.is_empty() {
        return resource.plural.clone();
    }
    format!("{}.{}", resource.plural, resource.group)
}
