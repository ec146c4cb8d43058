//! The data directory: one holder at a time, and the files by which other programs find a running instance.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// Bound addresses by part name, as `endpoints.json` holds them.
pub(crate) type Endpoints = BTreeMap<String, SocketAddr>;

/// A data directory that this process alone holds, until it is dropped.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    _lock: File,
}

/// Closes a directory to other users: keys, tokens and pods' secrets lie in it. One that holds what is not an instance's is
/// left as it is.
fn close(path: &Path) -> Result<()> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(unusable("use", path))? {
        names.push(entry.map_err(unusable("use", path))?.file_name());
    }
    if names.is_empty() || names.iter().any(|name| name == "lock" || name == "berth") {
        return fs::set_permissions(path, fs::Permissions::from_mode(0o700))
            .map_err(unusable("close to other users", path));
    }
    tracing::warn!(path = %path.display(), "the data directory holds other files and stays as open as it is");
    Ok(())
}

impl DataDir {
    /// Makes the directory where it is missing, closes it to all other users (mode 0700), and takes its lock.
    pub(crate) fn hold(path: &Path) -> Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(unusable("make", path))?;
        let path = path.canonicalize().with_context(|| format!("cannot resolve {}", path.display()))?;
        close(&path)?;
        let lock_path = path.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .map_err(unusable("use", &path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!(
                "another xebec holds the data directory {}: stop it, or give this one its own with --data DIR",
                path.display()
            ),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", lock_path.display()));
            }
        }
        let held = Self { path, _lock: lock };
        // Addresses of an instance that was killed would mislead whoever reads them.
        match fs::remove_file(held.endpoints_file()) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).context("cannot remove the stale endpoints.json"),
        }
        Ok(held)
    }

    /// The directory, absolute.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn endpoints_file(&self) -> PathBuf {
        self.path.join("endpoints.json")
    }

    /// Writes `endpoints.json` so that a reader sees the whole of it or none.
    pub(crate) fn write_endpoints(&self, endpoints: &Endpoints) -> Result<()> {
        let text = serde_json::to_string_pretty(endpoints)?;
        let fresh = self.path.join("endpoints.json.new");
        let mut file = File::create(&fresh).with_context(|| format!("cannot write {}", fresh.display()))?;
        writeln!(file, "{text}").with_context(|| format!("cannot write {}", fresh.display()))?;
        fs::rename(&fresh, self.endpoints_file()).context("cannot put endpoints.json in its place")
    }
}

impl Drop for DataDir {
    fn drop(&mut self) {
        // The file says where a running instance is; after this there is none.
        let _ = fs::remove_file(self.endpoints_file());
    }
}

/// Says what to do about a directory that the system refuses.
fn unusable(what: &str, path: &Path) -> impl FnOnce(io::Error) -> anyhow::Error {
    move |error| {
        let remedy = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "free space on its disk",
            _ => "make it a directory that you may write to",
        };
        let path = path.display();
        let text =
            format!("cannot {what} the data directory {path}: {remedy}, or choose another with --data DIR");
        anyhow::Error::new(error).context(text)
    }
}

/// What to do when an instance does not answer where it said that it listens.
pub(crate) fn start_again(path: &Path) -> String {
    format!("if the process was killed, start it again with `xebec up --data {}`", path.display())
}

/// Reads where the instance of this data directory listens.
pub(crate) fn endpoints_of(path: &Path) -> Result<Endpoints> {
    let file = path.join("endpoints.json");
    let text = match fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => bail!(
            "no xebec runs on {}: start one with `xebec up --data {0}`, or name its directory with --data DIR",
            path.display()
        ),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
    };
    serde_json::from_str(&text)
        .with_context(|| format!("{} is not the file that xebec wrote", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_holder_is_told_who_is_in_the_way_and_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataDir::hold(dir.path()).unwrap();
        let message = DataDir::hold(dir.path()).unwrap_err().to_string();
        assert!(message.contains("another xebec holds") && message.contains("--data"), "{message}");
        drop(first);
        DataDir::hold(dir.path()).unwrap();
    }

    #[test]
    fn a_directory_that_was_open_to_others_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let _held = DataDir::hold(dir.path()).unwrap();
        assert_eq!(fs::metadata(dir.path()).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn endpoints_are_found_while_an_instance_holds_the_directory_and_not_after() {
        let dir = tempfile::tempdir().unwrap();
        let held = DataDir::hold(dir.path()).unwrap();
        let written = Endpoints::from([("api".to_owned(), "127.0.0.1:6443".parse().unwrap())]);
        held.write_endpoints(&written).unwrap();
        assert_eq!(endpoints_of(dir.path()).unwrap(), written);
        drop(held);
        assert!(endpoints_of(dir.path()).unwrap_err().to_string().contains("no xebec runs on"));
    }
}
