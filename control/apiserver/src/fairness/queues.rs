//! The seats of one priority level and who waits for them, as values: what time it is comes in, who goes next comes out.
//!
//! Requests wait in a few of many queues, which take turns so that each gets the same work done: a queue stands as far in
//! virtual time as it was served, and the one that would be done first with its next request goes first (fair queuing for
//! server requests). Only queues that somebody is in are kept.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::hand;

/// How long a request is taken to last before it is known, in seconds.
const GUESS: f64 = 0.003;

/// What becomes of requests that find no seat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Everybody finds a seat.
    Exempt,
    /// They are refused.
    Reject,
    /// They wait.
    Queue {
        /// How many queues there are.
        queues: u32,
        /// How many of them a flow may use.
        hand: u32,
        /// How many may wait in each.
        length: usize,
    },
}

/// Seats that were given.
#[derive(Debug)]
pub(super) struct Grant {
    queue: Option<u32>,
    pub(super) width: u32,
    began: Instant,
}

/// What becomes of a request that comes.
pub(super) enum Arrival {
    /// It has its seats.
    Seated(Grant),
    /// It waits, under this number.
    Waits(u64),
    /// There is no room for it.
    Refused,
}

struct Waiting<T> {
    id: u64,
    width: u32,
    /// When it came, in virtual time.
    came: f64,
    ticket: T,
}

struct Queue<T> {
    waiting: VecDeque<Waiting<T>>,
    executing: u32,
    seats: u32,
    /// Up to where it was served, in virtual time.
    served: f64,
}

impl<T> Queue<T> {
    fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.executing == 0
    }

    fn wanted(&self) -> u32 {
        self.waiting.iter().map(|waiting| waiting.width).sum()
    }

    /// A queue that was served late gets no more than what it waited for.
    fn bound(&mut self) {
        if let Some(first) = self.waiting.front() {
            self.served = self.served.max(first.came);
        }
    }
}

/// A queue as it is shown to people.
#[derive(Debug, PartialEq)]
pub(super) struct Shown {
    pub(super) index: u32,
    pub(super) waiting: usize,
    pub(super) executing: u32,
    pub(super) seats: u32,
    pub(super) served: f64,
    pub(super) wanted: u32,
}

/// The seats and queues of one level. `T` is what is handed to whoever gets a seat.
pub(super) struct Queues<T> {
    shape: Shape,
    /// How many seats there are now.
    limit: u32,
    queues: BTreeMap<u32, Queue<T>>,
    waiting: usize,
    executing: u32,
    seats: u32,
    seats_waited_for: u32,
    arrivals: u64,
    /// Virtual time, and when it was looked at.
    virtual_now: f64,
    looked: Instant,
}

impl<T> Queues<T> {
    pub(super) fn new(shape: Shape, now: Instant) -> Self {
        Self {
            shape,
            limit: 0,
            queues: BTreeMap::new(),
            waiting: 0,
            executing: 0,
            seats: 0,
            seats_waited_for: 0,
            arrivals: 0,
            virtual_now: 0.0,
            looked: now,
        }
    }

    /// From now on it is like this. Who waits goes on waiting where it is.
    pub(super) fn reshape(&mut self, shape: Shape) {
        self.shape = shape;
    }

    /// From now on there are so many seats.
    pub(super) fn set_limit(&mut self, limit: u32, now: Instant) {
        self.advance(now);
        self.limit = limit;
    }

    pub(super) fn is_idle(&self) -> bool {
        self.executing == 0 && self.waiting == 0
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    pub(super) fn executing(&self) -> u32 {
        self.executing
    }

    #[cfg(test)]
    fn seats(&self) -> u32 {
        self.seats
    }

    /// How many seats are taken or waited for.
    pub(super) fn demand(&self) -> u32 {
        self.seats + self.seats_waited_for
    }

    /// The queues that somebody waits in.
    pub(super) fn active(&self) -> usize {
        self.queues.values().filter(|queue| !queue.waiting.is_empty()).count()
    }

    /// The queues that somebody is in.
    pub(super) fn show(&self) -> impl Iterator<Item = Shown> {
        self.queues.iter().map(|(index, queue)| Shown {
            index: *index,
            waiting: queue.waiting.len(),
            executing: queue.executing,
            seats: queue.seats,
            served: queue.served,
            wanted: queue.wanted(),
        })
    }

    /// Who waits: the queue, and what is handed to them.
    pub(super) fn waiters(&self) -> impl Iterator<Item = (u32, usize, u32, &T)> {
        self.queues.iter().flat_map(|(index, queue)| {
            let waiting = queue.waiting.iter().enumerate();
            waiting.map(move |(place, one)| (*index, place, one.width, &one.ticket))
        })
    }

    /// Brings virtual time up to now: it passes as fast as each queue is served.
    fn advance(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.looked);
        self.looked = now;
        if self.queues.is_empty() {
            return;
        }
        let busy = self.demand().min(self.limit);
        // Few queues are in use at a time; the cast loses nothing.
        self.virtual_now += passed.as_secs_f64() * f64::from(busy) / self.queues.len() as f64;
    }

    fn fits(&self, width: u32) -> bool {
        match self.shape {
            Shape::Exempt => true,
            // Whoever wants more than there is goes alone; where there is nothing, nobody goes.
            _ if width > self.limit => self.limit > 0 && self.executing == 0,
            _ => self.seats + width <= self.limit,
        }
    }

    /// A request of a flow comes that takes `width` seats. Where it has to wait, `ticket` makes what it waits with.
    pub(super) fn arrive(
        &mut self,
        hash: u64,
        width: u32,
        now: Instant,
        ticket: impl FnOnce() -> T,
    ) -> Arrival {
        self.advance(now);
        let Shape::Queue { queues, hand, length } = self.shape else {
            if !self.fits(width) {
                return Arrival::Refused;
            }
            return Arrival::Seated(self.seat(None, width, now));
        };
        self.arrivals += 1;
        let index = self.choose(&hand::deal(hash, queues, hand));
        let (full, room) = (self.seats >= self.limit, self.waiting == 0 && self.fits(width));
        let virtual_now = self.virtual_now;
        let fresh = || Queue { waiting: VecDeque::new(), executing: 0, seats: 0, served: virtual_now };
        let queue = self.queues.entry(index).or_insert_with(fresh);
        if full && queue.waiting.len() >= length {
            return Arrival::Refused;
        }
        // Nobody else waits, so it would be the next.
        if room {
            return Arrival::Seated(self.seat(Some(index), width, now));
        }
        let id = self.arrivals;
        queue.waiting.push_back(Waiting { id, width, came: virtual_now, ticket: ticket() });
        queue.bound();
        self.waiting += 1;
        self.seats_waited_for += width;
        Arrival::Waits(id)
    }

    /// The queue of a hand that has the least work; they take turns at being looked at first.
    fn choose(&self, hand: &[u32]) -> u32 {
        let offset = usize::try_from(self.arrivals).unwrap_or_default() % hand.len().max(1);
        let work = |index: &&u32| self.queues.get(*index).map_or(0, Queue::wanted);
        let turned = hand[offset..].iter().chain(&hand[..offset]);
        turned.min_by_key(work).copied().unwrap_or_default()
    }

    fn seat(&mut self, index: Option<u32>, width: u32, now: Instant) -> Grant {
        self.executing += 1;
        self.seats += width;
        if let Some(queue) = index.and_then(|index| self.queues.get_mut(&index)) {
            queue.executing += 1;
            queue.seats += width;
            queue.served += GUESS * f64::from(width);
            queue.bound();
        }
        Grant { queue: index, width, began: now }
    }

    /// Who goes next, if anybody waits for whom there are seats.
    pub(super) fn next(&mut self, now: Instant) -> Option<(T, Grant)> {
        self.advance(now);
        if self.waiting == 0 || self.seats >= self.limit {
            return None;
        }
        let done = |queue: &Queue<T>| {
            let first = queue.waiting.front()?;
            Some(queue.served + GUESS * f64::from(first.width))
        };
        let ready = self.queues.iter().filter_map(|(index, queue)| Some((*index, done(queue)?)));
        let (index, _) = ready.min_by(|(_, left), (_, right)| left.total_cmp(right))?;
        let width = self.queues.get(&index)?.waiting.front()?.width;
        // A wide one waits for its seats, and is not passed by narrow ones for ever.
        if !self.fits(width) {
            return None;
        }
        let first = self.queues.get_mut(&index)?.waiting.pop_front()?;
        self.waiting -= 1;
        self.seats_waited_for -= width;
        let grant = self.seat(Some(index), width, now);
        Some((first.ticket, grant))
    }

    /// Seats are given back.
    pub(super) fn finish(&mut self, grant: &Grant, now: Instant) {
        self.advance(now);
        self.executing = self.executing.saturating_sub(1);
        self.seats = self.seats.saturating_sub(grant.width);
        let Some(index) = grant.queue else { return };
        if let Some(queue) = self.queues.get_mut(&index) {
            let lasted: Duration = now.saturating_duration_since(grant.began);
            queue.executing = queue.executing.saturating_sub(1);
            queue.seats = queue.seats.saturating_sub(grant.width);
            queue.served += (lasted.as_secs_f64() - GUESS) * f64::from(grant.width);
            queue.bound();
            if queue.is_idle() {
                self.queues.remove(&index);
            }
        }
    }

    /// Whoever waits under this number waits no longer; whether it did.
    pub(super) fn leave(&mut self, id: u64, now: Instant) -> bool {
        self.advance(now);
        let found = self.queues.iter_mut().find_map(|(index, queue)| {
            let place = queue.waiting.iter().position(|waiting| waiting.id == id)?;
            let left = queue.waiting.remove(place)?;
            Some((*index, left.width, queue.is_idle()))
        });
        let Some((index, width, is_idle)) = found else { return false };
        self.waiting -= 1;
        self.seats_waited_for -= width;
        if is_idle {
            self.queues.remove(&index);
        }
        true
    }
}

#[cfg(test)]
mod tests;
