//! JSON that is written as it is made, into bytes or into their fingerprint, so that no document is ever held as a tree.

use serde_json::Value;

/// Where bytes go.
pub(super) trait Sink {
    fn put(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// FNV-1a of 128 bits: stable, and made while the bytes go by. It tells versions of a document apart and keeps no secret.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fingerprint(u128);

impl Fingerprint {
    pub(super) const fn new() -> Self {
        Self(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d)
    }

    /// In hexadecimal.
    pub(super) fn text(self) -> String {
        format!("{:032X}", self.0)
    }
}

impl Sink for Fingerprint {
    fn put(&mut self, bytes: &[u8]) {
        const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
        for byte in bytes {
            self.0 = (self.0 ^ u128::from(*byte)).wrapping_mul(PRIME);
        }
    }
}

/// Writes JSON with its commas in place.
pub(super) struct Json<'a> {
    out: &'a mut dyn Sink,
    /// What comes next is the first of its object or list, or the value of a key.
    first: bool,
}

impl<'a> Json<'a> {
    pub(super) fn new(out: &'a mut dyn Sink) -> Self {
        Self { out, first: true }
    }

    fn separate(&mut self) {
        if !self.first {
            self.out.put(b",");
        }
        self.first = false;
    }

    pub(super) fn object(&mut self, fill: impl FnOnce(&mut Self)) {
        self.nested(b"{", b"}", fill);
    }

    pub(super) fn list(&mut self, fill: impl FnOnce(&mut Self)) {
        self.nested(b"[", b"]", fill);
    }

    fn nested(&mut self, open: &[u8], close: &[u8], fill: impl FnOnce(&mut Self)) {
        self.separate();
        self.out.put(open);
        self.first = true;
        fill(self);
        self.out.put(close);
        self.first = false;
    }

    /// The key of the value that is written next.
    pub(super) fn key(&mut self, key: &str) {
        self.text(key);
        self.out.put(b":");
        self.first = true;
    }

    pub(super) fn text(&mut self, text: &str) {
        self.separate();
        self.out.put(b"\"");
        let mut plain = 0;
        let bytes = text.as_bytes();
        for (at, byte) in bytes.iter().enumerate() {
            if *byte >= 0x20 && *byte != b'"' && *byte != b'\\' {
                continue;
            }
            self.out.put(&bytes[plain..at]);
            match byte {
                b'"' => self.out.put(b"\\\""),
                b'\\' => self.out.put(b"\\\\"),
                other => self.out.put(format!("\\u{other:04x}").as_bytes()),
            }
            plain = at + 1;
        }
        self.out.put(&bytes[plain..]);
        self.out.put(b"\"");
    }

    pub(super) fn flag(&mut self, flag: bool) {
        self.separate();
        self.out.put(if flag { b"true" } else { b"false" });
    }

    /// Any value, whose depth is limited by whoever read it.
    pub(super) fn value(&mut self, value: &Value) {
        match value {
            Value::Null => {
                self.separate();
                self.out.put(b"null");
            }
            Value::Bool(flag) => self.flag(*flag),
            Value::Number(number) => {
                self.separate();
                self.out.put(number.to_string().as_bytes());
            }
            Value::String(text) => self.text(text),
            Value::Array(items) => self.list(|json| items.iter().for_each(|item| json.value(item))),
            Value::Object(fields) => self.object(|json| {
                for (key, value) in fields {
                    json.key(key);
                    json.value(value);
                }
            }),
        }
    }

    /// A key and its text.
    pub(super) fn entry(&mut self, key: &str, text: &str) {
        self.key(key);
        self.text(text);
    }

    /// A key and a list of texts.
    pub(super) fn texts<'t>(&mut self, key: &str, texts: impl IntoIterator<Item = &'t str>) {
        self.key(key);
        self.list(|json| texts.into_iter().for_each(|text| json.text(text)));
    }

    /// A key and its object.
    pub(super) fn within(&mut self, key: &str, fill: impl FnOnce(&mut Self)) {
        self.key(key);
        self.object(fill);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_written_reads_as_what_was_meant() {
        let value = json!({
            "quote \" and \\ and \n": ["ä", "", 1, -2.5, true, null, {}, []], "nested": {"a": {"b": [[1], [2]]}}, "z": "\u{7}",
        });
        let mut bytes = Vec::new();
        Json::new(&mut bytes).value(&value);
        assert_eq!(serde_json::from_slice::<Value>(&bytes).unwrap(), value);
    }

    #[test]
    fn a_fingerprint_is_the_known_one_and_depends_on_every_byte() {
        let of = |text: &str| {
            let mut fingerprint = Fingerprint::new();
            fingerprint.put(text.as_bytes());
            fingerprint.text()
        };
        assert_eq!(of(""), "6C62272E07BB014262B821756295C58D");
        assert_eq!(of("a"), "D228CB696F1A8CAF78912B704E4A8964");
        assert_ne!(of("ab"), of("ba"));
    }
}
