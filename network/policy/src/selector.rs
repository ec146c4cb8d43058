//! Which objects are meant, by their labels.

use std::collections::{BTreeMap, BTreeSet};

/// The labels of an object.
pub type Labels = BTreeMap<String, String>;

/// What one label has to be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// It has one of these values.
    In(String, BTreeSet<String>),
    /// It has none of these values, or is not there.
    NotIn(String, BTreeSet<String>),
    /// It is there.
    Exists(String),
    /// It is not there.
    Absent(String),
}

impl Requirement {
    fn holds(&self, labels: &Labels) -> bool {
        match self {
            Self::In(key, values) => labels.get(key).is_some_and(|own| values.contains(own)),
            Self::NotIn(key, values) => labels.get(key).is_none_or(|own| !values.contains(own)),
            Self::Exists(key) => labels.contains_key(key),
            Self::Absent(key) => !labels.contains_key(key),
        }
    }
}

/// Requirements, all of which hold of what is meant. Where there is none, everything is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(pub Vec<Requirement>);

impl Selector {
    /// Whether it means an object of these labels.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|requirement| requirement.holds(labels))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_such_label_is_among_those_that_lack_a_value() {
        let labels = Labels::from([("app".to_owned(), "web".to_owned())]);
        let values = |all: &[&str]| all.iter().map(|value| (*value).to_owned()).collect::<BTreeSet<_>>();
        for (requirement, expected) in [
            (Requirement::In("app".into(), values(&["web", "db"])), true),
            (Requirement::In("app".into(), values(&["db"])), false),
            (Requirement::In("tier".into(), values(&["web"])), false),
            (Requirement::NotIn("app".into(), values(&["web"])), false),
            (Requirement::NotIn("tier".into(), values(&["web"])), true),
            (Requirement::Exists("app".into()), true),
            (Requirement::Exists("tier".into()), false),
            (Requirement::Absent("app".into()), false),
            (Requirement::Absent("tier".into()), true),
        ] {
            assert_eq!(Selector(vec![requirement.clone()]).matches(&labels), expected, "{requirement:?}");
        }
        assert!(Selector::default().matches(&Labels::new()));
    }
}
