//! The gateway's access log: one JSON object a line, into a file or to stdout.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context as _, Result};
use http::HeaderValue;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use xebec_proxy::access::{Access, AccessLog, TraceId};

/// How many lines may wait to be written; further ones are counted and dropped.
const WAITING: usize = 10_000;
/// How many lines are written at once.
const BATCH: usize = 500;

/// A log that is to be written.
pub(crate) struct Writer {
    told: mpsc::Receiver<Access>,
    out: Out,
}

enum Out {
    Stdout,
    File(File),
}

/// Opens the log: a file that lines are appended to, or stdout for `-`.
pub(crate) fn open(path: &Path) -> Result<(AccessLog, Writer)> {
    let out = if path == Path::new("-") {
        Out::Stdout
    } else {
        let file = OpenOptions::new().create(true).append(true).open(path).with_context(|| {
            format!("cannot write the access log {}: choose another file, or - for stdout", path.display())
        })?;
        Out::File(file)
    };
    let (log, told) = AccessLog::new(WAITING);
    Ok((log, Writer { told, out }))
}

/// Writes until the platform stops, then what is left.
pub(crate) async fn write(mut writer: Writer, stop: CancellationToken) {
    let mut fails = false;
    loop {
        let mut batch = Vec::new();
        let read = tokio::select! {
            biased;
            read = writer.told.recv_many(&mut batch, BATCH) => read,
            () = stop.cancelled() => 0,
        };
        if read == 0 {
            return;
        }
        let text: String = batch.iter().map(|access| format!("{}\n", line(access))).collect();
        let Ok(out) = tokio::task::spawn_blocking(move || put(writer, &text)).await else { return };
        let (back, written) = out;
        writer = back;
        // Said once, not for every line on a full disk.
        if let (Err(error), false) = (&written, fails) {
            tracing::warn!(%error, "the access log cannot be written; requests go on without it");
        }
        fails = written.is_err();
    }
}

fn put(mut writer: Writer, text: &str) -> (Writer, io::Result<()>) {
    let written = match &mut writer.out {
        Out::File(file) => file.write_all(text.as_bytes()),
        Out::Stdout => {
            let mut out = io::stdout().lock();
            out.write_all(text.as_bytes()).and_then(|()| out.flush())
        }
    };
    (writer, written)
}

fn line(access: &Access) -> Value {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let begun = jiff::Timestamp::try_from(access.begun).map(|begun| format!("{begun:.6}")).ok();
    json!({
        "time": begun,
        "client": text(&access.client),
        "method": access.method.as_str(),
        "scheme": access.scheme,
        "host": access.host.as_ref().map(text),
        "target": access.target.to_string(),
        "protocol": format!("{:?}", access.version),
        "status": access.status.as_u16(),
        "ms": access.took.as_secs_f64() * 1000.0,
        "route": access.route.as_deref(),
        "backend": access.backend.as_deref(),
        "endpoint": access.endpoint,
        "trace": access.trace.as_ref().map(TraceId::as_str),
        "user_agent": access.user_agent.as_ref().map(text),
    })
}
