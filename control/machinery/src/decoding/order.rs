//! In which order what is odd about a document is told: in that of the document, as Go's decoder comes upon it.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::Path;

/// Puts what was found in a JSON document, as `unknown field "a"` and `duplicate field "b"`, in the order of the document.
///
/// ```
/// use xebec_machinery::decoding::in_order;
///
/// let found = ["duplicate field \"b\"", "unknown field \"a\""].map(str::to_owned).to_vec();
/// let ordered = in_order(br#"{"a": 1, "b": 2, "b": 3}"#, found);
/// assert_eq!(ordered, ["unknown field \"a\"", "duplicate field \"b\""]);
/// ```
pub fn in_order(json: &[u8], findings: Vec<String>) -> Vec<String> {
    if findings.len() < 2 {
        return findings;
    }
    let wanted: HashSet<&str> = findings.iter().map(String::as_str).collect();
    let mut met = Vec::new();
    let text = String::from_utf8_lossy(json);
    let mut deserializer = serde_json::Deserializer::from_str(&text);
    let walk = Walk { path: Path::ROOT, wanted: &wanted, met: &mut met };
    // It was read before, and is so far read again.
    let _read = walk.deserialize(&mut deserializer);
    let seen: HashSet<String> = met.iter().cloned().collect();
    met.extend(findings.into_iter().filter(|finding| !seen.contains(finding)));
    met
}

struct Walk<'a> {
    path: Path<'a>,
    wanted: &'a HashSet<&'a str>,
    met: &'a mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
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
        for at in 0.. {
            let walk = Walk { path: self.path.index(at), wanted: self.wanted, met: &mut *self.met };
            if items.next_element_seed(walk)?.is_none() {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let mut keys = HashSet::new();
        while let Some(key) = entries.next_key::<String>()? {
            let path = self.path.key(&key);
            let kind = if keys.contains(&key) { "duplicate" } else { "unknown" };
            let finding = format!("{kind} field \"{path}\"");
            let is_unknown = self.wanted.contains(finding.as_str());
            if is_unknown && !self.met.contains(&finding) {
                self.met.push(finding);
            }
            if is_unknown && kind == "unknown" {
                entries.next_value::<IgnoredAny>()?;
            } else {
                let walk = Walk { path, wanted: self.wanted, met: &mut *self.met };
                entries.next_value_seed(walk)?;
            }
            keys.insert(key);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_come_in_the_order_of_the_document_and_none_is_lost() {
        let document = br#"{"spec": {"z": 1, "list": [{"y": {"y": 1}}, {"x": 1, "x": 2}], "a": 1}, "kind": "K", "b": {}}"#;
        let found = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let sorted = found(&[
            "duplicate field \"spec.list[1].x\"",
            "elsewhere",
            "unknown field \"b\"",
            "unknown field \"spec.a\"",
            "unknown field \"spec.list[0].y\"",
            "unknown field \"spec.z\"",
        ]);
        let expected = found(&[
            "unknown field \"spec.z\"",
            "unknown field \"spec.list[0].y\"",
            "duplicate field \"spec.list[1].x\"",
            "unknown field \"spec.a\"",
            "unknown field \"b\"",
            "elsewhere",
        ]);
        assert_eq!(in_order(document, sorted), expected);
    }
}
