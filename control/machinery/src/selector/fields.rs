//! Field selectors: `metadata.name=a,status.phase!=Running`, with `\` before a `\`, `,` or `=` that belongs to a value.

use std::fmt;

use super::{Error, LENGTH_MAX};

/// One condition on one field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldRequirement {
    /// The name of the field, such as `metadata.name`.
    pub field: Box<str>,
    /// The value that the field must have, or must not have.
    pub value: Box<str>,
    /// Whether the field must have the value.
    pub equal: bool,
}

/// Conditions on fields that all must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSelector {
    requirements: Vec<FieldRequirement>,
}

impl FieldSelector {
    /// Reads a selector such as `metadata.name=a,status.phase!=Running`; empty terms are passed over.
    pub fn parse(text: &str) -> Result<Self, Error> {
        if text.len() > LENGTH_MAX {
            return Err(Error::TooLong(text.len()));
        }
        let mut terms = terms(text);
        terms.sort_unstable();
        let requirements = terms
            .into_iter()
            .filter(|term| !term.is_empty())
            .map(|term| requirement(term, text))
            .collect::<Result<_, _>>()?;
        Ok(Self { requirements })
    }

    /// Selects what has this value in one field.
    pub fn equal(field: &str, value: &str) -> Self {
        let requirement = FieldRequirement { field: field.into(), value: value.into(), equal: true };
        Self { requirements: vec![requirement] }
    }

    /// The conditions. A caller refuses those on fields that the resource does not index.
    pub fn requirements(&self) -> &[FieldRequirement] {
        &self.requirements
    }

    /// The names of the fields that are needed to match.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.requirements.iter().map(|requirement| &*requirement.field)
    }

    /// Whether every object is selected.
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty()
    }

    /// The one value that a field must have, where the selector says so; it narrows a list to one object.
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.requirements.iter().find(|one| one.equal && &*one.field == field).map(|one| &*one.value)
    }

    /// Whether the fields, looked up by name, meet every condition. A field without a value is empty.
    pub fn matches(&self, lookup: &dyn Fn(&str) -> Option<String>) -> bool {
        self.requirements
            .iter()
            .all(|one| (lookup(&one.field).unwrap_or_default() == *one.value) == one.equal)
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            requirement.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for FieldRequirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.field, if self.equal { "=" } else { "!=" })?;
        for c in self.value.chars() {
            if matches!(c, '\\' | ',' | '=') {
                f.write_str("\\")?;
            }
            write!(f, "{c}")?;
        }
        Ok(())
    }
}

impl std::str::FromStr for FieldSelector {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

/// The parts between commas that have no backslash before them.
fn terms(text: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let mut start = 0;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

fn requirement(term: &str, selector: &str) -> Result<FieldRequirement, Error> {
    for (at, _) in term.char_indices() {
        let rest = &term[at..];
        for (operator, equal) in [("!=", false), ("==", true), ("=", true)] {
            if let Some(value) = rest.strip_prefix(operator) {
                return Ok(FieldRequirement { field: term[..at].into(), value: unescape(value)?, equal });
            }
        }
    }
    Err(Error::Term { selector: selector.to_owned(), term: term.to_owned() })
}

fn unescape(text: &str) -> Result<Box<str>, Error> {
    let mut value = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => value.push(c),
                Some(c) => return Err(Error::Escape(format!("\\{c}"))),
                None => return Err(Error::Escape("\\".to_owned())),
            },
            ',' | '=' => return Err(Error::Unescaped(c)),
            _ => value.push(c),
        }
    }
    Ok(value.into())
}
