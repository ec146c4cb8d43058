//! A table of the kernel's that is this process's.

use std::io;

use rustix::io::Errno;

use crate::Error;
use crate::batch::{Batch, Family};
use crate::socket::{Netfilter, Refused};

/// The longest name of an interface (IFNAMSIZ without the closing zero), and of a table that is taken here.
const LONGEST_INTERFACE: usize = 15;
const LONGEST_TABLE: usize = 64;
/// The table is this process's alone, and stays when the process ends (NFT_TABLE_F_OWNER, NFT_TABLE_F_PERSIST; Linux 6.9).
const OWNED: u32 = 2 | 4;

/// One table, by its name.
pub(crate) struct Held {
    family: Family,
    name: String,
    netfilter: Netfilter,
    /// Whether the kernel knows tables that are one process's.
    may_own: bool,
}

/// Why a batch was not taken.
pub(crate) enum Failed {
    Conversation(io::Error),
    Refused { what: String, source: io::Error },
}

impl Failed {
    fn is(&self, number: Errno) -> bool {
        match self {
            Self::Refused { source, .. } => source.raw_os_error() == Some(number.raw_os_error()),
            Self::Conversation(_) => false,
        }
    }

    fn told(self, table: &str) -> Error {
        let table = table.to_owned();
        if self.is(Errno::PERM) {
            return match self {
                Self::Refused { what, .. } if what == "begin a batch" => Error::Unprivileged,
                _ => Error::Held { table },
            };
        }
        match self {
            Self::Conversation(source) => Error::Answer { table, source },
            Self::Refused { what, source } => Error::Refused { table, what, source },
        }
    }
}

impl Held {
    /// The table of this name, for a pod network whose interface has that one.
    pub(crate) fn new(family: Family, table: &str, interface: &str) -> Result<Self, Error> {
        for (what, text, most) in
            [("a table", table, LONGEST_TABLE), ("an interface", interface, LONGEST_INTERFACE)]
        {
            let fine = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
            if text.len() > most
                || !text.starts_with(|first: char| first.is_ascii_alphabetic())
                || !text.chars().all(fine)
            {
                return Err(Error::NameSyntax { what, text: text.chars().take(100).collect(), most });
            }
        }
        let netfilter = Netfilter::open().map_err(Error::Unreachable)?;
        Ok(Self { family, name: table.to_owned(), netfilter, may_own: true })
    }

    /// A batch about the table.
    pub(crate) fn batch(&self) -> Batch {
        Batch::new(self.family, &self.name, self.netfilter.next())
    }

    /// Has the kernel take a batch.
    pub(crate) fn send(&mut self, batch: Batch) -> Result<(), Failed> {
        let (bytes, numbers, mut asked) = batch.finish();
        match self.netfilter.send(&bytes, numbers) {
            Err(source) => Err(Failed::Conversation(source)),
            Ok(Ok(())) => Ok(()),
            Ok(Err(Refused { at, source })) => {
                let what = asked.get_mut(at).map(std::mem::take).unwrap_or_default();
                Err(Failed::Refused { what, source })
            }
        }
    }

    /// Puts a table of what `write` adds in the place of what is there, all at once.
    pub(crate) fn replace(&mut self, write: impl Fn(&mut Batch)) -> Result<(), Error> {
        let mut written = self.rewrite(&write);
        let unknown = |failed: &Failed| failed.is(Errno::OPNOTSUPP) || failed.is(Errno::INVAL);
        if self.may_own && written.as_ref().is_err_and(unknown) {
            self.may_own = false;
            written = self.rewrite(&write);
        }
        written.map_err(|failed| failed.told(&self.name))
    }

    fn rewrite(&mut self, write: &impl Fn(&mut Batch)) -> Result<(), Failed> {
        let mut batch = self.batch();
        if self.may_own {
            batch.delete_any_table();
            batch.add_table(OWNED);
        } else {
            // One that is not there cannot be removed, so it is made first.
            batch.add_table(0);
            batch.delete_table();
            batch.add_table(0);
        }
        write(&mut batch);
        self.send(batch)
    }

    /// Tries whether the kernel takes what `write` adds. What is made and removed at once is never there.
    pub(crate) fn attempt(&mut self, write: impl Fn(&mut Batch)) -> Result<(), Error> {
        let mut batch = self.batch();
        batch.add_table(0);
        write(&mut batch);
        batch.delete_table();
        self.send(batch).map_err(|failed| failed.told(&self.name))
    }

    /// Removes the table, if it is there.
    pub(crate) fn remove(&mut self) -> Result<(), Error> {
        let mut batch = self.batch();
        batch.delete_table();
        match self.send(batch) {
            Err(failed) if failed.is(Errno::NOENT) => Ok(()),
            done => done.map_err(|failed| failed.told(&self.name)),
        }
    }
}
