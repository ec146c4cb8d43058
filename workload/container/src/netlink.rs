//! The few requests to the kernel's routing netlink that the pod network needs (rtnetlink(7)). Each is answered before
//! it returns; it acts in the network namespace of the thread that opened it.

use std::{
    io,
    net::Ipv4Addr,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage},
    link::{
        InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVeth, LinkAttribute, LinkFlags,
        LinkInfo, LinkMessage,
    },
    route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

pub(crate) struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, sequence: 0 })
    }

    /// The interface's number, if there is one of that name.
    pub(crate) fn index(&mut self, name: &str) -> io::Result<Option<u32>> {
        let link = link(name);
        match self.ask(RouteNetlinkMessage::GetLink(link), 0) {
            Ok(Some(RouteNetlinkMessage::NewLink(found))) => Ok(Some(found.header.index)),
            Ok(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "an interface was asked for, not told")),
            Err(error) if absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The number of an interface that must be there.
    pub(crate) fn existing(&mut self, name: &str) -> io::Result<u32> {
        let gone = || io::Error::new(io::ErrorKind::NotFound, format!("interface {name} is not there"));
        self.index(name)?.ok_or_else(gone)
    }

    /// Makes a bridge with a hardware address of its own: one that follows its ports would change under its neighbours.
    pub(crate) fn add_bridge(&mut self, name: &str, hardware: [u8; 6]) -> io::Result<()> {
        let mut bridge = link(name);
        bridge.attributes.push(LinkAttribute::Address(hardware.to_vec()));
        bridge.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge)]));
        self.tell(RouteNetlinkMessage::NewLink(bridge), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Makes a pair of connected interfaces: one here, the other, of the hardware address, in a namespace.
    pub(crate) fn add_pair(
        &mut self,
        name: &str,
        other: &str,
        hardware: [u8; 6],
        namespace: BorrowedFd<'_>,
    ) -> io::Result<()> {
        let mut peer = link(other);
        peer.attributes.push(LinkAttribute::Address(hardware.to_vec()));
        peer.attributes.push(LinkAttribute::NetNsFd(namespace.as_raw_fd()));
        let mut pair = link(name);
        pair.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]));
        self.tell(RouteNetlinkMessage::NewLink(pair), NLM_F_CREATE | NLM_F_EXCL)
    }

    /// Plugs an interface into a bridge, which sends back by it also what came by it: a pod may be the one that it asks.
    pub(crate) fn set_bridge(&mut self, index: u32, bridge: u32) -> io::Result<()> {
        let mut port = numbered(index);
        port.attributes.push(LinkAttribute::Controller(bridge));
        self.tell(RouteNetlinkMessage::SetLink(port), 0)?;
        let mut port = numbered(index);
        port.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(vec![InfoBridgePort::HairpinMode(true)])),
        ]));
        self.tell(RouteNetlinkMessage::NewLink(port), 0)
    }

    /// Puts an interface into a group of interfaces.
    pub(crate) fn set_group(&mut self, index: u32, group: u32) -> io::Result<()> {
        let mut grouped = numbered(index);
        grouped.attributes.push(LinkAttribute::Group(group));
        self.tell(RouteNetlinkMessage::SetLink(grouped), 0)
    }

    pub(crate) fn set_up(&mut self, index: u32) -> io::Result<()> {
        let mut up = numbered(index);
        up.header.flags = LinkFlags::Up;
        up.header.change_mask = LinkFlags::Up;
        self.tell(RouteNetlinkMessage::SetLink(up), 0)
    }

    /// Removes an interface that may be gone. Its peer goes with it.
    pub(crate) fn remove(&mut self, name: &str) -> io::Result<()> {
        match self.tell(RouteNetlinkMessage::DelLink(link(name)), 0) {
            Err(error) if absent(&error) => Ok(()),
            removed => removed,
        }
    }

    /// Gives an interface an address, which it may have already.
    pub(crate) fn set_address(&mut self, index: u32, address: Ipv4Addr, length: u8) -> io::Result<()> {
        let message = own_address(index, address, length);
        self.tell(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Takes an address from an interface, which may not have it.
    pub(crate) fn remove_address(&mut self, index: u32, address: Ipv4Addr, length: u8) -> io::Result<()> {
        let message = own_address(index, address, length);
        match self.tell(RouteNetlinkMessage::DelAddress(message), 0) {
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::ADDRNOTAVAIL.raw_os_error()) => {
                Ok(())
            }
            removed => removed,
        }
    }

    /// Makes an address known as one that is reached by an interface without a gateway.
    pub(crate) fn set_neighbour(&mut self, index: u32, address: Ipv4Addr) -> io::Result<()> {
        let mut message = route();
        message.header.scope = RouteScope::Link;
        message.header.destination_prefix_length = 32;
        message.attributes.push(RouteAttribute::Destination(RouteAddress::Inet(address)));
        message.attributes.push(RouteAttribute::Oif(index));
        self.tell(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Sends what is for elsewhere to a gateway.
    pub(crate) fn set_default_route(&mut self, gateway: Ipv4Addr) -> io::Result<()> {
        let mut message = route();
        message.attributes.push(RouteAttribute::Gateway(RouteAddress::Inet(gateway)));
        self.tell(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_REPLACE)
    }

    fn tell(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<()> {
        self.ask(message, flags).map(drop)
    }

    /// Sends a request and waits for its acknowledgement. What the kernel tells before that is returned.
    fn ask(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<Option<RouteNetlinkMessage>> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        header.sequence_number = self.sequence;
        let mut request = NetlinkMessage::new(header, NetlinkPayload::from(message));
        request.finalize();
        let mut buffer = vec![0; request.buffer_len()];
        request.serialize(&mut buffer);
        self.socket.send(&buffer, 0)?;
        let mut told = None;
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            let mut rest = datagram.as_slice();
            while !rest.is_empty() {
                let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
                // Messages are padded to four bytes (netlink(7), NLMSG_ALIGN).
                let length = (answer.header.length as usize).next_multiple_of(4).max(4);
                rest = rest.get(length..).unwrap_or_default();
                if answer.header.sequence_number != self.sequence {
                    continue;
                }
                match answer.payload {
                    NetlinkPayload::Error(error) if error.code.is_none() => return Ok(told),
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    NetlinkPayload::InnerMessage(message) => told = Some(message),
                    _ => {}
                }
            }
        }
    }
}

fn own_address(index: u32, address: Ipv4Addr, length: u8) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.prefix_len = length;
    message.header.index = index;
    message.attributes.push(AddressAttribute::Local(address.into()));
    message.attributes.push(AddressAttribute::Address(address.into()));
    message
}

fn route() -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Static;
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    message
}

fn link(name: &str) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.attributes.push(LinkAttribute::IfName(name.to_owned()));
    link
}

fn numbered(index: u32) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.header.index = index;
    link
}

fn absent(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error())
}
