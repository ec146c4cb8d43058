//! A part of a volume, found without ever leaving the volume: containers that write to it may have put links there, and may
//! put others there at any moment. So a part is held open and never known by a path.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2};
use rustix::io::Errno;

/// Opens the part of a volume, or all of it. What is not there is made, if it may be.
pub(crate) fn open(volume: &Path, inner: &str, may_make: bool) -> Result<OwnedFd, String> {
    let path = Path::new(inner);
    if path.is_absolute() || path.components().any(|part| part == Component::ParentDir) {
        return Err(format!("{inner:?} must be a relative path without '..'"));
    }
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let failed = |error: Errno| format!("{inner:?}: {}", io::Error::from(error));
    let root = openat(CWD, volume, flags, Mode::empty()).map_err(failed)?;
    if inner.is_empty() {
        return Ok(root);
    }
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let mut walked = PathBuf::new();
    let mut last = openat(&root, ".", flags, Mode::empty()).map_err(failed)?;
    for part in path.components() {
        let Component::Normal(name) = part else { continue };
        walked.push(name);
        last = match openat2(&root, &walked, flags, Mode::empty(), resolve) {
            Err(Errno::NOENT) if may_make => {
                match mkdirat(&last, name, Mode::from_raw_mode(0o755)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(failed(error)),
                }
                openat2(&root, &walked, flags, Mode::empty(), resolve).map_err(failed)?
            }
            found => found.map_err(failed)?,
        };
    }
    Ok(last)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use std::os::fd::AsRawFd as _;

    use super::*;

    #[test]
    fn parts_are_found_or_made_inside_the_volume() {
        let folder = tempfile::tempdir().unwrap();
        let volume = folder.path().canonicalize().unwrap().join("volume");
        std::fs::create_dir_all(volume.join("a")).unwrap();
        std::fs::write(volume.join("a/file"), "").unwrap();
        std::fs::write(folder.path().join("secret"), "").unwrap();
        std::os::unix::fs::symlink("..", volume.join("up")).unwrap();
        std::os::unix::fs::symlink("/", volume.join("root")).unwrap();
        let found = |inner: &str, may_make| {
            let part = open(&volume, inner, may_make).unwrap();
            std::fs::read_link(format!("/proc/self/fd/{}", part.as_raw_fd())).unwrap()
        };
        assert_eq!(found("", false), volume);
        assert_eq!(found("a/file", false), volume.join("a/file"));
        assert_eq!(found("new/deep", true), volume.join("new/deep"));
        assert!(open(&volume, "absent", false).is_err());
        for bad in ["../secret", "/etc", "a/../../secret"] {
            assert!(open(&volume, bad, true).is_err(), "{bad}");
        }
        // Links lead round inside the volume.
        assert!(open(&volume, "up/secret", false).is_err());
        assert_eq!(found("root/a", false), volume.join("a"));
        // What was found stays what it is, whatever takes its name.
        let part = open(&volume, "a", false).unwrap();
        std::fs::rename(volume.join("a"), volume.join("b")).unwrap();
        std::os::unix::fs::symlink("/", volume.join("a")).unwrap();
        let held = std::fs::read_dir(format!("/proc/self/fd/{}", part.as_raw_fd())).unwrap();
        let names: Vec<_> = held.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["file"]);
    }
}
