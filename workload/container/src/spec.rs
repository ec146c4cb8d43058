//! What a container is to be, in this crate's own terms.

use std::{collections::BTreeMap, fmt, path::PathBuf, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{Error, UserNamespace};

/// A container's name: a path component of its own, at most 128 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerId(String);

impl ContainerId {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ContainerId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let good = text.len() <= 128
            && text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::IdSyntax { text: text.chars().take(200).collect() })
        }
    }
}

impl TryFrom<String> for ContainerId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<ContainerId> for String {
    fn from(id: ContainerId) -> Self {
        id.0
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A container to run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerSpec {
    /// The command and its arguments.
    pub args: Vec<String>,
    /// `NAME=value`; the last of a name counts.
    pub env: Vec<String>,
    /// Where the command starts; made when absent. Empty is `/`.
    pub working_dir: String,
    /// `user`, `uid`, `user:group` or `uid:gid`, by the names in the image; empty is root.
    pub user: String,
    /// Groups beside those that the image's files give the user.
    pub groups: Vec<u32>,
    /// What root in the container may do, as `CAP_NAME`, and what others may come to; none means what is usual.
    pub capabilities: Option<Vec<String>>,
    /// Whether no program may have more rights than the one that begins it.
    pub no_new_privileges: bool,
    /// The host name; none keeps the machine's.
    pub hostname: Option<String>,
    /// Parameters of the kernel for its namespaces alone, as `kernel.shm_rmid_forced`.
    #[serde(default)]
    pub sysctls: BTreeMap<String, String>,
    /// The network that the container sees.
    pub network: Network,
    /// The pod's user namespace; none means that the container's users are the machine's. The network namespace, where one
    /// is given, belongs to it.
    pub user_namespace: Option<UserNamespace>,
    /// Files and directories of the machine.
    pub mounts: Vec<Mount>,
    /// Whether the image's files cannot be changed.
    pub read_only_root: bool,
    /// Bounds.
    pub resources: Resources,
    /// What its first process reads.
    #[serde(default)]
    pub stdin: Stdin,
    /// Whether its first process has a terminal, which then is all that it reads and writes.
    #[serde(default)]
    pub terminal: bool,
    /// Where the output goes.
    pub log: PathBuf,
    /// Bytes of the log before it begins anew.
    pub log_bytes: u64,
}

impl ContainerSpec {
    /// A container of `args` with everything else as it is by default.
    #[must_use]
    pub fn new(args: Vec<String>, log: PathBuf) -> Self {
        Self {
            args,
            env: Vec::new(),
            working_dir: String::new(),
            user: String::new(),
            groups: Vec::new(),
            capabilities: None,
            no_new_privileges: false,
            hostname: None,
            sysctls: BTreeMap::new(),
            network: Network::Isolated,
            user_namespace: None,
            mounts: Vec::new(),
            read_only_root: false,
            resources: Resources::default(),
            stdin: Stdin::Nothing,
            terminal: false,
            log,
            log_bytes: 10 << 20,
        }
    }
}

/// What a container's first process reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stdin {
    /// Nothing.
    #[default]
    Nothing,
    /// What those who are attached type. It waits for more while nobody is.
    Open,
    /// The same until the first of them leaves, or types no more: that is its end. (A terminal has no end.)
    Once,
}

/// The network that a container sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// A network namespace of its own in which nothing is.
    Isolated,
    /// The network namespace at this path.
    Namespace(PathBuf),
    /// The machine's.
    Host,
}

/// A file or directory of the machine in a container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// On the machine.
    pub source: PathBuf,
    /// The part of it that is shown, relative to it; empty is all of it. Links on the way to it, which whoever writes there
    /// may put at any moment, lead nowhere else.
    pub part: PathBuf,
    /// In the container, absolute; made when absent.
    pub target: PathBuf,
    /// Whether it cannot be changed from inside.
    pub read_only: bool,
}

/// Bounds on what a container uses; what is absent is unbounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resources {
    /// Bytes of memory, beyond which the kernel kills.
    pub memory_bytes: Option<u64>,
    /// Thousandths of a processor, beyond which it waits.
    pub cpu_millis: Option<u64>,
    /// The share of the processors under contention, in thousandths of one.
    pub cpu_request_millis: Option<u64>,
    /// Processes and threads.
    pub processes: Option<u64>,
}

/// The time over which processor time is counted, in microseconds.
pub(crate) const PERIOD: u64 = 100_000;

impl Resources {
    /// Processor time in each period, in microseconds.
    pub(crate) fn quota(&self) -> Option<u64> {
        // Under 1 ms a period the kernel refuses.
        self.cpu_millis.map(|millis| (millis.saturating_mul(PERIOD) / 1000).max(1000))
    }

    /// The share under contention, where 1024 is one processor.
    pub(crate) fn shares(&self) -> Option<u64> {
        self.cpu_request_millis.map(|millis| (millis.saturating_mul(1024) / 1000).clamp(2, 262_144))
    }
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit code; 128 and the signal's number where a signal ended it.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whether the kernel killed a process of it for want of memory.
    pub out_of_memory: bool,
    /// When, in nanoseconds since 1970.
    pub finished_nanos: u64,
    /// Whether nobody saw it end, so that the code means nothing (its monitor was killed).
    pub unseen: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_path_components() {
        for good in ["a", "0_b.c-D", &"a".repeat(128)] {
            assert!(good.parse::<ContainerId>().is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "-a", "a/b", "a b", "é", &"a".repeat(129)] {
            assert!(bad.parse::<ContainerId>().is_err(), "{bad}");
        }
    }
}
