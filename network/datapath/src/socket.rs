//! The conversation with the kernel's netfilter (netlink(7), NETLINK_NETFILTER): a batch goes out, and what became of it
//! comes back. It acts in the network namespace of the thread that opened it.

use std::io;
use std::ops::RangeInclusive;
use std::time::Duration;

use netlink_packet_core::{NLMSG_ERROR, NetlinkBuffer};
use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};
use rustix::net::sockopt;

/// How long the kernel may take for a batch.
const ANSWER: Duration = Duration::from_secs(30);
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
}
