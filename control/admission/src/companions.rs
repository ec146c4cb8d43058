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
    /// What becomes of the object.
    pub change: Change,
}

/// What becomes of an object that changes with another one.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// It is made, and must not be there.
    Made(Value),
    /// It becomes this. It must still be at the `resourceVersion` that it names.
    Replaced(Value),
    /// It goes. It must still be at the `resourceVersion` that it names.
    Removed(Value),
}

impl Companion {
    /// The object, as it is to be or as it was.
    #[must_use]
    pub fn object(&self) -> &Value {
        match &self.change {
            Change::Made(object) | Change::Replaced(object) | Change::Removed(object) => object,
        }
    }
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
