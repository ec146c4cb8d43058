//! Priority levels: their seats, their queues, and what is counted of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use xebec_machinery::flow::EXEMPT;

use super::demand::{Demand, Wanted};
use super::drops::Drops;
use super::queues::{Queues, Shape};
use super::shares::{Bounds, Part};
use crate::object;

/// No request takes more seats than this.
const WIDEST: u32 = 10;
/// Nor more than this part of what its level has.
const WIDEST_PART: f64 = 0.15;

/// What a PriorityLevelConfiguration says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) uid: Box<str>,
    pub(super) shape: Shape,
    pub(super) part: Part,
}

impl Settings {
    /// Reads a stored object; nothing where it makes no sense, which the API takes care of.
    pub(super) fn read(level: &Value) -> Option<Self> {
        let spec = level.get("spec")?;
        let number = |of: &Value, key: &str| {
            of.get(key).and_then(Value::as_u64).map(|number| u32::try_from(number).unwrap_or(u32::MAX))
        };
        let part = |of: &Value| Part {
            shares: number(of, "nominalConcurrencyShares").unwrap_or_default(),
            lendable: number(of, "lendablePercent").unwrap_or_default(),
            borrowing: number(of, "borrowingLimitPercent"),
        };
        let is_exempt = object::name(level) == EXEMPT;
        let (shape, part) = match (spec.get("type")?.as_str()?, spec.get("limited"), spec.get("exempt")) {
            ("Exempt", None, of) if is_exempt => (Shape::Exempt, part(of.unwrap_or(&Value::Null))),
            ("Limited", Some(limited), None) if !is_exempt => {
                let response = limited.get("limitResponse")?;
                let shape = match (response.get("type")?.as_str()?, response.get("queuing")) {
                    ("Reject", None) => Shape::Reject,
                    ("Queue", Some(of)) => Shape::Queue {
                        queues: number(of, "queues")?.max(1),
                        hand: number(of, "handSize")?.max(1),
                        length: number(of, "queueLengthLimit")? as usize,
                    },
                    _ => return None,
                };
                (shape, part(limited))
            }
            _ => return None,
        };
        Some(Self { uid: object::meta(level, "uid").into(), shape, part })
    }
}

/// What became of the requests of a flow.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) dispatched: u64,
    /// By why, as metrics name it.
    pub(super) refused: BTreeMap<&'static str, u64>,
    pub(super) waiting: u32,
    pub(super) executing: u32,
    pub(super) seats: u32,
    pub(super) waited: Duration,
}

/// A priority level at work. `T` is what is handed to whoever gets a seat.
pub(super) struct Level<T> {
    pub(super) settings: Settings,
    pub(super) bounds: Bounds,
    /// How many seats it has now, with what it borrows and without what it lends.
    pub(super) limit: u32,
    pub(super) queues: Queues<T>,
    pub(super) demand: Demand,
    pub(super) wanted: Wanted,
    pub(super) drops: Drops,
    /// Its object is gone, and it goes when the last request of it has.
    pub(super) is_leaving: bool,
    /// By flow.
    pub(super) tallies: BTreeMap<Arc<str>, Tally>,
}

impl<T> Level<T> {
    pub(super) fn new(settings: Settings, now: Instant) -> Self {
        Self {
            queues: Queues::new(settings.shape, now),
            settings,
            bounds: Bounds::default(),
            limit: 0,
            demand: Demand::new(now),
            wanted: Wanted::default(),
            drops: Drops::default(),
            is_leaving: false,
            tallies: BTreeMap::new(),
        }
    }

    pub(super) fn is_exempt(&self) -> bool {
        self.settings.shape == Shape::Exempt
    }

    /// How many seats a request takes that would take `width`.
    pub(super) fn width(&self, width: u32) -> u32 {
        let widest = match self.settings.shape {
            Shape::Queue { hand, .. } => {
                // The cast saturates.
                let part = (f64::from(self.bounds.nominal) * WIDEST_PART).ceil() as u32;
                part.min(self.bounds.nominal / hand).clamp(1, WIDEST)
            }
            _ => WIDEST,
        };
        width.clamp(1, widest)
    }

    pub(super) fn tally(&mut self, flow: &Arc<str>) -> &mut Tally {
        self.tallies.entry(flow.clone()).or_default()
    }

    /// Notes how many seats are wanted, after that changed.
    pub(super) fn note_demand(&mut self, now: Instant) {
        self.demand.set(self.queues.demand(), now);
    }

    pub(super) fn refused(&self, why: &str) -> u64 {
        self.tallies.values().filter_map(|tally| tally.refused.get(why)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_level_that_makes_no_sense_is_none() {
        let level =
            |name: &str, spec: Value| Settings::read(&json!({"metadata": {"name": name}, "spec": spec}));
        assert!(level("exempt", json!({"type": "Exempt"})).is_some());
        assert!(level("other", json!({"type": "Exempt"})).is_none());
        let reject = json!({"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}});
        assert_eq!(level("a", reject.clone()).unwrap().shape, Shape::Reject);
        assert!(level("exempt", reject).is_none());
        assert!(
            level("a", json!({"type": "Limited", "limited": {"limitResponse": {"type": "Queue"}}})).is_none()
        );
    }

    #[test]
    fn a_request_takes_no_more_than_its_level_can_well_spare() {
        let spec = json!({"type": "Limited", "limited": {
            "nominalConcurrencyShares": 20,
            "limitResponse": {"type": "Queue", "queuing": {"queues": 64, "handSize": 6, "queueLengthLimit": 50}},
        }});
        let settings = Settings::read(&json!({"metadata": {"name": "a"}, "spec": spec})).unwrap();
        let mut level = Level::<()>::new(settings, Instant::now());
        for (nominal, widest) in [(49, 8), (600, 10), (6, 1), (0, 1)] {
            level.bounds.nominal = nominal;
            assert_eq!((level.width(16), level.width(1)), (widest, 1), "{nominal}");
        }
    }
}
