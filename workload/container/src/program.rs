//! The program that stands beside containers, as a copy in memory that nobody can change.
//!
//! A process of it enters containers, and root in there could write to the file that it runs from by way of `/proc`; the
//! machine would then run what the container wrote (CVE-2019-5736). All such processes share the one copy, which is made when
//! the first is begun.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    path::Path,
    process::Command,
    sync::{Mutex, PoisonError},
};

use rustix::{
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create},
    io::Errno,
};

use crate::{Error, MonitorCommand, error::at};

/// How to begin it.
#[derive(Debug)]
pub(crate) struct Program {
    command: MonitorCommand,
    copy: Mutex<Option<OwnedFd>>,
}

impl Program {
    pub(crate) fn new(command: MonitorCommand) -> Self {
        Self { command, copy: Mutex::default() }
    }

    /// The program with the arguments that lead to [`crate::monitor`] and nothing of this one's environment.
    pub(crate) fn begin(&self) -> Result<Command, Error> {
        let mut copy = self.copy.lock().unwrap_or_else(PoisonError::into_inner);
        let program = &self.command.program;
        let number = match &*copy {
            Some(copy) => copy.as_raw_fd(),
            None => copy.insert(sealed(program).map_err(at(program))?).as_raw_fd(),
        };
        // The child has the descriptor, too, until it becomes the program.
        let mut command = Command::new(format!("/proc/self/fd/{number}"));
        command.arg0(program).args(&self.command.args).env_clear();
        Ok(command)
    }

    /// The program on disk, for messages.
    pub(crate) fn path(&self) -> &Path {
        &self.command.program
    }
}

fn sealed(program: &Path) -> io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memory = match memfd_create("xebec-monitor", flags | MemfdFlags::EXEC) {
        // Older kernels know no other way than that it can be run.
        Err(Errno::INVAL) => memfd_create("xebec-monitor", flags)?,
        memory => memory?,
    };
    let mut copy = File::from(memory);
    io::copy(&mut File::open(program)?, &mut copy)?;
    fcntl_add_seals(&copy, SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE)?;
    Ok(copy.into())
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, Write as _};

    use super::*;

    #[test]
    fn the_copy_runs_and_cannot_be_changed() {
        let program = Program::new(MonitorCommand { program: "/bin/echo".into(), args: vec!["one".into()] });
        for _ in 0..2 {
            let said = program.begin().unwrap().arg("two").output().unwrap();
            assert_eq!(said.stdout, b"one two\n");
        }
        let mut copy = File::from(sealed("/bin/echo".as_ref()).unwrap());
        copy.rewind().unwrap();
        assert!(copy.write_all(b"another program").is_err());
        assert!(copy.set_len(0).is_err());
        let again = File::options().write(true).open(format!("/proc/self/fd/{}", copy.as_raw_fd()));
        assert!(again.and_then(|mut file| file.write_all(b"x")).is_err());
        let absent = Program::new(MonitorCommand { program: "/absent".into(), args: Vec::new() });
        assert!(absent.begin().unwrap_err().to_string().contains("/absent"));
    }
}
