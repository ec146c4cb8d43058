//! The monitor: a process of one thread beside each container, which makes it, is its parent, writes its log, and
//! leaves word of how it ended.
//!
//! The runtime library forks without `exec`, which only a process of one thread may safely do; so this program starts
//! itself once more for each container. It also means that a container outlives a restart of the program, log and all.
//!
//! ```text
//! runtime                      monitor
//!   request.json, spawn    →
//!                          ←   {"created": …} or {"failed": why}
//!   start                  →   (end of input instead: the container is removed)
//!                          ←   {"started": null} or {"failed": why}
//!                              … exit.json, ends
//! ```
//!
//! While the container runs, whoever is to see what its first process says, or to type what it reads, comes by a socket.

mod audience;
mod console;
mod course;
mod input;

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, BufRead as _, Read as _, Write as _},
    os::{
        fd::OwnedFd,
        unix::{net::UnixListener, process::CommandExt as _},
    },
    path::{Path, PathBuf},
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use libcontainer::{
    container::{Container, builder::ContainerBuilder},
    oci_spec::runtime::Spec,
    syscall::syscall::SyscallType,
    workload::{Executor, ExecutorError, ExecutorValidationError, default::get_executor},
};
use rustix::{
    fs::{OFlags, fcntl_setfl},
    pipe::{PipeFlags, pipe_with},
    process::{Pid, PidfdFlags, WaitOptions, pidfd_open, setsid, waitpid},
};
use serde::{Deserialize, Serialize};

use crate::{
    cgroup,
    config::runtime_config,
    entry,
    exec::EXEC,
    log::{LogFile, Stream},
    process::Process,
    rootfs::{Root, Rootfs, own_mounts},
    spec::{ContainerId, ContainerSpec, Exit, Stdin},
    stage, tree, user,
    user_namespace::{self, NAMESPACES},
};
use audience::Audience;
use console::Console;
use course::Course;
use input::Input;

pub(crate) const REQUEST: &str = "request.json";
pub(crate) const EXIT: &str = "exit.json";
pub(crate) const PROCESSES: &str = "processes.json";
pub(crate) const START: &str = "start\n";
pub(crate) const STATE: &str = "state";

/// What a monitor is to make.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    pub(crate) id: ContainerId,
    pub(crate) cgroup: String,
    pub(crate) root: Root,
    pub(crate) spec: ContainerSpec,
}

/// What a monitor says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Report {
    Created(Processes),
    Started,
    Failed(String),
}

/// The monitor and the container's first process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Processes {
    pub(crate) monitor: Process,
    pub(crate) first: Process,
}

/// Runs a monitor: the program's hidden subcommand ends in this, with all the arguments behind its name. The program must
/// not have started another thread.
#[must_use]
pub fn monitor(args: &[OsString]) -> ExitCode {
    close_inherited();
    // Begun from a descriptor, it would be called by that one's number.
    let _ = rustix::thread::set_name(c"xebec-monitor");
    let folder = match args {
        [exec, rest @ ..] if exec == EXEC => return entry::run(rest),
        [namespaces] if namespaces == NAMESPACES => return user_namespace::run(),
        [folder] => Path::new(folder),
        _ => {
            eprintln!("this command is for the program's own use");
            return ExitCode::from(2);
        }
    };
    match run(folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            report(&Report::Failed(reason.clone()));
            eprintln!("{reason}");
            ExitCode::FAILURE
        }
    }
}

/// Closes what whoever started the program had open without meaning it for us: a file, a lock or a socket that a
/// container's monitor held would stay for as long as the container runs.
fn close_inherited() {
    let open: Vec<i32> = fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|number| *number > 2)
        .collect();
    for number in open {
        // The directory's own number is among them and closed already.
        let _ = nix::unistd::close(number);
    }
}

fn run(folder: &Path) -> Result<(), String> {
    // A terminal's Ctrl-C is not for containers.
    let _ = setsid();
    let request = fs::read(folder.join(REQUEST)).map_err(|error| format!("{REQUEST}: {error}"))?;
    let request: Request = serde_json::from_slice(&request).map_err(|error| format!("{REQUEST}: {error}"))?;
    let mut created = Created::make(folder, &request)?;
    let started = created.wait_for_start();
    let ended = started.and_then(|()| created.watch(&request));
    if ended.is_err() {
        created.remove(&request.cgroup);
    }
    let exit = ended?;
    created.remove(&request.cgroup);
    // The last act: whoever sees the monitor end finds this.
    leave(folder, EXIT, &exit).map_err(|error| format!("{EXIT}: {error}"))
}

struct Created {
    container: Container,
    first: Pid,
    /// Its streams, and where those come who want some of them, until it is watched.
    streams: Option<(UnixListener, Ends)>,
}

/// The near ends of the first process' streams.
enum Ends {
    Pipes { stdin: Option<OwnedFd>, stdout: OwnedFd, stderr: OwnedFd },
    Terminal(OwnedFd),
}

impl Created {
    fn make(folder: &Path, request: &Request) -> Result<Self, String> {
        let rootfs = Rootfs(folder);
        own_mounts().map_err(|error| format!("mounts of its own: {error}"))?;
        let volumes = |error: io::Error| format!("volumes: {error}");
        let (bundle, spec) = match (&request.spec.user_namespace, &request.root) {
            (Some(user), root) => stage::build(folder, root, &request.spec, user)
                .map_err(|error| format!("files for a user namespace: {error}"))?,
            (None, Root::Overlay(layers)) => {
                rootfs.mount(layers).map_err(|error| format!("the image cannot be mounted: {error}"))?;
                (folder.to_owned(), stage::plain(folder, &request.spec).map_err(volumes)?)
            }
            (None, Root::Copy) => {
                tree::show(&rootfs.path(), None, &rootfs.path())
                    .map_err(|error| format!("the image's copy cannot be mounted: {error}"))?;
                (folder.to_owned(), stage::plain(folder, &request.spec).map_err(volumes)?)
            }
        };
        let files = rootfs.open().map_err(|error| format!("the container's files: {error}"))?;
        let text = |path| files.read(path).map_err(|error| format!("{path} of the image: {error}"));
        let user = user::resolve(&request.spec.user, &text("/etc/passwd")?, &text("/etc/group")?)?;
        let working_dir = PathBuf::from(&request.spec.working_dir);
        let made = match &spec.user_namespace {
            Some(user) => stage::as_root_of(user, || files.make_folder(&working_dir)),
            None => files.make_folder(&working_dir),
        };
        made.map_err(|error| format!("working directory {working_dir:?}: {error}"))?;
        let groups = cgroup::show(&request.cgroup).map_err(|error| format!("control groups: {error}"))?;
        let config = runtime_config(&spec, &user, &request.cgroup, &groups);
        write_private(&folder.join("config.json"), config.to_string().as_bytes())
            .map_err(|error| format!("config.json: {error}"))?;

        let door = audience::door().map_err(|error| format!("a socket: {error}"))?;
        let builder = ContainerBuilder::new(request.id.to_string(), SyscallType::default())
            .with_root_path(folder.join(STATE))
            .map_err(|error| whole(&error))?
            .with_executor(PlainExecutor);
        let made = |builder: ContainerBuilder| {
            let built = builder.as_init(&bundle).with_systemd(false).build();
            built.map_err(|error| whole(&error))
        };
        let (container, ends) = if spec.terminal {
            let failed = |error: io::Error| format!("a terminal: {error}");
            let console = Console::open().map_err(failed)?;
            let container = made(builder.with_console_socket(Some(Console::path(folder))))?;
            // Users of a namespace of its own are others on the machine.
            let first = spec.user_namespace.as_ref().map_or(0, |own| own.first);
            let far = console.receive(first.saturating_add(user.uid)).map_err(failed)?;
            (container, Ends::Terminal(far))
        } else {
            let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(|error| format!("a pipe: {error}"));
            let ((stdout, stdout_end), (stderr, stderr_end)) = (pipe()?, pipe()?);
            let (stdin_end, stdin) = match spec.stdin {
                Stdin::Nothing => {
                    let nothing = File::open("/dev/null").map_err(|error| format!("/dev/null: {error}"))?;
                    (OwnedFd::from(nothing), None)
                }
                Stdin::Open | Stdin::Once => {
                    let (stdin_end, stdin) = pipe()?;
                    (stdin_end, Some(stdin))
                }
            };
            let builder = builder.with_stdin(stdin_end).with_stdout(stdout_end).with_stderr(stderr_end);
            (made(builder)?, Ends::Pipes { stdin, stdout, stderr })
        };
        let pid = container.pid().map_or(0, |pid| pid.as_raw());
        let Some(first) = Pid::from_raw(pid) else { return Err("the container has no process".to_owned()) };
        let created = Self { container, first, streams: Some((door, ends)) };
        created.settle(folder, request, pid)?;
        Ok(created)
    }

    /// What is done between making and starting.
    fn settle(&self, folder: &Path, request: &Request, pid: i32) -> Result<(), String> {
        cgroup::join_unified(&request.cgroup, pid).map_err(|error| format!("control group: {error}"))?;
        release_namespaces();
        let own = i32::try_from(std::process::id()).map_err(|error| error.to_string())?;
        let process = |pid| Process::of(pid).map_err(|error| format!("process {pid}: {error}"));
        let processes = Processes { monitor: process(own)?, first: process(pid)? };
        leave(folder, PROCESSES, &processes).map_err(|error| format!("{PROCESSES}: {error}"))?;
        report(&Report::Created(processes));
        Ok(())
    }

    fn wait_for_start(&mut self) -> Result<(), String> {
        let mut line = String::new();
        let read = io::stdin().lock().take(64).read_line(&mut line);
        if read.is_err() || line != START {
            return Err("nobody started the container".to_owned());
        }
        self.container.start().map_err(|error| whole(&error))?;
        report(&Report::Started);
        Ok(())
    }

    /// Carries what its first process says and reads until the container has ended.
    fn watch(&mut self, request: &Request) -> Result<Exit, String> {
        let spec = &request.spec;
        let log = LogFile::open(&spec.log, spec.log_bytes)
            .map_err(|error| format!("{}: {error}", spec.log.display()))?;
        let handle = pidfd_open(self.first, PidfdFlags::empty()).map_err(|error| error.to_string())?;
        let Some((door, ends)) = self.streams.take() else { return Err("it was watched before".to_owned()) };
        ends.course(door, spec, log).map_err(|error| format!("its streams: {error}"))?.run(&handle)?;
        let killed = cgroup::memory_kills(&request.cgroup) > 0;
        let (_, status) = waitpid(Some(self.first), WaitOptions::empty())
            .map_err(|error| format!("the container's end: {error}"))?
            .ok_or("the container has not ended")?;
        let signal = status.terminating_signal();
        let code = status.exit_status().or(signal.map(|signal| 128 + signal)).unwrap_or(0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let finished_nanos = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
        Ok(Exit { code, signal, out_of_memory: killed, finished_nanos, unseen: false })
    }

    fn remove(&mut self, group: &str) {
        if let Err(error) = self.container.delete(true) {
            eprintln!("the container's state stays: {}", whole(&error));
        }
        if let Err(error) = cgroup::remove(group) {
            eprintln!("{error}");
        }
    }
}

impl Ends {
    /// What is done with them while the container runs.
    fn course(self, door: UnixListener, spec: &ContainerSpec, log: LogFile) -> io::Result<Course> {
        let near = |end: OwnedFd| -> io::Result<OwnedFd> {
            fcntl_setfl(&end, OFlags::NONBLOCK)?;
            Ok(end)
        };
        Ok(match self {
            Self::Pipes { stdin, stdout, stderr } => {
                let input = Input::new(stdin.map(near).transpose()?, spec.stdin, false);
                let outputs = vec![(near(stdout)?, Stream::Stdout), (near(stderr)?, Stream::Stderr)];
                Course::new(outputs, log, Audience::new(door, input, None))
            }
            Self::Terminal(far) => {
                let far = near(far)?;
                let input = Input::new(Some(far.try_clone()?), spec.stdin, true);
                let audience = Audience::new(door, input, Some(far.try_clone()?));
                Course::new(vec![(far, Stream::Stdout)], log, audience)
            }
        })
    }
}

/// Lets go of network namespaces, whose mounts this process has copies of: they must end with their pods.
fn release_namespaces() {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    for line in mounts.lines().filter(|line| line.contains(" - nsfs ")) {
        if let Some(target) = line.split(' ').nth(4) {
            let _ = rustix::mount::unmount(target, rustix::mount::UnmountFlags::DETACH);
        }
    }
}

/// Writes a file for this user alone: it may hold secrets.
fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(content)
}

/// Writes a document that is whole or absent.
pub(crate) fn leave(folder: &Path, name: &str, document: &impl Serialize) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    serde_json::to_writer(&mut file, document)?;
    file.as_file().sync_all()?;
    file.persist(folder.join(name))?;
    File::open(folder)?.sync_all()
}

fn report(report: &Report) {
    let line = serde_json::to_string(report).unwrap_or_default();
    // Whoever listened may be gone; the container goes on.
    let _ = writeln!(io::stdout(), "{line}");
}

/// An error with its causes.
pub(crate) fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}

/// Becomes the command. Other than the library's own way this gives the command the usual disposition of signals: this
/// program's own runtime ignores SIGPIPE, which would be inherited.
#[derive(Clone)]
pub(crate) struct PlainExecutor;

impl Executor for PlainExecutor {
    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let args = spec.process().as_ref().and_then(|process| process.args().as_deref());
        let Some((command, args)) = args.and_then(<[String]>::split_first) else {
            return Err(ExecutorError::InvalidArg);
        };
        let error = std::process::Command::new(command).args(args).exec();
        Err(ExecutorError::Other(format!("{command}: {error}")))
    }

    fn validate(&self, spec: &Spec) -> Result<(), ExecutorValidationError> {
        get_executor().validate(spec)
    }
}
