//! What an earlier process left of a pod: containers that go on, a network, and what it told the API.
//!
//! A program that was killed leaves its containers running, each with its monitor. The next one takes them over where the
//! pod is still wanted: the container is watched on, its restarts and its log go on as if nothing had been. What is
//! nowhere to be found has ended unseen.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod};
use xebec_container::{Container, ContainerId};

use crate::agent::Options;
use crate::state::{Phase, Progress};

/// The parts of a container's name: its pod, its place in the pod, and how often it was started before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) pod: String,
    /// `c0` for the first container, `i1` for the second init container, `e0` for the first ephemeral one.
    pub(crate) place: String,
    pub(crate) attempt: u32,
}

impl Name {
    pub(crate) fn parse(id: &ContainerId) -> Option<Self> {
        let mut parts = id.as_str().split('.');
        let (pod, place, attempt) = (parts.next()?, parts.next()?, parts.next()?.parse().ok()?);
        parts.next().is_none().then(|| Self { pod: pod.to_owned(), place: place.to_owned(), attempt })
    }

    pub(crate) fn id(&self) -> Result<ContainerId, crate::Error> {
        Ok(format!("{}.{}.{}", self.pod, self.place, self.attempt).parse()?)
    }
}

/// What was found of one pod on this machine.
#[derive(Debug, Default)]
pub(crate) struct Leftovers {
    pub(crate) containers: Vec<(Name, Container)>,
    /// Whether its network is still there.
    pub(crate) has_network: bool,
}

/// What is known of a pod's earlier life here.
#[derive(Debug, Default)]
pub(crate) struct Past {
    pub(crate) started: Option<Timestamp>,
    /// Whether its place is as its containers left it, so that init containers need not run again.
    pub(crate) is_whole: bool,
    statuses: HashMap<String, ContainerStatus>,
    containers: Mutex<HashMap<String, (Name, Container)>>,
    old: Mutex<Vec<Container>>,
}

impl Past {
    pub(crate) fn of(pod: &Pod, leftovers: Leftovers) -> Self {
        let status = pod.status.clone().unwrap_or_default();
        let all = status.init_container_statuses.into_iter().flatten();
        let all = all.chain(status.container_statuses.into_iter().flatten());
        let all = all.chain(status.ephemeral_container_statuses.into_iter().flatten());
        let mut containers: HashMap<String, (Name, Container)> = HashMap::new();
        let mut old = Vec::new();
        let mut all_containers = leftovers.containers;
        all_containers.sort_by_key(|(name, _)| name.attempt);
        for (name, container) in all_containers {
            // Of two, the one that began last counts; the other ended and was on its way out.
            let before = containers.insert(name.place.clone(), (name, container));
            old.extend(before.map(|(_, container)| container));
        }
        Self {
            started: status.start_time.map(|time| time.0),
            is_whole: leftovers.has_network,
            statuses: all.map(|own| (own.name.clone(), own)).collect(),
            containers: Mutex::new(containers),
            old: Mutex::new(old),
        }
    }

    /// What was told of a container, with what of it is there.
    pub(crate) fn fill(&self, progress: &mut Progress, place: &str) {
        let containers = self.containers.lock().unwrap_or_else(PoisonError::into_inner);
        let found = containers.get(place).map(|(name, container)| (name.attempt, container.id().to_string()));
        let status = self.statuses.get(&progress.name);
        recall(progress, status, found);
    }

    /// Whether containers go on that nobody has taken yet.
    pub(crate) fn has_containers(&self) -> bool {
        !self.containers.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Ends the containers that nobody took, or that are no longer the newest of their place.
    pub(crate) async fn clear(&self) {
        let left = std::mem::take(&mut *self.containers.lock().unwrap_or_else(PoisonError::into_inner));
        let old = std::mem::take(&mut *self.old.lock().unwrap_or_else(PoisonError::into_inner));
        for container in left.into_values().map(|(_, container)| container).chain(old) {
            delete(container).await;
        }
    }

    /// The container that goes on at this place of the pod.
    pub(crate) fn take(&self, place: &str) -> Option<(Name, Container)> {
        self.containers.lock().unwrap_or_else(PoisonError::into_inner).remove(place)
    }
}

/// Fills in what a container's last status says, given the attempt and the name of the container that is there.
fn recall(progress: &mut Progress, status: Option<&ContainerStatus>, found: Option<(u32, String)>) {
    let empty = ContainerStatus::default();
    let status = status.unwrap_or(&empty);
    let told = status.state.as_ref();
    progress.image_id.clone_from(&status.image_id);
    progress.id = status.container_id.clone().unwrap_or_default();
    progress.restarts = status.restart_count;
    progress.resources.clone_from(&status.resources);
    progress.last = status.last_state.as_ref().and_then(ended);
    let since = told
        .and_then(|state| state.running.as_ref())
        .map(|running| running.started_at.as_ref().map_or_else(Timestamp::now, |time| time.0));
    if let Some((attempt, id)) = found {
        let id = format!("xebec://{id}");
        let is_told = progress.id == id;
        progress.id = id;
        progress.started = is_told && status.started == Some(true);
        progress.ready = is_told && status.ready;
        progress.restarts = i32::try_from(attempt).unwrap_or(i32::MAX);
        progress.phase = Phase::Running { since: since.filter(|_| is_told).unwrap_or_else(Timestamp::now) };
        return;
    }
    if let Some(ended) = told.and_then(ended) {
        progress.phase = ended;
    } else if let Some(since) = since {
        progress.phase = Phase::Ended {
            code: 137,
            signal: None,
            reason: "ContainerStatusUnknown",
            message: "The container could not be located when the node started. It used to be Running"
                .to_owned(),
            began: since,
            ended: Timestamp::now(),
        };
    }
}

fn ended(state: &ContainerState) -> Option<Phase> {
    let terminated = state.terminated.as_ref()?;
    let moment = |time: &Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>| {
        time.as_ref().map_or_else(Timestamp::now, |time| time.0)
    };
    Some(Phase::Ended {
        code: terminated.exit_code,
        signal: terminated.signal,
        reason: known_reason(terminated.reason.as_deref().unwrap_or_default()),
        message: terminated.message.clone().unwrap_or_default(),
        began: moment(&terminated.started_at),
        ended: moment(&terminated.finished_at),
    })
}

/// The reason for an end as this crate writes it.
fn known_reason(text: &str) -> &'static str {
    ["Completed", "OOMKilled", "StartError", "ContainerStatusUnknown"]
        .into_iter()
        .find(|known| *known == text)
        .unwrap_or("Error")
}

/// Takes away all containers with their networks and identities: none may outlive a node that ends itself.
pub(crate) async fn clear(options: &Options) {
    let left = leftovers(options).await.into_values().flatten();
    futures::future::join_all(left.map(|(_, container)| delete(container))).await;
    let Ok(containers) = &options.containers else { return };
    let network = containers.network.clone();
    let detached = tokio::task::spawn_blocking(move || {
        network.pods().into_keys().filter_map(|pod| network.detach(&pod).err()).collect::<Vec<_>>()
    });
    for error in detached.await.unwrap_or_default() {
        tracing::warn!(%error, "cannot take a pod's network away");
    }
    for pod in containers.runtime.user_namespaces() {
        if let Err(error) = containers.runtime.remove_user_namespace(&pod).await {
            tracing::warn!(pod = pod.as_str(), %error, "cannot let go of a pod's identities");
        }
    }
}

/// The containers that an earlier process left, by the pods' uids.
pub(crate) async fn leftovers(options: &Options) -> HashMap<String, Vec<(Name, Container)>> {
    let mut found: HashMap<String, Vec<(Name, Container)>> = HashMap::new();
    let Ok(containers) = &options.containers else { return found };
    let all = match containers.runtime.recover().await {
        Ok(all) => all,
        Err(error) => {
            tracing::warn!(%error, "cannot look for containers of an earlier run");
            return found;
        }
    };
    for container in all {
        match Name::parse(container.id()) {
            Some(name) => found.entry(name.pod.clone()).or_default().push((name, container)),
            None => delete(container).await,
        }
    }
    found
}

pub(crate) async fn delete(container: Container) {
    let id = container.id().to_string();
    if let Err(error) = container.delete().await {
        tracing::warn!(container = id, %error, "cannot clean up a container");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(text: serde_json::Value) -> ContainerStatus {
        serde_json::from_value(text).unwrap_or_default()
    }

    fn recalled(status: &ContainerStatus, found: Option<(u32, &str)>) -> Progress {
        let mut progress = Progress::new("web", "image", "ContainerCreating");
        recall(&mut progress, Some(status), found.map(|(attempt, id)| (attempt, id.to_owned())));
        progress
    }

    #[test]
    fn names_are_read_back() {
        let name = Name { pod: "0a-1b".to_owned(), place: "c2".to_owned(), attempt: 7 };
        assert_eq!(name.id().ok().as_ref().and_then(Name::parse), Some(name));
        for other in ["0a-1b.c2", "0a.c2.x", "0a.c2.7.8"] {
            assert_eq!(other.parse().ok().as_ref().and_then(Name::parse), None, "{other}");
        }
    }

    #[test]
    fn a_container_that_is_there_goes_on_as_it_was() {
        let told = status(serde_json::json!({
            "name": "web", "image": "image", "imageID": "image@sha256:0", "ready": true, "restartCount": 3,
            "containerID": "xebec://u.c0.3", "state": {"running": {"startedAt": "2024-01-01T00:00:00Z"}},
        }));
        let own = recalled(&told, Some((3, "u.c0.3")));
        let since: Timestamp = "2024-01-01T00:00:00Z".parse().unwrap_or_default();
        assert_eq!((own.restarts, own.phase), (3, Phase::Running { since }));
        // The status came too late to tell of its last start.
        let own = recalled(&told, Some((4, "u.c0.4")));
        assert_eq!((own.restarts, own.id.as_str()), (4, "xebec://u.c0.4"));
        assert!(matches!(own.phase, Phase::Running { since: later } if later > since));
    }

    #[test]
    fn a_container_that_is_not_there_has_ended_unseen() {
        let told = status(serde_json::json!({
            "name": "web", "image": "image", "imageID": "", "ready": true, "restartCount": 1,
            "state": {"running": {"startedAt": "2024-01-01T00:00:00Z"}},
        }));
        let own = recalled(&told, None);
        assert_eq!(own.restarts, 1);
        assert!(matches!(own.phase, Phase::Ended { code: 137, reason: "ContainerStatusUnknown", .. }));
        let done = status(serde_json::json!({
            "name": "web", "image": "image", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": 0, "reason": "Completed"}},
        }));
        assert!(matches!(recalled(&done, None).phase, Phase::Ended { code: 0, reason: "Completed", .. }));
    }
}
