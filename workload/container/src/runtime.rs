//! Containers of one program: made, started, signalled, awaited, deleted, and found again after a restart.
//!
//! ```text
//! FOLDER/layers/HEX          unpacked layers, shared by containers
//! FOLDER/containers/ID/      one container
//!     request.json           what was asked for
//!     processes.json         its monitor and first process, from when it is made
//!     exit.json              how it ended, from when it has
//!     rootfs upper work      its files
//!     attach                 its monitor's socket, by which others see and type what its first process says and reads
//!     monitor.log            what its monitor complains of
//! ```

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::process::{Signal, pidfd_send_signal};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Interest},
    process::{ChildStdin, ChildStdout, Command},
    sync::RwLock,
    time::timeout,
};
use xebec_oci::{
    Digest, RepositoryName, Store,
    image::{ImageConfig, Manifest},
    unpack::{Layers, UnpackLimits, unpack_merged},
};

use crate::{
    Attachment, Error, Exec, Privilege, Streams, cgroup,
    config::MAKE_DEVICES,
    error::at,
    monitor::{EXIT, PROCESSES, Processes, REQUEST, Report, Request, START, leave},
    process::watched,
    program::Program,
    rootfs::{Root, Rootfs},
    spec::{ContainerId, ContainerSpec, Exit, Resources},
    terminal::TerminalSize,
    user_namespace::{UserNamespace, UserNamespaces},
};

/// A monitor must answer in this time.
const ANSWER: Duration = Duration::from_secs(60);
/// The longest line that a monitor says.
const LONGEST_REPORT: u64 = 64 << 10;
/// What a killed container has to end in.
const END: Duration = Duration::from_secs(10);

/// How to start a monitor: this program with the arguments that lead to [`crate::monitor`]. The container's directory
/// comes behind them.
#[derive(Clone, Debug)]
pub struct MonitorCommand {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
}

/// An image to run, in its store.
#[derive(Clone, Debug)]
pub struct Image {
    /// The store.
    pub store: Arc<Store>,
    /// The repository.
    pub name: RepositoryName,
    /// The image's manifest.
    pub manifest: Manifest,
    /// The image's configuration.
    pub config: ImageConfig,
}

/// All containers of one directory.
#[derive(Debug)]
pub struct Runtime {
    folder: PathBuf,
    program: Arc<Program>,
    layers: Arc<Layers>,
    privilege: Privilege,
    users: Arc<UserNamespaces>,
    /// Held while a container takes the layers that it needs, and alone while others are removed.
    making: RwLock<()>,
    /// The control group that all of them are below.
    group: String,
}

/// A container that exists, running or not.
#[derive(Debug)]
pub struct Container {
    id: ContainerId,
    folder: PathBuf,
    group: String,
    processes: Processes,
    program: Arc<Program>,
    /// The monitor's ear and mouth, until the container is started.
    line: Option<(ChildStdin, BufReader<ChildStdout>)>,
}

/// Where a container stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Made and waiting for its start.
    Created,
    /// Running.
    Running,
    /// Ended.
    Ended(Exit),
}

impl Runtime {
    /// Opens a directory of containers, creating it when absent. Those of an earlier process go on: see
    /// [`Runtime::recover`].
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn open(
        folder: impl Into<PathBuf>,
        monitor: MonitorCommand,
        privilege: Privilege,
    ) -> Result<Self, Error> {
        let folder = folder.into();
        let containers = folder.join("containers");
        fs::create_dir_all(&containers).map_err(at(&containers))?;
        let folder = folder.canonicalize().map_err(at(&folder))?;
        let layers = Arc::new(Layers::open(folder.join("layers"), UnpackLimits::default())?);
        // Two programs on one machine must not share a group.
        let place = Digest::of(folder.as_os_str().as_encoded_bytes()).hex();
        let group = format!("/xebec/{}", &place[..12]);
        let begin = u32::from_str_radix(&place[..8], 16).unwrap_or(0);
        let users = Arc::new(UserNamespaces::open(folder.join("users"), begin)?);
        Ok(Self {
            folder,
            program: Arc::new(Program::new(monitor)),
            layers,
            privilege,
            users,
            making: RwLock::new(()),
            group,
        })
    }

    /// Makes a container, up to the point where its command would begin.
    ///
    /// # Errors
    /// When the name is taken, the image cannot be unpacked, or the container cannot be as asked; nothing of it stays.
    pub async fn create(
        &self,
        id: &ContainerId,
        image: &Image,
        spec: &ContainerSpec,
    ) -> Result<Container, Error> {
        if spec.args.is_empty() {
            return Err(refused(
                id,
                "neither the pod nor the image says what to run: give a command".to_owned(),
            ));
        }
        let makes_devices = spec.capabilities.iter().flatten().any(|capability| capability == MAKE_DEVICES);
        if makes_devices && spec.user_namespace.is_none() && !self.privilege.devices {
            let reason = "it may not have CAP_MKNOD here, since this machine's control groups keep no devices away: \
                          run the pod with `hostUsers: false` or leave MKNOD out";
            return Err(refused(id, reason.to_owned()));
        }
        let folder = self.containers().join(id.as_str());
        match fs::create_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                return Err(Error::Exists { id: id.to_string() });
            }
            made => made.map_err(at(&folder))?,
        }
        let group = format!("{}/{id}", self.group);
        let made = self.make(id, image, spec, &folder, &group).await;
        if made.is_err() {
            let gone = blocking(move || remove(&folder, &group)).await;
            // The first error says why; this one only that something was left.
            drop(gone);
        }
        made
    }

    async fn make(
        &self,
        id: &ContainerId,
        image: &Image,
        spec: &ContainerSpec,
        folder: &Path,
        group: &str,
    ) -> Result<Container, Error> {
        let making = self.making.read().await;
        let (layers, overlay) = (Arc::clone(&self.layers), self.privilege.overlay);
        let (image, files) = (image.clone(), folder.to_owned());
        let root = blocking(move || prepare(&layers, overlay, &image, &files)).await?;
        let request = Request { id: id.clone(), cgroup: group.to_owned(), root, spec: spec.clone() };
        leave(folder, REQUEST, &request).map_err(at(folder))?;
        drop(making);

        let complaints = folder.join("monitor.log");
        let complaints = File::create(&complaints).map_err(at(&complaints))?;
        let program = Arc::clone(&self.program);
        let mut child = Command::from(blocking(move || program.begin()).await?)
            .arg(folder)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(complaints)
            .spawn()
            .map_err(at(self.program.path()))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(refused(id, "its monitor has no pipes".to_owned()));
        };
        // The monitor outlives this program; while both live, somebody has to take note of its end.
        tokio::spawn(async move { child.wait().await });
        let mut output = BufReader::new(output);
        match hear(id, &mut output).await? {
            Report::Created(processes) => Ok(Container {
                id: id.clone(),
                folder: folder.to_owned(),
                group: group.to_owned(),
                processes,
                program: Arc::clone(&self.program),
                line: Some((input, output)),
            }),
            Report::Failed(reason) => Err(refused(id, reason)),
            Report::Started => Err(refused(id, "its monitor answered out of turn".to_owned())),
        }
    }

    /// Gives a pod a user namespace and, where a path is told, a network namespace there that belongs to it; or what it
    /// has.
    ///
    /// # Errors
    /// When the kernel, or the file system of this runtime's directory, has no such thing; nothing of it stays.
    pub async fn user_namespace(
        &self,
        pod: &ContainerId,
        network: Option<PathBuf>,
    ) -> Result<UserNamespace, Error> {
        let (users, program, pod) = (Arc::clone(&self.users), Arc::clone(&self.program), pod.clone());
        blocking(move || users.make(&program, &pod, network.as_deref())).await
    }

    /// Lets go of a pod's user namespace, once its containers are gone. A pod that has none needs nothing.
    ///
    /// # Errors
    /// When the disk refuses; a further call carries on.
    pub async fn remove_user_namespace(&self, pod: &ContainerId) -> Result<(), Error> {
        let (users, pod) = (Arc::clone(&self.users), pod.clone());
        blocking(move || users.remove(&pod)).await
    }

    /// The pods that have a user namespace.
    #[must_use]
    pub fn user_namespaces(&self) -> Vec<ContainerId> {
        self.users.pods()
    }

    /// The containers that an earlier process left, running or ended. What it had not finished making is removed, so
    /// this comes before the first container is made.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn recover(&self) -> Result<Vec<Container>, Error> {
        let (folder, group, program) = (self.containers(), self.group.clone(), Arc::clone(&self.program));
        blocking(move || {
            let mut found = Vec::new();
            for entry in fs::read_dir(&folder).map_err(at(&folder))? {
                let entry = entry.map_err(at(&folder))?;
                let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<ContainerId>().ok())
                else {
                    continue;
                };
                let (folder, group) = (entry.path(), format!("{group}/{id}"));
                match Container::read(id, folder.clone(), group.clone(), Arc::clone(&program)) {
                    Some(container) => found.push(container),
                    None => remove(&folder, &group)?,
                }
            }
            found.sort_by(|a, b| a.id.cmp(&b.id));
            Ok(found)
        })
        .await
    }

    /// What the containers that run have used so far. What cannot be read is left out. This waits for the kernel's files.
    #[must_use]
    pub fn usage(&self) -> Vec<(ContainerId, cgroup::Usage)> {
        let entries = fs::read_dir(self.containers()).into_iter().flatten().flatten();
        let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<ContainerId>().ok());
        ids.filter_map(|id| {
            let usage = cgroup::usage(&format!("{}/{id}", self.group))?;
            Some((id, usage))
        })
        .collect()
    }

    /// The container of that name, running or ended, if there is one that was made whole.
    #[must_use]
    pub fn find(&self, id: &ContainerId) -> Option<Container> {
        let (folder, group) = (self.containers().join(id.as_str()), format!("{}/{id}", self.group));
        Container::read(id.clone(), folder, group, Arc::clone(&self.program))
    }

    /// Removes the unpacked layers that are neither among `kept` nor below a container. What is needed again is unpacked
    /// again.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn retain_layers(&self, mut kept: BTreeSet<Digest>) -> Result<(), Error> {
        let _alone = self.making.write().await;
        let (folder, layers) = (self.containers(), Arc::clone(&self.layers));
        blocking(move || {
            for entry in fs::read_dir(&folder).map_err(at(&folder))? {
                let request = fs::read(entry.map_err(at(&folder))?.path().join(REQUEST)).unwrap_or_default();
                let Ok(Request { root: Root::Overlay(used), .. }) = serde_json::from_slice(&request) else {
                    continue;
                };
                let names = used.iter().filter_map(|layer| layer.file_name()?.to_str());
                kept.extend(names.filter_map(|hex| format!("sha256:{hex}").parse::<Digest>().ok()));
            }
            Ok(layers.retain(&kept)?)
        })
        .await
    }

    fn containers(&self) -> PathBuf {
        self.folder.join("containers")
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // Containers that go on keep theirs.
        cgroup::remove_empty(&self.group);
        cgroup::remove_empty("/xebec");
    }
}

impl Container {
    fn read(id: ContainerId, folder: PathBuf, group: String, program: Arc<Program>) -> Option<Self> {
        let processes = fs::read(folder.join(PROCESSES)).ok()?;
        let processes = serde_json::from_slice(&processes).ok()?;
        Some(Self { id, folder, group, processes, program, line: None })
    }

    /// The container's name.
    #[must_use]
    pub fn id(&self) -> &ContainerId {
        &self.id
    }

    /// The number of its first process on the machine.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.processes.first.pid
    }

    /// Lets the command begin.
    ///
    /// # Errors
    /// When it was started before, or cannot be.
    pub async fn start(&mut self) -> Result<(), Error> {
        let Some((mut input, mut output)) = self.line.take() else {
            return Err(Error::State { id: self.id.to_string(), state: "was started already" });
        };
        let told = async {
            input.write_all(START.as_bytes()).await?;
            input.flush().await
        };
        told.await.map_err(at(&self.folder))?;
        match hear(&self.id, &mut output).await? {
            Report::Started => Ok(()),
            Report::Failed(reason) => Err(refused(&self.id, reason)),
            Report::Created(_) => Err(refused(&self.id, "its monitor answered out of turn".to_owned())),
        }
    }

    /// Sends a signal to the first process. One that has ended needs none.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn kill(&self, signal: Signal) -> Result<(), Error> {
        let Some(handle) = self.processes.first.handle() else { return Ok(()) };
        match pidfd_send_signal(&handle, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(at(&self.folder)(error.into())),
        }
    }

    /// Gives it other bounds while it runs. How many processes it may have stays as it was.
    ///
    /// # Errors
    /// When the kernel refuses, such as memory that is less than is in use.
    pub fn limit(&self, resources: &Resources) -> Result<(), Error> {
        cgroup::limit(&self.group, resources).map_err(at(&self.folder))
    }

    /// Runs a further command in it, as its user and with its environment.
    ///
    /// # Errors
    /// When no process can be started. A command that is not there ends with code 126 instead.
    pub fn exec(&self, args: &[String]) -> Result<Exec, Error> {
        Exec::spawn(self, &self.program, args)
    }

    /// Runs a further command in it, on a terminal of this size.
    ///
    /// # Errors
    /// When no process can be started, or it gets no terminal. A command that is not there ends with code 126 instead.
    pub async fn exec_on_terminal(&self, args: &[String], size: TerminalSize) -> Result<Exec, Error> {
        Exec::spawn_on_terminal(self, &self.program, args, size).await
    }

    /// Attaches to its first process: what that says from now on is heard, what it reads may be typed. Any number may be
    /// attached at a time, within reason.
    ///
    /// # Errors
    /// When it has ended, or an earlier version of this program began it.
    pub async fn attach(&self, streams: Streams) -> Result<Attachment, Error> {
        Attachment::join(&self.id, &self.folder, streams).await
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where it stands now.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn status(&self) -> Result<Status, Error> {
        if self.processes.monitor.handle().is_none() {
            return self.ended().await.map(Status::Ended);
        }
        Ok(if self.line.is_some() { Status::Created } else { Status::Running })
    }

    /// Waits until it has ended, however long ago that was.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn wait(&self) -> Result<Exit, Error> {
        if let Some(monitor) = self.processes.monitor.handle() {
            let monitor = watched(monitor, Interest::READABLE).map_err(at(&self.folder))?;
            // A process's handle is readable once it has ended.
            let _ended = monitor.readable().await.map_err(at(&self.folder))?;
        }
        self.ended().await
    }

    async fn ended(&self) -> Result<Exit, Error> {
        let (folder, group, first) = (self.folder.clone(), self.group.clone(), self.processes.first.clone());
        blocking(move || {
            let path = folder.join(EXIT);
            if let Some(exit) = fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok()) {
                return Ok(exit);
            }
            // The monitor was killed. Its container has lost its log and must not run on unseen.
            if let Some(handle) = first.handle() {
                let _ = pidfd_send_signal(&handle, Signal::KILL);
            }
            cgroup::remove(&group).map_err(at(&folder))?;
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let finished_nanos = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
            let exit =
                Exit { code: 137, signal: Some(9), out_of_memory: false, finished_nanos, unseen: true };
            leave(&folder, EXIT, &exit).map_err(at(&path))?;
            Ok(exit)
        })
        .await
    }

    /// Ends it, if it runs, and removes everything of it but its log.
    ///
    /// # Errors
    /// When it does not end, or the disk refuses; another call may succeed.
    pub async fn delete(mut self) -> Result<(), Error> {
        // A monitor that waits for the start ends when nobody can give it.
        drop(self.line.take());
        self.kill(Signal::KILL)?;
        if timeout(END, self.wait()).await.is_err() {
            let state = "does not end though it was killed: try again";
            return Err(Error::State { id: self.id.to_string(), state });
        }
        let (folder, group) = (self.folder, self.group);
        blocking(move || remove(&folder, &group)).await
    }
}

/// Brings an image's files to where the container will have them.
fn prepare(layers: &Layers, overlay: bool, image: &Image, folder: &Path) -> Result<Root, Error> {
    let Image { store, name, manifest, config } = image;
    let files = Rootfs(folder);
    for path in [files.path(), files.upper(), files.work()] {
        fs::create_dir(&path).map_err(at(&path))?;
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(&path, open).map_err(at(&path))?;
    }
    if overlay {
        return Ok(Root::Overlay(layers.unpack(store, name, manifest, config)?));
    }
    unpack_merged(store, name, manifest, config, &files.path(), UnpackLimits::default())?;
    Ok(Root::Copy)
}

fn remove(folder: &Path, group: &str) -> Result<(), Error> {
    cgroup::remove(group).map_err(at(folder))?;
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(folder)(error)),
        _ => Ok(()),
    }
}

async fn hear(id: &ContainerId, output: &mut BufReader<ChildStdout>) -> Result<Report, Error> {
    let mut line = String::new();
    let mut limited = output.take(LONGEST_REPORT);
    match timeout(ANSWER, limited.read_line(&mut line)).await {
        Ok(Ok(_)) => serde_json::from_str(&line).map_err(|_| {
            refused(id, format!("its monitor ended without a word; monitor.log may say why: {line}"))
        }),
        Ok(Err(error)) => Err(refused(id, format!("its monitor cannot be heard: {error}"))),
        Err(_) => Err(refused(id, format!("its monitor does not answer within {} s", ANSWER.as_secs()))),
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(Error::Disk { path: PathBuf::new(), source: io::Error::other(error) }),
    }
}

fn refused(id: &ContainerId, reason: String) -> Error {
    Error::Refused { id: id.to_string(), reason }
}
