//! The place of this instance among those on one machine: a number that no other instance has, from which its addresses
//! follow, so that the pods of two instances never meet at one address.
//!
//! The number is held by an abstract Unix socket. The kernel keeps such names for each network namespace, as it keeps the
//! addresses themselves, and frees them when the process ends, however it ends.

use std::io;
use std::net::Ipv4Addr;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

use anyhow::{Context as _, Result, bail};

/// How many instances a machine has addresses for.
const BERTHS: u8 = 64;

/// A place that is this instance's until it is dropped.
#[derive(Debug)]
pub(crate) struct Berth {
    number: u8,
    _held: UnixDatagram,
}

impl Berth {
    /// Takes the place that the instance of this data directory had before where it is free, else the first free one.
    pub(crate) fn take(data: &Path) -> Result<Self> {
        let file = data.join("berth");
        let before = std::fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok());
        let before = before.filter(|number| *number < BERTHS);
        for number in before.into_iter().chain(0..BERTHS) {
            if let Some(held) = claim(number).context("cannot claim a place for this instance's addresses")? {
                if before != Some(number) {
                    std::fs::write(&file, format!("{number}\n"))
                        .with_context(|| format!("cannot write {}", file.display()))?;
                }
                return Ok(Self { number, _held: held });
            }
        }
        bail!(
            "{BERTHS} instances run on this machine, which is all that it has addresses for: stop one of them"
        );
    }

    /// The network of the pods that run in this process; 65,534 loopback addresses.
    pub(crate) fn loopback(&self) -> Ipv4Addr {
        Ipv4Addr::new(127, 64 + self.number, 0, 0)
    }

    /// The network of the pods that have a network namespace.
    pub(crate) fn pods(&self) -> String {
        format!("10.244.{}.0/24", self.number)
    }

    /// The bridge that joins these.
    pub(crate) fn bridge(&self) -> String {
        format!("xebec{}", self.number)
    }
}

/// The name of the number, if nobody has it.
fn claim(number: u8) -> io::Result<Option<UnixDatagram>> {
    let name = SocketAddr::from_abstract_name(format!("xebec.dev/berth/{number}"))?;
    match UnixDatagram::bind_addr(&name) {
        Ok(held) => Ok(Some(held)),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_have_addresses_of_their_own_and_come_back_to_them() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let first = Berth::take(one.path()).unwrap();
        let second = Berth::take(other.path()).unwrap();
        assert_ne!(first.loopback(), second.loopback());
        assert_ne!(first.pods(), second.pods());
        assert_ne!(first.bridge(), second.bridge());
        let (before, bridge) = (second.loopback(), second.bridge());
        drop(second);
        let again = Berth::take(other.path()).unwrap();
        assert_eq!((again.loopback(), again.bridge()), (before, bridge));
    }
}
