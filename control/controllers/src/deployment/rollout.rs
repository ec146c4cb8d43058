//! How many replicas each ReplicaSet of a Deployment should have now.
//!
//! A rolling update keeps two promises at every step: never more than `replicas + maxSurge` pods, never fewer than
//! `replicas - maxUnavailable` available ones. [`plan`] looks at what there is and takes the next steps that both allow.
//! It is level-triggered: it remembers nothing, and applying its answer until the answer is empty ends the rollout.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// One ReplicaSet as the rollout sees it. The old ones are given from the oldest to the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// `spec.replicas`.
    pub wanted: i32,
    /// `status.availableReplicas`.
    pub available: i32,
    /// Pods that exist (`status.replicas`).
    pub existing: i32,
    /// Whether the status speaks of what is wanted now, rather than of an earlier wish.
    pub observed: bool,
    /// The Deployment's `replicas` when this set was last sized; absent where nobody recorded it.
    pub sized_for: Option<i32>,
}

impl Size {
    /// Pods that may stand now.
    fn standing(&self) -> i32 {
        self.wanted.max(self.existing)
    }

    /// Pods that are available and stay so: an older status may count some that are to go.
    fn serving(&self) -> i32 {
        self.available.min(self.wanted)
    }
}

/// How far a rolling update may leave the wanted number of pods, in pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Pods above it.
    pub surge: i32,
    /// Unavailable pods below it.
    pub unavailable: i32,
}

/// How old pods give way to new ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strategy {
    /// All old ones end before the first new one starts.
    Recreate,
    /// Step by step.
    RollingUpdate(Bounds),
}

/// What the Deployment asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    /// `spec.replicas`.
    pub replicas: i32,
    /// `spec.strategy`.
    pub strategy: Strategy,
    /// `spec.paused`: no pods move between templates, but a change of `replicas` still acts.
    pub paused: bool,
}

/// The sizes to set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// `spec.replicas` of the set with the current template.
    pub current: i32,
    /// `spec.replicas` of each old set, in the order given.
    pub old: Vec<i32>,
}

impl Bounds {
    /// Resolves `maxSurge` (rounded up) and `maxUnavailable` (rounded down), which are counts or percentages.
    ///
    /// Both default to 25 %. Where both come to nothing no step would be possible, so one pod may be unavailable. Text
    /// that is no percentage counts as zero; the API server's validation keeps it out.
    pub fn resolve(replicas: i32, surge: Option<&IntOrString>, unavailable: Option<&IntOrString>) -> Self {
        let quarter = IntOrString::String("25%".to_owned());
        let surge = pods(surge.unwrap_or(&quarter), replicas, true);
        let unavailable = pods(unavailable.unwrap_or(&quarter), replicas, false);
        if surge == 0 && unavailable == 0 {
            return Self { surge: 0, unavailable: 1 };
        }
        Self { surge, unavailable: unavailable.min(replicas) }
    }
}

/// A count, or the part of `replicas` that a percentage names.
fn pods(value: &IntOrString, replicas: i32, round_up: bool) -> i32 {
    let count = match value {
        IntOrString::Int(count) => i64::from(*count),
        IntOrString::String(text) => {
            let percent = text.strip_suffix('%').and_then(|number| number.parse::<i32>().ok()).unwrap_or(0);
            let hundredths = i64::from(percent.max(0)) * i64::from(replicas.max(0));
            if round_up { (hundredths + 99) / 100 } else { hundredths / 100 }
        }
    };
    i32::try_from(count.max(0)).unwrap_or(i32::MAX)
}

/// The sizes that the sets should have now.
///
/// `current` is absent where no set has the Deployment's template yet; the answer then says how large to make it.
pub fn plan(wish: Wish, current: Option<Size>, old: &[Size]) -> Plan {
    let fresh = Size { wanted: 0, available: 0, existing: 0, observed: true, sized_for: Some(wish.replicas) };
    let size = current.unwrap_or(fresh);
    let mut plan = Plan { current: size.wanted, old: old.iter().map(|set| set.wanted).collect() };
    let resized = current
        .iter()
        .chain(old)
        .any(|set| set.wanted > 0 && set.sized_for.is_some_and(|sized_for| sized_for != wish.replicas));
    if wish.paused || resized {
        resize(wish, current, old, &mut plan);
        return plan;
    }
    match wish.strategy {
        Strategy::Recreate => {
            plan.old.fill(0);
            if old.iter().all(|set| set.existing == 0 && (set.observed || set.wanted == 0)) {
                plan.current = wish.replicas;
            }
        }
        Strategy::RollingUpdate(bounds) => roll(wish.replicas, bounds, size, old, &mut plan),
    }
    plan
}

/// One step of a rolling update: first the current set grows; only when it cannot do the old ones shrink.
fn roll(replicas: i32, bounds: Bounds, current: Size, old: &[Size], plan: &mut Plan) {
    let total = total(plan);
    if current.wanted > replicas {
        plan.current = replicas;
        return;
    }
    // Pods that are no longer wanted stand until they are ended; how many they are is known once that was observed.
    let standing = current.standing() + old.iter().map(Size::standing).sum::<i32>();
    let settled = current.observed && old.iter().all(|set| set.observed);
    let room = replicas.saturating_add(bounds.surge).saturating_sub(standing);
    let missing = replicas - current.wanted;
    let growth = if settled { room.min(missing).max(0) } else { 0 };
    if growth > 0 {
        plan.current += growth;
        return;
    }

    let least = replicas - bounds.unavailable;
    let starting = (current.wanted - current.available).max(0);
    let mut budget = total - least - starting;
    // Pods that serve nobody go first: ending them makes nothing worse.
    for (set, wanted) in old.iter().zip(&mut plan.old) {
        let broken = (set.wanted - set.serving()).min(budget.max(0));
        *wanted -= broken;
        budget -= broken;
    }
    let available = current.serving() + old.iter().map(Size::serving).sum::<i32>();
    let mut spare = (available - least).min(budget);
    for wanted in &mut plan.old {
        let gone = (*wanted).min(spare.max(0));
        *wanted -= gone;
        spare -= gone;
    }
}

/// `replicas` changed, perhaps in the middle of a rollout: the sets keep their proportions.
fn resize(wish: Wish, current: Option<Size>, old: &[Size], plan: &mut Plan) {
    let active = old.iter().filter(|set| set.wanted > 0).count();
    if current.is_some() && active == 0 {
        plan.current = wish.replicas;
        return;
    }
    if let (1, None | Some(Size { wanted: 0, .. })) = (active, current) {
        for wanted in plan.old.iter_mut().filter(|wanted| **wanted > 0) {
            *wanted = wish.replicas;
        }
        return;
    }
    if current.is_some_and(|size| size.wanted == wish.replicas && size.available >= wish.replicas) {
        plan.old.fill(0);
        return;
    }
    let Strategy::RollingUpdate(bounds) = wish.strategy else { return };

    let allowed = if wish.replicas > 0 { wish.replicas.saturating_add(bounds.surge) } else { 0 };
    let before = total(plan);
    if before == 0 || allowed == before {
        return;
    }
    let mut sizes: Vec<&mut i32> =
        std::iter::once(&mut plan.current).chain(plan.old.iter_mut().rev()).collect();
    let mut missing = allowed - before;
    for size in &mut sizes {
        let share = i64::from(**size) * i64::from(allowed) / i64::from(before);
        let change = i32::try_from(share).unwrap_or(i32::MAX) - **size;
        let change = if missing > 0 { change.clamp(0, missing) } else { change.clamp(missing, 0) };
        **size += change;
        missing -= change;
    }
    // What rounding left over goes to the largest set, the newest of equals.
    if missing != 0
        && let Some(largest) = sizes.into_iter().rev().max_by_key(|size| **size)
    {
        *largest = (*largest + missing).max(0);
    }
}

fn total(plan: &Plan) -> i32 {
    plan.current + plan.old.iter().sum::<i32>()
}

#[cfg(test)]
mod tests;
