//! Those who are attached to a container: told what its first process says, heard for what it is to read.
//!
//! Nobody of them may stop the process for ever. Whoever is slow makes it wait, so that what it says comes whole, but whoever
//! takes nothing at all for some time while it waits is let go.

use std::{
    collections::VecDeque,
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    termios::{Winsize, tcsetwinsize},
};

use super::input::Input;
use crate::{
    attachment::{Frame, Frames, LONGEST, SOCKET, Streams},
    log::Stream,
    terminal::TerminalSize,
};

/// How many are let in.
const MOST: usize = 32;
/// Bytes that wait for one of them; then the process waits, too.
const FULL: usize = 256 << 10;
/// How long it waits for one who takes nothing.
const PATIENCE: Duration = Duration::from_secs(30);
/// The same once the process has ended, and how long it may take all of them: whoever killed it waits for the monitor.
const LEAVING: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(8));

/// All of them, and the door by which they come.
#[derive(Debug)]
pub(crate) struct Audience {
    door: UnixListener,
    members: Vec<Member>,
    input: Input,
    terminal: Option<OwnedFd>,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Member {
    socket: UnixStream,
    heard: Frames,
    /// What it wants, from when it has said so.
    streams: Option<Streams>,
    unsent: VecDeque<u8>,
    /// When it last took something, or was told something again.
    moved: Instant,
    /// It types no more, and leaves once the process was given so much.
    leaves: Option<u64>,
    is_gone: bool,
}

/// Opens the door in the directory of the container, which is the current one.
pub(crate) fn door() -> io::Result<UnixListener> {
    let door = UnixListener::bind(SOCKET)?;
    door.set_nonblocking(true)?;
    Ok(door)
}

impl Audience {
    /// `terminal` is the far end of the process' terminal, where it has one.
    pub(crate) fn new(door: UnixListener, input: Input, terminal: Option<OwnedFd>) -> Self {
        Self { door, members: Vec::new(), input, terminal, buffer: vec![0; LONGEST] }
    }

    /// Whether somebody must take something before the process may say more.
    pub(crate) fn is_full(&self) -> bool {
        self.members.iter().any(Member::is_full)
    }

    /// How long to wait for something to happen, where there is a limit.
    pub(crate) fn patience(&self, now: Instant) -> Option<Timespec> {
        let full = self.members.iter().filter(|member| member.is_full());
        let left = full.map(|member| (member.moved + PATIENCE).saturating_duration_since(now)).min()?;
        // A moment more, so that the time has come then.
        timespec(left + Duration::from_millis(1))
    }

    /// Adds what is to be waited for.
    pub(crate) fn wait_for<'a>(&'a self, waits: &mut Vec<PollFd<'a>>) {
        waits.push(PollFd::new(&self.door, PollFlags::IN));
        waits.extend(self.input.awaited().map(|end| PollFd::from_borrowed_fd(end, PollFlags::OUT)));
        let has_room = self.input.has_room();
        waits.extend(self.members.iter().filter_map(|member| member.awaited(has_room)));
    }

    /// Tells what the process said to all who want to know.
    pub(crate) fn tell(&mut self, stream: Stream, said: &[u8], now: Instant) {
        for member in &mut self.members {
            if member.streams.is_some_and(|streams| streams.hears(stream)) {
                said.chunks(LONGEST).for_each(|piece| member.tell(Frame::Output(stream, piece), now));
            }
        }
    }

    /// Does what can be done now: lets in, hears, gives and tells.
    pub(crate) fn attend(&mut self, now: Instant) {
        while let Ok((socket, _)) = self.door.accept() {
            // Whoever is not let in sees the end at once.
            if self.members.len() < MOST && socket.set_nonblocking(true).is_ok() {
                self.members.push(Member::new(socket, now));
            }
        }
        self.input.write();
        for member in &mut self.members {
            member.hear(&mut self.input, self.terminal.as_ref(), &mut self.buffer, now);
        }
        self.input.write();
        let input = &mut self.input;
        self.members.retain_mut(|member| {
            member.send(now);
            let has_left = member.leaves.is_some_and(|given| input.has_given(given));
            let is_stuck = member.is_full() && now >= member.moved + PATIENCE;
            let goes = member.is_gone || is_stuck || has_left && member.unsent.is_empty();
            if goes && member.leaves.is_none() && member.streams.is_some_and(|streams| streams.stdin) {
                input.leave();
            }
            !goes
        });
        // One who left may have closed it.
        self.input.write();
    }

    /// The process has ended: lets all have what they were told, and leave.
    pub(crate) fn dismiss(mut self) {
        let begun = Instant::now();
        let (mut now, (patience, longest)) = (begun, LEAVING);
        self.members.iter_mut().for_each(|member| member.moved = begun);
        loop {
            self.members.retain_mut(|member| {
                member.send(now);
                !member.is_gone && !member.unsent.is_empty() && now < member.moved + patience
            });
            if self.members.is_empty() || now >= begun + longest {
                return;
            }
            let mut waits: Vec<_> =
                self.members.iter().map(|member| PollFd::new(&member.socket, PollFlags::OUT)).collect();
            let _ = poll(&mut waits, timespec(Duration::from_millis(500)).as_ref());
            now = Instant::now();
        }
    }
}

impl Member {
    fn new(socket: UnixStream, now: Instant) -> Self {
        Self {
            socket,
            heard: Frames::default(),
            streams: None,
            unsent: VecDeque::new(),
            moved: now,
            leaves: None,
            is_gone: false,
        }
    }

    fn is_full(&self) -> bool {
        self.unsent.len() >= FULL
    }

    fn awaited(&self, has_room: bool) -> Option<PollFd<'_>> {
        let mut flags = PollFlags::empty();
        // One that cannot be heard yet is not looked at either: that it has gone would wake us again and again.
        flags.set(PollFlags::IN, has_room);
        flags.set(PollFlags::OUT, !self.unsent.is_empty());
        (!flags.is_empty()).then(|| PollFd::from_borrowed_fd(self.socket.as_fd(), flags))
    }

    fn tell(&mut self, frame: Frame<'_>, now: Instant) {
        if self.unsent.is_empty() {
            self.moved = now;
        }
        frame.write(&mut self.unsent);
    }

    /// Sends what it takes now.
    fn send(&mut self, now: Instant) {
        while !self.unsent.is_empty() && !self.is_gone {
            match self.socket.write(self.unsent.as_slices().0) {
                Ok(sent) => {
                    self.unsent.drain(..sent);
                    self.moved = now;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.is_gone = true,
            }
        }
    }

    /// Hears what it says, for as long as there is room for what it types.
    fn hear(&mut self, input: &mut Input, terminal: Option<&OwnedFd>, buffer: &mut [u8], now: Instant) {
        while input.has_room() && !self.is_gone {
            match self.socket.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => self.is_gone = true,
                Ok(length) => {
                    self.heard.take(&buffer[..length]);
                    self.follow(input, terminal, now);
                }
            }
        }
    }

    fn follow(&mut self, input: &mut Input, terminal: Option<&OwnedFd>, now: Instant) {
        let mut joined = false;
        loop {
            let types = self.streams.is_some_and(|streams| streams.stdin) && self.leaves.is_none();
            match self.heard.next() {
                Ok(None) => break,
                Ok(Some(Frame::Join(streams))) => (self.streams, joined) = (Some(streams), true),
                Ok(Some(Frame::Input(typed))) if types => input.take(typed),
                Ok(Some(Frame::InputEnd)) if types => self.leaves = input.leave(),
                Ok(Some(Frame::Size(size))) => resize(terminal, size),
                // Nobody reads what is typed by one who did not want to.
                Ok(Some(Frame::Input(_) | Frame::InputEnd)) => {}
                Ok(Some(Frame::Joined | Frame::Output(..))) | Err(_) => {
                    self.is_gone = true;
                    break;
                }
            }
        }
        if joined {
            self.tell(Frame::Joined, now);
        }
    }
}

fn resize(terminal: Option<&OwnedFd>, size: TerminalSize) {
    if let Some(terminal) = terminal {
        let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
        // A size that the kernel does not take is as good as none.
        let _ = tcsetwinsize(terminal, size);
    }
}

fn timespec(duration: Duration) -> Option<Timespec> {
    Timespec::try_from(duration).ok()
}
