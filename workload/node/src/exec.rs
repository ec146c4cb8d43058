//! Commands in running containers, and their own processes' streams: what `kubectl exec` and `kubectl attach` carry over
//! the network.

use std::fmt;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt as _;
use tokio::io::{AsyncRead, AsyncWrite};
use xebec_container::{Attachment, Exec, Streams, Terminal, TerminalSize};

use crate::adoption::Name;
use crate::agent::Containers;

/// What is to run where (`PodExecOptions`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecRequest {
    /// The container; the pod's first where none is named.
    pub container: Option<String>,
    /// The command and its arguments.
    pub command: Vec<String>,
    /// The command runs on a terminal of this size.
    pub terminal: Option<TerminalSize>,
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecError {
    /// The pod has no such container.
    #[error("container {container} is not valid for pod {pod}")]
    UnknownContainer {
        /// The container.
        container: String,
        /// The pod.
        pod: String,
    },
    /// The container does not run now.
    #[error("container {container:?} in pod {pod:?} is not running: wait until it does")]
    NotRunning {
        /// The container.
        container: String,
        /// The pod.
        pod: String,
    },
    /// The container is a WebAssembly component.
    #[error("container {container:?} is a WebAssembly component, in which no commands run: look at its log")]
    Component {
        /// The container.
        container: String,
    },
    /// Nothing is to run.
    #[error("you must specify at least one command for the container")]
    NoCommand,
    /// The machine refused.
    #[error(transparent)]
    Container(#[from] xebec_container::Error),
}

/// A stream that a command reads from.
pub type Input = Box<dyn AsyncWrite + Send + Unpin>;
/// A stream that a command writes to.
pub type Output = Box<dyn AsyncRead + Send + Unpin>;

/// A running command with its streams. It is killed when this is dropped before its end.
pub struct ExecSession {
    exec: Exec,
    terminal: Option<Terminal>,
    /// What the command reads; it sees the end of its input when this is dropped (not on a terminal).
    pub stdin: Option<Input>,
    /// What it says; on a terminal, everything.
    pub stdout: Option<Output>,
    /// What it complains of; nothing on a terminal.
    pub stderr: Option<Output>,
}

impl fmt::Debug for ExecSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecSession").field("terminal", &self.terminal.is_some()).finish_non_exhaustive()
    }
}

/// Begins a command in a container of a pod. The pod is as the API has it now: its status names the container's process.
///
/// # Errors
/// When there is no such container, or it does not run. A command that is not there ends with code 126 instead, and says
/// why on its standard error.
pub async fn exec(
    containers: &Containers,
    pod: &Pod,
    request: &ExecRequest,
) -> Result<ExecSession, ExecError> {
    if request.command.is_empty() {
        return Err(ExecError::NoCommand);
    }
    let container = running(containers, pod, request.container.as_deref())?;
    let mut exec = match request.terminal {
        Some(size) => container.exec_on_terminal(&request.command, size).await?,
        None => container.exec(&request.command)?,
    };
    let terminal = exec.terminal.clone();
    let (stdin, stdout): (Option<Input>, Option<Output>) = match &terminal {
        Some(terminal) => (Some(Box::new(terminal.clone())), Some(Box::new(terminal.clone()))),
        None => (
            exec.stdin.take().map(|stdin| Box::new(stdin) as Input),
            exec.stdout.take().map(|stdout| Box::new(stdout) as Output),
        ),
    };
    let stderr = exec.stderr.take().map(|stderr| Box::new(stderr) as Output);
    Ok(ExecSession { exec, terminal, stdin, stdout, stderr })
}

/// Attaches to a container's own process. The pod is as the API has it now.
///
/// # Errors
/// When there is no such container, or it does not run, or it is a component.
pub async fn attach(
    containers: &Containers,
    pod: &Pod,
    container: &str,
    streams: Streams,
) -> Result<Attachment, ExecError> {
    Ok(running(containers, pod, Some(container))?.attach(streams).await?)
}

impl ExecSession {
    /// Tells the command how large its terminal is from now on. Without one this does nothing.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn resize(&self, size: TerminalSize) -> std::io::Result<()> {
        self.terminal.as_ref().map_or(Ok(()), |terminal| terminal.resize(size))
    }

    /// Waits for the command's end and gives its exit code. What it said may still be read.
    ///
    /// # Errors
    /// When the machine refuses.
    pub async fn wait(&mut self) -> Result<i32, ExecError> {
        Ok(self.exec.wait().await?)
    }

    /// Kills the command.
    pub fn kill(&mut self) {
        self.exec.kill();
    }
}

/// The container's process, by what the pod's status says of it.
fn running(
    containers: &Containers,
    pod: &Pod,
    wanted: Option<&str>,
) -> Result<xebec_container::Container, ExecError> {
    let name = container_of(pod, wanted)?;
    let not_running = || ExecError::NotRunning { container: name.clone(), pod: pod.name_any() };
    let status = status_of(pod, &name).ok_or_else(not_running)?;
    let runs = status.state.as_ref().is_some_and(|state| state.running.is_some());
    let id = status.container_id.as_deref().filter(|_| runs).ok_or_else(|| {
        // Components have no process.
        if runs { ExecError::Component { container: name.clone() } } else { not_running() }
    })?;
    let id = id.rsplit("://").next().unwrap_or_default().parse()?;
    // Whoever may write a pod's status must not reach another pod's containers by it.
    let is_own = Name::parse(&id).is_some_and(|name| Some(&name.pod) == pod.metadata.uid.as_ref());
    containers.runtime.find(&id).filter(|_| is_own).ok_or_else(not_running)
}

/// Which container is meant: the named one, the one that an annotation names, or the first.
fn container_of(pod: &Pod, wanted: Option<&str>) -> Result<String, ExecError> {
    let annotated = pod.annotations().get("kubectl.kubernetes.io/default-container").map(String::as_str);
    let spec = pod.spec.as_ref();
    let main = || spec.into_iter().flat_map(|spec| &spec.containers);
    let all = spec.into_iter().flat_map(|spec| spec.init_containers.iter().flatten()).chain(main());
    let guests = spec.into_iter().flat_map(|spec| spec.ephemeral_containers.iter().flatten());
    let mut names =
        all.map(|container| container.name.as_str()).chain(guests.map(|guest| guest.name.as_str()));
    let wanted = wanted.filter(|name| !name.is_empty()).or(annotated);
    let Some(wanted) = wanted else {
        return Ok(main().next().map(|container| container.name.clone()).unwrap_or_default());
    };
    let found = names.any(|name| name == wanted);
    let unknown = || ExecError::UnknownContainer { container: wanted.to_owned(), pod: pod.name_any() };
    found.then(|| wanted.to_owned()).ok_or_else(unknown)
}

fn status_of<'a>(pod: &'a Pod, container: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let all = status.init_container_statuses.iter().flatten();
    let all = all.chain(status.container_statuses.iter().flatten());
    all.chain(status.ephemeral_container_statuses.iter().flatten()).find(|own| own.name == container)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn pod(annotations: serde_json::Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "annotations": annotations},
            "spec": {"initContainers": [{"name": "init"}], "containers": [{"name": "a"}, {"name": "b"}]},
        }))
        .unwrap_or_default()
    }

    #[test]
    fn the_container_is_named_annotated_or_the_first() {
        let plain = pod(json!({}));
        assert_eq!(container_of(&plain, None).ok().as_deref(), Some("a"));
        assert_eq!(container_of(&plain, Some("init")).ok().as_deref(), Some("init"));
        let refused = container_of(&plain, Some("c")).map_err(|error| error.to_string());
        assert_eq!(refused, Err("container c is not valid for pod web".to_owned()));
        let annotated = pod(json!({"kubectl.kubernetes.io/default-container": "b"}));
        assert_eq!(container_of(&annotated, None).ok().as_deref(), Some("b"));
    }
}
