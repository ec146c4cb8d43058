//! Sessions with containers: a further command, or the streams of the one that runs.

use std::path::PathBuf;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use xebec_apiserver::pods::{Run, SessionRequest};
use xebec_container::{AttachedInput, Attachment, Error, Stream, Streams, TerminalSize};
use xebec_machinery::status::Status;
use xebec_node::Containers;
use xebec_node::exec::{ExecError, ExecRequest, ExecSession, attach, exec};
use xebec_node::logs::{LogOptions, read};
use xebec_streams::{Input, Output, Session, Size, Sizes, Wants};

use super::{LocalPods, until_gone};

/// The most that is read from a process at once.
const PIECE: usize = 32 << 10;
/// How long the last output of a process may take to come.
const LAST_OUTPUT: Duration = Duration::from_secs(2);

/// Finds the container, and gives what serves a session with it.
pub(super) async fn begin(
    pods: &LocalPods,
    pod: &Value,
    container: &str,
    asked: SessionRequest,
) -> Result<Run, Status> {
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let statuses = ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"].into_iter();
    let mut statuses = statuses.flat_map(|list| pod["status"][list].as_array().into_iter().flatten());
    let status = statuses.find(|status| status["name"] == container);
    let running = status.filter(|status| status["state"]["running"].is_object());
    if running.is_none() {
        return Err(Status::bad_request(format!("container not running ({container} of pod {name})")));
    }
    let typed = serde_json::from_value::<Pod>(pod.clone())
        .map_err(|error| Status::internal(&format!("pod {name} cannot be read: {error}")))?;
    let Some(command) = asked.command else {
        let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
        let path = pods.folder.join(uid).join(format!("{container}.log"));
        let log = Log { path, client: pods.client.get().cloned(), pod: pod.clone() };
        let target = Target { containers: pods.containers.get().cloned(), pod: typed, log };
        let (container, wants) = (container.to_owned(), asked.wants);
        return Ok(Box::new(move |session| Box::pin(target.join(session, container, wants))));
    };
    let Some(containers) = pods.containers.get() else {
        return Err(Status::bad_request("no containers run on this machine, and components run no commands"));
    };
    let terminal = asked.wants.tty.then(TerminalSize::default);
    let request = ExecRequest { container: Some(container.to_owned()), command, terminal };
    let begun = exec(containers, &typed, &request).await;
    let exec = begun.map_err(|error| match error {
        ExecError::Container(error) => Status::internal(&error.to_string()),
        error => Status::bad_request(error.to_string()),
    })?;
    Ok(Box::new(move |session| Box::pin(carry(session, exec))))
}

/// Carries a command's streams until it has ended, and tells its code. A client that leaves takes its command along.
async fn carry(session: Session, mut exec: ExecSession) {
    let Session { stdin, stdout, stderr, sizes, outcome, gone } = session;
    let (near_in, near_out, near_err) = (exec.stdin.take(), exec.stdout.take(), exec.stderr.take());
    let typing = AbortOnDropHandle::new(tokio::spawn(async move {
        if let (Some(stdin), Some(near)) = (stdin, near_in) {
            type_in(stdin, near).await;
        }
    }));
    let mut sizes = sizes;
    let reading = async { tokio::join!(tell(near_out, stdout), tell(near_err, stderr)) };
    let mut reading = std::pin::pin!(reading);
    let mut read = false;
    let ended = loop {
        tokio::select! {
            ended = exec.wait() => break ended,
            _ = &mut reading, if !read => read = true,
            Some(size) = next(&mut sizes) => {
                let size = TerminalSize { rows: size.height, columns: size.width };
                if let Err(error) = exec.resize(size) {
                    tracing::debug!(%error, "a terminal keeps its size");
                }
            }
            () = gone.cancelled() => return exec.kill(),
        }
    };
    if !read {
        // What the command has started may hold its output open for ever.
        _ = tokio::time::timeout(LAST_OUTPUT, reading).await;
    }
    drop(typing);
    match ended {
        Ok(code) => outcome.exited(code).await,
        Err(error) => outcome.failed(&error.to_string()).await,
    }
}

async fn next(sizes: &mut Option<Sizes>) -> Option<Size> {
    sizes.as_mut()?.recv().await
}

async fn type_in(mut stdin: Input, mut near: impl AsyncWrite + Unpin) {
    while let Some(data) = stdin.recv().await {
        if near.write_all(&data).await.is_err() {
            return;
        }
    }
}

/// Sends all output on; where nobody wants it, it is read all the same, so that its writer never waits.
async fn tell(near: Option<impl AsyncRead + Unpin>, output: Option<Output>) {
    let Some(mut near) = near else { return };
    let mut buffer = BytesMut::with_capacity(PIECE);
    // A terminal's reader fails where a file's would end.
    while let Ok(1..) = near.read_buf(&mut buffer).await {
        let data = buffer.split().freeze();
        if let Some(output) = &output
            && output.write(data).await.is_err()
        {
            return;
        }
        buffer.reserve(PIECE);
    }
}

/// What a client attaches to.
struct Target {
    containers: Option<Containers>,
    pod: Pod,
    log: Log,
}

/// A container's log, and what tells when it ends.
struct Log {
    path: PathBuf,
    client: Option<kube::Client>,
    pod: Value,
}

impl Target {
    /// Attaches the client for as long as it stays or the container runs.
    async fn join(self, session: Session, container: String, wants: Wants) {
        let streams =
            Streams { stdin: wants.stdin, stdout: wants.stdout, stderr: wants.stderr && !wants.tty };
        let joined = match &self.containers {
            Some(containers) => attach(containers, &self.pod, &container, streams).await,
            None => Err(ExecError::Component { container }),
        };
        match joined {
            Ok(attachment) => carry_attached(session, attachment).await,
            // Such a one has no streams but its log.
            Err(ExecError::Component { .. } | ExecError::Container(Error::NotAttachable { .. })) => {
                let gone = session.gone.clone();
                tokio::select! {
                    () = self.log.show(session, gone.child_token()) => {}
                    () = gone.cancelled() => {}
                }
            }
            Err(error) => session.outcome.failed(&error.to_string()).await,
        }
    }
}

/// Carries the streams of a container's own process until it has ended, or until the client has typed all it wants to
/// where that is the end.
async fn carry_attached(session: Session, attachment: Attachment) {
    let Session { stdin, stdout, stderr, sizes, outcome, gone } = session;
    let Attachment { input, mut output } = attachment;
    let typing = AbortOnDropHandle::new(tokio::spawn(pass_on(stdin, sizes, input)));
    let telling = async {
        while let Some((stream, said)) = output.next().await? {
            let output = if stream == Stream::Stdout { &stdout } else { &stderr };
            if let Some(output) = output
                && output.write(said.into()).await.is_err()
            {
                return Ok(false);
            }
        }
        std::io::Result::Ok(true)
    };
    let told = tokio::select! {
        told = telling => told,
        () = gone.cancelled() => Ok(false),
    };
    drop(typing);
    match told {
        Ok(true) => outcome.exited(0).await,
        // Nobody is left to be told.
        Ok(false) => {}
        Err(error) => outcome.failed(&error.to_string()).await,
    }
}

/// Passes on what the client types and how large its terminal is, and stays until it is ended: the container takes the end
/// for a departure.
async fn pass_on(mut stdin: Option<Input>, mut sizes: Option<Sizes>, mut input: AttachedInput) {
    loop {
        let passed = tokio::select! {
            data = typed(&mut stdin) => match data {
                Some(data) => input.write(&data).await,
                None => {
                    stdin = None;
                    input.end().await
                }
            },
            Some(size) = next(&mut sizes) => {
                input.resize(TerminalSize { rows: size.height, columns: size.width }).await
            }
        };
        if passed.is_err() {
            // Its output says that it has ended.
            return;
        }
    }
}

/// What is typed next; nothing once there is no more, and for ever nothing where nothing is typed.
async fn typed(stdin: &mut Option<Input>) -> Option<Bytes> {
    match stdin {
        Some(stdin) => stdin.recv().await,
        None => std::future::pending().await,
    }
}

impl Log {
    /// Shows what the container writes from now on.
    async fn show(self, session: Session, ended: CancellationToken) {
        let Session { stdout, outcome, .. } = session;
        let options = LogOptions { follow: true, tail: Some(0), ..LogOptions::default() };
        let lines = match read(&self.path, options, ended.clone()).await {
            Ok(lines) => lines,
            Err(error) => return outcome.failed(&error.to_string()).await,
        };
        let telling = async {
            let mut lines = std::pin::pin!(lines);
            while let Some(line) = lines.next().await {
                if let Some(stdout) = &stdout
                    && stdout.write(line).await.is_err()
                {
                    return;
                }
            }
        };
        tokio::join!(telling, async {
            until_gone(self.client, self.pod, self.path).await;
            ended.cancel();
        });
        outcome.exited(0).await;
    }
}
