//! A container that is a WebAssembly component, in this process.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsRawFd as _;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Container;
use kube::ResourceExt as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use xebec_container::Network;
use xebec_wasm::{Found as Way, LEAST_MEMORY, LoopbackNetwork, Names, Volume, WorkloadOptions};

use crate::environment::expand;
use crate::event::Kind;
use crate::image::Found;
use crate::log_writer::Writer;
use crate::place::Place;
use crate::pod::pod_id;
use crate::quantity::quantity;
use crate::slot::{End, Slot};
use crate::vigil::{Halt, Target};
use crate::{Error, logs, termination, wasm};

/// The loopback addresses that the platform gives away to pods and Gateways; the machine's own services are in the other half.
const PODS_AND_GATEWAYS: LoopbackNetwork = (Ipv4Addr::new(127, 128, 0, 0), 9);

/// The port of a component whose container names none.
const PORT: u16 = 8080;

/// The names that a component knows: what `localhost` is to it are the other containers of its pod.
struct InPod {
    address: IpAddr,
    others: Option<Arc<dyn Names>>,
}

impl Names for InPod {
    fn find(&self, host: &str, port: u16) -> Way {
        let is_here = host.eq_ignore_ascii_case("localhost")
            || host.parse::<IpAddr>().is_ok_and(|address| address == Ipv4Addr::LOCALHOST);
        if is_here {
            return Way::At(vec![SocketAddr::new(self.address, port)]);
        }
        self.others.as_ref().map_or(Way::Unknown, |others| others.find(host, port))
    }
}

/// The command line. An image of WebAssembly names no program, so it is the container's name unless the pod says otherwise.
fn args(container: &Container, env: &BTreeMap<String, String>) -> Vec<String> {
    let own_name = || vec![container.name.clone()];
    let command = container.command.clone().filter(|command| !command.is_empty()).unwrap_or_else(own_name);
    command.iter().chain(container.args.iter().flatten()).map(|arg| expand(arg, env)).collect()
}

/// The memory that an instance may have: what the container's limit says, as far as the host gives it.
fn memory_limit(container: &Container, most: usize) -> usize {
    let limits = container.resources.as_ref().and_then(|own| own.limits.as_ref());
    let limit = limits.and_then(|limits| quantity(&limits.get("memory")?.0));
    // Amounts are far below 2^53.
    limit.map_or(WorkloadOptions::default().memory_limit, |bytes| bytes as usize).clamp(LEAST_MEMORY, most)
}

impl Halt for CancellationToken {
    fn ask(&self) {
        self.cancel();
    }

    fn force(&self) {
        self.cancel();
    }
}

impl Slot {
    /// Begins the component and lets it run to its end.
    pub(crate) async fn component(
        &self,
        place: &Place,
        found: &Found,
        env: BTreeMap<String, String>,
    ) -> Result<End, Error> {
        let life = &self.life;
        let options = &life.node.options;
        let compiled = wasm::compile(&options.host, &options.store, found).await?;
        let listeners = if compiled.kind().is_http() { self.listeners(place).await? } else { Vec::new() };
        let ready = wasm::Ready::new(compiled, listeners);
        self.note(Kind::Normal, "Created", "Container created".to_owned());
        let args = args(&self.container, &env);
        // Held until the component has ended: each instance opens them anew.
        let mounts = self.mounts(place, &env).await?;
        let volumes = mounts.iter().map(|mounted| Volume {
            host_path: format!("/proc/self/fd/{}", mounted.held.as_raw_fd()).into(),
            guest_path: mounted.mount.mount_path.clone(),
            read_only: mounted.read_only,
        });
        logs::begin_anew(&self.log()).await?;
        let writer = Writer::start(self.log());
        let settings = WorkloadOptions {
            args,
            volumes: volumes.collect(),
            env: env.into_iter().collect(),
            outbound_http: true,
            loopback: Arc::new([PODS_AND_GATEWAYS]),
            names: self.names(place),
            memory_limit: memory_limit(&self.container, options.host.max_memory()),
            // A request has an end in sight; a command may take what it takes, as any container does.
            time_limit: if ready.is_command() { None } else { WorkloadOptions::default().time_limit },
            output: Arc::new(writer.lines()),
            reuse: life.pod.annotations().get("xebec.dev/wasm-reuse").is_some_and(|own| own == "true"),
            ..WorkloadOptions::default()
        };
        let stop = CancellationToken::new();
        let running = ready.run(&options.host, settings, stop.clone());
        self.note(Kind::Normal, "Started", "Container started".to_owned());
        let target = Target { container: &self.container, address: place.address, process: None };
        let lived = self.live(&target, true, &stop, running).await;
        writer.finish().await;
        let code = lived?;
        let mut end = End::of(code, None, false);
        let none = life.folder.join("no-message");
        drop(mounts);
        end.message = termination::message(&self.container, &none, &self.log(), code).await;
        Ok(end)
    }

    /// Takes the component's ports: at the pod's address, or in the network that it shares with containers.
    async fn listeners(&self, place: &Place) -> Result<Vec<TcpListener>, Error> {
        let ports = self.container.ports.iter().flatten();
        let mut ports: Vec<u16> = ports.filter_map(|port| u16::try_from(port.container_port).ok()).collect();
        if ports.is_empty() {
            ports.push(PORT);
        }
        let mut listeners = Vec::new();
        for port in ports {
            let address = SocketAddr::new(place.address, port);
            let listener = match &place.network {
                Network::Namespace(_) => {
                    let network = self.life.node.containers()?.network.clone();
                    let pod = pod_id(&self.life.pod)?;
                    let bound = tokio::task::spawn_blocking(move || network.listen(&pod, port)).await?;
                    bound.and_then(TcpListener::from_std)
                }
                _ => TcpListener::bind(address).await,
            };
            listeners.push(listener.map_err(|source| Error::Listen { address, source })?);
        }
        Ok(listeners)
    }

    fn names(&self, place: &Place) -> Option<Arc<dyn Names>> {
        let life = &self.life;
        let others = life.node.options.names.as_ref();
        let others = others.map(|of| of(&life.pod.namespace().unwrap_or_default()));
        if life.spec().is_some_and(|spec| spec.host_network == Some(true)) {
            return others;
        }
        Some(Arc::new(InPod { address: place.address, others }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn container(more: serde_json::Value) -> Container {
        let mut container = json!({"name": "main"});
        if let (Some(all), serde_json::Value::Object(more)) = (container.as_object_mut(), more) {
            all.extend(more);
        }
        serde_json::from_value(container).unwrap_or_default()
    }

    #[test]
    fn a_command_line_begins_with_the_program() {
        let env = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
        assert_eq!(args(&container(json!({})), &env), ["main"]);
        assert_eq!(args(&container(json!({"args": ["x$(A)"]})), &env), ["main", "x1"]);
        let whole = container(json!({"command": ["tool", "$(A)"], "args": ["y"]}));
        assert_eq!(args(&whole, &env), ["tool", "1", "y"]);
    }

    #[test]
    fn memory_is_what_the_container_may_have() {
        let limit = |memory: &str| {
            memory_limit(&container(json!({"resources": {"limits": {"memory": memory}}})), 1 << 30)
        };
        assert_eq!(limit("64Mi"), 64 << 20);
        assert_eq!((limit("1"), limit("4Gi")), (LEAST_MEMORY, 1 << 30));
        assert_eq!(memory_limit(&container(json!({})), 1 << 30), WorkloadOptions::default().memory_limit);
    }
}
