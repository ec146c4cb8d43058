//! The store seen from outside, in good times and bad.

#![allow(clippy::unwrap_used, reason = "what a helper unwraps ends its test")]

mod behaviour;
mod concurrency;
mod crash;
mod damage;
mod full_disk;
mod model;

/// Runs one test of this binary, an ignored one, in a process of its own.
fn child(test: &str, directory: &std::path::Path) -> std::process::Command {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args([test, "--exact", "--ignored", "--nocapture", "--test-threads=1"]);
    command.env("STORE_DIRECTORY", directory);
    command
}

/// The directory that the parent gave, if there is a parent.
fn given() -> Option<std::path::PathBuf> {
    std::env::var_os("STORE_DIRECTORY").map(Into::into)
}
