//! Files that change all at once: a directory whose entries are links into `..data`, which is a link to a directory named
//! after the time. A new content is written beside the old one, and one rename turns `..data` to it, so that who reads
//! through it sees the old or the new and never a mixture. This is how the kubelet keeps its volumes, and programs rely on
//! it: they watch `..data`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Component, Path, PathBuf};

use jiff::Timestamp;

const DATA: &str = "..data";
const NEXT: &str = "..data_tmp";

/// One file of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) content: Vec<u8>,
    pub(crate) mode: u32,
}

/// The files of a volume, by their paths inside it.
pub(crate) type Payload = BTreeMap<PathBuf, File>;

/// Whether a path stays inside the volume and leaves what begins with two dots to this module.
pub(crate) fn is_inside(path: &Path) -> bool {
    let plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    path.components().next().is_some()
        && path.components().all(plain)
        && !path.to_string_lossy().starts_with("..")
}

/// Makes the volume hold exactly these files. Tells whether that changed anything. `group` is whose the files are.
pub(crate) fn write(folder: &Path, payload: &Payload, group: Option<u32>) -> io::Result<bool> {
    if let Some(bad) = payload.keys().find(|path| !is_inside(path)) {
        return Err(io::Error::other(format!("path {} leads out of the volume", bad.display())));
    }
    fs::create_dir_all(folder)?;
    let old = fs::read_link(folder.join(DATA)).ok();
    if let Some(old) = &old
        && read(&folder.join(old))? == *payload
    {
        return link(folder, payload).map(|()| false);
    }
    let name = stamp(Timestamp::now());
    let fresh = folder.join(&name);
    let made = fill(&fresh, payload, group).and_then(|()| {
        let next = folder.join(NEXT);
        remove(&next)?;
        symlink(&name, &next)?;
        fs::rename(&next, folder.join(DATA))
    });
    if made.is_err() {
        // The volume still holds what it held.
        let _ = fs::remove_dir_all(&fresh);
    }
    made?;
    link(folder, payload)?;
    if let Some(old) = old {
        fs::remove_dir_all(folder.join(old))?;
    }
    Ok(true)
}

/// `..2024_01_31_12_00_00.123456789`
fn stamp(now: Timestamp) -> String {
    format!("..{}.{:09}", now.strftime("%Y_%m_%d_%H_%M_%S"), now.subsec_nanosecond())
}

fn fill(fresh: &Path, payload: &Payload, group: Option<u32>) -> io::Result<()> {
    let folder = |path: &Path| {
        fs::create_dir_all(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))
    };
    folder(fresh)?;
    for (path, file) in payload {
        let mut parent = fresh.to_owned();
        for part in path.parent().into_iter().flat_map(Path::components) {
            parent.push(part);
            folder(&parent)?;
        }
        let path = fresh.join(path);
        fs::write(&path, &file.content)?;
        if group.is_some() {
            chown(&path, None, group)?;
        }
        // Whatever the process leaves out of the modes of its files by itself.
        fs::set_permissions(&path, fs::Permissions::from_mode(file.mode))?;
    }
    Ok(())
}

/// Links the first part of each path into `..data`, and takes away the links of what is gone.
fn link(folder: &Path, payload: &Payload) -> io::Result<()> {
    let first = |path: &PathBuf| path.components().next().map(|part| PathBuf::from(part.as_os_str()));
    let wanted: BTreeSet<PathBuf> = payload.keys().filter_map(first).collect();
    for entry in fs::read_dir(folder)? {
        let name = PathBuf::from(entry?.file_name());
        if !name.to_string_lossy().starts_with("..") && !wanted.contains(&name) {
            remove(&folder.join(name))?;
        }
    }
    for name in wanted {
        let path = folder.join(&name);
        if fs::symlink_metadata(&path).is_err() {
            symlink(Path::new(DATA).join(&name), path)?;
        }
    }
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// What a directory holds, as a payload.
fn read(folder: &Path) -> io::Result<Payload> {
    let mut payload = Payload::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(next) = waiting.pop() {
        let entries = match fs::read_dir(&next) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries?,
        };
        for entry in entries {
            let path = entry?.path();
            let about = fs::symlink_metadata(&path)?;
            if about.is_dir() {
                waiting.push(path);
            } else if let Ok(inside) = path.strip_prefix(folder) {
                let mode = about.permissions().mode() & 0o7777;
                payload.insert(inside.to_owned(), File { content: fs::read(&path)?, mode });
            }
        }
    }
    Ok(payload)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;

    fn payload(files: &[(&str, &str)]) -> Payload {
        let file = |content: &str| File { content: content.as_bytes().to_vec(), mode: 0o640 };
        files.iter().map(|(path, content)| (PathBuf::from(path), file(content))).collect()
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<String> = entries.map(|name| name.to_string_lossy().into_owned()).collect();
        names.retain(|name| !name.starts_with("..2"));
        names.sort();
        names
    }

    #[test]
    fn a_new_content_takes_the_old_ones_place_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        assert!(write(folder, &payload(&[("a", "1"), ("in/b", "2"), ("c", "3")]), None).unwrap());
        assert_eq!(names(folder), ["..data", "a", "c", "in"]);
        assert_eq!(fs::read_to_string(folder.join("in/b")).unwrap(), "2");
        assert_eq!(fs::metadata(folder.join("a")).unwrap().permissions().mode() & 0o777, 0o640);
        let held = fs::File::open(folder.join("a")).unwrap();
        assert!(write(folder, &payload(&[("a", "9"), ("in/d", "4")]), None).unwrap());
        assert_eq!(names(folder), ["..data", "a", "in"]);
        assert_eq!(fs::read_to_string(folder.join("a")).unwrap(), "9");
        assert!(!folder.join("in/b").exists() && folder.join("in/d").exists());
        assert_eq!(io::read_to_string(held).unwrap(), "1");
        let all = fs::read_dir(folder).unwrap().count();
        assert_eq!(all, 4, "the old content is gone");
    }

    #[test]
    fn what_is_the_same_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let content = payload(&[("a", "1")]);
        assert!(write(folder.path(), &content, None).unwrap());
        let before = fs::read_link(folder.path().join(DATA)).unwrap();
        assert!(!write(folder.path(), &content, None).unwrap());
        assert_eq!(fs::read_link(folder.path().join(DATA)).unwrap(), before);
    }

    #[test]
    fn paths_that_lead_elsewhere_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["../a", "/a", "..data", "a/../b", ""] {
            assert!(write(folder.path(), &payload(&[(path, "1")]), None).is_err(), "{path}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
