//! Clients that mean ill, one kind after the other: each is told what is wrong, the server stays within its memory, and
//! those beside them wait no longer than twice what they wait on a server at rest.

mod arena;
mod bodies;
mod connections;
mod expressions;
mod gauge;
mod webhooks;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;

use arena::Arena;
use gauge::{Gauge, Latency};

/// How often a measure may be taken again, as the machine may have other work.
const ROUNDS: usize = 4;
/// How long an attack goes on before the others are looked at.
const AHEAD: Duration = Duration::from_millis(200);
/// How long it takes until those who were told to rest do.
const CALM: Duration = Duration::from_millis(500);
/// How often those who rest look whether they still are to.
const BREATH: Duration = Duration::from_millis(20);
/// The most that the server may need beside what it needs at rest, in KiB.
const MEMORY: u64 = 400 << 10;

/// One kind of attackers, at work until this is dropped.
struct Attack {
    name: &'static str,
    at_work: JoinSet<()>,
    /// How many of their requests came to what they should come to.
    told: Arc<AtomicUsize>,
    /// Whether they rest.
    quiet: Arc<AtomicBool>,
}

impl Attack {
    fn new(name: &'static str) -> Self {
        Self { name, at_work: JoinSet::new(), told: Arc::default(), quiet: Arc::default() }
    }

    /// Lets as many attackers do the same again and again with a pause between.
    fn by<F, A>(mut self, count: usize, pause: Duration, attacker: A) -> Self
    where
        A: Fn(usize) -> F + Clone + Send + 'static,
        F: Future<Output = ()> + Send,
    {
        for number in 0..count {
            let (attacker, told, quiet) = (attacker.clone(), self.told.clone(), self.quiet.clone());
            self.at_work.spawn(async move {
                for turn in 0.. {
                    while quiet.load(Ordering::Relaxed) {
                        tokio::time::sleep(BREATH).await;
                    }
                    attacker(number + turn * count).await;
                    told.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(pause).await;
                }
            });
        }
        self
    }

    /// Fails where an attacker was not told what it should be, and where none has done anything yet.
    async fn check(&mut self) {
        while let Some(ended) = self.at_work.try_join_next() {
            ended.unwrap_or_else(|why| panic!("{}: {why}", self.name));
        }
        let waiting = async {
            while self.told.load(Ordering::Relaxed) == 0 {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let told = tokio::time::timeout(Duration::from_secs(60), waiting).await;
        assert!(told.is_ok(), "{}: nobody came to anything", self.name);
    }
}

/// Measures the others while an attack goes on, again where they waited too long.
async fn endured(gauge: &Gauge, rest: &mut Latency, attack: &mut Attack) {
    let mut last = String::new();
    for round in 0..ROUNDS {
        if round > 0 {
            // The machine may have become slower for everybody.
            attack.quiet.store(true, Ordering::Relaxed);
            tokio::time::sleep(CALM).await;
            *rest = gauge.measure().await;
            attack.quiet.store(false, Ordering::Relaxed);
        }
        attack.check().await;
        tokio::time::sleep(AHEAD).await;
        let under = gauge.measure().await;
        attack.check().await;
        last = format!("{}: {under} under attack, {rest} at rest", attack.name);
        println!("{last}");
        if under.is_within(rest) {
            return;
        }
    }
    panic!("the others wait too long: {last}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a soak of a minute that wants the machine for itself: make soak"]
async fn attackers_are_told_what_is_wrong_and_nobody_else_waits_for_them() {
    let files = arena::raise_open_files();
    let arena = Arena::open().await;
    let gauge = Gauge::new(&arena).await;
    // The first measure warms up what is lazy.
    gauge.measure().await;
    let mut rest = gauge.measure().await;
    let at_rest = arena.peak_memory();
    println!("at rest: {rest}, {at_rest} KiB, {files} files may be open");

    one(&gauge, &mut rest, bodies::flood(&arena)).await;
    one(&gauge, &mut rest, connections::idle(&arena, files)).await;
    one(&gauge, &mut rest, connections::slow(&arena).await).await;
    one(&gauge, &mut rest, expressions::patterns(&arena).await).await;
    one(&gauge, &mut rest, expressions::dear(&arena).await).await;
    for liar in &webhooks::LIARS {
        one(&gauge, &mut rest, webhooks::attack(&arena, liar).await).await;
        webhooks::forget(&arena, liar).await;
    }
    let grown = arena.peak_memory() - at_rest;
    println!("the server needed {grown} KiB more than at rest");
    assert!(grown < MEMORY, "the server needed {grown} KiB more than at rest");
    arena.is_well().await;
}

async fn one(gauge: &Gauge, rest: &mut Latency, mut attack: Attack) {
    endured(gauge, rest, &mut attack).await;
    attack.at_work.shutdown().await;
}
