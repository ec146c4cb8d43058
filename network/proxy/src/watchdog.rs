//! A timer that is restarted often and fires seldom: a restart costs nothing, the clock is read when the timer is next
//! waited for, and the runtime's timer moves when it fires too early.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// Fires when so long has passed since the first wait after the last restart.
#[derive(Debug)]
pub(crate) struct Watchdog {
    limit: Duration,
    /// Not known from a restart until the next wait.
    due: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Watchdog {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, due: None, timer: None }
    }

    /// Begins anew with the same limit.
    pub(crate) fn restart(&mut self) {
        self.due = None;
    }

    /// Begins anew with another limit.
    pub(crate) fn restart_with(&mut self, limit: Duration) {
        self.limit = limit;
        self.restart();
    }

    /// Ready when the time is over.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let limit = self.limit;
        let due = *self.due.get_or_insert_with(|| Instant::now() + limit);
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        // A timer set for later than this would fire late.
        if timer.deadline() > due {
            timer.as_mut().reset(due);
        }
        loop {
            ready!(timer.as_mut().poll(cx));
            if timer.deadline() >= due {
                return Poll::Ready(());
            }
            timer.as_mut().reset(due);
        }
    }
}

#[cfg(test)]
mod tests;
