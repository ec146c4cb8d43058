//! The journal: what was committed last, until the database has it as well.
//!
//! A commit is one frame behind the others, synced before anybody is answered. The files of the journal are named after the
//! first revision in them; one goes when all that is in it is in the database, and a store that was closed in good order has
//! none. A frame is `length:u32 crc:u32 (revision:u64 key:u32 record:u32 key… record…)…`, little endian.
//!
//! Where a file ends within a frame, the process ended within a commit that nobody was told of. Whether it was one that
//! somebody was told of is for the witness to say.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::record::{Record, long, word};
use crate::{Event, Revision};

/// How long a file becomes before the next one begins.
const FILE_BYTES: u64 = 4 << 20;
const NAME: &str = "store.log.";
const FRAME: usize = 4 + 4;
const ROW: usize = 8 + 4 + 4;

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
    pub(crate) fn open(directory: &Path) -> io::Result<(Self, Vec<Row>)> {
        let mut paths = Vec::new();
        for file in fs::read_dir(directory)? {
            let file = file?;
            if file.file_name().to_str().is_some_and(|name| name.starts_with(NAME)) {
                paths.push(file.path());
            }
        }
        paths.sort();
        let (mut full, mut rows) = (VecDeque::new(), Vec::new());
        for path in paths {
            let bytes = fs::read(&path)?;
            let sound = read(&bytes, &mut rows);
            let last = rows.last().map_or(Revision(0), |row: &Row| row.revision);
            full.push_back(Full { path, bytes: sound as u64, last });
        }
        let directory = directory.to_owned();
        Ok((Self { directory, full, current: None, buffer: Vec::new(), record: Vec::new() }, rows))
    }

    /// Takes away what stands behind the last whole frame of each file, once it is known that nobody was told of it.
    pub(crate) fn tidy(&mut self) -> io::Result<()> {
        for Full { path, bytes, .. } in &self.full {
            if fs::metadata(path)?.len() > *bytes {
                tracing::warn!(path = %path.display(), "the journal ends within a commit, which is let go");
                let file = OpenOptions::new().write(true).open(path)?;
                file.set_len(*bytes)?;
                file.sync_all()?;
            }
            if *bytes == 0 {
                // The next commit may be of the same revision, and its file of this name.
                fs::remove_file(path)?;
            }
        }
        self.full.retain(|file| file.bytes > 0);
        Ok(())
    }

    /// Adds a commit, which has happened once this returns; if it fails, it has not. Everything up to `kept` may go.
    pub(crate) fn append(&mut self, events: &[Arc<Event>], kept: Revision) -> io::Result<()> {
        let Some((first, last)) = events.first().zip(events.last()) else { return Ok(()) };
        self.encode(events)?;
        let mut current = match self.current.take() {
            Some(current) if current.length >= FILE_BYTES && current.is_sound => {
                let Current { path, length: bytes, last, .. } = current;
                self.full.push_back(Full { path, bytes, last });
                self.release(kept)?;
                self.begin(first.revision)?
            }
            Some(current) => current,
            None => self.begin(first.revision)?,
        };
        let written = current.settle().and_then(|()| {
            current.is_sound = false;
            current.file.write_all_at(&self.buffer, current.length)?;
            current.file.sync_data()
        });
        if written.is_ok() {
            current.is_sound = true;
            current.length += self.buffer.len() as u64;
            current.last = last.revision;
        } else if let Err(error) = current.settle() {
            tracing::error!(path = %current.path.display(), %error, "a commit that failed cannot be taken back yet");
        }
        self.current = Some(current);
        // One large commit is no reason to keep so much for all others.
        self.buffer.shrink_to(FILE_BYTES as usize);
        written
    }

    /// How many bytes it has.
    pub(crate) fn bytes(&self) -> u64 {
        let full: u64 = self.full.iter().map(|file| file.bytes).sum();
        full + self.current.as_ref().map_or(0, |current| current.length)
    }

    /// Lets the files go in which nothing is newer than `kept`.
    pub(crate) fn release(&mut self, kept: Revision) -> io::Result<()> {
        while let Some(file) = self.full.pop_front_if(|file| file.last <= kept) {
            fs::remove_file(&file.path)?;
        }
        Ok(())
    }

    /// Lets everything go, if all of it is kept.
    pub(crate) fn close(mut self, kept: Revision) -> io::Result<()> {
        if let Some(Current { path, length: bytes, last, .. }) = self.current.take() {
            self.full.push_back(Full { path, bytes, last });
        }
        self.release(kept)?;
        File::open(&self.directory)?.sync_all()
    }

    fn begin(&self, first: Revision) -> io::Result<Current> {
        let path = self.directory.join(format!("{NAME}{:020}", first.0));
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        // What is synced in a file is found again only if its name is.
        File::open(&self.directory)?.sync_all()?;
        Ok(Current { path, file, length: 0, last: Revision(0), is_sound: true })
    }

    fn encode(&mut self, events: &[Arc<Event>]) -> io::Result<()> {
        let out = &mut self.buffer;
        out.clear();
        out.extend_from_slice(&[0; FRAME]);
        for event in events {
            Record::of(event).encode(event.revision, &event.key, &mut self.record);
            out.extend_from_slice(&event.revision.0.to_le_bytes());
            for part in [event.key.as_bytes(), &self.record] {
                out.extend_from_slice(&length(part.len())?.to_le_bytes());
            }
            out.extend_from_slice(event.key.as_bytes());
            out.extend_from_slice(&self.record);
        }
        let (size, crc) = (length(out.len() - FRAME)?, crc32fast::hash(&out[FRAME..]));
        out[..4].copy_from_slice(&size.to_le_bytes());
        out[4..FRAME].copy_from_slice(&crc.to_le_bytes());
        Ok(())
    }
}

fn length(length: usize) -> io::Result<u32> {
    u32::try_from(length)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a commit of over four gigabytes"))
}

/// Takes the rows out of all whole frames; gives where these end.
fn read(bytes: &[u8], rows: &mut Vec<Row>) -> usize {
    let mut at = 0;
    while let Some(frame) = bytes.get(at..).and_then(frame) {
        let Some(found) = rows_of(frame) else { break };
        rows.extend(found);
        at += FRAME + frame.len();
    }
    at
}

/// What is in the frame that begins here.
fn frame(bytes: &[u8]) -> Option<&[u8]> {
    let (head, rest) = bytes.split_at_checked(FRAME)?;
    let content = rest.get(..word(head, 0) as usize)?;
    (!content.is_empty() && crc32fast::hash(content) == word(head, 4)).then_some(content)
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
