//! The least program that can stand beside a container: what the hidden subcommand of a larger one ends in.

use std::{path::PathBuf, process::ExitCode};

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1) else {
        eprintln!("usage: monitor DIRECTORY");
        return ExitCode::from(2);
    };
    xebec_container::monitor(&PathBuf::from(folder))
}
