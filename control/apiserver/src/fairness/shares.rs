//! How many seats each priority level has: its share of all of them, and what it lends to and borrows from others.

/// What a level has for itself, at the least and at the most.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) nominal: u32,
    pub(super) lower: u32,
    pub(super) upper: u32,
}

/// What a level says of its part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) shares: u32,
    /// How much of its seats it lends, in percent.
    pub(super) lendable: u32,
    /// How much it borrows at the most, in percent of its seats; any number where it does not say.
    pub(super) borrowing: Option<u32>,
}

impl Part {
    /// What it comes to where there are `seats` for all shares together.
    pub(super) fn bounds(self, seats: u32, shares: u64) -> Bounds {
        if shares == 0 {
            return Bounds { nominal: 0, lower: 0, upper: seats };
        }
        let nominal = (f64::from(seats) * f64::from(self.shares) / shares as f64).ceil();
        let percent = |percent: u32| (nominal * f64::from(percent) / 100.0).round();
        let borrowed = self.borrowing.map_or(f64::from(seats), percent);
        // The casts saturate.
        Bounds {
            nominal: nominal as u32,
            lower: (nominal - percent(self.lendable.min(100))) as u32,
            upper: (nominal + borrowed) as u32,
        }
    }
}

/// A level that takes part in lending and borrowing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    pub(super) lower: f64,
    pub(super) upper: f64,
    /// What it would do with.
    pub(super) target: f64,
}

/// Deals out `sum` seats: to each level the same proportion of what it would do with, but no less than its lower and no
/// more than its upper bound. Gives that proportion too.
pub(super) fn deal(sum: f64, wishes: &[Wish]) -> (Vec<f64>, f64) {
    /// What nobody wants is dealt out too.
    const LEAST_TARGET: f64 = 0.001;
    const STEPS: usize = 100;
    let dealt = |proportion: f64| -> Vec<f64> {
        let one = |wish: &Wish| (proportion * wish.target.max(LEAST_TARGET)).min(wish.upper).max(wish.lower);
        wishes.iter().map(one).collect()
    };
    // What is dealt grows with the proportion, so the right one lies between these.
    let highest = wishes.iter().map(|wish| wish.upper / wish.target.max(LEAST_TARGET));
    let (mut low, mut high) = (0.0, highest.fold(0.0, f64::max));
    for _ in 0..STEPS {
        let middle = low + (high - low) / 2.0;
        if dealt(middle).iter().sum::<f64>() < sum { low = middle } else { high = middle }
    }
    (dealt(high), high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_rounded_up_and_part_of_it_is_lent() {
        let part = Part { shares: 20, lendable: 50, borrowing: None };
        assert_eq!(part.bounds(600, 245), Bounds { nominal: 49, lower: 24, upper: 649 });
        let part = Part { shares: 10, lendable: 0, borrowing: Some(50) };
        assert_eq!(part.bounds(600, 245), Bounds { nominal: 25, lower: 25, upper: 38 });
        let none = Part { shares: 0, lendable: 0, borrowing: None };
        assert_eq!(none.bounds(600, 0), Bounds { nominal: 0, lower: 0, upper: 600 });
    }

    #[test]
    fn whoever_wants_much_gets_what_others_do_not_need() {
        let wish = |lower, upper, target| Wish { lower, upper, target };
        let (dealt, _) = deal(100.0, &[wish(10.0, 150.0, 10.0), wish(10.0, 150.0, 90.0)]);
        assert!((dealt[0] - 10.0).abs() < 0.01 && (dealt[1] - 90.0).abs() < 0.01, "{dealt:?}");
        let (dealt, fraction) = deal(100.0, &[wish(30.0, 150.0, 30.0), wish(10.0, 40.0, 90.0)]);
        assert!((dealt[0] - 60.0).abs() < 0.01 && (dealt[1] - 40.0).abs() < 0.01, "{dealt:?}");
        assert!((fraction - 2.0).abs() < 0.01);
        let (dealt, _) = deal(100.0, &[wish(0.0, 200.0, 0.0), wish(0.0, 200.0, 0.0)]);
        assert!((dealt[0] - 50.0).abs() < 0.01, "{dealt:?}");
    }
}
