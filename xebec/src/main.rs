//! `xebec`: the command line and the composition root, nothing else.
//!
//! This crate alone knows every room of the house. It reads the command line, builds the parts, wires their shutdown and
//! prints; what the parts do is theirs.

mod api;
mod berth;
mod cli;
mod data_dir;
mod demo;
mod gateway;
mod image;
mod image_registry;
mod node;
mod pull;
mod push;
mod shutdown;
mod status;
mod up;

use std::process::ExitCode;

use clap::Parser as _;

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
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start the async runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(cli.run()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
