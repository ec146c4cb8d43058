//! Connections that carry no request: where there is no room for a new one, the one that has been idle the longest gives
//! way.
//!
//! Otherwise a client that is known and holds all connections that there may be locks out everybody else for as long as
//! it may be idle.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// All connections that carry no request.
#[derive(Clone, Default)]
pub(super) struct Idlers(Arc<Mutex<Inside>>);

#[derive(Default)]
struct Inside {
    next: u64,
    /// By the order in which they became idle.
    waiting: BTreeMap<u64, CancellationToken>,
}

/// One of them, for as long as it is.
pub(super) struct Idler {
    number: u64,
    away: CancellationToken,
    all: Idlers,
}

impl Idlers {
    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a connection carries no request from now on.
    pub(super) fn enter(&self) -> Idler {
        let mut inside = self.lock();
        let (number, away) = (inside.next, CancellationToken::new());
        inside.next += 1;
        inside.waiting.insert(number, away.clone());
        Idler { number, away, all: self.clone() }
    }

    /// Sends away the one that has been idle the longest; false where none is.
    pub(super) fn make_room(&self) -> bool {
        let oldest = self.lock().waiting.pop_first();
        if let Some((_, away)) = &oldest {
            away.cancel();
        }
        oldest.is_some()
    }
}

impl Idler {
    /// Waits until the connection has to give way.
    pub(super) async fn sent_away(&self) {
        self.away.cancelled().await;
    }
}

impl Drop for Idler {
    fn drop(&mut self) {
        self.all.lock().waiting.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_idle_the_longest_gives_way_and_who_is_busy_does_not() {
        let idlers = Idlers::default();
        assert!(!idlers.make_room(), "nobody is idle");
        let (first, second, third) = (idlers.enter(), idlers.enter(), idlers.enter());
        // It has a request, and is idle again later than the others.
        drop(first);
        let first = idlers.enter();
        assert!(idlers.make_room());
        assert!(second.away.is_cancelled() && !third.away.is_cancelled() && !first.away.is_cancelled());
        assert!(idlers.make_room() && third.away.is_cancelled() && !first.away.is_cancelled());
        drop(first);
        assert!(!idlers.make_room(), "who has left makes no room again");
    }
}
