//! What pods use, as the resource metrics API tells it.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use kube::Client;
use serde::Deserialize;
use xebec_machinery::quantity::Quantity;

use super::proposal::Sample;
use crate::Error;

/// How long a measurement lasts where nobody says.
const WINDOW: SignedDuration = SignedDuration::from_secs(30);

#[derive(Deserialize)]
struct List {
    items: Vec<PodMetrics>,
}

/// What one pod used.
#[derive(Debug, Deserialize)]
pub(super) struct PodMetrics {
    metadata: Named,
    timestamp: Option<Timestamp>,
    window: Option<String>,
    #[serde(default)]
    containers: Vec<ContainerMetrics>,
}

#[derive(Debug, Deserialize)]
struct Named {
    name: String,
}

#[derive(Debug, Deserialize)]
struct ContainerMetrics {
    name: String,
    #[serde(default)]
    usage: BTreeMap<String, String>,
}

/// Asks what the pods of a namespace use.
pub(super) async fn read(client: &Client, namespace: &str) -> Result<Vec<PodMetrics>, Error> {
    let path = format!("/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods");
    // Names of namespaces need no escaping, so the path is always one.
    let request = http::Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError)?;
    Ok(client.request::<List>(request).await?.items)
}

/// What each pod used of a resource, in one container or in all. A pod of which a container tells nothing is left out.
pub(super) fn samples(
    all: &[PodMetrics],
    resource: &str,
    container: Option<&str>,
    now: Timestamp,
) -> BTreeMap<String, Sample> {
    let mut samples = BTreeMap::new();
    for pod in all {
        let counted = || pod.containers.iter().filter(|own| container.is_none_or(|name| name == own.name));
        let amounts: Option<Vec<i128>> =
            counted().map(|own| Some(Quantity::parse(own.usage.get(resource)?).ok()?.nanos())).collect();
        let Some(amounts) = amounts.filter(|amounts| !amounts.is_empty()) else { continue };
        // An extension server may say anything.
        let nanos = amounts.into_iter().fold(0, i128::saturating_add);
        let window = pod.window.as_ref().and_then(|text| text.parse().ok()).unwrap_or(WINDOW);
        let until = pod.timestamp.unwrap_or(now);
        samples.insert(pod.metadata.name.clone(), Sample { nanos, until, window });
    }
    samples
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn containers_add_up_and_a_pod_with_a_silent_one_is_left_out() {
        let all: List = serde_json::from_value(json!({"items": [
            {"metadata": {"name": "a"}, "timestamp": "2026-01-01T00:00:00Z", "window": "15s", "containers": [
                {"name": "x", "usage": {"cpu": "250m"}}, {"name": "y", "usage": {"cpu": "1"}},
            ]},
            {"metadata": {"name": "b"}, "containers": [{"name": "x", "usage": {"cpu": "1"}}, {"name": "y", "usage": {}}]},
        ]}))
        .unwrap();
        let now = Timestamp::UNIX_EPOCH;
        let found = samples(&all.items, "cpu", None, now);
        let a = &found["a"];
        assert_eq!((found.len(), a.nanos, a.window), (1, 1_250_000_000, SignedDuration::from_secs(15)));
        let of_x = samples(&all.items, "cpu", Some("x"), now);
        assert_eq!((of_x["a"].nanos, of_x["b"].until), (250_000_000, now));
    }
}
