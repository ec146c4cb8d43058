//! A container's file system: the image's layers below a directory that takes the changes, or a copy of them.
//!
//! The overlay is mounted by the container's monitor in a mount namespace of the monitor's own. So it vanishes with it,
//! and no crash leaves a mount behind.

use std::{
    io::{self, Read as _},
    os::fd::{AsRawFd as _, OwnedFd},
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, openat, openat2},
    io::Errno,
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, fsconfig_create,
        fsconfig_set_string, fsmount, fsopen, mount_change, move_mount,
    },
};
use serde::{Deserialize, Serialize};

/// Bytes of the image's user and group files that are looked at.
const LONGEST_FILE: u64 = 1 << 20;

/// Where a container's files come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Root {
    /// Layers, bottom first, that the container's changes do not touch.
    Overlay(Vec<PathBuf>),
    /// A copy that is the container's own, already in place.
    Copy,
}

/// The directories of one container.
pub(crate) struct Rootfs<'a>(pub(crate) &'a Path);

impl Rootfs<'_> {
    /// Where the whole is seen.
    pub(crate) fn path(&self) -> PathBuf {
        self.0.join("rootfs")
    }

    pub(crate) fn upper(&self) -> PathBuf {
        self.0.join("upper")
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.0.join("work")
    }

    /// Mounts the layers, in the mount namespace of the caller.
    pub(crate) fn mount(&self, layers: &[PathBuf]) -> io::Result<()> {
        mount_overlay(layers, &self.upper(), &self.work(), &self.path())
    }

    /// The container's files as they are mounted now.
    pub(crate) fn open(&self) -> io::Result<Files> {
        Ok(Files(openat(CWD, self.path(), FOLDER, Mode::empty())?))
    }
}

/// How a directory is held.
const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The files that a container sees, held open: whoever has them need not be allowed the way there. All paths in them are
/// followed as the container would.
pub(crate) struct Files(OwnedFd);

impl Files {
    /// Makes a directory where the command is to start.
    pub(crate) fn make_folder(&self, path: &Path) -> io::Result<()> {
        let root = &self.0;
        let mut folder = openat(root, c".", FOLDER, Mode::empty())?;
        let mut walked = PathBuf::from("/");
        for component in path.components() {
            let name = match component {
                Component::Normal(name) => name,
                Component::RootDir | Component::CurDir => continue,
                _ => return Err(Errno::INVAL.into()),
            };
            match mkdirat(&folder, name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            walked.push(name);
            folder = openat2(root, &walked, FOLDER, Mode::empty(), in_root())?;
        }
        Ok(())
    }

    /// A small text file; empty when it is absent.
    pub(crate) fn read(&self, path: &str) -> io::Result<String> {
        // What it is is known before it is opened: to open a device or a pipe of an image's may do something already.
        let place = match openat2(&self.0, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), in_root()) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(String::new()),
            place => place?,
        };
        if FileType::from_raw_mode(fstat(&place)?.st_mode) != FileType::RegularFile {
            return Ok(String::new());
        }
        let file = std::fs::File::open(format!("/proc/self/fd/{}", place.as_raw_fd()))?;
        let mut content = Vec::new();
        file.take(LONGEST_FILE).read_to_end(&mut content)?;
        Ok(String::from_utf8_lossy(&content).into_owned())
    }
}

fn in_root() -> ResolveFlags {
    ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS
}

/// Gives the calling process, which must have one thread, mounts of its own.
pub(crate) fn own_mounts() -> io::Result<()> {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
    Ok(())
}

pub(crate) fn mount_overlay(layers: &[PathBuf], upper: &Path, work: &Path, target: &Path) -> io::Result<()> {
    let overlay = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let fd = &overlay;
    // One layer a call, top first; older kernels take only one string for all (which must be short).
    let each = layers.iter().rev().try_for_each(|layer| fsconfig_set_string(fd, "lowerdir+", layer));
    let overlay = match each {
        Ok(()) => overlay,
        Err(Errno::INVAL | Errno::OPNOTSUPP) => {
            let mut all = std::ffi::OsString::new();
            for layer in layers.iter().rev() {
                if !all.is_empty() {
                    all.push(":");
                }
                all.push(layer);
            }
            let overlay = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
            fsconfig_set_string(&overlay, "lowerdir", all)?;
            overlay
        }
        Err(error) => return Err(error.into()),
    };
    fsconfig_set_string(&overlay, "upperdir", upper)?;
    fsconfig_set_string(&overlay, "workdir", work)?;
    fsconfig_create(&overlay)?;
    let mount = fsmount(&overlay, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::MOUNT_ATTR_NODEV)?;
    move_mount(&mount, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use super::*;

    #[test]
    fn what_is_no_file_is_not_opened_to_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("rootfs");
        fs::create_dir_all(root.join("etc")).unwrap();
        let pipe = root.join("etc/passwd");
        rustix::fs::mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        fs::write(root.join("etc/group"), "root:x:0:").unwrap();
        let files = Rootfs(folder.path()).open().unwrap();
        assert_eq!(files.read("/etc/passwd").unwrap(), "");
        assert_eq!(files.read("/etc/group").unwrap(), "root:x:0:");
        assert_eq!(files.read("/etc/absent").unwrap(), "");
        // Whoever waits to write to the pipe sees no reader come.
        let writer = std::thread::spawn(move || fs::OpenOptions::new().write(true).open(pipe));
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(files.read("/etc/passwd").unwrap(), "");
        std::thread::sleep(Duration::from_millis(50));
        assert!(!writer.is_finished());
        drop(fs::File::open(root.join("etc/passwd")).unwrap());
        writer.join().unwrap().unwrap();
    }
}
