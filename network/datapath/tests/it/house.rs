//! A machine of the test's own: a network namespace with a pod network in it, which ends with the test.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use xebec_container::{PodAddress, PodNetwork};
use xebec_datapath::{
    Endpoint, HostPort, Name, Place, Policy, Protocol, Service, ServicePort, Stage, Table, Translation,
    translate,
};

pub(crate) const BRIDGE: &str = "xbd0";
/// How long an answer may take. Refusals come at once.
const ANSWER: Duration = Duration::from_secs(3);

/// The machine as seen by the thread that is in it.
pub(crate) struct House {
    pub(crate) network: PodNetwork,
    pub(crate) table: Table,
    _folder: tempfile::TempDir,
}

/// Runs a test on a machine of its own, or says that it is skipped.
pub(crate) fn on_a_machine(test: &str, work: impl FnOnce(&mut House) + Send) {
    if let Err(reason) = xebec_datapath::probe() {
        eprintln!("skipped: {test}: {reason}");
        return;
    }
    std::thread::scope(|scope| {
        let done = scope.spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("a network namespace is made");
            let up = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status();
            assert!(up.expect("ip runs").success());
            let folder = tempfile::tempdir().expect("a folder");
            let range = "10.244.0.0/24".parse().expect("a range");
            let network = PodNetwork::open(folder.path(), BRIDGE, range).expect("the pod network opens");
            let table = Table::new(place()).expect("the kernel is reached");
            let mut house = House { network, table, _folder: folder };
            work(&mut house);
            for pod in house.network.pods().into_keys() {
                house.network.detach(&pod).expect("a pod leaves");
            }
        });
        if let Err(panic) = done.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

pub(crate) fn place() -> Place {
    Place {
        table: "xebec-test".to_owned(),
        bridge: BRIDGE.to_owned(),
        pods: "10.244.0.0/24".parse().expect("a range"),
        services: "10.96.0.0/16".parse().expect("a range"),
    }
}

impl House {
    pub(crate) fn pod(&self, name: &str) -> PodAddress {
        let id = format!("{name}-{}", std::process::id()).parse().expect("a name");
        self.network.attach(&id).expect("a pod gets its address")
    }

    pub(crate) fn apply(&mut self, services: &[Service], ports: &[HostPort]) -> Translation {
        let (translation, refusals) = translate(services, ports, place().pods);
        assert_eq!(refusals, []);
        self.table.apply(&translation).expect("the kernel takes the table");
        translation
    }
}

/// Does something in a pod's network, or in the machine's where there is none.
pub(crate) fn within<T: Send>(namespace: Option<&PathBuf>, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let done = scope.spawn(move || {
            if let Some(namespace) = namespace {
                let file = std::fs::File::open(namespace).expect("the namespace is there");
                let kind = Some(rustix::thread::LinkNameSpaceType::Network);
                rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), kind)
                    .expect("the namespace is entered");
            }
            work()
        });
        done.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Answers each connection with its name and with the address that asked.
pub(crate) fn serve(namespace: Option<&PathBuf>, address: Ipv4Addr, port: u16, name: &'static str) {
    let namespace = namespace.cloned();
    let (ready, waiting) = mpsc::channel();
    within(namespace.as_ref(), move || {
        let listener = TcpListener::bind((address, port)).expect("a port to listen on");
        let datagrams = UdpSocket::bind((address, port)).expect("a port to listen on");
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let peer = stream.peer_addr().expect("a peer");
                let _ = write!(stream, "{name} {}", peer.ip());
            }
        });
        std::thread::spawn(move || {
            let mut buffer = [0; 100];
            while let Ok((_, peer)) = datagrams.recv_from(&mut buffer) {
                let _ = datagrams.send_to(format!("{name} {}", peer.ip()).as_bytes(), peer);
            }
        });
        ready.send(()).expect("the test waits");
    });
    waiting.recv().expect("the server is there");
}

/// What a server says over TCP.
pub(crate) fn ask(namespace: Option<&PathBuf>, address: &str) -> std::io::Result<String> {
    let address: SocketAddrV4 = address.parse().expect("an address");
    within(namespace, move || {
        let mut stream = TcpStream::connect_timeout(&address.into(), ANSWER)?;
        stream.set_read_timeout(Some(ANSWER))?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    })
}

/// What a server says over UDP.
pub(crate) fn ask_by_datagram(namespace: Option<&PathBuf>, address: &str) -> std::io::Result<String> {
    let address: SocketAddrV4 = address.parse().expect("an address");
    within(namespace, move || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.set_read_timeout(Some(ANSWER))?;
        socket.connect(address)?;
        socket.send(b"hello")?;
        let mut buffer = [0; 100];
        let length = socket.recv(&mut buffer)?;
        Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
    })
}

/// How long somebody who is let through may take to answer; what is dropped takes that long.
const PROBE: Duration = Duration::from_millis(300);

/// Whether somebody answers over TCP.
pub(crate) fn reaches(namespace: Option<&PathBuf>, address: &str) -> bool {
    let address: SocketAddrV4 = address.parse().expect("an address");
    within(namespace, move || TcpStream::connect_timeout(&address.into(), PROBE).is_ok())
}

/// Whether somebody answers over UDP.
pub(crate) fn reaches_by_datagram(namespace: Option<&PathBuf>, address: &str) -> bool {
    let address: SocketAddrV4 = address.parse().expect("an address");
    within(namespace, move || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a port");
        socket.set_read_timeout(Some(PROBE)).expect("a timeout");
        socket.connect(address).expect("a way there");
        socket.send(b"hello").is_ok() && socket.recv(&mut [0; 100]).is_ok()
    })
}

/// A service at 10.96.0.20:80, of both protocols.
pub(crate) fn service(name: &str, endpoints: &[SocketAddrV4]) -> Service {
    let endpoints: Vec<Endpoint> = endpoints
        .iter()
        .map(|address| Endpoint { address: *address, stage: Stage::Ready, is_local: true })
        .collect();
    let port = |protocol| ServicePort { protocol, port: 80, node_port: None, endpoints: endpoints.clone() };
    Service {
        name: Name { namespace: "default".into(), name: name.into() },
        cluster_ips: vec![Ipv4Addr::new(10, 96, 0, 20)],
        external_ips: Vec::new(),
        balancer_ips: Vec::new(),
        sources: Vec::new(),
        ports: vec![port(Protocol::Tcp), port(Protocol::Udp)],
        affinity: None,
        internal: Policy::Cluster,
        external: Policy::Cluster,
    }
}

/// Datagrams from one port of a pod to one place.
pub(crate) struct Flow(UdpSocket);

impl Flow {
    pub(crate) fn to(namespace: &PathBuf, address: &str) -> Self {
        let address: SocketAddrV4 = address.parse().expect("an address");
        Self(within(Some(namespace), move || {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a port");
            socket.set_read_timeout(Some(Duration::from_millis(500))).expect("a timeout");
            socket.connect(address).expect("a way there");
            socket
        }))
    }

    /// What is answered, once.
    pub(crate) fn ask(&self) -> std::io::Result<String> {
        self.0.send(b"hello")?;
        let mut buffer = [0; 100];
        let length = self.0.recv(&mut buffer)?;
        Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
    }
}
