//! Chance that can be repeated, for tests that throw random input at parsers and peers.
//!
//! What comes in: `XEBEC_FUZZ_SECONDS`, how long such a test tries (a second where it is not set), and `XEBEC_FUZZ_SEED`,
//! with which a run is repeated. What goes out: [`Rounds`], which print the seed and last that long, and the [`Dice`] that
//! all of a run's chance comes from. The crate knows nothing of what is tested, and no part of the program stands on it:
//! tests alone do.
//!
//! ```
//! use xebec_dice::rounds;
//!
//! rounds("numbers are read or refused", |dice| {
//!     let text = String::from_utf8_lossy(&dice.bytes(20)).into_owned();
//!     let _ = text.parse::<u64>();
//! });
//! ```

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A stream of chance (SplitMix64), which its seed decides.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// The stream of this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below `bound`; zero where there is none.
    pub fn below(&mut self, bound: usize) -> usize {
        // The rest is below the bound, and so within its type.
        (self.number() % bound.max(1) as u64) as usize
    }

    /// True once in so many times.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of these, of which there must be one.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    /// Fewer bytes than `most`.
    pub fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most)).map(|_| self.number().to_le_bytes()[0]).collect()
    }

    /// The bytes with some of them changed, doubled, moved or cut off.
    pub fn mutated(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len().max(1));
            match self.below(6) {
                _ if bytes.is_empty() => bytes = self.bytes(8),
                0 => bytes[at] = self.number().to_le_bytes()[3],
                1 => bytes[at] ^= 1 << self.below(8),
                2 => bytes.truncate(at),
                3 => drop(bytes.splice(at..at, self.bytes(6))),
                4 => {
                    let end = (at + self.below(12)).min(bytes.len());
                    let copy = bytes[at..end].to_vec();
                    drop(bytes.splice(at..at, copy));
                }
                _ => bytes[at] = *self.pick(&[0, 0x7f, 0x80, 0xff, b'"', b'{', b'[', b'\\', b'~', b'/']),
            }
        }
        bytes
    }
}

/// Fewer rounds than these are no test.
const FEWEST: u64 = 11;
/// How many times longer than asked a test may take on a machine that has other work, to come to as many.
const PATIENCE: u32 = 30;

/// The time that a test has to try.
#[derive(Debug)]
pub struct Rounds {
    end: Instant,
    /// When a round hangs, rather than that the machine is slow.
    last: Instant,
    begun: u64,
}

impl Rounds {
    /// Begins to try, and prints the seed by which the run is repeated: the one of `XEBEC_FUZZ_SEED`, a new one where
    /// `XEBEC_FUZZ_SECONDS` asks for a search, and else always the same, that a change fails for what it changed.
    pub fn begin(name: &str) -> (Self, Dice) {
        let number = |name| std::env::var(name).ok().and_then(|text: String| text.parse::<u64>().ok());
        let seconds = number("XEBEC_FUZZ_SECONDS");
        // Its lowest digits change from run to run.
        let clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
        let seed = number("XEBEC_FUZZ_SEED").unwrap_or_else(|| seconds.map_or(1, |_| clock()));
        println!("{name}: XEBEC_FUZZ_SEED={seed}");
        let length = Duration::from_secs(seconds.unwrap_or(1));
        let now = Instant::now();
        (Self { end: now + length, last: now + length * PATIENCE, begun: 0 }, Dice::new(seed))
    }

    /// Whether there is time for another round.
    pub fn goes_on(&mut self) -> bool {
        let end = if self.begun < FEWEST { self.last } else { self.end };
        let goes_on = Instant::now() < end;
        self.begun += u64::from(goes_on);
        goes_on
    }

    /// How many rounds were begun.
    pub fn begun(&self) -> u64 {
        self.begun
    }
}

/// Runs `round` again and again, for as long as there is time.
///
/// # Panics
///
/// Where a round does, and where there was time for no more than a few: one of them hangs.
pub fn rounds(name: &str, mut round: impl FnMut(&mut Dice)) {
    let (mut rounds, mut dice) = Rounds::begin(name);
    while rounds.goes_on() {
        round(&mut dice);
    }
    check(name, rounds.begun());
}

fn check(name: &str, begun: u64) {
    println!("{name}: {begun} rounds");
    assert!(begun >= FEWEST, "{name}: {begun} rounds only: one of them hangs");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_all_that_follows() {
        let thrown = |seed| {
            let mut dice = Dice::new(seed);
            (dice.number(), dice.below(1_000), dice.bytes(50), *dice.pick(&["a", "b", "c"]))
        };
        assert_eq!(thrown(7), thrown(7));
        assert_ne!(thrown(7), thrown(8));
    }

    #[test]
    fn every_number_below_a_bound_comes_and_none_beyond() {
        let mut dice = Dice::new(1);
        let mut seen = [0; 6];
        (0..600).for_each(|_| seen[dice.below(6)] += 1);
        assert!(seen.iter().all(|count| (50..150).contains(count)), "{seen:?}");
        assert_eq!(dice.below(0), 0);
        let hits = (0..1_000).filter(|_| dice.once_in(10)).count();
        assert!((50..200).contains(&hits), "{hits}");
    }

    #[test]
    #[should_panic = "one of them hangs"]
    fn a_test_that_comes_to_few_rounds_fails() {
        check("slow", 3);
    }
}
