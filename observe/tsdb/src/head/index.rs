//! Finds the head's series: by their labels, by label pairs, by number.

use std::{
    collections::{BTreeMap, HashMap, btree_map::Entry},
    hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState},
    ops::Bound,
    sync::Arc,
};

use crate::{Error, Labels, Result, index::LabelIndex, postings::union};

/// Spreads numbers that are already unique.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(number.into());
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 ^= self.0 >> 32;
    }
}

/// A map by numbers.
pub(crate) type NumberMap<K, V> = HashMap<K, V, BuildHasherDefault<Spread>>;

/// Every string of every label once, with how many use it.
#[derive(Debug, Default)]
struct Symbols {
    numbers: HashMap<Arc<str>, u32>,
    texts: Vec<Option<(Arc<str>, u32)>>,
    free: Vec<u32>,
}

impl Symbols {
    fn intern(&mut self, text: &str) -> u32 {
        if let Some(&number) = self.numbers.get(text) {
            if let Some(Some((_, uses))) = self.texts.get_mut(number as usize) {
                *uses += 1;
            }
            return number;
        }
        let text: Arc<str> = text.into();
        let slot = Some((Arc::clone(&text), 1));
        let number = match self.free.pop() {
            Some(number) => {
                self.texts[number as usize] = slot;
                number
            }
            None => {
                self.texts.push(slot);
                self.texts.len() as u32 - 1
            }
        };
        self.numbers.insert(text, number);
        number
    }

    fn text(&self, number: u32) -> Arc<str> {
        let slot = self.texts.get(number as usize).and_then(Option::as_ref);
        slot.map_or_else(|| Arc::from(""), |(text, _)| Arc::clone(text))
    }

    fn str(&self, number: u32) -> &str {
        self.texts.get(number as usize).and_then(Option::as_ref).map_or("", |(text, _)| text)
    }

    fn release(&mut self, number: u32) {
        let Some(slot) = self.texts.get_mut(number as usize) else { return };
        if let Some((text, uses)) = slot {
            *uses -= 1;
            if *uses == 0 {
                self.numbers.remove(text);
                *slot = None;
                self.free.push(number);
            }
        }
    }
}

type Pairs = Box<[(u32, u32)]>;

/// The index of the head. Series get a number when their labels are first seen, and are found by label pairs once
/// they have a sample.
#[derive(Debug, Default)]
pub(crate) struct HeadIndex {
    symbols: Symbols,
    hasher: RandomState,
    by_hash: NumberMap<u64, u32>,
    /// Further series with the hash of one in `by_hash`.
    clashes: HashMap<u64, Vec<u32>>,
    labels: NumberMap<u32, Pairs>,
    postings: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Vec<u32>>>,
    all: Vec<u32>,
    next: u32,
}

impl HeadIndex {
    pub(crate) fn len(&self) -> usize {
        self.labels.len()
    }

    fn hash(&self, labels: &Labels) -> u64 {
        self.hasher.hash_one(labels.as_bytes())
    }

    fn is(&self, number: u32, labels: &Labels) -> bool {
        self.labels.get(&number).is_some_and(|pairs| {
            let ours = pairs.iter().map(|&(name, value)| (self.symbols.str(name), self.symbols.str(value)));
            ours.eq(labels.iter())
        })
    }

    pub(crate) fn find(&self, labels: &Labels) -> Option<u32> {
        let hash = self.hash(labels);
        let first = *self.by_hash.get(&hash)?;
        let others = self.clashes.get(&hash).map_or(&[][..], Vec::as_slice);
        std::iter::once(&first).chain(others).copied().find(|&number| self.is(number, labels))
    }

    /// Numbers labels that [`Self::find`] does not know.
    pub(crate) fn create(&mut self, labels: &Labels) -> Result<u32> {
        let number = self.next;
        self.next = number
            .checked_add(1)
            .ok_or_else(|| Error::Limit("four billion series were created: open the database anew".into()))?;
        self.place(number, labels);
        Ok(number)
    }

    /// Takes labels with the number that the log has for them.
    pub(crate) fn restore(&mut self, number: u32, labels: &Labels) {
        self.next = self.next.max(number.saturating_add(1));
        self.place(number, labels);
    }

    fn place(&mut self, number: u32, labels: &Labels) {
        let hash = self.hash(labels);
        let pairs =
            labels.iter().map(|(name, value)| (self.symbols.intern(name), self.symbols.intern(value)));
        let pairs = pairs.collect();
        self.labels.insert(number, pairs);
        match self.by_hash.entry(hash) {
            std::collections::hash_map::Entry::Vacant(slot) => {
                slot.insert(number);
            }
            std::collections::hash_map::Entry::Occupied(_) => {
                self.clashes.entry(hash).or_default().push(number)
            }
        }
    }

    /// Lets selections find a series.
    pub(crate) fn publish(&mut self, number: u32) {
        let Some(pairs) = self.labels.get(&number) else { return };
        if !insert_sorted(&mut self.all, number) {
            return;
        }
        for &(name, value) in pairs {
            let values = self.postings.entry(self.symbols.text(name)).or_default();
            insert_sorted(values.entry(self.symbols.text(value)).or_default(), number);
        }
    }

    /// Forgets series, whose numbers ascend.
    pub(crate) fn remove(&mut self, numbers: &[u32]) {
        let gone = |number: &u32| numbers.binary_search(number).is_ok();
        let mut touched: BTreeMap<(u32, u32), ()> = BTreeMap::new();
        for number in numbers {
            let Some(pairs) = self.labels.get(number) else { continue };
            let labels = self.resolve(pairs);
            let hash = self.hash(&labels);
            touched.extend(pairs.iter().map(|&pair| (pair, ())));
            self.unhash(hash, *number);
        }
        for &(name, value) in touched.keys() {
            let (name, value) = (self.symbols.text(name), self.symbols.text(value));
            let Entry::Occupied(mut values) = self.postings.entry(name) else { continue };
            if let Entry::Occupied(mut list) = values.get_mut().entry(value) {
                list.get_mut().retain(|number| !gone(number));
                if list.get().is_empty() {
                    list.remove();
                }
            }
            if values.get().is_empty() {
                values.remove();
            }
        }
        for number in numbers {
            for &(name, value) in self.labels.remove(number).iter().flatten() {
                self.symbols.release(name);
                self.symbols.release(value);
            }
        }
        self.all.retain(|number| !gone(number));
    }

    fn unhash(&mut self, hash: u64, number: u32) {
        let mut clashes = self.clashes.remove(&hash).unwrap_or_default();
        clashes.retain(|&other| other != number);
        if self.by_hash.get(&hash) == Some(&number) {
            match clashes.pop() {
                Some(other) => self.by_hash.insert(hash, other),
                None => self.by_hash.remove(&hash),
            };
        }
        if !clashes.is_empty() {
            self.clashes.insert(hash, clashes);
        }
    }

    fn resolve(&self, pairs: &[(u32, u32)]) -> Labels {
        Labels::from_sorted(
            pairs.iter().map(|&(name, value)| (self.symbols.str(name), self.symbols.str(value))),
        )
    }

    /// Whether a number is that of a series.
    pub(crate) fn knows(&self, number: u32) -> bool {
        self.labels.contains_key(&number)
    }

    /// The labels of a series.
    pub(crate) fn labels(&self, number: u32) -> Option<Labels> {
        self.labels.get(&number).map(|pairs| self.resolve(pairs))
    }

    /// The strings of all labels.
    pub(crate) fn symbols(&self) -> impl Iterator<Item = Arc<str>> + '_ {
        self.symbols.texts.iter().flatten().map(|(text, _)| Arc::clone(text))
    }

    /// How many series have each label pair.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str, usize)> {
        self.postings.iter().flat_map(|(name, values)| {
            values.iter().map(move |(value, list)| (&**name, &**value, list.len()))
        })
    }
}

impl LabelIndex for HeadIndex {
    fn all(&self) -> Result<Vec<u32>> {
        Ok(self.all.clone())
    }

    fn series_with(&self, name: &str, values: &[&str]) -> Result<Vec<u32>> {
        let Some(known) = self.postings.get(name) else { return Ok(Vec::new()) };
        Ok(union(values.iter().filter_map(|value| known.get(*value).cloned()).collect()))
    }

    fn each_value(&self, name: &str, from: &str, visit: &mut dyn FnMut(&str) -> bool) -> Result<()> {
        let Some(values) = self.postings.get(name) else { return Ok(()) };
        for (value, _) in values.range::<str, _>((Bound::Included(from), Bound::Unbounded)) {
            if !visit(value) {
                break;
            }
        }
        Ok(())
    }

    fn names(&self) -> Result<Vec<String>> {
        Ok(self.postings.keys().map(|name| name.to_string()).collect())
    }
}

/// Inserts a number that is mostly the greatest, and tells whether it is new.
fn insert_sorted(list: &mut Vec<u32>, number: u32) -> bool {
    if list.last().is_none_or(|&last| last < number) {
        list.push(number);
        return true;
    }
    match list.binary_search(&number) {
        Ok(_) => false,
        Err(at) => {
            list.insert(at, number);
            true
        }
    }
}
