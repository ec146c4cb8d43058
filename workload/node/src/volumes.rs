//! The directories behind a pod's volumes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{KeyToPath, Volume};
use kube::{Client, ResourceExt as _};

use crate::Error;
use crate::environment::{config_map, secret};
use crate::place::{Mounted, Place};
use crate::pod::Life;

/// Makes the directories of a pod's volumes below `folder`, and gives them by the volumes' names.
pub(crate) async fn prepare(life: &Life, _address: &str) -> Result<Volumes, Error> {
    let (client, pod, folder) = (&life.node.client, &life.pod, &life.folder.join("volumes"));
    let namespace = pod.namespace().unwrap_or_default();
    let mut made = BTreeMap::new();
    for volume in pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
        let path = folder.join(&volume.name);
        if let Some(host) = &volume.host_path {
            made.insert(volume.name.clone(), PathBuf::from(&host.path));
            continue;
        }
        create(&path).await?;
        if let Some(files) = files_of(client, &namespace, volume).await? {
            write_all(&path, files).await?;
        }
        made.insert(volume.name.clone(), path);
    }
    Ok(made)
}

/// The directories of a pod's volumes, by their names.
pub(crate) type Volumes = BTreeMap<String, PathBuf>;

impl crate::slot::Slot {
    /// What of the volumes the container sees.
    pub(crate) async fn mounts(
        &self,
        place: &Place,
        _env: &BTreeMap<String, String>,
    ) -> Result<Vec<Mounted<'_>>, Error> {
        let mounts = self.container.volume_mounts.iter().flatten();
        Ok(mounts
            .filter_map(|mount| {
                let mut source = place.volumes.get(&mount.name)?.clone();
                if let Some(inner) = &mount.sub_path {
                    source.push(inner);
                }
                Some(Mounted { mount, source, read_only: mount.read_only.unwrap_or(false) })
            })
            .collect())
    }
}

/// The files of a volume; nothing for one that starts empty and keeps what is written.
async fn files_of(
    client: &Client,
    namespace: &str,
    volume: &Volume,
) -> Result<Option<BTreeMap<String, Vec<u8>>>, Error> {
    if let Some(source) = &volume.config_map {
        let data = config_map(client, namespace, &source.name, source.optional.unwrap_or(false)).await?;
        return pick(data, source.items.as_deref(), &volume.name).map(Some);
    }
    if let Some(source) = &volume.secret {
        let name = source.secret_name.clone().unwrap_or_default();
        let data = secret(client, namespace, &name, source.optional.unwrap_or(false)).await?;
        return pick(data, source.items.as_deref(), &volume.name).map(Some);
    }
    if volume.empty_dir.is_some() {
        return Ok(None);
    }
    Err(Error::Config(format!(
        "volume {:?} is of a kind that is not served here; use emptyDir, configMap, secret or hostPath",
        volume.name
    )))
}

fn pick(
    mut data: BTreeMap<String, Vec<u8>>,
    items: Option<&[KeyToPath]>,
    volume: &str,
) -> Result<BTreeMap<String, Vec<u8>>, Error> {
    let Some(items) = items else { return Ok(data) };
    let mut picked = BTreeMap::new();
    for item in items {
        let inside =
            Path::new(&item.path).components().all(|part| matches!(part, std::path::Component::Normal(_)));
        if !inside {
            return Err(Error::Config(format!(
                "volume {volume:?}: path {:?} leads out of the volume",
                item.path
            )));
        }
        let missing =
            || Error::Config(format!("volume {volume:?} references non-existent key: {}", item.key));
        picked.insert(item.path.clone(), data.remove(&item.key).ok_or_else(missing)?);
    }
    Ok(picked)
}

async fn create(path: &Path) -> Result<(), Error> {
    tokio::fs::create_dir_all(path).await.map_err(|source| Error::File { path: path.to_owned(), source })
}

async fn write_all(folder: &Path, files: BTreeMap<String, Vec<u8>>) -> Result<(), Error> {
    for (name, content) in files {
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            create(parent).await?;
        }
        tokio::fs::write(&path, content).await.map_err(|source| Error::File { path, source })?;
    }
    Ok(())
}
