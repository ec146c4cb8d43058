//! What the machine and its containers use, measured again and again, since processor time is known only between two looks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use xebec_container::{Runtime, Usage};

use crate::adoption::Name;
use crate::machine;

/// The pause between two looks.
const PERIOD: Duration = Duration::from_secs(5);
/// The pause after the first look, so that there is something to tell soon.
const FIRST: Duration = Duration::from_secs(1);

/// A container's place in its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// The container of this index.
    Main(usize),
    /// The init container of this index.
    Init(usize),
}

impl Place {
    fn parse(text: &str) -> Option<Self> {
        if let Some(at) = text.strip_prefix('c') {
            return at.parse().ok().map(Self::Main);
        }
        text.strip_prefix('i')?.parse().ok().map(Self::Init)
    }
}

/// What something used between two looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// Billionths of one processor, on the average.
    pub cpu_nanocores: u64,
    /// Memory that cannot be taken from it without harm, at the second look.
    pub memory_bytes: u64,
    /// When the second look was.
    pub until: Timestamp,
    /// How long it was since the first.
    pub window: Duration,
}

/// What was measured last.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// The whole machine.
    pub machine: Option<Measured>,
    /// Containers by the uids of their pods, in the order of their places.
    pub pods: HashMap<String, Vec<(Place, Measured)>>,
}

/// One look.
struct Look {
    at: Instant,
    machine: Option<Usage>,
    containers: HashMap<String, (Name, Usage)>,
}

/// Measures. Components have no control groups and are not measured.
pub struct Meter {
    runtime: Option<Arc<Runtime>>,
    figures: Mutex<Arc<Figures>>,
}

impl Meter {
    /// A meter of this machine, and of the containers of a runtime if there is one. It has measured nothing yet.
    pub fn new(runtime: Option<Arc<Runtime>>) -> Self {
        Self { runtime, figures: Mutex::default() }
    }

    /// What was measured last.
    pub fn figures(&self) -> Arc<Figures> {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Measures until `stop` is given.
    pub async fn run(&self, stop: CancellationToken) {
        let mut last = self.look().await;
        let mut pause = FIRST;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
            let now = self.look().await;
            let figures = between(&last, &now, Timestamp::now());
            *self.figures.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(figures);
            (last, pause) = (now, PERIOD);
        }
    }

    async fn look(&self) -> Look {
        let runtime = self.runtime.clone();
        let looked = tokio::task::spawn_blocking(move || {
            let containers = runtime.map(|runtime| runtime.usage()).unwrap_or_default();
            (machine::usage(), containers)
        });
        let at = Instant::now();
        let (machine, found) = looked.await.unwrap_or_default();
        let named = |(id, usage): (xebec_container::ContainerId, Usage)| {
            Some((id.to_string(), (Name::parse(&id)?, usage)))
        };
        Look { at, machine, containers: found.into_iter().filter_map(named).collect() }
    }
}

/// What was used from one look to the next. What is only in one of them is left out.
fn between(first: &Look, second: &Look, until: Timestamp) -> Figures {
    let window = second.at.saturating_duration_since(first.at);
    let measured = |first: &Usage, second: &Usage| {
        let spent = second.cpu.checked_sub(first.cpu)?;
        let nanos = spent.as_nanos().checked_mul(1_000_000_000)?.checked_div(window.as_nanos())?;
        let cpu_nanocores = u64::try_from(nanos).ok()?;
        Some(Measured { cpu_nanocores, memory_bytes: second.memory_bytes, until, window })
    };
    let mut pods: HashMap<String, Vec<(Place, Measured)>> = HashMap::new();
    for (id, (name, after)) in &second.containers {
        let before = first.containers.get(id).map(|(_, usage)| usage);
        let measured = before.and_then(|before| measured(before, after));
        if let (Some(place), Some(measured)) = (Place::parse(&name.place), measured) {
            pods.entry(name.pod.clone()).or_default().push((place, measured));
        }
    }
    for containers in pods.values_mut() {
        containers.sort_by_key(|(place, _)| match place {
            Place::Main(at) => (0, *at),
            Place::Init(at) => (1, *at),
        });
    }
    let machine = first.machine.zip(second.machine);
    Figures { machine: machine.and_then(|(first, second)| measured(&first, &second)), pods }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;

    fn look(at: Instant, all: &[(&str, u64, u64)]) -> Look {
        let usage = |cpu, memory| Usage { cpu: Duration::from_millis(cpu), memory_bytes: memory };
        let container = |(id, cpu, memory): &(&str, u64, u64)| {
            let name = Name::parse(&id.parse().unwrap()).unwrap();
            ((*id).to_owned(), (name, usage(*cpu, *memory)))
        };
        Look { at, machine: Some(usage(0, 1)), containers: all.iter().map(container).collect() }
    }

    #[test]
    fn processor_time_is_told_by_the_second_and_only_of_what_was_there_twice() {
        let now = Instant::now();
        let first = look(now, &[("u.c0.0", 1000, 5), ("u.i0.0", 0, 5), ("v.c0.0", 9, 9), ("w.c0.1", 50, 1)]);
        let later = now + Duration::from_secs(2);
        let second =
            look(later, &[("u.c0.0", 1500, 7), ("u.i0.0", 4000, 5), ("v.c0.1", 9, 9), ("w.c0.1", 49, 1)]);
        let figures = between(&first, &second, Timestamp::UNIX_EPOCH);
        assert_eq!(figures.pods.len(), 1, "{figures:?}");
        let told: Vec<_> = figures.pods["u"]
            .iter()
            .map(|(place, own)| (*place, own.cpu_nanocores, own.memory_bytes))
            .collect();
        assert_eq!(told, [(Place::Main(0), 250_000_000, 7), (Place::Init(0), 2_000_000_000, 5)]);
        let machine = figures.machine.unwrap();
        assert_eq!((machine.cpu_nanocores, machine.window), (0, Duration::from_secs(2)));
        // Two looks at one moment tell nothing.
        assert!(between(&first, &first, Timestamp::UNIX_EPOCH).pods.is_empty());
    }
}
