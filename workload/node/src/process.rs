//! A container as a process of its own.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use xebec_container::{ContainerId, ContainerSpec, Image, Mount, Network, Resources, Signal, Stdin};
use xebec_oci::image::{Content, ImageConfig};

use crate::adoption::Name;
use crate::environment::expand;
use crate::event::Kind;
use crate::image::Found;
use crate::place::Place;
use crate::slot::{End, Slot};
use crate::vigil::{Halt, Target};
use crate::{Error, logs, resolution, security, termination};

/// How soon a container is given again what the kernel did not let it have.
const RESIZE_AGAIN: Duration = Duration::from_secs(5);

impl Halt for xebec_container::Container {
    fn ask(&self) {
        signal(self, Signal::TERM);
    }

    fn force(&self) {
        signal(self, Signal::KILL);
    }
}

fn signal(container: &xebec_container::Container, signal: Signal) {
    if let Err(error) = container.kill(signal) {
        tracing::warn!(%error, "a container cannot be told to end");
    }
}

impl Slot {
    /// Where the container's output goes.
    pub(crate) fn log(&self) -> PathBuf {
        self.life.folder.join(format!("{}.log", self.container.name))
    }

    fn message_file(&self) -> PathBuf {
        self.life.folder.join(format!("{}.termination", self.container.name))
    }

    /// Begins the container and lets it run to its end.
    pub(crate) async fn process(
        &self,
        place: &Place,
        found: &Found,
        env: BTreeMap<String, String>,
    ) -> Result<End, Error> {
        let life = &self.life;
        let Content::Container(config) = &found.resolved.content else {
            return Err(Error::Config("the image is no container image".to_owned()));
        };
        let runtime = life.node.containers()?.runtime.clone();
        let attempt = self.look(|progress| u32::try_from(progress.restarts).unwrap_or(0));
        let id = Name { pod: life.uid(), place: self.place_name(), attempt }.id()?;
        let mut spec = self.process_spec(place, config, &env).await?;
        let asked = self.asked();
        spec.resources = amounts(&asked);
        let image = Image {
            store: life.node.options.store.clone(),
            name: found.name.clone(),
            manifest: found.resolved.manifest.clone(),
            config: (**config).clone(),
        };
        // One of that name that an earlier process had not done with is in the way.
        if let Some(old) = runtime.find(&id) {
            old.delete().await?;
        }
        logs::begin_anew(&self.log()).await?;
        let mut process = runtime.create(&id, &image, &spec).await?;
        self.note(Kind::Normal, "Created", "Container created".to_owned());
        self.change(|progress| {
            progress.id = container_id(&id);
            progress.resources = Some(asked.clone());
        });
        if let Err(error) = process.start().await {
            // It exists all the same, and nobody else knows of it.
            crate::adoption::delete(process).await;
            return Err(error.into());
        }
        self.note(Kind::Normal, "Started", "Container started".to_owned());
        self.watch_process(place, process, true).await
    }

    /// Takes over a container that an earlier process began.
    pub(crate) async fn go_on(
        &self,
        place: &Place,
        process: xebec_container::Container,
    ) -> Result<Option<End>, Error> {
        self.watch_process(place, process, false).await.map(Some)
    }

    async fn watch_process(
        &self,
        place: &Place,
        process: xebec_container::Container,
        is_new: bool,
    ) -> Result<End, Error> {
        let ended = {
            let target =
                Target { container: &self.container, address: place.address, process: Some(&process) };
            let waiting = async {
                tokio::select! {
                    exit = process.wait() => exit.map_err(Error::from),
                    never = self.keep_sized(&process) => match never {},
                }
            };
            self.live(&target, is_new, &process, waiting).await
        };
        process.delete().await?;
        let exit = ended?;
        let mut end = End::of(exit.code, exit.signal, exit.out_of_memory);
        end.message =
            termination::message(&self.container, &self.message_file(), &self.log(), end.code).await;
        Ok(end)
    }

    async fn process_spec(
        &self,
        place: &Place,
        config: &ImageConfig,
        env: &BTreeMap<String, String>,
    ) -> Result<ContainerSpec, Error> {
        let own = &config.config;
        let entry = self.container.command.clone().unwrap_or_else(|| own.entrypoint.clone());
        let plain = if self.container.command.is_some() { Vec::new() } else { own.cmd.clone() };
        let args = self.container.args.clone().unwrap_or(plain);
        let all = entry.into_iter().chain(args).map(|arg| expand(&arg, env)).collect();
        let mut spec = ContainerSpec::new(all, self.log());
        spec.env = own.env.clone();
        spec.env.extend(env.iter().map(|(key, value)| format!("{key}={value}")));
        spec.working_dir = self.container.working_dir.clone().unwrap_or_else(|| own.working_dir.clone());
        spec.user = own.user.clone();
        security::apply(&self.life.pod, &self.container, &mut spec)?;
        let called = resolution::called(&self.life.pod, self.life.node.options.dns.as_ref())?;
        spec.sysctls = security::sysctls(&self.life.pod);
        let host_network = self.life.spec().is_some_and(|spec| spec.host_network == Some(true));
        spec.hostname = (!host_network).then(|| called.host.clone());
        spec.network = place.network.clone();
        spec.user_namespace = place.users.clone();
        spec.stdin = stdin(&self.container);
        spec.terminal = self.container.tty == Some(true);
        for mounted in self.mounts(place, env).await? {
            spec.mounts.push(Mount {
                source: mounted.source,
                part: mounted.part,
                target: mounted.mount.mount_path.clone().into(),
                read_only: mounted.read_only,
            });
        }
        self.add_names(place, &called, &mut spec).await?;
        let file = self.message_file();
        termination::prepare(&file).await?;
        let target = self.container.termination_message_path.clone();
        let target = target.filter(|path| !path.is_empty()).unwrap_or_else(|| termination::PATH.to_owned());
        let message = Mount { source: file, part: PathBuf::new(), target: target.into(), read_only: false };
        spec.mounts.push(message);
        Ok(spec)
    }

    /// Gives the container the files by which names are looked up, unless it brings its own.
    async fn add_names(
        &self,
        place: &Place,
        called: &resolution::Called,
        spec: &mut ContainerSpec,
    ) -> Result<(), Error> {
        let pod = &self.life.pod;
        let machines = async |path: &str| tokio::fs::read_to_string(path).await.unwrap_or_default();
        let hosts = match spec.network {
            Network::Host => resolution::machine_hosts(pod, &machines("/etc/hosts").await),
            _ => resolution::hosts(pod, place.address, called),
        };
        let dns = self.life.node.options.dns.as_ref();
        let resolver = resolution::resolv_conf(pod, &machines("/etc/resolv.conf").await, dns);
        let files = [("etc-hosts", "/etc/hosts", hosts), ("resolv.conf", "/etc/resolv.conf", resolver)];
        for (name, target, content) in files {
            if spec.mounts.iter().any(|mount| mount.target.as_os_str() == target) {
                continue;
            }
            let source = self.life.folder.join(name);
            // The file may be another container's already, which keeps what it holds.
            if !source.exists() {
                let failed = |error| Error::File { path: source.clone(), source: error };
                tokio::fs::write(&source, content).await.map_err(failed)?;
            }
            let (part, read_only) = (PathBuf::new(), spec.read_only_root);
            spec.mounts.push(Mount { source, part, target: target.into(), read_only });
        }
        Ok(())
    }

    /// What the pod asks for on behalf of the container now.
    fn asked(&self) -> ResourceRequirements {
        let pod = self.life.latest.borrow().clone();
        let spec = pod.spec.as_ref();
        let all =
            spec.into_iter().flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers));
        let own = all.into_iter().find(|own| own.name == self.container.name);
        own.and_then(|own| own.resources.clone()).unwrap_or_default()
    }

    /// Gives the running container what the pod asks for, whenever that changes.
    async fn keep_sized(&self, process: &xebec_container::Container) -> Infallible {
        let mut latest = self.life.latest.subscribe();
        loop {
            latest.mark_unchanged();
            let asked = self.asked();
            let mut is_behind = false;
            if self.look(|progress| progress.resources.as_ref() != Some(&asked)) {
                let given = process.limit(&amounts(&asked));
                is_behind = given.is_err();
                self.change(|progress| match given {
                    Ok(()) => (progress.resources, progress.refused) = (Some(asked), None),
                    Err(error) => progress.refused = Some(error.to_string()),
                });
            }
            tokio::select! {
                Ok(()) = latest.changed() => {}
                () = tokio::time::sleep(RESIZE_AGAIN), if is_behind => {}
                else => std::future::pending().await,
            }
        }
    }
}

/// What the container's process reads.
fn stdin(container: &Container) -> Stdin {
    match (container.stdin, container.stdin_once) {
        (Some(true), Some(true)) => Stdin::Once,
        (Some(true), _) => Stdin::Open,
        _ => Stdin::Nothing,
    }
}

/// What the kernel is to hold a container to.
fn amounts(asked: &ResourceRequirements) -> Resources {
    let amount = |list: Option<&BTreeMap<String, Quantity>>, name: &str, factor: f64| {
        let value = crate::quantity::quantity(&list?.get(name)?.0)? * factor;
        // Amounts are far below 2^53.
        (value >= 1.0).then_some(value as u64)
    };
    let limits = asked.limits.as_ref();
    let requests = asked.requests.as_ref().or(limits);
    Resources {
        memory_bytes: amount(limits, "memory", 1.0),
        cpu_millis: amount(limits, "cpu", 1000.0),
        // Without a request a container gets the least share, as with the kubelet.
        cpu_request_millis: Some(amount(requests, "cpu", 1000.0).unwrap_or(2)),
        ..Resources::default()
    }
}

/// A container's name as statuses tell it.
fn container_id(id: &ContainerId) -> String {
    format!("xebec://{id}")
}
