//! `xebec`: the command line and the composition root, nothing else.
//!
//! This crate alone knows every room of the house. It reads the command line, builds the parts, wires their shutdown and
//! prints; what the parts do is theirs.

mod access_log;
mod api;
mod berth;
mod cli;
mod console;
mod controllers;
mod data_dir;
mod demo;
mod gateway;
mod image;
mod image_registry;
mod metrics;
mod node;
mod output;
mod parts;
mod pods;
mod progress;
mod prometheus;
mod pull;
mod push;
mod query;
mod shutdown;
mod status;
mod up;
mod why;

use std::io::ErrorKind;
use std::process::ExitCode;

use clap::Parser as _;
use xebec_machinery::decoding::STACK;

/// Objects come and go by the thousand in small pieces; what they leave is given back to the system.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The hidden subcommand under which this program watches over one container. It must come before any thread is started.
pub(crate) const MONITOR: &str = "container-monitor";

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    if let [first, rest @ ..] = args.as_slice()
        && first == MONITOR
    {
        return xebec_container::monitor(rest);
    }
    let cli = cli::Cli::parse();
    if std::env::var_os("RUST_BACKTRACE").is_none() {
        std::panic::set_hook(Box::new(log_panic));
    }
    let no_runtime = |error: std::io::Error| {
        output::tell(&format!("error: cannot start the async runtime: {error}"));
        ExitCode::FAILURE
    };
    // Objects nest as deep as clients like within a limit, and any thread may hold one. Of these stacks only what is used takes
    // memory.
    let mut threads = tokio::runtime::Builder::new_multi_thread();
    let runtime = match threads.enable_all().thread_stack_size(STACK).build() {
        Ok(runtime) => runtime,
        Err(error) => return no_runtime(error),
    };
    let main = std::thread::Builder::new().name("main".to_owned()).stack_size(STACK);
    let ended = std::thread::scope(|scope| {
        let main = main.spawn_scoped(scope, || runtime.block_on(cli.run()));
        main.map(|main| main.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    });
    match ended {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => {
            output::tell(&format!("error: {}", message(&error)));
            ExitCode::FAILURE
        }
        Err(error) => no_runtime(error),
    }
}

/// A panic is a defect, and whoever waits for what panicked says what comes of it: one line of the log will do.
fn log_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let reason = panic.payload_as_str().unwrap_or("no reason");
    tracing::error!("a defect at {place}: {reason} (RUST_BACKTRACE=1 shows more)");
}

/// An error and its causes on one line, without those that the one before has quoted.
fn message(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    let is_full = |cause: &(dyn std::error::Error + 'static)| {
        let kind = cause.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        matches!(kind, Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded))
    };
    if error.chain().any(is_full) && !text.contains("free space") {
        text.push_str("; free space on that disk and try again");
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};

    #[test]
    fn an_error_is_one_line_that_says_each_thing_once() {
        let error = anyhow!("disk\nfull").context("cannot write: disk\nfull").context("cannot start");
        assert_eq!(super::message(&error), "cannot start: cannot write: disk full");
        let other = Err::<(), _>(anyhow!("no such file")).context("cannot read x");
        assert_eq!(super::message(&other.unwrap_err()), "cannot read x: no such file");
    }

    #[test]
    fn a_full_disk_is_named_with_its_remedy_once() {
        let full = || anyhow::Error::new(std::io::Error::from(std::io::ErrorKind::StorageFull));
        let message = super::message(&full().context("cannot write /data/token"));
        assert!(
            message.starts_with("cannot write /data/token: ") && message.contains("free space"),
            "{message}"
        );
        let told = super::message(&full().context("cannot use x: free space there"));
        assert_eq!(told.matches("free space").count(), 1, "{told}");
    }
}
