//! What a note becomes: a new event, another count of an old one, or nothing where an object makes too much noise.
//!
//! The numbers are those of Kubernetes' own client: the same message counts up one event; from the tenth different message
//! of one reason within ten minutes on, all count up one combined event; and an object may have 25 writes at once and one
//! more each five minutes from then on.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use jiff::Timestamp;

use super::{Kind, Note, Source, unique};

/// Different messages of one reason that are told apart.
const SIMILAR: usize = 10;
/// For how long, in seconds, messages count as similar.
const SIMILAR_SECONDS: i64 = 600;
/// Writes that an object may have at once.
const BURST: f64 = 25.0;
/// Writes a second that an object wins back.
const REFILL: f64 = 1.0 / 300.0;
/// Entries of each kind that are remembered.
const REMEMBERED: usize = 4096;
const COMBINED: &str = "(combined from similar events): ";

/// What to write.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) note: Note,
    pub(crate) name: String,
    pub(crate) first: Timestamp,
    pub(crate) count: i32,
}

/// All that makes two notes similar.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Subject {
    source: Source,
    kind: Kind,
    reason: &'static str,
    uid: String,
    name: String,
    field: String,
}

#[derive(Debug)]
struct Similar {
    messages: HashSet<String>,
    last: Timestamp,
}

#[derive(Debug)]
struct Counted {
    name: String,
    first: Timestamp,
    last: Timestamp,
    count: i32,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    last: Timestamp,
}

/// Remembers what was written.
#[derive(Debug, Default)]
pub(crate) struct Correlator {
    similar: HashMap<Subject, Similar>,
    counted: HashMap<(Subject, Option<String>), Counted>,
    buckets: HashMap<(Source, String), Bucket>,
}

impl Correlator {
    /// What the note becomes; nothing where it is left out.
    pub(crate) fn take(&mut self, mut note: Note) -> Option<Outcome> {
        let now = note.at;
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let object = &note.object;
        let subject = Subject {
            source: note.source,
            kind: note.kind,
            reason: note.reason,
            uid: text(&object.uid),
            name: format!("{}/{}", text(&object.namespace), text(&object.name)),
            field: text(&object.field_path),
        };
        let combined = self.combines(&subject, &note.message, now);
        if combined {
            note.message = format!("{COMBINED}{}", note.message);
        }
        let key = (subject.clone(), (!combined).then(|| note.message.clone()));
        room(&mut self.counted, &key, |counted| counted.last);
        let fresh = || Counted { name: unique(&note.object, now), first: now, last: now, count: 0 };
        let counted = self.counted.entry(key).or_insert_with(fresh);
        counted.count = counted.count.saturating_add(1);
        counted.last = now;
        let outcome =
            Outcome { name: counted.name.clone(), first: counted.first, count: counted.count, note };
        self.affords(&subject, now).then_some(outcome)
    }

    /// Whether so many similar messages came that this one is written as part of the whole.
    fn combines(&mut self, subject: &Subject, message: &str, now: Timestamp) -> bool {
        room(&mut self.similar, subject, |similar| similar.last);
        let similar = self
            .similar
            .entry(subject.clone())
            .or_insert_with(|| Similar { messages: HashSet::new(), last: now });
        if now.as_second() - similar.last.as_second() > SIMILAR_SECONDS {
            similar.messages.clear();
        }
        similar.last = now;
        if similar.messages.contains(message) {
            return false;
        }
        if similar.messages.len() + 1 >= SIMILAR {
            return true;
        }
        similar.messages.insert(message.to_owned());
        false
    }

    fn affords(&mut self, subject: &Subject, now: Timestamp) -> bool {
        let key = (subject.source, format!("{}{}", subject.name, subject.uid));
        room(&mut self.buckets, &key, |bucket| bucket.last);
        let bucket = self.buckets.entry(key).or_insert(Bucket { tokens: BURST, last: now });
        let passed = now.duration_since(bucket.last).as_secs_f64().max(0.0);
        bucket.tokens = (bucket.tokens + passed * REFILL).min(BURST);
        bucket.last = now;
        if bucket.tokens < 1.0 {
            return false;
        }
        bucket.tokens -= 1.0;
        true
    }
}

/// Makes room for one more entry, if `key` is to be one, by forgetting the one that is longest unused.
fn room<K: Eq + Hash + Clone, V>(map: &mut HashMap<K, V>, key: &K, last: impl Fn(&V) -> Timestamp) {
    if map.len() < REMEMBERED || map.contains_key(key) {
        return;
    }
    let oldest = map.iter().min_by_key(|(_, value)| last(value)).map(|(key, _)| key.clone());
    if let Some(oldest) = oldest {
        map.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::node_reference;

    fn note(object: &str, message: &str, second: i64) -> Note {
        Note {
            source: Source::Kubelet,
            object: node_reference(object),
            kind: Kind::Warning,
            reason: "BackOff",
            message: message.to_owned(),
            at: Timestamp::from_second(second).unwrap_or_default(),
        }
    }

    #[test]
    fn the_same_message_counts_up_one_event() {
        let mut correlator = Correlator::default();
        let told: Vec<_> = (0..3).filter_map(|second| correlator.take(note("a", "x", second))).collect();
        assert_eq!(told.iter().map(|own| own.count).collect::<Vec<_>>(), [1, 2, 3]);
        assert!(told.iter().all(|own| own.name == told[0].name && own.first == told[0].first));
        let other = correlator.take(note("a", "y", 3));
        assert_eq!(other.map(|own| own.count), Some(1));
    }

    #[test]
    fn many_messages_of_one_reason_become_one_event() {
        let mut correlator = Correlator::default();
        let told: Vec<_> = (0..12)
            .filter_map(|number| correlator.take(note("a", &format!("message {number}"), number)))
            .collect();
        assert_eq!(told[8].note.message, "message 8");
        assert_eq!(told[9].note.message, "(combined from similar events): message 9");
        assert_eq!((told[11].count, &told[11].name), (3, &told[9].name));
        // After a pause they are told apart again.
        let later = correlator.take(note("a", "message 50", 2000));
        assert_eq!(later.map(|own| own.note.message), Some("message 50".to_owned()));
    }

    #[test]
    fn a_noisy_object_is_hushed_and_others_are_not() {
        let mut correlator = Correlator::default();
        let written = |correlator: &mut Correlator, object: &str, second: i64| {
            correlator.take(note(object, "x", second)).is_some()
        };
        let heard = (0..40).filter(|_| written(&mut correlator, "loud", 0)).count();
        assert_eq!(heard, 25);
        assert!(written(&mut correlator, "quiet", 0));
        assert!(written(&mut correlator, "loud", 301) && !written(&mut correlator, "loud", 302));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut correlator = Correlator::default();
        for number in 0..5000 {
            correlator.take(note(&format!("object {number}"), "x", number));
        }
        assert_eq!(correlator.counted.len(), REMEMBERED);
        assert_eq!(correlator.buckets.len(), REMEMBERED);
    }
}
