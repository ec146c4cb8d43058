//! Who is served when more is asked for than can be done at once: API priority and fairness, driven by the stored
//! FlowSchemas and PriorityLevelConfigurations.
//!
//! The first schema that matches a request says which priority level serves it. Each level has a share of all seats, lends
//! what it does not need and borrows what others do not; a request that looks through a collection takes several. Who finds
//! no seat waits in one of the level's queues, which are served fairly, so one who floods waits behind its own requests and
//! the others hardly notice. A queue is bounded in length and in time: who comes on top is told to come back later. Watches
//! and other streams give their seats back once they have begun; health checks need none, nor do requests that are
//! [`Exempt`].

mod debug;
mod demand;
mod drops;
mod flow;
mod hand;
mod level;
mod metrics;
mod queues;
mod shares;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::Instant;
use xebec_machinery::flow::{CATCH_ALL, EXEMPT, levels, mandatory};
use xebec_machinery::status::Status;

use crate::authorizer::Asked;
use crate::object;
use crate::request::{ResourceRequest, Verb};
use crate::user::User;
pub(crate) use debug::Dump;
use flow::Flow;
use level::{Level, Settings};
use queues::{Arrival, Grant, Shape};
use shares::{Wish, deal};

/// Marks requests that need no seat, as an extension of theirs: those of the platform itself, which must go on when users
/// have taken all of them. No client can set it.
#[derive(Debug, Clone, Copy)]
pub struct Exempt;

/// How much runs and waits.
#[derive(Debug, Clone)]
pub struct Limits {
    /// How many seats there are for all levels together.
    pub seats: u32,
    /// How long a request may wait.
    pub patience: Duration,
}

impl Default for Limits {
    /// As upstream's servers have it: 400 requests that read and 200 that write.
    fn default() -> Self {
        Self { seats: 600, patience: Duration::from_secs(15) }
    }
}

/// The levels and their seats, and who waits for one.
pub(crate) struct Fairness {
    limits: Limits,
    /// The schemas in the order in which they are tried.
    flows: RwLock<Arc<[Arc<Flow>]>>,
    hall: Mutex<Hall>,
}

struct Hall {
    levels: BTreeMap<Arc<str>, Level<Ticket>>,
    /// How many there are for all levels.
    seats: u32,
    /// The part of what they would do with that levels got when seats were last dealt out.
    fraction: f64,
}

/// What a request waits with.
struct Ticket {
    grant: oneshot::Sender<Seat>,
    flow: Arc<Flow>,
    distinguisher: Box<str>,
    came: Instant,
}

/// Which requests a request is one of.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    flow: Arc<Flow>,
    distinguisher: Box<str>,
}

impl Place {
    /// Tells the client which schema and which level that was.
    pub(crate) fn tell(&self, headers: &mut HeaderMap) {
        for (name, uid) in [
            ("x-kubernetes-pf-flowschema-uid", &self.flow.uid),
            ("x-kubernetes-pf-prioritylevel-uid", &self.flow.level_uid),
        ] {
            if let (false, Ok(value)) = (uid.is_empty(), HeaderValue::from_str(uid)) {
                headers.insert(HeaderName::from_static(name), value);
            }
        }
    }
}

/// Leave to run, until it is dropped.
pub(crate) struct Seat {
    of: Arc<Fairness>,
    flow: Arc<Flow>,
    level: Arc<str>,
    /// Nothing once it was given back.
    grant: Option<Grant>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(grant) = self.grant.take() {
            let mut hall = self.of.lock();
            hall.give_back(&self.level, &self.flow, &grant);
            self.of.seat_the_next(&mut hall, &self.level);
        }
    }
}

/// A place in a queue, until it is left: with a seat, or since the time is up or the client gone.
struct Wait {
    of: Arc<Fairness>,
    flow: Arc<Flow>,
    level: Arc<str>,
    id: u64,
    granted: Option<oneshot::Receiver<Seat>>,
    /// Why it is left without a seat.
    why: &'static str,
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
            let now = Instant::now();
            let mut hall = self.of.lock();
            let Some(level) = hall.levels.get_mut(&self.level) else { return };
            if level.queues.leave(self.id, now) {
                level.note_demand(now);
                let tally = level.tally(&self.flow.name);
                tally.waiting = tally.waiting.saturating_sub(1);
                *tally.refused.entry(self.why).or_default() += 1;
            }
            hall.reap(&self.level, now);
            // Who waited behind a wide one may fit now.
            self.of.seat_the_next(&mut hall, &self.level);
        }
    }
}

/// How many seats a request takes: looking through a collection is more work than one object.
///
/// `count` tells how many objects there are to look through, of which it need not count more than it is told.
pub(crate) fn width(request: &ResourceRequest, count: impl FnOnce(usize) -> usize) -> u32 {
    if !matches!(request.verb, Verb::List | Verb::DeleteCollection) {
        return 1;
    }
    let most = (WIDEST * A_SEATFUL).min(request.options.limit.unwrap_or(usize::MAX));
    count(most).div_ceil(A_SEATFUL).clamp(1, WIDEST) as u32
}

/// How many objects are looked through in one seat, and the most seats that one request takes.
const A_SEATFUL: usize = 100;
const WIDEST: usize = 10;

impl Fairness {
    /// With the levels and schemas that there always are.
    pub(crate) fn new(limits: Limits) -> Arc<Self> {
        let hall = Hall { levels: BTreeMap::new(), seats: limits.seats, fraction: 0.0 };
        let fairness = Arc::new(Self { limits, flows: RwLock::new(Arc::from([])), hall: Mutex::new(hall) });
        fairness.configure(&[], &[]);
        fairness
    }

    /// From now on these objects say who is served how. What there always is need not be among them. Schemas without their
    /// level are left out.
    pub(crate) fn configure(self: &Arc<Self>, schemas: &[Value], objects: &[Value]) {
        let now = Instant::now();
        let mut settings: BTreeMap<Arc<str>, Settings> = BTreeMap::new();
        for (_, object) in levels().iter().filter(|(_, level)| is_always(level)) {
            settings.extend(Settings::read(object).map(|own| (object::name(object).into(), own)));
        }
        for object in objects {
            settings.extend(Settings::read(object).map(|own| (object::name(object).into(), own)));
        }
        let mut flows: Vec<Flow> = schemas.iter().map(Flow::read).collect();
        flows.retain(|flow| settings.contains_key(&*flow.level));
        for name in [EXEMPT, CATCH_ALL] {
            if !flows.iter().any(|flow| *flow.name == *name) {
                flows.extend(mandatory("FlowSchema", name).as_ref().map(Flow::read));
            }
        }
        for flow in &mut flows {
            flow.level_uid = settings.get(&*flow.level).map(|own| own.uid.clone()).unwrap_or_default();
        }
        flows.sort_by(|left, right| left.order().cmp(&right.order()));
        let names: HashSet<Arc<str>> = flows.iter().map(|flow| flow.name.clone()).collect();
        let mut hall = self.lock();
        let is_new = !hall.has(&settings);
        hall.take_over(settings, &names, now);
        // What was wanted of late counts until the next turn, whatever else is said of schemas.
        if is_new {
            hall.share_out(now);
        }
        // While the hall is locked, so that nobody is sent to a level that is not there yet.
        *self.flows.write().unwrap_or_else(PoisonError::into_inner) =
            flows.into_iter().map(Arc::new).collect();
        self.seat_all(&mut hall);
    }

    /// Lets levels lend and borrow by what was wanted of late.
    pub(crate) fn rebalance(self: &Arc<Self>) {
        let mut hall = self.lock();
        hall.lend(Instant::now());
        self.seat_all(&mut hall);
    }

    /// Gives free seats of every level to those who wait.
    fn seat_all(self: &Arc<Self>, hall: &mut Hall) {
        let names: Vec<Arc<str>> = hall.levels.keys().cloned().collect();
        for name in names {
            self.seat_the_next(hall, &name);
        }
    }

    /// Which requests a request is one of.
    pub(crate) fn place(&self, user: &User, asked: &Asked<'_>) -> Option<Place> {
        let flows = self.flows.read().unwrap_or_else(PoisonError::into_inner).clone();
        let flow = flows.iter().find(|flow| flow.matches(user, asked)).or_else(|| flows.last())?;
        Some(Place { distinguisher: flow.distinguisher(user, asked).into(), flow: flow.clone() })
    }

    /// Waits for seats.
    ///
    /// # Errors
    ///
    /// Too many wait already, or it took too long.
    pub(crate) async fn enter(self: &Arc<Self>, place: &Place, width: u32) -> Result<Seat, Status> {
        let mut wait = match self.arrive(place, width)? {
            Entered::Seated(seat) => return Ok(seat),
            Entered::Waits(wait) => wait,
        };
        match tokio::time::timeout(self.limits.patience, wait.seat()).await {
            Ok(Some(seat)) => Ok(seat),
            Ok(None) | Err(_) => {
                wait.why = "time-out";
                let retry_after = self.lock().refuse(&wait.level);
                Err(refused(retry_after))
            }
        }
    }

    fn arrive(self: &Arc<Self>, place: &Place, width: u32) -> Result<Entered, Status> {
        let now = Instant::now();
        let flow = &place.flow;
        let mut hall = self.lock();
        let name = hall.level_of(flow);
        let Some(level) = hall.levels.get_mut(&name) else { return Err(refused(1)) };
        let width = level.width(width);
        let hash = if matches!(level.settings.shape, Shape::Queue { .. }) {
            flow.hash(&place.distinguisher)
        } else {
            0
        };
        let mut granted = None;
        let ticket = || {
            let (grant, receiver) = oneshot::channel();
            granted = Some(receiver);
            Ticket { grant, flow: flow.clone(), distinguisher: place.distinguisher.clone(), came: now }
        };
        let arrival = level.queues.arrive(hash, width, now, ticket);
        level.note_demand(now);
        let tally = level.tally(&flow.name);
        match arrival {
            Arrival::Seated(grant) => {
                tally.dispatched += 1;
                tally.executing += 1;
                tally.seats += grant.width;
                let (of, flow) = (self.clone(), flow.clone());
                Ok(Entered::Seated(Seat { of, flow, level: name, grant: Some(grant) }))
            }
            Arrival::Waits(id) => {
                tally.waiting += 1;
                self.seat_the_next(&mut hall, &name);
                let (of, flow) = (self.clone(), flow.clone());
                Ok(Entered::Waits(Wait { of, flow, level: name, id, granted, why: "cancelled" }))
            }
            Arrival::Refused => {
                let queues = matches!(level.settings.shape, Shape::Queue { .. });
                let why = if queues { "queue-full" } else { "concurrency-limit" };
                *level.tally(&flow.name).refused.entry(why).or_default() += 1;
                Err(refused(hall.refuse(&name)))
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Hall> {
        self.hall.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives free seats of a level to those who wait.
    fn seat_the_next(self: &Arc<Self>, hall: &mut Hall, name: &Arc<str>) {
        let now = Instant::now();
        while let Some(level) = hall.levels.get_mut(name)
            && let Some((ticket, grant)) = level.queues.next(now)
        {
            level.note_demand(now);
            let width = grant.width;
            let tally = level.tally(&ticket.flow.name);
            tally.waiting = tally.waiting.saturating_sub(1);
            tally.dispatched += 1;
            tally.executing += 1;
            tally.seats += width;
            tally.waited += now.saturating_duration_since(ticket.came);
            let seat =
                Seat { of: self.clone(), flow: ticket.flow.clone(), level: name.clone(), grant: Some(grant) };
            if let Err(mut seat) = ticket.grant.send(seat)
                && let Some(grant) = seat.grant.take()
            {
                hall.give_back(name, &ticket.flow, &grant);
            }
        }
    }
}

enum Entered {
    Seated(Seat),
    Waits(Wait),
}

/// Whether a level is there even where its object is not.
fn is_always(level: &Value) -> bool {
    [EXEMPT, CATCH_ALL].contains(&object::name(level))
}

impl Hall {
    /// The level of a flow; the last resort where that has gone meanwhile.
    fn level_of(&self, flow: &Flow) -> Arc<str> {
        let found = self.levels.get_key_value(&*flow.level).map(|(name, _)| name.clone());
        found.unwrap_or_else(|| CATCH_ALL.into())
    }

    /// Takes over what objects say. A level that is gone stays until it is idle.
    fn take_over(
        &mut self,
        mut settings: BTreeMap<Arc<str>, Settings>,
        flows: &HashSet<Arc<str>>,
        now: Instant,
    ) {
        self.levels.retain(|name, level| {
            level.is_leaving = !settings.contains_key(name);
            if let Some(own) = settings.remove(name) {
                level.queues.reshape(own.shape);
                level.settings = own;
            }
            let in_use = |tally: &level::Tally| tally.waiting > 0 || tally.executing > 0;
            level.tallies.retain(|flow, tally| flows.contains(flow) || in_use(tally));
            !(level.is_leaving && level.queues.is_idle())
        });
        for (name, own) in settings {
            self.levels.insert(name, Level::new(own, now));
        }
    }

    /// Whether the levels are these already.
    fn has(&self, settings: &BTreeMap<Arc<str>, Settings>) -> bool {
        let same = |(name, level): (&Arc<str>, &Level<Ticket>)| settings.get(name) == Some(&level.settings);
        self.levels.len() == settings.len() && self.levels.iter().all(same)
    }

    /// Gives each level its share of all seats.
    fn share_out(&mut self, now: Instant) {
        let shares = self.levels.values().map(|level| u64::from(level.settings.part.shares)).sum();
        for level in self.levels.values_mut() {
            level.bounds = level.settings.part.bounds(self.seats, shares);
        }
        self.lend(now);
    }

    /// Deals out the seats by what was wanted of late, within the bounds of each level.
    fn lend(&mut self, now: Instant) {
        let nominal: u32 = self.levels.values().map(|level| level.bounds.nominal).sum();
        let mut left = f64::from(nominal);
        let (mut wishes, mut least, mut lower) = (Vec::new(), 0.0, 0.0);
        for level in self.levels.values_mut() {
            level.wanted = level.demand.look(level.wanted, now);
            let bounds = level.bounds;
            let (own_lower, most) = (f64::from(bounds.lower), level.wanted.most);
            if level.is_exempt() {
                // Its seats are not limited, and are missing to the others.
                let taken = own_lower.max(most);
                level.limit = taken as u32;
                left -= taken;
                continue;
            }
            let own = own_lower.max(most.min(f64::from(bounds.nominal)));
            let target = own.max(level.wanted.smoothed);
            wishes.push(Wish { lower: own, upper: f64::from(bounds.upper), target });
            lower += own_lower;
            least += own;
        }
        let limited = self.levels.values_mut().filter(|level| !level.is_exempt());
        let limits: Vec<f64> = if left <= lower {
            self.fraction = 0.0;
            limited.map(|level| f64::from(level.bounds.lower)).collect()
        } else if left <= least {
            self.fraction = 0.0;
            let part = (left - lower) / (least - lower);
            let own = |(level, wish): (&mut Level<Ticket>, &Wish)| {
                let lower = f64::from(level.bounds.lower);
                lower + (wish.lower - lower) * part
            };
            limited.zip(&wishes).map(own).collect()
        } else {
            let (dealt, fraction) = deal(f64::from(nominal), &wishes);
            self.fraction = fraction;
            dealt
        };
        for (level, limit) in self.levels.values_mut().filter(|level| !level.is_exempt()).zip(limits) {
            // The cast saturates.
            level.limit = limit.round() as u32;
            level.queues.set_limit(level.limit, now);
        }
    }

    fn give_back(&mut self, name: &Arc<str>, flow: &Flow, grant: &Grant) {
        let now = Instant::now();
        let Some(level) = self.levels.get_mut(name) else { return };
        level.queues.finish(grant, now);
        level.note_demand(now);
        let tally = level.tally(&flow.name);
        tally.executing = tally.executing.saturating_sub(1);
        tally.seats = tally.seats.saturating_sub(grant.width);
        self.reap(name, now);
    }

    /// Lets a level go that was only waiting to be idle, and the others have its seats.
    fn reap(&mut self, name: &Arc<str>, now: Instant) {
        if self.levels.get(name).is_some_and(|level| level.is_leaving && level.queues.is_idle()) {
            self.levels.remove(name);
            self.share_out(now);
        }
    }

    /// Somebody is refused; how many seconds they should stay away.
    fn refuse(&mut self, name: &Arc<str>) -> u32 {
        self.levels.get_mut(name).map_or(1, |level| level.drops.drop_one(Instant::now()))
    }
}

fn refused(retry_after: u32) -> Status {
    Status::too_many_requests("Too many requests, please try again later.", retry_after)
}

#[cfg(test)]
mod tests;
