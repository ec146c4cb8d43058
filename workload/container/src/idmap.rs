//! Mounts that show files under other identities (mount_setattr(2), MOUNT_ATTR_IDMAP): what lies on disk as root's is the
//! root's of a user namespace, and what that writes is root's on disk.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
    path::Path,
};

use libcontainer::syscall::{
    Syscall as _,
    linux::{AT_EMPTY_PATH, AT_RECURSIVE, LinuxSyscall, MountAttr},
};
use rustix::{
    fs::CWD,
    mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree},
};

const MOUNT_ATTR_IDMAP: u64 = 0x0010_0000;

/// A copy of the mount at `path`, nowhere attached yet, as `user` is to see it; with the mounts below it if `deep`.
pub(crate) fn clone(path: &Path, user: BorrowedFd<'_>, deep: bool) -> io::Result<OwnedFd> {
    let tree = copy(path, deep)?;
    let number = u64::try_from(user.as_raw_fd()).map_err(io::Error::other)?;
    let attributes = MountAttr { attr_set: MOUNT_ATTR_IDMAP, attr_clr: 0, propagation: 0, userns_fd: number };
    let flags = AT_EMPTY_PATH | if deep { AT_RECURSIVE } else { 0 };
    let size = size_of::<MountAttr>();
    LinuxSyscall
        .mount_setattr(tree.as_fd(), Path::new(""), flags, &attributes, size)
        .map_err(|error| io::Error::other(format!("{}: {error}", path.display())))?;
    Ok(tree)
}

/// A copy of the mount at `path`, nowhere attached yet.
pub(crate) fn copy(path: &Path, deep: bool) -> io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if deep {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    let opened = open_tree(CWD, path, flags);
    opened.map_err(|error| {
        let error = io::Error::from(error);
        io::Error::new(error.kind(), format!("{}: {error}", path.display()))
    })
}

/// Attaches a copy at `target`, which is there.
pub(crate) fn attach(tree: &OwnedFd, target: &Path) -> io::Result<()> {
    Ok(move_mount(tree, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}
