//! Who is served when more is asked for than can be done at once.
//!
//! What runs at a time is limited by seats; a request that looks through a collection takes several. Each user's requests
//! wait in a queue of their own, and the next seat goes to the user who has the fewest, so one who floods waits behind
//! its own requests and the others hardly notice. A queue is bounded in length and in time: who comes on top is told to
//! come back later. Watches and other streams give their seat back once they have begun; health checks need none, nor do
//! requests that are [`Exempt`].

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use xebec_machinery::status::Status;

use crate::request::{ResourceRequest, Verb};

/// Marks requests that need no seat, as an extension of theirs: those of the platform itself, which must go on when users
/// have taken all of them. No client can set it.
#[derive(Debug, Clone, Copy)]
pub struct Exempt;

/// How much runs and waits.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How many seats there are.
    pub seats: u32,
    /// How many of them one user may have.
    pub seats_of_one: u32,
    /// How many requests of one user may wait.
    pub queue: usize,
    /// How many requests may wait altogether.
    pub waiting: usize,
    /// How long a request may wait.
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { seats: 256, seats_of_one: 128, queue: 512, waiting: 8_192, patience: Duration::from_secs(15) }
    }
}

/// The seats, and who waits for one.
pub(crate) struct Fairness {
    limits: Limits,
    hall: Mutex<Hall>,
}

#[derive(Default)]
struct Hall {
    taken: u32,
    waiting: usize,
    users: HashMap<Arc<str>, Queue>,
    /// The users who wait, the one who came first or was served longest ago in front.
    turns: VecDeque<Arc<str>>,
}

#[derive(Default)]
struct Queue {
    taken: u32,
    waiting: VecDeque<Waiting>,
}

struct Waiting {
    width: u32,
    grant: oneshot::Sender<Seat>,
}

/// Leave to run, until it is dropped.
pub(crate) struct Seat {
    of: Arc<Fairness>,
    user: Arc<str>,
    /// Nothing once it was given back.
    width: u32,
}

impl Drop for Seat {
    fn drop(&mut self) {
        if self.width > 0 {
            let of = self.of.clone();
            let mut hall = of.lock();
            hall.give_back(&self.user, self.width);
            of.seat_the_next(&mut hall);
        }
    }
}

/// A place in a queue, until it is left: with a seat, or since the time is up or the client gone.
struct Wait {
    of: Arc<Fairness>,
    user: Arc<str>,
    granted: Option<oneshot::Receiver<Seat>>,
}

impl Wait {
    async fn seat(&mut self) -> Option<Seat> {
        let seat = self.granted.as_mut()?.await.ok();
        self.granted = None;
        seat
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        // A seat that was granted meanwhile is given back with it.
        if let Some(granted) = self.granted.take() {
            drop(granted);
            let mut hall = self.of.lock();
            hall.forget_leavers(&self.user);
            // Who waited behind a wide one may fit now.
            self.of.seat_the_next(&mut hall);
        }
    }
}

/// How many seats a request takes: looking through a collection is more work than one object.
pub(crate) fn width(request: &ResourceRequest) -> u32 {
    match (request.verb, request.options.limit) {
        (Verb::List, Some(limit)) if limit <= 500 => 4,
        (Verb::List | Verb::DeleteCollection, _) => 16,
        _ => 1,
    }
}

impl Fairness {
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, hall: Mutex::default() })
    }

    /// Waits for seats.
    ///
    /// # Errors
    ///
    /// Too many wait already, or it took too long.
    pub(crate) async fn enter(self: &Arc<Self>, user: &str, width: u32) -> Result<Seat, Status> {
        let width = width.clamp(1, self.limits.seats_of_one);
        let (user, granted) = {
            let mut hall = self.lock();
            let user: Arc<str> =
                hall.users.get_key_value(user).map_or_else(|| user.into(), |(own, _)| own.clone());
            let queue = hall.users.entry(user.clone()).or_default();
            if queue.waiting.len() >= self.limits.queue || hall.waiting >= self.limits.waiting {
                hall.forget_idle(&user);
                return Err(refused());
            }
            let (grant, granted) = oneshot::channel();
            let queue = hall.users.entry(user.clone()).or_default();
            let first = queue.waiting.is_empty();
            queue.waiting.push_back(Waiting { width, grant });
            hall.waiting += 1;
            if first {
                hall.turns.push_back(user.clone());
            }
            self.seat_the_next(&mut hall);
            (user, granted)
        };
        let mut wait = Wait { of: self.clone(), user, granted: Some(granted) };
        match tokio::time::timeout(self.limits.patience, wait.seat()).await {
            Ok(Some(seat)) => Ok(seat),
            Ok(None) | Err(_) => Err(refused()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Hall> {
        self.hall.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives free seats to those who wait.
    fn seat_the_next(self: &Arc<Self>, hall: &mut Hall) {
        while let Some(place) = hall.turn(self.limits.seats_of_one) {
            let user = hall.turns[place].clone();
            let Some(queue) = hall.users.get_mut(&user) else { return };
            // Who no longer waits has no turn.
            let width = queue.waiting.front().map_or(0, |next| next.width);
            // A wide one waits for its seats, and is not passed by narrow ones for ever.
            if hall.taken + width > self.limits.seats {
                return;
            }
            hall.turns.remove(place);
            let Some(next) = queue.waiting.pop_front() else {
                hall.forget_idle(&user);
                continue;
            };
            hall.waiting -= 1;
            queue.taken += width;
            hall.taken += width;
            if !queue.waiting.is_empty() {
                hall.turns.push_back(user.clone());
            }
            let seat = Seat { of: self.clone(), user: user.clone(), width };
            if let Err(mut seat) = next.grant.send(seat) {
                seat.width = 0;
                hall.give_back(&user, width);
            }
        }
    }
}

impl Hall {
    /// Whose turn it is, by place: of those who may have more, who has the fewest seats.
    fn turn(&self, seats_of_one: u32) -> Option<usize> {
        let (mut best, mut fewest) = (None, u32::MAX);
        for (place, user) in self.turns.iter().enumerate() {
            let Some(queue) = self.users.get(user) else { continue };
            let fits = queue.waiting.front().is_none_or(|next| queue.taken + next.width <= seats_of_one);
            if fits && queue.taken < fewest {
                (best, fewest) = (Some(place), queue.taken);
            }
        }
        best
    }

    fn give_back(&mut self, user: &Arc<str>, width: u32) {
        self.taken = self.taken.saturating_sub(width);
        if let Some(queue) = self.users.get_mut(user) {
            queue.taken = queue.taken.saturating_sub(width);
        }
        self.forget_idle(user);
    }

    /// Forgets those of a user who have stopped waiting.
    fn forget_leavers(&mut self, user: &Arc<str>) {
        let Some(queue) = self.users.get_mut(user) else { return };
        let before = queue.waiting.len();
        queue.waiting.retain(|waiting| !waiting.grant.is_closed());
        self.waiting -= before - queue.waiting.len();
        if queue.waiting.is_empty() {
            self.turns.retain(|own| own != user);
        }
        self.forget_idle(user);
    }

    fn forget_idle(&mut self, user: &Arc<str>) {
        if self.users.get(user).is_some_and(|queue| queue.taken == 0 && queue.waiting.is_empty()) {
            self.users.remove(user);
            self.turns.retain(|own| own != user);
        }
    }
}

fn refused() -> Status {
    Status::too_many_requests("Too many requests, please try again later.", 1)
}

#[cfg(test)]
mod tests;
