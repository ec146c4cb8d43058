//! Sessions with containers: a further command, or the output of the one that runs.

use std::path::Path;
use std::time::Duration;

use bytes::BytesMut;
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use xebec_apiserver::pods::{Run, SessionRequest};
use xebec_container::TerminalSize;
use xebec_machinery::status::Status;
use xebec_node::exec::{ExecError, ExecRequest, ExecSession, exec};
use xebec_node::logs::{LogOptions, read};
use xebec_streams::{Input, Output, Session, Size, Sizes};

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
    let Some(command) = asked.command else {
        let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
        let path = pods.folder.join(uid).join(format!("{container}.log"));
        let (client, pod) = (pods.client.get().cloned(), pod.clone());
        return Ok(Box::new(move |session: Session| {
            Box::pin(async move {
                let gone = session.gone.clone();
                tokio::select! {
                    () = show(session, &path, gone.child_token(), until_gone(client, pod, path.clone())) => {}
                    () = gone.cancelled() => {}
                }
            })
        }));
    };
    let Some(containers) = pods.containers.get() else {
        return Err(Status::bad_request("no containers run on this machine, and components run no commands"));
    };
    let typed = serde_json::from_value::<Pod>(pod.clone())
        .map_err(|error| Status::internal(&format!("pod {name} cannot be read: {error}")))?;
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

/// Shows what the container writes from now on. Its input is not held open, so nothing can be typed.
async fn show(session: Session, path: &Path, ended: CancellationToken, end: impl Future<Output = ()>) {
    let Session { stdout, outcome, .. } = session;
    let options = LogOptions { follow: true, tail: Some(0), ..LogOptions::default() };
    let lines = match read(path, options, ended.clone()).await {
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
        end.await;
        ended.cancel();
    });
    outcome.exited(0).await;
}
