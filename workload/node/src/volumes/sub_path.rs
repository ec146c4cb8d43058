//! A part of a volume, found without ever leaving the volume: containers that write to it may have put links there.

use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, mkdirat, openat, openat2};
use rustix::io::Errno;

/// Where the part of a volume is. What is not there is made, if it may be.
pub(crate) fn find(volume: &Path, inner: &str, may_make: bool) -> Result<PathBuf, String> {
    let path = Path::new(inner);
    if path.is_absolute() || path.components().any(|part| part == Component::ParentDir) {
        return Err(format!("{inner:?} must be a relative path without '..'"));
    }
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let failed = |error: Errno| format!("{inner:?}: {}", io::Error::from(error));
    let root = openat(CWD, volume, flags | OFlags::DIRECTORY, Mode::empty()).map_err(failed)?;
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
    let link = format!("/proc/self/fd/{}", last.as_raw_fd());
    std::fs::read_link(link).map_err(|error| format!("{inner:?}: {error}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
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
        assert_eq!(find(&volume, "a/file", false).unwrap(), volume.join("a/file"));
        assert_eq!(find(&volume, "new/deep", true).unwrap(), volume.join("new/deep"));
        assert!(find(&volume, "absent", false).is_err());
        for bad in ["../secret", "/etc", "a/../../secret"] {
            assert!(find(&volume, bad, true).is_err(), "{bad}");
        }
        // Links lead round inside the volume.
        assert!(find(&volume, "up/secret", false).is_err());
        assert_eq!(find(&volume, "root/a", false).unwrap(), volume.join("a"));
    }
}
