//! Copies of mounts, each of what was held open and not of what a path leads to by then. They show files under other
//! identities where that is wanted (mount_setattr(2), MOUNT_ATTR_IDMAP): what lies on disk as root's is the root's of a user
//! namespace, and what that writes is root's on disk. Devices in them are of no use.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
    path::Path,
};

use libcontainer::syscall::{
    Syscall as _,
    linux::{AT_EMPTY_PATH, AT_RECURSIVE, LinuxSyscall, MOUNT_ATTR_NODEV, MountAttr},
};
use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2},
    mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree},
};

const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;
/// How a place is held.
const HELD: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// Holds the place at `path`.
pub(crate) fn hold(path: &Path) -> io::Result<OwnedFd> {
    openat(CWD, path, HELD, Mode::empty()).map_err(|error| at(path, error.into()))
}

/// Holds a part of what is at `path`, or all of it where the part is empty. Whoever writes there may have put links on the
/// way, and they lead no further than `path`.
pub(crate) fn hold_part(path: &Path, part: &Path) -> io::Result<OwnedFd> {
    let whole = hold(path)?;
    if part.as_os_str().is_empty() {
        return Ok(whole);
    }
    let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    openat2(&whole, part, HELD, Mode::empty(), inside).map_err(|error| at(&path.join(part), error.into()))
}

/// A copy of the mount there, from that place on, nowhere attached yet, as `user` is to see it; with the mounts below it if
/// `deep`.
pub(crate) fn copy(place: &OwnedFd, user: Option<BorrowedFd<'_>>, deep: bool) -> io::Result<OwnedFd> {
    let mut flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    if deep {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    let tree = open_tree(place, "", flags)?;
    let mut attributes = MountAttr { attr_set: MOUNT_ATTR_NODEV, attr_clr: 0, propagation: 0, userns_fd: 0 };
    if let Some(user) = user {
        attributes.attr_set |= MOUNT_ATTR_IDMAP;
        attributes.userns_fd = u64::try_from(user.as_raw_fd()).map_err(io::Error::other)?;
    }
    let flags = AT_EMPTY_PATH | if deep { AT_RECURSIVE } else { 0 };
    let size = size_of::<MountAttr>();
    let set = LinuxSyscall.mount_setattr(tree.as_fd(), Path::new(""), flags, &attributes, size);
    set.map_err(io::Error::other)?;
    Ok(tree)
}

/// Attaches a copy at `target`, which is there.
pub(crate) fn attach(tree: &OwnedFd, target: &Path) -> io::Result<()> {
    Ok(move_mount(tree, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

/// Attaches a copy of the directory at `path` to another place, or to itself.
pub(crate) fn show(path: &Path, user: Option<BorrowedFd<'_>>, target: &Path) -> io::Result<()> {
    let tree = copy(&hold(path)?, user, false).map_err(|error| at(path, error))?;
    attach(&tree, target)
}

fn at(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
