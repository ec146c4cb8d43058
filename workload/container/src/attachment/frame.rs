//! What a monitor and those who are attached to its container say to each other, over a socket in the container's
//! directory:
//!
//! ```text
//! attached                       monitor
//!   Join: which streams      →
//!                            ←   Joined: what is said from now on comes
//!   Input, Size …            ⇄   Output …
//!   InputEnd, once there is no more to type
//!                            ←   (end: the container has ended, or all that was typed has been read)
//! ```
//!
//! Each is a byte that says what it is, the length of the rest in four bytes, the most significant first, and the rest.

use std::io;

use crate::{log::Stream, terminal::TerminalSize};

/// The longest that the rest of one is.
pub(crate) const LONGEST: usize = 32 << 10;
const HEAD: usize = 5;

const STDIN: u8 = 1;
const STDOUT: u8 = 2;
const STDERR: u8 = 4;

/// Which streams of a container's first process one wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Streams {
    /// To write what it reads.
    pub stdin: bool,
    /// To read what it writes; all of it, where it has a terminal.
    pub stdout: bool,
    /// To read what it complains of.
    pub stderr: bool,
}

impl Streams {
    /// Whether it wants what is said on this one.
    pub(crate) fn hears(self, stream: Stream) -> bool {
        match stream {
            Stream::Stdout => self.stdout,
            Stream::Stderr => self.stderr,
        }
    }
}

/// One thing that is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame<'a> {
    Join(Streams),
    Joined,
    Input(&'a [u8]),
    InputEnd,
    Size(TerminalSize),
    Output(Stream, &'a [u8]),
}

impl<'a> Frame<'a> {
    /// Appends it to `bytes`. What it carries must not be longer than [`LONGEST`].
    pub(crate) fn write(self, bytes: &mut impl Extend<u8>) {
        let mut own = [0; 4];
        let (kind, rest): (u8, &[u8]) = match self {
            Self::Join(streams) => {
                let chosen = [(streams.stdin, STDIN), (streams.stdout, STDOUT), (streams.stderr, STDERR)];
                own[0] = chosen.iter().filter(|(wanted, _)| *wanted).map(|(_, bit)| bit).sum();
                (0, &own[..1])
            }
            Self::Joined => (1, &[]),
            Self::Input(typed) => (2, typed),
            Self::InputEnd => (3, &[]),
            Self::Size(TerminalSize { rows, columns }) => {
                own[..2].copy_from_slice(&rows.to_be_bytes());
                own[2..].copy_from_slice(&columns.to_be_bytes());
                (4, &own)
            }
            Self::Output(Stream::Stdout, said) => (5, said),
            Self::Output(Stream::Stderr, said) => (6, said),
        };
        let length = u32::try_from(rest.len()).unwrap_or(u32::MAX);
        bytes.extend([kind].into_iter().chain(length.to_be_bytes()));
        bytes.extend(rest.iter().copied());
    }

    fn read(kind: u8, rest: &'a [u8]) -> Option<Self> {
        Some(match (kind, rest) {
            (0, [chosen]) => Self::Join(Streams {
                stdin: chosen & STDIN != 0,
                stdout: chosen & STDOUT != 0,
                stderr: chosen & STDERR != 0,
            }),
            (1, []) => Self::Joined,
            (2, typed) => Self::Input(typed),
            (3, []) => Self::InputEnd,
            (4, [rows_high, rows_low, columns_high, columns_low]) => Self::Size(TerminalSize {
                rows: u16::from_be_bytes([*rows_high, *rows_low]),
                columns: u16::from_be_bytes([*columns_high, *columns_low]),
            }),
            (5, said) => Self::Output(Stream::Stdout, said),
            (6, said) => Self::Output(Stream::Stderr, said),
            _ => return None,
        })
    }
}

/// Puts together what comes in pieces cut anywhere.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    bytes: Vec<u8>,
    /// How many of the bytes were given out.
    at: usize,
}

impl Frames {
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        self.bytes.drain(..std::mem::take(&mut self.at));
        self.bytes.extend_from_slice(bytes);
    }

    /// The next one that is whole.
    pub(crate) fn next(&mut self) -> io::Result<Option<Frame<'_>>> {
        let malformed = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        let Some((head, rest)) = self.bytes[self.at..].split_first_chunk::<HEAD>() else { return Ok(None) };
        let [kind, length @ ..] = *head;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > LONGEST {
            return Err(malformed(format!("a frame of {length} bytes; the limit is {LONGEST}")));
        }
        let Some(rest) = rest.get(..length) else { return Ok(None) };
        self.at += HEAD + length;
        let frame = Frame::read(kind, rest);
        frame.map(Some).ok_or_else(|| malformed(format!("a frame of kind {kind} and {length} bytes")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_anywhere_is_put_together_again() {
        let frames = [
            Frame::Join(Streams { stdin: true, stdout: false, stderr: true }),
            Frame::Joined,
            Frame::Input(b"typed\n"),
            Frame::InputEnd,
            Frame::Size(TerminalSize { rows: 33, columns: 1099 }),
            Frame::Output(Stream::Stdout, b"said"),
            Frame::Output(Stream::Stderr, b""),
        ];
        let mut bytes = Vec::new();
        frames.iter().for_each(|frame| frame.write(&mut bytes));
        for piece in [1, 2, 7, bytes.len()] {
            let (mut read, mut seen) = (Frames::default(), 0);
            for piece in bytes.chunks(piece) {
                read.take(piece);
                while let Some(frame) = read.next().unwrap() {
                    assert_eq!(frame, frames[seen]);
                    seen += 1;
                }
            }
            assert_eq!(seen, frames.len());
        }
    }

    #[test]
    fn rubbish_is_refused_before_it_is_kept() {
        let long = u32::try_from(LONGEST + 1).unwrap().to_be_bytes();
        for bytes in [&[2, long[0], long[1], long[2], long[3]][..], &[9, 0, 0, 0, 0], &[4, 0, 0, 0, 1, 0]] {
            let mut frames = Frames::default();
            frames.take(bytes);
            assert!(frames.next().is_err(), "{bytes:?}");
        }
    }
}
