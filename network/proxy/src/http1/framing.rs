//! Where a message's body ends (RFC 9112 sections 6 and 7): the decoder takes body bytes out of a read buffer.

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use thiserror::Error;

/// The longest line with a chunk's size and extensions.
const CHUNK_LINE: usize = 1024;
/// The largest trailer section.
const TRAILER_BYTES: usize = 16 * 1024;
/// The most trailers.
const TRAILER_COUNT: usize = 64;

/// How much of a body is still to come.
#[derive(Debug)]
pub(crate) enum Decoder {
    Length(u64),
    Chunked(Chunk),
    /// A response that ends with its connection.
    UntilClose,
    Done,
}

#[derive(Debug)]
pub(crate) enum Chunk {
    Size,
    Data(u64),
    DataEnd,
    Trailers,
}

/// What the decoder found in the buffer.
#[derive(Debug, PartialEq)]
pub(crate) enum Decoded {
    Data(Bytes),
    Trailers(HeaderMap),
    /// The buffer must be filled first.
    More,
    End,
}

/// Why a body's framing is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum FramingError {
    #[error("a chunk does not begin with its size in hexadecimal and end with CRLF")]
    Chunk,
    #[error("the line of a chunk's size is longer than {CHUNK_LINE} bytes")]
    ChunkLine,
    #[error("the trailers are malformed, or larger than {TRAILER_BYTES} bytes or {TRAILER_COUNT} fields")]
    Trailers,
}

impl Decoder {
    pub(crate) fn chunked() -> Self {
        Self::Chunked(Chunk::Size)
    }

    /// A body of this length; of none, nothing is to come.
    pub(crate) fn length(length: u64) -> Self {
        if length == 0 { Self::Done } else { Self::Length(length) }
    }

    pub(crate) fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// The length still to come, if it is known.
    pub(crate) fn left(&self) -> Option<u64> {
        match self {
            Self::Length(left) => Some(*left),
            Self::Done => Some(0),
            Self::Chunked(_) | Self::UntilClose => None,
        }
    }

    /// Takes the next piece out of the buffer.
    pub(crate) fn decode(&mut self, buffer: &mut BytesMut) -> Result<Decoded, FramingError> {
        loop {
            match self {
                Self::Done => return Ok(Decoded::End),
                Self::UntilClose if buffer.is_empty() => return Ok(Decoded::More),
                Self::UntilClose => return Ok(Decoded::Data(buffer.split().freeze())),
                Self::Length(left) => {
                    let Some(data) = take(buffer, left) else { return Ok(Decoded::More) };
                    if *left == 0 {
                        *self = Self::Done;
                    }
                    return Ok(Decoded::Data(data));
                }
                Self::Chunked(Chunk::Data(left)) => {
                    let Some(data) = take(buffer, left) else { return Ok(Decoded::More) };
                    if *left == 0 {
                        *self = Self::Chunked(Chunk::DataEnd);
                    }
                    return Ok(Decoded::Data(data));
                }
                Self::Chunked(Chunk::Size) => {
                    let Some(size) = chunk_size(buffer)? else { return Ok(Decoded::More) };
                    *self = Self::Chunked(if size == 0 { Chunk::Trailers } else { Chunk::Data(size) });
                }
                Self::Chunked(Chunk::DataEnd) => match buffer.get(..2) {
                    Some(b"\r\n") => {
                        buffer.advance(2);
                        *self = Self::Chunked(Chunk::Size);
                    }
                    None if buffer.first().is_none_or(|byte| *byte == b'\r') => return Ok(Decoded::More),
                    _ => return Err(FramingError::Chunk),
                },
                Self::Chunked(Chunk::Trailers) => {
                    let Some(trailers) = trailers(buffer)? else { return Ok(Decoded::More) };
                    *self = Self::Done;
                    return Ok(if trailers.is_empty() { Decoded::End } else { Decoded::Trailers(trailers) });
                }
            }
        }
    }

    /// After the last data of a chunked body, takes an end that has arrived with it, so that the message is known
    /// to be whole before more is read.
    pub(crate) fn settle(&mut self, buffer: &mut BytesMut) {
        if let Self::Chunked(Chunk::DataEnd) = self
            && buffer.starts_with(b"\r\n0\r\n\r\n")
        {
            buffer.advance(7);
            *self = Self::Done;
        }
    }
}

fn take(buffer: &mut BytesMut, left: &mut u64) -> Option<Bytes> {
    if buffer.is_empty() {
        return None;
    }
    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
    *left -= length as u64;
    Some(buffer.split_to(length).freeze())
}

/// The size line of a chunk; its extensions are dropped, as RFC 9112 section 7.1.1 allows.
fn chunk_size(buffer: &mut BytesMut) -> Result<Option<u64>, FramingError> {
    let seen = &buffer[..buffer.len().min(CHUNK_LINE)];
    let Some(end) = memchr::memchr(b'\n', seen) else {
        return if seen.len() == CHUNK_LINE { Err(FramingError::ChunkLine) } else { Ok(None) };
    };
    let line = seen[..end].strip_suffix(b"\r").ok_or(FramingError::Chunk)?;
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let rest = &line[digits..];
    let extension = rest.iter().find(|byte| !matches!(byte, b' ' | b'\t'));
    if digits == 0 || digits > 15 || extension.is_some_and(|byte| *byte != b';') || rest.contains(&b'\r') {
        return Err(FramingError::Chunk);
    }
    let size = line[..digits].iter().fold(0, |size, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            _ => (digit | 0x20) - b'a' + 10,
        };
        size << 4 | u64::from(value)
    });
    buffer.advance(end + 1);
    Ok(Some(size))
}

fn trailers(buffer: &mut BytesMut) -> Result<Option<HeaderMap>, FramingError> {
    if buffer.starts_with(b"\r\n") {
        buffer.advance(2);
        return Ok(Some(HeaderMap::new()));
    }
    let Some(end) = memchr::memmem::find(buffer, b"\r\n\r\n") else {
        return if buffer.len() > TRAILER_BYTES { Err(FramingError::Trailers) } else { Ok(None) };
    };
    if end > TRAILER_BYTES {
        return Err(FramingError::Trailers);
    }
    let section = buffer.split_to(end + 4).freeze();
    // As in heads, a bare LF is what another parser may take otherwise.
    let bare = |at: usize| at.checked_sub(1).and_then(|before| section.get(before)) != Some(&b'\r');
    if memchr::memchr_iter(b'\n', &section).any(bare) {
        return Err(FramingError::Trailers);
    }
    let mut parsed = [httparse::EMPTY_HEADER; TRAILER_COUNT];
    let fields = match httparse::parse_headers(&section, &mut parsed) {
        Ok(httparse::Status::Complete((read, fields))) if read == section.len() => fields,
        _ => return Err(FramingError::Trailers),
    };
    let mut trailers = HeaderMap::with_capacity(fields.len());
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| FramingError::Trailers)?;
        let value = HeaderValue::from_bytes(field.value).map_err(|_| FramingError::Trailers)?;
        if may_trail(&name) {
            trailers.append(name, value);
        }
    }
    Ok(Some(trailers))
}

/// RFC 9110 section 6.5.1: what frames, routes or authenticates a message does not take effect after it.
fn may_trail(name: &HeaderName) -> bool {
    ![
        header::TRANSFER_ENCODING,
        header::CONTENT_LENGTH,
        header::HOST,
        header::CONNECTION,
        header::TE,
        header::TRAILER,
        header::UPGRADE,
        header::AUTHORIZATION,
        header::PROXY_AUTHORIZATION,
        header::COOKIE,
        header::SET_COOKIE,
        header::CONTENT_ENCODING,
        header::CONTENT_TYPE,
        header::CONTENT_RANGE,
    ]
    .contains(name)
}

#[cfg(test)]
mod tests;
