//! The far end of a container's terminal, as the runtime library sends it to who makes the container (runtime-spec,
//! `process.terminal`).

use std::{
    io,
    os::{fd::OwnedFd, unix::net::UnixListener},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::{
    fs::fchown,
    process::Uid,
    pty::{OpenptFlags, ioctl_tiocgptpeer},
};

use crate::terminal;

/// The socket in the container's directory.
const SOCKET: &str = "console";
/// By when what was made has its terminal.
const SENT: Duration = Duration::from_secs(10);

/// Where the far end comes.
#[derive(Debug)]
pub(crate) struct Console(UnixListener);

impl Console {
    /// Waits for it in the directory of the container, which is the current one.
    pub(crate) fn open() -> io::Result<Self> {
        UnixListener::bind(SOCKET).map(Self)
    }

    /// Where it is to be sent.
    pub(crate) fn path(folder: &Path) -> PathBuf {
        folder.join(SOCKET)
    }

    /// Takes the far end, once the container is made, and gives the near one to the user that its process is on the
    /// machine.
    pub(crate) fn receive(self, owner: u32) -> io::Result<OwnedFd> {
        // The library has connected before the container was made whole.
        self.0.set_nonblocking(true)?;
        let (stream, _) = self.0.accept()?;
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(SENT))?;
        let far = terminal::descriptor(&stream)?
            .ok_or_else(|| io::Error::other("the runtime library sent no terminal"))?;
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let near = ioctl_tiocgptpeer(&far, flags)?;
        fchown(&near, Some(Uid::from_raw(owner)), None)?;
        Ok(far)
    }
}
