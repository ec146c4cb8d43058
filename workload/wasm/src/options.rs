//! What the one who starts a host or a workload decides.

use std::{path::PathBuf, sync::Arc, time::Duration};

use crate::{Error, LogSink, LoopbackNetwork, Names, Stream};

/// Settings of a [`Host`](crate::Host).
#[derive(Debug, Clone)]
pub struct HostOptions {
    /// Where compiled code is kept. It is made where absent, for our user alone.
    pub cache_dir: PathBuf,
    /// Above this many bytes of compiled code the least recently used goes.
    pub cache_limit: u64,
    /// How many instances may live at once over all workloads, of WASI 0.2 and of 0.3 each. Each reserves 4 GiB of
    /// address space (not of memory).
    pub instances: u32,
    /// The most linear memory that any one instance may be given, in bytes.
    pub max_memory: usize,
    /// The largest component that is compiled, in bytes.
    pub max_component_size: usize,
    /// How much of an instance's memory stays with its slot, so that the next instance needs no page faults.
    pub keep_resident: usize,
}

impl HostOptions {
    /// The defaults, with compiled code kept in `cache_dir`.
    pub fn new(cache_dir: impl Into<PathBuf>) -> Self {
        Self {
            cache_dir: cache_dir.into(),
            cache_limit: 4 << 30,
            instances: 1000,
            max_memory: 1 << 30,
            max_component_size: 256 << 20,
            keep_resident: 512 << 10,
        }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        at_least("instances", self.instances as usize, 1)?;
        at_least("max_memory", self.max_memory, WASM_PAGE)?;
        if self.max_memory > MAX_MEMORY {
            let reason = format!(
                "{} is more than the {MAX_MEMORY} bytes that 32-bit addresses reach",
                self.max_memory
            );
            return Err(Error::Option { name: "max_memory", reason });
        }
        Ok(())
    }
}

const WASM_PAGE: usize = 64 << 10;
const MAX_MEMORY: usize = 4 << 30;

/// A directory of the host that the guest sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// The directory on the host.
    pub host_path: PathBuf,
    /// Its name in the guest.
    pub guest_path: String,
    /// Whether the guest may only read in it.
    pub read_only: bool,
}

/// Settings of one workload.
#[derive(Clone)]
pub struct WorkloadOptions {
    /// Command line arguments; by custom the first is the program's name.
    pub args: Vec<String>,
    /// Environment variables. Nothing of the host's own environment reaches the guest.
    pub env: Vec<(String, String)>,
    /// Directories. Without any, the guest sees no files.
    pub volumes: Vec<Volume>,
    /// The most linear memory an instance may have, in bytes.
    pub memory_limit: usize,
    /// How long a request may take from its arrival to the end of its answer; for a command, its whole run.
    pub time_limit: Option<Duration>,
    /// Whether an instance goes on to serve further requests. State that the guest keeps in its memory then lasts from
    /// one request to the next, so this is for components that expect it.
    pub reuse: bool,
    /// How many requests run at once.
    pub max_concurrent: usize,
    /// How many more may wait their turn; beyond these the answer is 503 at once.
    pub max_waiting: usize,
    /// How many connections are held at once; further ones wait to be accepted.
    pub max_connections: usize,
    /// How long open requests may go on after shutdown has been asked for.
    pub drain_time: Duration,
    /// Whether the guest may send HTTP requests of its own, to what the network reaches. It has no other network.
    pub outbound_http: bool,
    /// The loopback networks that such requests may go to. Whatever else listens on this machine's loopback interface is
    /// out of reach, and so are link-local addresses.
    pub loopback: Arc<[LoopbackNetwork]>,
    /// Who is asked first where a name or an address of such a request leads.
    pub names: Option<Arc<dyn Names>>,
    /// Where the guest's lines go, and what the host has to say about it.
    pub output: Arc<dyn LogSink>,
}

/// The least linear memory that an instance may be limited to.
pub const LEAST_MEMORY: usize = WASM_PAGE;

impl Default for WorkloadOptions {
    fn default() -> Self {
        Self {
            args: Vec::new(),
            env: Vec::new(),
            volumes: Vec::new(),
            memory_limit: 128 << 20,
            time_limit: Some(Duration::from_secs(30)),
            reuse: false,
            max_concurrent: 256,
            max_waiting: 1024,
            max_connections: 4096,
            drain_time: Duration::from_secs(10),
            outbound_http: false,
            loopback: Arc::default(),
            names: None,
            output: Arc::new(|_: Stream, _: &str| {}),
        }
    }
}

impl std::fmt::Debug for WorkloadOptions {
    /// Leaves out the values of the environment, which may be secrets.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.env.iter().map(|(name, _)| name.as_str()).collect();
        formatter
            .debug_struct("WorkloadOptions")
            .field("args", &self.args)
            .field("env", &names)
            .field("volumes", &self.volumes)
            .field("memory_limit", &self.memory_limit)
            .field("time_limit", &self.time_limit)
            .field("reuse", &self.reuse)
            .field("max_concurrent", &self.max_concurrent)
            .finish_non_exhaustive()
    }
}

impl WorkloadOptions {
    pub(crate) fn check(&self, host: &HostOptions) -> Result<(), Error> {
        at_least("memory_limit", self.memory_limit, WASM_PAGE)?;
        at_least("max_concurrent", self.max_concurrent, 1)?;
        at_least("max_connections", self.max_connections, 1)?;
        if self.memory_limit > host.max_memory {
            let reason =
                format!("{} is more than the host's max_memory of {}", self.memory_limit, host.max_memory);
            return Err(Error::Option { name: "memory_limit", reason });
        }
        if self.time_limit.is_some_and(|limit| limit.is_zero()) {
            return Err(Error::Option {
                name: "time_limit",
                reason: "zero leaves no time; leave it out".into(),
            });
        }
        for (name, value) in &self.env {
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                let reason =
                    format!("{name:?} cannot be the name of an environment variable, or its value has a NUL");
                return Err(Error::Option { name: "env", reason });
            }
        }
        for volume in &self.volumes {
            if volume.guest_path.is_empty() || volume.guest_path.contains('\0') {
                let reason = format!("{:?} cannot be a path in the guest", volume.guest_path);
                return Err(Error::Option { name: "volumes", reason });
            }
        }
        Ok(())
    }
}

fn at_least(name: &'static str, value: usize, least: usize) -> Result<(), Error> {
    if value < least {
        return Err(Error::Option { name, reason: format!("{value} is less than the least, {least}") });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(options: &WorkloadOptions) -> String {
        options.check(&HostOptions::new("cache")).unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_are_accepted() {
        HostOptions::new("cache").check().unwrap();
        WorkloadOptions::default().check(&HostOptions::new("cache")).unwrap();
    }

    #[test]
    fn what_has_no_meaning_is_refused_by_name() {
        let options = WorkloadOptions { memory_limit: 2 << 30, ..WorkloadOptions::default() };
        assert!(refusal(&options).starts_with("memory_limit: 2147483648 is more"));
        let options = WorkloadOptions { max_concurrent: 0, ..WorkloadOptions::default() };
        assert!(refusal(&options).starts_with("max_concurrent: 0 is less"));
        let options = WorkloadOptions { env: vec![("A=B".into(), "c".into())], ..WorkloadOptions::default() };
        assert!(refusal(&options).starts_with("env: "));
        let options = WorkloadOptions { time_limit: Some(Duration::ZERO), ..WorkloadOptions::default() };
        assert!(refusal(&options).starts_with("time_limit: "));
        let volume = Volume { host_path: "/".into(), guest_path: String::new(), read_only: true };
        let options = WorkloadOptions { volumes: vec![volume], ..WorkloadOptions::default() };
        assert!(refusal(&options).starts_with("volumes: "));
    }

    #[test]
    fn secrets_in_the_environment_are_not_printed() {
        let options =
            WorkloadOptions { env: vec![("TOKEN".into(), "s3cret".into())], ..WorkloadOptions::default() };
        let printed = format!("{options:?}");
        assert!(printed.contains("TOKEN") && !printed.contains("s3cret"));
    }
}
