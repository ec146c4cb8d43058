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
    fn standing(&self) -> i64 {
        self.wanted.max(self.existing).into()
    }

    /// Pods that are available and stay so: an older status may count some that are to go.
    fn serving(&self) -> i64 {
        self.available.min(self.wanted).into()
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
    let newest = current.unwrap_or(fresh);
    let mut plan = Plan { current: newest.wanted, old: old.iter().map(|set| set.wanted).collect() };
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
        Strategy::RollingUpdate(bounds) => roll(wish.replicas, bounds, newest, old, &mut plan),
    }
    plan
}

/// One step of a rolling update: first the current set grows; only when it cannot do the old ones shrink. Several sets
/// together may be more than a size holds, so sums are wider.
fn roll(replicas: i32, bounds: Bounds, current: Size, old: &[Size], plan: &mut Plan) {
    if current.wanted > replicas {
        plan.current = replicas;
        return;
    }
    let total = total(plan);
    let wanted = i64::from(replicas);
    // Pods that are no longer wanted stand until they are ended; how many they are is known once that was observed.
    let standing = current.standing() + old.iter().map(Size::standing).sum::<i64>();
    let settled = current.observed && old.iter().all(|set| set.observed);
    let room = wanted + i64::from(bounds.surge) - standing;
    let missing = wanted - i64::from(current.wanted);
    let growth = if settled { room.min(missing).max(0) } else { 0 };
    if growth > 0 {
        plan.current = size(i64::from(plan.current) + growth);
        return;
    }

    let least = wanted - i64::from(bounds.unavailable);
    let starting = (i64::from(current.wanted) - i64::from(current.available)).max(0);
    let mut budget = total - least - starting;
    // Pods that serve nobody go first: ending them makes nothing worse.
    for (set, wanted) in old.iter().zip(&mut plan.old) {
        let broken = (i64::from(set.wanted) - set.serving()).min(budget.max(0));
        *wanted = size(i64::from(*wanted) - broken);
        budget -= broken;
    }
    let available = current.serving() + old.iter().map(Size::serving).sum::<i64>();
    let mut spare = (available - least).min(budget);
    for wanted in &mut plan.old {
        let gone = i64::from(*wanted).min(spare.max(0));
        *wanted = size(i64::from(*wanted) - gone);
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
    if current.is_some_and(|own| own.wanted == wish.replicas && own.available >= wish.replicas) {
        plan.old.fill(0);
        return;
    }
    let Strategy::RollingUpdate(bounds) = wish.strategy else { return };

    let surge = if wish.replicas > 0 { bounds.surge } else { 0 };
    let allowed = i64::from(wish.replicas) + i64::from(surge);
    let before = total(plan);
    if before == 0 || allowed == before {
        return;
    }
    let mut sizes: Vec<&mut i32> =
        std::iter::once(&mut plan.current).chain(plan.old.iter_mut().rev()).collect();
    let mut missing = allowed - before;
    // The largest first; of equals the newest grows first, and the oldest shrinks first.
    if missing < 0 {
        sizes.reverse();
    }
    sizes.sort_by_key(|size| std::cmp::Reverse(**size));
    for own in &mut sizes {
        let now = i64::from(**own);
        // To the nearest whole pod.
        let change = (2 * now * allowed + before) / (2 * before) - now;
        let change = if missing > 0 { change.clamp(0, missing) } else { change.clamp(missing, 0) };
        **own = size(now + change);
        missing -= change;
    }
    // What rounding left over is the largest set's.
    if let Some(largest) = sizes.into_iter().next() {
        *largest = size(i64::from(*largest) + missing);
    }
}

fn total(plan: &Plan) -> i64 {
    i64::from(plan.current) + plan.old.iter().copied().map(i64::from).sum::<i64>()
}

/// A number of pods as a size.
fn size(pods: i64) -> i32 {
    i32::try_from(pods.max(0)).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
