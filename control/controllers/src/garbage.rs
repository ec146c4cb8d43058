//! Garbage collection: what becomes of objects whose owners go.
//!
//! Watches of everything that is served keep a [`graph`] of who refers to whom. What a change makes worth a look is looked
//! at: first in the graph, and before anything is done at the API itself, since the graph may lag behind. The
//! [`verdict`] says what is to be done: an object whose owners are all gone goes too; an owner that waits for its dependents
//! (`foregroundDeletion`) goes when those that block it are gone; one that leaves them behind (`orphan`) is taken out of
//! their references first. Kinds that are defined later join within a second.

pub mod graph;
mod kinds;
mod queue;
pub mod verdict;
mod visit;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::{BoxStream, SelectAll};
use kube::Api;
use kube::core::DynamicObject;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use xebec_follow::caught;

use crate::drive::Patience;
use crate::outline::Outline;
use crate::rights::Right;
use crate::run::World;
use graph::{Graph, Uid};
use kinds::{KindKey, Kinds, Served};
use queue::Queue;
use visit::{Outcome, Visit};

/// How many objects are visited at a time.
const AT_ONCE: usize = 20;
/// How often it is looked for new kinds, though nobody said that there are.
const REDISCOVER: Duration = Duration::from_secs(30);
/// How soon after a definition changed its kind is looked for.
const NEW_KIND: Duration = Duration::from_millis(100);
/// How long to wait for the first listing of every kind; then the collector starts with what it has.
const FIRST_LISTING: Duration = Duration::from_secs(30);

type Object = Outline<DynamicObject>;
type Watched = (KindKey, watcher::Result<Event<Object>>);

/// What it may do.
pub(crate) const RIGHTS: &[Right] = &[Right::to(&["get", "list", "watch", "patch", "delete"], "*", &["*"])];

/// Runs until the world ends.
pub(crate) async fn run(world: Arc<World>) {
    let shutdown = world.shutdown.clone();
    let mut collector = Collector::new(world);
    tokio::select! {
        () = shutdown.cancelled() => {}
        () = collector.collect() => {}
    }
}

struct Collector {
    world: Arc<World>,
    graph: Graph,
    kinds: Arc<Kinds>,
    watches: SelectAll<BoxStream<'static, Watched>>,
    ends: HashMap<KindKey, CancellationToken>,
    /// What the first part of a watch has shown so far. It counts once it is whole: an owner that waits for its
    /// dependents must not go because they stand later in the listing.
    listed: HashMap<KindKey, Vec<graph::Node>>,
    unlisted: HashSet<KindKey>,
    queue: Queue,
    visits: JoinSet<(Uid, Outcome)>,
    discover_at: Instant,
    start_at: Instant,
}

impl Collector {
    fn new(world: Arc<World>) -> Self {
        let now = Instant::now();
        Self {
            world,
            graph: Graph::default(),
            kinds: Arc::default(),
            watches: SelectAll::new(),
            ends: HashMap::new(),
            listed: HashMap::new(),
            unlisted: HashSet::new(),
            queue: Queue::default(),
            visits: JoinSet::new(),
            discover_at: now,
            start_at: now + FIRST_LISTING,
        }
    }

    async fn collect(&mut self) {
        loop {
            let now = Instant::now();
            if self.discover_at <= now {
                self.discover().await;
                continue;
            }
            let started = !self.ends.is_empty() && (self.unlisted.is_empty() || self.start_at <= now);
            if started {
                self.visit_due(now);
            }
            let next_visit = self.queue.next_due().filter(|_| started && self.visits.len() < AT_ONCE);
            let begins = Some(self.start_at).filter(|at| !started && *at > now);
            let wake = next_visit.or(begins).map_or(self.discover_at, |at| at.min(self.discover_at));
            tokio::select! {
                Some((kind, event)) = self.watches.next() => self.take(&kind, event),
                Some(visited) = self.visits.join_next() => match visited {
                    Ok((uid, outcome)) => self.conclude(uid, outcome),
                    Err(error) => tracing::error!(%error, "a visit of the garbage collector failed"),
                },
                () = sleep_until(wake) => {}
            }
        }
    }

    /// Looks for the kinds that are served; begins to watch new ones and ceases to watch those that went.
    async fn discover(&mut self) {
        let kinds = match Kinds::discover(&self.world.client).await {
            Ok(kinds) => kinds,
            Err(error) => {
                tracing::warn!(%error, "the garbage collector cannot find out what is served; it tries again");
                self.discover_at = Instant::now() + Duration::from_millis(500);
                return;
            }
        };
        for (key, served) in kinds.collectable() {
            if !self.ends.contains_key(key) {
                let end = CancellationToken::new();
                self.watches.push(watch(&self.world, key.clone(), served, end.clone()));
                self.ends.insert(key.clone(), end);
                self.unlisted.insert(key.clone());
            }
        }
        let gone: Vec<KindKey> = self.ends.keys().filter(|key| !kinds.collects(key)).cloned().collect();
        for key in gone {
            if let Some(end) = self.ends.remove(&key) {
                end.cancel();
            }
            self.unlisted.remove(&key);
            let departed = self.graph.of_kind(&key);
            departed.into_iter().for_each(|uid| self.depart(&uid));
        }
        self.kinds = Arc::new(kinds);
        self.discover_at = Instant::now() + REDISCOVER;
    }

    fn take(&mut self, kind: &KindKey, event: watcher::Result<Event<Object>>) {
        if !self.ends.contains_key(kind) {
            return;
        }
        match event {
            Ok(Event::Init) => drop(self.listed.insert(kind.clone(), Vec::new())),
            Ok(Event::InitApply(object)) => {
                if let Some(listed) = self.listed.get_mut(kind) {
                    listed.extend(graph::Node::of(kind, &object.metadata));
                }
            }
            Ok(Event::InitDone) => {
                self.unlisted.remove(kind);
                let listed = self.listed.remove(kind).unwrap_or_default();
                let there: HashSet<Uid> = listed.iter().map(|node| node.uid.clone()).collect();
                listed.into_iter().for_each(|node| self.observe(node));
                // What the watch missed while it was broken.
                let gone = self.graph.of_kind(kind).into_iter().filter(|uid| !there.contains(uid));
                gone.collect::<Vec<_>>().into_iter().for_each(|uid| self.depart(&uid));
            }
            Ok(Event::Apply(object)) => {
                graph::Node::of(kind, &object.metadata).into_iter().for_each(|node| self.observe(node))
            }
            Ok(Event::Delete(object)) => {
                if let Some(uid) = object.metadata.uid {
                    self.depart(&uid);
                }
            }
            Err(error) => tracing::debug!(kind = kind.kind, %error, "a watch of the garbage collector broke"),
        }
        if kind.kind == "CustomResourceDefinition" || kind.kind == "APIService" {
            self.discover_at = self.discover_at.min(Instant::now() + NEW_KIND);
        }
    }

    fn observe(&mut self, node: graph::Node) {
        let now = Instant::now();
        self.graph.observe(node).into_iter().for_each(|uid| self.queue.push(uid, now));
    }

    fn depart(&mut self, uid: &Uid) {
        let now = Instant::now();
        self.queue.forget(uid);
        self.graph.depart(uid).into_iter().for_each(|uid| self.queue.push(uid, now));
    }

    fn visit_due(&mut self, now: Instant) {
        while self.visits.len() < AT_ONCE
            && let Some(uid) = self.queue.pop(now)
        {
            let Some(visit) = Visit::of(&self.graph, &uid) else {
                self.queue.finish(&uid);
                continue;
            };
            let (world, kinds) = (self.world.clone(), self.kinds.clone());
            self.visits.spawn(async move {
                let outcome = caught(visit.make(&world, &kinds)).await.unwrap_or_else(|error| {
                    tracing::error!(uid, %error, "a visit of the garbage collector failed");
                    Outcome::Again
                });
                (uid, outcome)
            });
        }
    }

    fn conclude(&mut self, uid: Uid, outcome: Outcome) {
        let now = Instant::now();
        match outcome {
            Outcome::Done => self.queue.succeed(&uid),
            Outcome::Departed => self.depart(&uid),
            Outcome::Look(others) => {
                self.queue.succeed(&uid);
                others.into_iter().for_each(|other| self.queue.push(other, now));
            }
            Outcome::Again => {
                self.queue.retry(&uid, now);
            }
            Outcome::UnknownKind => {
                self.queue.retry(&uid, now);
                self.discover_at = self.discover_at.min(now + Duration::from_secs(1));
            }
        }
        self.queue.finish(&uid);
    }
}

fn watch(
    world: &World,
    key: KindKey,
    served: &Served,
    end: CancellationToken,
) -> BoxStream<'static, Watched> {
    let objects: Api<Object> = Api::all_with(world.client.clone(), &served.resource);
    watcher::watcher(objects, watcher::Config::default())
        .backoff(Patience::default())
        .map(move |event| (key.clone(), event))
        .take_until(async move { end.cancelled().await })
        .boxed()
}
