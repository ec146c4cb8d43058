//! Network namespaces that live as files: a mount on the file keeps the namespace, whoever uses it.

use std::{
    fs::{self, File},
    io,
    os::fd::AsFd as _,
    path::Path,
};

use rustix::{
    mount::{UnmountFlags, mount_bind, unmount},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};

/// The file system that namespaces are files of (statfs(2), NSFS_MAGIC).
const NSFS: u64 = 0x6e73_6673;

/// Makes a network namespace at `path`, if there is none.
pub(crate) fn make(path: &Path) -> io::Result<()> {
    if exists(path) {
        return Ok(());
    }
    File::create(path)?;
    // In a thread of its own, since it is the thread that moves.
    in_thread(|| {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)?;
        mount_bind("/proc/thread-self/ns/net", path)?;
        Ok(())
    })
}

/// Whether there is a namespace at `path`, and not only its file, as after a restart of the machine.
pub(crate) fn exists(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|found| u64::try_from(found.f_type) == Ok(NSFS))
}

/// Does something in the namespace at `path`.
pub(crate) fn enter<T: Send>(path: &Path, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    let namespace = File::open(path)?;
    in_thread(move || {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        work()
    })
}

/// Lets go of the namespace at `path`, which may be gone. It ends with its last process.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    while exists(path) {
        unmount(path, UnmountFlags::DETACH)?;
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn in_thread<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("namespace".to_owned()).spawn_scoped(scope, work)?;
        thread.join().map_err(|_| io::Error::other("the namespace's thread failed"))?
    })
}
