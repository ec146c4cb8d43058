//! Where a container's files are put together.
//!
//! What is bound into a container is first shown in the container's directory, where nobody else can put anything in its
//! place before the runtime library binds it by its path. A root that is nobody on the machine may not walk through directories that are closed to others, such as a home or a temporary directory. So the
//! monitor, in its own mount namespace, shows the container's directory at a place to which the way is open, and in it
//! all that the container needs, under the container's identities:
//!
//! ```text
//! STAGE = FOLDER     the container's directory
//!     lower/0 …      the image's layers, bottom first
//!     rootfs         the whole
//!     volumes/0 …    files and directories of the machine
//!     net            the network namespace
//! ```

use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::fs::{PermissionsExt as _, chown},
    },
    path::{Path, PathBuf},
};

use nix::unistd::{Gid, Uid, setfsgid, setfsuid};
use rustix::{
    fs::{FileType, fstat},
    mount::{mount_bind, mount_bind_recursive},
};

use crate::{
    rootfs::{Root, Rootfs, mount_overlay},
    spec::{ContainerSpec, Mount, Network},
    tree,
    user_namespace::UserNamespace,
};

/// Directories that every machine has and that are open to all. The first that is not on the way to what is needed counts.
const OPEN: [&str; 6] = ["/mnt", "/media", "/srv", "/opt", "/home", "/var"];

/// The place at which a container's directory is shown.
pub(crate) fn place(folder: &Path) -> io::Result<PathBuf> {
    let is_open = |path: &&Path| {
        let about = fs::metadata(path).ok();
        about.is_some_and(|about| about.is_dir() && about.permissions().mode() & 0o1 != 0)
    };
    let mut places = OPEN.iter().map(Path::new).filter(is_open);
    let place = places.find(|place| !folder.starts_with(place)).map(Path::to_owned);
    place.ok_or_else(|| io::Error::other(format!("none of {OPEN:?} is there and open to all")))
}

/// Shows the directory there, with what is mounted in it, in the mount namespace of the caller.
pub(crate) fn show(folder: &Path) -> io::Result<PathBuf> {
    let place = place(folder)?;
    mount_bind_recursive(folder, &place)?;
    Ok(place)
}

/// Puts everything in its place, and gives the stage and the specification as it is there.
pub(crate) fn build(
    folder: &Path,
    root: &Root,
    spec: &ContainerSpec,
    user: &UserNamespace,
) -> io::Result<(PathBuf, ContainerSpec)> {
    let namespace = File::open(&user.path)?;
    let namespace = namespace.as_fd();
    let stage = place(folder)?;
    match root {
        Root::Overlay(layers) => {
            let mut lower = Vec::new();
            for (number, layer) in layers.iter().enumerate() {
                let target = made(folder, "lower", number)?;
                tree::show(layer, Some(namespace), &target)?;
                lower.push(target);
            }
            // The kernel itself writes to these two as who mounts, whom a mount of other identities would not know. So the
            // changes lie on disk under the pod's own identities.
            let own = Rootfs(folder);
            for path in [own.upper(), own.work()] {
                chown(path, Some(user.first), Some(user.first))?;
            }
            mount_overlay(&lower, &own.upper(), &own.work(), &own.path())?;
        }
        Root::Copy => {
            let path = Rootfs(folder).path();
            tree::show(&path, Some(namespace), &path)?;
        }
    }
    let mut staged = spec.clone();
    volumes(folder, &stage, &mut staged.mounts, Some(namespace))?;
    if let Network::Namespace(path) = &staged.network {
        File::create(folder.join("net"))?;
        mount_bind(path, folder.join("net"))?;
        staged.network = Network::Namespace(stage.join("net"));
    }
    show(folder)?;
    Ok((stage, staged))
}

/// The specification of a container whose root is the machine's, with what is bound into it in its place.
pub(crate) fn plain(folder: &Path, spec: &ContainerSpec) -> io::Result<ContainerSpec> {
    let mut staged = spec.clone();
    volumes(folder, folder, &mut staged.mounts, None)?;
    Ok(staged)
}

/// Shows the files and directories of the machine below the container's own, as `user` is to see them, and tells where they
/// are then on the stage.
pub(crate) fn volumes(
    folder: &Path,
    stage: &Path,
    mounts: &mut [Mount],
    user: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    make(&folder.join("volumes"))?;
    for (number, mount) in mounts.iter_mut().enumerate() {
        let held = tree::hold_part(&mount.source, &mount.part)?;
        let tree = tree::copy(&held, user, true)?;
        let target = folder.join("volumes").join(number.to_string());
        if FileType::from_raw_mode(fstat(&held)?.st_mode) == FileType::Directory {
            make(&target)?;
        } else {
            File::create(&target)?;
        }
        tree::attach(&tree, &target)?;
        mount.source = stage.join("volumes").join(number.to_string());
        mount.part = PathBuf::new();
    }
    Ok(())
}

/// Does something to files as the namespace's root would.
pub(crate) fn as_root_of<T>(user: &UserNamespace, work: impl FnOnce() -> T) -> T {
    let first = (Uid::from_raw(user.first), Gid::from_raw(user.first));
    let (uid, gid) = (setfsuid(first.0), setfsgid(first.1));
    let done = work();
    setfsuid(uid);
    setfsgid(gid);
    done
}

fn made(folder: &Path, name: &str, number: usize) -> io::Result<PathBuf> {
    let path = folder.join(name).join(number.to_string());
    make(&path)?;
    Ok(path)
}

fn make(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}
