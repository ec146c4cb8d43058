//! What is told beside the answer: warnings to the client, annotations to the audit log.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// How many bytes of warnings a client is sent at most, and to how many letters each is cut where they are more.
const MOST: usize = 4 * 1024;
const CUT: usize = 256;

/// What the stages of one request have to say.
#[derive(Debug, Default)]
pub struct Notes {
    told: Mutex<Told>,
}

#[derive(Debug, Default)]
struct Told {
    warnings: Vec<String>,
    annotations: BTreeMap<String, String>,
}

impl Notes {
    /// Warns the client; once, however often it is said.
    pub fn warn(&self, text: impl Into<String>) {
        let text = text.into();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if !text.is_empty() && !told.warnings.contains(&text) {
            told.warnings.push(text);
        }
    }

    /// Annotates the audit event. What was said first stays.
    pub fn annotate(&self, key: impl Into<String>, value: impl Into<String>) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.annotations.entry(key.into()).or_insert_with(|| value.into());
    }

    /// All warnings, cut to what fits into headers.
    pub fn warnings(&self) -> Vec<String> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let whole: usize = told.warnings.iter().map(String::len).sum();
        if whole <= MOST {
            return told.warnings.clone();
        }
        let mut room = MOST;
        let cut = told.warnings.iter().map(|text| text.chars().take(CUT).collect::<String>());
        cut.take_while(|text| {
            let fits = text.len() <= room;
            room = room.saturating_sub(text.len());
            fits
        })
        .collect()
    }

    /// The annotations of the audit event.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).annotations.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_told_once_and_fit_into_headers() {
        let notes = Notes::default();
        notes.warn("a");
        notes.warn("a");
        assert_eq!(notes.warnings(), ["a"]);
        for number in 0..40 {
            notes.warn(format!("{number}{}", "x".repeat(1000)));
        }
        let warnings = notes.warnings();
        assert!(warnings.iter().all(|text| text.len() <= CUT));
        assert!(warnings.iter().map(String::len).sum::<usize>() <= MOST);
        assert!(warnings.len() > 10);
    }
}
