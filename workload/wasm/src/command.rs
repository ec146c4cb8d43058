//! A component that runs to its end.

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;
use wasmtime::Store;
use wasmtime_wasi::I32Exit;

use crate::{
    Compiled, Error, Host, Kind, Stream, WorkloadOptions,
    failure::{report, report_lines},
    instance::{State, TimeIsOver, new_store},
};

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exit {
    /// It ended by itself, with this code.
    Code(i32),
    /// It was cancelled.
    Cancelled,
    /// Its time limit was over.
    TimeIsOver,
}

impl Host {
    /// Runs a command to its end. Dropping the future ends the command.
    ///
    /// # Errors
    ///
    /// When the component is no command, an option has no meaning, a volume cannot be opened, or the command traps; of
    /// the last its output has the report.
    pub async fn run_command(
        &self,
        compiled: &Compiled,
        options: WorkloadOptions,
        cancel: CancellationToken,
    ) -> Result<Exit, Error> {
        options.check(&self.0.options)?;
        let digest = || compiled.digest().to_owned();
        if !compiled.kind().is_command() {
            let remedy = "serve it, or run a component that exports wasi:cli/run";
            return Err(Error::WrongKind { digest: digest(), kind: compiled.kind(), remedy });
        }
        let turn = self.0.ticker.turn();
        let deadline = options.time_limit.and_then(|limit| Instant::now().checked_add(limit));
        let mut store = new_store(compiled.pre.engine(), &options, deadline)?;
        let ended = {
            let mut run = pin!(run(compiled, &mut store));
            let time_is_over = async {
                match deadline.and_then(|deadline| deadline.checked_add(GRACE)) {
                    // A command that computes is stopped by the epoch; this is for one that waits.
                    Some(deadline) => sleep_until(deadline.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = cancel.cancelled() => return Ok(Exit::Cancelled),
                ended = &mut run => ended,
                () = time_is_over => return Ok(Exit::TimeIsOver),
            }
        };
        drop(turn);
        match ended {
            Ok(code) => Ok(Exit::Code(code)),
            Err(error) if error.is::<TimeIsOver>() => Ok(Exit::TimeIsOver),
            Err(error) => {
                let reason = store.data().limiter.verdict().unwrap_or_else(|| report(&error));
                for line in report_lines(&reason) {
                    options.output.line(Stream::Stderr, &format!("xebec: {line}"));
                }
                let reason = reason.lines().next().unwrap_or_default().to_owned();
                Err(Error::Trap { digest: digest(), reason })
            }
        }
    }
}

/// So much later than the epoch the timer stops a command.
const GRACE: Duration = Duration::from_millis(50);

async fn run(compiled: &Compiled, store: &mut Store<State>) -> wasmtime::Result<i32> {
    let returned = match compiled.kind() {
        Kind::Command03 => {
            let pre = wasmtime_wasi::p3::bindings::CommandPre::new(compiled.pre.clone())?;
            let command = pre.instantiate_async(&mut *store).await?;
            store.run_concurrent(async |accessor| command.wasi_cli_run().call_run(accessor).await).await?
        }
        _ => {
            let pre = wasmtime_wasi::p2::bindings::CommandPre::new(compiled.pre.clone())?;
            let command = pre.instantiate_async(&mut *store).await?;
            command.wasi_cli_run().call_run(&mut *store).await
        }
    };
    match returned {
        Ok(Ok(())) => Ok(0),
        Ok(Err(())) => Ok(1),
        Err(error) => error.downcast_ref::<I32Exit>().map(|exit| exit.0).ok_or(error),
    }
}
