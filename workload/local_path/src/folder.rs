//! The directory below which each volume has its own.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::Error;

/// What all volumes may be used with, as pods run as anybody.
const MODE: u32 = 0o777;

fn disk(path: &Path) -> impl FnOnce(io::Error) -> Error {
    |source| Error::Disk { path: path.to_owned(), source }
}

/// Makes a volume's directory, which may be there already.
pub(crate) fn make(folder: &Path, name: &str) -> Result<PathBuf, Error> {
    let path = folder.join(name);
    match DirBuilder::new().mode(0o700).create(&path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let about = fs::symlink_metadata(&path).map_err(disk(&path))?;
            if !about.is_dir() {
                return Err(disk(&path)(io::Error::from(io::ErrorKind::NotADirectory)));
            }
        }
        made => made.map_err(disk(&path))?,
    }
    // The process's own mask does not count.
    fs::set_permissions(&path, Permissions::from_mode(MODE)).map_err(disk(&path))?;
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(disk(folder))?;
    Ok(path)
}

/// Removes a volume's directory with all that is in it; it may be gone already. Links are removed and not followed.
pub(crate) fn remove(folder: &Path, name: &str) -> Result<(), Error> {
    let path = folder.join(name);
    let mounts =
        fs::read_to_string("/proc/self/mountinfo").map_err(disk(Path::new("/proc/self/mountinfo")))?;
    if let Some(mount) = mounted_in(&mounts, &path) {
        return Err(Error::Mounted { mount });
    }
    match fs::remove_dir_all(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(disk(&path)),
    }
}

/// A mount at or below a directory. The fifth field is its place, in which spaces are written as `\040` (proc(5)).
fn mounted_in(mounts: &str, path: &Path) -> Option<PathBuf> {
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    places.map(|place| PathBuf::from(place.replace("\\040", " "))).find(|place| place.starts_with(path))
}

/// Removes directories that were made for a volume that never came, as far as nothing is in them. `is_known` tells of those of
/// volumes and claims that are there.
pub(crate) fn sweep(folder: &Path, is_known: impl Fn(&str) -> bool) -> Result<(), Error> {
    for entry in fs::read_dir(folder).map_err(disk(folder))? {
        let entry = entry.map_err(disk(folder))?;
        let name = entry.file_name();
        let Some(volume) = name.to_str().and_then(|name| name.split_once('_')).map(|(volume, _)| volume)
        else {
            continue;
        };
        if volume.starts_with("pvc-") && !is_known(volume) && fs::remove_dir(entry.path()).is_ok() {
            tracing::info!(directory = %entry.path().display(), "removed a directory that became no volume");
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_directory_is_open_to_all_and_may_be_made_twice() {
        let folder = tempfile::tempdir().unwrap();
        let path = make(folder.path(), "pvc-1_a_b").unwrap();
        fs::write(path.join("kept"), "x").unwrap();
        assert_eq!(make(folder.path(), "pvc-1_a_b").unwrap(), path);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o777);
        assert!(path.join("kept").exists());
        symlink("/", folder.path().join("pvc-2_a_b")).unwrap();
        assert!(make(folder.path(), "pvc-2_a_b").is_err(), "a link is no directory");
    }

    #[test]
    fn nothing_that_links_lead_to_is_removed() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("file"), "x").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = make(folder.path(), "pvc-1_a_b").unwrap();
        symlink(outside.path(), path.join("out")).unwrap();
        symlink(outside.path(), folder.path().join("pvc-2_a_b")).unwrap();
        remove(folder.path(), "pvc-1_a_b").unwrap();
        remove(folder.path(), "pvc-1_a_b").unwrap();
        let _either_way = remove(folder.path(), "pvc-2_a_b");
        assert!(!path.exists() && outside.path().join("file").exists());
    }

    #[test]
    fn what_is_mounted_in_a_volume_keeps_it() {
        let mounts = "36 35 98:0 / /data/pvc-1_a_b/my\\040disk rw - ext4 /dev/sda rw\n37 35 0:1 / /data rw - tmpfs t rw";
        let found = |path: &str| mounted_in(mounts, Path::new(path));
        assert_eq!(found("/data/pvc-1_a_b"), Some(PathBuf::from("/data/pvc-1_a_b/my disk")));
        assert_eq!(found("/data/pvc-1_a"), None);
    }

    #[test]
    fn only_empty_directories_of_no_volume_are_swept_away() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["pvc-1_a_b", "pvc-2_a_b", "pvc-3_a_b", "other"] {
            make(folder.path(), name).unwrap();
        }
        fs::write(folder.path().join("pvc-3_a_b/data"), "x").unwrap();
        sweep(folder.path(), |volume| volume == "pvc-1").unwrap();
        let left = |name: &str| folder.path().join(name).exists();
        assert_eq!(["pvc-1_a_b", "pvc-2_a_b", "pvc-3_a_b", "other"].map(left), [true, false, true, true]);
    }
}
