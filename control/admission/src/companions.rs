//! What is stored together with the object, or not at all.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use serde_json::Value;

/// Another object that changes with the write.
#[derive(Debug, Clone, PartialEq)]
pub struct Companion {
    /// The API group of its resource.
    pub group: &'static str,
    /// The plural name of its resource.
    pub resource: &'static str,
    /// The object as it is to be. It must still be at the `resourceVersion` that it names.
    pub object: Value,
}

/// What goes with one write: other objects, and what is held until it is done.
#[derive(Default)]
pub struct Companions {
    with: Mutex<With>,
}

#[derive(Default)]
struct With {
    objects: Vec<Companion>,
    held: Vec<Box<dyn Send>>,
}

impl Companions {
    /// Stores another object with the write.
    pub fn store(&self, companion: Companion) {
        self.with.lock().unwrap_or_else(PoisonError::into_inner).objects.push(companion);
    }

    /// Keeps something, such as the guard of a lock, until the write is done.
    pub fn hold(&self, what: impl Send + 'static) {
        self.with.lock().unwrap_or_else(PoisonError::into_inner).held.push(Box::new(what));
    }

    /// The objects that go with the write.
    pub fn objects(&self) -> Vec<Companion> {
        self.with.lock().unwrap_or_else(PoisonError::into_inner).objects.clone()
    }
}

impl fmt::Debug for Companions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Companions").field("objects", &self.objects()).finish_non_exhaustive()
    }
}
