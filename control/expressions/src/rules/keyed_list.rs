//! Lists whose elements are told apart by keys (`x-kubernetes-list-type: map`).

use std::collections::HashMap;

use serde_json::Value as Json;

/// The elements of a list by their keys.
#[derive(Debug)]
pub struct KeyedList<'a, K> {
    keys: &'a [K],
    elements: HashMap<Vec<Key<'a>>, &'a Json>,
}

/// A key that is compared as it is written: `1` is not `1.0`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key<'a> {
    Bool(bool),
    Number(&'a serde_json::Number),
    Text(&'a str),
}

impl<'a, K: AsRef<str>> KeyedList<'a, K> {
    /// The elements that have all of `keys`; of those that have the same, the first.
    pub fn new(keys: &'a [K], elements: &'a [Json]) -> Self {
        let mut known = HashMap::with_capacity(elements.len());
        for element in elements {
            if let Some(own) = keys_of(keys, element) {
                known.entry(own).or_insert(element);
            }
        }
        Self { keys, elements: known }
    }

    /// The element with the keys of `element`.
    pub fn find(&self, element: &Json) -> Option<&'a Json> {
        self.elements.get(&keys_of(self.keys, element)?).copied()
    }
}

fn keys_of<'j, K: AsRef<str>>(keys: &[K], element: &'j Json) -> Option<Vec<Key<'j>>> {
    let key = |name: &K| match element.get(name.as_ref())? {
        Json::Bool(flag) => Some(Key::Bool(*flag)),
        Json::Number(number) => Some(Key::Number(number)),
        Json::String(text) => Some(Key::Text(text)),
        _ => None,
    };
    keys.iter().map(key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_element_is_found_by_all_its_keys() {
        let keys = ["a".to_owned(), "b".to_owned()];
        let list = [json!({"a": 1, "b": "x", "c": 1}), json!({"a": 1, "b": "x", "c": 2}), json!({"a": 2})];
        let known = KeyedList::new(&keys, &list);
        assert_eq!(known.find(&json!({"a": 1, "b": "x"})), Some(&list[0]));
        assert_eq!(known.find(&json!({"a": 1, "b": "y"})), None);
        assert_eq!(known.find(&json!({"a": 2})), None, "an element without a key has no place");
    }
}
