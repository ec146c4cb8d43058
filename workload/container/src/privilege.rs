//! Whether containers can run here.

use std::{fs, io, path::Path};

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};

use crate::{cgroup, rootfs};

/// What this machine allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Privilege {
    /// Whether the layers of images can be mounted. Without, each container gets a copy of its image.
    pub overlay: bool,
    /// Whether control groups keep devices away. Without, no container may make any, not even one that asks for the right to,
    /// unless it runs in a user namespace, where the kernel refuses.
    pub devices: bool,
}

/// Tries what containers need: root, namespaces, control groups, and overlay mounts in `folder`. Nothing stays.
///
/// # Errors
/// Why containers cannot run here, for people.
pub fn check(folder: &Path) -> Result<Privilege, String> {
    if !rustix::process::geteuid().is_root() {
        return Err("containers need root: run as root to have them".to_owned());
    }
    // In a thread of its own, whose namespaces end with it.
    let folder = folder.to_owned();
    let tried = std::thread::Builder::new().name("privilege".to_owned()).spawn(move || {
        namespaces().map_err(|error| format!("namespaces cannot be made: {error}"))?;
        let devices = cgroup::check()?;
        Ok(Privilege { overlay: overlay(&folder).is_ok(), devices })
    });
    let tried = tried.map_err(|error| format!("no thread can be started: {error}"))?;
    tried.join().map_err(|_| "the check failed".to_owned())?
}

fn namespaces() -> io::Result<()> {
    use nix::sched::CloneFlags;
    let all = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS;
    nix::sched::unshare(all)?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    Ok(())
}

fn overlay(folder: &Path) -> io::Result<()> {
    let scratch = tempfile::tempdir_in(folder)?;
    let place = |name: &str| {
        let path = scratch.path().join(name);
        fs::create_dir(&path).map(|()| path)
    };
    let (lower, upper, work, whole) = (place("lower")?, place("upper")?, place("work")?, place("whole")?);
    rootfs::mount_overlay(&[lower], &upper, &work, &whole)?;
    rustix::mount::unmount(&whole, rustix::mount::UnmountFlags::DETACH)?;
    // Containers have memory file systems, too.
    mount("tmpfs", &whole, "tmpfs", MountFlags::empty(), None)?;
    rustix::mount::unmount(&whole, rustix::mount::UnmountFlags::DETACH)?;
    Ok(())
}
