//! Those who watch a container's first process and type what it reads, as `kubectl attach` does.
//!
//! The process' streams are its monitor's, who reads them for the log and writes what is typed. So whoever attaches asks
//! the monitor, which outlives this program and is found again by the next.

mod frame;

use std::{io, os::fd::AsRawFd as _, path::Path, time::Duration};

use rustix::fs::{CWD, Mode, OFlags, openat};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    time::timeout,
};

pub use frame::Streams;
pub(crate) use frame::{Frame, Frames, LONGEST};

use crate::{Error, error::at, log::Stream, spec::ContainerId, terminal::TerminalSize};

/// The monitor's socket in the container's directory.
pub(crate) const SOCKET: &str = "attach";
/// A monitor lets somebody in within this time.
const JOINING: Duration = Duration::from_secs(10);

/// A place beside a container's first process. Whoever drops either half leaves, and the process goes on.
#[derive(Debug)]
pub struct Attachment {
    /// What it reads.
    pub input: AttachedInput,
    /// What it says, from when this was made.
    pub output: AttachedOutput,
}

/// What a container's first process reads, and how large its terminal is.
#[derive(Debug)]
pub struct AttachedInput {
    socket: OwnedWriteHalf,
    frames: Vec<u8>,
}

/// What a container's first process says.
#[derive(Debug)]
pub struct AttachedOutput {
    socket: OwnedReadHalf,
    frames: Frames,
    buffer: Vec<u8>,
}

impl Attachment {
    /// Asks the monitor of the container in `folder`.
    pub(crate) async fn join(id: &ContainerId, folder: &Path, streams: Streams) -> Result<Self, Error> {
        let path = folder.join(SOCKET);
        let socket = match connect(&path).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::NotAttachable { id: id.to_string() });
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                return Err(Error::State { id: id.to_string(), state: "has ended" });
            }
            connected => connected.map_err(at(&path))?,
        };
        let (read, write) = socket.into_split();
        let mut joined = Self {
            input: AttachedInput { socket: write, frames: Vec::new() },
            output: AttachedOutput { socket: read, frames: Frames::default(), buffer: vec![0; LONGEST] },
        };
        let joining = async {
            match joined.input.tell(&[Frame::Join(streams)]).await {
                // Who is not let in may find the door closed before it has knocked.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset) =>
                {
                    Ok(false)
                }
                told => {
                    told?;
                    joined.output.joined().await
                }
            }
        };
        match timeout(JOINING, joining).await {
            Ok(Ok(true)) => Ok(joined),
            Ok(Ok(false)) => {
                let state = "takes no more who attach, or has ended: let go of others first";
                Err(Error::State { id: id.to_string(), state })
            }
            Ok(Err(error)) => Err(at(&path)(error)),
            Err(_) => Err(at(&path)(io::ErrorKind::TimedOut.into())),
        }
    }
}

impl AttachedInput {
    /// Types. Waits while the process does not read.
    ///
    /// # Errors
    /// When the container has ended.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        for piece in bytes.chunks(LONGEST) {
            self.tell(&[Frame::Input(piece)]).await?;
        }
        Ok(())
    }

    /// Says that there is nothing more to type. Where the first who leaves closes the process' input, that is what it
    /// comes to; otherwise the output ends once all was read, since whoever types no more leaves.
    ///
    /// # Errors
    /// When the container has ended.
    pub async fn end(&mut self) -> io::Result<()> {
        self.tell(&[Frame::InputEnd]).await
    }

    /// Tells the process how large its terminal is from now on, if it has one.
    ///
    /// # Errors
    /// When the container has ended.
    pub async fn resize(&mut self, size: TerminalSize) -> io::Result<()> {
        self.tell(&[Frame::Size(size)]).await
    }

    async fn tell(&mut self, frames: &[Frame<'_>]) -> io::Result<()> {
        self.frames.clear();
        frames.iter().for_each(|frame| frame.write(&mut self.frames));
        self.socket.write_all(&self.frames).await
    }
}

impl AttachedOutput {
    /// What is said next, and on which stream. Nothing once the container has ended, or all that was to be typed has been
    /// read.
    ///
    /// # Errors
    /// When the monitor cannot be understood.
    pub async fn next(&mut self) -> io::Result<Option<(Stream, Vec<u8>)>> {
        loop {
            while let Some(frame) = self.frames.next()? {
                if let Frame::Output(stream, said) = frame {
                    return Ok(Some((stream, said.to_vec())));
                }
            }
            if !self.read().await? {
                return Ok(None);
            }
        }
    }

    /// Waits to be let in. False when that does not come.
    async fn joined(&mut self) -> io::Result<bool> {
        loop {
            if let Some(frame) = self.frames.next()? {
                return Ok(frame == Frame::Joined);
            }
            if !self.read().await? {
                return Ok(false);
            }
        }
    }

    async fn read(&mut self) -> io::Result<bool> {
        match self.socket.read(&mut self.buffer).await {
            Ok(0) => Ok(false),
            // A monitor that ended had not read all that was typed.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(false),
            Err(error) => Err(error),
            Ok(length) => {
                self.frames.take(&self.buffer[..length]);
                Ok(true)
            }
        }
    }
}

/// Connects to a socket whose path may be longer than sockets' addresses are.
async fn connect(path: &Path) -> io::Result<UnixStream> {
    let socket = openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    UnixStream::connect(format!("/proc/self/fd/{}", socket.as_raw_fd())).await
}
