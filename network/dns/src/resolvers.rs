//! Whom to ask for names that are not the cluster's: the machine's own resolvers (resolv.conf(5)).

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// As many as a resolver takes (MAXNS).
const MOST: usize = 3;
const PORT: u16 = 53;
/// A file with more is none that a resolver reads.
const LONGEST: u64 = 1 << 20;

/// Whom to ask, in this order.
#[derive(Debug)]
pub struct Resolvers {
    source: Source,
    /// Addresses that would lead back here.
    own: BTreeSet<IpAddr>,
}

#[derive(Debug)]
enum Source {
    Fixed(Arc<[SocketAddr]>),
    File { path: PathBuf, read: Mutex<Option<(Stamp, Arc<[SocketAddr]>)>> },
}

/// By what a changed file is known.
type Stamp = (Option<SystemTime>, u64);

impl Resolvers {
    /// Always these.
    #[must_use]
    pub fn fixed(servers: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self { source: Source::Fixed(servers.into_iter().collect()), own: BTreeSet::new() }
    }

    /// Those that a file names, which is read again when it has changed. `own` are addresses that lead back here, or would.
    #[must_use]
    pub fn of_file(path: impl Into<PathBuf>, own: impl IntoIterator<Item = IpAddr>) -> Self {
        let source = Source::File { path: path.into(), read: Mutex::default() };
        Self { source, own: own.into_iter().collect() }
    }

    /// Whom to ask now.
    pub(crate) fn now(&self) -> Arc<[SocketAddr]> {
        let (path, read) = match &self.source {
            Source::Fixed(servers) => return servers.clone(),
            Source::File { path, read } => (path, read),
        };
        let mut read = read.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(found) = fs::metadata(path) else { return Arc::default() };
        let stamp = (found.modified().ok(), found.len());
        match &*read {
            Some((known, servers)) if *known == stamp => servers.clone(),
            _ => {
                let text = if found.len() <= LONGEST { fs::read_to_string(path).ok() } else { None };
                let servers: Arc<[SocketAddr]> = servers(&text.unwrap_or_default(), &self.own).into();
                *read = Some((stamp, servers.clone()));
                servers
            }
        }
    }
}

fn servers(text: &str, own: &BTreeSet<IpAddr>) -> Vec<SocketAddr> {
    let lines = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        words.next().filter(|word| *word == "nameserver").and(words.next())
    });
    // An address of one link says which (RFC 4007, 11), and that is not asked.
    let addresses =
        lines.filter_map(|word| word.parse::<IpAddr>().ok()).filter(|address| !own.contains(address));
    addresses.map(|address| SocketAddr::new(address, PORT)).take(MOST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_resolvers_are_read_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("resolv.conf");
        let own: IpAddr = [10, 244, 0, 1].into();
        let resolvers = Resolvers::of_file(&path, [own]);
        assert!(resolvers.now().is_empty());
        fs::write(
            &path,
            "# one\nsearch a.test\nnameserver 192.0.2.1\nnameserver 10.244.0.1\nnameserver ::1\n",
        )
        .unwrap();
        let texts = || resolvers.now().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(texts(), ["192.0.2.1:53", "[::1]:53"]);
        fs::write(&path, "nameserver 192.0.2.2\nnameserver x\n").unwrap();
        assert_eq!(texts(), ["192.0.2.2:53"]);
    }
}
