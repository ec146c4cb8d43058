//! The file under the database, with a limit on its size, so that a store fills its quota and not the disk.

use std::{fs::File, io, ops::Bound};

use redb::{BackendError, DatabaseError, StorageBackend, backends::FileBackend};

#[derive(Debug)]
pub(crate) struct Medium {
    file: FileBackend,
    limit: u64,
}

impl Medium {
    pub(crate) fn new(file: File, limit: u64) -> Result<Self, DatabaseError> {
        Ok(Self { file: FileBackend::new(file)?, limit })
    }
}

impl StorageBackend for Medium {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let limit = self.limit;
        if len > limit && len > self.file.len()? {
            let message = format!("the file would grow to {len} bytes, the limit is {limit}");
            return Err(io::Error::new(io::ErrorKind::QuotaExceeded, message));
        }
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }
}
