//! The hidden subcommand of the program alone, for this crate's tests.

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    xebec_container::monitor(&args)
}
