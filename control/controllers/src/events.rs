//! What controllers tell users about what they did: Kubernetes events.
//!
//! Telling is beside the work: it never fails a pass and never holds one up. What cannot be told in time is left out.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource};
use tokio::sync::mpsc;

/// How many events may wait to be written; further ones are left out.
const WAITING: usize = 1024;
/// How many distinct texts are remembered, so that a repetition counts up instead of being told anew.
const REMEMBERED: usize = 512;
/// How long the text of an event may be, in bytes.
const LONGEST: usize = 1024;

/// Something to tell.
struct Told {
    by: &'static str,
    about: ObjectReference,
    event: Event,
}

/// Where controllers say what they did. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Events {
    waiting: mpsc::Sender<Told>,
}

/// Writes down what was said.
pub(crate) struct Writer {
    waiting: mpsc::Receiver<Told>,
}

/// The two ends: to say, and to write.
pub(crate) fn channel() -> (Events, Writer) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (Events { waiting: sender }, Writer { waiting: receiver })
}

/// What was done, by whom and about what.
pub(crate) struct Voice<'a> {
    events: &'a Events,
    by: &'static str,
    about: ObjectReference,
}

impl Events {
    /// The voice of a controller about one object.
    pub(crate) fn about<K: Resource<DynamicType = ()>>(&self, by: &'static str, object: &K) -> Voice<'_> {
        Voice { events: self, by, about: object.object_ref(&()) }
    }

    /// The voice of a controller about an object that is only referred to.
    pub(crate) fn about_reference(&self, by: &'static str, about: ObjectReference) -> Voice<'_> {
        Voice { events: self, by, about }
    }
}

impl Voice<'_> {
    /// Says that something went as it should.
    pub(crate) fn normal(&self, reason: &str, note: String) {
        self.say(EventType::Normal, reason, note);
    }

    /// Says that something may need a look.
    pub(crate) fn warning(&self, reason: &str, note: String) {
        self.say(EventType::Warning, reason, note);
    }

    fn say(&self, kind: EventType, reason: &str, note: String) {
        let event = Event {
            type_: kind,
            reason: reason.to_owned(),
            note: Some(shortened(note)),
            action: reason.to_owned(),
            secondary: None,
        };
        if self.events.waiting.try_send(Told { by: self.by, about: self.about.clone(), event }).is_err() {
            tracing::debug!(reason, "too many events are waiting; one was left out");
        }
    }
}

/// The text, cut at a character's end where it is too long for the API.
fn shortened(mut note: String) -> String {
    if note.len() > LONGEST {
        let end = (0..=LONGEST - 3).rev().find(|at| note.is_char_boundary(*at)).unwrap_or(0);
        note.truncate(end);
        note.push_str("...");
    }
    note
}

impl Writer {
    /// Writes until nobody has anything to say any more.
    pub(crate) async fn write(mut self, client: Client) {
        // A recorder takes events that differ only in their text for repetitions, so each text has its own.
        let mut recorders: HashMap<(&'static str, String), Recorder> = HashMap::new();
        while let Some(Told { by, about, event }) = self.waiting.recv().await {
            if recorders.len() >= REMEMBERED {
                recorders.clear();
            }
            let key = (by, event.note.clone().unwrap_or_default());
            let reporter = || Reporter { controller: by.to_owned(), instance: None };
            let recorder = recorders.entry(key).or_insert_with(|| Recorder::new(client.clone(), reporter()));
            if let Err(error) = recorder.publish(&event, &about).await {
                tracing::debug!(by, reason = event.reason, %error, "an event could not be written");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(shortened("short".to_owned()), "short");
        let cut = shortened("ö".repeat(LONGEST));
        assert!(cut.len() <= LONGEST && cut.ends_with("ö..."), "{}", cut.len());
    }
}
