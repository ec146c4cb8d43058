//! On which lines of a YAML document keys stand again that their maps have already.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// How many are told, as of all findings.
const MOST: usize = 100;

/// What is said of each, in the words of Go's reader; nothing where a line is not to be found out.
pub(super) fn lines(bytes: &[u8]) -> Option<Vec<String>> {
    let (options, mut found) = (super::document::options(), Vec::new());
    let read = serde_saphyr::with_deserializer_from_slice_with_options(bytes, options, |reader| {
        Walk(&mut found).deserialize(reader)
    });
    read.ok().map(|()| found)
}

struct Walk<'a>(&'a mut Vec<String>);

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_none<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Walk(&mut *self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let mut keys = HashSet::new();
        while let Some(key) = entries.next_key::<Spanned<String>>()? {
            // What stands within a value is told before its key.
            entries.next_value_seed(Walk(&mut *self.0))?;
            let (line, key) = (key.referenced.line(), key.value);
            let told = format!("line {line}: key {key:?} already set in map");
            if !keys.insert(key) && self.0.len() < MOST {
                self.0.push(told);
            }
        }
        Ok(())
    }
}
