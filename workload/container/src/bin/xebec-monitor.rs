//! The monitor as a program of its own: what stands beside a container when it need not be the whole platform.

use std::{ffi::OsString, process::ExitCode};

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    xebec_container::monitor(&args)
}
