//! What to do about a Deployment's ReplicaSets: which to make, which to change, which to delete.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec};
use kube::ResourceExt as _;
use kube::api::ObjectMeta;

use super::rollout::{Bounds, Size, Strategy, Wish, plan};
use super::template::{HASH_LABEL, age_order, current, hash};
use crate::owner::controller_reference;

/// Which change of the template a set stands for; `kubectl rollout history` reads it.
pub const REVISION: &str = "deployment.kubernetes.io/revision";
/// The earlier revisions that a set stood for.
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
/// For how many replicas a set was last sized.
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
/// How many pods there could be with surge when a set was last sized.
const MOST: &str = "deployment.kubernetes.io/max-replicas";
/// The annotations of a Deployment that are not its sets' too.
const OWN: [&str; 6] = [
    "kubectl.kubernetes.io/last-applied-configuration",
    REVISION,
    HISTORY,
    DESIRED,
    MOST,
    "deprecated.deployment.rollback.to",
];
/// How long the list of earlier revisions may be, in bytes.
const HISTORY_LENGTH: usize = 2000;

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The set of the current template, where one is to be made.
    pub create: Option<Box<ReplicaSet>>,
    /// The name of the set of the current template, where there is one.
    pub current: Option<String>,
    /// The sets to change.
    pub changes: Vec<Change>,
    /// The names of the sets that history no longer keeps.
    pub surplus: Vec<String>,
}

/// How one set is to be changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The set.
    pub name: String,
    /// Its size before.
    pub from: i32,
    /// Its size from now on.
    pub to: i32,
    /// The annotations that are new or other.
    pub annotations: BTreeMap<String, String>,
    /// `minReadySeconds`, where it is to be changed.
    pub min_ready_seconds: Option<i32>,
}

/// Decides what to do, by the sets that the Deployment controls and whether pods of old sets still run.
pub fn decide(deployment: &Deployment, sets: &[ReplicaSet], old_pods_run: bool) -> Decision {
    let wish = wish(deployment);
    let mut old: Vec<&ReplicaSet> =
        sets.iter().filter(|set| set.metadata.deletion_timestamp.is_none()).collect();
    old.sort_by_key(|set| age_order(set));
    let newest = old.iter().filter_map(|set| revision(set)).max().unwrap_or(0);
    let fresh = current(&deployment.spec.template, &old);
    old.retain(|set| {
        fresh.is_none_or(|fresh| fresh.uid() != set.uid() || fresh.name_any() != set.name_any())
    });

    let sizes: Vec<Size> = old.iter().map(|set| size(set)).collect();
    let mut steps = plan(wish, fresh.map(size), &sizes);
    if wish.strategy == Strategy::Recreate && old_pods_run && !wish.paused {
        // The sets' statuses do not count pods that are ending.
        steps.current = steps.current.min(fresh.map_or(0, |set| set.spec.replicas.unwrap_or(1)));
    }
    let mut changes = Vec::new();
    let mut create = None;
    match fresh {
        None if wish.paused => {}
        None => create = Some(Box::new(new_set(deployment, wish, steps.current, newest + 1))),
        Some(set) => changes.extend(change_current(deployment, wish, set, steps.current, newest)),
    }
    for (set, to) in old.iter().zip(&steps.old) {
        let from = set.spec.replicas.unwrap_or(1);
        // The sizes' marks go with a size that is given, so that an old set is not touched for nothing.
        let sized = sized(wish);
        let annotations = if *to > 0 || from != *to { missing(set, sized) } else { BTreeMap::new() };
        if from != *to || !annotations.is_empty() {
            changes.push(Change {
                name: set.name_any(),
                from,
                to: *to,
                annotations,
                min_ready_seconds: None,
            });
        }
    }
    let surplus = if is_complete(deployment) { surplus(deployment, &old) } else { Vec::new() };
    Decision { create, current: fresh.map(ReplicaSet::name_any), changes, surplus }
}

fn change_current(
    deployment: &Deployment,
    wish: Wish,
    set: &ReplicaSet,
    to: i32,
    newest: i64,
) -> Option<Change> {
    let mut wanted = inherited(deployment);
    wanted.extend(sized(wish));
    let own = revision(set).unwrap_or(0);
    if own < newest.max(1) {
        wanted.insert(REVISION.to_owned(), (if own == 0 { newest.max(1) } else { newest + 1 }).to_string());
        if own > 0 {
            wanted.insert(HISTORY.to_owned(), history(set, own));
        }
    }
    let annotations = missing(set, wanted);
    let least = deployment.spec.min_ready_seconds.unwrap_or(0);
    let min_ready_seconds = (set.spec.min_ready_seconds.unwrap_or(0) != least).then_some(least);
    let from = set.spec.replicas.unwrap_or(1);
    let same = from == to && annotations.is_empty() && min_ready_seconds.is_none();
    (!same).then(|| Change { name: set.name_any(), from, to, annotations, min_ready_seconds })
}

/// The earlier revisions of a set with this one added; the oldest are forgotten where they grow too many.
fn history(set: &ReplicaSet, revision: i64) -> String {
    let before = set.annotations().get(HISTORY).map_or("", String::as_str);
    let mut all: Vec<String> = before.split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect();
    all.push(revision.to_string());
    while all.iter().map(|one| one.len() + 1).sum::<usize>() > HISTORY_LENGTH {
        all.remove(0);
    }
    all.join(",")
}

/// What a Deployment asks for.
pub fn wish(deployment: &Deployment) -> Wish {
    let spec = &deployment.spec;
    let replicas = spec.replicas.unwrap_or(1);
    let strategy = spec.strategy.as_ref();
    let strategy = match strategy.and_then(|strategy| strategy.type_.as_deref()) {
        Some("Recreate") => Strategy::Recreate,
        _ => {
            let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
            Strategy::RollingUpdate(Bounds::resolve(
                replicas,
                rolling.and_then(|rolling| rolling.max_surge.as_ref()),
                rolling.and_then(|rolling| rolling.max_unavailable.as_ref()),
            ))
        }
    };
    Wish { replicas, strategy, paused: spec.paused.unwrap_or(false) }
}

/// The revision that a set stands for.
pub fn revision(set: &ReplicaSet) -> Option<i64> {
    set.annotations().get(REVISION)?.parse().ok()
}

fn size(set: &ReplicaSet) -> Size {
    let status = set.status.as_ref();
    Size {
        wanted: set.spec.replicas.unwrap_or(1),
        available: status.and_then(|status| status.available_replicas).unwrap_or(0),
        existing: status.map_or(0, |status| status.replicas),
        observed: is_observed(set),
        sized_for: set.annotations().get(DESIRED).and_then(|text| text.parse().ok()),
    }
}

fn is_observed(set: &ReplicaSet) -> bool {
    let observed = set.status.as_ref().and_then(|status| status.observed_generation).unwrap_or(0);
    observed >= set.metadata.generation.unwrap_or(0)
}

fn sized(wish: Wish) -> BTreeMap<String, String> {
    let surge = match wish.strategy {
        Strategy::Recreate => 0,
        Strategy::RollingUpdate(bounds) => bounds.surge,
    };
    BTreeMap::from([
        (DESIRED.to_owned(), wish.replicas.to_string()),
        (MOST.to_owned(), wish.replicas.saturating_add(surge).to_string()),
    ])
}

/// The annotations of a Deployment that its current set has too.
fn inherited(deployment: &Deployment) -> BTreeMap<String, String> {
    let all = deployment.annotations().iter().filter(|(key, _)| !OWN.contains(&key.as_str()));
    all.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Those of the annotations that a set does not have so.
fn missing(set: &ReplicaSet, mut annotations: BTreeMap<String, String>) -> BTreeMap<String, String> {
    annotations.retain(|key, value| set.annotations().get(key) != Some(value));
    annotations
}

fn new_set(deployment: &Deployment, wish: Wish, replicas: i32, revision: i64) -> ReplicaSet {
    let collisions = deployment.status.as_ref().and_then(|status| status.collision_count).unwrap_or(0);
    let hash = hash(&deployment.spec.template, collisions);
    let mut template = deployment.spec.template.clone();
    let labels = template.metadata.get_or_insert_default().labels.get_or_insert_default();
    labels.insert(HASH_LABEL.to_owned(), hash.clone());
    let labels = labels.clone();
    let mut selector = deployment.spec.selector.clone();
    selector.match_labels.get_or_insert_default().insert(HASH_LABEL.to_owned(), hash.clone());
    let mut annotations = inherited(deployment);
    annotations.extend(sized(wish));
    annotations.insert(REVISION.to_owned(), revision.to_string());
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", deployment.name_any())),
            labels: Some(labels),
            annotations: Some(annotations),
            owner_references: Some(vec![controller_reference(deployment)]),
            ..ObjectMeta::default()
        },
        spec: ReplicaSetSpec {
            replicas: Some(replicas),
            min_ready_seconds: deployment.spec.min_ready_seconds,
            selector,
            template: Some(template),
        },
        ..ReplicaSet::default()
    }
}

/// Whether the last status says that the rollout has reached its end.
fn is_complete(deployment: &Deployment) -> bool {
    let Some(status) = &deployment.status else { return false };
    let replicas = deployment.spec.replicas.unwrap_or(1);
    let all = [status.updated_replicas, status.replicas, status.available_replicas];
    all.iter().all(|count| count.unwrap_or(0) == replicas)
        && status.observed_generation.unwrap_or(0) >= deployment.metadata.generation.unwrap_or(0)
}

/// The oldest empty sets above the number that history keeps.
fn surplus(deployment: &Deployment, old: &[&ReplicaSet]) -> Vec<String> {
    let keep = usize::try_from(deployment.spec.revision_history_limit.unwrap_or(10)).unwrap_or(0);
    let over = old.len().saturating_sub(keep);
    let mut oldest = old.to_vec();
    oldest.sort_by_key(|set| revision(set));
    let empty = |set: &&ReplicaSet| {
        set.spec.replicas == Some(0)
            && set.status.as_ref().is_none_or(|status| status.replicas == 0)
            && is_observed(set)
    };
    oldest.into_iter().take(over).filter(empty).map(ReplicaSet::name_any).collect()
}

#[cfg(test)]
mod tests;
