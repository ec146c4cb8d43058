//! Volumes that become their pod's: its group may then read and write all that is in them (`fsGroup`).

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, lchown};
use std::path::{Path, PathBuf};

/// What a group may do with a file, and besides with a directory, whose new files are the group's too.
const FILE: u32 = 0o660;
const FOLDER: u32 = 0o2110;

/// Gives all that is in a volume to a group. If `only_first`, nothing is looked at where the volume itself is the group's
/// already.
pub(crate) fn give(volume: &Path, group: u32, only_first: bool) -> io::Result<()> {
    let about = fs::metadata(volume)?;
    let wanted = FILE | FOLDER;
    if only_first && about.gid() == group && about.mode() & wanted == wanted {
        return Ok(());
    }
    let mut waiting: Vec<PathBuf> = vec![volume.to_owned()];
    let mut folders = Vec::new();
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let (path, about) = (entry.path(), entry.metadata()?);
            // What a link leads to is not the volume's.
            if about.is_symlink() {
                lchown(&path, None, Some(group))?;
            } else if about.is_dir() {
                waiting.push(path);
            } else {
                chown(&path, None, Some(group))?;
                fs::set_permissions(&path, Permissions::from_mode(about.mode() | FILE))?;
            }
        }
        folders.push(folder);
    }
    // From the inside out, so that what was begun and not ended shows in the volume itself.
    for folder in folders.into_iter().rev() {
        let mode = fs::metadata(&folder)?.mode();
        chown(&folder, None, Some(group))?;
        fs::set_permissions(&folder, Permissions::from_mode(mode | wanted))?;
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;

    #[test]
    fn all_of_a_volume_and_nothing_else_becomes_the_groups() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: all_of_a_volume_and_nothing_else_becomes_the_groups: needs root");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let (volume, outside) = (folder.path().join("v"), folder.path().join("outside"));
        fs::create_dir_all(volume.join("in")).unwrap();
        for path in [&outside, &volume.join("in/file")] {
            fs::write(path, "x").unwrap();
            fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
        }
        std::os::unix::fs::symlink(&outside, volume.join("link")).unwrap();
        give(&volume, 1234, false).unwrap();
        let seen = |path: &Path| {
            let about = fs::metadata(path).unwrap();
            (about.gid(), about.mode() & 0o7777)
        };
        assert_eq!(seen(&volume.join("in/file")), (1234, 0o660));
        assert_eq!((seen(&volume).0, seen(&volume).1 & 0o2770), (1234, 0o2770));
        assert_eq!(seen(&outside).1, 0o600);
        assert_ne!(seen(&outside).0, 1234);
        fs::write(volume.join("new"), "x").unwrap();
        fs::set_permissions(volume.join("new"), Permissions::from_mode(0o600)).unwrap();
        give(&volume, 1234, true).unwrap();
        assert_eq!(seen(&volume.join("new")).1, 0o600, "the volume itself is the group's already");
        give(&volume, 1235, true).unwrap();
        assert_eq!(seen(&volume.join("new")), (1235, 0o660));
    }
}
