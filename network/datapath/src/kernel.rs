//! The table in the kernel.

use std::io;

use rustix::io::Errno;

use crate::batch::Batch;
use crate::flow::{self, Stale};
use crate::socket::{Netfilter, Refused};
use crate::translation::Translation;
use crate::{Error, Subnet, frame, plan, setting};

/// The longest name of an interface (IFNAMSIZ without the closing zero), and of a table that is taken here.
const LONGEST_INTERFACE: usize = 15;
const LONGEST_TABLE: usize = 64;
/// The table is this process's alone, and stays when the process ends (NFT_TABLE_F_OWNER, NFT_TABLE_F_PERSIST; Linux 6.9).
const OWNED: u32 = 2 | 4;

/// Which pod network a table is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The table's name, which no other pod network of the machine may have.
    pub table: String,
    /// The interface by which pods are reached.
    pub bridge: String,
    /// The addresses of pods.
    pub pods: Subnet,
    /// The addresses that services get.
    pub services: Subnet,
}

impl Place {
    fn check(&self) -> Result<(), Error> {
        for (what, text, most) in
            [("a table", &self.table, LONGEST_TABLE), ("an interface", &self.bridge, LONGEST_INTERFACE)]
        {
            let fine = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
            if text.len() > most
                || !text.starts_with(|first: char| first.is_ascii_alphabetic())
                || !text.chars().all(fine)
            {
                return Err(Error::NameSyntax { what, text: text.chars().take(100).collect(), most });
            }
        }
        Ok(())
    }
}

/// Whether the kernel does all that a table asks for. Nothing stays.
///
/// # Errors
/// What is missing.
pub fn probe() -> Result<(), Error> {
    let place = Place {
        table: format!("xebec-probe-{}", std::process::id()),
        bridge: "xebec".to_owned(),
        pods: "10.244.0.0/16".parse()?,
        services: "10.96.0.0/16".parse()?,
    };
    let mut table = Table::new(place)?;
    // What is made and removed at once is tried, and never there.
    let mut batch = Batch::new(&table.place.table, table.netfilter.next());
    batch.add_table(0);
    frame::add(&mut batch, &table.place);
    batch.delete_table();
    table.send(batch).map_err(|failed| failed.told(&table.place.table))
}

/// One pod network's table. It is as the last translation says, and stays so if the process ends without
/// [closing](Self::close) it. Its calls wait for the kernel, which takes milliseconds for thousands of services.
pub struct Table {
    place: Place,
    netfilter: Netfilter,
    /// What the kernel has, where that is known.
    current: Option<Translation>,
    /// Whether the kernel knows tables that are one process's.
    may_own: bool,
    rewrites: u64,
}

enum Failed {
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

impl Table {
    /// A table that is written when the first translation comes, in place of what an earlier process left.
    ///
    /// # Errors
    /// When a name cannot be one, or the kernel has no nf_tables.
    pub fn new(place: Place) -> Result<Self, Error> {
        place.check()?;
        let netfilter = Netfilter::open().map_err(Error::Unreachable)?;
        Ok(Self { place, netfilter, current: None, may_own: true, rewrites: 0 })
    }

    /// Which pod network it is for.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Makes the kernel do what a translation says, all at once.
    ///
    /// # Errors
    /// When the kernel refuses. It does then what it did before, and a further call writes everything anew.
    pub fn apply(&mut self, translation: &Translation) -> Result<(), Error> {
        if let Some(current) = self.current.take() {
            let mut batch = Batch::new(&self.place.table, self.netfilter.next());
            plan::change(&mut batch, &self.place.bridge, &current, translation);
            if batch.is_empty() || self.send(batch).is_ok() {
                self.done(&current, translation);
                return Ok(());
            }
            // Somebody else had a hand in it.
        }
        let mut written = self.rewrite(translation);
        let unknown = |failed: &Failed| failed.is(Errno::OPNOTSUPP) || failed.is(Errno::INVAL);
        if self.may_own && written.as_ref().is_err_and(unknown) {
            self.may_own = false;
            written = self.rewrite(translation);
        }
        written.map_err(|failed| failed.told(&self.place.table))?;
        self.done(&Translation::default(), translation);
        Ok(())
    }

    fn done(&mut self, old: &Translation, new: &Translation) {
        self.current = Some(new.clone());
        // A kernel that tells of no flows forgets them by itself, once nothing was sent for a while.
        let _forgotten = flow::forget(&Stale::between(old, new));
    }

    /// How often all of it was written, which is once where nobody else has a hand in it.
    #[must_use]
    pub fn rewrites(&self) -> u64 {
        self.rewrites
    }

    fn rewrite(&mut self, translation: &Translation) -> Result<(), Failed> {
        self.rewrites += 1;
        let mut batch = Batch::new(&self.place.table, self.netfilter.next());
        if self.may_own {
            batch.delete_any_table();
            batch.add_table(OWNED);
        } else {
            // One that is not there cannot be removed, so it is made first.
            batch.add_table(0);
            batch.delete_table();
            batch.add_table(0);
        }
        frame::add(&mut batch, &self.place);
        plan::change(&mut batch, &self.place.bridge, &Translation::default(), translation);
        self.send(batch)
    }

    fn send(&mut self, batch: Batch) -> Result<(), Failed> {
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

    /// Lets the machine carry what pods send, to each other and elsewhere, and let pods reach services of its loopback
    /// interface by their services' addresses. Whether the machine carried nothing before is told.
    ///
    /// To be called once the table is written, which keeps pods from that interface otherwise.
    ///
    /// # Errors
    /// When the kernel's settings cannot be changed. The rest of the network works.
    pub fn let_through(&self) -> Result<bool, Error> {
        setting::set(&self.loopback(), "1")?;
        setting::set("net.ipv4.ip_forward", "1")
    }

    fn loopback(&self) -> String {
        format!("net.ipv4.conf.{}.route_localnet", self.place.bridge)
    }

    /// Removes the table.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn close(mut self) -> Result<(), Error> {
        // First, since it is the table that makes it safe. An interface that is gone has no settings.
        let _gone = setting::set(&self.loopback(), "0");
        let mut batch = Batch::new(&self.place.table, self.netfilter.next());
        batch.delete_table();
        match self.send(batch) {
            Err(failed) if failed.is(Errno::NOENT) => Ok(()),
            done => done.map_err(|failed| failed.told(&self.place.table)),
        }
    }
}
