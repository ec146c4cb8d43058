//! A component's output on its way to disk, in the form of the container runtime interface.
//!
//! A guest hands its lines over and goes on; a task of its own writes them, so that no guest waits for the disk. What waits is
//! bounded: beyond that lines are lost, and the log says how many.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// The size at which the output begins a new file; the one before is kept.
const FILE_BYTES: u64 = 10 << 20;
/// Bytes that wait to be written, at the most.
const MOST_WAITING: usize = 4 << 20;

/// Where a guest's lines are handed over. Clones are one and the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    lost: u64,
    ended: bool,
}

/// What writes them.
#[derive(Debug)]
pub(crate) struct Writer {
    lines: Lines,
    writing: JoinHandle<()>,
}

impl Lines {
    /// Takes a line.
    pub(crate) fn line(&self, stream: &str, text: &str) {
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let was_empty = waiting.bytes.is_empty();
        if waiting.bytes.len() + text.len() > MOST_WAITING {
            waiting.lost += 1;
            return;
        }
        record(&mut waiting.bytes, stream, text);
        drop(waiting);
        if was_empty {
            self.0.news.notify_one();
        }
    }

    /// What waits, and whether more may come.
    fn take(&self) -> (Vec<u8>, bool) {
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let lost = std::mem::take(&mut waiting.lost);
        if lost > 0 {
            let text =
                format!("xebec: {lost} lines are lost here: they came faster than the disk takes them");
            record(&mut waiting.bytes, "stderr", &text);
        }
        (std::mem::take(&mut waiting.bytes), !waiting.ended)
    }
}

fn record(bytes: &mut Vec<u8>, stream: &str, text: &str) {
    let time = xebec_container::rfc3339(SystemTime::now());
    bytes.extend_from_slice(format!("{time} {stream} F {text}\n").as_bytes());
}

impl Writer {
    /// Begins to write to a file.
    pub(crate) fn start(path: PathBuf) -> Self {
        let lines = Lines::default();
        Self { lines: lines.clone(), writing: tokio::spawn(write_all(lines, path)) }
    }

    pub(crate) fn lines(&self) -> Lines {
        self.lines.clone()
    }

    /// Waits until all that was handed over is written.
    pub(crate) async fn finish(mut self) {
        self.end();
        // A task that failed has written what it could.
        let _ended = (&mut self.writing).await;
    }

    fn end(&self) {
        self.lines.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        self.lines.0.news.notify_one();
    }
}

impl Drop for Writer {
    /// What is left is written, and then the task ends.
    fn drop(&mut self) {
        self.end();
    }
}

async fn write_all(lines: Lines, path: PathBuf) {
    let mut file = None;
    loop {
        let (bytes, goes_on) = lines.take();
        if bytes.is_empty() {
            if !goes_on {
                return;
            }
            lines.0.news.notified().await;
            continue;
        }
        let target = path.clone();
        let writing = tokio::task::spawn_blocking(move || {
            let written = append(&target, &mut file, &bytes);
            (file, written)
        });
        let written = match writing.await {
            Ok((open, written)) => {
                file = open;
                written
            }
            Err(error) => {
                file = None;
                Err(io::Error::other(error))
            }
        };
        if let Err(error) = written {
            tracing::warn!(path = %path.display(), %error, "a pod's output is lost");
        }
    }
}

fn append(path: &Path, file: &mut Option<(File, u64)>, bytes: &[u8]) -> io::Result<()> {
    if file.as_ref().is_some_and(|(_, size)| *size > FILE_BYTES) {
        *file = None;
        std::fs::rename(path, path.with_extension("log.1"))?;
    }
    let (open, size) = match file {
        Some(open) => open,
        None => {
            let open = OpenOptions::new().create(true).append(true).open(path)?;
            let size = open.metadata()?.len();
            file.insert((open, size))
        }
    };
    *size += bytes.len() as u64;
    open.write_all(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_on_disk_in_their_order_when_the_writer_has_finished() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.log");
        let writer = Writer::start(path.clone());
        let lines = writer.lines();
        for number in 0..1000 {
            lines.line("stdout", &number.to_string());
            if number % 100 == 0 {
                tokio::task::yield_now().await;
            }
        }
        writer.finish().await;
        let text = std::fs::read_to_string(&path).unwrap();
        let said: Vec<&str> = text.lines().filter_map(|line| line.splitn(4, ' ').nth(3)).collect();
        assert_eq!(said, (0..1000).map(|number| number.to_string()).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn what_does_not_fit_is_counted_and_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.log");
        let writer = Writer::start(path.clone());
        // Nothing is written before this task lets go of its thread.
        let (lines, long) = (writer.lines(), "x".repeat(1 << 20));
        (0..10).for_each(|_| lines.line("stdout", &long));
        writer.finish().await;
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().filter(|line| line.ends_with(&long)).count(), 3);
        assert!(text.contains("stderr F xebec: 7 lines are lost here"));
    }
}
