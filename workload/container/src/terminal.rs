//! The terminal of a command: its far end is in the container, and its near end comes here over a socket.

use std::{
    io::{self, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd as _, OwnedFd},
    path::PathBuf,
};

use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    io::fcntl_dupfd_cloexec,
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg},
    termios::{Winsize, tcsetwinsize},
};
use tokio::{
    io::Interest,
    net::{UnixListener, UnixStream, unix::pipe},
};

/// The near end of a terminal. Once the command and all that it started are gone, reading ends (with `EIO`, as the kernel
/// has it, or as a file does).
#[derive(Debug)]
pub struct Terminal {
    /// What is typed.
    pub input: pipe::Sender,
    /// What is shown.
    pub output: pipe::Receiver,
    /// Tells how large it is.
    pub screen: Screen,
}

/// The size of a terminal.
#[derive(Debug)]
pub struct Screen(OwnedFd);

impl Screen {
    /// Changes the size; the command is sent a signal.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn resize(&self, columns: u16, rows: u16) -> io::Result<()> {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        Ok(tcsetwinsize(&self.0, size)?)
    }
}

/// Where the near end is to be sent.
#[derive(Debug)]
pub(crate) struct Port {
    listener: UnixListener,
    /// Holds the socket, which is gone with it.
    folder: tempfile::TempDir,
}

impl Port {
    /// Opens a socket in a directory that nobody else may enter.
    pub(crate) fn open() -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("xebec-terminal-").tempdir()?;
        let listener = UnixListener::bind(folder.path().join("socket"))?;
        Ok(Self { listener, folder })
    }

    /// The socket's path.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// Waits for the near end.
    pub(crate) async fn receive(&self) -> io::Result<Terminal> {
        let (stream, _) = self.listener.accept().await?;
        let near = loop {
            stream.readable().await?;
            match stream.try_io(Interest::READABLE, || take(&stream)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                taken => break taken?,
            }
        };
        let flags = fcntl_getfl(&near)?;
        fcntl_setfl(&near, flags | OFlags::NONBLOCK)?;
        let copy = |near: &OwnedFd| fcntl_dupfd_cloexec(near, 0).map_err(io::Error::from);
        Ok(Terminal {
            input: pipe::Sender::from_owned_fd_unchecked(copy(&near)?)?,
            output: pipe::Receiver::from_owned_fd_unchecked(copy(&near)?)?,
            screen: Screen(near),
        })
    }
}

/// The file descriptor in the next message.
fn take(stream: &UnixStream) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut name = [0; 256];
    recvmsg(stream.as_fd(), &mut [IoSliceMut::new(&mut name)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let received = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut files) => files.next(),
        _ => None,
    });
    received.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no terminal was sent"))
}
