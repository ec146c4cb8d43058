//! This instance's place among those of the machine: a number that no other has, and the pods' addresses that go with it.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use xebec_container::PodNetwork;

/// With number N go the bridge `xebecN`, the range 10.244.N.0/24 on it, and [`LOOPBACKS`] addresses of the loopback network.
const NUMBERS: std::ops::RangeInclusive<u8> = 0..=255;
/// The first loopback address of the first number.
const LOOPBACK: Ipv4Addr = Ipv4Addr::new(127, 128, 0, 0);
/// The first loopback address for Gateways of the first number.
const GATEWAYS: Ipv4Addr = Ipv4Addr::new(127, 192, 0, 0);
/// How many bits the addresses of a number's pods share.
pub(crate) const PODS_LENGTH: u8 = 24;
/// How many loopback addresses of either sort a number has.
const LOOPBACKS: u32 = 1 << 14;

/// A number that no other instance has while this value lives.
pub(crate) struct Berth {
    number: u8,
    /// Holds the number: a name of the machine's network namespace, as the bridge itself, gone with the process.
    _claim: UnixListener,
}

impl Berth {
    /// Takes the place that this instance had the last time, or one that nobody uses.
    pub(crate) fn take(data: &Path) -> Result<Self> {
        let record = data.join("berth");
        let last = match fs::read(&record) {
            Ok(text) => {
                let number = std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse().ok());
                if number.is_none() {
                    tracing::warn!(
                        "{} holds no number from 0 to 255 and is written anew: pods may get other addresses",
                        record.display()
                    );
                }
                number
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", record.display())),
        };
        let berth = Self::free(last)?;
        fs::write(&record, berth.number.to_string())
            .with_context(|| format!("cannot write {}", record.display()))?;
        Ok(berth)
    }

    fn free(last: Option<u8>) -> Result<Self> {
        for number in last.into_iter().chain(NUMBERS) {
            let address = SocketAddr::from_abstract_name(format!("xebec/berth/{number}"))?;
            match UnixListener::bind_addr(&address) {
                Ok(claim) => {
                    let berth = Self { number, _claim: claim };
                    // What a killed instance left may go on using its addresses.
                    if Some(number) == last || berth.members() == 0 {
                        return Ok(berth);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(error).context("cannot claim addresses for the pods"),
            }
        }
        bail!("{} instances run on this machine and no addresses are left: stop one", NUMBERS.count())
    }

    /// The first of the addresses of pods that share the machine's network.
    pub(crate) fn loopback(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(LOOPBACK) + u32::from(self.number) * LOOPBACKS)
    }

    /// The network of Gateways that ask for no address: 2^14 loopback addresses.
    pub(crate) fn gateways(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(GATEWAYS) + u32::from(self.number) * LOOPBACKS)
    }

    /// The name of the bridge that joins the pods with a network of their own.
    pub(crate) fn bridge(&self) -> String {
        format!("xebec{}", self.number)
    }

    /// The addresses of pods with a network of their own: a /24.
    pub(crate) fn pods(&self) -> Ipv4Addr {
        Ipv4Addr::new(10, 244, self.number, 0)
    }

    /// Opens the network of this place, whose state is kept in `folder`.
    pub(crate) fn network(&self, folder: &Path) -> Result<PodNetwork, xebec_container::Error> {
        PodNetwork::open(folder, &self.bridge(), format!("{}/{PODS_LENGTH}", self.pods()).parse()?)
    }

    /// Removes the bridge, unless pods are still joined to it.
    pub(crate) async fn leave(self: Arc<Self>, network: Arc<PodNetwork>) {
        let left = tokio::task::spawn_blocking(move || match self.members() {
            0 => network.close(),
            _ => Ok(()),
        });
        match left.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the pods' bridge stays"),
            Err(error) => tracing::warn!(%error, "the pods' bridge stays"),
        }
    }

    /// How many interfaces are joined to the bridge; none where it is absent.
    fn members(&self) -> usize {
        fs::read_dir(format!("/sys/class/net/{}/brif", self.bridge())).map_or(0, Iterator::count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_instances_never_have_one_place_and_a_restart_keeps_its_own() {
        let first = Berth::free(Some(250)).unwrap();
        let second = Berth::free(Some(first.number)).unwrap();
        assert_ne!(first.number, second.number);
        assert_ne!(first.loopback(), second.loopback());
        let number = first.number;
        drop(first);
        assert_eq!(Berth::free(Some(number)).unwrap().number, number);
    }

    #[test]
    fn the_last_place_is_still_of_the_loopback_network() {
        let end = u32::from(GATEWAYS) + u32::try_from(NUMBERS.count()).unwrap() * LOOPBACKS;
        assert!(Ipv4Addr::from(end - 1).is_loopback());
    }
}
