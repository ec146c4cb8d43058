//! Semantic versions.

use std::cmp::Ordering;
use std::fmt;

/// A version.
#[derive(Debug, Clone)]
pub struct Semver {
    /// What breaks.
    pub major: u64,
    /// What adds.
    pub minor: u64,
    /// What mends.
    pub patch: u64,
    before: Vec<Identifier>,
    build: Vec<String>,
}

/// A part of what stands after the dash.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Identifier {
    Number(u64),
    Word(String),
}

impl Semver {
    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        let numbers = |v: &Self| (v.major, v.minor, v.patch);
        numbers(self).cmp(&numbers(other)).then_with(|| {
            match (self.before.is_empty(), other.before.is_empty()) {
                (true, true) => Ordering::Equal,
                (true, false) => Ordering::Greater,
                (false, true) => Ordering::Less,
                (false, false) => {
                    let parts = self.before.iter().zip(&other.before);
                    let first = parts.map(|(a, b)| compare_identifiers(a, b)).find(|order| order.is_ne());
                    first.unwrap_or_else(|| self.before.len().cmp(&other.before.len()))
                }
            }
        })
    }
}

fn compare_identifiers(a: &Identifier, b: &Identifier) -> Ordering {
    match (a, b) {
        (Identifier::Number(a), Identifier::Number(b)) => a.cmp(b),
        (Identifier::Number(_), Identifier::Word(_)) => Ordering::Less,
        (Identifier::Word(_), Identifier::Number(_)) => Ordering::Greater,
        (Identifier::Word(a), Identifier::Word(b)) => a.cmp(b),
    }
}

impl fmt::Display for Semver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)?;
        for (i, identifier) in self.before.iter().enumerate() {
            f.write_str(if i == 0 { "-" } else { "." })?;
            match identifier {
                Identifier::Number(number) => write!(f, "{number}")?,
                Identifier::Word(word) => f.write_str(word)?,
            }
        }
        if self.build.is_empty() { Ok(()) } else { write!(f, "+{}", self.build.join(".")) }
    }
}

fn number(text: &str, name: &str) -> Result<u64, String> {
    let lower = name.to_lowercase();
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(if text.is_empty() {
            "strconv.ParseUint: parsing \"\": invalid syntax".to_owned()
        } else {
            format!("Invalid character(s) found in {lower} number {text:?}")
        });
    }
    if text.len() > 1 && text.starts_with('0') {
        return Err(format!("{name} number must not contain leading zeroes {text:?}"));
    }
    text.parse().map_err(|_| format!("strconv.ParseUint: parsing {text:?}: value out of range"))
}

fn is_word(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Reads `1.2.3-rc.1+build`.
pub(crate) fn parse(text: &str) -> Result<Semver, String> {
    if text.is_empty() {
        return Err("Version string empty".to_owned());
    }
    let parts: Vec<&str> = text.splitn(3, '.').collect();
    let [major, minor, rest] = parts[..] else {
        return Err("No Major.Minor.Patch elements found".to_owned());
    };
    let (major, minor) = (number(major, "Major")?, number(minor, "Minor")?);
    let (rest, build) = rest.split_once('+').map_or((rest, None), |(rest, build)| (rest, Some(build)));
    let (patch, before) = rest.split_once('-').map_or((rest, None), |(patch, before)| (patch, Some(before)));
    let patch = number(patch, "Patch")?;
    let mut identifiers = Vec::new();
    for part in before.iter().flat_map(|before| before.split('.')) {
        if part.is_empty() {
            return Err("Prerelease is empty".to_owned());
        }
        identifiers.push(if part.bytes().all(|b| b.is_ascii_digit()) {
            if part.len() > 1 && part.starts_with('0') {
                return Err(format!("Numeric PreRelease version must not contain leading zeroes {part:?}"));
            }
            Identifier::Number(
                part.parse()
                    .map_err(|_| format!("strconv.ParseUint: parsing {part:?}: value out of range"))?,
            )
        } else if is_word(part) {
            Identifier::Word(part.to_owned())
        } else {
            return Err(format!("Invalid character(s) found in prerelease {part:?}"));
        });
    }
    let mut builds = Vec::new();
    for part in build.iter().flat_map(|build| build.split('.')) {
        if part.is_empty() {
            return Err("Build meta data is empty".to_owned());
        }
        if !is_word(part) {
            return Err(format!("Invalid character(s) found in build meta data {part:?}"));
        }
        builds.push(part.to_owned());
    }
    Ok(Semver { major, minor, patch, before: identifiers, build: builds })
}

/// Reads a version after mending a leading `v`, leading zeroes and missing parts.
pub(crate) fn parse_normalized(text: &str) -> Result<Semver, String> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let mut parts: Vec<String> = text
        .splitn(3, '.')
        .map(|part| {
            if part.len() < 2 {
                return part.to_owned();
            }
            let trimmed = part.trim_start_matches('0');
            if trimmed.starts_with(|c: char| c.is_ascii_digit()) {
                trimmed.to_owned()
            } else {
                format!("0{trimmed}")
            }
        })
        .collect();
    if parts.len() < 3 {
        if parts.last().is_some_and(|part| part.contains(['+', '-'])) {
            return Err("short version cannot contain PreRelease/Build meta data".to_owned());
        }
        parts.resize(3, "0".to_owned());
    }
    parse(&parts.join("."))
}
