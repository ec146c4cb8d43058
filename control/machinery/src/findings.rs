//! What is told of the fields of an object that should not be there: as much as somebody may want to read.

use std::fmt::{self, Display, Write};

/// How many bytes all findings of an object have at most. Fields have names of the client's choice, and each finding tells
/// all names above it.
const ROOM: usize = 64 << 10;

/// Texts, of which there are no more than so many and so long.
#[derive(Debug)]
pub(crate) struct Findings {
    told: Vec<String>,
    most: usize,
    room: usize,
}

impl Findings {
    /// None yet, and at most so many.
    pub(crate) fn new(most: usize) -> Self {
        Self { told: Vec::new(), most, room: ROOM }
    }

    /// Tells one more, of which nothing is written that finds no room.
    pub(crate) fn tell(&mut self, finding: impl Display) {
        if self.told.len() >= self.most || self.room == 0 {
            return;
        }
        let mut text = Bounded { text: String::new(), room: self.room };
        // What is too long breaks off, and was the last.
        self.room = match write!(text, "{finding}") {
            Ok(()) => text.room,
            Err(fmt::Error) => 0,
        };
        self.told.push(text.text);
    }

    pub(crate) fn into_vec(self) -> Vec<String> {
        self.told
    }
}

struct Bounded {
    text: String,
    room: usize,
}

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let fits = text.floor_char_boundary(self.room);
        self.text.push_str(&text[..fits]);
        self.room -= fits;
        if fits == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_so_many_and_so_much() {
        let mut findings = Findings::new(2);
        (0..3).for_each(|number| findings.tell(number));
        assert_eq!(findings.into_vec(), ["0", "1"]);
        let mut findings = Findings::new(1_000);
        (0..1_000).for_each(|_| findings.tell(format_args!("ä{}", "x".repeat(1 << 20))));
        let told = findings.into_vec();
        assert_eq!((told.len(), told[0].len()), (1, ROOM));
    }
}
