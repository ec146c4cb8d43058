//! A further command in a running container, as probes and `kubectl exec` want it.
//!
//! Like the container itself it is made by a process of one thread, which here passes on its own input and output, and
//! ends with the command's exit code.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::{Signal, pidfd_send_signal};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    time::timeout,
};

use crate::{
    Container, Error,
    error::at,
    process::Process,
    program::Program,
    terminal::{self, Terminal, TerminalSize},
};

/// The first argument of a process that runs a further command.
pub(crate) const EXEC: &str = "exec";
/// Stands in the place of a terminal's socket where there is none.
pub(crate) const NO_TERMINAL: &str = "-";
/// A command must have its terminal in this time.
const TERMINAL: Duration = Duration::from_secs(30);
/// What a command cannot be run with.
pub(crate) const CANNOT_RUN: u8 = 126;
/// A command that was killed has to end in this time.
const END: Duration = Duration::from_secs(5);

/// A further command, running.
#[derive(Debug)]
pub struct Exec {
    child: Child,
    /// Where the command's process is told.
    told: PathBuf,
    /// The command's input.
    pub stdin: Option<ChildStdin>,
    /// The command's output.
    pub stdout: Option<ChildStdout>,
    /// The command's complaints; where it could not be run at all, why.
    pub stderr: Option<ChildStderr>,
    /// The command's terminal, in place of the other three, where it has one.
    pub terminal: Option<Terminal>,
}

/// What a further command left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecOutput {
    /// Its exit code; 126 where it could not be run, 128 and the signal's number where a signal ended it. None where it
    /// took too long and was killed.
    pub code: Option<i32>,
    /// The beginning of its output.
    pub stdout: Vec<u8>,
    /// The beginning of its complaints.
    pub stderr: Vec<u8>,
}

impl Exec {
    pub(crate) fn spawn(container: &Container, program: &Program, args: &[String]) -> Result<Self, Error> {
        let folder = container.folder();
        let told = tempfile::Builder::new().prefix("exec-").tempfile_in(folder).map_err(at(folder))?;
        let told = told.into_temp_path().keep().map_err(|refused| at(folder)(refused.error))?;
        Self::begin(folder, program, told, None, args)
    }

    /// Like [`Exec::spawn`], with a terminal.
    pub(crate) async fn spawn_on_terminal(
        container: &Container,
        program: &Program,
        args: &[String],
        size: TerminalSize,
    ) -> Result<Self, Error> {
        let folder = container.folder();
        let told = tempfile::Builder::new().prefix("exec-").tempfile_in(folder).map_err(at(folder))?;
        let told = told.into_temp_path().keep().map_err(|refused| at(folder)(refused.error))?;
        let socket = told.with_extension("tty");
        let listener = terminal::listen(&socket).map_err(at(&socket))?;
        let begun = Self::begin(folder, program, told, Some(&socket), args);
        let mut exec = begun.inspect_err(|_| drop(fs::remove_file(&socket)))?;
        // A command that cannot be run ends before it has a terminal; why stands in its complaints.
        let received = tokio::select! {
            received = timeout(TERMINAL, terminal::receive(&listener)) => Some(received),
            _ = exec.child.wait() => None,
        };
        let _ = fs::remove_file(&socket);
        match received {
            Some(Ok(Ok(terminal))) => {
                terminal.resize(size).map_err(at(&socket))?;
                exec.terminal = Some(terminal);
                (exec.stdin, exec.stdout) = (None, None);
            }
            // It ends with its complaint, or says nothing at all.
            Some(Ok(Err(error))) if timeout(END, exec.child.wait()).await.is_err() => {
                return Err(at(&socket)(error));
            }
            Some(Ok(Err(_))) => {}
            Some(Err(_)) => return Err(at(&socket)(io::ErrorKind::TimedOut.into())),
            None => {}
        }
        Ok(exec)
    }

    fn begin(
        folder: &Path,
        program: &Program,
        told: PathBuf,
        terminal: Option<&Path>,
        args: &[String],
    ) -> Result<Self, Error> {
        let mut child = Command::from(program.begin()?)
            .arg(EXEC)
            .arg(folder)
            .arg(&told)
            .arg(terminal.unwrap_or(Path::new(NO_TERMINAL)))
            .args(args)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(at(program.path()))?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        Ok(Self { child, told, stdin, stdout, stderr, terminal: None })
    }

    /// Waits for the command's end and returns its exit code.
    ///
    /// # Errors
    /// When the machine refuses.
    pub async fn wait(&mut self) -> Result<i32, Error> {
        let status = self.child.wait().await.map_err(at(&self.told))?;
        Ok(status.code().unwrap_or(i32::from(CANNOT_RUN)))
    }

    /// Kills the command. One that has ended needs nothing.
    ///
    /// The file is taken away first and read then. So either its writer has told the process before, or it finds the
    /// file gone behind its back and kills the process itself.
    pub fn kill(&mut self) {
        let Ok(mut file) = File::open(&self.told) else { return };
        let _ = fs::remove_file(&self.told);
        let mut text = Vec::new();
        let _ = io::Read::read_to_end(&mut file, &mut text);
        let process = serde_json::from_slice::<Process>(&text).ok();
        if let Some(handle) = process.and_then(|process| process.handle()) {
            let _ = pidfd_send_signal(&handle, Signal::KILL);
        }
    }

    /// Waits for the command's end, for `limit` at the most, and takes in the beginning of what it says.
    ///
    /// # Errors
    /// When the machine refuses.
    pub async fn output(mut self, limit: Duration, most_bytes: u64) -> Result<ExecOutput, Error> {
        drop(self.stdin.take());
        let (stdout, stderr) = (self.stdout.take(), self.stderr.take());
        let reading = async { tokio::join!(beginning(stdout, most_bytes), beginning(stderr, most_bytes)) };
        let mut reading = std::pin::pin!(reading);
        let whole = async {
            let said = (&mut reading).await;
            self.wait().await.map(|code| (code, said))
        };
        match timeout(limit, whole).await {
            Ok(ended) => {
                let (code, (stdout, stderr)) = ended?;
                Ok(ExecOutput { code: Some(code), stdout, stderr })
            }
            Err(_) => {
                self.kill();
                let _ = timeout(END, self.wait()).await;
                Ok(ExecOutput { code: None, stdout: Vec::new(), stderr: Vec::new() })
            }
        }
    }
}

impl Drop for Exec {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.kill();
        }
        let _ = fs::remove_file(&self.told);
    }
}

/// The beginning of a stream; the rest is read, too, so that its writer never waits.
async fn beginning(stream: Option<impl AsyncRead + Unpin>, most: u64) -> Vec<u8> {
    let mut kept = Vec::new();
    if let Some(mut stream) = stream {
        let _ = (&mut stream).take(most).read_to_end(&mut kept).await;
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    }
    kept
}
