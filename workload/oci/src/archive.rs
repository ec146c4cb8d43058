//! Tar archives that nobody trusts, entry by entry.
//!
//! The reader of the format takes an entry's long name and its extended attributes into memory as a whole, and unrolls
//! sparse files, whatever lengths the archive claims. So what it may read from one entry's content to the next is bounded
//! here, and sparse files are refused: what writes images writes none.

use std::{
    cell::Cell,
    io::{self, Read},
    rc::Rc,
};

use crate::Error;

/// Bytes of all the headers that belong to one entry.
const MOST_HEADERS: u64 = 1 << 20;
/// The names of a sparse file's attributes (GNU tar manual, "Storing Sparse Files").
const SPARSE: &str = "GNU.sparse.";

/// Hands each entry to `each`, in order, and passes over what that leaves unread. Tells how many there are.
pub(crate) fn entries<R: Read>(
    reader: R,
    most: usize,
    mut each: impl FnMut(&mut tar::Entry<'_, Bounded<R>>) -> io::Result<()>,
) -> io::Result<usize> {
    let left = Rc::new(Cell::new(u64::MAX));
    let mut archive = tar::Archive::new(Bounded { inner: reader, left: left.clone() });
    let mut entries = archive.entries()?;
    let mut count = 0;
    loop {
        left.set(MOST_HEADERS);
        let Some(entry) = entries.next() else { return Ok(count) };
        let mut entry = entry?;
        left.set(u64::MAX);
        if count == most {
            let limit = most as u64;
            let what = "the number of entries in the archive";
            return Err(io::Error::other(Error::TooLarge { what, limit }));
        }
        count += 1;
        if is_sparse(&mut entry)? {
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let reason = format!("{name}: sparse files are not taken: write the archive without --sparse");
            return Err(io::Error::other(reason));
        }
        each(&mut entry)?;
        // What lies between two entries is then nothing but headers.
        io::copy(&mut entry, &mut io::sink())?;
    }
}

fn is_sparse<R: Read>(entry: &mut tar::Entry<'_, R>) -> io::Result<bool> {
    match entry.header().entry_type() {
        tar::EntryType::GNUSparse => return Ok(true),
        // Its content is attributes of all entries, which nothing here reads.
        tar::EntryType::XGlobalHeader => return Ok(false),
        _ => {}
    }
    for extension in entry.pax_extensions()?.into_iter().flatten() {
        if extension?.key_bytes().starts_with(SPARSE.as_bytes()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Reads no more than is left.
pub(crate) struct Bounded<R> {
    inner: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        match self.left.get().checked_sub(length as u64) {
            Some(left) => self.left.set(left),
            None => {
                let what = "an entry's name or its attributes";
                return Err(io::Error::other(Error::TooLarge { what, limit: MOST_HEADERS }));
            }
        }
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use tar::EntryType::{GNULongLink, GNULongName, GNUSparse, Regular, XGlobalHeader, XHeader};

    use super::*;

    /// An archive whose first header claims `size` bytes, which follow for ever.
    fn endless(kind: tar::EntryType, size: u64) -> impl Read {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_cksum();
        io::Cursor::new(header.as_bytes().to_vec()).chain(io::repeat(b'x'))
    }

    #[test]
    fn long_names_and_attributes_are_read_no_further_than_the_bound() {
        // Nobody keeps those of the whole archive.
        let archive = endless(XGlobalHeader, 8 << 30).take(8 << 20);
        let cut_off = entries(archive, 10, |_| Ok(()));
        assert!(!matches!(cut_off.map_err(io::Error::downcast::<Error>), Err(Ok(_))));
        for kind in [GNULongName, GNULongLink, XHeader] {
            let refused = entries(endless(kind, 1 << 40), 10, |_| Ok(())).unwrap_err();
            let refused = refused.downcast::<Error>();
            assert!(
                matches!(refused, Ok(Error::TooLarge { limit: MOST_HEADERS, .. })),
                "{kind:?} {refused:?}"
            );
        }
    }

    #[test]
    fn sparse_files_are_refused_however_they_are_written() {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(GNUSparse);
        header.set_path("disk").unwrap();
        let gnu = header.as_gnu_mut().unwrap();
        gnu.set_real_size(0o777_7777_7000 + 512);
        // One block at its very end, and a gap before it.
        gnu.sparse[0].set_offset(0o777_7777_7000);
        gnu.sparse[0].set_length(512);
        header.set_size(512);
        header.set_cksum();
        let archive = [header.as_bytes().as_slice(), &[0; 512]].concat();
        let old = entries(archive.as_slice(), 10, |_| panic!("it is taken")).unwrap_err();
        assert!(old.to_string().contains("disk: sparse"), "{old}");

        let mut tar = tar::Builder::new(Vec::new());
        tar.append_pax_extensions([("GNU.sparse.realsize", b"1099511627776".as_slice())]).unwrap();
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(Regular);
        header.set_size(0);
        tar.append_data(&mut header, "disk", io::empty()).unwrap();
        let new = entries(tar.into_inner().unwrap().as_slice(), 10, |_| panic!("it is taken")).unwrap_err();
        assert!(new.to_string().contains("disk: sparse"), "{new}");
    }

    #[test]
    fn content_of_any_length_is_passed_over() {
        let mut tar = tar::Builder::new(Vec::new());
        for name in ["a".repeat(300), "b".to_owned()] {
            let mut header = tar::Header::new_gnu();
            header.set_size(3 << 20);
            tar.append_data(&mut header, name, io::repeat(b'x').take(3 << 20)).unwrap();
        }
        let archive = tar.into_inner().unwrap();
        let mut lengths = Vec::new();
        let count = entries(archive.as_slice(), 2, |entry| {
            lengths.push(entry.path_bytes().len());
            Ok(())
        });
        assert_eq!((count.unwrap(), lengths), (2, vec![300, 1]));
        assert!(entries(archive.as_slice(), 1, |_| Ok(())).is_err());
    }
}
