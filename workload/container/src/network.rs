//! The pod network of one machine: a bridge, and for each pod a network namespace with an address on it.
//!
//! ```text
//! FOLDER/pods/POD        the pod's address, kept until the pod is detached
//! FOLDER/namespaces/POD  the pod's network namespace, a mount
//! ```
//!
//! The machine reaches each pod, and pods reach each other and the machine, by address. A pod sends everything to the machine,
//! which carries it on: so nothing passes by whoever translates addresses there. Nothing here filters or translates.
//! Everything is found again after a restart of the program, and made again after one of the machine.

use std::{
    collections::BTreeMap,
    fmt,
    fs::{self, File},
    io,
    net::{Ipv4Addr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    str::FromStr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use xebec_oci::Digest;

use crate::{ContainerId, Error, error::at, namespace, netlink::Netlink};

/// The name of a pod's interface in its namespace.
const INTERFACE: &str = "eth0";
/// How long a pod may take to accept a connection. A full queue of connections answers nothing at all.
const ANSWER: Duration = Duration::from_secs(10);
/// The longest name of an interface (IFNAMSIZ without the closing zero).
const LONGEST_INTERFACE: usize = 15;
/// The length of a network that an address is alone in.
const ALONE: u8 = 32;

/// A range of IPv4 addresses: the first host is the bridge's, the others are pods'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    network: u32,
    length: u8,
}

impl Range {
    /// The bridge's address, to which pods send what is for elsewhere.
    #[must_use]
    pub fn gateway(self) -> Ipv4Addr {
        (self.network + 1).into()
    }

    /// How many bits of an address all of them share.
    #[must_use]
    pub fn length(self) -> u8 {
        self.length
    }

    /// Whether a pod may have the address.
    #[must_use]
    pub fn is_pods(self, address: Ipv4Addr) -> bool {
        self.hosts().contains(&address.into())
    }

    fn pods(self) -> impl Iterator<Item = Ipv4Addr> {
        self.hosts().map(Ipv4Addr::from)
    }

    /// All but the network's own address, the gateway and the broadcast address.
    fn hosts(self) -> std::ops::Range<u32> {
        self.network + 2..self.network | (u32::MAX >> self.length)
    }
}

impl FromStr for Range {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = || Error::RangeSyntax { text: text.chars().take(100).collect() };
        let (address, length) = text.split_once('/').ok_or_else(bad)?;
        let (address, length): (Ipv4Addr, u8) =
            (address.parse().map_err(|_| bad())?, length.parse().map_err(|_| bad())?);
        if !(8..=29).contains(&length) {
            return Err(bad());
        }
        Ok(Self { network: u32::from(address) & !(u32::MAX >> length), length })
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.network), self.length)
    }
}

/// A pod's place in the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodAddress {
    /// The network namespace, to be given to the pod's containers.
    pub namespace: PathBuf,
    /// The pod's address.
    pub address: Ipv4Addr,
}

/// The pod network. Its calls wait for the kernel and belong on a thread that may.
#[derive(Debug)]
pub struct PodNetwork {
    bridge: String,
    range: Range,
    folder: PathBuf,
    addresses: Mutex<BTreeMap<ContainerId, Ipv4Addr>>,
    /// Whether the machine carries what pods send to each other. Where it may not, they do without it.
    carries: bool,
}

impl PodNetwork {
    /// Opens the network that is kept in `folder`, making the bridge where it is absent.
    ///
    /// # Errors
    /// When the kernel or the disk refuses.
    pub fn open(folder: impl Into<PathBuf>, bridge: &str, range: Range) -> Result<Self, Error> {
        let folder = folder.into();
        if bridge.is_empty() || bridge.len() > LONGEST_INTERFACE || bridge.contains(['/', ' ', ':']) {
            let source = io::Error::new(io::ErrorKind::InvalidInput, "use 1 to 15 letters and digits");
            return Err(Error::Network { what: format!("bridge {bridge:?}"), source });
        }
        let pods = folder.join("pods");
        for path in [&pods, &folder.join("namespaces")] {
            fs::create_dir_all(path).map_err(at(path))?;
        }
        let mut addresses = BTreeMap::new();
        for entry in fs::read_dir(&pods).map_err(at(&pods))? {
            let entry = entry.map_err(at(&pods))?;
            let pod = entry.file_name().to_str().and_then(|name| name.parse::<ContainerId>().ok());
            let address = fs::read_to_string(entry.path()).ok().and_then(|text| text.trim().parse().ok());
            if let (Some(pod), Some(address)) = (pod, address) {
                addresses.insert(pod, address);
            }
        }
        let addresses = Mutex::new(addresses);
        let mut network = Self { bridge: bridge.to_owned(), range, folder, addresses, carries: false };
        network.make_bridge().map_err(failed(format!("bridge {bridge}")))?;
        network.carries = fs::write(format!("/proc/sys/net/ipv4/conf/{bridge}/forwarding"), "1").is_ok();
        Ok(network)
    }

    fn make_bridge(&self) -> io::Result<()> {
        let mut netlink = Netlink::open()?;
        let index = match netlink.index(&self.bridge)? {
            Some(index) => index,
            None => {
                netlink.add_bridge(&self.bridge, hardware(self.range.gateway()))?;
                netlink.existing(&self.bridge)?
            }
        };
        netlink.set_address(index, self.range.gateway(), self.range.length())?;
        netlink.set_up(index)
    }

    /// Gives a pod a namespace and an address, or the ones it has.
    ///
    /// # Errors
    /// When no address is left, or the kernel or the disk refuses; a further call carries on.
    pub fn attach(&self, pod: &ContainerId) -> Result<PodAddress, Error> {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let address = match addresses.get(pod) {
            Some(address) if self.range.is_pods(*address) => *address,
            // It has none, or one of a range that was given up.
            _ => {
                let gone = Netlink::open().and_then(|mut netlink| netlink.remove(&interface(pod)));
                gone.map_err(failed(format!("network of pod {pod}")))?;
                let taken: std::collections::BTreeSet<_> = addresses.values().copied().collect();
                let free = self.range.pods().find(|address| !taken.contains(address));
                let free = free.ok_or_else(|| Error::AddressesExhausted { range: self.range.to_string() })?;
                // On disk before in use: after a crash no other pod gets it.
                self.keep(pod, free)?;
                addresses.insert(pod.clone(), free);
                free
            }
        };
        let namespace = self.namespace(pod);
        self.connect(pod, &namespace, address).map_err(failed(format!("network of pod {pod}")))?;
        Ok(PodAddress { namespace, address })
    }

    fn connect(&self, pod: &ContainerId, namespace: &Path, address: Ipv4Addr) -> io::Result<()> {
        let mut netlink = Netlink::open()?;
        let name = interface(pod);
        if !namespace::exists(namespace) {
            // What is left of another namespace of this pod.
            netlink.remove(&name)?;
            namespace::make(namespace)?;
        }
        if netlink.index(&name)?.is_none() {
            let file = File::open(namespace)?;
            netlink.add_pair(&name, INTERFACE, hardware(address), std::os::fd::AsFd::as_fd(&file))?;
        }
        let (index, bridge) = (netlink.existing(&name)?, netlink.existing(&self.bridge)?);
        netlink.set_group(index, self.group())?;
        netlink.set_bridge(index, bridge)?;
        netlink.set_up(index)?;
        let (range, carries) = (self.range, self.carries);
        namespace::enter(namespace, move || {
            let mut netlink = Netlink::open()?;
            let loopback = netlink.existing("lo")?;
            netlink.set_up(loopback)?;
            let index = netlink.existing(INTERFACE)?;
            let (here, other) = if carries { (ALONE, range.length()) } else { (range.length(), ALONE) };
            // Under an earlier process it may have been otherwise.
            netlink.remove_address(index, address, other)?;
            netlink.set_address(index, address, here)?;
            netlink.set_up(index)?;
            if carries {
                netlink.set_neighbour(index, range.gateway())?;
            }
            netlink.set_default_route(range.gateway())
        })
    }

    /// Takes a pod's namespace and address away. One that has none needs nothing.
    ///
    /// # Errors
    /// When the kernel or the disk refuses; a further call carries on.
    pub fn detach(&self, pod: &ContainerId) -> Result<(), Error> {
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let namespace = self.namespace(pod);
        let gone = Netlink::open().and_then(|mut netlink| netlink.remove(&interface(pod)));
        gone.map_err(failed(format!("network of pod {pod}")))?;
        namespace::remove(&namespace).map_err(at(&namespace))?;
        let path = self.pod_path(pod);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&path)(error)),
            _ => {}
        }
        addresses.remove(pod);
        Ok(())
    }

    /// The pods that have an address.
    #[must_use]
    pub fn pods(&self) -> BTreeMap<ContainerId, Ipv4Addr> {
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Connects to a port as from within a pod, whose loopback interface is meant.
    ///
    /// # Errors
    /// When nothing listens there or answers in time, or the pod has no namespace.
    pub fn dial(&self, pod: &ContainerId, port: u16) -> io::Result<TcpStream> {
        let address = (Ipv4Addr::LOCALHOST, port).into();
        namespace::enter(&self.namespace(pod), move || TcpStream::connect_timeout(&address, ANSWER))
    }

    /// Listens on a port of a pod as its containers do, on all of its addresses. What it gives does not block.
    ///
    /// # Errors
    /// When the port is taken, or the pod has no namespace.
    pub fn listen(&self, pod: &ContainerId, port: u16) -> io::Result<TcpListener> {
        namespace::enter(&self.namespace(pod), move || {
            let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        })
    }

    /// Whether the machine carries all that pods send to each other, so that it can be filtered.
    #[must_use]
    pub fn carries(&self) -> bool {
        self.carries
    }

    /// The bridge's hardware address, to which pods send everything where the machine carries it.
    #[must_use]
    pub fn hardware(&self) -> [u8; 6] {
        hardware(self.range.gateway())
    }

    /// The group of the pods' interfaces on the machine, of which no others are.
    #[must_use]
    pub fn group(&self) -> u32 {
        self.range.gateway().into()
    }

    /// The range that pods get addresses from.
    #[must_use]
    pub fn range(&self) -> Range {
        self.range
    }

    /// Removes the bridge, unless pods still use it. The network has to be opened again to attach further ones.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn close(&self) -> Result<(), Error> {
        if self.pods().is_empty() {
            let gone = Netlink::open().and_then(|mut netlink| netlink.remove(&self.bridge));
            gone.map_err(failed(format!("bridge {}", self.bridge)))?;
        }
        Ok(())
    }

    fn keep(&self, pod: &ContainerId, address: Ipv4Addr) -> Result<(), Error> {
        let path = self.pod_path(pod);
        let folder = self.folder.join("pods");
        let write = || {
            let mut file = tempfile::NamedTempFile::new_in(&folder)?;
            io::Write::write_all(&mut file, address.to_string().as_bytes())?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            File::open(&folder)?.sync_all()
        };
        write().map_err(at(&path))
    }

    fn pod_path(&self, pod: &ContainerId) -> PathBuf {
        self.folder.join("pods").join(pod.as_str())
    }

    /// Where a pod's network namespace is, or will be: one that is made there before is the pod's.
    #[must_use]
    pub fn namespace(&self, pod: &ContainerId) -> PathBuf {
        self.folder.join("namespaces").join(pod.as_str())
    }
}

/// The name of a pod's interface on the machine: always the same, and another one for each pod.
fn interface(pod: &ContainerId) -> String {
    format!("xb{}", &Digest::of(pod.as_str().as_bytes()).hex()[..12])
}

fn failed(what: String) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Network { what, source }
}

/// The hardware address of whoever has the address: neighbours that knew the one who had it before reach the next.
fn hardware(address: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = address.octets();
    // Locally administered (the second-lowest bit of the first byte).
    [0x02, 0x78, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_a_gateway_and_pods() {
        let range: Range = "10.244.3.77/29".parse().unwrap();
        assert_eq!(range.to_string(), "10.244.3.72/29");
        assert_eq!(range.gateway(), Ipv4Addr::new(10, 244, 3, 73));
        let pods: Vec<_> = range.pods().map(|pod| pod.octets()[3]).collect();
        assert_eq!(pods, [74, 75, 76, 77, 78]);
        assert!(!range.is_pods(range.gateway()));
        for bad in ["", "10.0.0.0", "10.0.0.0/30", "10.0.0.0/7", "10.0.0/24", "::/64"] {
            assert!(bad.parse::<Range>().is_err(), "{bad}");
        }
    }

    #[test]
    fn interfaces_have_names_that_the_kernel_takes() {
        let pods = ["a", "b"].map(|pod| interface(&pod.parse().unwrap()));
        assert_ne!(pods[0], pods[1]);
        assert!(pods.iter().all(|name| name.len() <= LONGEST_INTERFACE));
    }
}
