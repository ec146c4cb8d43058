//! Records in the pages of segment files, as Prometheus's `wal.md` lays them out.
//!
//! A file is a row of pages of 32 KiB. A record is one fragment or, where it does not fit into what is left of a page,
//! several. A fragment has a byte for its type, two for its length, four for its checksum. Type 0 says that the rest
//! of the page is empty.
//!
//! Recovery: damage costs what is left of its page and the records that reach into it. Reading goes on with the first
//! record that begins in a later page.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use crate::{Error, Result, wire::crc32c};

pub(crate) const PAGE: usize = 32 << 10;
const HEADER: usize = 7;
const FULL: u8 = 1;
const FIRST: u8 = 2;
const MIDDLE: u8 = 3;
const LAST: u8 = 4;
/// A record is longer than this only where it is damaged.
const MOST_RECORD: usize = 256 << 20;

/// Appends a record to pages of which `at` bytes are behind.
pub(crate) fn append(out: &mut Vec<u8>, at: u64, record: &[u8]) {
    let begin = out.len();
    let place = |out: &Vec<u8>| ((at + (out.len() - begin) as u64) % PAGE as u64) as usize;
    let mut left = record;
    let mut first = true;
    while first || !left.is_empty() {
        let room = PAGE - place(out);
        if room <= HEADER {
            out.resize(out.len() + room, 0);
            continue;
        }
        let (now, rest) = left.split_at(left.len().min(room - HEADER));
        let kind = match (first, rest.is_empty()) {
            (true, true) => FULL,
            (true, false) => FIRST,
            (false, false) => MIDDLE,
            (false, true) => LAST,
        };
        out.push(kind);
        out.extend_from_slice(&(now.len() as u16).to_be_bytes());
        out.extend_from_slice(&crc32c(now).to_be_bytes());
        out.extend_from_slice(now);
        (left, first) = (rest, false);
    }
}

/// What comes of a file.
#[derive(Debug)]
pub(crate) enum Found<'a> {
    Record(&'a [u8]),
    /// Bytes that are no record, from a place in the file on.
    Damage {
        at: u64,
        why: &'static str,
    },
}

/// Reads the records of a file.
#[derive(Debug)]
pub(crate) struct PageReader {
    file: File,
    path: PathBuf,
    page: Vec<u8>,
    at: usize,
    /// Where the page begins in the file.
    start: u64,
    record: Vec<u8>,
    /// Whether a record has begun that is not at its end.
    open: bool,
}

impl PageReader {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io(path))?;
        let path = path.to_owned();
        Ok(Self { file, path, page: Vec::new(), at: 0, start: 0, record: Vec::new(), open: false })
    }

    /// How far the file is read.
    pub(crate) fn place(&self) -> u64 {
        self.start + self.at as u64
    }

    fn next_page(&mut self) -> Result<bool> {
        self.start += self.page.len() as u64;
        self.page.clear();
        self.at = 0;
        let read = (&self.file).take(PAGE as u64).read_to_end(&mut self.page);
        Ok(read.map_err(Error::io(&self.path))? > 0)
    }

    /// The next record or damage, none at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Found<'_>>> {
        loop {
            if self.at >= self.page.len() && !self.next_page()? {
                if std::mem::take(&mut self.open) {
                    return Ok(Some(Found::Damage { at: self.place(), why: "the last record has no end" }));
                }
                return Ok(None);
            }
            match self.fragment() {
                Ok(None) => {}
                Ok(Some(FULL | LAST)) => {
                    self.open = false;
                    return Ok(Some(Found::Record(&self.record)));
                }
                Ok(Some(_)) => self.open = true,
                Err(why) => {
                    let at = self.place();
                    // Where fragments are sound but do not fit together, the page is read on.
                    if !why.starts_with("a record has no") {
                        self.at = self.page.len();
                    }
                    self.open = false;
                    return Ok(Some(Found::Damage { at, why }));
                }
            }
        }
    }

    /// Adds the next fragment to the record and gives its type. None is an empty rest of a page.
    fn fragment(&mut self) -> Result<Option<u8>, &'static str> {
        let rest = &self.page[self.at..];
        if rest[0] == 0 {
            if rest.iter().any(|&byte| byte != 0) {
                return Err("something lies in the empty rest of a page");
            }
            self.at = self.page.len();
            return Ok(None);
        }
        // The higher bits tell of compression, which we do not write.
        let kind = rest[0];
        if !(FULL..=LAST).contains(&kind) {
            return Err("a fragment has an unknown type or is compressed");
        }
        let Some((header, rest)) = rest.split_first_chunk::<HEADER>() else {
            return Err("a fragment ends early");
        };
        let length = usize::from(u16::from_be_bytes([header[1], header[2]]));
        let Some(data) = rest.get(..length) else {
            return Err("a fragment ends early");
        };
        if crc32c(data).to_be_bytes() != header[3..] {
            return Err("a fragment fails its checksum");
        }
        let begins = matches!(kind, FULL | FIRST);
        if begins && self.open {
            // The fragment itself is sound: it is read once the record before it is given up.
            return Err("a record has no end");
        }
        if !begins && !self.open {
            self.at += HEADER + length;
            return Err("a record has no beginning");
        }
        if begins {
            self.record.clear();
        }
        if self.record.len() + length > MOST_RECORD {
            return Err("a record is absurdly long");
        }
        self.record.extend_from_slice(data);
        self.at += HEADER + length;
        Ok(Some(kind))
    }
}
