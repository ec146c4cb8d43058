//! Frames on the wire (SPDY/3.1, section 2.2).

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::Error;

/// The longest frame that is taken. Clients send 32 KiB at a time.
const LONGEST: usize = 1 << 20;
const HEAD: usize = 8;
const VERSION: u16 = 3;
/// The sender sends no more on the stream.
pub(super) const FIN: u8 = 1;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const HEADERS: u16 = 8;

/// Why a stream is reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reset {
    Protocol = 1,
    Refused = 3,
    Cancel = 5,
}

/// A frame that means something here; others, such as settings, are passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    Open {
        stream: u32,
        last: bool,
        headers: Bytes,
    },
    Reply {
        stream: u32,
        headers: Bytes,
    },
    /// More headers of a stream. They change what compression knows, so they cannot be passed over.
    Headers {
        stream: u32,
        last: bool,
        headers: Bytes,
    },
    Data {
        stream: u32,
        last: bool,
        data: Bytes,
    },
    Reset {
        stream: u32,
        code: u32,
    },
    Ping(u32),
    GoAway,
}

/// Takes the next frame out of what was received; none where more is needed.
pub(super) fn take(buffer: &mut BytesMut) -> Result<Option<Frame>, Error> {
    while let Some(head) = buffer.first_chunk::<HEAD>() {
        let [a, b, c, d, flags, lengths @ ..] = *head;
        let length = u32::from_be_bytes([0, lengths[0], lengths[1], lengths[2]]) as usize;
        if length > LONGEST {
            return Err(Error::Protocol(format!("a frame of {length} bytes; the most is {LONGEST}")));
        }
        if buffer.len() < HEAD + length {
            buffer.reserve(HEAD + length - buffer.len());
            return Ok(None);
        }
        buffer.advance(HEAD);
        let body = buffer.split_to(length).freeze();
        let last = flags & FIN != 0;
        if a & 0x80 == 0 {
            let stream = u32::from_be_bytes([a, b, c, d]);
            return Ok(Some(Frame::Data { stream, last, data: body }));
        }
        let version = u16::from_be_bytes([a & 0x7f, b]);
        if version != VERSION {
            return Err(Error::Protocol(format!("a frame of SPDY version {version}; 3 is spoken here")));
        }
        if let Some(frame) = control(u16::from_be_bytes([c, d]), last, body)? {
            return Ok(Some(frame));
        }
    }
    Ok(None)
}

fn control(kind: u16, last: bool, mut body: Bytes) -> Result<Option<Frame>, Error> {
    let needed = match kind {
        SYN_STREAM => 10,
        RST_STREAM | GOAWAY => 8,
        SYN_REPLY | HEADERS | PING => 4,
        _ => return Ok(None),
    };
    if body.len() < needed {
        return Err(Error::Protocol(format!("a frame of type {kind} with {} bytes", body.len())));
    }
    let first = body.get_u32();
    let stream = first & 0x7fff_ffff;
    Ok(Some(match kind {
        SYN_STREAM => {
            // The stream that it belongs to, its priority and its slot, which say nothing here.
            body.advance(6);
            Frame::Open { stream, last, headers: body }
        }
        SYN_REPLY => Frame::Reply { stream, headers: body },
        HEADERS => Frame::Headers { stream, last, headers: body },
        RST_STREAM => Frame::Reset { stream, code: body.get_u32() },
        PING => Frame::Ping(first),
        _ => Frame::GoAway,
    }))
}

impl Frame {
    /// Appends the frame's bytes. Data and headers are below 2^24 bytes.
    pub(super) fn put(&self, to: &mut BytesMut) {
        let flag = |last: bool| if last { FIN } else { 0 };
        let mut control = |kind: u16, flags: u8, length: usize| {
            to.put_u16(0x8000 | VERSION);
            to.put_u16(kind);
            to.put_u32(u32::from(flags) << 24 | length as u32);
        };
        match self {
            Self::Open { stream, last, headers } => {
                control(SYN_STREAM, flag(*last), headers.len() + 10);
                to.put_u32(*stream);
                to.put_bytes(0, 6);
                to.put_slice(headers);
            }
            Self::Reply { stream, headers } => {
                control(SYN_REPLY, 0, headers.len() + 4);
                to.put_u32(*stream);
                to.put_slice(headers);
            }
            Self::Headers { stream, last, headers } => {
                control(HEADERS, flag(*last), headers.len() + 4);
                to.put_u32(*stream);
                to.put_slice(headers);
            }
            Self::Data { stream, last, data } => {
                to.put_u32(*stream);
                to.put_u32(u32::from(flag(*last)) << 24 | data.len() as u32);
                to.put_slice(data);
            }
            Self::Reset { stream, code } => {
                control(RST_STREAM, 0, 8);
                to.put_u32(*stream);
                to.put_u32(*code);
            }
            Self::Ping(id) => {
                control(PING, 0, 4);
                to.put_u32(*id);
            }
            Self::GoAway => {
                control(GOAWAY, 0, 8);
                to.put_bytes(0, 8);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame() -> impl Strategy<Value = Frame> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from);
        let stream = || 0..0x8000_0000_u32;
        prop_oneof![
            (stream(), any::<bool>(), bytes()).prop_map(|(stream, last, headers)| Frame::Open {
                stream,
                last,
                headers
            }),
            (stream(), bytes()).prop_map(|(stream, headers)| Frame::Reply { stream, headers }),
            (stream(), any::<bool>(), bytes()).prop_map(|(stream, last, headers)| Frame::Headers {
                stream,
                last,
                headers
            }),
            (stream(), any::<bool>(), bytes()).prop_map(|(stream, last, data)| Frame::Data {
                stream,
                last,
                data
            }),
            (stream(), any::<u32>()).prop_map(|(stream, code)| Frame::Reset { stream, code }),
            any::<u32>().prop_map(Frame::Ping),
            Just(Frame::GoAway),
        ]
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in(frames in proptest::collection::vec(frame(), 1..8), cut in 1..64_usize) {
            let mut wire = BytesMut::new();
            frames.iter().for_each(|frame| frame.put(&mut wire));
            let (mut buffer, mut seen) = (BytesMut::new(), Vec::new());
            for piece in wire.chunks(cut) {
                buffer.extend_from_slice(piece);
                while let Some(frame) = take(&mut buffer).unwrap() {
                    seen.push(frame);
                }
            }
            prop_assert_eq!(seen, frames);
            prop_assert!(buffer.is_empty());
        }

        #[test]
        fn no_bytes_break_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut buffer = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = take(&mut buffer) {}
        }
    }

    #[test]
    fn a_frame_too_long_is_refused_before_it_is_there() {
        let mut buffer = BytesMut::from(&[0_u8, 0, 0, 1, 0, 0xff, 0xff, 0xff][..]);
        assert!(take(&mut buffer).is_err());
    }

    #[test]
    fn settings_are_passed_over() {
        let mut buffer = BytesMut::from(&[0x80_u8, 3, 0, 4, 0, 0, 0, 4, 0, 0, 0, 0][..]);
        Frame::Ping(7).put(&mut buffer);
        assert_eq!(take(&mut buffer).unwrap(), Some(Frame::Ping(7)));
    }
}
