//! What a guest prints, cut into lines.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::{
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamResult},
};

/// Which of a guest's two streams a line came by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error; also what the host itself has to say about the guest.
    Stderr,
}

/// Where a workload's lines go.
///
/// It is called on the guest's own path and must not block: hand the line on, or drop it.
pub trait LogSink: Send + Sync + 'static {
    /// Takes one line, without its line feed. A line of more than [`MAX_LINE`] bytes comes in pieces; bytes that are not
    /// UTF-8 are replaced.
    fn line(&self, stream: Stream, line: &str);
}

impl<F: Fn(Stream, &str) + Send + Sync + 'static> LogSink for F {
    fn line(&self, stream: Stream, line: &str) {
        self(stream, line);
    }
}

/// The longest line that reaches a sink in one piece.
pub const MAX_LINE: usize = 16 * 1024;

/// Upper bound of what a guest may write at once.
const WRITE_BUDGET: usize = 64 * 1024;

/// One stream of one instance. Clones share the unfinished line, which goes out when the last of them is dropped.
#[derive(Clone)]
pub(crate) struct LineStream(Arc<Lines>);

struct Lines {
    sink: Arc<dyn LogSink>,
    stream: Stream,
    unfinished: Mutex<Vec<u8>>,
}

impl LineStream {
    pub(crate) fn new(sink: Arc<dyn LogSink>, stream: Stream) -> Self {
        Self(Arc::new(Lines { sink, stream, unfinished: Mutex::new(Vec::new()) }))
    }

    /// Sends the unfinished line out as it is.
    pub(crate) fn flush_line(&self) {
        self.0.flush_line();
    }

    fn push(&self, bytes: &[u8]) {
        self.0.push(bytes);
    }
}

impl Lines {
    fn push(&self, bytes: &[u8]) {
        let mut unfinished = self.unfinished.lock().unwrap_or_else(PoisonError::into_inner);
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            let (text, ends) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            if ends && unfinished.is_empty() && text.len() <= MAX_LINE {
                self.send(text);
                continue;
            }
            self.extend(&mut unfinished, text);
            if ends {
                self.send(&unfinished);
                unfinished.clear();
            }
        }
    }

    /// Adds to the unfinished line, sending a piece whenever it is as long as a line may be.
    fn extend(&self, unfinished: &mut Vec<u8>, mut text: &[u8]) {
        while unfinished.len() + text.len() > MAX_LINE {
            let (fits, rest) = text.split_at(MAX_LINE - unfinished.len());
            unfinished.extend_from_slice(fits);
            self.send(unfinished);
            unfinished.clear();
            text = rest;
        }
        unfinished.extend_from_slice(text);
    }

    fn send(&self, line: &[u8]) {
        self.sink.line(self.stream, &String::from_utf8_lossy(line));
    }

    fn flush_line(&self) {
        let mut unfinished = self.unfinished.lock().unwrap_or_else(PoisonError::into_inner);
        if !unfinished.is_empty() {
            self.send(&unfinished);
            unfinished.clear();
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.flush_line();
    }
}

impl IsTerminal for LineStream {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for LineStream {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

impl OutputStream for LineStream {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.push(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WRITE_BUDGET)
    }
}

#[async_trait::async_trait]
impl Pollable for LineStream {
    async fn ready(&mut self) {}
}

impl AsyncWrite for LineStream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let taken = bytes.len().min(WRITE_BUDGET);
        self.push(&bytes[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(writes: &[&[u8]]) -> Vec<String> {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = {
            let lines = lines.clone();
            Arc::new(move |_: Stream, line: &str| lines.lock().unwrap().push(line.to_owned()))
        };
        let stream = LineStream::new(sink, Stream::Stdout);
        for bytes in writes {
            stream.push(bytes);
        }
        drop(stream);
        Arc::into_inner(lines).unwrap().into_inner().unwrap()
    }

    #[test]
    fn writes_are_cut_at_line_feeds_wherever_they_fall() {
        assert_eq!(recorded(&[b"one\ntw", b"o\n\nthr", b"ee\n"]), ["one", "two", "", "three"]);
    }

    #[test]
    fn an_unfinished_line_goes_out_at_the_end() {
        assert_eq!(recorded(&[b"first\nlast words"]), ["first", "last words"]);
    }

    #[test]
    fn a_line_without_end_comes_in_pieces() {
        let lines = recorded(&[&vec![b'x'; MAX_LINE + 10], b"y\n", b"z\n"]);
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0].len(), MAX_LINE);
        assert_eq!(lines[1], format!("{}y", "x".repeat(10)));
        assert_eq!(lines[2], "z");
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        assert_eq!(recorded(&[b"a\xffb\n"]), ["a\u{fffd}b"]);
    }
}
