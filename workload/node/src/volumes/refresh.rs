//! What keeps a pod's volumes as the objects are that their files come from.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Secret, Volume};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::{atomic, blocking, fs_group, payload};
use crate::place::Place;
use crate::pod::Life;
use crate::slot::BackOff;

/// The first and the longest pause before volumes are tried again that could not be brought up to date.
const AGAIN: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(120));

/// The tasks that do it; they end with this.
#[derive(Debug, Default)]
pub(crate) struct Fresh {
    _tasks: JoinSet<()>,
}

impl Place {
    /// Keeps the volumes up to date for as long as what this gives is held.
    pub(crate) fn keep_fresh(&self, life: &Arc<Life>) -> Fresh {
        let spec = life.spec();
        let volumes: Vec<Volume> = spec
            .into_iter()
            .flat_map(|spec| spec.volumes.iter().flatten())
            .filter(|volume| payload::is_one(volume))
            .cloned()
            .collect();
        let mut tasks = JoinSet::new();
        if volumes.is_empty() {
            return Fresh::default();
        }
        let changed = Arc::new(Notify::new());
        let (mut maps, mut secrets) = (BTreeSet::new(), BTreeSet::new());
        for volume in &volumes {
            let (own_maps, own_secrets) = payload::origins(volume);
            maps.extend(own_maps);
            secrets.extend(own_secrets);
        }
        for name in maps {
            tasks.spawn(look::<ConfigMap>(life.clone(), name, changed.clone()));
        }
        for name in secrets {
            tasks.spawn(look::<Secret>(life.clone(), name, changed.clone()));
        }
        tasks.spawn(follow(life.clone(), self.clone(), volumes, changed));
        Fresh { _tasks: tasks }
    }
}

/// Tells of each change of one object.
async fn look<T>(life: Arc<Life>, name: String, changed: Arc<Notify>)
where
    T: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + 'static,
{
    let api: Api<T> = Api::namespaced(life.node.client.clone(), &life.pod.namespace().unwrap_or_default());
    let only = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut events = Box::pin(watcher::watcher(api, only).default_backoff());
    while let Some(event) = events.next().await {
        if let Ok(watcher::Event::Apply(_) | watcher::Event::InitApply(_)) = event {
            changed.notify_one();
        }
    }
}

async fn follow(life: Arc<Life>, place: Place, volumes: Vec<Volume>, changed: Arc<Notify>) {
    let mut pod = life.latest.subscribe();
    let (address, group) = (place.address.to_string(), fs_group(&life));
    let mut pace = Pace::default();
    loop {
        let due = pace.pause(place.volumes.tokens.due());
        tokio::select! {
            () = changed.notified() => {}
            Ok(()) = pod.changed() => {}
            () = tokio::time::sleep(due.unwrap_or_default()), if due.is_some() => {}
        }
        let mut is_behind = false;
        for volume in &volumes {
            let Some(made) = place.volumes.made.get(&volume.name) else { continue };
            let fresh = payload::of(&life, volume, &address, &place.volumes.tokens).await;
            let path = made.path.clone();
            let written = match fresh {
                Ok(payload) => blocking(move || atomic::write(&path, &payload, group))
                    .await
                    .map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            // What was there stays until it can be replaced.
            match written {
                Ok(Ok(_)) => continue,
                Ok(Err(error)) => tracing::debug!(volume = volume.name, %error, "a volume is behind"),
                Err(error) => tracing::debug!(volume = volume.name, error, "a volume is behind"),
            }
            is_behind = true;
        }
        pace.note(is_behind);
    }
}

/// When volumes are looked at though nobody told of a change.
#[derive(Debug)]
struct Pace {
    back_off: BackOff,
    /// The pause after a round that left some behind.
    behind: Option<Duration>,
}

impl Default for Pace {
    fn default() -> Self {
        Self { back_off: BackOff::new(AGAIN), behind: None }
    }
}

impl Pace {
    /// How a round went.
    fn note(&mut self, is_behind: bool) {
        if !is_behind {
            self.back_off.reset();
        }
        self.behind = is_behind.then(|| self.back_off.pause());
    }

    /// How long until the next round, if it need not wait for a change. `due` is when a token is to be replaced: after a round
    /// that failed it may stay due for as long as it likes.
    fn pause(&self, due: Option<Duration>) -> Option<Duration> {
        self.behind.or(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_is_tried_again_after_a_pause_however_long_it_has_been_due() {
        let mut pace = Pace::default();
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!((pace.pause(None), pace.pause(seconds(7))), (None, seconds(7)));
        for wait in [10, 20, 40, 80, 120, 120] {
            pace.note(true);
            assert_eq!(pace.pause(Some(Duration::ZERO)), seconds(wait));
        }
        pace.note(false);
        assert_eq!(pace.pause(seconds(7)), seconds(7));
        pace.note(true);
        assert_eq!(pace.pause(None), seconds(10), "the pauses begin anew");
    }
}
