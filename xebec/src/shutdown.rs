//! The wish to stop, as every part sees it.

use anyhow::{Context as _, Result};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::output;

/// What users ask for when they want to stop.
#[derive(Clone)]
pub(crate) struct Stop {
    /// Cancelled by the first SIGINT, SIGTERM or SIGHUP: all is to end in order.
    pub(crate) wish: CancellationToken,
    /// Cancelled by the second: what is left is to end at once.
    pub(crate) hurry: CancellationToken,
}

/// Listens for the signals of users who want to stop. The third ends the process as it is.
pub(crate) fn on_signals() -> Result<Stop> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    // The terminal was closed.
    let mut hangup = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    let stop = Stop { wish: CancellationToken::new(), hurry: CancellationToken::new() };
    let own = stop.clone();
    tokio::spawn(async move {
        for signals in 0_u8.. {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
            match signals {
                0 => own.wish.cancel(),
                1 => {
                    output::tell("ending at once what is left …");
                    own.hurry.cancel();
                }
                _ => {
                    output::tell("stopped as it was, as asked three times; the next start clears up");
                    std::process::exit(1);
                }
            }
        }
    });
    Ok(stop)
}
