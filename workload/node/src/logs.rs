//! A container's output: written as lines that tell their time, and read back as clients ask.

use std::io::SeekFrom;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use futures::Stream;
use jiff::Timestamp;
use tokio::io::{AsyncBufReadExt as _, AsyncSeekExt as _, BufReader};
use tokio_util::sync::CancellationToken;

use crate::Error;

/// How soon a followed file is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// The size at which a component's output begins a new file; the one before is kept.
const FILE_BYTES: u64 = 10 << 20;

/// What a client wants of the output (`PodLogOptions`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Which container.
    pub container: Option<String>,
    /// New lines are sent as they come.
    pub follow: bool,
    /// Only so many of the last lines.
    pub tail: Option<usize>,
    /// Only lines from then on.
    pub since: Option<Timestamp>,
    /// Each line begins with its time.
    pub timestamps: bool,
    /// At most so many bytes.
    pub limit: Option<usize>,
}

impl LogOptions {
    /// Reads the query of `pods/log`.
    ///
    /// # Errors
    ///
    /// The parameter that is not what it should be.
    pub fn parse(query: &str, now: Timestamp) -> Result<Self, String> {
        let mut options = Self::default();
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            let number =
                || value.parse::<u64>().map_err(|_| format!("{name} must be a whole number, not {value:?}"));
            match name {
                "container" if !value.is_empty() => options.container = Some(value.to_owned()),
                "follow" => options.follow = matches!(value, "true" | "1"),
                "timestamps" => options.timestamps = matches!(value, "true" | "1"),
                "tailLines" => options.tail = Some(usize::try_from(number()?).unwrap_or(usize::MAX)),
                "limitBytes" => options.limit = Some(usize::try_from(number()?).unwrap_or(usize::MAX)),
                "sinceSeconds" => {
                    let seconds = i64::try_from(number()?).unwrap_or(i64::MAX / 4);
                    options.since = Timestamp::from_second(now.as_second().saturating_sub(seconds)).ok();
                }
                "sinceTime" => {
                    let text = value.replace("%3A", ":").replace("%3a", ":").replace("%2B", "+");
                    let moment =
                        text.parse().map_err(|_| format!("sinceTime {value:?} is not an RFC 3339 time"))?;
                    options.since = Some(moment);
                }
                _ => {}
            }
        }
        Ok(options)
    }
}

/// Writes a component's output in the form of the container runtime interface.
#[derive(Debug)]
pub(crate) struct Writer {
    path: PathBuf,
    file: Mutex<Option<(std::fs::File, u64)>>,
}

impl Writer {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, file: Mutex::new(None) }
    }

    /// Writes a line. What the disk refuses is lost, and said once a line in our own log.
    pub(crate) fn line(&self, stream: &str, text: &str) {
        let line = format!("{} {stream} F {text}\n", xebec_container::rfc3339(SystemTime::now()));
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = self.write(&mut file, line.as_bytes()) {
            tracing::warn!(path = %self.path.display(), %error, "a line of a pod's output is lost");
        }
    }

    fn write(&self, file: &mut Option<(std::fs::File, u64)>, line: &[u8]) -> std::io::Result<()> {
        use std::io::Write as _;
        if file.as_ref().is_some_and(|(_, size)| *size > FILE_BYTES) {
            *file = None;
            std::fs::rename(&self.path, self.path.with_extension("log.1"))?;
        }
        let (open, size) = match file {
            Some(open) => open,
            None => {
                let open = std::fs::OpenOptions::new().create(true).append(true).open(&self.path)?;
                let size = open.metadata()?.len();
                file.insert((open, size))
            }
        };
        *size += line.len() as u64;
        open.write_all(line)
    }
}

/// Reads a log; the stream ends at its end, or when `ended` is cancelled and all was sent if it is followed.
///
/// # Errors
///
/// When there is no such file.
pub async fn read(
    path: &Path,
    options: LogOptions,
    ended: CancellationToken,
) -> Result<impl Stream<Item = Bytes> + Send + use<>, Error> {
    let failed = |source| Error::File { path: path.to_owned(), source };
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    let mut reader = BufReader::new(file);
    if let Some(tail) = options.tail {
        let start = tail_start(&mut reader, tail).await.map_err(failed)?;
        reader.seek(SeekFrom::Start(start)).await.map_err(failed)?;
    }
    let left = options.limit.unwrap_or(usize::MAX);
    let reading = Reading { reader, options, ended, left, line: Vec::new(), last_look: false };
    Ok(futures::stream::unfold(reading, |mut reading| async move {
        let chunk = reading.next().await?;
        Some((chunk, reading))
    }))
}

/// Where the last lines begin.
async fn tail_start(reader: &mut BufReader<tokio::fs::File>, lines: usize) -> std::io::Result<u64> {
    let mut starts = std::collections::VecDeque::new();
    let (mut at, mut line) = (0_u64, Vec::new());
    loop {
        line.clear();
        let read = reader.read_until(b'\n', &mut line).await?;
        if read == 0 {
            return Ok(starts.front().copied().unwrap_or(at));
        }
        starts.push_back(at);
        at += read as u64;
        if starts.len() > lines {
            starts.pop_front();
        }
    }
}

struct Reading {
    reader: BufReader<tokio::fs::File>,
    options: LogOptions,
    ended: CancellationToken,
    left: usize,
    line: Vec<u8>,
    last_look: bool,
}

impl Reading {
    async fn next(&mut self) -> Option<Bytes> {
        let mut chunk = BytesMut::new();
        loop {
            if self.left == 0 {
                return (!chunk.is_empty()).then(|| chunk.freeze());
            }
            let read = self.reader.read_until(b'\n', &mut self.line).await.ok()?;
            if read > 0 && self.line.ends_with(b"\n") {
                self.show(&mut chunk);
                self.line.clear();
                if chunk.len() < 32 * 1024 {
                    continue;
                }
                return Some(chunk.freeze());
            }
            if !chunk.is_empty() {
                return Some(chunk.freeze());
            }
            if !self.options.follow || self.last_look {
                return None;
            }
            // What was written before the end is still read.
            self.last_look = self.ended.is_cancelled();
            tokio::select! {
                () = tokio::time::sleep(LOOK_AGAIN) => {}
                () = self.ended.cancelled() => {}
            }
        }
    }

    /// Adds the line that was read as the client wants it.
    fn show(&mut self, chunk: &mut BytesMut) {
        let text = String::from_utf8_lossy(&self.line);
        let mut parts = text.splitn(4, ' ');
        let (Some(time), Some(_), Some(tag), Some(rest)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return;
        };
        let early = |since: Timestamp| time.parse::<Timestamp>().is_ok_and(|written| written < since);
        if self.options.since.is_some_and(early) {
            return;
        }
        let rest = if tag == "P" { rest.trim_end_matches('\n') } else { rest };
        let shown = if self.options.timestamps { format!("{time} {rest}") } else { rest.to_owned() };
        let take = shown.len().min(self.left);
        self.left -= take;
        chunk.extend_from_slice(&shown.as_bytes()[..take]);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;
    use futures::StreamExt as _;

    async fn text(path: &Path, query: &str) -> String {
        let options = LogOptions::parse(query, Timestamp::now()).unwrap();
        let ended = CancellationToken::new();
        ended.cancel();
        let chunks: Vec<Bytes> = read(path, options, ended).await.unwrap().collect().await;
        String::from_utf8(chunks.concat()).unwrap()
    }

    #[tokio::test]
    async fn lines_come_back_as_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.log");
        let writer = Writer::new(path.clone());
        for line in ["one", "two", "three"] {
            writer.line("stdout", line);
        }
        assert_eq!(text(&path, "").await, "one\ntwo\nthree\n");
        assert_eq!(text(&path, "tailLines=2").await, "two\nthree\n");
        assert_eq!(text(&path, "follow=true&tailLines=1").await, "three\n");
        assert_eq!(text(&path, "limitBytes=5").await, "one\nt");
        assert!(text(&path, "timestamps=true&tailLines=1").await.contains("Z three\n"));
        assert_eq!(text(&path, "sinceTime=2999-01-01T00:00:00Z").await, "");
        assert!(LogOptions::parse("tailLines=x", Timestamp::now()).is_err());
    }
}
