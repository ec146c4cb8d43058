//! Directories on disk that hold more than they may (`emptyDir.sizeLimit`). The disk itself does not bound them, so they are
//! measured now and then, as the kubelet does.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::blocking;
use crate::pod::Life;
use crate::quantity::quantity;

/// How often they are measured.
const PERIOD: Duration = Duration::from_secs(10);
/// Files that are counted; one with more is as large as it can be.
const MOST_FILES: usize = 1_000_000;
/// What a block is in a file's metadata (stat(2)).
const BLOCK: u64 = 512;

/// Waits until one of a pod's directories holds more than it may, and gives its name and its limit.
pub(crate) async fn overflow(life: &Life) -> (String, String) {
    let volumes = life.spec().into_iter().flat_map(|spec| spec.volumes.iter().flatten());
    let limited: Vec<_> = volumes
        .filter_map(|volume| {
            let empty =
                volume.empty_dir.as_ref().filter(|empty| empty.medium.as_deref() != Some("Memory"))?;
            let limit = &empty.size_limit.as_ref()?.0;
            let bytes = quantity(limit).filter(|bytes| *bytes > 0.0)?;
            let path = life.folder.join("volumes").join(&volume.name);
            Some((volume.name.clone(), limit.clone(), bytes, path))
        })
        .collect();
    if limited.is_empty() {
        return std::future::pending().await;
    }
    loop {
        tokio::time::sleep(PERIOD).await;
        for (name, limit, bytes, path) in &limited {
            let path = path.clone();
            // One that cannot be measured is measured again.
            let used = blocking(move || usage(&path)).await.ok().and_then(Result::ok).unwrap_or(0);
            // Sizes are far below 2^53.
            if used as f64 > *bytes {
                return (name.clone(), limit.clone());
            }
        }
    }
}

/// Bytes on disk of what is in a directory. Links are not followed, and other file systems not entered.
fn usage(root: &Path) -> io::Result<u64> {
    let device = fs::symlink_metadata(root)?.dev();
    let (mut used, mut files) = (0_u64, 0);
    let mut waiting: Vec<PathBuf> = vec![root.to_owned()];
    while let Some(folder) = waiting.pop() {
        // What is removed meanwhile counts for nothing.
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(about) = entry.metadata() else { continue };
            files += 1;
            if files > MOST_FILES {
                return Ok(u64::MAX);
            }
            if about.dev() != device {
                continue;
            }
            used = used.saturating_add(about.blocks().saturating_mul(BLOCK));
            if about.is_dir() {
                waiting.push(entry.path());
            }
        }
    }
    Ok(used)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_disk_counts_and_nothing_that_links_lead_to() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("volume");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::write(folder.path().join("outside"), vec![1; 4 << 20]).unwrap();
        std::os::unix::fs::symlink("/", root.join("root")).unwrap();
        std::os::unix::fs::symlink("../outside", root.join("out")).unwrap();
        let empty = usage(&root).unwrap();
        assert!(empty < 1 << 20, "{empty}");
        fs::write(root.join("a/b/file"), vec![1; 2 << 20]).unwrap();
        // Nothing is written to a hole.
        fs::File::create(root.join("hole")).unwrap().set_len(1 << 40).unwrap();
        let used = usage(&root).unwrap() - empty;
        assert!(((2 << 20)..(3 << 20)).contains(&used), "{used}");
        assert!(usage(&root.join("absent")).is_err());
    }
}
