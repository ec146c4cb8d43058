//! The built binary as users run it: one instance on free ports, ended when the test ends.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::NamedTempFile;

/// How long an instance may take to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running `xebec up` or `xebec demo`.
pub(crate) struct Running {
    child: Child,
    data: PathBuf,
    /// What it wrote to stderr.
    log: NamedTempFile,
    /// The first line that it printed.
    pub(crate) ready: String,
}

impl Running {
    /// Starts `up` on `data` and waits until it says that it is ready.
    pub(crate) fn start(data: &Path) -> Self {
        Self::start_with(on_free_ports(&["up"], data), data)
    }

    /// Runs the command on `data` and waits until it says that it is ready.
    pub(crate) fn start_with(mut command: Command, data: &Path) -> Self {
        let log = NamedTempFile::new().expect("a temporary file");
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(log.reopen().expect("the log opens"))
            .spawn()
            .expect("the binary starts");
        let mut ready = String::new();
        BufReader::new(child.stdout.take().expect("stdout")).read_line(&mut ready).expect("stdout is text");
        let mut running = Self { child, data: data.to_owned(), log, ready };
        if !running.ready.starts_with("ready in ") {
            panic!("it printed {:?} and ended with {:?}", running.ready, running.child.wait());
        }
        running
    }

    /// Where a part listens, as `endpoints.json` has it.
    pub(crate) fn endpoint(&self, part: &str) -> String {
        let text = fs::read_to_string(self.data.join("endpoints.json"))
            .expect("endpoints.json is there once it is ready");
        let endpoints: Value = serde_json::from_str(&text).expect("endpoints.json is JSON");
        endpoints[part].as_str().expect("the part has an address").to_owned()
    }

    /// What it wrote to stderr so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log.path()).expect("the log is text")
    }

    /// How often its threads have been woken so far.
    pub(crate) fn wakeups(&self) -> u64 {
        let threads =
            fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("its threads are listed");
        let woken = |status: String| {
            let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            line.and_then(|count| count.trim().parse::<u64>().ok()).expect("a thread counts its switches")
        };
        threads
            .filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("status")).ok())
            .map(woken)
            .sum()
    }

    /// A limit that the system sets to it: what holds, and up to what it may raise that.
    pub(crate) fn limit(&self, name: &str) -> [String; 2] {
        let limits = fs::read_to_string(format!("/proc/{}/limits", self.child.id())).expect("it runs");
        let line = limits.lines().find_map(|line| line.strip_prefix(name)).expect("there is such a limit");
        let mut values = line.split_whitespace().map(str::to_owned);
        [values.next(), values.next()].map(|value| value.expect("a limit has two values"))
    }

    /// The most memory that it has had so far, in KiB.
    pub(crate) fn peak_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let size = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
        size.expect("the system tells how much")
    }

    /// Sends a signal by name and waits for the end.
    pub(crate) fn end_with(self, signal: &str) -> ExitStatus {
        self.end_and_log(signal).0
    }

    /// Sends a signal by name, waits for the end, and gives what was written to stderr too.
    pub(crate) fn end_and_log(mut self, signal: &str) -> (ExitStatus, String) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{signal}"), &pid]).status().expect("kill runs");
        assert!(sent.success());
        let status = self.child.wait().expect("the process ends");
        (status, self.log())
    }
}

impl Drop for Running {
    /// Gently, so that it takes its containers along.
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        }
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE && matches!(self.child.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the log of the instance:\n{}", self.log());
        }
    }
}

/// The built binary, not yet started.
pub(crate) fn xebec() -> Command {
    Command::new(env!("CARGO_BIN_EXE_xebec"))
}

/// The built binary with these arguments, free ports and a data directory, not yet started.
pub(crate) fn on_free_ports(args: &[&str], data: &Path) -> Command {
    with_api(args, "127.0.0.1:0", data)
}

/// The same with the API at an address.
pub(crate) fn with_api(args: &[&str], api: &str, data: &Path) -> Command {
    let mut command = xebec();
    command
        .args(args)
        .args(["--api", api])
        .args(["--registry", "--console"].map(|flag| [flag, "127.0.0.1:0"]).as_flattened());
    command.arg("--data").arg(data);
    command
}

/// Runs the binary to its end.
pub(crate) fn output_of(args: &[&str]) -> Output {
    let mut command = xebec();
    command.args(args);
    ended(command)
}

/// Runs a command to its end, which must come by itself.
pub(crate) fn ended(mut command: Command) -> Output {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let pid = child.id().to_string();
    let (done, waiting) = mpsc::channel::<()>();
    let watchdog = thread::spawn(move || {
        let late = waiting.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout);
        if late {
            let _ = Command::new("kill").arg(&pid).status();
        }
        late
    });
    let output = child.wait_with_output().expect("the output is read");
    drop(done);
    assert!(!watchdog.join().expect("the watchdog ends"), "it runs though it was to end: {output:?}");
    output
}

/// Whether a program of the field is installed; says that the test is skipped where it is not.
pub(crate) fn installed(tool: &str) -> bool {
    let args: &[&str] = match tool {
        "kubectl" => &["version", "--client"],
        "busybox" => &["--list"],
        _ => &["--version"],
    };
    let found = Command::new(tool).args(args).output().is_ok_and(|output| output.status.success());
    if !found {
        println!("skipped: {tool} is not installed");
    }
    found
}
