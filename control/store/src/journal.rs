//! The journal: what was committed last, until the database has it as well.
//!
//! A commit is one frame behind the others, synced before anybody is answered. The files of the journal are named after the
//! first revision in them; one goes when all that is in it is in the database. A file begins with [`MAGIC`]; a frame is
//! `length:u32 crc:u32 (revision:u64 key:u32 record:u32 key… record…)…`, little endian.
//!
//! Only the last frame of a file can be cut short: the process ended within a commit that nobody was told of. A frame that is
//! not whole and has a whole one behind it is damage.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::failure::storage;
use crate::record::{Record, long, word};
use crate::{Error, Event, Revision};

/// How long a file becomes before the next one begins.
const FILE_BYTES: u64 = 4 << 20;
const NAME: &str = "store.log.";
/// What files begin with: a name, and the format of what follows.
const MAGIC: [u8; 8] = *b"xebecl\0\x01";
const FRAME: usize = 4 + 4;
const ROW: usize = 8 + 4 + 4;
/// No commit is so many revisions ahead of the one before it.
const REVISIONS: u64 = 1 << 20;

/// A record as it is found again.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) revision: Revision,
    pub(crate) key: Arc<str>,
    pub(crate) record: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct Journal {
    directory: PathBuf,
    /// The files that nothing is added to any more, oldest first.
    full: VecDeque<Full>,
    current: Option<Current>,
    buffer: Vec<u8>,
    record: Vec<u8>,
}

#[derive(Debug)]
struct Full {
    path: PathBuf,
    bytes: u64,
    last: Revision,
}

#[derive(Debug)]
struct Current {
    path: PathBuf,
    file: File,
    /// Up to here it holds frames whose writers were answered.
    length: u64,
    /// The last revision in it, or the one before the first.
    last: Revision,
    /// Whether there is nothing behind that.
    is_sound: bool,
}

impl Current {
    /// Takes away what a commit that failed left behind.
    fn settle(&mut self) -> io::Result<()> {
        if !self.is_sound {
            self.file.set_len(self.length)?;
            self.file.sync_all()?;
            self.is_sound = true;
        }
        Ok(())
    }
}

impl Journal {
    /// Opens the journal in a directory, and reads it from end to end. It stays as it is until [`Self::tidy`].
    pub(crate) fn open(directory: &Path) -> Result<(Self, Vec<Row>), Error> {
        let failed = |error: io::Error| storage(directory, &error);
        let mut files = Vec::new();
        for file in fs::read_dir(directory).map_err(failed)? {
            let name = file.map_err(failed)?.file_name();
            let first = name.to_str().and_then(|name| name.strip_prefix(NAME)?.parse::<u64>().ok());
            files.extend(first.map(|first| (Revision(first), directory.join(&name))));
        }
        files.sort();
        let (mut full, mut rows) = (VecDeque::new(), Vec::new());
        for (first, path) in files {
            let bytes = fs::read(&path).map_err(failed)?;
            let mut last = first.previous();
            let sound = match read(&bytes, &mut last, &mut rows) {
                Ok(sound) => sound as u64,
                Err(detail) => return Err(Error::Corrupt { path, detail }),
            };
            full.push_back(Full { path, bytes: sound, last });
        }
        let directory = directory.to_owned();
        Ok((Self { directory, full, current: None, buffer: Vec::new(), record: Vec::new() }, rows))
    }

    /// Makes sure that all that was read is on disk, whoever wrote it and was killed before it was, and takes away what stands
    /// behind the last whole frame of each file.
    pub(crate) fn tidy(&mut self) -> io::Result<()> {
        for Full { path, bytes, .. } in &self.full {
            let file = OpenOptions::new().write(true).open(path)?;
            if file.metadata()?.len() > *bytes {
                tracing::warn!(path = %path.display(), "the journal ends within a commit, which is let go");
                file.set_len(*bytes)?;
            }
            file.sync_all()?;
            if *bytes <= MAGIC.len() as u64 {
                // The next commit may be of the same revision, and its file of this name.
                fs::remove_file(path)?;
            }
        }
        self.full.retain(|file| file.bytes > MAGIC.len() as u64);
        Ok(())
    }

    /// Adds a commit, which has happened once this returns; if it fails, it has not, unless that is what the error says.
    pub(crate) fn append(&mut self, events: &[Arc<Event>]) -> io::Result<()> {
        let Some((first, last)) = events.first().zip(events.last()) else { return Ok(()) };
        self.encode(events)?;
        self.rotate();
        let mut current = match self.current.take() {
            Some(current) => current,
            None => self.begin(first.revision)?,
        };
        let written = current.settle().and_then(|()| {
            current.is_sound = false;
            current.file.write_all_at(&self.buffer, current.length)?;
            current.file.sync_data()
        });
        let written = match written {
            Ok(()) => {
                current.is_sound = true;
                current.length += self.buffer.len() as u64;
                current.last = last.revision;
                Ok(())
            }
            Err(error) => Err(match current.settle() {
                Ok(()) => error,
                Err(_) => {
                    let why = format!("{error}; after a restart this write may turn out to have been made");
                    io::Error::new(error.kind(), why)
                }
            }),
        };
        self.current = Some(current);
        // One large commit is no reason to keep so much for all others.
        self.buffer.shrink_to(FILE_BYTES as usize);
        self.record.shrink_to(FILE_BYTES as usize);
        written
    }

    /// How many bytes it has.
    pub(crate) fn bytes(&self) -> u64 {
        let full: u64 = self.full.iter().map(|file| file.bytes).sum();
        full + self.current.as_ref().map_or(0, |current| current.length)
    }

    /// Lets the files go in which nothing is newer than `kept`.
    pub(crate) fn release(&mut self, kept: Revision) -> io::Result<()> {
        self.rotate();
        while let Some(file) = self.full.front().filter(|file| file.last <= kept) {
            match fs::remove_file(&file.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => drop(self.full.pop_front()),
            }
        }
        Ok(())
    }

    /// Lets everything go that is kept.
    pub(crate) fn close(mut self, kept: Revision) -> io::Result<()> {
        if let Some(mut current) = self.current.take() {
            current.settle()?;
            self.full.push_back(current.full());
        }
        self.release(kept)?;
        File::open(&self.directory)?.sync_all()
    }

    /// Adds nothing more to a file that is long enough.
    fn rotate(&mut self) {
        let done = self.current.take_if(|current| current.length >= FILE_BYTES && current.is_sound);
        self.full.extend(done.map(Current::full));
    }

    fn begin(&self, first: Revision) -> io::Result<Current> {
        let path = self.directory.join(format!("{NAME}{:020}", first.0));
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        file.write_all_at(&MAGIC, 0)?;
        // What is synced in a file is found again only if its name is.
        File::open(&self.directory)?.sync_all()?;
        Ok(Current { path, file, length: MAGIC.len() as u64, last: first.previous(), is_sound: true })
    }

    fn encode(&mut self, events: &[Arc<Event>]) -> io::Result<()> {
        let out = &mut self.buffer;
        out.clear();
        out.extend_from_slice(&[0; FRAME]);
        for event in events {
            Record::of(event).encode(event.revision, &event.key, &mut self.record);
            out.extend_from_slice(&event.revision.0.to_le_bytes());
            for part in [event.key.as_bytes(), &self.record] {
                out.extend_from_slice(&size(part.len())?.to_le_bytes());
            }
            out.extend_from_slice(event.key.as_bytes());
            out.extend_from_slice(&self.record);
        }
        let (length, crc) = (size(out.len() - FRAME)?, crc32fast::hash(&out[FRAME..]));
        out[..4].copy_from_slice(&length.to_le_bytes());
        out[4..FRAME].copy_from_slice(&crc.to_le_bytes());
        Ok(())
    }
}

impl Current {
    fn full(self) -> Full {
        Full { path: self.path, bytes: self.length, last: self.last }
    }
}

fn size(bytes: usize) -> io::Result<u32> {
    let too_large = || io::Error::new(io::ErrorKind::InvalidInput, "a commit of over four gigabytes");
    u32::try_from(bytes).map_err(|_| too_large())
}

/// Takes the rows out of all whole frames; gives where these end, and the last revision in them.
///
/// # Errors
///
/// What is damaged.
fn read(bytes: &[u8], last: &mut Revision, rows: &mut Vec<Row>) -> Result<usize, String> {
    if !bytes.starts_with(&MAGIC) {
        // Cut short before anything was written to it.
        return if MAGIC.starts_with(bytes) {
            Ok(0)
        } else {
            Err("it is no journal of this format".to_owned())
        };
    }
    let mut at = MAGIC.len();
    while let Some(content) = frame(&bytes[at..]) {
        let found = rows_of(content);
        let found = found.ok_or_else(|| format!("what follows revision {last} cannot be read"))?;
        *last = found.last().map_or(*last, |row| row.revision);
        rows.extend(found);
        at += FRAME + content.len();
    }
    if (at + 1..bytes.len()).any(|place| is_later(&bytes[place..], *last)) {
        return Err(format!("what follows revision {last} is damaged, and there is more behind it"));
    }
    Ok(at)
}

/// What is in the frame that begins here.
fn frame(bytes: &[u8]) -> Option<&[u8]> {
    let (head, rest) = bytes.split_at_checked(FRAME)?;
    let content = rest.get(..word(head, 0) as usize)?;
    (!content.is_empty() && crc32fast::hash(content) == word(head, 4)).then_some(content)
}

/// Whether a whole frame begins here that is newer than a revision. What cannot be one is seen without its checksum.
fn is_later(bytes: &[u8], last: Revision) -> bool {
    let Some(revision) = bytes.get(FRAME..FRAME + 8).map(|revision| long(revision, 0)) else { return false };
    (last.0 + 1..last.0.saturating_add(REVISIONS)).contains(&revision) && frame(bytes).is_some()
}

fn rows_of(mut frame: &[u8]) -> Option<Vec<Row>> {
    let mut rows = Vec::new();
    while !frame.is_empty() {
        let (head, rest) = frame.split_at_checked(ROW)?;
        let (key, rest) = rest.split_at_checked(word(head, 8) as usize)?;
        let (record, rest) = rest.split_at_checked(word(head, 12) as usize)?;
        let key = std::str::from_utf8(key).ok()?.into();
        rows.push(Row { revision: Revision(long(head, 0)), key, record: record.to_vec() });
        frame = rest;
    }
    Some(rows)
}

#[cfg(test)]
mod tests;
