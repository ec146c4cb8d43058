//! The process of one thread that enters a container and runs a further command in it.
//!
//! It takes hold of all that it needs of the machine first, then joins the container's control groups and namespaces and
//! becomes the container's user, and only then begins the command, whose exit code becomes its own. The runtime library's
//! own way leaves a command outside of the container's user namespace, with the machine's root; so this is done here.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, IoSlice, Write as _},
    mem::MaybeUninit,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::{net::UnixStream, process::ExitStatusExt as _},
    },
    path::Path,
    process::{Command, ExitCode, Stdio},
};

use rustix::{
    cmsg_space,
    fs::{AtFlags, CWD, Mode, OFlags, fchown, fstat, openat, statat},
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg},
    process::{Gid, Pid, Signal, Uid, ioctl_tiocsctty, kill_process, setsid},
    pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt},
    thread::{
        CapabilitySet, ThreadNameSpaceType, move_into_thread_name_spaces,
        remove_capability_from_bounding_set, set_no_new_privs, set_thread_groups, set_thread_res_gid,
        set_thread_res_uid,
    },
};
use serde::Deserialize;

use crate::{
    cgroup,
    exec::{CANNOT_RUN, NO_TERMINAL},
    monitor::{PROCESSES, Processes, REQUEST, Request},
    process::Process,
};

/// The namespaces that a container may have of its own, as `/proc` names them.
const NAMESPACES: [(&str, ThreadNameSpaceType); 7] = [
    ("cgroup", ThreadNameSpaceType::CONTROL_GROUP),
    ("user", ThreadNameSpaceType::USER),
    ("ipc", ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION),
    ("uts", ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME),
    ("net", ThreadNameSpaceType::NETWORK),
    ("pid", ThreadNameSpaceType::PROCESS_ID),
    ("mnt", ThreadNameSpaceType::MOUNT),
];

/// What the container's own process is like (runtime-spec, `process`).
#[derive(Deserialize)]
struct Config {
    process: Own,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Own {
    user: OwnUser,
    env: Vec<String>,
    cwd: String,
    capabilities: Capabilities,
    #[serde(default)]
    no_new_privileges: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OwnUser {
    uid: u32,
    gid: u32,
    #[serde(default)]
    additional_gids: Vec<u32>,
}

#[derive(Deserialize)]
struct Capabilities {
    bounding: Vec<String>,
}

/// What is held of the machine while the process is in the container.
struct Held {
    folder: OwnedFd,
    /// Where the command's process is told, and under which name.
    told: File,
    told_name: OsString,
    /// The machine's `/proc`.
    processes: OwnedFd,
    nothing: File,
    terminal: Option<UnixStream>,
}

/// Runs the command and ends as it does.
pub(crate) fn run(args: &[OsString]) -> ExitCode {
    match command(args) {
        Ok(code) => ExitCode::from(code),
        Err(reason) => {
            eprintln!("{reason}");
            ExitCode::from(CANNOT_RUN)
        }
    }
}

fn command(args: &[OsString]) -> Result<u8, String> {
    let [folder, told, terminal, command, args @ ..] = args else {
        return Err("neither a container nor a command is named".to_owned());
    };
    let (folder, told) = (Path::new(folder), Path::new(told));
    let read = |name: &str| fs::read(folder.join(name)).map_err(|error| format!("{name}: {error}"));
    let request: Request = serde_json::from_slice(&read(REQUEST)?).map_err(|error| error.to_string())?;
    let config: Config =
        serde_json::from_slice(&read("config.json")?).map_err(|error| format!("config.json: {error}"))?;
    let processes: Processes =
        serde_json::from_slice(&read(PROCESSES)?).map_err(|error| error.to_string())?;
    let failed = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
    let terminal = (terminal != NO_TERMINAL).then(|| Path::new(terminal));
    let held = Held::take(folder, told, terminal).map_err(failed("what the command needs"))?;
    let init = processes.first.handle().ok_or("the container has ended")?;
    join(&request.cgroup, &init, processes.first.pid).map_err(failed("entering the container"))?;

    let own = config.process;
    let slave = match &held.terminal {
        Some(socket) => Some(open_terminal(socket, &own.user).map_err(failed("a terminal"))?),
        None => None,
    };
    become_user(&own).map_err(failed("becoming the container's user"))?;
    let mut command = Command::new(command);
    command.args(args).env_clear().current_dir(&own.cwd);
    command.envs(own.env.iter().filter_map(|variable| variable.split_once('=')));
    if let Some(slave) = slave {
        if !own.env.iter().any(|variable| variable.starts_with("TERM=")) {
            command.env("TERM", "xterm");
        }
        let copy = || slave.try_clone().map(Stdio::from).map_err(failed("a terminal"));
        command.stdin(copy()?).stdout(copy()?).stderr(copy()?);
    }
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command.spawn().map_err(|error| format!("{name}: {error}"))?;
    // The command holds its ends of the terminal itself.
    drop(command);
    let pid = i32::try_from(child.id()).map_err(|error| error.to_string())?;
    if held.tell(pid).is_err() {
        // Whoever asked for the command wants it no more.
        let _ = Pid::from_raw(pid).map(|pid| kill_process(pid, Signal::KILL));
    }
    // What this process holds of its input and output must not outlive the command.
    let _ = rustix::stdio::dup2_stdin(&held.nothing);
    let _ = rustix::stdio::dup2_stdout(&held.nothing);
    let status = child.wait().map_err(failed("the command's end"))?;
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    Ok(u8::try_from(code.unwrap_or(0)).unwrap_or(u8::MAX))
}

impl Held {
    fn take(folder: &Path, told: &Path, terminal: Option<&Path>) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = |path: &Path| openat(CWD, path, flags, Mode::empty());
        Ok(Self {
            folder: open(folder)?,
            told: fs::OpenOptions::new().write(true).open(told)?,
            told_name: told.file_name().unwrap_or_default().to_owned(),
            processes: open(Path::new("/proc"))?,
            nothing: File::options().read(true).write(true).open("/dev/null")?,
            terminal: terminal.map(connect).transpose()?,
        })
    }

    /// Writes down the command's process; an error when nobody wants to know any more.
    fn tell(&self, pid: i32) -> io::Result<()> {
        let text = serde_json::to_vec(&Process::seen_in(self.processes.as_fd(), pid)?)?;
        (&self.told).write_all(&text)?;
        statat(&self.folder, &self.told_name, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(())
    }
}

/// Connects to a socket whose path may be longer than sockets' addresses are.
fn connect(path: &Path) -> io::Result<UnixStream> {
    let socket = openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    UnixStream::connect(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&socket)))
}

/// Joins the control groups of the container and the namespaces of its first process that are not the machine's.
fn join(group: &str, init: &OwnedFd, pid: i32) -> io::Result<()> {
    cgroup::join(group, std::process::id())?;
    let mut own = ThreadNameSpaceType::empty();
    for (name, kind) in NAMESPACES {
        let seen = |process: &str| {
            File::open(format!("/proc/{process}/ns/{name}")).and_then(|file| Ok(fstat(file)?.st_ino))
        };
        if seen(&pid.to_string())? != seen("self")? {
            own |= kind;
        }
    }
    // All at once: what lies within a user namespace may only be joined together with it.
    move_into_thread_name_spaces(init.as_fd(), own)?;
    if own.contains(ThreadNameSpaceType::USER) {
        // The machine's root is nobody there and could not even open a terminal.
        set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT)?;
        set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT)?;
    }
    Ok(())
}

/// Opens a terminal of the container and sends its far end away. This process becomes the head of its session, so that
/// the command is told of a Ctrl-C.
fn open_terminal(socket: &UnixStream, user: &OwnUser) -> io::Result<OwnedFd> {
    let far = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    unlockpt(&far)?;
    let near = ioctl_tiocgptpeer(&far, OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    fchown(&near, Some(Uid::from_raw(user.uid)), None)?;
    setsid()?;
    ioctl_tiocsctty(&near)?;
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let descriptors = [far.as_fd()];
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("there is no room for a descriptor"));
    }
    sendmsg(socket, &[IoSlice::new(b"terminal")], &mut control, SendFlags::empty())?;
    Ok(near)
}

/// Takes the container's user and gives up what its own process may not do.
fn become_user(own: &Own) -> io::Result<()> {
    let kept: Vec<&str> =
        own.capabilities.bounding.iter().filter_map(|name| name.strip_prefix("CAP_")).collect();
    for (name, capability) in CapabilitySet::all().iter_names() {
        if !kept.contains(&name) {
            match remove_capability_from_bounding_set(capability) {
                // An older kernel does not know it.
                Ok(()) | Err(rustix::io::Errno::INVAL) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    let groups: Vec<Gid> = own.user.additional_gids.iter().copied().map(Gid::from_raw).collect();
    set_thread_groups(&groups)?;
    let (uid, gid) = (Uid::from_raw(own.user.uid), Gid::from_raw(own.user.gid));
    set_thread_res_gid(gid, gid, gid)?;
    set_thread_res_uid(uid, uid, uid)?;
    if own.no_new_privileges {
        set_no_new_privs(true)?;
    }
    Ok(())
}
