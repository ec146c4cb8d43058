//! Events: what happened to a pod or to the node, for people to read (`kubectl describe`).
//!
//! Whoever sees something notes it with a [`Recorder`] and never waits. One task takes the notes in, lets the
//! [`Correlator`] say what each becomes, and writes that through the client. A note that finds the queue full is lost:
//! events are a help, and must not hold up what they tell of.

mod correlator;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSeries, EventSource, ObjectReference, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, Time};
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use correlator::{Correlator, Outcome};

/// Notes on their way to the writer.
const QUEUE: usize = 1024;
/// How long one write may take.
const WRITE: Duration = Duration::from_secs(10);

/// Whether an event is a good sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    Normal,
    Warning,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Which part of Kubernetes would have written an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    Kubelet,
    Scheduler,
    TaintEviction,
}

impl Source {
    fn component(self) -> &'static str {
        match self {
            Self::Kubelet => "kubelet",
            Self::Scheduler => "default-scheduler",
            Self::TaintEviction => "taint-eviction-controller",
        }
    }
}

/// Something that happened.
#[derive(Debug, Clone)]
pub(crate) struct Note {
    pub(crate) source: Source,
    pub(crate) object: ObjectReference,
    pub(crate) kind: Kind,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) at: Timestamp,
}

/// Takes notes.
#[derive(Debug, Clone)]
pub(crate) struct Recorder {
    sender: mpsc::Sender<Note>,
}

impl Recorder {
    /// A recorder and the task that writes what it notes, until the last recorder is gone.
    pub(crate) fn start(client: Client, host: String) -> (Self, JoinHandle<()>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self { sender }, tokio::spawn(write_all(client, host, receiver)))
    }

    pub(crate) fn note(
        &self,
        source: Source,
        object: ObjectReference,
        kind: Kind,
        reason: &'static str,
        message: String,
    ) {
        let note = Note { source, object, kind, reason, message, at: Timestamp::now() };
        if let Err(error) = self.sender.try_send(note) {
            tracing::debug!(%error, "an event is lost");
        }
    }
}

/// How events refer to a pod, or to one of its containers by `field`.
pub(crate) fn pod_reference(pod: &Pod, field: Option<String>) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("Pod".to_owned()),
        name: Some(pod.name_any()),
        namespace: pod.namespace(),
        uid: pod.uid(),
        resource_version: pod.resource_version(),
        field_path: field,
    }
}

/// How events refer to a node. Upstream's kubelet gives the name for the uid, and clients look for that.
pub(crate) fn node_reference(name: &str) -> ObjectReference {
    ObjectReference {
        kind: Some("Node".to_owned()),
        name: Some(name.to_owned()),
        uid: Some(name.to_owned()),
        ..ObjectReference::default()
    }
}

async fn write_all(client: Client, host: String, mut notes: mpsc::Receiver<Note>) {
    let mut correlator = Correlator::default();
    while let Some(note) = notes.recv().await {
        let Some(outcome) = correlator.take(note) else { continue };
        let written = tokio::time::timeout(WRITE, write(&client, &host, &outcome)).await;
        match written {
            Ok(Ok(())) => {}
            // The namespace goes, or the object has gone with it.
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 403 | 404 | 409) => {}
            Ok(Err(error)) => tracing::warn!(%error, "an event cannot be written"),
            Err(_) => tracing::warn!("an event was not written in time"),
        }
    }
}

async fn write(client: &Client, host: &str, outcome: &Outcome) -> Result<(), kube::Error> {
    let namespace = outcome.note.object.namespace.as_deref().unwrap_or("default");
    let events: Api<Event> = Api::namespaced(client.clone(), namespace);
    if outcome.count > 1 {
        let at = outcome.note.at;
        let patch = if is_series(outcome.note.source) {
            json!({"series": {"count": outcome.count, "lastObservedTime": micro(at)}})
        } else {
            json!({"count": outcome.count, "lastTimestamp": seconds(at), "message": outcome.note.message})
        };
        match events.patch(&outcome.name, &PatchParams::default(), &Patch::Merge(patch)).await {
            // It grew too old and was swept away; it begins anew.
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            patched => return patched.map(drop),
        }
    }
    events.create(&PostParams::default(), &event(host, outcome)).await.map(drop)
}

/// Whether a source writes the newer form, whose repetitions are a series.
fn is_series(source: Source) -> bool {
    source == Source::Scheduler
}

fn event(host: &str, outcome: &Outcome) -> Event {
    let note = &outcome.note;
    let component = note.source.component();
    let mut event = Event {
        metadata: ObjectMeta {
            name: Some(outcome.name.clone()),
            namespace: Some(note.object.namespace.clone().unwrap_or_else(|| "default".to_owned())),
            ..ObjectMeta::default()
        },
        involved_object: note.object.clone(),
        reason: Some(note.reason.to_owned()),
        message: Some(note.message.clone()),
        type_: Some(note.kind.name().to_owned()),
        reporting_component: Some(component.to_owned()),
        ..Event::default()
    };
    if is_series(note.source) {
        event.event_time = Some(micro(note.at));
        event.action = Some("Binding".to_owned());
        event.reporting_instance = Some(format!("{component}-{host}"));
        event.series = (outcome.count > 1)
            .then(|| EventSeries { count: Some(outcome.count), last_observed_time: Some(micro(note.at)) });
        return event;
    }
    let from_host = note.source == Source::Kubelet;
    event.source =
        Some(EventSource { component: Some(component.to_owned()), host: from_host.then(|| host.to_owned()) });
    event.reporting_instance = Some(if from_host { host.to_owned() } else { String::new() });
    event.first_timestamp = Some(seconds(outcome.first));
    event.last_timestamp = Some(seconds(note.at));
    event.count = Some(outcome.count);
    event
}

fn seconds(at: Timestamp) -> Time {
    Time(Timestamp::from_second(at.as_second()).unwrap_or(at))
}

fn micro(at: Timestamp) -> MicroTime {
    MicroTime(Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at))
}

/// A name that no other event of the object has: the time in nanoseconds, or the next free number where two came at once.
fn unique(object: &ObjectReference, at: Timestamp) -> String {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = u64::try_from(at.as_nanosecond()).unwrap_or(0);
    let last = LAST
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(now.max(last + 1)))
        .unwrap_or_default();
    format!("{}.{:x}", object.name.as_deref().unwrap_or_default(), now.max(last + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(source: Source, count: i32) -> Outcome {
        let object = pod_reference(&Pod::default(), Some("spec.containers{web}".to_owned()));
        let message = "Container started".to_owned();
        let at = Timestamp::UNIX_EPOCH;
        let note = Note { source, object, kind: Kind::Normal, reason: "Started", message, at };
        Outcome { note, name: "web.1".to_owned(), first: at, count }
    }

    #[test]
    fn events_of_the_kubelet_name_the_container_and_the_host() {
        let event = event("edge", &outcome(Source::Kubelet, 3));
        let source = event.source.unwrap_or_default();
        assert_eq!((source.component.as_deref(), source.host.as_deref()), (Some("kubelet"), Some("edge")));
        assert_eq!(event.involved_object.field_path.as_deref(), Some("spec.containers{web}"));
        assert_eq!((event.count, event.event_time), (Some(3), None));
    }

    #[test]
    fn events_of_the_scheduler_are_a_series() {
        let event = event("edge", &outcome(Source::Scheduler, 2));
        assert!(event.event_time.is_some() && event.action.is_some() && event.source.is_none());
        assert_eq!(event.series.and_then(|series| series.count), Some(2));
    }

    #[test]
    fn names_differ_even_at_one_moment() {
        let object = node_reference("edge");
        assert_ne!(unique(&object, Timestamp::UNIX_EPOCH), unique(&object, Timestamp::UNIX_EPOCH));
    }
}
