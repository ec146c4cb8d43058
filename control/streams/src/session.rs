//! The standard streams of a process, for `exec` and `attach`.
//!
//! Channels of a WebSocket: 0 stdin, 1 stdout, 2 stderr, 3 how it ended, 4 sizes of the terminal; in version 5 a message on
//! channel 255 closes the channel whose number it holds. Streams of SPDY have the header `streamType`: `stdin`, `stdout`,
//! `stderr`, `error`, `resize`.

use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::negotiation::{Accepted, Transport, Version};
use crate::websocket::{self, Outgoing};
use crate::{Error, Io, spdy};

/// How long a client may take to open its streams.
pub(crate) const OPENING: Duration = Duration::from_secs(30);
/// The messages that wait on either way.
const WAITING: usize = 16;
/// How long the last messages may take to leave.
const LEAVING: Duration = Duration::from_secs(10);

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

/// Which streams the client asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wants {
    /// The process reads what the client sends.
    pub stdin: bool,
    /// The client reads what the process writes.
    pub stdout: bool,
    /// The same of its second output.
    pub stderr: bool,
    /// The process has a terminal; it has no second output then.
    pub tty: bool,
}

/// The size of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Size {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// The sizes of a terminal as they change. Of several in a row only the last counts, so the others may be left out.
#[derive(Debug)]
pub struct Sizes {
    sizes: watch::Receiver<Option<Size>>,
    /// Reads them, where they come on a stream of their own.
    _reading: Option<AbortOnDropHandle<()>>,
}

impl Sizes {
    /// The next size; none once the client is gone.
    pub async fn recv(&mut self) -> Option<Size> {
        self.sizes.changed().await.ok()?;
        *self.sizes.borrow_and_update()
    }
}

/// What the client sends; ends when it sends no more.
pub type Input = mpsc::Receiver<Bytes>;

/// What is sent to the client. Ends when all its copies are dropped.
#[derive(Debug, Clone)]
pub struct Output(Way);

#[derive(Debug, Clone)]
enum Way {
    Spdy(spdy::Writer),
    Channel { number: u8, messages: mpsc::Sender<Outgoing> },
}

impl Output {
    pub(crate) fn stream(writer: spdy::Writer) -> Self {
        Self(Way::Spdy(writer))
    }

    pub(crate) fn channel(number: u8, messages: mpsc::Sender<Outgoing>) -> Self {
        Self(Way::Channel { number, messages })
    }

    /// Sends data; waits while the connection is full.
    ///
    /// # Errors
    ///
    /// The client is gone.
    pub async fn write(&self, data: Bytes) -> Result<(), Error> {
        match &self.0 {
            Way::Spdy(writer) => writer.write(data).await,
            Way::Channel { number, messages } => {
                let mut message = BytesMut::with_capacity(data.len() + 1);
                message.put_u8(*number);
                message.put_slice(&data);
                messages.send(Outgoing::Message(message.freeze())).await.map_err(|_| Error::Gone)
            }
        }
    }

    /// Says that no more comes on any stream, whoever still holds one.
    async fn end(&self) -> Result<(), Error> {
        match &self.0 {
            Way::Spdy(writer) => writer.finish().await,
            Way::Channel { messages, .. } => messages.send(Outgoing::Close).await.map_err(|_| Error::Gone),
        }
    }

    /// Says that no more comes, where the transport has a way to say so.
    pub(crate) async fn finish(&self) -> Result<(), Error> {
        match &self.0 {
            Way::Spdy(writer) => writer.finish().await,
            Way::Channel { .. } => Ok(()),
        }
    }

    /// Waits until nobody wants anything more of it.
    pub(crate) async fn ended(&self) {
        match &self.0 {
            Way::Spdy(writer) => writer.ended().await,
            Way::Channel { messages, .. } => messages.closed().await,
        }
    }
}

/// A client that is connected to the streams of a process.
#[derive(Debug)]
pub struct Session {
    /// What the process is to read.
    pub stdin: Option<Input>,
    /// Where its output goes.
    pub stdout: Option<Output>,
    /// Where its second output goes.
    pub stderr: Option<Output>,
    /// The sizes of the client's terminal, the first one soon after the start.
    pub sizes: Option<Sizes>,
    /// Tells the client how it ended.
    pub outcome: Outcome,
    /// Cancelled when the client is gone.
    pub gone: CancellationToken,
}

/// Tells the client how the process ended, and ends the connection once that is on its way.
#[derive(Debug)]
pub struct Outcome {
    error: Output,
    /// It is told in words, not as a `Status`.
    is_plain: bool,
    outputs: Vec<Output>,
    tasks: Vec<AbortOnDropHandle<()>>,
}

impl Outcome {
    /// The process ended by itself with this code.
    pub async fn exited(self, code: i32) {
        let status = match code {
            0 => json!({"metadata": {}, "status": "Success"}),
            code => json!({
                "metadata": {},
                "status": "Failure",
                "message": format!("command terminated with non-zero exit code: exit status {code}"),
                "reason": "NonZeroExitCode",
                "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
            }),
        };
        self.send(&status).await;
    }

    /// It did not come so far, or was cut off.
    pub async fn failed(self, message: &str) {
        let status = json!({
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": "InternalError",
            "details": {"causes": [{"message": message}]},
            "code": 500,
        });
        self.send(&status).await;
    }

    async fn send(self, status: &Value) {
        let Self { error, is_plain, outputs, tasks } = self;
        let told = match is_plain {
            true => status["message"].as_str().map(str::to_owned),
            false => Some(status.to_string()),
        };
        let last = async move {
            for output in &outputs {
                output.finish().await?;
            }
            if let Some(told) = told {
                error.write(told.into()).await?;
            }
            error.end().await?;
            Ok::<_, Error>(())
        };
        // A client that is gone, or does not read, learns nothing.
        if let Ok(Ok(())) = tokio::time::timeout(LEAVING, last).await {
            for task in tasks {
                _ = tokio::time::timeout(LEAVING, task).await;
            }
        }
    }
}

/// Begins a session over a connection that was upgraded as [`negotiate`](crate::negotiate) said.
///
/// # Errors
///
/// The client opens too few streams in time, or others than it asked for.
pub async fn session(io: impl Io, accepted: Accepted, wants: Wants) -> Result<Session, Error> {
    let wants = Wants { stderr: wants.stderr && !wants.tty, ..wants };
    match accepted.transport {
        Transport::Channels { version } => Ok(channels(io, version, wants)),
        Transport::Spdy => streams(io, wants).await,
        Transport::Tunnel => Err(Error::Protocol("a session does not go through a tunnel".to_owned())),
        Transport::Messages => Err(Error::Protocol("a session needs channels".to_owned())),
    }
}

fn channels(io: impl Io, version: Version, wants: Wants) -> Session {
    let (messages, leaving) = mpsc::channel(WAITING);
    let (stdin, input) = mpsc::channel(WAITING);
    let (resize, sizes) = watch::channel(None);
    let gone = CancellationToken::new();
    let left = gone.clone();
    // The task must not keep its own queue open.
    let asking = messages.downgrade();
    let task = tokio::spawn(async move {
        let (sender, mut receiver) = websocket::accept(io).await;
        let mut stdin = wants.stdin.then_some(stdin);
        let inward = async {
            while let Some(message) = receiver.receive().await? {
                let Some((channel, data)) = message.split_first() else { continue };
                match *channel {
                    STDIN if !data.is_empty() => {
                        if let (Some(stdin), Some(asking)) = (&stdin, asking.upgrade()) {
                            websocket::hand_on(stdin, message.slice(1..), &asking).await?;
                        }
                    }
                    RESIZE => tell_size(&resize, data),
                    CLOSE if version == Version::Fifth && *data == [STDIN] => stdin = None,
                    _ => {}
                }
            }
            Ok::<_, Error>(())
        };
        tokio::pin!(inward);
        let ended = tokio::select! {
            ended = sender.carry(leaving) => {
                // The client answers the close, so that no reset overtakes the last message.
                _ = tokio::time::timeout(Duration::from_secs(1), inward).await;
                ended
            }
            ended = &mut inward => ended,
        };
        left.cancel();
        if let Err(error) = ended {
            tracing::debug!(%error, "a session ended");
        }
    });
    let output = |number: u8| Output::channel(number, messages.clone());
    Session {
        stdin: wants.stdin.then_some(input),
        stdout: wants.stdout.then(|| output(STDOUT)),
        stderr: wants.stderr.then(|| output(STDERR)),
        sizes: wants.tty.then_some(Sizes { sizes, _reading: None }),
        outcome: Outcome {
            error: output(ERROR),
            is_plain: version == Version::First,
            outputs: Vec::new(),
            tasks: vec![AbortOnDropHandle::new(task)],
        },
        gone,
    }
}

fn tell_size(sizes: &watch::Sender<Option<Size>>, data: &[u8]) {
    match serde_json::from_slice(data) {
        Ok(size) => drop(sizes.send_replace(Some(size))),
        Err(error) => tracing::debug!(%error, "a size of a terminal is not one"),
    }
}

async fn streams(io: impl Io, wants: Wants) -> Result<Session, Error> {
    let (mut opened, task) = spdy::serve(io);
    let mut found: [Option<spdy::Stream>; 5] = Default::default();
    let names = ["stdin", "stdout", "stderr", "error", "resize"];
    let wanted = [wants.stdin, wants.stdout, wants.stderr, true, wants.tty];
    let open = async {
        while wanted.iter().zip(&found).any(|(wanted, found)| *wanted && found.is_none()) {
            let stream = opened.recv().await.ok_or(Error::Gone)?;
            let kind = stream.header("streamtype");
            let at = names.iter().position(|name| *name == kind);
            let at = at.ok_or_else(|| Error::Protocol(format!("a stream of type {kind:?}")))?;
            found[at] = Some(stream);
        }
        Ok::<_, Error>(())
    };
    let opened_all = tokio::time::timeout(OPENING, open).await;
    match opened_all {
        Ok(done) => done?,
        Err(_) => {
            let missing = wanted.iter().zip(&found).position(|(wanted, found)| *wanted && found.is_none());
            return Err(Error::Late(missing.map_or("further", |at| names[at])));
        }
    }
    let [stdin, stdout, stderr, error, resize] = found;
    let error = Output::stream(error.ok_or(Error::Gone)?.writer);
    let outputs =
        [&stdout, &stderr].into_iter().flatten().map(|stream| Output::stream(stream.writer.clone()));
    let outputs = outputs.collect();
    let gone = CancellationToken::new();
    let left = gone.clone();
    // The connection is all that can open further streams, so their end is its end.
    let watch = tokio::spawn(async move {
        while opened.recv().await.is_some() {}
        left.cancel();
    });
    Ok(Session {
        stdin: stdin.filter(|_| wants.stdin).map(|stream| stream.reader),
        stdout: stdout.filter(|_| wants.stdout).map(|stream| Output::stream(stream.writer)),
        stderr: stderr.filter(|_| wants.stderr).map(|stream| Output::stream(stream.writer)),
        sizes: resize.filter(|_| wants.tty).map(|stream| sizes_of(stream.reader)),
        outcome: Outcome {
            error,
            is_plain: false,
            outputs,
            tasks: vec![task, AbortOnDropHandle::new(watch)],
        },
        gone,
    })
}

/// Sizes come as JSON values one behind the other, cut anywhere.
fn sizes_of(mut reader: spdy::Reader) -> Sizes {
    let (sender, sizes) = watch::channel(None);
    let reading = tokio::spawn(async move {
        let mut text = BytesMut::new();
        while let Some(data) = reader.recv().await {
            text.extend_from_slice(&data);
            while let Some(end) = text.iter().position(|byte| *byte == b'}') {
                tell_size(&sender, &text.split_to(end + 1));
            }
            // No size is as long as this.
            if text.len() > 1024 {
                return;
            }
        }
    });
    Sizes { sizes, _reading: Some(AbortOnDropHandle::new(reading)) }
}

#[cfg(test)]
mod tests;
