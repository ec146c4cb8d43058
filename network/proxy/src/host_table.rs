//! Values by host pattern: the exact name first, then the longest suffix, then any host. The cost of a look-up grows
//! with the labels of the name, not with the number of patterns.

use std::borrow::Cow;

use crate::HashMap;
use crate::config::HostMatch;

/// Values by host pattern.
#[derive(Debug)]
pub(crate) struct HostTable<T> {
    exact: HashMap<String, T>,
    suffix: HashMap<String, T>,
    any: Option<T>,
}

impl<T> Default for HostTable<T> {
    fn default() -> Self {
        Self { exact: HashMap::default(), suffix: HashMap::default(), any: None }
    }
}

impl<T> HostTable<T> {
    /// The value of a pattern, made if there is none.
    pub(crate) fn entry(&mut self, host: HostMatch, make: impl FnOnce() -> T) -> &mut T {
        match host {
            HostMatch::Exact(name) => self.exact.entry(name.to_ascii_lowercase()).or_insert_with(make),
            HostMatch::Suffix(name) => self.suffix.entry(name.to_ascii_lowercase()).or_insert_with(make),
            HostMatch::Any => self.any.get_or_insert_with(make),
        }
    }

    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.exact.values_mut().chain(self.suffix.values_mut()).chain(&mut self.any)
    }

    /// Every pattern and its value.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (HostMatch, &T)> {
        let exact = self.exact.iter().map(|(name, value)| (HostMatch::Exact(name.clone()), value));
        let suffix = self.suffix.iter().map(|(name, value)| (HostMatch::Suffix(name.clone()), value));
        exact.chain(suffix).chain(self.any.iter().map(|value| (HostMatch::Any, value)))
    }

    /// The value of the most specific pattern that matches.
    pub(crate) fn find(&self, host: &str) -> Option<&T> {
        self.find_map(host, Some)
    }

    /// The first answer of the patterns that match, the most specific first.
    pub(crate) fn find_map<'a, R>(
        &'a self,
        host: &str,
        mut ask: impl FnMut(&'a T) -> Option<R>,
    ) -> Option<R> {
        if self.exact.is_empty() && self.suffix.is_empty() {
            return self.any.as_ref().and_then(ask);
        }
        let host = if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(host.to_ascii_lowercase())
        } else {
            Cow::Borrowed(host)
        };
        let host = host.as_ref();
        if let Some(answer) = self.exact.get(host).and_then(&mut ask) {
            return Some(answer);
        }
        let mut rest = host;
        while let Some((_, suffix)) = rest.split_once('.') {
            if let Some(answer) = self.suffix.get(suffix).and_then(&mut ask) {
                return Some(answer);
            }
            rest = suffix;
        }
        self.any.as_ref().and_then(ask)
    }
}
