//! Layers as directories.
//!
//! ```text
//! ROOT/HEX          one layer in overlayfs's form, named by its diff id; whole or absent
//! ROOT/.unpacking-… a layer on its way; removed when the directory is opened
//! ```
//!
//! A layer is unpacked once, however many images share it. Both digests are checked while it streams: the blob's, and
//! the diff id of the tar stream in it. With privilege, removals take overlayfs's form (a character device 0/0, an
//! attribute on a folder; image-spec, layer.md, "Whiteouts") and files get their owners. Without it, an image is
//! unpacked layer upon layer into one directory.

use std::{
    collections::{BTreeSet, HashSet},
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read},
    os::unix::ffi::OsStrExt as _,
    path::{Component, Path, PathBuf},
};

use crate::{
    Digest, Error, Hasher, RepositoryName, Store, archive,
    image::{Descriptor, ImageConfig, Manifest, decompressed},
    media_type,
};

mod tree;

use tree::{Meta, Node, Tree};

const UNPACKING: &str = ".unpacking-";
const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
const ATTRIBUTE: &str = "SCHILY.xattr.";

/// Bounds on one layer.
#[derive(Clone, Copy, Debug)]
pub struct UnpackLimits {
    /// Entries.
    pub entries: usize,
    /// Bytes of the tar stream.
    pub bytes: u64,
}

impl Default for UnpackLimits {
    fn default() -> Self {
        Self { entries: 1_000_000, bytes: 64 << 30 }
    }
}

/// A directory of layers.
#[derive(Debug)]
pub struct Layers {
    root: PathBuf,
    limits: UnpackLimits,
}

/// Where removals go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Into the layer, for overlayfs.
    Overlay,
    /// They are carried out on what the layers below left.
    Merged,
}

impl Layers {
    /// Opens the directory, creating it when absent, and removes what a crash left half done.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn open(root: impl Into<PathBuf>, limits: UnpackLimits) -> Result<Self, Error> {
        let root = root.into();
        fs::create_dir_all(&root).map_err(at(&root))?;
        for entry in fs::read_dir(&root).map_err(at(&root))? {
            let entry = entry.map_err(at(&root))?;
            if entry.file_name().as_bytes().starts_with(UNPACKING.as_bytes()) {
                fs::remove_dir_all(entry.path()).map_err(at(&entry.path()))?;
            }
        }
        Ok(Self { root, limits })
    }

    /// Unpacks the layers of an image that are not there yet, in overlayfs's form, and returns the directories of all,
    /// bottom first. This needs root.
    ///
    /// # Errors
    /// When a layer is malformed, passes a limit, is not what its digests say, or the disk refuses.
    pub fn unpack(
        &self,
        store: &Store,
        name: &RepositoryName,
        manifest: &Manifest,
        config: &ImageConfig,
    ) -> Result<Vec<PathBuf>, Error> {
        let mut folders = Vec::new();
        for layer in layers(store, name, manifest, config)? {
            let folder = self.root.join(layer.diff_id.hex());
            if !folder.is_dir() {
                self.unpack_layer(&layer, &folder)?;
            }
            folders.push(folder);
        }
        Ok(folders)
    }

    fn unpack_layer(&self, layer: &Layer<'_>, folder: &Path) -> Result<(), Error> {
        let aside =
            tempfile::Builder::new().prefix(UNPACKING).tempdir_in(&self.root).map_err(at(&self.root))?;
        fs::set_permissions(aside.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .map_err(at(aside.path()))?;
        layer.extract(aside.path(), Form::Overlay, self.limits)?;
        // The name must not outlive a crash that the content does not.
        File::open(aside.path())
            .and_then(|folder| rustix::fs::syncfs(&folder).map_err(io::Error::from))
            .map_err(at(aside.path()))?;
        match fs::rename(aside.path(), folder) {
            Ok(()) => {
                let _gone = aside.keep();
                File::open(&self.root).and_then(|root| root.sync_all()).map_err(at(&self.root))
            }
            // Another caller was faster; ours goes.
            Err(_) if folder.is_dir() => Ok(()),
            Err(error) => Err(at(folder)(error)),
        }
    }

    /// Removes the layers that are not among `kept`. No container may be using them.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn retain(&self, kept: &BTreeSet<Digest>) -> Result<(), Error> {
        for entry in fs::read_dir(&self.root).map_err(at(&self.root))? {
            let entry = entry.map_err(at(&self.root))?;
            let name = entry.file_name();
            let digest = name.to_str().and_then(|hex| format!("sha256:{hex}").parse::<Digest>().ok());
            if digest.is_some_and(|digest| !kept.contains(&digest)) {
                // First out of sight, so that a crash leaves no half layer under a whole one's name.
                let aside = self.root.join(format!("{UNPACKING}{}", name.display()));
                fs::rename(entry.path(), &aside).map_err(at(&entry.path()))?;
                fs::remove_dir_all(&aside).map_err(at(&aside))?;
            }
        }
        Ok(())
    }
}

/// Unpacks a whole image into one directory, which must exist and be empty. Works without privilege; owners and devices
/// are then left out.
///
/// # Errors
/// As [`Layers::unpack`]; the directory is then of no use.
pub fn unpack_merged(
    store: &Store,
    name: &RepositoryName,
    manifest: &Manifest,
    config: &ImageConfig,
    target: &Path,
    limits: UnpackLimits,
) -> Result<(), Error> {
    for layer in layers(store, name, manifest, config)? {
        layer.extract(target, Form::Merged, limits)?;
    }
    Ok(())
}

/// A layer as it lies in a store.
struct Layer<'a> {
    store: &'a Store,
    name: &'a RepositoryName,
    blob: &'a Descriptor,
    diff_id: Digest,
}

fn layers<'a>(
    store: &'a Store,
    name: &'a RepositoryName,
    manifest: &'a Manifest,
    config: &ImageConfig,
) -> Result<impl Iterator<Item = Layer<'a>>, Error> {
    let diff_ids = config.rootfs.diff_ids.clone();
    if manifest.layers.len() != diff_ids.len() {
        let reason = "its configuration has another number of layers: build the image again".to_owned();
        return Err(Error::ManifestInvalid { reason });
    }
    let pairs = manifest.layers.iter().zip(diff_ids);
    Ok(pairs.map(move |(blob, diff_id)| Layer { store, name, blob, diff_id }))
}

impl Layer<'_> {
    fn extract(&self, target: &Path, form: Form, limits: UnpackLimits) -> Result<(), Error> {
        let invalid = |reason: String| Error::LayerInvalid { layer: self.blob.digest, reason };
        match self.blob.media_type.as_str() {
            media_type::OCI_LAYER
            | media_type::OCI_LAYER_GZIP
            | media_type::OCI_LAYER_ZSTD
            | media_type::DOCKER_LAYER_GZIP => {}
            other => return Err(invalid(format!("its type {other} cannot be unpacked: build it with gzip"))),
        }
        let broken = |source: io::Error| match source.downcast::<Error>() {
            Ok(ours) => ours,
            Err(source) => invalid(source.to_string()),
        };
        let mut blob = Digesting::new(self.store.open_blob(self.name, self.blob.digest)?, self.blob.size);
        let mut stream = Digesting::new(decompressed(&mut blob).map_err(broken)?, limits.bytes);
        let mut tree = Tree::open(target, form == Form::Overlay || rustix::process::geteuid().is_root())
            .map_err(at(target))?;
        let entries = Entries { form, written: HashSet::new(), removed: HashSet::new() };
        let unpacked = entries.put_all(&mut stream, &mut tree, limits.entries);
        // A wrong digest explains a broken archive, so it is told first.
        let drained = io::copy(&mut stream, &mut io::sink());
        let found_diff = stream.hasher.clone().finish();
        drop(stream);
        io::copy(&mut blob, &mut io::sink()).map_err(broken)?;
        let found = blob.hasher.finish();
        if found != self.blob.digest {
            return Err(Error::DigestMismatch { expected: self.blob.digest, found });
        }
        unpacked.map_err(broken)?;
        drained.map_err(broken)?;
        if found_diff != self.diff_id {
            return Err(Error::DigestMismatch { expected: self.diff_id, found: found_diff });
        }
        tree.finish().map_err(broken)
    }
}

struct Entries {
    form: Form,
    /// What this layer has put: its removals are about the layers below only, wherever in the stream they stand.
    written: HashSet<PathBuf>,
    /// What this layer removes.
    removed: HashSet<PathBuf>,
}

impl Entries {
    fn put_all(mut self, stream: impl Read, tree: &mut Tree, most: usize) -> io::Result<()> {
        archive::entries(stream, most, |entry| {
            let path = entry.path()?.into_owned();
            self.put(entry, &path, tree)
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
        })
        .map(drop)
    }

    fn put(&mut self, entry: &mut tar::Entry<'_, impl Read>, path: &Path, tree: &mut Tree) -> io::Result<()> {
        let path = relative(path)?;
        let name = path.file_name().unwrap_or_default();
        let folder = path.parent().unwrap_or(Path::new(""));
        if name.as_bytes() == OPAQUE {
            return self.hide_below(folder, tree);
        }
        if let Some(removed) = name.as_bytes().strip_prefix(WHITEOUT) {
            if removed.is_empty() || removed == b"." || removed == b".." {
                return Err(io::Error::other("a removal without a name"));
            }
            let removed = folder.join(OsStr::from_bytes(removed));
            return self.remove(removed, tree);
        }
        self.written.extend(path.ancestors().map(Path::to_owned));
        let header = entry.header();
        let id = |id: u64| u32::try_from(id).map_err(|_| io::Error::other("an owner beyond 32 bits"));
        let meta = Meta {
            mode: header.mode()?,
            // Some writers leave empty what they do not mean.
            uid: id(header.uid().unwrap_or(0))?,
            gid: id(header.gid().unwrap_or(0))?,
            mtime: header.mtime().unwrap_or(0),
        };
        let kind = header.entry_type();
        // Only devices have numbers; writers leave these fields of other entries empty.
        let device = if matches!(kind, tar::EntryType::Char | tar::EntryType::Block) {
            (header.device_major()?.unwrap_or(0), header.device_minor()?.unwrap_or(0))
        } else {
            (0, 0)
        };
        let target = entry.link_name()?.map(std::borrow::Cow::into_owned);
        let target = || target.as_deref().ok_or_else(|| io::Error::other("a link without a target"));
        match kind {
            tar::EntryType::Directory => {
                tree.put(&path, Node::Folder, meta)?;
                if self.form == Form::Overlay && self.removed.contains(&path) {
                    tree.put_opaque(&path)?;
                }
            }
            tar::EntryType::Regular | tar::EntryType::Continuous => {
                let attributes = attributes(entry)?;
                tree.put(&path, Node::File(entry), meta)?;
                for (key, value) in attributes {
                    tree.set_attribute(&path, &key, &value)?;
                }
            }
            tar::EntryType::Symlink => tree.put(&path, Node::Symlink(target()?), meta)?,
            tar::EntryType::Link => tree.put(&path, Node::Link(&relative(target()?)?), meta)?,
            tar::EntryType::Fifo => tree.put(&path, Node::Fifo, meta)?,
            tar::EntryType::Char | tar::EntryType::Block => {
                let (character, (major, minor)) = (kind == tar::EntryType::Char, device);
                tree.put(&path, Node::Device { character, major, minor }, meta)?;
            }
            // Comments and what later formats may add carry no files.
            _ => {}
        }
        Ok(())
    }

    fn remove(&mut self, path: PathBuf, tree: &mut Tree) -> io::Result<()> {
        if self.written.contains(&path) {
            // The layer has its own: of a folder only what lies below it goes.
            return if tree.is_folder(&path)? { self.hide_below(&path, tree) } else { Ok(()) };
        }
        match self.form {
            Form::Overlay => tree.put_whiteout(&path)?,
            Form::Merged => tree.remove(&path)?,
        }
        self.removed.insert(path);
        Ok(())
    }

    fn hide_below(&self, folder: &Path, tree: &mut Tree) -> io::Result<()> {
        match self.form {
            Form::Overlay => tree.put_opaque(folder),
            Form::Merged => tree.empty(folder, |path| self.written.contains(path)),
        }
    }
}

/// The attributes that a container may carry: file capabilities. Others are the host's or the file system's.
fn attributes(entry: &mut tar::Entry<'_, impl Read>) -> io::Result<Vec<(String, Vec<u8>)>> {
    if !rustix::process::geteuid().is_root() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for extension in entry.pax_extensions()?.into_iter().flatten() {
        let extension = extension?;
        if let Some(key @ "security.capability") =
            extension.key().ok().and_then(|key| key.strip_prefix(ATTRIBUTE))
        {
            found.push((key.to_owned(), extension.value_bytes().to_vec()));
        }
    }
    Ok(found)
}

/// The path below the image's root. A leading `/` means that root.
fn relative(path: &Path) -> io::Result<PathBuf> {
    let mut relative = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => relative.push(part),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(io::Error::other("the path leads outside the image: do not use it"));
            }
        }
    }
    Ok(relative)
}

/// Digests what is read through it, and stops beyond a limit.
struct Digesting<R> {
    inner: R,
    hasher: Hasher,
    left: u64,
}

impl<R> Digesting<R> {
    fn new(inner: R, limit: u64) -> Self {
        Self { inner, hasher: Hasher::default(), left: limit }
    }
}

impl<R: Read> Read for Digesting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.left = self
            .left
            .checked_sub(length as u64)
            .ok_or_else(|| io::Error::other("it is larger than its descriptor or the limit says"))?;
        self.hasher.update(&buffer[..length]);
        Ok(length)
    }
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Disk { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests;
