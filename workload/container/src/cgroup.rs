//! The control groups of a container, beside what the runtime library does for them.
//!
//! On a machine with both versions the library leaves the container in the root of the unified hierarchy; programs that
//! watch or redirect by control group need it in one of its own there.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::spec::{PERIOD, Resources};

const ROOT: &str = "/sys/fs/cgroup";
/// The hierarchies of the first version that tell of a container's limits and use.
const SHOWN: [&str; 6] = ["blkio", "cpu", "cpuacct", "cpuset", "memory", "pids"];

/// Whether groups can be made with the controllers that limits need, and then whether they keep devices away: only those
/// of the first version do. (Those of the second do by a program in the kernel, which the runtime library leaves out.)
pub(crate) fn check() -> Result<bool, String> {
    let root = Path::new(ROOT);
    let probe = format!("xebec-probe-{}", std::process::id());
    let is_unified = root.join("cgroup.controllers").exists();
    let hierarchies = if is_unified {
        let controllers = fs::read_to_string(root.join("cgroup.controllers")).unwrap_or_default();
        let absent = ["memory", "pids"]
            .into_iter()
            .find(|wanted| controllers.split_whitespace().all(|it| it != *wanted));
        if let Some(absent) = absent {
            return Err(format!(
                "the control group controller {absent} is off: enable it in the kernel's command line"
            ));
        }
        vec![root.to_owned()]
    } else {
        ["memory", "pids", "devices"].iter().map(|name| root.join(name)).collect()
    };
    for hierarchy in hierarchies {
        let group = hierarchy.join(&probe);
        let made = fs::create_dir(&group).and_then(|()| fs::remove_dir(&group));
        made.map_err(|error| format!("control groups cannot be made in {}: {error}", hierarchy.display()))?;
    }
    Ok(!is_unified)
}

/// Moves a process into `group` of the unified hierarchy, where the machine has that beside the older ones.
pub(crate) fn join_unified(group: &str, pid: i32) -> io::Result<()> {
    let unified = Path::new(ROOT).join("unified");
    if !unified.join("cgroup.procs").exists() {
        return Ok(());
    }
    let group = below(&unified, group);
    fs::create_dir_all(&group)?;
    fs::write(group.join("cgroup.procs"), pid.to_string())
}

/// Makes the group in each hierarchy whose figures a container may read, and tells where it is and where the container is to
/// see it.
pub(crate) fn show(group: &str) -> io::Result<Vec<(PathBuf, PathBuf)>> {
    let root = Path::new(ROOT);
    if root.join("cgroup.controllers").exists() {
        let own = below(root, group);
        fs::create_dir_all(&own)?;
        return Ok(vec![(own, root.to_owned())]);
    }
    let there = SHOWN.iter().map(|name| root.join(name)).filter(|hierarchy| hierarchy.is_dir());
    there
        .map(|hierarchy| {
            let own = below(&hierarchy, group);
            fs::create_dir_all(&own)?;
            Ok((own, hierarchy))
        })
        .collect()
}

/// Moves a process into `group` of every hierarchy that has it.
pub(crate) fn join(group: &str, pid: u32) -> io::Result<()> {
    for group in hierarchies()?.iter().map(|hierarchy| below(hierarchy, group)).filter(|group| group.is_dir())
    {
        fs::write(group.join("cgroup.procs"), pid.to_string())?;
    }
    Ok(())
}

/// What a control group's processes have used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time since the group was made.
    pub cpu: Duration,
    /// Memory in use, without files in memory that nobody has looked at of late.
    pub memory_bytes: u64,
}

/// What the group has used; nothing where there is no such group.
pub(crate) fn usage(group: &str) -> Option<Usage> {
    let root = Path::new(ROOT);
    let number = |path: PathBuf| -> Option<u64> { fs::read_to_string(path).ok()?.trim().parse().ok() };
    let field = |path: PathBuf, name: &str| -> Option<u64> {
        let text = fs::read_to_string(path).ok()?;
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
    };
    let (cpu, used, idle) = if root.join("cgroup.controllers").exists() {
        let own = below(root, group);
        let cpu = Duration::from_micros(field(own.join("cpu.stat"), "usage_usec")?);
        (cpu, number(own.join("memory.current"))?, field(own.join("memory.stat"), "inactive_file"))
    } else {
        let memory = below(&root.join("memory"), group);
        let cpu = number(below(&root.join("cpuacct"), group).join("cpuacct.usage"))?;
        let idle = field(memory.join("memory.stat"), "total_inactive_file");
        (Duration::from_nanos(cpu), number(memory.join("memory.usage_in_bytes"))?, idle)
    };
    Some(Usage { cpu, memory_bytes: used.saturating_sub(idle.unwrap_or_default()) })
}

/// Gives a group other bounds. What is absent is unbounded from then on.
pub(crate) fn limit(group: &str, resources: &Resources) -> io::Result<()> {
    let root = Path::new(ROOT);
    if root.join("cgroup.controllers").exists() {
        let own = below(root, group);
        let quota = resources.quota().map_or_else(|| "max".to_owned(), |quota| quota.to_string());
        fs::write(own.join("cpu.max"), format!("{quota} {PERIOD}"))?;
        if let Some(shares) = resources.shares() {
            fs::write(own.join("cpu.weight"), weight(shares).to_string())?;
        }
        let bytes = resources.memory_bytes.map_or_else(|| "max".to_owned(), |bytes| bytes.to_string());
        return fs::write(own.join("memory.max"), bytes);
    }
    let unbounded = || "-1".to_owned();
    let cpu = below(&root.join("cpu"), group);
    fs::write(cpu.join("cpu.cfs_period_us"), PERIOD.to_string())?;
    let quota = resources.quota().map_or_else(unbounded, |quota| quota.to_string());
    fs::write(cpu.join("cpu.cfs_quota_us"), quota)?;
    if let Some(shares) = resources.shares() {
        fs::write(cpu.join("cpu.shares"), shares.to_string())?;
    }
    let bytes = resources.memory_bytes.map_or_else(unbounded, |bytes| bytes.to_string());
    fs::write(below(&root.join("memory"), group).join("memory.limit_in_bytes"), bytes)
}

/// Shares, from 2 to 262144, as the weight from 1 to 10000 that the second version has in their place: 1024 is 100. The formula
/// is the runtime library's, so that a container's weight is the same from the beginning.
fn weight(shares: u64) -> u64 {
    if shares <= 2 {
        return 1;
    }
    let log = f64::from(u32::try_from(shares.min(262_144)).unwrap_or(2)).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    // Between 1 and 10000.
    (10_f64.powf(exponent).ceil() as u64).clamp(1, 10_000)
}

/// How many processes of the group the kernel has killed for want of memory.
pub(crate) fn memory_kills(group: &str) -> u64 {
    let unified = below(Path::new(ROOT), group).join("memory.events");
    let older = below(&Path::new(ROOT).join("memory"), group).join("memory.oom_control");
    let text = fs::read_to_string(unified).or_else(|_| fs::read_to_string(older)).unwrap_or_default();
    text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok()).unwrap_or(0)
}

/// Kills what is left in the group and removes it from every hierarchy.
pub(crate) fn remove(group: &str) -> io::Result<()> {
    let groups: Vec<PathBuf> = hierarchies()?
        .iter()
        .map(|hierarchy| below(hierarchy, group))
        .filter(|group| group.is_dir())
        .collect();
    // Killing is not instant, and a group with a process in it cannot be removed.
    for _ in 0..200 {
        let mut busy = false;
        for group in &groups {
            let pids = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
            for pid in pids.lines().filter_map(|line| rustix::process::Pid::from_raw(line.parse().ok()?)) {
                busy = true;
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
            match fs::remove_dir(group) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => busy = true,
                _ => {}
            }
        }
        if !busy {
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    Err(io::Error::other(format!("processes in the control group {group} do not end")))
}

/// Removes a group that has neither processes nor groups in it, from every hierarchy; others stay.
pub(crate) fn remove_empty(group: &str) {
    for hierarchy in hierarchies().unwrap_or_default() {
        let _ = fs::remove_dir(below(&hierarchy, group));
    }
}

fn hierarchies() -> io::Result<Vec<PathBuf>> {
    let root = Path::new(ROOT);
    if root.join("cgroup.controllers").exists() {
        return Ok(vec![root.to_owned()]);
    }
    fs::read_dir(root)?.map(|entry| Ok(entry?.path())).collect()
}

fn below(hierarchy: &Path, group: &str) -> PathBuf {
    hierarchy.join(group.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_become_weights_with_one_processor_in_the_middle() {
        assert_eq!([0, 2, 1024, 262_144, u64::MAX].map(weight), [1, 1, 100, 10_000, 10_000]);
    }
}
