//! Pauses between attempts at something that fails: longer each time, and over at once when the API stops.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);

/// How long to wait before the next attempt.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Backoff {
    /// How long to wait now; twice as long the next time, up to a limit.
    pub(crate) fn step(&mut self) -> Duration {
        let now = self.next;
        self.next = (now * 2).min(LONGEST);
        now
    }

    /// An attempt got through: the next failure waits as briefly as the first.
    pub(crate) fn reset(&mut self) {
        self.next = FIRST;
    }

    /// Waits; tells whether to go on, which is over once `shutdown` is cancelled.
    pub(crate) async fn wait(&mut self, shutdown: &CancellationToken) -> bool {
        tokio::select! {
            () = shutdown.cancelled() => false,
            () = tokio::time::sleep(self.step()) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_pause_is_longer_until_the_limit_and_none_outlasts_the_api() {
        let mut backoff = Backoff::default();
        let steps: Vec<_> = (0..12).map(|_| backoff.step()).collect();
        assert!(steps.windows(2).all(|pair| pair[0] < pair[1] || pair[1] == LONGEST), "{steps:?}");
        assert_eq!(steps.last(), Some(&LONGEST));
        backoff.reset();
        assert_eq!(backoff.step(), FIRST);

        let shutdown = CancellationToken::new();
        assert!(backoff.wait(&shutdown).await);
        shutdown.cancel();
        let before = tokio::time::Instant::now();
        assert!(!backoff.wait(&shutdown).await);
        assert_eq!(before.elapsed(), Duration::ZERO);
    }
}
