//! The built binary as users run it: one instance on free ports, ended when the test ends.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

/// A running `xebec up`.
pub(crate) struct Running {
    child: Child,
    /// The first line that it printed.
    pub(crate) ready: String,
}

impl Running {
    /// Starts an instance on `data` and waits until it says that it is ready.
    pub(crate) fn start(data: &Path) -> Self {
        let mut child = xebec()
            .args(["up", "--api", "127.0.0.1:0", "--registry", "127.0.0.1:0", "--data"])
            .arg(data)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the binary starts");
        let mut ready = String::new();
        BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut ready).expect("stdout is text");
        assert!(ready.starts_with("ready in "), "{ready:?}");
        Self { child, ready }
    }

    /// Sends a signal by name and waits for the end.
    pub(crate) fn end_with(mut self, signal: &str) -> ExitStatus {
        let pid = self.child.id().to_string();
        assert!(
            Command::new("kill").args([&format!("-{signal}"), &pid]).status().expect("kill runs").success()
        );
        self.child.wait().expect("the process ends")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The built binary, not yet started.
pub(crate) fn xebec() -> Command {
    Command::new(env!("CARGO_BIN_EXE_xebec"))
}

/// Runs the binary to its end.
pub(crate) fn output_of(args: &[&str]) -> Output {
    xebec().args(args).output().expect("the binary starts")
}
