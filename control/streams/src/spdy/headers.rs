//! Blocks of names and values, compressed over the life of a connection (SPDY/3, section 2.6.10).

use bytes::{Buf, BufMut, Bytes};
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::dictionary::dictionary;
use crate::Error;

/// The most that a block may be once it is decompressed.
const LONGEST: usize = 64 << 10;
/// The bytes before the first compressed ones: method and flags, then the dictionary's sum where the flags say so.
const ZLIB_HEAD: usize = 2;
const DICTIONARY_FLAG: u8 = 0x20;

/// The names, in lower case, and values of a stream.
pub(crate) type Headers = Vec<(String, String)>;

/// Reads the blocks of one connection, in their order.
pub(super) struct Inflater {
    inflate: Decompress,
    started: bool,
}

impl Inflater {
    pub(super) fn new() -> Self {
        Self { inflate: Decompress::new(false), started: false }
    }

    pub(super) fn read(&mut self, block: &[u8]) -> Result<Headers, Error> {
        let block = if self.started { block } else { self.start(block)? };
        let plain = self.inflate(block)?;
        parse(plain.into())
            .ok_or_else(|| Error::Protocol("a block of headers whose lengths do not fit".into()))
    }

    /// Reads zlib's head. A block that builds on the dictionary finds it as if it had come over the wire.
    fn start<'a>(&mut self, block: &'a [u8]) -> Result<&'a [u8], Error> {
        let short = || Error::Protocol("a first block of headers that is no zlib stream".into());
        let (head, mut rest) = block.split_at_checked(ZLIB_HEAD).ok_or_else(short)?;
        if head[0] & 0x0f != 8 || u16::from_be_bytes([head[0], head[1]]) % 31 != 0 {
            return Err(short());
        }
        if head[1] & DICTIONARY_FLAG != 0 {
            rest = rest.get(4..).ok_or_else(short)?;
            let words = dictionary();
            // A stored block that is not the last: its type, its length and the length's complement.
            let length = words.len() as u16;
            let mut stored = vec![0];
            stored.extend(length.to_le_bytes());
            stored.extend((!length).to_le_bytes());
            stored.extend(words);
            self.inflate(&stored)?;
        }
        self.started = true;
        Ok(rest)
    }

    fn inflate(&mut self, mut from: &[u8]) -> Result<Vec<u8>, Error> {
        let mut plain = Vec::with_capacity(4096);
        loop {
            let (read, written) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self
                .inflate
                .decompress_vec(from, &mut plain, FlushDecompress::Sync)
                .map_err(|error| Error::Protocol(format!("headers that cannot be decompressed: {error}")))?;
            // Both differences are lengths of slices.
            from = &from[(self.inflate.total_in() - read) as usize..];
            let progress = self.inflate.total_in() > read || self.inflate.total_out() > written;
            if plain.len() > LONGEST {
                return Err(Error::Protocol(format!("headers of more than {LONGEST} bytes")));
            }
            let full = plain.len() == plain.capacity();
            if status == Status::StreamEnd || !progress && !full || from.is_empty() && !full {
                return Ok(plain);
            }
            if full {
                plain.reserve(4096);
            }
        }
    }
}

/// Writes the blocks of one connection, in their order.
pub(super) struct Deflater {
    deflate: Compress,
}

impl Deflater {
    pub(super) fn new() -> Self {
        Self { deflate: Compress::new(Compression::fast(), true) }
    }

    pub(super) fn write(&mut self, headers: &[(&str, &str)]) -> Result<Bytes, Error> {
        let mut plain = Vec::new();
        plain.put_u32(headers.len() as u32);
        for text in headers.iter().flat_map(|(name, value)| [name, value]) {
            plain.put_u32(text.len() as u32);
            plain.put_slice(text.as_bytes());
        }
        // What is stored takes a few bytes more than it is long.
        let mut block = Vec::with_capacity(plain.len() + 256);
        self.deflate
            .compress_vec(&plain, &mut block, FlushCompress::Sync)
            .map_err(|error| Error::Protocol(format!("headers that cannot be compressed: {error}")))?;
        Ok(block.into())
    }
}

/// Names and values behind their lengths; none where these do not fit.
fn parse(mut block: Bytes) -> Option<Headers> {
    let count = block.try_get_u32().ok()?;
    let mut headers = Vec::new();
    for _ in 0..count {
        let mut text = || {
            let length = block.try_get_u32().ok()? as usize;
            (length <= block.len()).then(|| String::from_utf8(block.split_to(length).to_vec()).ok())?
        };
        let (name, value) = (text()?, text()?);
        headers.push((name.to_ascii_lowercase(), value));
    }
    Some(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_build_on_those_before_them() {
        let (mut deflater, mut inflater) = (Deflater::new(), Inflater::new());
        for stream in ["error", "stdin", "stdout", "stderr"] {
            let block = deflater.write(&[("streamType", stream), ("x", &"long ".repeat(40))]).unwrap();
            let read = inflater.read(&block).unwrap();
            assert_eq!(read[0], ("streamtype".to_owned(), stream.to_owned()));
            assert_eq!(read[1].1.len(), 200);
        }
    }

    #[test]
    fn blocks_that_build_on_the_dictionary_are_read() {
        // What Python's zlib makes, with SPDY/3's dictionary, of two blocks in a row.
        let first = b"\x78\xf9\xe3\xc6\xa7\xc2\x02\xe5\x0e\xdc\xe9\x11\x35\x2d\x03\x00\x00\x00\xff\xff";
        let second = b"\x22\xa0\x16\x3d\x99\x03\x00\x00\x00\xff\xff";
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut inflater = Inflater::new();
        assert_eq!(inflater.read(first).unwrap(), [pair("version", "HTTP/1.1"), pair("method", "get")]);
        assert_eq!(inflater.read(second).unwrap(), [pair("version", "HTTP/1.1"), pair("status", "200 OK")]);
    }

    #[test]
    fn a_bomb_is_refused() {
        let mut deflate = Compress::new(Compression::best(), true);
        let mut block = Vec::with_capacity(1 << 20);
        deflate.compress_vec(&vec![0; 10 << 20], &mut block, FlushCompress::Sync).unwrap();
        assert!(Inflater::new().read(&block).is_err());
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        for plain in [vec![0, 0, 0], vec![0, 0, 0, 1, 0, 0, 0, 9, b'a'], vec![0xff; 8]] {
            assert_eq!(parse(plain.into()), None);
        }
        assert!(Inflater::new().read(b"no zlib").is_err());
    }
}
