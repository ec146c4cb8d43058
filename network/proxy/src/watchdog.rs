//! A timer that is restarted often and fires seldom: a restart only notes the time; the runtime's timer moves when
//! it fires too early.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// Fires when so long has passed since the last restart.
#[derive(Debug)]
pub(crate) struct Watchdog {
    limit: Duration,
    due: Instant,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Watchdog {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, due: Instant::now() + limit, timer: None }
    }

    /// Begins anew with the same limit.
    pub(crate) fn restart(&mut self) {
        self.due = Instant::now() + self.limit;
    }

    /// Begins anew with another limit.
    pub(crate) fn restart_with(&mut self, limit: Duration) {
        self.limit = limit;
        self.restart();
        // A timer set for later than this would fire late.
        if let Some(timer) = &mut self.timer
            && timer.deadline() > self.due
        {
            timer.as_mut().reset(self.due);
        }
    }

    /// Ready when the time is over.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let due = self.due;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        loop {
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= self.due {
                return Poll::Ready(());
            }
            timer.as_mut().reset(self.due);
        }
    }
}

#[cfg(test)]
mod tests;
