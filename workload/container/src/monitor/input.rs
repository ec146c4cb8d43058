//! What a container's first process reads: what those who are attached type, in the order in which it comes.

use std::{
    collections::VecDeque,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use crate::spec::Stdin;

/// Bytes that wait for the process; whoever types more waits.
const MOST: usize = 64 << 10;

/// The near end of the process' input.
#[derive(Debug)]
pub(crate) struct Input {
    /// None where the process has no input, or no longer.
    end: Option<OwnedFd>,
    /// Whether the first who leaves closes it.
    is_once: bool,
    closes: bool,
    waiting: VecDeque<u8>,
    /// Bytes that ever came, and those of them that the process was given.
    taken: u64,
    given: u64,
}

impl Input {
    /// `end` must not block. A terminal is never closed: it is the process' output, too.
    pub(crate) fn new(end: Option<OwnedFd>, kind: Stdin, is_terminal: bool) -> Self {
        let end = end.filter(|_| kind != Stdin::Nothing);
        let is_once = kind == Stdin::Once && !is_terminal;
        Self { end, is_once, closes: false, waiting: VecDeque::new(), taken: 0, given: 0 }
    }

    /// Whether more of what is typed may be taken in.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting.len() < MOST
    }

    /// What is to be waited for before more can be written.
    pub(crate) fn awaited(&self) -> Option<BorrowedFd<'_>> {
        self.end.as_ref().filter(|_| !self.waiting.is_empty()).map(|end| end.as_fd())
    }

    /// Takes in what was typed. Where nobody reads it, it is lost.
    pub(crate) fn take(&mut self, typed: &[u8]) {
        if self.end.is_some() && !self.closes {
            self.waiting.extend(typed);
            self.taken += typed.len() as u64;
        }
    }

    /// Somebody who could type has left, or types no more. Where that does not close the input, gives when all of it will
    /// have been read: see [`Input::has_given`].
    pub(crate) fn leave(&mut self) -> Option<u64> {
        self.closes |= self.is_once;
        // A process without input goes on to be watched, as one whose input was closed does.
        (!self.is_once && self.end.is_some()).then_some(self.taken)
    }

    /// Whether the process was given the first bytes, so many of them, or reads no more.
    pub(crate) fn has_given(&self, bytes: u64) -> bool {
        self.end.is_none() || self.given >= bytes
    }

    /// Writes as much as the process takes now.
    pub(crate) fn write(&mut self) {
        while let Some(end) = &self.end
            && !self.waiting.is_empty()
        {
            match rustix::io::write(end, self.waiting.as_slices().0) {
                Ok(0) | Err(rustix::io::Errno::AGAIN) => return,
                Ok(written) => {
                    self.waiting.drain(..written);
                    self.given += written as u64;
                }
                Err(rustix::io::Errno::INTR) => {}
                // The process has closed its own end.
                Err(_) => {
                    self.end = None;
                    self.waiting.clear();
                }
            }
        }
        if self.closes {
            self.end = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::{
        fs::{OFlags, fcntl_setfl},
        pipe::pipe,
    };

    use super::*;

    fn input(kind: Stdin, is_terminal: bool) -> (OwnedFd, Input) {
        let (far, near) = pipe().unwrap();
        fcntl_setfl(&near, OFlags::NONBLOCK).unwrap();
        fcntl_setfl(&far, OFlags::NONBLOCK).unwrap();
        (far, Input::new(Some(near), kind, is_terminal))
    }

    fn read(far: &OwnedFd) -> Result<Vec<u8>, rustix::io::Errno> {
        let mut buffer = vec![0; 1 << 20];
        let read = rustix::io::read(far, &mut buffer)?;
        buffer.truncate(read);
        Ok(buffer)
    }

    #[test]
    fn the_first_who_leaves_closes_it_where_that_is_asked_for_once_all_was_read() {
        let (far, mut once) = input(Stdin::Once, false);
        once.take(&[7; MOST]);
        assert!(!once.has_room());
        assert_eq!(once.leave(), None);
        once.take(b"too late");
        once.write();
        assert_eq!(read(&far).unwrap(), [7; MOST]);
        assert_eq!(read(&far).unwrap(), b"");
    }

    #[test]
    fn it_stays_open_otherwise_and_tells_when_all_was_read() {
        for (kind, is_terminal) in [(Stdin::Open, false), (Stdin::Open, true), (Stdin::Once, true)] {
            let (far, mut open) = input(kind, is_terminal);
            // As much as a pipe takes, and more.
            for _ in 0..3 {
                open.take(&[1; MOST]);
                open.write();
            }
            let all = open.leave().unwrap();
            assert!(!open.has_given(all));
            while open.awaited().is_some() {
                read(&far).unwrap();
                open.write();
            }
            assert!(open.has_given(all));
            while read(&far).is_ok() {}
            open.take(b"more");
            open.write();
            assert_eq!(read(&far).unwrap(), b"more");
        }
    }

    #[test]
    fn what_nobody_reads_is_lost_and_nobody_waits_for_it() {
        let (far, mut deaf) = input(Stdin::Open, false);
        drop(far);
        deaf.take(b"a");
        deaf.write();
        assert!(deaf.awaited().is_none() && deaf.has_given(1));
        let mut none = Input::new(None, Stdin::Nothing, false);
        none.take(&[0; MOST]);
        assert!(none.has_room() && none.leave().is_none());
    }
}
