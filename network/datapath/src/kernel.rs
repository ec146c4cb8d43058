//! The table of services in the kernel.

use crate::batch::Family;
use crate::flow::{self, Stale};
use crate::held::Held;
use crate::translation::Translation;
use crate::{Error, Subnet, frame, plan, setting};

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
    let mut held = Held::new(Family::Ip, &place.table, &place.bridge)?;
    held.attempt(|batch| frame::add(batch, &place))
}

/// One pod network's table. It is as the last translation says, and stays so if the process ends without
/// [closing](Self::close) it. Its calls wait for the kernel, which takes milliseconds for thousands of services.
pub struct Table {
    place: Place,
    held: Held,
    /// What the kernel has, where that is known.
    current: Option<Translation>,
    rewrites: u64,
}

impl Table {
    /// A table that is written when the first translation comes, in place of what an earlier process left.
    ///
    /// # Errors
    /// When a name cannot be one, or the kernel has no nf_tables.
    pub fn new(place: Place) -> Result<Self, Error> {
        let held = Held::new(Family::Ip, &place.table, &place.bridge)?;
        Ok(Self { place, held, current: None, rewrites: 0 })
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
            let mut batch = self.held.batch();
            plan::change(&mut batch, &self.place.bridge, &current, translation);
            if batch.is_empty() || self.held.send(batch).is_ok() {
                self.done(&current, translation);
                return Ok(());
            }
            // Somebody else had a hand in it.
        }
        self.rewrites += 1;
        let place = &self.place;
        self.held.replace(|batch| {
            frame::add(batch, place);
            plan::change(batch, &place.bridge, &Translation::default(), translation);
        })?;
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
        self.held.remove()
    }
}
