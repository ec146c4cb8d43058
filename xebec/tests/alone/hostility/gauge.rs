//! How long those wait who ask for little.

use std::fmt;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;

use super::arena::Arena;

/// How long is measured.
const LENGTH: Duration = Duration::from_millis(1_000);
/// How long the one who asks rests between two requests.
const PAUSE: Duration = Duration::from_millis(4);
/// What is no matter on a machine where the attackers, the others and the server share two cores without optimization.
const FLOOR: Duration = Duration::from_millis(25);
/// The same of the few who wait longest.
const HIGH_FLOOR: Duration = Duration::from_millis(600);

/// Someone who reads and someone who writes.
pub(super) struct Gauge {
    maps: Api<ConfigMap>,
}

/// The middle and the last hundredth of those who read and those who write.
#[derive(Debug, Clone, Copy)]
pub(super) struct Latency {
    read: [Duration; 2],
    write: [Duration; 2],
}

impl Gauge {
    pub(super) async fn new(arena: &Arena) -> Self {
        let maps = Api::default_namespaced(arena.neighbour.clone());
        let map = serde_json::from_value(json!({"metadata": {"name": "small"}})).expect("a ConfigMap");
        maps.create(&PostParams::default(), &map).await.expect("made");
        Self { maps }
    }

    pub(super) async fn measure(&self) -> Latency {
        let reading = repeated(async |_| drop(self.maps.get("small").await.expect("read")));
        let params = PatchParams::default();
        let writing = repeated(async |turn: usize| {
            let patch = Patch::Merge(json!({"data": {"turn": turn.to_string()}}));
            self.maps.patch("small", &params, &patch).await.expect("written");
        });
        let (read, write) = tokio::join!(reading, writing);
        Latency { read, write }
    }
}

/// The middle and the last hundredth of what it takes.
async fn repeated(mut ask: impl AsyncFnMut(usize)) -> [Duration; 2] {
    let (begun, mut taken) = (Instant::now(), Vec::new());
    while begun.elapsed() < LENGTH || taken.len() < 20 {
        let before = Instant::now();
        ask(taken.len()).await;
        taken.push(before.elapsed());
        tokio::time::sleep(PAUSE).await;
    }
    taken.sort();
    [taken[taken.len() / 2], taken[taken.len() * 99 / 100]]
}

impl Latency {
    /// Whether nobody waits more than twice as long as at rest.
    pub(super) fn is_within(&self, rest: &Self) -> bool {
        [(self.read, rest.read), (self.write, rest.write)].iter().all(|(under, rest)| {
            under[0] <= (rest[0] * 2).max(FLOOR) && under[1] <= (rest[1] * 2).max(HIGH_FLOOR)
        })
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ([read, last_read], [write, last_write]) = (self.read, self.write);
        write!(f, "read {read:.1?} (p99 {last_read:.1?}), write {write:.1?} (p99 {last_write:.1?})")
    }
}
