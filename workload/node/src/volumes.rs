//! A pod's volumes: directories of its own, files out of other objects that follow those objects' changes, and places of the
//! machine.

pub(crate) mod atomic;
mod host_path;
mod image;
mod limit;
mod payload;
mod refresh;
mod sub_path;

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Volume};
use rustix::mount::{MountFlags, UnmountFlags};

use crate::Error;
use crate::environment::expand;
use crate::place::{Mounted, Place};
use crate::pod::Life;
use crate::quantity::quantity;
use crate::slot::Slot;

pub(crate) use limit::overflow;

/// One volume, ready to be mounted.
#[derive(Debug, Clone)]
struct Made {
    path: PathBuf,
    /// Its files are other objects': containers only read them.
    is_read_only: bool,
}

/// A pod's volumes, by their names.
#[derive(Debug, Default)]
pub(crate) struct Volumes {
    made: BTreeMap<String, Made>,
    tokens: payload::Tokens,
}

/// Makes a pod's volumes.
pub(crate) async fn prepare(life: &Arc<Life>, address: &str) -> Result<Volumes, Error> {
    let mut volumes = Volumes::default();
    let folder = life.folder.join("volumes");
    let group = fs_group(life);
    for volume in life.spec().into_iter().flat_map(|spec| spec.volumes.iter().flatten()) {
        let refused = |detail: String| Error::Mount { volume: volume.name.clone(), detail };
        if let Some(host) = &volume.host_path {
            let (path, kind) = (PathBuf::from(&host.path), host.type_.clone().unwrap_or_default());
            volumes.made.insert(volume.name.clone(), Made { path: path.clone(), is_read_only: false });
            blocking(move || host_path::check(&path, &kind)).await?.map_err(refused)?;
            continue;
        }
        let path = folder.join(&volume.name);
        if let Some(source) = &volume.image {
            let made = image::prepare(life, &volume.name, source, &path).await;
            made.map_err(|error| refused(error.to_string()))?;
            volumes.made.insert(volume.name.clone(), Made { path, is_read_only: true });
            continue;
        }
        let is_read_only = payload::is_one(volume);
        if is_read_only {
            let payload = payload::of(life, volume, address, &volumes.tokens).await.map_err(|error| {
                refused(match error {
                    Error::Config(detail) => detail,
                    other => other.to_string(),
                })
            })?;
            let path = path.clone();
            blocking(move || atomic::write(&path, &payload, group))
                .await?
                .map_err(|error| refused(error.to_string()))?;
        } else if let Some(empty) = &volume.empty_dir {
            let (path, empty) = (path.clone(), empty.clone());
            let made = blocking(move || make_empty(&path, &empty, group)).await?;
            made.map_err(|error| refused(error.to_string()))?;
        } else {
            return Err(refused(unserved(volume)));
        }
        volumes.made.insert(volume.name.clone(), Made { path, is_read_only });
    }
    Ok(volumes)
}

fn unserved(_volume: &Volume) -> String {
    "its kind is not served here: use emptyDir, configMap, secret, projected, downwardAPI, hostPath or image"
        .to_owned()
}

/// Whose the files of a pod's volumes are to be.
fn fs_group(life: &Life) -> Option<u32> {
    let context = life.spec()?.security_context.as_ref()?;
    context.fs_group.and_then(|group| u32::try_from(group).ok())
}

/// An empty directory for anyone in the pod to write to; in memory where it is asked for.
fn make_empty(path: &Path, empty: &EmptyDirVolumeSource, group: Option<u32>) -> io::Result<()> {
    std::fs::create_dir_all(path)?;
    if empty.medium.as_deref() == Some("Memory") && !is_mounted(path) {
        let bytes =
            empty.size_limit.as_ref().and_then(|limit| quantity(&limit.0)).filter(|bytes| *bytes >= 1.0);
        // Sizes are far below 2^53.
        let size = bytes.map(|bytes| format!("size={}", bytes as u64));
        let size = size.and_then(|size| std::ffi::CString::new(size).ok());
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        rustix::mount::mount("tmpfs", path, "tmpfs", flags, size.as_deref())?;
    }
    if group.is_some() {
        chown(path, None, group)?;
    }
    let mode = if group.is_some() { 0o2777 } else { 0o777 };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
}

fn is_mounted(path: &Path) -> bool {
    mounts_below(path).iter().any(|mounted| mounted == path)
}

/// What is mounted at or below a directory, innermost last.
fn mounts_below(folder: &Path) -> Vec<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    // The fifth field; spaces in it are written as \040 (proc(5)).
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    places
        .map(|place| PathBuf::from(place.replace("\\040", " ")))
        .filter(|place| place.starts_with(folder))
        .collect()
}

/// Removes a pod's directory with all that was mounted there.
pub(crate) fn remove(folder: &Path) -> io::Result<()> {
    for mounted in mounts_below(folder).into_iter().rev() {
        rustix::mount::unmount(&mounted, UnmountFlags::DETACH)?;
    }
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    Ok(tokio::task::spawn_blocking(work).await?)
}

impl Slot {
    /// What of the volumes the container sees.
    pub(crate) async fn mounts(
        &self,
        place: &Place,
        env: &BTreeMap<String, String>,
    ) -> Result<Vec<Mounted<'_>>, Error> {
        let mut mounts = Vec::new();
        for mount in self.container.volume_mounts.iter().flatten() {
            let Some(made) = place.volumes.made.get(&mount.name) else {
                return Err(Error::Config(format!("volume {:?} is not one of the pod's", mount.name)));
            };
            let inner = match (&mount.sub_path_expr, &mount.sub_path) {
                (Some(expression), _) if !expression.is_empty() => expand(expression, env),
                (_, Some(path)) => path.clone(),
                _ => String::new(),
            };
            let (root, may_make) = (made.path.clone(), !made.is_read_only);
            let part = PathBuf::from(&inner);
            let found = blocking(move || sub_path::open(&root, &inner, may_make)).await?;
            let held = found.map_err(|why| {
                let (volume, container) = (&mount.name, &self.container.name);
                Error::Config(format!(
                    "failed to prepare subPath for volumeMount {volume:?} of container {container:?}: {why}"
                ))
            })?;
            let read_only = made.is_read_only || mount.read_only == Some(true);
            mounts.push(Mounted { mount, source: made.path.clone(), part, held, read_only });
        }
        Ok(mounts)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;

    #[test]
    fn a_directory_in_memory_is_bounded_and_goes_with_the_pod() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: a_directory_in_memory_is_bounded_and_goes_with_the_pod: needs root");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("volumes/cache");
        let empty: EmptyDirVolumeSource =
            serde_json::from_value(serde_json::json!({"medium": "Memory", "sizeLimit": "1Mi"})).unwrap();
        make_empty(&path, &empty, None).unwrap();
        make_empty(&path, &empty, None).unwrap();
        assert_eq!(mounts_below(folder.path()), std::slice::from_ref(&path));
        assert!(std::fs::write(path.join("big"), vec![0; 2 << 20]).is_err());
        remove(folder.path()).unwrap();
        assert!(!path.exists() && mounts_below(folder.path()).is_empty());
    }
}
