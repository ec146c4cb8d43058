//! The contract of `xebec up`: ready line, endpoints, one holder a data directory, clean end.

use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::running::{Running, on_free_ports, output_of, xebec};

#[test]
fn ready_means_that_every_address_in_endpoints_json_answers() {
    let data = tempfile::tempdir().unwrap();
    let running = Running::start(data.path());
    assert!(running.ready.trim_end().ends_with(" ms"), "{:?}", running.ready);
    let address = running.endpoint("registry");
    assert!(!address.ends_with(":0"));
    TcpStream::connect(&address).expect("the registry accepts connections");
    let status = xebec().args(["status", "-o", "json", "--data"]).arg(data.path()).output().unwrap();
    assert!(status.status.success());
    let rows: Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(rows[0]["serving"], true);
}

#[test]
fn a_signal_ends_it_cleanly_and_takes_the_endpoints_away() {
    for signal in ["INT", "TERM"] {
        let data = tempfile::tempdir().unwrap();
        let status = Running::start(data.path()).end_with(signal);
        assert_eq!(status.code(), Some(0), "SIG{signal}");
        assert!(!data.path().join("endpoints.json").exists());
    }
}

#[test]
fn a_killed_instance_is_followed_by_one_on_the_same_data() {
    let data = tempfile::tempdir().unwrap();
    Running::start(data.path()).end_with("KILL");
    let status = xebec().args(["status", "--data"]).arg(data.path()).output().unwrap();
    assert_eq!(status.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&status.stderr).contains("do not answer"));
    Running::start(data.path()).end_with("TERM");
}

#[test]
fn an_instance_with_nothing_to_do_rests() {
    let data = tempfile::tempdir().unwrap();
    let running = Running::start(data.path());
    // What waits for the first listings of all kinds waits no longer than this.
    std::thread::sleep(Duration::from_secs(35));
    let before = running.wakeups();
    std::thread::sleep(Duration::from_secs(5));
    let wakeups = running.wakeups() - before;
    assert!(wakeups < 1000, "its threads were woken {wakeups} times in 5 seconds");
}

#[test]
fn as_many_files_as_the_system_allows_may_be_open() {
    let data = tempfile::tempdir().unwrap();
    let up = on_free_ports(&["up"], data.path());
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -S -n 256 && exec \"$@\"", "sh"]).arg(up.get_program()).args(up.get_args());
    let running = Running::start_with(command, data.path());
    let limits = running.limit("Max open files");
    assert!(limits[0] == limits[1] && limits[0] != "256", "{limits:?}");
}

#[test]
fn usage_errors_exit_with_two() {
    assert_eq!(output_of(&["up", "--no-such-flag"]).status.code(), Some(2));
    assert_eq!(output_of(&["up", "--only", "no-such-part"]).status.code(), Some(2));
    assert_eq!(output_of(&["up", "--only", "registry", "--without", "registry"]).status.code(), Some(2));
    assert_eq!(output_of(&["--help"]).status.code(), Some(0));
}

#[test]
fn an_address_that_is_none_is_told_with_one_that_is() {
    let output = output_of(&["up", "--api", "foo"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("HOST:PORT") && text.contains("127.0.0.1:6443"), "{text}");
}

#[test]
fn who_reads_no_further_is_no_failure() {
    let mut command = xebec();
    command.args(["completions", "bash"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), &*String::from_utf8_lossy(&output.stderr)), (Some(0), ""));
}
