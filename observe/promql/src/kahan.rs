//! Summation that keeps what rounding would lose (Kahan's, with Neumaier's improvement).

/// A sum and what its rounding lost so far.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct KahanSum {
    /// The rounded sum.
    pub sum: f64,
    /// What has to be added to it.
    pub lost: f64,
}

impl KahanSum {
    /// A sum of one number.
    pub fn new(sum: f64) -> Self {
        Self { sum, lost: 0.0 }
    }

    /// Adds a number.
    #[inline]
    pub fn add(&mut self, number: f64) {
        let total = self.sum + number;
        if total.is_infinite() {
            self.lost = 0.0;
        } else if self.sum.abs() >= number.abs() {
            self.lost += (self.sum - total) + number;
        } else {
            self.lost += (number - total) + self.sum;
        }
        self.sum = total;
    }

    /// The sum with what was lost.
    pub fn total(self) -> f64 {
        self.sum + self.lost
    }
}

/// A mean that switches from sum and count to an incremental mean before the sum would overflow.
#[derive(Debug, Clone, Copy, Default)]
pub struct KahanMean {
    value: KahanSum,
    count: f64,
    incremental: bool,
}

impl KahanMean {
    /// Adds a number.
    #[inline]
    pub fn add(&mut self, number: f64) {
        self.count += 1.0;
        if self.count == 1.0 {
            self.value = KahanSum::new(number);
            return;
        }
        if !self.incremental {
            let mut next = self.value;
            next.add(number);
            if !next.sum.is_infinite() {
                self.value = next;
                return;
            }
            self.incremental = true;
            self.value.sum /= self.count - 1.0;
            self.value.lost /= self.count - 1.0;
        }
        let share = (self.count - 1.0) / self.count;
        self.value.sum *= share;
        self.value.lost *= share;
        self.value.add(number / self.count);
    }

    /// The mean of what was added; not a number if nothing was.
    pub fn mean(self) -> f64 {
        match self.incremental {
            true => self.value.total(),
            false => self.value.sum / self.count + self.value.lost / self.count,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_numbers_are_not_lost_beside_large_ones() {
        let mut sum = KahanSum::default();
        for number in [1.0, 1e100, 1.0, -1e100] {
            sum.add(number);
        }
        assert_eq!(sum.total(), 2.0);
    }

    #[test]
    fn the_mean_of_huge_numbers_does_not_overflow() {
        let mut mean = KahanMean::default();
        for _ in 0..4 {
            mean.add(f64::MAX);
        }
        assert!((mean.mean() / f64::MAX - 1.0).abs() < 1e-12);
    }
}
