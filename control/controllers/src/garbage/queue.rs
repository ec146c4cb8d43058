//! Which objects are to be visited, and when: each at most once at a time, later each time it fails.

use std::collections::{BTreeSet, HashMap, HashSet};

use tokio::time::Instant;

use super::graph::Uid;
use crate::drive::wait;

/// The objects that wait for a visit.
#[derive(Debug, Default)]
pub(super) struct Queue {
    due: BTreeSet<(Instant, Uid)>,
    when: HashMap<Uid, Instant>,
    visiting: HashSet<Uid>,
    /// Those that are to be visited again once their visit has ended.
    again: HashMap<Uid, Instant>,
    failures: HashMap<Uid, u32>,
}

impl Queue {
    /// Asks for a visit at a moment, or at an earlier one that was asked for before.
    pub(super) fn push(&mut self, uid: Uid, at: Instant) {
        if self.visiting.contains(&uid) {
            let again = self.again.entry(uid).or_insert(at);
            *again = at.min(*again);
            return;
        }
        if let Some(before) = self.when.get(&uid).copied() {
            if before <= at {
                return;
            }
            self.due.remove(&(before, uid.clone()));
        }
        self.when.insert(uid.clone(), at);
        self.due.insert((at, uid));
    }

    /// The next object that is due. Its visit begins.
    pub(super) fn pop(&mut self, now: Instant) -> Option<Uid> {
        let (at, _) = self.due.first()?;
        if *at > now {
            return None;
        }
        let (_, uid) = self.due.pop_first()?;
        self.when.remove(&uid);
        self.visiting.insert(uid.clone());
        Some(uid)
    }

    /// When the next object is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    /// The last visit went well.
    pub(super) fn succeed(&mut self, uid: &Uid) {
        self.failures.remove(uid);
    }

    /// The last visit did not go well.
    pub(super) fn retry(&mut self, uid: &Uid, now: Instant) {
        let failures = self.failures.entry(uid.clone()).or_default();
        let at = now + wait(*failures);
        *failures = failures.saturating_add(1);
        self.push(uid.clone(), at);
    }

    /// The visit has ended.
    pub(super) fn finish(&mut self, uid: &Uid) {
        self.visiting.remove(uid);
        if let Some(at) = self.again.remove(uid) {
            self.push(uid.clone(), at);
        }
    }

    /// The object is gone.
    pub(super) fn forget(&mut self, uid: &Uid) {
        self.failures.remove(uid);
        self.again.remove(uid);
        if let Some(at) = self.when.remove(uid) {
            self.due.remove(&(at, uid.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn an_object_is_visited_once_at_a_time_and_again_if_asked_meanwhile() {
        let mut queue = Queue::default();
        let now = Instant::now();
        queue.push("a".into(), now + Duration::from_secs(1));
        queue.push("a".into(), now);
        assert_eq!(queue.pop(now).as_deref(), Some("a"));
        queue.push("a".into(), now);
        assert_eq!(queue.pop(now), None);
        queue.finish(&"a".into());
        assert_eq!(queue.pop(now).as_deref(), Some("a"));
    }

    #[test]
    fn failures_wait_longer_each_time_until_one_visit_goes_well() {
        let mut queue = Queue::default();
        let now = Instant::now();
        let mut waits = Vec::new();
        for round in 0..4 {
            queue.retry(&"a".into(), now);
            waits.push(queue.next_due().map(|at| at - now));
            assert_eq!(queue.pop(now + Duration::from_secs(60)).as_deref(), Some("a"));
            queue.finish(&"a".into());
            if round == 2 {
                queue.succeed(&"a".into());
            }
        }
        assert_eq!(waits, [50, 100, 200, 50].map(|millis| Some(Duration::from_millis(millis))));
    }
}
