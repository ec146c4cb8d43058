//! A container from its start to its end: what its first process says goes to the log and to those who are attached, what
//! they type goes to it.

use std::{
    os::fd::{AsFd as _, OwnedFd},
    time::{Instant, SystemTime},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
};

use super::audience::Audience;
use crate::log::{LONGEST, Lines, LogFile, Stream};

/// A stream that the first process writes to.
struct Output {
    end: OwnedFd,
    stream: Stream,
    lines: Lines,
    is_over: bool,
}

/// All that is carried while the container runs.
pub(crate) struct Course {
    outputs: Vec<Output>,
    log: LogFile,
    audience: Audience,
    buffer: Vec<u8>,
    records: Vec<u8>,
}

impl Course {
    /// The ends of `outputs` must not block.
    pub(crate) fn new(outputs: Vec<(OwnedFd, Stream)>, log: LogFile, audience: Audience) -> Self {
        let output = |(end, stream)| Output { end, stream, lines: Lines::new(stream), is_over: false };
        Self {
            outputs: outputs.into_iter().map(output).collect(),
            log,
            audience,
            buffer: vec![0; LONGEST],
            records: Vec::new(),
        }
    }

    /// Goes on until the process of this handle has ended, and all that it said was heard.
    pub(crate) fn run(mut self, first: &OwnedFd) -> Result<(), String> {
        loop {
            let is_full = self.audience.is_full();
            let mut waits = vec![PollFd::new(first, PollFlags::IN)];
            if !is_full {
                let open = self.outputs.iter();
                waits.extend(open.map(|output| PollFd::from_borrowed_fd(output.end.as_fd(), PollFlags::IN)));
            }
            self.audience.wait_for(&mut waits);
            match poll(&mut waits, self.audience.patience(Instant::now()).as_ref()) {
                Err(Errno::INTR) => continue,
                polled => polled.map_err(|error| error.to_string())?,
            };
            let has_ended = !waits[0].revents().is_empty();
            drop(waits);
            if has_ended {
                break;
            }
            if !is_full {
                self.listen();
            }
            self.audience.attend(Instant::now());
        }
        // What is there yet is read until nothing is; nobody adds to it.
        while self.listen() {}
        for output in &mut self.outputs {
            output.lines.end(SystemTime::now(), &mut self.records);
        }
        self.write_log();
        self.audience.dismiss();
        Ok(())
    }

    /// Reads once from each stream. Tells whether there was anything.
    fn listen(&mut self) -> bool {
        let mut has_heard = false;
        for output in &mut self.outputs {
            match rustix::io::read(&output.end, &mut self.buffer[..]) {
                Ok(length @ 1..) => {
                    let said = &self.buffer[..length];
                    output.lines.take(said, SystemTime::now(), &mut self.records);
                    self.audience.tell(output.stream, said, Instant::now());
                    has_heard = true;
                }
                Err(Errno::AGAIN | Errno::INTR) => {}
                // A terminal that nobody has open any more fails instead of ending (tty_ioctl(4)).
                Ok(0) | Err(_) => {
                    output.lines.end(SystemTime::now(), &mut self.records);
                    output.is_over = true;
                }
            }
        }
        self.outputs.retain(|output| !output.is_over);
        self.write_log();
        has_heard
    }

    /// A full disk must not stop the container: what cannot be written is lost, and said so.
    fn write_log(&mut self) {
        if !self.records.is_empty() {
            if let Err(error) = self.log.append(&self.records) {
                eprintln!("output is lost: {error}");
            }
            self.records.clear();
        }
    }
}
