//! The write-ahead log: transactions are safe here before they are acknowledged.
//!
//! Segments are numbered files of Prometheus's format; `checkpoint.N` holds what is still needed of the segments up to
//! N. Each transaction is a run of records that ends with a commit record. A process starts a segment of its own, after
//! it cut off the unacknowledged end of the last one.

pub(crate) mod pages;
pub(crate) mod record;
#[cfg(test)]
mod tests;

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use crate::{Error, Result, block::tombstones::sync_directory};
use pages::{Found, PAGE, PageReader, append};
use record::Record;

/// What was found wrong in the log when it was read, and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repair {
    /// Places where bytes were no record, with the file and the reason. The rest of the log was read.
    pub damaged: Vec<String>,
    /// Bytes at the end that belonged to transactions nobody was told of; they were cut off.
    pub cut: u64,
    /// Samples of series whose labels were lost to damage.
    pub orphans: u64,
}

/// The files of a log in the order to read them.
#[derive(Debug, Default)]
pub(crate) struct Files {
    pub(crate) checkpoint: Option<(u64, PathBuf)>,
    /// Behind the checkpoint.
    pub(crate) segments: Vec<(u64, PathBuf)>,
    /// What the checkpoint made useless.
    pub(crate) old: Vec<PathBuf>,
}

impl Files {
    pub(crate) fn find(directory: &Path) -> Result<Self> {
        let mut files = Self::default();
        let mut checkpoints = Vec::new();
        for entry in fs::read_dir(directory).map_err(Error::io(directory))? {
            let path = entry.map_err(Error::io(directory))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
            if let Some(number) = name.strip_prefix("checkpoint.") {
                match number.parse() {
                    Ok(number) => checkpoints.push((number, path)),
                    // Half-written.
                    Err(_) => files.old.push(path),
                }
            } else if let Ok(number) = name.parse() {
                files.segments.push((number, path));
            }
        }
        checkpoints.sort();
        files.checkpoint = checkpoints.pop();
        files.old.extend(checkpoints.into_iter().map(|(_, path)| path));
        files.segments.sort();
        if let Some((done, _)) = &files.checkpoint {
            let behind = files.segments.partition_point(|(number, _)| number <= done);
            files.old.extend(files.segments.drain(..behind).map(|(_, path)| path));
        }
        Ok(files)
    }

    /// Removes what is no longer needed.
    pub(crate) fn clean(&self) -> Result<()> {
        for path in &self.old {
            let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
            removed.map_err(Error::io(path))?;
        }
        Ok(())
    }

    /// The files to read: those of the checkpoint, then the segments.
    fn paths(&self) -> Result<Vec<PathBuf>> {
        let mut paths = Vec::new();
        if let Some((_, directory)) = &self.checkpoint {
            paths = Self::find(directory)?.segments.into_iter().map(|(_, path)| path).collect();
        }
        paths.extend(self.segments.iter().map(|(_, path)| path.clone()));
        Ok(paths)
    }

    /// Hands over the records of all whole transactions, one transaction after the other.
    pub(crate) fn read(&self, mut visit: impl FnMut(Vec<Record>) -> Result<()>) -> Result<Repair> {
        let mut repair = Repair::default();
        let mut pending = Vec::new();
        let paths = self.paths()?;
        for (at, path) in paths.iter().enumerate() {
            let mut reader = PageReader::open(path)?;
            let (mut committed, mut seen) = (0, 0);
            let mut damaged = Vec::new();
            loop {
                match reader.next()? {
                    None => break,
                    Some(Found::Damage { at, why }) => {
                        damaged.push((at, why));
                        seen = reader.place();
                    }
                    Some(Found::Record(bytes)) => match Record::decode(bytes) {
                        Ok(Record::Commit) => {
                            visit(std::mem::take(&mut pending))?;
                            (committed, seen) = (reader.place(), reader.place());
                        }
                        Ok(Record::Other) => {}
                        Ok(record) => {
                            pending.push(record);
                            seen = reader.place();
                        }
                        Err(error) => {
                            repair.damaged.push(format!(
                                "{} before {}: {error}",
                                path.display(),
                                reader.place()
                            ));
                        }
                    },
                }
            }
            let last = at + 1 == paths.len();
            if last {
                pending.clear();
                // What the crash tore is no damage: nobody was told that it is safe.
                damaged.retain(|(at, _)| *at < committed);
                repair.cut = seen - committed;
                cut(path, committed)?;
            }
            repair
                .damaged
                .extend(damaged.iter().map(|(at, why)| format!("{} at {at}: {why}", path.display())));
        }
        Ok(repair)
    }
}

/// Empties a file from a place on, to the end of a page.
fn cut(path: &Path, at: u64) -> Result<()> {
    let cut = || {
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(at)?;
        file.set_len(at.next_multiple_of(PAGE as u64))?;
        file.sync_all()
    };
    cut().map_err(Error::io(path))
}

/// Writes segments.
#[derive(Debug)]
pub(crate) struct LogWriter {
    directory: PathBuf,
    number: u64,
    file: File,
    at: u64,
    most: u64,
    sync: bool,
    buffer: Vec<u8>,
}

impl LogWriter {
    /// Begins a segment behind those that are there.
    pub(crate) fn create(directory: &Path, number: u64, most: u64, sync: bool) -> Result<Self> {
        let file = new_segment(directory, number)?;
        Ok(Self { directory: directory.to_owned(), number, file, at: 0, most, sync, buffer: Vec::new() })
    }

    fn path(&self) -> PathBuf {
        self.directory.join(format!("{:08}", self.number))
    }

    /// Adds a record to what the next write brings.
    pub(crate) fn push(&mut self, record: &[u8]) {
        let at = self.at + self.buffer.len() as u64;
        append(&mut self.buffer, at, record);
    }

    /// Writes what was added and makes it safe. If it fails, the file is as it was, or the error says that it may not
    /// be by [`Error::LogFailed`].
    pub(crate) fn flush(&mut self) -> Result<()> {
        let path = self.path();
        let written = self.file.write_all(&self.buffer);
        let length = self.buffer.len() as u64;
        self.buffer.clear();
        if self.buffer.capacity() > 16 << 20 {
            self.buffer = Vec::new();
        }
        if let Err(error) = written {
            let restored = self.file.set_len(self.at);
            if let Err(restoring) = restored.and_then(|()| {
                use std::io::{Seek, SeekFrom};
                self.file.seek(SeekFrom::Start(self.at)).map(drop)
            }) {
                return Err(Error::LogFailed(format!("{}: {error}, then {restoring}", path.display())));
            }
            return Err(Error::io(&path)(error));
        }
        if self.sync
            && let Err(error) = self.file.sync_data()
        {
            // What the system dropped it will not write again, whatever a second try says.
            return Err(Error::LogFailed(format!("{}: {error}", path.display())));
        }
        self.at += length;
        if self.at >= self.most {
            self.next_segment()?;
        }
        Ok(())
    }

    /// Begins the next segment, and gives the number of the one before.
    pub(crate) fn next_segment(&mut self) -> Result<u64> {
        let path = self.path();
        // Readers of upstream expect whole pages in all segments but the last.
        self.file.set_len(self.at.next_multiple_of(PAGE as u64)).map_err(Error::io(&path))?;
        self.file.sync_all().map_err(Error::io(&path))?;
        self.file = new_segment(&self.directory, self.number + 1)?;
        self.number += 1;
        self.at = 0;
        Ok(self.number - 1)
    }
}

fn new_segment(directory: &Path, number: u64) -> Result<File> {
    let path = directory.join(format!("{number:08}"));
    let file = File::create_new(&path).map_err(Error::io(&path))?;
    sync_directory(directory)?;
    Ok(file)
}

/// Writes what is still needed of the log up to a segment, and removes what it replaces. `keep` gives back what stays
/// of a record, and `extra` are records that come first.
pub(crate) fn checkpoint(
    directory: &Path,
    until: u64,
    extra: &[Vec<u8>],
    mut keep: impl FnMut(Record) -> Vec<Vec<u8>>,
) -> Result<()> {
    let mut files = Files::find(directory)?;
    files.segments.retain(|(number, _)| *number <= until);
    if files.segments.is_empty() {
        return Ok(());
    }
    let temporary = directory.join(format!("checkpoint.{until:08}.tmp"));
    let _ = fs::remove_dir_all(&temporary);
    fs::create_dir_all(&temporary).map_err(Error::io(&temporary))?;
    let mut writer = LogWriter::create(&temporary, 0, u64::MAX, false)?;
    extra.iter().for_each(|record| writer.push(record));
    writer.push(&record::commit());
    for path in files.paths()? {
        let mut reader = PageReader::open(&path)?;
        let mut pending = Vec::new();
        while let Some(found) = reader.next()? {
            // Damage was told of when the database was opened.
            let Found::Record(bytes) = found else { continue };
            match Record::decode(bytes) {
                Ok(Record::Commit) => {
                    for record in std::mem::take(&mut pending) {
                        keep(record).iter().for_each(|record| writer.push(record));
                    }
                    writer.push(&record::commit());
                    if writer.buffer.len() > 1 << 20 {
                        writer.flush()?;
                    }
                }
                Ok(record) => pending.push(record),
                Err(_) => {}
            }
        }
    }
    writer.flush()?;
    writer.file.sync_all().map_err(Error::io(&temporary))?;
    sync_directory(&temporary)?;
    let path = directory.join(format!("checkpoint.{until:08}"));
    fs::rename(&temporary, &path).map_err(Error::io(&path))?;
    sync_directory(directory)?;
    Files::find(directory)?.clean()
}
