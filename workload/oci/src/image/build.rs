//! An image made of one file tree.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
};

use super::{
    Descriptor, ImageConfig, Manifest, Platform, RootfsConfig, RunConfig,
    layer::{self, Layer, LayerWriter},
};
use crate::{Digest, Error, RepositoryName, Store, Tag, media_type};

/// Entries in one layer, at the most.
pub(crate) const MOST_ENTRIES: usize = 1_000_000;

/// Where the files of an image come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rootfs {
    /// A directory's content. Its files belong to root in the image.
    Directory(PathBuf),
    /// A tar archive, compressed by gzip or Zstandard or not. Its entries are taken as they are.
    Tar(PathBuf),
}

/// What an image is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildRequest {
    /// The files.
    pub rootfs: Rootfs,
    /// How a container of the image runs.
    pub config: RunConfig,
    /// What the files run on.
    pub platform: Platform,
}

/// Makes an image of one layer and tags it. The same files and settings give the same digest, which is returned.
///
/// # Errors
/// When the files cannot be read, the archive is malformed, or the store refuses.
pub fn build(
    store: &Store,
    name: &RepositoryName,
    tag: &Tag,
    request: &BuildRequest,
) -> Result<Digest, Error> {
    let layer = match &request.rootfs {
        Rootfs::Directory(root) => layer::of_directory(store, root, MOST_ENTRIES)?,
        Rootfs::Tar(archive) => of_archive(store, archive)?,
    };
    let config = ImageConfig {
        created: None,
        architecture: request.platform.architecture.clone(),
        os: request.platform.os.clone(),
        variant: request.platform.variant.clone(),
        config: request.config.clone(),
        rootfs: RootfsConfig { diff_ids: vec![layer.diff_id], ..RootfsConfig::default() },
    };
    let config = serde_json::to_vec(&config).map_err(|error| super::invalid(error.to_string()))?;
    let layers = vec![Descriptor::new(media_type::OCI_LAYER_GZIP, layer.blob.digest, layer.blob.bytes)];
    store.keep(name, layer.blob)?;
    let digest = store.put_blob(name, &config)?;
    let config = Descriptor::new(media_type::OCI_CONFIG, digest, config.len() as u64);
    super::put(store, name, tag, media_type::OCI_MANIFEST, &Manifest::new(config, layers))
}

/// Copies an archive into a layer, reading it as an archive on the way so that what cannot be unpacked is never built.
fn of_archive(store: &Store, archive: &Path) -> Result<Layer, Error> {
    let malformed = |source: io::Error| match source.downcast::<Error>() {
        Ok(ours) => ours,
        Err(source) => Error::ArchiveInvalid {
            archive: archive.to_owned(),
            reason: format!("{source}: give a tar archive, gzipped or not"),
        },
    };
    let file = File::open(archive).map_err(|source| Error::Disk { path: archive.to_owned(), source })?;
    let mut copied =
        Copied { inner: decompressed(file).map_err(malformed)?, layer: LayerWriter::new(store)? };
    if crate::archive::entries(&mut copied, MOST_ENTRIES, |_| Ok(())).map_err(malformed)? == 0 {
        let reason = "it holds no entry: give a tar archive with the image's files".to_owned();
        return Err(Error::ArchiveInvalid { archive: archive.to_owned(), reason });
    }
    // What follows the end of the archive belongs to the stream that is digested.
    io::copy(&mut copied, &mut io::sink()).map_err(malformed)?;
    copied.layer.finish().map_err(malformed)
}

/// Writes what is read from it into the layer.
struct Copied<R> {
    inner: R,
    layer: LayerWriter,
}

impl<R: Read> Read for Copied<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        io::Write::write_all(&mut self.layer, &buffer[..length])?;
        Ok(length)
    }
}

/// The stream without its compression, if it begins as gzip or Zstandard do.
pub(crate) fn decompressed<'a>(file: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut file = BufReader::with_capacity(64 << 10, file);
    let begin = io::BufRead::fill_buf(&mut file)?;
    Ok(if begin.starts_with(&[0x1f, 0x8b]) {
        Box::new(flate2::bufread::MultiGzDecoder::new(file))
    } else if begin.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        Box::new(ruzstd::decoding::StreamingDecoder::new(file).map_err(io::Error::other)?)
    } else {
        Box::new(file)
    })
}
