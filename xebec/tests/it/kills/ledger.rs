//! What writers were told of their objects, and what watchers saw of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use kube::ResourceExt as _;
use kube::core::DynamicObject;

/// What became of an object: its count, or none where it is gone, and at which revision, where that was said.
#[derive(Debug, Clone, Copy)]
pub(super) struct Told {
    pub(super) count: Option<u64>,
    pub(super) revision: Option<u64>,
}

/// A change as a watcher sees it.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) name: String,
    pub(super) count: Option<u64>,
    pub(super) revision: u64,
}

/// What all writers were told, by kind and name.
#[derive(Default)]
pub(super) struct Ledger(Mutex<BTreeMap<(&'static str, String), Vec<Told>>>);

impl Ledger {
    fn inside(&self) -> MutexGuard<'_, BTreeMap<(&'static str, String), Vec<Told>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what a writer was told, unless it knew that before.
    pub(super) fn note(&self, kind: &'static str, name: &str, told: Told) {
        let mut inside = self.inside();
        let all = inside.entry((kind, name.to_owned())).or_default();
        if all.last().and_then(|last| last.count) != told.count {
            all.push(told);
        }
    }

    /// How many writes were acknowledged.
    pub(super) fn acknowledged(&self) -> usize {
        self.inside().values().map(Vec::len).sum()
    }

    /// How many of them were of a kind.
    pub(super) fn of(&self, kind: &str) -> usize {
        self.inside().iter().filter(|((own, _), _)| *own == kind).map(|(_, told)| told.len()).sum()
    }

    /// The newest revision that was acknowledged.
    pub(super) fn newest(&self) -> u64 {
        self.inside().values().flatten().filter_map(|told| told.revision).max().unwrap_or(0)
    }

    /// Fails unless what is there, and what each watcher saw, is what the writers were told.
    pub(super) fn judge<'a>(
        &self,
        kind: &'static str,
        there: &[DynamicObject],
        seen: impl Iterator<Item = &'a [Change]>,
    ) {
        let inside = self.inside();
        let told: BTreeMap<&str, &[Told]> = inside
            .iter()
            .filter(|((own, _), _)| *own == kind)
            .map(|((_, name), told)| (&**name, &**told))
            .collect();
        let present: BTreeMap<String, Change> =
            there.iter().map(|object| (object.name_any(), Change::of(kind, object))).collect();
        for (name, told) in &told {
            let (last, found) = (told[told.len() - 1], present.get(*name));
            assert_eq!(
                found.map(|found| found.count),
                last.count.map(Some),
                "{kind} {name}, of which was told {told:?}"
            );
            let revision = found.map(|found| found.revision);
            assert_eq!(revision, last.revision.filter(|_| last.count.is_some()), "{kind} {name}");
        }
        assert!(
            present.keys().all(|name| told.contains_key(&**name)),
            "nobody made some of {:?}",
            present.keys()
        );
        if kind == "Service" {
            let addresses = there.iter().filter_map(|service| service.data["spec"]["clusterIP"].as_str());
            let apart: BTreeSet<_> = addresses.collect();
            assert_eq!(apart.len(), there.len(), "services share addresses, or have none: {apart:?}");
        }
        for changes in seen {
            assert!(
                changes.is_sorted_by(|one, next| one.revision < next.revision),
                "out of order: {changes:?}"
            );
            for (name, told) in &told {
                let own: Vec<&Change> = changes.iter().filter(|change| change.name == **name).collect();
                let same = |(change, told): (&&Change, &Told)| {
                    change.count == told.count
                        && told.revision.is_none_or(|revision| revision == change.revision)
                };
                let is_whole = own.len() == told.len() && own.iter().zip(*told).all(same);
                assert!(is_whole, "{kind} {name}: a watcher saw {own:#?}, and told was {told:#?}");
            }
        }
        let counts = told.values().map(|told| told.iter().filter_map(|told| told.count).collect::<Vec<_>>());
        for counts in counts {
            assert!(
                counts.iter().copied().eq(1..=counts.len() as u64),
                "a count is missing or there twice: {counts:?}"
            );
        }
    }
}

impl Change {
    /// What an object says, all of which was written in one go.
    pub(super) fn of(kind: &str, object: &DynamicObject) -> Self {
        let (left, right) = (object.annotations().get("left"), object.labels().get("right"));
        assert_eq!(left, right, "half a write: {object:?}");
        if kind == "ConfigMap" {
            assert_eq!(object.data["data"]["stamped"], "yes", "the webhook was passed by: {object:?}");
        }
        let number = |text: Option<&String>| text.and_then(|text| text.parse().ok()).expect("a number");
        Self { name: object.name_any(), count: Some(number(left)), revision: revision(object) }
    }

    /// The end of an object.
    pub(super) fn gone(object: &DynamicObject) -> Self {
        Self { name: object.name_any(), count: None, revision: revision(object) }
    }
}

fn revision(object: &DynamicObject) -> u64 {
    object.resource_version().and_then(|revision| revision.parse().ok()).expect("a revision")
}
