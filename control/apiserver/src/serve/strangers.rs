//! Connections whose client has shown no credential yet: a limited number, of which the oldest gives way.
//!
//! Every client begins as a stranger, so a limit that refused the newest would let those who hold their connections and
//! say nothing lock out everybody else.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio_util::sync::CancellationToken;

/// All strangers.
pub(super) struct Strangers {
    limit: usize,
    inside: Arc<Mutex<Inside>>,
}

#[derive(Default)]
struct Inside {
    next: u64,
    /// By the order in which they came.
    waiting: BTreeMap<u64, CancellationToken>,
}

/// One client, a stranger until it is introduced.
pub(super) struct Stranger {
    number: u64,
    away: CancellationToken,
    inside: Weak<Mutex<Inside>>,
}

impl Strangers {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit: limit.max(1), inside: Arc::default() }
    }

    /// Lets one more in, and sends the oldest away if there are too many then.
    pub(super) fn enter(&self) -> Arc<Stranger> {
        let mut inside = lock(&self.inside);
        if inside.waiting.len() >= self.limit
            && let Some((_, oldest)) = inside.waiting.pop_first()
        {
            oldest.cancel();
        }
        let (number, away) = (inside.next, CancellationToken::new());
        inside.next += 1;
        inside.waiting.insert(number, away.clone());
        Arc::new(Stranger { number, away, inside: Arc::downgrade(&self.inside) })
    }
}

impl Stranger {
    /// The client has shown who it is.
    pub(super) fn introduce(&self) {
        if let Some(inside) = self.inside.upgrade() {
            lock(&inside).waiting.remove(&self.number);
        }
    }

    /// Whether the client has shown who it is.
    pub(super) fn is_known(&self) -> bool {
        self.inside.upgrade().is_some_and(|inside| !lock(&inside).waiting.contains_key(&self.number))
    }

    /// Waits until the client has to give way.
    pub(super) async fn sent_away(&self) {
        self.away.cancelled().await;
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.introduce();
    }
}

fn lock(inside: &Mutex<Inside>) -> MutexGuard<'_, Inside> {
    inside.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_stranger_gives_way_and_whoever_is_known_stays() {
        let strangers = Strangers::new(2);
        let all: Vec<_> = (0..2).map(|_| strangers.enter()).collect();
        all[0].introduce();
        let third = strangers.enter();
        assert!(!all[1].away.is_cancelled(), "there was room");
        let fourth = strangers.enter();
        assert!(all[0].is_known() && !all[0].away.is_cancelled());
        assert!(all[1].away.is_cancelled() && !third.away.is_cancelled() && !fourth.away.is_cancelled());
        drop(third);
        let fifth = strangers.enter();
        assert!(!fourth.away.is_cancelled() && !fifth.is_known(), "who leaves makes room");
    }
}
