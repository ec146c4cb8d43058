//! SPDY's frames and blocks of headers under random and mutated bytes.

use bytes::{Bytes, BytesMut};
use flate2::{Compress, Compression, FlushCompress};
use xebec_dice::{Dice, rounds};

use super::frame::{Frame, Reset, take};
use super::headers::{Deflater, Inflater};

/// No block of headers that is taken is longer than this.
const LONGEST_BLOCK: usize = 64 << 10;

/// What a client says on one connection, most of which makes sense.
pub(crate) fn conversation(dice: &mut Dice) -> Vec<u8> {
    const KINDS: [&str; 7] = ["stdin", "stdout", "stderr", "error", "resize", "data", "odd"];
    let (mut deflater, mut wire) = (Deflater::new(), BytesMut::new());
    let mut headers = |dice: &mut Dice| -> Bytes {
        if dice.once_in(12) {
            return dice.bytes(60).into();
        }
        let (kind, port, request) =
            (*dice.pick(&KINDS), *dice.pick(&["80", "0", "65536", "x"]), *dice.pick(&["", "1", "2"]));
        deflater.write(&[("streamType", kind), ("port", port), ("requestID", request)]).unwrap()
    };
    for _ in 0..dice.below(40) {
        let (stream, last) = (dice.below(14) as u32, dice.once_in(5));
        let frame = match dice.below(10) {
            0..=2 => Frame::Open { stream, last, headers: headers(dice) },
            3 => Frame::Reply { stream, headers: headers(dice) },
            4 => Frame::Headers { stream, last, headers: headers(dice) },
            5..=7 => Frame::Data { stream, last, data: dice.bytes(300).into() },
            8 => Frame::Reset { stream, code: Reset::Cancel as u32 },
            _ if dice.once_in(8) => Frame::GoAway,
            _ => Frame::Ping(dice.number() as u32),
        };
        frame.put(&mut wire);
    }
    wire.to_vec()
}

/// All frames until the bytes end or make no sense, and what is said of those then.
fn frames<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Frame>, Option<String>) {
    let (mut buffer, mut found) = (BytesMut::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match take(&mut buffer) {
                Ok(Some(frame)) => found.push(frame),
                Ok(None) => break,
                Err(why) => return (found, Some(why.to_string())),
            }
        }
    }
    (found, None)
}

#[test]
fn fuzz_spdy_frames() {
    rounds("spdy_frames", |dice| {
        let mut bytes = if dice.once_in(4) { dice.bytes(400) } else { conversation(dice) };
        if dice.once_in(2) {
            bytes = dice.mutated(bytes);
        }
        let whole = frames([&bytes[..]].into_iter());
        let size = 1 + dice.below(50);
        assert_eq!(frames(bytes.chunks(size)), whole, "cut into {size} bytes each: {bytes:?}");
        let mut again = BytesMut::new();
        whole.0.iter().for_each(|frame| frame.put(&mut again));
        assert_eq!(
            frames([&again[..]].into_iter()),
            (whole.0, None),
            "what was read is written and read again"
        );
    });
}

/// The bytes of that many times one byte, as zlib packs them, without their head where another block was before.
fn bomb(dice: &mut Dice, length: usize) -> Vec<u8> {
    let mut deflate = Compress::new(Compression::best(), true);
    let mut block = Vec::with_capacity(length / 100 + 1_000);
    let plain = vec![dice.number().to_le_bytes()[0]; length];
    deflate.compress_vec(&plain, &mut block, FlushCompress::Sync).unwrap();
    block
}

#[test]
fn fuzz_spdy_header_blocks() {
    rounds("spdy_header_blocks", |dice| {
        let (mut deflater, mut inflater) = (Deflater::new(), Inflater::new());
        for _ in 0..dice.below(12) {
            let name = "name".repeat(dice.below(20));
            let value = String::from_utf8_lossy(&dice.bytes(200)).into_owned();
            let plain = vec![(name.as_str(), value.as_str()); dice.below(20)];
            let block = deflater.write(&plain).unwrap().to_vec();
            let is_whole = !dice.once_in(4);
            let block = match dice.below(6) {
                _ if is_whole => block,
                0 => dice.bytes(100),
                1 => {
                    let length = dice.below(4 << 20);
                    bomb(dice, length)
                }
                _ => dice.mutated(block),
            };
            match inflater.read(&block) {
                Ok(read) => {
                    let length: usize = read.iter().map(|(name, value)| 8 + name.len() + value.len()).sum();
                    assert!(length <= LONGEST_BLOCK, "{} bytes became {length}", block.len());
                    assert!(!is_whole || read.len() == plain.len(), "{read:?} of {plain:?}");
                }
                // What builds on a block that was not understood is not either.
                Err(_) => {
                    assert!(!is_whole, "{plain:?}");
                    return;
                }
            }
            if !is_whole {
                return;
            }
        }
    });
}
