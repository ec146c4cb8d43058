//! A layer being written: a tar stream, gzipped into the store while both forms are digested.
//!
//! The same files give the same bytes: entries come in order of their names, times are zero, owners are root, and the
//! gzip header carries neither time nor name. Extended attributes are left out.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use flate2::{Compression, GzBuilder, write::GzEncoder};

use crate::{BlobWriter, Digest, Error, Hasher, StagedBlob, Store};

/// A finished layer.
pub(super) struct Layer {
    /// The gzipped tar stream.
    pub(super) blob: StagedBlob,
    /// The digest of the tar stream itself.
    pub(super) diff_id: Digest,
}

/// Takes in a tar stream.
pub(super) struct LayerWriter {
    gzip: GzEncoder<BlobWriter>,
    hasher: Hasher,
}

impl LayerWriter {
    pub(super) fn new(store: &Store) -> Result<Self, Error> {
        let gzip =
            GzBuilder::new().mtime(0).operating_system(255).write(store.stage()?, Compression::default());
        Ok(Self { gzip, hasher: Hasher::default() })
    }

    pub(super) fn finish(self) -> io::Result<Layer> {
        let blob = self.gzip.finish()?.finish().map_err(io::Error::other)?;
        Ok(Layer { blob, diff_id: self.hasher.finish() })
    }
}

impl Write for LayerWriter {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let length = self.gzip.write(piece)?;
        self.hasher.update(&piece[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.gzip.flush()
    }
}

/// Makes a layer of a directory's content.
pub(super) fn of_directory(store: &Store, root: &Path, most_entries: usize) -> Result<Layer, Error> {
    let mut tar = tar::Builder::new(LayerWriter::new(store)?);
    let mut first_names: HashMap<(u64, u64), PathBuf> = HashMap::new();
    let mut entries = 0;
    // Paths relative to the root, the next one last.
    let mut waiting = children(root, Path::new(""))?;
    while let Some(name) = waiting.pop() {
        entries += 1;
        if entries > most_entries {
            return Err(refused(root, format!("it holds more than {most_entries} files: leave some out")));
        }
        let path = root.join(&name);
        let found = fs::symlink_metadata(&path).map_err(at(&path))?;
        let mut header = tar::Header::new_gnu();
        header.set_mode(found.mode() & 0o7777);
        header.set_size(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        let kind = found.file_type();
        if kind.is_dir() {
            header.set_entry_type(tar::EntryType::Directory);
            tar.append_data(&mut header, &name, io::empty()).map_err(at(&path))?;
            waiting.extend(children(root, &name)?);
            continue;
        }
        if found.nlink() > 1 && !kind.is_symlink() {
            if let Some(first) = first_names.get(&(found.dev(), found.ino())) {
                header.set_entry_type(tar::EntryType::Link);
                tar.append_link(&mut header, &name, first).map_err(at(&path))?;
                continue;
            }
            first_names.insert((found.dev(), found.ino()), name.clone());
        }
        if kind.is_symlink() {
            header.set_entry_type(tar::EntryType::Symlink);
            let target = fs::read_link(&path).map_err(at(&path))?;
            tar.append_link(&mut header, &name, target).map_err(at(&path))?;
        } else if kind.is_file() {
            append_file(&mut tar, header, &name, &path)?;
        } else if kind.is_fifo() {
            header.set_entry_type(tar::EntryType::Fifo);
            tar.append_data(&mut header, &name, io::empty()).map_err(at(&path))?;
        } else {
            return Err(refused(&path, "sockets and devices cannot be in an image: remove it".to_owned()));
        }
    }
    tar.into_inner().and_then(LayerWriter::finish).map_err(at(root))
}

fn append_file(
    tar: &mut tar::Builder<LayerWriter>,
    mut header: tar::Header,
    name: &Path,
    path: &Path,
) -> Result<(), Error> {
    let file = File::open(path).map_err(at(path))?;
    // Read from the open file: what the name means may change meanwhile.
    let length = file.metadata().map_err(at(path))?.len();
    header.set_entry_type(tar::EntryType::Regular);
    header.set_size(length);
    let mut content = Counted { inner: file.take(length), bytes: 0 };
    tar.append_data(&mut header, name, &mut content).map_err(at(path))?;
    if content.bytes == length {
        Ok(())
    } else {
        Err(refused(path, "it shrank while it was read: build again when nothing writes there".to_owned()))
    }
}

struct Counted<R> {
    inner: R,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.bytes += length as u64;
        Ok(length)
    }
}

/// The entries of a directory, last name first.
fn children(root: &Path, folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let path = root.join(folder);
    let entries = fs::read_dir(&path).map_err(at(&path))?;
    let mut names = entries
        .map(|entry| Ok(folder.join(entry?.file_name())))
        .collect::<io::Result<Vec<_>>>()
        .map_err(at(&path))?;
    names.sort_by(|a, b| b.cmp(a));
    Ok(names)
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| match source.downcast::<Error>() {
        Ok(ours) => ours,
        Err(source) => Error::Disk { path: path.to_owned(), source },
    }
}

fn refused(path: &Path, reason: String) -> Error {
    Error::BuildRefused { path: path.to_owned(), reason }
}
