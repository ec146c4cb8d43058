//! Processes by number and the time they began, since numbers are used again.

use std::{
    fs, io,
    os::fd::{BorrowedFd, OwnedFd},
};

use rustix::fs::{Mode, OFlags, openat};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use serde::{Deserialize, Serialize};
use tokio::io::{Interest, unix::AsyncFd};

/// One process for all time (until the machine restarts; `boot` tells).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) pid: i32,
    /// In clock ticks since the machine started.
    started: u64,
    boot: String,
}

impl Process {
    /// The process that has this number now.
    pub(crate) fn of(pid: i32) -> io::Result<Self> {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
        Ok(Self { pid, started: started(pid)?, boot })
    }

    /// The process that has this number now, as a `/proc` tells that need not be the one at its usual place.
    pub(crate) fn seen_in(proc: BorrowedFd<'_>, pid: i32) -> io::Result<Self> {
        let read = |path: &str| {
            let file = openat(proc, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
            io::read_to_string(fs::File::from(file))
        };
        let boot = read("sys/kernel/random/boot_id")?.trim().to_owned();
        Ok(Self { pid, started: began(&read(&format!("{pid}/stat"))?)?, boot })
    }

    /// A handle to the process, if it is still there.
    pub(crate) fn handle(&self) -> Option<OwnedFd> {
        let handle = pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::NONBLOCK).ok()?;
        // Compared once the handle is held: from then on the number stays this process's, or nobody's.
        (Self::of(self.pid).ok().as_ref() == Some(self)).then_some(handle)
    }
}

/// A descriptor that the runtime can wait for.
#[expect(
    deprecated,
    reason = "its safe replacement is not there; an owned descriptor stays open as long as needed"
)]
pub(crate) fn watched(descriptor: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(descriptor, interest)
}

fn started(pid: i32) -> io::Result<u64> {
    began(&fs::read_to_string(format!("/proc/{pid}/stat"))?)
}

/// When a process began, by its state.
fn began(stat: &str) -> io::Result<u64> {
    // The command's name stands in parentheses and may hold anything, even parentheses (proc(5), /proc/pid/stat).
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let state = rest.split_whitespace().next();
    if matches!(state, Some("Z" | "X")) {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the process has ended"));
    }
    let field = rest.split_whitespace().nth(19).and_then(|field| field.parse().ok());
    field.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "malformed process state"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_process_of_the_same_number_is_another_process() {
        let own = Process::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        assert!(own.handle().is_some());
        assert!(Process { started: own.started + 1, ..own.clone() }.handle().is_none());
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::of(i32::try_from(child.id()).unwrap()).unwrap();
        assert!(process.handle().is_some());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(process.handle().is_none());
    }
}
