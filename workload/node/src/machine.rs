//! What this machine is and has, as the node's status tells it.

use std::path::Path;

use k8s_openapi::api::core::v1::NodeSystemInfo;

/// Pods that the node takes: as many as the pods' network has addresses for.
pub(crate) const MOST_PODS: u32 = 250;
/// What is left of memory when the node says that it is short of it, and the shares of a disk's bytes and files.
const MEMORY_LEFT: u64 = 100 << 20;
const DISK_LEFT: f64 = 0.10;
const FILES_LEFT: f64 = 0.05;

/// What all of the machine has used of its processors since it started, and uses of its memory.
pub(crate) fn usage() -> Option<xebec_container::Usage> {
    let memory = std::fs::read_to_string("/proc/meminfo").ok()?;
    let memory_bytes = meminfo(&memory, "MemTotal").saturating_sub(meminfo(&memory, "MemAvailable"));
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    Some(xebec_container::Usage { cpu: busy(&stat)?, memory_bytes })
}

/// The time that processors were busy, of the first line of `/proc/stat`.
fn busy(stat: &str) -> Option<std::time::Duration> {
    let mut fields = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    // user nice system idle iowait irq softirq steal; a guest's time is within the user's.
    let times: Vec<u64> = fields.by_ref().take(8).map_while(|field| field.parse().ok()).collect();
    let [user, nice, system, _idle, _waiting, interrupts @ ..] = times.as_slice() else { return None };
    let ticks = user + nice + system + interrupts.iter().sum::<u64>();
    Some(std::time::Duration::from_millis(
        ticks.checked_mul(1000)?.checked_div(rustix::param::clock_ticks_per_second())?,
    ))
}

/// How much of a thing there is, and how much of it is free.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(crate) whole: u64,
    pub(crate) free: u64,
}

impl Amount {
    fn is_short(self, share: f64) -> bool {
        // Amounts are far below 2^53.
        self.whole > 0 && (self.free as f64) < self.whole as f64 * share
    }
}

/// What a moment's look at the machine shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Machine {
    pub(crate) cpus: usize,
    /// Bytes.
    pub(crate) memory: Amount,
    /// Bytes of the file system that pods write to.
    pub(crate) disk: Amount,
    /// Files that it may hold.
    pub(crate) files: Amount,
    pub(crate) processes: Amount,
}

impl Machine {
    pub(crate) fn look(folder: &Path) -> Self {
        let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let memory = Amount { whole: meminfo(&memory, "MemTotal"), free: meminfo(&memory, "MemAvailable") };
        let there = folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
        let (disk, files) = rustix::fs::statvfs(there).map_or_else(
            |_| Default::default(),
            |found| {
                let bytes =
                    Amount { whole: found.f_blocks * found.f_frsize, free: found.f_bavail * found.f_frsize };
                (bytes, Amount { whole: found.f_files, free: found.f_favail })
            },
        );
        let most = read_number("/proc/sys/kernel/pid_max");
        // The fourth field of loadavg is `running/existing`.
        let loadavg = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let existing = loadavg.split([' ', '/']).nth(4).and_then(|field| field.parse().ok()).unwrap_or(0);
        Self {
            cpus: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            memory,
            disk,
            files,
            processes: Amount { whole: most, free: most.saturating_sub(existing) },
        }
    }

    pub(crate) fn is_short_of_memory(&self) -> bool {
        self.memory.whole > 0 && self.memory.free < MEMORY_LEFT
    }

    pub(crate) fn is_short_of_disk(&self) -> bool {
        self.disk.is_short(DISK_LEFT) || self.files.is_short(FILES_LEFT)
    }

    pub(crate) fn is_short_of_processes(&self) -> bool {
        self.processes.is_short(0.01)
    }
}

/// A line of `/proc/meminfo`, in bytes.
fn meminfo(text: &str, name: &str) -> u64 {
    let rest = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number: Option<u64> = rest.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    number.unwrap_or(0) * 1024
}

fn read_number(path: &str) -> u64 {
    std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// The processor's architecture, by Go's name.
pub(crate) fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// What the machine and its system are called.
pub(crate) fn system() -> NodeSystemInfo {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let release = read("/etc/os-release");
    let pretty = release.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let uuid = read("/sys/class/dmi/id/product_uuid");
    let machine = read("/etc/machine-id");
    NodeSystemInfo {
        architecture: architecture().to_owned(),
        boot_id: read("/proc/sys/kernel/random/boot_id"),
        container_runtime_version: concat!("xebec://", env!("CARGO_PKG_VERSION")).to_owned(),
        kernel_version: read("/proc/sys/kernel/osrelease"),
        kubelet_version: concat!("v1.36.0+xebec.", env!("CARGO_PKG_VERSION")).to_owned(),
        system_uuid: if uuid.is_empty() { machine.clone() } else { uuid },
        machine_id: machine,
        operating_system: "linux".to_owned(),
        os_image: pretty.unwrap_or("Linux").trim_matches('"').to_owned(),
        ..NodeSystemInfo::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_something_of_everything() {
        let machine = Machine::look(&std::env::temp_dir().join("not/there"));
        assert!(machine.cpus > 0);
        for amount in [machine.memory, machine.disk, machine.processes] {
            assert!(amount.whole > 0 && amount.free > 0 && amount.free <= amount.whole, "{amount:?}");
        }
        assert!(!system().kernel_version.is_empty() && !system().boot_id.is_empty());
    }

    #[test]
    fn waiting_is_no_use_of_a_processor() {
        let ticks = rustix::param::clock_ticks_per_second();
        let stat = format!("cpu  {ticks} 0 {ticks} 900000 900000 0 {ticks} 0 77 0\ncpu0 1 1 1\n");
        assert_eq!(busy(&stat), Some(std::time::Duration::from_secs(3)));
        for bad in ["", "cpu  1 2", "intr 1 2 3 4 5"] {
            assert_eq!(busy(bad), None, "{bad:?}");
        }
        assert!(usage().is_some_and(|own| own.memory_bytes > 0 && !own.cpu.is_zero()));
    }

    #[test]
    fn a_machine_that_runs_out_says_so() {
        let plenty = Amount { whole: 1 << 40, free: 1 << 39 };
        let machine = Machine { cpus: 1, memory: plenty, disk: plenty, files: plenty, processes: plenty };
        assert!(
            !machine.is_short_of_memory() && !machine.is_short_of_disk() && !machine.is_short_of_processes()
        );
        let tight = Amount { whole: 1 << 40, free: 1 << 20 };
        assert!(Machine { memory: tight, ..machine }.is_short_of_memory());
        assert!(Machine { files: tight, ..machine }.is_short_of_disk());
        assert!(Machine { processes: tight, ..machine }.is_short_of_processes());
    }
}
