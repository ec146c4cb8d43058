//! The bridge of this instance's pods: its own among the instances of the machine, with a range of addresses to it.

use std::fmt;
use std::fs;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use xebec_container::PodNetwork;

/// The bridges are `xebec0` to `xebec255`, with 10.244.0.0/24 to 10.244.255.0/24.
const BRIDGES: std::ops::RangeInclusive<u8> = 0..=255;

/// A bridge that no other instance uses while this value lives.
pub(crate) struct Bridge {
    number: u8,
    network: Arc<PodNetwork>,
    /// Holds the number: a name of the machine's network namespace, as the bridge itself, gone with the process.
    _claim: UnixListener,
}

impl Bridge {
    /// Takes the bridge that this instance had the last time, or one that nobody uses.
    pub(crate) fn claim(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let record = folder.join("bridge");
        let last = fs::read_to_string(&record).ok().and_then(|text| text.trim().parse().ok());
        let (number, claim) = free(last)?;
        fs::write(&record, number.to_string())
            .with_context(|| format!("cannot write {}", record.display()))?;
        let network = PodNetwork::open(folder, &name(number), format!("10.244.{number}.0/24").parse()?)?;
        Ok(Self { number, network: Arc::new(network), _claim: claim })
    }

    /// The pods' network.
    pub(crate) fn network(&self) -> Arc<PodNetwork> {
        Arc::clone(&self.network)
    }

    /// Removes the bridge, unless pods are still joined to it.
    pub(crate) async fn leave(self) {
        let left = tokio::task::spawn_blocking(move || {
            if members(self.number) > 0 {
                return Ok(());
            }
            self.network.close()
        });
        match left.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the pods' bridge stays"),
            Err(error) => tracing::warn!(%error, "the pods' bridge stays"),
        }
    }
}

impl fmt::Display for Bridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pods have addresses of {} on {}", self.network.range(), name(self.number))
    }
}

fn name(number: u8) -> String {
    format!("xebec{number}")
}

/// How many interfaces are joined to a bridge; none where it is absent.
fn members(number: u8) -> usize {
    fs::read_dir(format!("/sys/class/net/{}/brif", name(number))).map_or(0, Iterator::count)
}

fn free(last: Option<u8>) -> Result<(u8, UnixListener)> {
    for number in last.into_iter().chain(BRIDGES) {
        let address = SocketAddr::from_abstract_name(format!("xebec/bridge/{number}"))?;
        match UnixListener::bind_addr(&address) {
            // What a killed instance left may go on using its addresses.
            Ok(claim) if Some(number) == last || members(number) == 0 => return Ok((number, claim)),
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                return Err(error).context("cannot claim a bridge for the pods");
            }
            _ => {}
        }
    }
    bail!("all {} pod networks of this machine are in use: stop another instance", BRIDGES.count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_instances_never_have_one_bridge_and_a_restart_keeps_its_own() {
        let (first, held) = free(Some(250)).unwrap();
        let (second, _other) = free(Some(first)).unwrap();
        assert_ne!(first, second);
        drop(held);
        assert_eq!(free(Some(first)).unwrap().0, first);
    }
}
