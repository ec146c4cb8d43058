//! The conversation with the kernel's netfilter (netlink(7), NETLINK_NETFILTER): a batch goes out, and what became of it
//! comes back. It acts in the network namespace of the thread that opened it.

use std::io;
use std::ops::RangeInclusive;
use std::time::Duration;

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer};
use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};
use rustix::net::sockopt;

use crate::batch::{Attributes, NESTED};

/// How long the kernel may take for a batch.
const ANSWER: Duration = Duration::from_secs(30);
/// The lengths of a message's header, and of what says its family.
const HEADER: usize = 16;
const FAMILY: usize = 4;
const IPV4: u8 = 2;
/// Messages of NFNL_SUBSYS_CTNETLINK.
const NEW_FLOW: u16 = 1 << 8;
const LIST_FLOWS: u16 = 1 << 8 | 1;
const DELETE_FLOW: u16 = 1 << 8 | 2;

/// What a socket may always send, and have waiting to be read.
const ROOM: usize = 1 << 20;

pub(crate) struct Netfilter {
    socket: Socket,
    sequence: u32,
}

/// One request of a batch that the kernel refused.
#[derive(Debug)]
pub(crate) struct Refused {
    /// Which one, counted from the first.
    pub(crate) at: usize,
    pub(crate) source: io::Error,
}

impl Netfilter {
    pub(crate) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // Answers without the requests that they answer.
        socket.set_cap_ack(true)?;
        let own = Self { socket, sequence: 1 };
        sockopt::set_socket_timeout(own.fd(), sockopt::Timeout::Recv, Some(ANSWER))?;
        sockopt::set_socket_recv_buffer_size(own.fd(), ROOM)?;
        Ok(own)
    }

    fn fd(&self) -> &Socket {
        &self.socket
    }

    /// The number of the next request.
    pub(crate) fn next(&self) -> u32 {
        self.sequence
    }

    /// Sends a batch and waits until it is done. The outer error is that of the conversation.
    pub(crate) fn send(
        &mut self,
        bytes: &[u8],
        numbers: RangeInclusive<u32>,
    ) -> io::Result<Result<(), Refused>> {
        // The kernel takes a batch in one piece, which must fit.
        let room = bytes.len().saturating_mul(2).max(ROOM);
        let forced = sockopt::set_socket_send_buffer_size_force(self.fd(), room);
        forced.or_else(|_| sockopt::set_socket_send_buffer_size(self.fd(), room))?;
        let (first, last) = (*numbers.start(), *numbers.end());
        self.sequence = last.wrapping_add(2);
        self.socket.send(bytes, 0)?;
        let mut refused: Option<Refused> = None;
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            let mut rest = datagram.as_slice();
            while !rest.is_empty() {
                let answer = NetlinkBuffer::new_checked(rest)
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
                let at = answer.sequence_number().wrapping_sub(first);
                // One of an earlier batch that was given up.
                if answer.message_type() == NLMSG_ERROR && at <= last.wrapping_sub(first) {
                    let code = answer.payload().get(..4).and_then(|code| code.try_into().ok());
                    let code = code.map(i32::from_ne_bytes).ok_or(io::ErrorKind::InvalidData)?;
                    if code != 0 && refused.is_none() {
                        let source = io::Error::from_raw_os_error(code.saturating_neg());
                        refused = Some(Refused { at: at as usize, source });
                    }
                    // The beginning alone is refused where the right to do it is missing.
                    if answer.sequence_number() == last || (at == 0 && code != 0) {
                        return Ok(refused.map_or(Ok(()), Err));
                    }
                }
                // Messages are padded to four bytes (NLMSG_ALIGN).
                let length = (answer.length() as usize).next_multiple_of(4).max(4);
                rest = rest.get(length..).unwrap_or_default();
            }
        }
    }

    /// Tells of all flows of IPv4 that the kernel has in mind: their attributes.
    pub(crate) fn list_flows(&mut self, mut tell: impl FnMut(&[u8])) -> io::Result<()> {
        let number = self.request(LIST_FLOWS, NLM_F_DUMP, &[])?;
        self.receive(number, |kind, payload| {
            if kind == NEW_FLOW {
                tell(payload.get(FAMILY..).unwrap_or_default());
            }
        })
    }

    /// Has the kernel forget a flow, given one attribute that says which. One that is gone needs nothing.
    pub(crate) fn delete_flow(&mut self, kind: u16, value: &[u8]) -> io::Result<()> {
        let mut attribute = Vec::new();
        Attributes::new(&mut attribute).bytes(kind | NESTED, value);
        let number = self.request(DELETE_FLOW, NLM_F_ACK, &attribute)?;
        match self.receive(number, |_, _| {}) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    /// Sends one request about IPv4, and gives its number.
    fn request(&mut self, kind: u16, flags: u16, attributes: &[u8]) -> io::Result<u32> {
        let number = self.sequence;
        self.sequence = number.wrapping_add(1);
        let length = u32::try_from(HEADER + FAMILY + attributes.len()).unwrap_or(u32::MAX);
        let mut bytes = Vec::new();
        bytes.extend(length.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend((NLM_F_REQUEST | flags).to_ne_bytes());
        bytes.extend(number.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend([IPV4, 0, 0, 0]);
        bytes.extend(attributes);
        self.socket.send(&bytes, 0)?;
        Ok(number)
    }

    /// Takes the answers to a request, until the last.
    fn receive(&mut self, number: u32, mut tell: impl FnMut(u16, &[u8])) -> io::Result<()> {
        loop {
            let (datagram, _) = self.socket.recv_from_full()?;
            let mut rest = datagram.as_slice();
            while !rest.is_empty() {
                let answer = NetlinkBuffer::new_checked(rest)
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
                if answer.sequence_number() == number {
                    let code = answer.payload().get(..4).and_then(|code| code.try_into().ok());
                    match (answer.message_type(), code.map(i32::from_ne_bytes)) {
                        (NLMSG_DONE, _) | (NLMSG_ERROR, Some(0)) => return Ok(()),
                        (NLMSG_ERROR, code) => {
                            let code = code.unwrap_or(0).saturating_neg();
                            return Err(io::Error::from_raw_os_error(code));
                        }
                        (kind, _) => tell(kind, answer.payload()),
                    }
                }
                // Messages are padded to four bytes (NLMSG_ALIGN).
                let length = (answer.length() as usize).next_multiple_of(4).max(4);
                rest = rest.get(length..).unwrap_or_default();
            }
        }
    }
}
