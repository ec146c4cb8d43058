//! What a check looks at and what it says.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

use super::policy::{Level, Standard, Version};
use super::{baseline, restricted};
use crate::object;

/// A check that a pod did not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    /// What is wrong.
    pub(super) reason: String,
    /// Where, and what would be right.
    pub(super) detail: String,
}

impl Verdict {
    pub(super) fn new(reason: &str, detail: String) -> Option<Self> {
        Some(Self { reason: reason.to_owned(), detail })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, " ({})", self.detail) }
    }
}

/// A check, and the version of the standards from which on it is made in this way.
pub(super) struct Check {
    pub(super) since: u32,
    pub(super) judge: fn(&Pod<'_>) -> Option<Verdict>,
}

/// One rule of the standards in its versions, oldest first.
pub(super) type Rule = &'static [Check];

/// A pod, or what one is to be made from.
pub(super) struct Pod<'a> {
    whole: &'a Value,
    pub(super) spec: &'a Value,
}

impl<'a> Pod<'a> {
    pub(super) fn new(whole: &'a Value) -> Self {
        Self { whole, spec: whole.get("spec").unwrap_or(&Value::Null) }
    }

    /// Everything in which the pod does not keep a standard.
    pub(super) fn judge(&self, standard: Standard) -> Vec<Verdict> {
        let rules: [&[Rule]; 2] = match standard.level {
            Level::Privileged => return Vec::new(),
            Level::Baseline => [baseline::ALWAYS, baseline::ALONE],
            Level::Restricted => [baseline::ALWAYS, restricted::RULES],
        };
        let version = match standard.version {
            Version::Minor(minor) => minor,
            Version::Latest => u32::MAX,
        };
        let current = |rule: &Rule| rule.iter().rev().find(|check| check.since <= version);
        let checks = rules.into_iter().flatten().filter_map(current);
        checks.filter_map(|check| (check.judge)(self)).collect()
    }

    /// The containers of all sorts.
    pub(super) fn containers(&self) -> impl Iterator<Item = Container<'a>> {
        let of = |field| object::list(self.spec, &[field]).iter();
        let all = of("initContainers").chain(of("containers")).chain(of("ephemeralContainers"));
        all.map(|whole| Container { whole, name: object::name_of(whole) })
    }

    /// A part of the pod's own security context.
    pub(super) fn security(&self, path: &[&str]) -> Option<&'a Value> {
        object::at(object::at(self.spec, &["securityContext"])?, path)
    }

    /// The pod's annotations whose keys begin so.
    pub(super) fn annotations(&self, prefix: &'static str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let all = object::entries(self.whole, &["metadata", "annotations"]);
        all.filter(move |(key, _)| key.starts_with(prefix))
            .filter_map(|(key, value)| Some((key, value.as_str()?)))
    }

    /// Whether its users are others than those of its machine.
    pub(super) fn has_own_users(&self) -> bool {
        object::at(self.spec, &["hostUsers"]) == Some(&Value::Bool(false))
    }

    /// Whether it runs on Windows, where much of this has no meaning.
    pub(super) fn is_windows(&self) -> bool {
        object::text(self.spec, &["os", "name"]) == "windows"
    }
}

/// A container of a pod.
pub(super) struct Container<'a> {
    pub(super) whole: &'a Value,
    pub(super) name: &'a str,
}

impl<'a> Container<'a> {
    /// A part of the container's security context.
    pub(super) fn security(&self, path: &[&str]) -> Option<&'a Value> {
        object::at(object::at(self.whole, &["securityContext"])?, path)
    }

    /// The capabilities that it adds or drops.
    pub(super) fn capabilities(&self, which: &str) -> impl Iterator<Item = &'a str> {
        let list = self.security(&["capabilities", which]).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str)
    }
}

/// One word or the other, by the number of what is spoken of.
pub(super) fn plural<'a>(one: &'a str, many: &'a str, count: usize) -> &'a str {
    if count == 1 { one } else { many }
}

/// `"a", "b"`
pub(super) fn quoted<T: AsRef<str>>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|item| format!("\"{}\"", item.as_ref())).collect::<Vec<_>>().join(", ")
}

/// `container "a"` or `containers "a", "b"`
pub(super) fn containers(names: &[&str]) -> String {
    format!("{} {}", plural("container", "containers", names.len()), quoted(names))
}

/// Who does something that is forbidden: the pod, containers, or both; and with what values.
#[derive(Debug, Default)]
pub(super) struct Setters<'a> {
    pub(super) pod: bool,
    pub(super) containers: Vec<&'a str>,
    pub(super) values: BTreeSet<String>,
}

impl<'a> Setters<'a> {
    /// Looks at the same part of the security context of the pod and of each container.
    pub(super) fn find(pod: &Pod<'a>, path: &[&str], mut is_bad: impl FnMut(&'a Value) -> bool) -> Self {
        let mut found = Self::default();
        if let Some(value) = pod.security(path).filter(|value| is_bad(value)) {
            found.pod = true;
            found.note(value);
        }
        for container in pod.containers() {
            if let Some(value) = container.security(path).filter(|value| is_bad(value)) {
                found.containers.push(container.name);
                found.note(value);
            }
        }
        found
    }

    fn note(&mut self, value: &Value) {
        if let Some(text) = value.as_str() {
            self.values.insert(text.to_owned());
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.pod && self.containers.is_empty()
    }

    /// `pod and container "a"`
    pub(super) fn parts(&self) -> Vec<String> {
        let pod = self.pod.then(|| "pod".to_owned());
        let containers = (!self.containers.is_empty()).then(|| containers(&self.containers));
        pod.into_iter().chain(containers).collect()
    }
}

impl fmt::Display for Setters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.parts().join(" and "))
    }
}
