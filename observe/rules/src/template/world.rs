//! What functions of templates may do, and how much of it.

use super::{MOST_QUERIES, MOST_TEXT, Surroundings};

/// What functions have of the world, and what they took of it.
pub(super) struct World<'x, 's> {
    pub(super) surroundings: &'x mut Surroundings<'s>,
    text: usize,
    queries: usize,
}

impl<'x, 's> World<'x, 's> {
    pub(super) fn new(surroundings: &'x mut Surroundings<'s>) -> Self {
        Self { surroundings, text: 0, queries: 0 }
    }

    /// Counts text that was made.
    pub(super) fn made(&mut self, bytes: usize) -> Result<(), String> {
        self.text = self.text.saturating_add(bytes);
        if self.text > MOST_TEXT {
            return Err(format!("it makes over {MOST_TEXT} bytes of text: make the template simpler"));
        }
        Ok(())
    }

    /// Counts a query.
    pub(super) fn asked(&mut self) -> Result<(), String> {
        self.queries += 1;
        if self.queries > MOST_QUERIES {
            return Err(format!("it asks over {MOST_QUERIES} queries: ask fewer"));
        }
        Ok(())
    }
}
