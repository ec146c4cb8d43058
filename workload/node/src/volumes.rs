//! A pod's volumes: directories of its own, files out of other objects that follow those objects' changes, places of the
//! machine, and the volumes of its claims.

pub(crate) mod atomic;
mod claim;
mod host_path;
mod image;
mod limit;
mod ownership;
mod payload;
mod refresh;
mod sub_path;

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, Volume};
use rustix::mount::{MountFlags, UnmountFlags};

use crate::Error;
use crate::environment::expand;
use crate::event::Kind;
use crate::place::{Mounted, Place};
use crate::pod::Life;
use crate::quantity::quantity;
use crate::slot::Slot;

pub(crate) use claim::{Claimed, Claims, Holders, find, fit};
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

/// Makes a pod's volumes; those of its claims were found before.
pub(crate) async fn prepare(life: &Arc<Life>, address: &str, claims: &Claims) -> Result<Volumes, Error> {
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
        if let Some(claimed) = claims.get(&volume.name) {
            give(life, claimed, group).await?.map_err(|error| refused(error.to_string()))?;
            let made = Made { path: claimed.path.clone(), is_read_only: claimed.is_read_only };
            volumes.made.insert(volume.name.clone(), made);
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
    "its kind is not served here: use emptyDir, configMap, secret, projected, downwardAPI, hostPath, image, \
     persistentVolumeClaim or ephemeral"
        .to_owned()
}

/// Makes the volume of a claim the pod's group's, unless other pods have it already.
async fn give(life: &Life, claimed: &Claimed, group: Option<u32>) -> Result<io::Result<()>, Error> {
    let is_first = claimed.hold(life);
    let Some(group) = group.filter(|_| claimed.is_given) else { return Ok(Ok(())) };
    let path = claimed.path.clone();
    if !is_first {
        let found = blocking(move || std::fs::metadata(&path)).await?.map(|about| about.gid());
        if let Ok(there) = found
            && there != group
        {
            let message = format!(
                "The requested fsGroup is {group}, but the volume {} has GID {there}. The volume may not be shareable.",
                claimed.name
            );
            life.note(None, Kind::Warning, "AlreadyMountedVolume", message);
        }
        return Ok(Ok(()));
    }
    // Containers of an earlier process may be at work in it.
    if claimed.is_read_only || life.past.has_containers() {
        return Ok(Ok(()));
    }
    let context = life.spec().and_then(|spec| spec.security_context.as_ref());
    let policy = context.and_then(|context| context.fs_group_change_policy.as_deref());
    let only_first = policy == Some("OnRootMismatch");
    blocking(move || ownership::give(&path, group, only_first)).await
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
