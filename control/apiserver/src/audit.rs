//! Who did what when: one line of JSON a request, an `Event` of `audit.k8s.io/v1` at the level `Metadata`.
//!
//! Lines are written by a thread of their own, in order. Where the disk is slow, requests wait for their line to be taken
//! rather than go without one. A file that has grown large is put aside as `FILE.1`, the one before as `FILE.2`, and so on.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use http::header::USER_AGENT;
use http::request::Parts;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use xebec_machinery::status::Status;

use crate::authorizer::Decision;
use crate::request::ResourceRequest;
use crate::user::User;

/// How many lines may wait to be written.
const WAITING: usize = 1_024;
/// The longest URL that is told.
const URL_SHOWN: usize = 4_096;

/// How large a log may grow, and how many older ones are kept.
#[derive(Debug, Clone, Copy)]
pub struct Rotation {
    /// The size at which a file is put aside, in bytes.
    pub bytes: u64,
    /// How many files that were put aside are kept.
    pub kept: usize,
}

impl Default for Rotation {
    fn default() -> Self {
        Self { bytes: 100 << 20, kept: 10 }
    }
}

/// Where the events go.
#[derive(Debug)]
pub struct Audit {
    lines: Option<mpsc::Sender<String>>,
    writer: Option<JoinHandle<()>>,
}

/// What waits is written first.
impl Drop for Audit {
    fn drop(&mut self) {
        self.lines = None;
        if self.writer.take().is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the writer of the audit log panicked");
        }
    }
}

/// The other end of a connection, as an extension of its requests.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// How far a request has come when it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// A stream has begun.
    Started,
    /// It is answered, or nobody waits for its answer.
    Complete,
    /// The server failed.
    Panic,
}

impl Stage {
    fn name(self) -> &'static str {
        match self {
            Self::Started => "ResponseStarted",
            Self::Complete => "ResponseComplete",
            Self::Panic => "Panic",
        }
    }
}

/// What is told of a request.
#[derive(Debug, Default)]
pub(crate) struct Event {
    pub(crate) received: Timestamp,
    pub(crate) url: String,
    pub(crate) agent: String,
    pub(crate) peer: Option<IpAddr>,
    pub(crate) verb: String,
    /// Who asked.
    pub(crate) user: Option<User>,
    /// As whom, if that is somebody else.
    pub(crate) acting: Option<User>,
    pub(crate) object: Option<Value>,
    pub(crate) decision: Option<Decision>,
}

impl Event {
    /// What the head of a request says.
    pub(crate) fn begin(head: &Parts) -> Self {
        let url = head.uri.path_and_query().map_or("/", |url| url.as_str());
        let end = url.len().min(URL_SHOWN);
        let agent = head.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok());
        Self {
            received: Timestamp::now(),
            url: String::from_utf8_lossy(&url.as_bytes()[..end]).into_owned(),
            agent: agent.unwrap_or_default().to_owned(),
            peer: head.extensions.get::<Peer>().map(|peer| peer.0.ip()),
            verb: head.method.as_str().to_ascii_lowercase(),
            ..Self::default()
        }
    }

    /// Notes which objects are meant.
    pub(crate) fn concerns(&mut self, request: &ResourceRequest) {
        request.verb.as_str().clone_into(&mut self.verb);
        let mut object = Map::new();
        let mut tell = |key: &str, value: &str| {
            if !value.is_empty() {
                object.insert(key.to_owned(), value.into());
            }
        };
        tell("resource", &request.resource);
        tell("namespace", request.namespace.as_deref().unwrap_or_default());
        tell("name", request.name.as_deref().unwrap_or_default());
        tell("apiGroup", &request.group);
        tell("apiVersion", &request.version);
        tell("subresource", request.subresource.as_deref().unwrap_or_default());
        self.object = Some(object.into());
    }

    /// The event as a line: what became of the request.
    fn line(&self, stage: Stage, code: u16, failure: Option<&Status>) -> String {
        let mut response = json!({"metadata": {}, "code": code});
        if let Some(failure) = failure {
            response["status"] = "Failure".into();
            response["message"] = failure.message.clone().into();
            response["reason"] = failure.reason.as_str().into();
        }
        let anonymous = User::anonymous();
        let mut event = json!({
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": "Metadata",
            "auditID": uuid::Uuid::new_v4().to_string(),
            "stage": stage.name(),
            "requestURI": self.url,
            "verb": self.verb,
            "user": self.user.as_ref().unwrap_or(&anonymous).info(),
            "responseStatus": response,
            "requestReceivedTimestamp": moment(self.received),
            "stageTimestamp": moment(Timestamp::now()),
        });
        if let Some(acting) = &self.acting {
            event["impersonatedUser"] = acting.info();
        }
        if let Some(peer) = self.peer {
            event["sourceIPs"] = json!([peer.to_string()]);
        }
        if !self.agent.is_empty() {
            event["userAgent"] = self.agent.clone().into();
        }
        if let Some(object) = &self.object {
            event["objectRef"] = object.clone();
        }
        if let Some(decision) = &self.decision {
            let word = if decision.allowed { "allow" } else { "forbid" };
            event["annotations"] = json!({
                "authorization.k8s.io/decision": word, "authorization.k8s.io/reason": decision.reason,
            });
        }
        event.to_string()
    }
}

/// A moment as audit events have it: UTC, microseconds.
fn moment(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

impl Audit {
    /// Appends to a file, which is made if it is not there. What is no plain file, such as `/dev/stdout`, is never put aside.
    ///
    /// # Errors
    ///
    /// The file cannot be opened, or no thread can be started.
    pub fn open(path: &Path, rotation: Rotation) -> io::Result<Self> {
        let mut log = Log::open(path.to_owned(), rotation)?;
        let (lines, mut waiting) = mpsc::channel::<String>(WAITING);
        let writer = std::thread::Builder::new().name("audit".to_owned()).spawn(move || {
            while let Some(line) = waiting.blocking_recv() {
                log.write(&line);
                while let Ok(line) = waiting.try_recv() {
                    log.write(&line);
                }
                log.flush();
            }
        })?;
        Ok(Self { lines: Some(lines), writer: Some(writer) })
    }

    /// Tells what became of a request.
    pub(crate) async fn tell(&self, event: &Event, stage: Stage, code: u16, failure: Option<&Status>) {
        let Some(lines) = &self.lines else { return };
        if lines.send(event.line(stage, code, failure)).await.is_err() {
            tracing::error!("the audit log has ended: a request is not told");
        }
    }
}

/// The file.
struct Log {
    path: PathBuf,
    rotation: Rotation,
    file: BufWriter<File>,
    size: u64,
    failing: bool,
}

impl Log {
    fn open(path: PathBuf, rotation: Rotation) -> io::Result<Self> {
        let (file, size) = append(&path)?;
        let is_plain = file.get_ref().metadata()?.is_file() && !path.is_symlink();
        let rotation = if is_plain { rotation } else { Rotation { bytes: u64::MAX, ..rotation } };
        Ok(Self { path, rotation, file, size, failing: false })
    }

    fn write(&mut self, line: &str) {
        let length = line.len() as u64 + 1;
        if self.size > 0 && self.size + length > self.rotation.bytes {
            let rotated = self.rotate();
            self.note(rotated);
        }
        let written = writeln!(self.file, "{line}");
        self.size += length;
        self.note(written);
    }

    fn flush(&mut self) {
        let flushed = self.file.flush();
        self.note(flushed);
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file.flush()?;
        // It may be put aside already: by an attempt that had no new file afterwards, or by somebody else.
        if self.path.try_exists()? {
            self.put_aside()?;
        }
        (self.file, self.size) = append(&self.path)?;
        Ok(())
    }

    fn put_aside(&self) -> io::Result<()> {
        for number in (1..self.rotation.kept).rev() {
            match fs::rename(self.aside(number), self.aside(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if self.rotation.kept > 0 {
            fs::rename(&self.path, self.aside(1))
        } else {
            fs::remove_file(&self.path)
        }
    }

    fn aside(&self, number: usize) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }

    /// Tells the first of a row of failures.
    fn note(&mut self, outcome: io::Result<()>) {
        match outcome {
            Err(error) if !self.failing => {
                self.failing = true;
                tracing::error!(path = %self.path.display(), %error, "the audit log cannot be written; free space or repair the disk");
            }
            Err(_) => {}
            Ok(()) => self.failing = false,
        }
    }
}

fn append(path: &Path) -> io::Result<(BufWriter<File>, u64)> {
    let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
    let size = file.metadata()?.len();
    Ok((BufWriter::new(file), size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_log_is_put_aside_and_the_oldest_goes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        let mut log = Log::open(path.clone(), Rotation { bytes: 100, kept: 2 }).unwrap();
        for number in 0..8 {
            log.write(&format!("{number}{}", "x".repeat(48)));
        }
        log.flush();
        let first = |path: PathBuf| fs::read_to_string(path).unwrap().chars().next().unwrap();
        assert_eq!([first(path.clone()), first(log.aside(1)), first(log.aside(2))], ['6', '4', '2']);
        assert!(!log.aside(3).exists());
        drop(log);
        let mut again = Log::open(path.clone(), Rotation { bytes: 100, kept: 2 }).unwrap();
        again.write("8");
        again.flush();
        assert_eq!(first(again.aside(1)), '6', "what is there counts after a restart");
    }

    #[test]
    fn what_is_no_plain_file_stays_where_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        std::os::unix::fs::symlink("/dev/null", &path).unwrap();
        let mut log = Log::open(path.clone(), Rotation { bytes: 10, kept: 2 }).unwrap();
        for line in ["first.....", "second...."] {
            log.write(line);
        }
        assert!(path.is_symlink() && !log.aside(1).exists());
    }

    #[test]
    fn a_log_that_is_not_there_any_more_pushes_no_older_one_out() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("audit.log");
        let mut log = Log::open(path.clone(), Rotation { bytes: 10, kept: 2 }).unwrap();
        for line in ["first.....", "second...."] {
            log.write(line);
        }
        fs::remove_file(&path).unwrap();
        log.write("third.....");
        log.flush();
        let text = |path: PathBuf| fs::read_to_string(path).unwrap();
        assert_eq!((text(path), text(log.aside(1))), ("third.....\n".to_owned(), "first.....\n".to_owned()));
        assert!(!log.aside(2).exists());
    }
}
