//! What went through the engine: requests by route and backend, with their outcome and latency.
//!
//! A request costs a few additions to counters that its route holds already. Their number is bounded: the routes and
//! backends of the configuration have one each until there are [`MOST_SERIES`], all further ones share one.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use http::StatusCode;

/// Upper bounds of the latency histogram, in seconds.
pub const BOUNDS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];
/// So many pairs of route and backend are told apart.
pub const MOST_SERIES: usize = 2_000;
/// The name of the routes and backends beyond.
const OTHER: &str = "other";

/// The requests of one route and backend.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    /// By the first digit of the status.
    classes: [AtomicU64; 5],
    /// How many fell between each bound and the one before it; the last above all.
    between: [AtomicU64; BOUNDS.len() + 1],
    nanoseconds: AtomicU64,
}

impl Counter {
    /// Counts a request that was answered so after so long.
    pub(crate) fn add(&self, status: StatusCode, took: Duration) {
        let class = usize::from(status.as_u16() / 100).clamp(1, 5) - 1;
        let seconds = took.as_secs_f64();
        let place = BOUNDS.partition_point(|bound| *bound < seconds);
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        for (counters, at) in [(&self.classes[..], class), (&self.between[..], place)] {
            if let Some(counter) = counters.get(at) {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }
}

/// The requests of a route, by its backends.
#[derive(Debug)]
pub(crate) struct Counters {
    /// Of requests that no backend was chosen for.
    own: Arc<Counter>,
    backends: Box<[Arc<Counter>]>,
}

impl Counters {
    /// The counter of the backend at this place among the route's.
    pub(crate) fn of(&self, backend: Option<usize>) -> &Counter {
        backend.and_then(|at| self.backends.get(at)).unwrap_or(&self.own)
    }
}

/// The requests of one route and backend until now.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The route's name; empty for requests that none matched.
    pub route: Arc<str>,
    /// The backend's name; empty for requests that none was chosen for.
    pub backend: Arc<str>,
    /// How many were answered with a status of each class, from 1xx on. A client that left counts as a 499 would.
    pub classes: [u64; 5],
    /// How many were answered within each of the [`BOUNDS`], to the head of the answer.
    pub within: [u64; BOUNDS.len()],
    /// The time that all of them took.
    pub took: Duration,
}

impl Series {
    /// How many there were.
    pub fn count(&self) -> u64 {
        self.classes.iter().sum()
    }
}

type Counted = HashMap<(Arc<str>, Arc<str>), Weak<Counter>>;

/// All counters; clones share them. Those of a route end with it.
#[derive(Clone, Debug)]
pub struct Traffic {
    counted: Arc<Mutex<Counted>>,
    unrouted: Arc<Counter>,
    other: Arc<Counter>,
    most: usize,
}

impl Default for Traffic {
    fn default() -> Self {
        Self::bounded(MOST_SERIES)
    }
}

impl Traffic {
    fn bounded(most: usize) -> Self {
        Self { counted: Arc::default(), unrouted: Arc::default(), other: Arc::default(), most }
    }

    /// Of requests that no route matched, or that were refused before one was looked for.
    pub(crate) fn unrouted(&self) -> &Counter {
        &self.unrouted
    }

    /// The counters of a route, which go on where another has the same name.
    pub(crate) fn of_route<'a>(
        &self,
        route: &Arc<str>,
        backends: impl Iterator<Item = &'a Arc<str>>,
    ) -> Counters {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let own = self.counter(&mut counted, (Arc::clone(route), Arc::from("")));
        let backends = backends.map(|name| self.counter(&mut counted, (Arc::clone(route), Arc::clone(name))));
        Counters { own, backends: backends.collect() }
    }

    fn counter(&self, counted: &mut Counted, key: (Arc<str>, Arc<str>)) -> Arc<Counter> {
        if let Some(counter) = counted.get(&key).and_then(Weak::upgrade) {
            return counter;
        }
        if counted.len() >= self.most {
            counted.retain(|_, counter| counter.strong_count() > 0);
            if counted.len() >= self.most {
                return Arc::clone(&self.other);
            }
        }
        let counter = Arc::default();
        counted.insert(key, Arc::downgrade(&counter));
        counter
    }

    /// What was counted, in the order of the names; nothing of what had no request.
    pub fn series(&self) -> Vec<Series> {
        let mut counted = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        counted.retain(|_, counter| counter.strong_count() > 0);
        let of_routes = counted.iter().filter_map(|((route, backend), counter)| {
            Some((Arc::clone(route), Arc::clone(backend), counter.upgrade()?))
        });
        let (none, other) = (Arc::<str>::from(""), Arc::<str>::from(OTHER));
        let rest = [
            (Arc::clone(&none), none, Arc::clone(&self.unrouted)),
            (Arc::clone(&other), other, Arc::clone(&self.other)),
        ];
        let mut series: Vec<_> = of_routes
            .chain(rest)
            .map(|(route, backend, counter)| read(route, backend, &counter))
            .filter(|series| series.count() > 0)
            .collect();
        drop(counted);
        series.sort_by(|one, two| (&one.route, &one.backend).cmp(&(&two.route, &two.backend)));
        series
    }
}

fn read(route: Arc<str>, backend: Arc<str>, counter: &Counter) -> Series {
    let mut within = [0; BOUNDS.len()];
    let mut sum = 0;
    for (within, between) in within.iter_mut().zip(&counter.between) {
        sum += between.load(Ordering::Relaxed);
        *within = sum;
    }
    let classes = counter.classes.each_ref().map(|class| class.load(Ordering::Relaxed));
    let took = Duration::from_nanos(counter.nanoseconds.load(Ordering::Relaxed));
    Series { route, backend, classes, within, took }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<Arc<str>> {
        names.iter().map(|name| Arc::from(*name)).collect()
    }

    #[test]
    fn requests_are_told_by_route_backend_outcome_and_latency() {
        let traffic = Traffic::default();
        let route = traffic.of_route(&"r".into(), names(&["a", "b"]).iter());
        route.of(Some(1)).add(StatusCode::OK, Duration::from_micros(500));
        route.of(Some(1)).add(StatusCode::BAD_GATEWAY, Duration::from_secs(60));
        route.of(None).add(StatusCode::FOUND, Duration::from_millis(2));
        traffic.unrouted().add(StatusCode::NOT_FOUND, Duration::ZERO);
        let series = traffic.series();
        let told: Vec<_> =
            series.iter().map(|one| (&*one.route, &*one.backend, one.classes, one.within[0])).collect();
        let expected =
            [("", "", [0, 0, 0, 1, 0], 1), ("r", "", [0, 0, 1, 0, 0], 0), ("r", "b", [0, 1, 0, 0, 1], 1)];
        assert_eq!(told, expected);
        assert_eq!((series[2].within[13], series[2].count()), (1, 2));
        assert_eq!(series[2].took, Duration::from_micros(60_000_500));
    }

    #[test]
    fn a_route_goes_on_counting_over_a_swap_and_ends_with_the_last_of_its_name() {
        let traffic = Traffic::default();
        let first = traffic.of_route(&"r".into(), names(&["a"]).iter());
        first.of(Some(0)).add(StatusCode::OK, Duration::ZERO);
        let second = traffic.of_route(&"r".into(), names(&["a"]).iter());
        drop(first);
        second.of(Some(0)).add(StatusCode::OK, Duration::ZERO);
        assert_eq!(traffic.series()[0].count(), 2);
        drop(second);
        assert_eq!(traffic.series(), []);
    }

    #[test]
    fn beyond_the_bound_routes_share_one_series_until_others_are_gone() {
        let traffic = Traffic::bounded(2);
        let route = |name: &str| traffic.of_route(&name.into(), names(&["a"]).iter());
        let (first, second) = (route("1"), route("2"));
        second.of(Some(0)).add(StatusCode::OK, Duration::ZERO);
        assert_eq!(&*traffic.series()[0].route, "other");
        drop(first);
        let third = route("3");
        third.of(Some(0)).add(StatusCode::OK, Duration::ZERO);
        assert_eq!(&*traffic.series()[0].route, "3");
    }
}
