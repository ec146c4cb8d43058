//! A container's output as clients ask for it.

use std::io::SeekFrom;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::Stream;
use jiff::Timestamp;
use tokio::io::{AsyncBufReadExt as _, AsyncSeekExt as _, BufReader};
use tokio_util::sync::CancellationToken;

use crate::Error;

/// How soon a followed file is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

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
    /// What the container said when it ran the time before.
    pub previous: bool,
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
                "previous" => options.previous = matches!(value, "true" | "1"),
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

/// Where a container's output of the time before is kept, beside that of this time.
fn previous(path: &Path) -> PathBuf {
    path.with_extension("previous.log")
}

/// A container is about to run again: what it said so far is what it said the time before.
pub(crate) async fn begin_anew(path: &Path) -> Result<(), Error> {
    let there = async {
        match tokio::fs::rename(path, previous(path)).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        match tokio::fs::remove_file(path.with_extension("log.1")).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    };
    there.await.map_err(|source| Error::File { path: path.to_owned(), source })
}

/// Reads a log; the stream ends at its end, or when `ended` is cancelled and all was sent if it is followed. One that is
/// followed goes on in the file that takes its place, when it was full or when the container began again.
///
/// # Errors
///
/// When there is no such file; where the time before is asked for, in upstream's words.
pub async fn read(
    path: &Path,
    options: LogOptions,
    ended: CancellationToken,
) -> Result<impl Stream<Item = Bytes> + Send + use<>, Error> {
    let before = options.previous.then(|| previous(path));
    let path = before.as_deref().unwrap_or(path);
    let failed = |source| Error::File { path: path.to_owned(), source };
    let file = match tokio::fs::File::open(path).await {
        Err(error) if options.previous && error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::NoPrevious { container: options.container.unwrap_or_default() });
        }
        file => file.map_err(failed)?,
    };
    let mut reader = BufReader::new(file);
    if let Some(tail) = options.tail {
        let start = tail_start(&mut reader, tail).await.map_err(failed)?;
        reader.seek(SeekFrom::Start(start)).await.map_err(failed)?;
    }
    let left = options.limit.unwrap_or(usize::MAX);
    let path = path.to_owned();
    let reading = Reading { path, reader, options, ended, left, line: Vec::new(), last_look: false };
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
    path: PathBuf,
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
            if !self.options.follow {
                return None;
            }
            if self.go_on().await {
                continue;
            }
            if self.last_look {
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

    /// Goes on in the file that has taken this one's place. Looked for before the rest of this one is read, since nothing is
    /// added to it from then on.
    async fn go_on(&mut self) -> bool {
        use std::os::unix::fs::MetadataExt as _;
        let Ok(next) = tokio::fs::File::open(&self.path).await else { return false };
        let (Ok(old), Ok(new)) = (self.reader.get_ref().metadata().await, next.metadata().await) else {
            return false;
        };
        if (old.dev(), old.ino()) == (new.dev(), new.ino()) {
            return false;
        }
        // What was written between the last look and the change.
        if self.reader.fill_buf().await.is_ok_and(|rest| !rest.is_empty()) {
            return true;
        }
        self.line.clear();
        self.reader = BufReader::new(next);
        true
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
        let lines =
            ["one", "two", "three"].map(|line| format!("2024-01-01T00:00:00.000000001Z stdout F {line}\n"));
        std::fs::write(&path, lines.concat()).unwrap();
        assert_eq!(text(&path, "").await, "one\ntwo\nthree\n");
        assert_eq!(text(&path, "tailLines=2").await, "two\nthree\n");
        assert_eq!(text(&path, "follow=true&tailLines=1").await, "three\n");
        assert_eq!(text(&path, "limitBytes=5").await, "one\nt");
        assert!(text(&path, "timestamps=true&tailLines=1").await.contains("Z three\n"));
        assert_eq!(text(&path, "sinceTime=2999-01-01T00:00:00Z").await, "");
        assert!(LogOptions::parse("tailLines=x", Timestamp::now()).is_err());
    }

    #[tokio::test]
    async fn each_run_has_a_log_of_its_own_and_the_one_before_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.log");
        let options = LogOptions::parse("previous=true&container=c", Timestamp::now()).unwrap();
        for run in ["one", "two", "three"] {
            begin_anew(&path).await.unwrap();
            if run == "one" {
                let none = read(&path, options.clone(), CancellationToken::new()).await.err().unwrap();
                assert_eq!(none.to_string(), "previous terminated container \"c\" not found");
            }
            std::fs::write(&path, format!("2024-01-01T00:00:00Z stdout F {run}\n")).unwrap();
        }
        assert_eq!(text(&path, "").await, "three\n");
        assert_eq!(text(&path, "previous=true&container=c").await, "two\n");
    }

    #[tokio::test]
    async fn a_followed_log_goes_on_in_the_file_that_takes_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.log");
        let line = |number: usize| format!("2024-01-01T00:00:00Z stdout F {number}\n");
        std::fs::write(&path, line(0)).unwrap();
        let options = LogOptions { follow: true, ..LogOptions::default() };
        let ended = CancellationToken::new();
        let mut lines = std::pin::pin!(read(&path, options, ended.clone()).await.unwrap());
        assert_eq!(lines.next().await.unwrap(), "0\n");
        for number in [1, 3] {
            // Written to the old file when nobody looks, and the new one behind it.
            let mut old = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
            std::io::Write::write_all(&mut old, line(number).as_bytes()).unwrap();
            std::fs::rename(&path, folder.path().join("c.log.1")).unwrap();
            std::fs::write(&path, line(number + 1)).unwrap();
            let mut said = Vec::new();
            while said.len() < 4 {
                let next = tokio::time::timeout(Duration::from_secs(10), lines.next()).await;
                said.extend_from_slice(&next.unwrap().unwrap());
            }
            assert_eq!(String::from_utf8(said).unwrap(), format!("{number}\n{}\n", number + 1));
        }
        ended.cancel();
        assert!(lines.next().await.is_none());
    }
}
