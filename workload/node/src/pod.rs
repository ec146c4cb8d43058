//! The life of one pod on this machine.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Pod, Probe};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, ResourceExt as _};
use serde_json::json;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use xebec_container::{ContainerId, ContainerSpec, Image, Mount, Network, Resources, Signal};
use xebec_oci::image::Content;
use xebec_wasm::{Volume, WorkloadOptions};

use crate::agent::Node;
use crate::environment::{expand, resolve};
use crate::image::{Found, find};
use crate::logs::Writer;
use crate::probe::{Tally, Timing, is_network, once};
use crate::state::{Phase, PodState, Progress};
use crate::{Error, volumes, wasm};

/// The first and the longest pause before a container that ended is started again.
const BACK_OFF: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(300));
/// How long a container must run for its next end to count as the first.
const FORGIVE: Duration = Duration::from_secs(600);
/// The pause before an image is looked for again.
const IMAGE_AGAIN: Duration = Duration::from_secs(2);

/// One pod and what is known of it.
pub(crate) struct Life {
    node: Arc<Node>,
    pod: Pod,
    folder: PathBuf,
    state: Mutex<PodState>,
    changed: Notify,
    stop: CancellationToken,
}

impl Life {
    pub(crate) fn new(node: Arc<Node>, pod: Pod, stop: CancellationToken) -> Arc<Self> {
        let spec = pod.spec.clone().unwrap_or_default();
        let progress = |container: &Container| {
            Progress::new(&container.name, container.image.as_deref().unwrap_or_default())
        };
        let state = PodState {
            address: None,
            host: node.options.address.to_string(),
            started: Timestamp::now(),
            init: spec.init_containers.iter().flatten().map(progress).collect(),
            containers: spec.containers.iter().map(progress).collect(),
            initialized: spec.init_containers.iter().flatten().next().is_none(),
        };
        let folder = node.pod_folder(&pod);
        Arc::new(Self { node, pod, folder, state: Mutex::new(state), changed: Notify::new(), stop })
    }

    /// Runs the pod until it has ended or is told to stop, and tells the API how it goes.
    pub(crate) async fn run(self: Arc<Self>) {
        let telling = tokio::spawn(self.clone().tell());
        if let Err(error) = self.clone().work().await {
            tracing::warn!(pod = self.pod.name_any(), %error, "a pod cannot run");
        }
        self.stop.cancelled().await;
        telling.abort();
        self.clean().await;
    }

    fn change(&self, change: impl FnOnce(&mut PodState)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_one();
    }

    fn containers(&self) -> Vec<Container> {
        self.pod.spec.as_ref().map(|spec| spec.containers.clone()).unwrap_or_default()
    }

    async fn work(self: Arc<Self>) -> Result<(), Error> {
        let images = loop {
            match self.images() {
                Ok(images) => break images,
                Err(error) => {
                    self.fail_all(&error);
                    tokio::select! {
                        () = self.stop.cancelled() => return Ok(()),
                        () = tokio::time::sleep(IMAGE_AGAIN) => {}
                    }
                }
            }
        };
        let (address, network, volumes) = match self.place(&images).await {
            Ok(place) => place,
            Err(error) => {
                self.fail_all(&error);
                return Err(error);
            }
        };
        self.change(|state| state.address = Some(address.to_string()));
        let volumes = Arc::new(volumes);
        let mut images = images.into_iter();
        for (at, container) in self.init_containers().into_iter().enumerate() {
            let Some(found) = images.next() else { break };
            let slot = Slot {
                life: self.clone(),
                init: true,
                at,
                container,
                found,
                address,
                network: network.clone(),
                volumes: volumes.clone(),
            };
            if !slot.run().await {
                return Ok(());
            }
        }
        self.change(|state| state.initialized = true);
        let mut running = JoinSet::new();
        for ((at, container), found) in self.containers().into_iter().enumerate().zip(images) {
            let slot = Slot {
                life: self.clone(),
                init: false,
                at,
                container,
                found,
                address,
                network: network.clone(),
                volumes: volumes.clone(),
            };
            running.spawn(async move { slot.run().await });
        }
        while running.join_next().await.is_some() {}
        Ok(())
    }

    fn init_containers(&self) -> Vec<Container> {
        self.pod.spec.as_ref().and_then(|spec| spec.init_containers.clone()).unwrap_or_default()
    }

    fn images(&self) -> Result<Vec<Found>, Error> {
        let all = self.init_containers().into_iter().chain(self.containers());
        let images = all
            .map(|container| find(&self.node.options.store, container.image.as_deref().unwrap_or_default()));
        images.collect()
    }

    fn fail_all(&self, error: &Error) {
        let (reason, message) = (error.reason(), error.to_string());
        self.change(|state| {
            for progress in state.init.iter_mut().chain(&mut state.containers) {
                progress.phase = Phase::Waiting { reason, message: message.clone() };
            }
        });
    }

    /// Where the pod runs, and what it mounts.
    async fn place(
        &self,
        images: &[Found],
    ) -> Result<(IpAddr, Option<PathBuf>, std::collections::BTreeMap<String, PathBuf>), Error> {
        let (address, network) = self.join_network(images.iter().all(Found::is_wasm)).await?;
        let volumes = volumes::prepare(&self.node.client, &self.pod, &self.folder.join("volumes")).await?;
        Ok((address, network, volumes))
    }

    /// The pod's address, and its network namespace where it has one.
    async fn join_network(&self, is_wasm: bool) -> Result<(IpAddr, Option<PathBuf>), Error> {
        if is_wasm {
            return Ok((IpAddr::V4(self.node.loopback(&self.pod)), None));
        }
        let containers = self.node.containers()?;
        let (network, id) = (containers.network.clone(), pod_id(&self.pod)?);
        let place = tokio::task::spawn_blocking(move || network.attach(&id)).await??;
        Ok((IpAddr::V4(place.address), Some(place.namespace)))
    }

    /// Tells the API about each change, the newest state in place of those that came too fast.
    async fn tell(self: Arc<Self>) {
        let pods: Api<Pod> =
            Api::namespaced(self.node.client.clone(), &self.pod.namespace().unwrap_or_default());
        let mut told = None;
        self.changed.notify_one();
        loop {
            self.changed.notified().await;
            let Ok(Some(current)) = pods.get_opt(&self.pod.name_any()).await else { continue };
            if current.uid() != self.pod.uid() {
                return;
            }
            let status = {
                let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                state.status(&current, Timestamp::now())
            };
            if told.as_ref() == Some(&status) {
                continue;
            }
            let patch = json!({"metadata": {"uid": self.pod.uid()}, "status": status});
            let parameters = PatchParams { field_manager: Some("kubelet".into()), ..PatchParams::default() };
            match pods.patch_status(&self.pod.name_any(), &parameters, &Patch::Merge(patch)).await {
                Ok(_) => told = Some(status),
                Err(kube::Error::Api(status)) if status.code == 404 => return,
                Err(error) => {
                    tracing::warn!(pod = self.pod.name_any(), %error, "cannot write a pod's status; trying again");
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    self.changed.notify_one();
                }
            }
        }
    }

    /// Takes away what the pod had on this machine, and then the pod, if it was deleted.
    async fn clean(&self) {
        self.node.release(&self.pod);
        if let (Ok(containers), Ok(id)) = (self.node.containers(), pod_id(&self.pod)) {
            let network = containers.network.clone();
            if let Ok(Err(error)) = tokio::task::spawn_blocking(move || network.detach(&id)).await {
                tracing::warn!(pod = self.pod.name_any(), %error, "cannot take a pod's network away");
            }
        }
        match tokio::fs::remove_dir_all(&self.folder).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(pod = self.pod.name_any(), %error, "cannot take a pod's directory away");
            }
            _ => {}
        }
        if self.node.shutdown.is_cancelled() {
            return;
        }
        let pods: Api<Pod> =
            Api::namespaced(self.node.client.clone(), &self.pod.namespace().unwrap_or_default());
        let preconditions = Preconditions { uid: self.pod.uid(), resource_version: None };
        let parameters = DeleteParams {
            grace_period_seconds: Some(0),
            preconditions: Some(preconditions),
            ..DeleteParams::default()
        };
        match pods.delete(&self.pod.name_any(), &parameters).await {
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => {}
            Err(error) => tracing::warn!(pod = self.pod.name_any(), %error, "cannot finish a pod's deletion"),
            Ok(_) => {}
        }
    }
}

fn pod_id(pod: &Pod) -> Result<ContainerId, Error> {
    Ok(pod.uid().unwrap_or_default().parse::<ContainerId>()?)
}

/// One container of a pod, with all that it needs to start.
struct Slot {
    life: Arc<Life>,
    init: bool,
    at: usize,
    container: Container,
    found: Found,
    address: IpAddr,
    network: Option<PathBuf>,
    volumes: Arc<std::collections::BTreeMap<String, PathBuf>>,
}

/// How a container ended.
struct End {
    code: i32,
    signal: Option<i32>,
    reason: &'static str,
    message: String,
}

impl Slot {
    fn change(&self, change: impl FnOnce(&mut Progress)) {
        self.life.change(|state| {
            let list = if self.init { &mut state.init } else { &mut state.containers };
            if let Some(progress) = list.get_mut(self.at) {
                change(progress);
            }
        });
    }

    fn restarts(&self, code: i32) -> bool {
        let policy = self.life.pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref());
        match policy.unwrap_or("Always") {
            "Never" => false,
            "OnFailure" => code != 0,
            _ => !self.init || code != 0,
        }
    }

    /// Runs the container again and again as the pod's policy says. Tells whether its last end was a success.
    async fn run(&self) -> bool {
        let stop = &self.life.stop;
        let mut pause = BACK_OFF.0;
        self.change(|progress| progress.image_id = self.found.resolved.digest.to_string());
        for attempt in 0_u32.. {
            let began = Timestamp::now();
            let clock = tokio::time::Instant::now();
            let ended = self.once(attempt).await;
            let end = ended.unwrap_or_else(|error| End {
                code: 128,
                signal: None,
                reason: error.reason(),
                message: error.to_string(),
            });
            let (code, message) = (end.code, end.message.clone());
            let phase = Phase::Ended {
                code,
                signal: end.signal,
                reason: end.reason,
                message: end.message,
                began,
                ended: Timestamp::now(),
            };
            self.change(|progress| {
                progress.ready = self.init && code == 0;
                progress.phase = phase.clone();
            });
            if stop.is_cancelled() || !self.restarts(code) {
                return code == 0;
            }
            if clock.elapsed() > FORGIVE {
                pause = BACK_OFF.0;
            }
            let wait = if attempt == 0 { Duration::ZERO } else { pause };
            if !wait.is_zero() {
                pause = (pause * 2).min(BACK_OFF.1);
                let name = &self.container.name;
                let message = format!("back-off {wait:?} restarting failed container={name}: {message}");
                self.change(|progress| {
                    progress.phase = Phase::Waiting { reason: "CrashLoopBackOff", message }
                });
            }
            tokio::select! {
                () = stop.cancelled() => return false,
                () = tokio::time::sleep(wait) => {}
            }
            self.change(|progress| {
                progress.last = Some(phase);
                progress.restarts += 1;
            });
        }
        false
    }

    fn log(&self) -> PathBuf {
        self.life.folder.join(format!("{}.log", self.container.name))
    }

    /// Runs the container once, to its end.
    async fn once(&self, attempt: u32) -> Result<End, Error> {
        let life = &self.life;
        let address = self.address.to_string();
        let env = resolve(&life.node.client, &life.pod, &self.container, &address).await?;
        tokio::fs::create_dir_all(&life.folder)
            .await
            .map_err(|source| Error::File { path: life.folder.clone(), source })?;
        if self.found.is_wasm() { self.component(env).await } else { self.process(env, attempt).await }
    }

    async fn component(&self, env: std::collections::BTreeMap<String, String>) -> Result<End, Error> {
        let life = &self.life;
        let ports: Vec<u16> = self
            .container
            .ports
            .iter()
            .flatten()
            .filter_map(|port| u16::try_from(port.container_port).ok())
            .collect();
        let options = &life.node.options;
        let ready = wasm::prepare(&options.host, &options.store, &self.found, self.address, &ports).await?;
        let args = self.container.args.iter().flatten().map(|arg| expand(arg, &env)).collect();
        let volumes = self.mounts().map(|(host_path, target, read_only)| Volume {
            host_path,
            guest_path: target,
            read_only,
        });
        let settings = WorkloadOptions {
            args,
            volumes: volumes.collect(),
            env: env.into_iter().collect(),
            outbound_http: true,
            output: Arc::new(Writer::new(self.log())),
            reuse: life.pod.annotations().get("xebec.dev/wasm-reuse").is_some_and(|own| own == "true"),
            ..WorkloadOptions::default()
        };
        let stop = life.stop.child_token();
        let running = ready.run(&options.host, settings, stop.clone());
        let code = self.watched(running, |_| stop.cancel()).await?;
        let reason = if code == 0 { "Completed" } else { "Error" };
        Ok(End { code, signal: None, reason, message: String::new() })
    }

    async fn process(
        &self,
        env: std::collections::BTreeMap<String, String>,
        attempt: u32,
    ) -> Result<End, Error> {
        let life = &self.life;
        let Content::Container(config) = &self.found.resolved.content else {
            return Err(Error::Config("the image is no container image".to_owned()));
        };
        let runtime = life.node.containers()?.runtime.clone();
        let uid = life.pod.uid().unwrap_or_default();
        let kind = if self.init { "i" } else { "c" };
        let id: ContainerId = format!("{uid}.{kind}{}.{attempt}", self.at).parse()?;
        let own = &config.config;
        let entry = self.container.command.clone().unwrap_or_else(|| own.entrypoint.clone());
        let plain = if self.container.command.is_some() { Vec::new() } else { own.cmd.clone() };
        let args = self.container.args.clone().unwrap_or(plain);
        let all = entry.into_iter().chain(args).map(|arg| expand(&arg, &env)).collect();
        let mut spec = ContainerSpec::new(all, self.log());
        spec.env = own.env.clone();
        spec.env.extend(env.iter().map(|(key, value)| format!("{key}={value}")));
        spec.working_dir = self.container.working_dir.clone().unwrap_or_else(|| own.working_dir.clone());
        spec.user = own.user.clone();
        spec.hostname = Some(life.pod.name_any());
        spec.network = self.network.clone().map_or(Network::Isolated, Network::Namespace);
        spec.mounts = self
            .mounts()
            .map(|(source, target, read_only)| Mount { source, target: target.into(), read_only })
            .collect();
        spec.resources = self.resources();
        let image = Image {
            store: life.node.options.store.clone(),
            name: self.found.name.clone(),
            manifest: self.found.resolved.manifest.clone(),
            config: (**config).clone(),
        };
        let mut container = runtime.create(&id, &image, &spec).await?;
        self.change(|progress| progress.id = format!("xebec://{id}"));
        container.start().await?;
        let ended = {
            let waiting = async {
                tokio::select! {
                    exit = container.wait() => exit,
                    () = life.stop.cancelled() => {
                        container.kill(Signal::TERM)?;
                        match tokio::time::timeout(self.grace(), container.wait()).await {
                            Ok(exit) => exit,
                            Err(_) => {
                                container.kill(Signal::KILL)?;
                                container.wait().await
                            }
                        }
                    }
                }
            };
            let kill = |error: &str| {
                tracing::info!(pod = life.pod.name_any(), %error, "a container failed its liveness probe");
                if let Err(error) = container.kill(Signal::KILL) {
                    tracing::warn!(%error, "cannot kill a container");
                }
            };
            self.watched(async { waiting.await.map_err(Error::from) }, kill).await
        };
        container.delete().await?;
        let exit = ended?;
        let reason = match (exit.out_of_memory, exit.code) {
            (true, _) => "OOMKilled",
            (false, 0) => "Completed",
            (false, _) => "Error",
        };
        Ok(End { code: exit.code, signal: exit.signal, reason, message: String::new() })
    }

    fn grace(&self) -> Duration {
        let spec = self.life.pod.spec.as_ref();
        let seconds = spec.and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(30);
        Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
    }

    /// Source, target, and whether the container may only read.
    fn mounts(&self) -> impl Iterator<Item = (PathBuf, String, bool)> {
        self.container.volume_mounts.iter().flatten().filter_map(|mount| {
            let mut source = self.volumes.get(&mount.name)?.clone();
            if let Some(inner) = &mount.sub_path {
                source.push(inner);
            }
            Some((source, mount.mount_path.clone(), mount.read_only.unwrap_or(false)))
        })
    }

    fn resources(&self) -> Resources {
        let limits = self.container.resources.as_ref().and_then(|resources| resources.limits.as_ref());
        let amount = |name: &str, factor: f64| {
            let quantity = limits?.get(name)?;
            let value = crate::agent::quantity(&quantity.0)? * factor;
            // Amounts are far below 2^53.
            (value >= 1.0).then_some(value as u64)
        };
        Resources {
            memory_bytes: amount("memory", 1.0),
            cpu_millis: amount("cpu", 1000.0),
            ..Resources::default()
        }
    }

    /// Lets a container run beside its probes. `kill` is called when it fails its liveness probe.
    async fn watched<T>(
        &self,
        running: impl Future<Output = Result<T, Error>>,
        kill: impl Fn(&str),
    ) -> Result<T, Error> {
        let readiness = self.container.readiness_probe.clone().filter(is_network);
        let liveness = self.container.liveness_probe.clone().filter(is_network);
        let at_once = readiness.is_none() && !self.init;
        self.change(|progress| {
            progress.phase = Phase::Running { since: Timestamp::now() };
            progress.ready = at_once;
        });
        let ready = self.probing(readiness, |verdict, _| self.change(|progress| progress.ready = verdict));
        let alive = self.probing(liveness, |verdict, why| {
            if !verdict {
                kill(why);
            }
        });
        tokio::select! {
            ended = running => ended,
            never = ready => never,
            never = alive => never,
        }
    }

    /// Probes on and on, and tells each verdict.
    async fn probing<T>(&self, probe: Option<Probe>, verdict: impl Fn(bool, &str)) -> Result<T, Error> {
        let Some(probe) = probe else { return std::future::pending().await };
        let timing = Timing::of(&probe);
        let mut tally = Tally::new(timing);
        tokio::time::sleep(timing.delay).await;
        let address = self.address.to_string();
        let mut eager = 20_u32;
        loop {
            let outcome = once(&probe, &self.container, &address, timing.timeout).await;
            let why = outcome.as_ref().err().cloned().unwrap_or_default();
            if let Some(is_good) = tally.note(outcome.is_ok()) {
                verdict(is_good, &why);
            }
            // A container that comes up is ready soon: it is asked more often at first.
            let pause =
                if outcome.is_err() && eager > 0 { Duration::from_millis(100) } else { timing.period };
            eager = eager.saturating_sub(1);
            tokio::time::sleep(pause.min(timing.period)).await;
        }
    }
}
