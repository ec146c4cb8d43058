//! A container's output on disk, in the form that Kubernetes reads: `TIME STREAM TAG LINE`, where the tag is `F` for a
//! whole line and `P` for a piece of one that is longer than [`LONGEST`] or that nothing ends (the container runtime
//! interface's log format).
//!
//! The file is bounded: when it is full it becomes `NAME.1` in place of the last one, and a new file begins.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Bytes of a line that are kept together.
pub(crate) const LONGEST: usize = 16 << 10;

/// Which of a container's outputs a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// File descriptor 1.
    Stdout,
    /// File descriptor 2.
    Stderr,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Cuts one stream's bytes into lines.
#[derive(Debug)]
pub(crate) struct Lines {
    stream: Stream,
    pending: Vec<u8>,
}

impl Lines {
    pub(crate) fn new(stream: Stream) -> Self {
        Self { stream, pending: Vec::new() }
    }

    /// Takes in bytes and appends the records that they complete to `records`.
    pub(crate) fn take(&mut self, mut bytes: &[u8], now: SystemTime, records: &mut Vec<u8>) {
        while !bytes.is_empty() {
            let room = LONGEST - self.pending.len();
            let end = bytes.iter().take(room + 1).position(|byte| *byte == b'\n');
            if let Some(end) = end {
                self.pending.extend_from_slice(&bytes[..end]);
                bytes = &bytes[end + 1..];
                self.record('F', now, records);
            } else if bytes.len() > room {
                self.pending.extend_from_slice(&bytes[..room]);
                bytes = &bytes[room..];
                self.record('P', now, records);
            } else {
                self.pending.extend_from_slice(bytes);
                bytes = &[];
            }
        }
    }

    /// The stream has ended: what is left is a piece of a line, since no newline ends it.
    pub(crate) fn end(&mut self, now: SystemTime, records: &mut Vec<u8>) {
        if !self.pending.is_empty() {
            self.record('P', now, records);
        }
    }

    fn record(&mut self, tag: char, now: SystemTime, records: &mut Vec<u8>) {
        records.extend_from_slice(rfc3339(now).as_bytes());
        records.extend_from_slice(format!(" {} {tag} ", self.stream.name()).as_bytes());
        records.append(&mut self.pending);
        records.push(b'\n');
    }
}

/// A bounded file of records.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    most: u64,
}

impl LogFile {
    pub(crate) fn open(path: &Path, most: u64) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, bytes, most })
    }

    pub(crate) fn append(&mut self, records: &[u8]) -> io::Result<()> {
        if self.bytes > 0 && self.bytes + records.len() as u64 > self.most {
            let mut full = self.path.clone().into_os_string();
            full.push(".1");
            fs::rename(&self.path, full)?;
            self.file = OpenOptions::new().create(true).append(true).open(&self.path)?;
            self.bytes = 0;
        }
        self.file.write_all(records)?;
        self.bytes += records.len() as u64;
        Ok(())
    }
}

/// The time as RFC 3339 in UTC with nanoseconds.
#[must_use]
pub fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let seconds = since.as_secs();
    let (year, month, day) = date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let nanos = since.subsec_nanos();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
}

/// The Gregorian date of a day counted from 1970-01-01. Years begin in March here, so that a leap day ends one.
fn date(days: u64) -> (u64, u64, u64) {
    const DAYS_IN_400_YEARS: u64 = 146_097;
    // 0000-03-01 lies 719,468 days before 1970-01-01.
    let days = days + 719_468;
    let (era, day) = (days / DAYS_IN_400_YEARS, days % DAYS_IN_400_YEARS);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + later, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::new(seconds, 42)
    }

    #[test]
    fn times_are_rfc_3339() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.000000042Z"),
            (951_782_399, "2000-02-28T23:59:59.000000042Z"),
            (951_782_400, "2000-02-29T00:00:00.000000042Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000042Z"),
            (1_798_761_599, "2026-12-31T23:59:59.000000042Z"),
        ] {
            assert_eq!(rfc3339(at(seconds)), expected);
        }
    }

    #[test]
    fn lines_are_cut_where_they_end_and_where_they_are_too_long() {
        let mut lines = Lines::new(Stream::Stdout);
        let mut records = Vec::new();
        lines.take(b"one\ntw", at(0), &mut records);
        lines.take(b"o\n\n", at(1), &mut records);
        lines.take(&[b'x'; LONGEST + 1], at(2), &mut records);
        lines.take(b"\n", at(3), &mut records);
        lines.take(&[b'y'; LONGEST], at(4), &mut records);
        lines.take(b"\nleft", at(5), &mut records);
        lines.end(at(6), &mut records);
        let text = String::from_utf8(records).unwrap();
        let found: Vec<(&str, &str, usize)> = text
            .lines()
            .map(|line| {
                let mut parts = line.splitn(4, ' ').skip(1);
                let (stream, tag) = (parts.next().unwrap(), parts.next().unwrap());
                (stream, tag, parts.next().unwrap().len())
            })
            .collect();
        let expected = [("F", 3), ("F", 3), ("F", 0), ("P", LONGEST), ("F", 1), ("F", LONGEST), ("P", 4)];
        assert_eq!(found, expected.map(|(tag, length)| ("stdout", tag, length)));
        assert!(text.starts_with("1970-01-01T00:00:00.000000042Z stdout F one\n"));
    }

    #[test]
    fn a_full_log_begins_anew_and_keeps_the_last_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pod/0.log");
        let mut log = LogFile::open(&path, 10).unwrap();
        for record in ["first\n", "second\n", "third\n"] {
            log.append(record.as_bytes()).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "third\n");
        assert_eq!(fs::read_to_string(folder.path().join("pod/0.log.1")).unwrap(), "second\n");
        drop(log);
        LogFile::open(&path, 100).unwrap().append(b"more\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "third\nmore\n");
    }
}
