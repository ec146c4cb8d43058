//! Requests to the kernel's nf_tables as bytes: netlink messages (netlink(7)) with attributes, put together in batches that
//! the kernel takes whole or not at all. Numbers are those of `linux/netfilter/nf_tables.h` and `nfnetlink.h`.

use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_REQUEST};

use crate::expression::{Expression, Verdict};

const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;

/// What a table sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Family {
    /// Packets of IPv4 (NFPROTO_IPV4).
    Ip = 2,
    /// What bridges carry (NFPROTO_BRIDGE).
    Bridge = 7,
}

/// So many bytes of elements go into one message: the length of an attribute has sixteen bits.
const ELEMENTS: usize = 32 << 10;
pub(crate) const NESTED: u16 = 1 << 15;

/// What is asked for, by its number (`enum nf_tables_msg_types`).
#[derive(Clone, Copy)]
#[repr(u16)]
enum Request {
    NewTable = 0,
    DeleteTable = 2,
    NewChain = 3,
    DeleteChain = 5,
    NewRule = 6,
    DeleteRule = 8,
    NewSet = 9,
    DeleteSet = 11,
    NewElements = 12,
    DeleteElements = 14,
    /// Removes it if it is there (Linux 6.3).
    DestroyTable = 26,
}

/// The type of a key's or a value's part, as nft(8) numbers them: the kernel keeps it for whoever lists the table.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Kind {
    Integer = 4,
    Address = 7,
    Protocol = 12,
    Port = 13,
    /// Four bytes of no further meaning. A plain number has no length of its own there.
    Mark = 19,
}

/// What a set of elements is.
pub(crate) struct Set<'a> {
    pub(crate) name: &'a str,
    pub(crate) key: &'a [Kind],
    pub(crate) data: Data<'a>,
    /// Elements come by rules and last for so many milliseconds.
    pub(crate) timeout: Option<u64>,
}

/// What elements lead to.
pub(crate) enum Data<'a> {
    /// They are only there, or not.
    None,
    Verdict,
    Value(&'a [Kind]),
}

/// What one element leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    None,
    Verdict(Verdict),
    Bytes(Vec<u8>),
}

/// An element's key, and what it leads to.
pub(crate) type Element = (Vec<u8>, Value);

/// The place of a chain at which packets enter it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hook {
    pub(crate) kind: &'static str,
    /// NF_INET_PRE_ROUTING and the others.
    pub(crate) number: u32,
    pub(crate) priority: i32,
}

/// Requests that the kernel takes together.
pub(crate) struct Batch {
    family: Family,
    table: String,
    bytes: Vec<u8>,
    sequence: u32,
    first: u32,
    /// What each request was for, in words, for when it is refused.
    asked: Vec<String>,
    last: usize,
    sets: u32,
}

impl Batch {
    /// A batch about a table, whose messages are numbered from `sequence` on.
    pub(crate) fn new(family: Family, table: &str, sequence: u32) -> Self {
        let mut batch = Self {
            family,
            table: table.to_owned(),
            bytes: Vec::new(),
            sequence,
            first: sequence,
            asked: Vec::new(),
            last: 0,
            sets: 0,
        };
        batch.begin(BATCH_BEGIN, 0, SUBSYSTEM, "begin a batch".to_owned());
        batch
    }

    /// Whether nothing is asked for.
    pub(crate) fn is_empty(&self) -> bool {
        self.asked.len() == 1
    }

    /// The bytes, the numbers of the first and of the last request, which is acknowledged, and what each is for.
    pub(crate) fn finish(mut self) -> (Vec<u8>, std::ops::RangeInclusive<u32>, Vec<String>) {
        let numbers = self.first..=self.sequence.wrapping_sub(1);
        // The flags of the last request's header.
        let flags = u16::from_ne_bytes([self.bytes[self.last + 6], self.bytes[self.last + 7]]) | NLM_F_ACK;
        self.bytes[self.last + 6..self.last + 8].copy_from_slice(&flags.to_ne_bytes());
        let asked = std::mem::take(&mut self.asked);
        self.begin(BATCH_END, 0, SUBSYSTEM, String::new());
        (self.bytes, numbers, asked)
    }

    fn begin(&mut self, kind: u16, flags: u16, resource: u16, asked: String) {
        let start = self.bytes.len();
        self.last = start;
        self.bytes.extend([0; 4]);
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((NLM_F_REQUEST | flags).to_ne_bytes());
        self.bytes.extend(self.sequence.to_ne_bytes());
        self.bytes.extend([0; 4]);
        let family = if kind < SUBSYSTEM << 8 { 0 } else { self.family as u8 };
        self.bytes.extend([family, 0]);
        self.bytes.extend(resource.to_be_bytes());
        self.sequence = self.sequence.wrapping_add(1);
        self.asked.push(asked);
        self.close(start);
    }

    fn close(&mut self, start: usize) {
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    fn ask(
        &mut self,
        request: Request,
        flags: u16,
        asked: String,
        write: impl FnOnce(&mut Attributes<'_>, &str),
    ) {
        self.begin((SUBSYSTEM << 8) | request as u16, flags, 0, asked);
        let start = self.last;
        let table = self.table.clone();
        write(&mut Attributes(&mut self.bytes), &table);
        self.close(start);
    }

    pub(crate) fn add_table(&mut self, flags: u32) {
        self.ask(Request::NewTable, NLM_F_CREATE, "make the table".to_owned(), |attributes, table| {
            attributes.text(1, table).number(2, flags);
        });
    }

    pub(crate) fn delete_table(&mut self) {
        self.ask(Request::DeleteTable, 0, "remove the table".to_owned(), |attributes, table| {
            attributes.text(1, table);
        });
    }

    /// Removes the table if it is there.
    pub(crate) fn delete_any_table(&mut self) {
        self.ask(Request::DestroyTable, 0, "remove the old table".to_owned(), |attributes, table| {
            attributes.text(1, table);
        });
    }

    pub(crate) fn add_chain(&mut self, name: &str, hook: Option<Hook>) {
        self.ask(Request::NewChain, NLM_F_CREATE, format!("make the chain {name}"), |attributes, table| {
            attributes.text(1, table).text(3, name);
            if let Some(hook) = hook {
                attributes.nested(4, |inner| {
                    inner.number(1, hook.number).number(2, hook.priority.cast_unsigned());
                });
                attributes.text(7, hook.kind);
            }
        });
    }

    pub(crate) fn delete_chain(&mut self, name: &str) {
        self.ask(Request::DeleteChain, 0, format!("remove the chain {name}"), |attributes, table| {
            attributes.text(1, table).text(3, name);
        });
    }

    /// Adds a rule at the end of a chain.
    pub(crate) fn add_rule(&mut self, chain: &str, rule: &[Expression]) {
        // NLM_F_APPEND; the flags' bits mean other things to other requests.
        let flags = NLM_F_CREATE | 0x800;
        self.ask(Request::NewRule, flags, format!("add a rule to {chain}"), |attributes, table| {
            attributes.text(1, table).text(2, chain);
            attributes.nested(4, |list| {
                for expression in rule {
                    list.nested(1, |inner| expression.write(inner));
                }
            });
        });
    }

    /// Removes all rules of a chain.
    pub(crate) fn empty_chain(&mut self, chain: &str) {
        self.ask(Request::DeleteRule, 0, format!("remove the rules of {chain}"), |attributes, table| {
            attributes.text(1, table).text(2, chain);
        });
    }

    pub(crate) fn add_set(&mut self, set: &Set<'_>) {
        let mut flags = if matches!(set.data, Data::None) { 0 } else { 8 };
        if set.timeout.is_some() {
            // NFT_SET_TIMEOUT and NFT_SET_EVAL.
            flags |= 0x10 | 0x20;
        }
        self.write_set(set, flags, None);
    }

    /// Makes a map that lives as long as the one rule that the next request adds, and gives its name and number.
    pub(crate) fn add_nameless(&mut self, set: &Set<'_>, elements: &[Element]) -> u32 {
        self.sets += 1;
        let number = self.sets;
        // NFT_SET_ANONYMOUS, NFT_SET_CONSTANT and NFT_SET_MAP.
        self.write_set(set, 1 | 2 | 8, Some(number));
        self.write_elements(Request::NewElements, set.name, Some(number), elements);
        number
    }

    fn write_set(&mut self, set: &Set<'_>, flags: u32, number: Option<u32>) {
        let asked = format!("make the set {}", set.name);
        self.ask(Request::NewSet, NLM_F_CREATE, asked, |attributes, table| {
            attributes.text(1, table).text(2, set.name).number(3, flags);
            attributes.number(4, concatenated(set.key)).number(5, length(set.key));
            let attributes = match set.data {
                Data::None => attributes,
                // NFT_DATA_VERDICT
                Data::Verdict => attributes.number(6, 0xffff_ff00),
                Data::Value(kinds) => attributes.number(6, concatenated(kinds)).number(7, length(kinds)),
            };
            attributes.number(10, number.unwrap_or(0));
            if let Some(timeout) = set.timeout {
                attributes.long(11, timeout);
            }
        });
    }

    pub(crate) fn delete_set(&mut self, name: &str) {
        self.ask(Request::DeleteSet, 0, format!("remove the set {name}"), |attributes, table| {
            attributes.text(1, table).text(2, name);
        });
    }

    pub(crate) fn add_elements(&mut self, set: &str, elements: &[Element]) {
        self.write_elements(Request::NewElements, set, None, elements);
    }

    pub(crate) fn delete_elements(&mut self, set: &str, elements: &[Element]) {
        self.write_elements(Request::DeleteElements, set, None, elements);
    }

    fn write_elements(&mut self, request: Request, set: &str, number: Option<u32>, elements: &[Element]) {
        let mut rest = elements;
        while !rest.is_empty() {
            let mut bytes = Vec::new();
            let mut count = 0;
            while let Some((key, value)) = rest.get(count)
                && bytes.len() < ELEMENTS
            {
                Attributes(&mut bytes).nested(1, |element| {
                    element.value(1, key);
                    let _written = match value {
                        Value::None => element,
                        Value::Verdict(verdict) => element.nested(2, |data| verdict.write(data)),
                        Value::Bytes(own) => element.value(2, own),
                    };
                });
                count += 1;
            }
            rest = &rest[count..];
            let asked = format!("change elements of {set}");
            self.ask(request, NLM_F_CREATE, asked, |attributes, table| {
                attributes.text(1, table).text(2, set);
                attributes.bytes(3 | NESTED, &bytes);
                if let Some(number) = number {
                    attributes.number(4, number);
                }
            });
        }
    }
}

/// The types of a concatenation's parts in one number, six bits each.
fn concatenated(kinds: &[Kind]) -> u32 {
    kinds.iter().fold(0, |all, kind| all << 6 | *kind as u32)
}

/// The bytes of a concatenation: each part begins at four.
fn length(kinds: &[Kind]) -> u32 {
    4 * u32::try_from(kinds.len()).unwrap_or(0)
}

/// The attributes of a message, or of another attribute.
pub(crate) struct Attributes<'a>(&'a mut Vec<u8>);

impl<'a> Attributes<'a> {
    /// Attributes that are written after what is there.
    pub(crate) fn new(bytes: &'a mut Vec<u8>) -> Self {
        Self(bytes)
    }

    pub(crate) fn bytes(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.pad()
    }

    fn pad(&mut self) -> &mut Self {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    pub(crate) fn text(&mut self, kind: u16, value: &str) -> &mut Self {
        let terminated: Vec<u8> = value.bytes().chain([0]).collect();
        self.bytes(kind, &terminated)
    }

    pub(crate) fn number(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    pub(crate) fn long(&mut self, kind: u16, value: u64) -> &mut Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// Data, as registers and elements hold it (NFTA_DATA_VALUE).
    pub(crate) fn value(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        self.nested(kind, |data| {
            data.bytes(1, value);
        })
    }

    pub(crate) fn nested(&mut self, kind: u16, write: impl FnOnce(&mut Attributes<'_>)) -> &mut Self {
        let start = self.0.len();
        self.0.extend([0; 2]);
        self.0.extend((kind | NESTED).to_ne_bytes());
        write(&mut Attributes(self.0));
        let length = u16::try_from(self.0.len() - start).unwrap_or(u16::MAX);
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_tell_their_own_length() {
        let mut bytes = Vec::new();
        Attributes(&mut bytes).text(1, "ab").nested(2, |inner| {
            inner.number(3, 7);
        });
        let one = [7u16.to_ne_bytes(), 1u16.to_ne_bytes()].concat();
        let two = [12u16.to_ne_bytes(), (2 | NESTED).to_ne_bytes()].concat();
        let three = [8u16.to_ne_bytes(), 3u16.to_ne_bytes()].concat();
        assert_eq!(bytes, [one, b"ab\0\0".to_vec(), two, three, vec![0, 0, 0, 7]].concat());
    }

    #[test]
    fn many_elements_take_many_messages_and_each_has_a_length_that_fits() {
        let elements: Vec<Element> =
            (0..10_000u32).map(|key| (key.to_be_bytes().to_vec(), Value::None)).collect();
        let mut batch = Batch::new(Family::Ip, "t", 1);
        batch.add_elements("s", &elements);
        let (bytes, numbers, asked) = batch.finish();
        assert_eq!(asked.len(), numbers.count());
        assert!(asked.len() > 5);
        let (mut at, mut seen) = (0, 0);
        while at < bytes.len() {
            let length = u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
            assert!((20..60_000).contains(&length), "{length}");
            at += length;
            seen += 1;
        }
        assert_eq!((at, seen), (bytes.len(), asked.len() + 1));
    }
}
