//! What is left in the namespaces that are on their way out, and when to look at it again.

use std::collections::HashMap;
use std::time::Duration;

use super::contents::Remaining;
use crate::served::Kind;

/// How soon a namespace is looked at again while its contents go.
const FIRST: Duration = Duration::from_millis(200);
/// How soon at the latest, however long nothing has changed.
const LONGEST: Duration = Duration::from_secs(5);
/// How many namespaces are remembered; of further ones everything is looked at each time.
const REMEMBERED: usize = 10_000;

/// The namespaces that are being emptied, by their uids.
#[derive(Debug, Default)]
pub(super) struct Emptying(HashMap<String, (Remaining, Duration)>);

impl Emptying {
    /// The kinds of which a namespace had objects when it was last looked at.
    pub(super) fn left(&self, uid: &str) -> Vec<Kind> {
        self.0.get(uid).map(|(remaining, _)| remaining.kinds.clone()).unwrap_or_default()
    }

    /// Notes what is left; says when to look again: soon while something changes, later each time while nothing does.
    pub(super) fn note(&mut self, uid: String, remaining: Remaining) -> Duration {
        let wait = match self.0.get(&uid) {
            Some((before, wait)) if *before == remaining => wait.saturating_mul(2).min(LONGEST),
            _ => FIRST,
        };
        if self.0.len() < REMEMBERED || self.0.contains_key(&uid) {
            self.0.insert(uid, (remaining, wait));
        }
        wait
    }

    /// The namespace is empty.
    pub(super) fn forget(&mut self, uid: &str) {
        self.0.remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(pods: usize) -> Remaining {
        Remaining { objects: [("pods".to_owned(), pods)].into(), ..Remaining::default() }
    }

    #[test]
    fn what_does_not_change_is_looked_at_later_each_time() {
        let mut emptying = Emptying::default();
        let waits: Vec<Duration> = (0..7).map(|_| emptying.note("a".to_owned(), left(2))).collect();
        assert_eq!(waits, [200, 400, 800, 1600, 3200, 5000, 5000].map(Duration::from_millis));
        assert_eq!(emptying.note("a".to_owned(), left(1)), FIRST, "one went");
        assert_eq!(emptying.note("b".to_owned(), left(1)), FIRST, "another namespace");
        emptying.forget("a");
        assert_eq!(emptying.note("a".to_owned(), left(1)), FIRST);
    }
}
