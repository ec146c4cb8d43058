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
        let text = lines(&batch, fails);
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

/// The lines of a batch. One that follows a failure begins anew, since the last of before may have come to half a line.
fn lines(batch: &[Access], follows_failure: bool) -> String {
    let mut text = String::new();
    if follows_failure {
        text.push('\n');
    }
    for access in batch {
        text.push_str(&line(access).to_string());
        text.push('\n');
    }
    text
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

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use http::{Method, StatusCode, Uri, Version};

    use super::*;

    #[test]
    fn each_access_is_a_line_and_none_is_joined_to_half_of_another() {
        let access = Access {
            begun: SystemTime::UNIX_EPOCH,
            took: Duration::from_millis(2),
            client: HeaderValue::from_static("192.0.2.1"),
            scheme: "http",
            method: Method::GET,
            host: Some(HeaderValue::from_static("a\"b")),
            target: Uri::from_static("/x?y=1"),
            version: Version::HTTP_11,
            user_agent: None,
            trace: None,
            status: StatusCode::OK,
            route: Some("shop/web/0".into()),
            backend: None,
            endpoint: None,
        };
        let text = format!("{{\"time\": \"19{}", lines(&[access.clone(), access], true));
        let told: Vec<_> = text.lines().map(serde_json::from_str::<Value>).collect();
        let [torn, Ok(first), Ok(second)] = told.as_slice() else { panic!("{text}") };
        assert!(torn.is_err());
        assert_eq!(first, second);
        assert_eq!((&first["ms"], &first["host"]), (&json!(2.0), &json!("a\"b")));
        assert_eq!(first["time"], "1970-01-01T00:00:00.000000Z");
        assert_eq!((&first["target"], &first["route"]), (&json!("/x?y=1"), &json!("shop/web/0")));
    }
}
