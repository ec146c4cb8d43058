//! Looks at every state that the pods of a namespace pass through, in order, and notes each that breaks a promise.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, ResourceExt as _};
use tokio::task::JoinHandle;

use crate::cluster::Cluster;

/// What is promised of the pods.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Promise {
    /// Never more pods than this that are neither ending nor ended.
    pub(crate) most: usize,
    /// Never fewer than this that are ready and not ending.
    pub(crate) least: usize,
}

#[derive(Default)]
struct Book {
    promise: Option<Promise>,
    in_order: bool,
    one_image: bool,
    pods: BTreeMap<String, Pod>,
    broken: Vec<String>,
}

/// The auditor of the pods with some labels.
pub(crate) struct Auditor {
    book: Arc<Mutex<Book>>,
    task: JoinHandle<()>,
}

impl Drop for Auditor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Auditor {
    pub(crate) async fn of(cluster: &Cluster, labels: &str) -> Self {
        let api = cluster.api::<Pod>();
        let listed = api.list(&ListParams::default().labels(labels)).await.unwrap();
        let book = Arc::new(Mutex::new(Book::default()));
        for pod in listed.items {
            book.lock().unwrap().pods.insert(pod.name_any(), pod);
        }
        let version = listed.metadata.resource_version.unwrap_or_default();
        let task = tokio::spawn(follow(api, labels.to_owned(), version, book.clone()));
        Self { book, task }
    }

    /// From now on this is promised.
    pub(crate) fn promise(&self, most: usize, least: usize) {
        self.book.lock().unwrap().promise = Some(Promise { most, least });
    }

    /// From now on it is promised that no pod stands before those of lower ordinals were made.
    pub(crate) fn in_order(&self) {
        self.book.lock().unwrap().in_order = true;
    }

    /// From now on it is promised that all pods that have not ended have the same image.
    pub(crate) fn one_image(&self) {
        self.book.lock().unwrap().one_image = true;
    }

    /// Fails if a promise was broken since the beginning.
    pub(crate) fn check(&self) {
        let book = self.book.lock().unwrap();
        assert!(!self.task.is_finished(), "the auditor's watch ended");
        assert!(book.broken.is_empty(), "{} broken promises:\n{}", book.broken.len(), book.broken.join("\n"));
    }
}

async fn follow(api: Api<Pod>, labels: String, version: String, book: Arc<Mutex<Book>>) {
    let parameters = WatchParams::default().labels(&labels);
    let mut events = api.watch(&parameters, &version).await.unwrap().boxed();
    while let Some(event) = events.try_next().await.unwrap() {
        let mut book = book.lock().unwrap();
        match event {
            WatchEvent::Added(pod) | WatchEvent::Modified(pod) => {
                book.pods.insert(pod.name_any(), pod);
            }
            WatchEvent::Deleted(pod) => {
                book.pods.remove(&pod.name_any());
            }
            WatchEvent::Bookmark(_) => continue,
            WatchEvent::Error(error) => panic!("the auditor's watch failed: {error}"),
        }
        book.audit();
    }
}

fn is_active(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    pod.metadata.deletion_timestamp.is_none() && !matches!(phase, Some("Succeeded" | "Failed"))
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.into_iter().any(|one| one.type_ == "Ready" && one.status == "True");
    ready && is_active(pod)
}

impl Book {
    fn audit(&mut self) {
        for pod in self.pods.values() {
            let controllers = pod.owner_references().iter().filter(|owner| owner.controller == Some(true));
            if controllers.count() > 1 {
                self.broken.push(format!("{} has several controllers", pod.name_any()));
            }
        }
        if self.in_order {
            // Those that are ending still hold their place.
            let ordinals = self.pods.keys().filter_map(|name| name.rsplit_once('-')?.1.parse::<usize>().ok());
            let ordinals: std::collections::BTreeSet<usize> = ordinals.collect();
            let gaps = ordinals.iter().enumerate().filter(|(at, ordinal)| at != *ordinal).count();
            // One may be missing in the middle: the one that an update has ended and not made anew.
            if ordinals.last().is_some_and(|last| last + 1 > ordinals.len() + 1) {
                self.broken.push(format!("{gaps} ordinals of {ordinals:?} stand above missing ones"));
            }
        }
        if self.one_image {
            let images = self.pods.values().filter_map(|pod| pod.spec.as_ref()?.containers[0].image.clone());
            let images: std::collections::BTreeSet<String> = images.collect();
            if images.len() > 1 {
                self.broken.push(format!("pods of {images:?} stand at once"));
            }
        }
        let Some(promise) = self.promise else { return };
        let active = self.pods.values().filter(|pod| is_active(pod)).count();
        let ready = self.pods.values().filter(|pod| is_ready(pod)).count();
        if active > promise.most || ready < promise.least {
            let said = format!("{active} active and {ready} ready pods; promised were {promise:?}");
            self.broken.push(said);
        }
    }
}
