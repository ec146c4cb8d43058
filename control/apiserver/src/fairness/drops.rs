//! How long those who were refused are asked to stay away: longer while many are refused, shorter again when few are.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// The longest that anybody is asked to wait, in seconds.
const LONGEST: u32 = 32;
/// So many refusals a second of the time that is asked for make it longer.
const MANY: u32 = 3;

/// The refusals of late.
#[derive(Debug)]
pub(super) struct Drops {
    /// How many there were, second by second.
    seconds: VecDeque<(Instant, u32)>,
    retry_after: u32,
    raised: Option<Instant>,
}

impl Default for Drops {
    fn default() -> Self {
        Self { seconds: VecDeque::new(), retry_after: 1, raised: None }
    }
}

impl Drops {
    /// Somebody is refused; how many seconds they should stay away.
    pub(super) fn drop_one(&mut self, now: Instant) -> u32 {
        const SECOND: Duration = Duration::from_secs(1);
        let age = |at: Instant| now.saturating_duration_since(at);
        match self.seconds.back_mut() {
            Some((begin, count)) if age(*begin) < SECOND => *count = count.saturating_add(1),
            _ => {
                self.adjust(now);
                self.seconds.push_back((now, 1));
            }
        }
        self.retry_after
    }

    /// Looks back as far as those who were refused are to stay away.
    fn adjust(&mut self, now: Instant) {
        let within = |at: Instant, seconds: u32| {
            now.saturating_duration_since(at) <= Duration::from_secs(seconds.into())
        };
        self.seconds.retain(|(begin, _)| within(*begin, LONGEST));
        let retry_after = self.retry_after;
        let late = self.seconds.iter().filter(|(begin, _)| within(*begin, retry_after));
        let refused = late.fold(0u32, |sum, (_, count)| sum.saturating_add(*count));
        // One rush raises it once.
        let is_due = self.raised.is_none_or(|raised| !within(raised, retry_after));
        if refused >= MANY * retry_after && is_due {
            self.retry_after = (retry_after * 2).min(LONGEST);
            self.raised = Some(now);
        } else if refused < retry_after {
            self.retry_after = (retry_after - 1).max(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lasting_rush_is_asked_to_stay_away_longer_and_a_single_refusal_is_not() {
        let begin = Instant::now();
        let mut drops = Drops::default();
        let mut asked = 0;
        for second in 0..120 {
            for _ in 0..200 {
                asked = drops.drop_one(begin + Duration::from_secs(second));
            }
        }
        assert_eq!(asked, LONGEST);
        let mut later = begin + Duration::from_secs(1_000);
        for _ in 0..64 {
            later += Duration::from_secs(60);
            asked = drops.drop_one(later);
        }
        assert_eq!(asked, 1);
    }
}
