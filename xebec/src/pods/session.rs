//! Sessions with containers: a further command, or the output of the one that runs.

use std::path::Path;
use std::time::Duration;

use bytes::BytesMut;
use futures::StreamExt as _;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_util::sync::CancellationToken;
use xebec_apiserver::pods::{Run, SessionRequest};
use xebec_container::{Container, ContainerId, Exec, Terminal};
use xebec_machinery::status::Status;
use xebec_node::logs::{LogOptions, read};
use xebec_streams::{Input, Output, Session};

use super::{LocalPods, until_gone};

/// The most that is read from a process at once.
const PIECE: usize = 32 << 10;
/// How long the last output of a process may take to come.
const LAST_OUTPUT: Duration = Duration::from_secs(2);

/// Finds the container, and gives what serves a session with it.
pub(super) fn begin(
    pods: &LocalPods,
    pod: &Value,
    container: &str,
    asked: SessionRequest,
) -> Result<Run, Status> {
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let statuses = ["containerStatuses", "initContainerStatuses"].into_iter();
    let mut statuses = statuses.flat_map(|list| pod["status"][list].as_array().into_iter().flatten());
    let status = statuses.find(|status| status["name"] == container);
    let running = status.filter(|status| status["state"]["running"].is_object());
    let Some(running) = running else {
        return Err(Status::bad_request(format!("container not running ({container} of pod {name})")));
    };
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
    let id = running["containerID"].as_str().and_then(|id| id.strip_prefix("xebec://"));
    let found = id
        .and_then(|id| id.parse::<ContainerId>().ok())
        .and_then(|id| pods.containers.get()?.runtime.find(&id));
    let Some(found) = found else {
        let why = format!(
            "container {container} of pod {name} is a WebAssembly component, in which no command can be run"
        );
        return Err(Status::bad_request(why));
    };
    let terminal = asked.wants.tty;
    Ok(Box::new(move |session| {
        Box::pin(async move {
            if terminal {
                in_terminal(session, &found, &command).await
            } else {
                run(session, &found, &command).await
            }
        })
    }))
}

async fn run(session: Session, container: &Container, command: &[String]) {
    let Session { stdin, stdout, stderr, outcome, gone, .. } = session;
    let mut exec = match container.exec(command) {
        Ok(exec) => exec,
        Err(error) => return outcome.failed(&error.to_string()).await,
    };
    let (near_in, near_out, near_err) = (exec.stdin.take(), exec.stdout.take(), exec.stderr.take());
    let writing = tokio::spawn(async move {
        if let (Some(stdin), Some(near)) = (stdin, near_in) {
            type_in(stdin, near).await;
        }
    });
    let reading = async { tokio::join!(tell(near_out, stdout), tell(near_err, stderr)) };
    finish(&mut exec, reading, &gone, outcome).await;
    writing.abort();
}

async fn in_terminal(session: Session, container: &Container, command: &[String]) {
    let Session { stdin, stdout, sizes, outcome, gone, .. } = session;
    let (mut exec, terminal) = match container.exec_in_terminal(command).await {
        Ok(begun) => begun,
        Err(error) => return outcome.failed(&error.to_string()).await,
    };
    let Some(Terminal { input, output, screen }) = terminal else {
        let mut why = String::new();
        if let Some(mut stderr) = exec.stderr.take() {
            // Without it the message is empty, as is the reason.
            let _ = stderr.read_to_string(&mut why).await;
        }
        return outcome.failed(why.trim_end()).await;
    };
    let writing = tokio::spawn(async move {
        let typing = async {
            if let Some(stdin) = stdin {
                type_in(stdin, input).await;
            } else {
                // Without its input a terminal ends what reads from it.
                drop(input);
            }
        };
        let resizing = async {
            let Some(mut sizes) = sizes else { return };
            while let Some(size) = sizes.recv().await {
                if let Err(error) = screen.resize(size.width, size.height) {
                    tracing::debug!(%error, "a terminal keeps its size");
                }
            }
        };
        tokio::join!(typing, resizing);
    });
    let reading = tell(Some(output), stdout);
    finish(&mut exec, reading, &gone, outcome).await;
    writing.abort();
}

/// Waits for the command's end and tells of it, once its output is told. A client that leaves takes its command along.
async fn finish<T>(
    exec: &mut Exec,
    reading: impl Future<Output = T>,
    gone: &CancellationToken,
    outcome: xebec_streams::Outcome,
) {
    let mut reading = std::pin::pin!(reading);
    let mut read = false;
    let ended = loop {
        tokio::select! {
            ended = exec.wait() => break ended,
            _ = &mut reading, if !read => read = true,
            () = gone.cancelled() => return exec.kill(),
        }
    };
    if !read {
        // What the command has started may hold its output open for ever.
        _ = tokio::time::timeout(LAST_OUTPUT, reading).await;
    }
    match ended {
        Ok(code) => outcome.exited(code).await,
        Err(error) => outcome.failed(&error.to_string()).await,
    }
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
