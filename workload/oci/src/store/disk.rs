//! Files that are whole or absent: written aside, synced, renamed, and their folder synced.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::Path,
};

use crate::Error;

pub(super) fn at(path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Disk { path: path.to_owned(), source }
}

pub(super) fn absent(path: &Path, unknown: impl FnOnce() -> Error) -> impl FnOnce(io::Error) -> Error {
    move |source| match source.kind() {
        io::ErrorKind::NotFound => unknown(),
        _ => Error::Disk { path: path.to_owned(), source },
    }
}

pub(super) fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

pub(super) fn remove(path: &Path, unknown: impl FnOnce() -> Error) -> Result<(), Error> {
    fs::remove_file(path).map_err(absent(path, unknown))?;
    sync_folder(path)
}

/// Removes a file that may be gone already.
pub(super) fn remove_if_present(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(path)(error)),
        _ => Ok(()),
    }
}

/// Makes the name of `path` durable.
pub(super) fn sync_folder(path: &Path) -> Result<(), Error> {
    let folder = parent(path);
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(at(folder))
}

/// Creates the folder and makes each new name on the way to it durable.
pub(super) fn create_folder(path: &Path) -> Result<(), Error> {
    if path.is_dir() || path.as_os_str().is_empty() {
        return Ok(());
    }
    create_folder(parent(path))?;
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(at(path)(error)),
        _ => {}
    }
    // A relative path of one component has the empty parent, which cannot be opened.
    if parent(path).as_os_str().is_empty() { Ok(()) } else { sync_folder(path) }
}

pub(super) fn write_atomically(path: &Path, content: &[u8]) -> Result<(), Error> {
    let folder = parent(path);
    create_folder(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(at(folder))?;
    file.write_all(content).and_then(|()| file.as_file().sync_all()).map_err(at(path))?;
    file.persist(path).map_err(|refused| at(path)(refused.error))?;
    sync_folder(path)
}

/// The names in a folder that are UTF-8; none when the folder is absent.
pub(super) fn names(path: &Path) -> Result<Vec<String>, Error> {
    let entries = match fs::read_dir(path) {
        Err(absent) if absent.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(at(path))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.extend(entry.map_err(at(path))?.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}
