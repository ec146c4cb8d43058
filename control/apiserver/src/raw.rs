//! Objects as they rest, shown without being read: their bytes are what clients get, but for the few fields in which the two
//! differ. A large list takes neither the time nor the memory of its objects.
//!
//! Stored bytes are of our own making: JSON without white space. Whatever looks otherwise is left to those who read it.

use std::io::Write as _;
use std::ops::Range;

use serde_json::Value;
use xebec_machinery::negotiation::MetaVersion;
use xebec_store::{Entry, Revision};

use crate::call::Call;
use crate::{components, convert, usage};

const METADATA: &[u8] = br#""metadata""#;

/// What an object takes beyond what it takes at rest, mostly: its revision, its kind, and what stands around it.
pub(crate) const ROOM: usize = 192;

/// What an object says of its kind, as members of JSON with a comma behind each: `kind` first, as Go has it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Head {
    text: String,
    /// Whether nothing but the metadata stands behind it.
    metadata_only: bool,
}

impl Head {
    /// That of the objects of a call.
    pub(crate) fn of(call: &Call) -> Self {
        Self { text: kind(&call.resource.kind, &call.api_version()), metadata_only: false }
    }

    /// That of objects of which the metadata alone is shown.
    pub(crate) fn of_metadata(version: MetaVersion) -> Self {
        Self { text: kind("PartialObjectMetadata", version.api_version()), metadata_only: true }
    }

    /// About what an entry takes that is shown so, in bytes.
    pub(crate) fn room(&self, entry: &Entry) -> usize {
        if self.metadata_only { 2 * ROOM } else { entry.value.len() + ROOM }
    }
}

fn kind(kind: &str, version: &str) -> String {
    format!(r#""kind":"{kind}","apiVersion":"{version}","#)
}

/// How a list and its items begin.
pub(crate) struct ListHead {
    text: String,
    pub(crate) item: Head,
}

impl ListHead {
    /// Those of a list of a call's objects, which do not say their kind again.
    pub(crate) fn of(call: &Call) -> Self {
        Self { text: kind(&call.resource.list_kind, &call.api_version()), item: Head::default() }
    }

    /// Those of a list of metadata, whose items say what they are.
    pub(crate) fn of_metadata(version: MetaVersion) -> Self {
        let text = kind("PartialObjectMetadataList", version.api_version());
        Self { text, item: Head::of_metadata(version) }
    }

    /// What stands before the items.
    pub(crate) fn begin(&self, metadata: &Value) -> String {
        format!(r#"{{{}"metadata":{metadata},"items":["#, self.text)
    }
}

/// Whether objects of a call go out as they rest: in the version in which they are stored, and with nothing to be defaulted.
pub(crate) fn is_at_rest(call: &Call) -> bool {
    let resource = &call.resource;
    !resource.custom
        && call.version().name == resource.storage
        && convert::home(resource) == (&*resource.group, &*resource.plural)
        && !usage::is_usage(call)
        && !components::is_component(call)
}

/// Writes an entry's object at a revision behind what is there, in the order that Go has it in. `None`, with nothing
/// written, where the bytes do not look like an object with metadata.
#[must_use]
pub(crate) fn show(entry: &Entry, head: &Head, revision: Revision, out: &mut Vec<u8>) -> Option<()> {
    let text = &*entry.value;
    let mut members = Vec::with_capacity(8);
    for member in Members::of(text)? {
        let (name, value) = member?;
        members.push((&text[name.clone()], &text[value.clone()], &text[name.start..value.end]));
        if head.metadata_only && text[name] == *METADATA {
            break;
        }
    }
    let (_, metadata, _) = members.iter().find(|(name, ..)| *name == METADATA)?;
    let fields = metadata.strip_prefix(b"{").filter(|fields| fields.starts_with(b"\""))?;
    out.push(b'{');
    out.extend_from_slice(head.text.as_bytes());
    // A vector takes everything.
    let _ = write!(out, r#""metadata":{{"resourceVersion":"{revision}","#);
    out.extend_from_slice(fields);
    let known: [&[u8]; 3] = [br#""kind""#, br#""apiVersion""#, METADATA];
    let others = members.iter().filter(|(name, ..)| !head.metadata_only && !known.contains(name));
    for (_, _, member) in others {
        out.push(b',');
        out.extend_from_slice(member);
    }
    out.push(b'}');
    Some(())
}

/// The members of an object: where their names and values stand. `None` is what is no member.
struct Members<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Members<'a> {
    fn of(text: &'a [u8]) -> Option<Self> {
        (text.first() == Some(&b'{')).then_some(Self { text, at: 1 })
    }

    fn member(&mut self) -> Option<(Range<usize>, Range<usize>)> {
        let name = self.at..string_end(self.text, self.at)?;
        (self.text.get(name.end) == Some(&b':')).then_some(())?;
        let value = name.end + 1..value_end(self.text, name.end + 1)?;
        self.at = match self.text.get(value.end)? {
            b',' => value.end + 1,
            b'}' => self.text.len(),
            _ => return None,
        };
        Some((name, value))
    }
}

impl Iterator for Members<'_> {
    type Item = Option<(Range<usize>, Range<usize>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.text.len() || self.text[self.at..] == *b"}" {
            return None;
        }
        let member = self.member();
        if member.is_none() {
            self.at = self.text.len();
        }
        Some(member)
    }
}

/// Behind the value that begins here.
fn value_end(text: &[u8], at: usize) -> Option<usize> {
    match text.get(at)? {
        b'"' => string_end(text, at),
        b'{' | b'[' => {
            let (mut depth, mut at) = (0_usize, at);
            loop {
                match text.get(at)? {
                    b'"' => {
                        at = string_end(text, at)?;
                        continue;
                    }
                    b'{' | b'[' => depth += 1,
                    b'}' | b']' => depth -= 1,
                    _ => {}
                }
                at += 1;
                if depth == 0 {
                    return Some(at);
                }
            }
        }
        _ => text[at..].iter().position(|byte| matches!(byte, b',' | b'}')).map(|length| at + length),
    }
}

/// Behind the string that begins here.
fn string_end(text: &[u8], at: usize) -> Option<usize> {
    (text.get(at) == Some(&b'"')).then_some(())?;
    let mut at = at + 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(bytes: impl Into<bytes::Bytes>) -> Entry {
        let (created, modified) = (Revision(3), Revision(7));
        Entry { key: "a".into(), value: bytes.into(), created, modified, version: 1 }
    }

    fn head() -> Head {
        Head { text: r#""kind":"ConfigMap","apiVersion":"v1","#.to_owned(), metadata_only: false }
    }

    #[test]
    fn what_is_shown_is_what_reading_and_writing_would_have_shown() {
        let odd = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "zero": 0, "none": null, "list": [[], {}, [{"a": ["]}"]}]],
            "metadata": {"name": "a", "labels": {"kind": "\"}\\", "ä": "\u{1F680}"}},
            "data": {"metadata": "{\"name\":\"b\"}", "kind": "Pod", "": "\\\\\""}, "flag": true,
        });
        let mut out = b"before".to_vec();
        show(&entry(odd.to_string()), &head(), Revision(7), &mut out).unwrap();
        assert!(out.starts_with(br#"before{"kind":"ConfigMap","apiVersion":"v1","#));
        let shown: Value = serde_json::from_slice(&out["before".len()..]).unwrap();
        let mut wanted = odd.clone();
        wanted["metadata"]["resourceVersion"] = json!("7");
        assert_eq!(shown, wanted);

        let mut item = Vec::new();
        show(&entry(odd.to_string()), &Head::default(), Revision(9), &mut item).unwrap();
        let text = String::from_utf8(item).unwrap();
        assert!(
            !text.contains(r#""kind":"ConfigMap""#) && text.contains(r#""resourceVersion":"9""#),
            "{text}"
        );
    }

    #[test]
    fn metadata_is_shown_without_the_rest() {
        let map =
            json!({"apiVersion": "v1", "data": {"metadata": "{}"}, "metadata": {"name": "a"}, "z": [1]});
        let mut out = Vec::new();
        show(&entry(map.to_string()), &Head::of_metadata(MetaVersion::V1), Revision(7), &mut out).unwrap();
        let wanted = r#"{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"resourceVersion":"7","name":"a"}}"#;
        assert_eq!(String::from_utf8(out).unwrap(), wanted);
    }

    #[test]
    fn what_does_not_look_like_an_object_is_not_shown() {
        for odd in [
            "",
            "[]",
            "{",
            "{}",
            "nothing",
            r#"{"metadata":{}}"#,
            r#"{"metadata":[]}"#,
            r#"{"metadata":{"name":"a"}"#,
            r#"{"metadata":{"name":"a"}x"#,
            r#"{"a":1,"metadata":{"name":"\"#,
            r#"{ "metadata": {"name":"a"}}"#,
        ] {
            let mut out = b"before".to_vec();
            assert_eq!(show(&entry(odd), &head(), Revision(1), &mut out), None, "{odd}");
            assert_eq!(out, b"before", "{odd}");
        }
    }
}
