//! Image references: `[host[:port]/]name[:tag][@digest]`, with the grammar of the distribution specification.

use std::{fmt, str::FromStr};

use crate::{Digest, Error};

/// A repository name such as `library/echo`: lower-case path components, at most 255 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryName(String);

impl RepositoryName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RepositoryName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.len() <= 255 && text.split('/').all(is_component) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::NameSyntax { text: text.chars().take(300).collect() })
        }
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else { return false };
    if !alphanumeric(first) || !alphanumeric(last) {
        return false;
    }
    bytes
        .split(|byte| alphanumeric(*byte))
        .all(|gap| matches!(gap, b"" | b"." | b"_" | b"__") || gap.iter().all(|byte| *byte == b'-'))
}

/// A tag: a word character, then up to 127 word characters, dots and dashes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

impl Tag {
    /// The tag as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let good = text.len() <= 128
            && text.bytes().next().is_some_and(word)
            && text.bytes().all(|byte| word(byte) || byte == b'.' || byte == b'-');
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::TagSyntax { text: text.chars().take(200).collect() })
        }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What selects one manifest of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Selector {
    /// A name that may move.
    Tag(Tag),
    /// Exactly this content.
    Digest(Digest),
}

impl FromStr for Selector {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.contains(':') { text.parse().map(Self::Digest) } else { text.parse().map(Self::Tag) }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

/// A parsed reference to an image or artifact.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reference {
    /// `host[:port]`; the caller's default where the text named none.
    pub registry: String,
    /// The repository in that registry.
    pub name: RepositoryName,
    /// The tag, if one was written.
    pub tag: Option<Tag>,
    /// The digest, if one was written; it wins over the tag.
    pub digest: Option<Digest>,
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let selector = self.selector();
        let mark = if matches!(selector, Selector::Tag(_)) { ':' } else { '@' };
        write!(f, "{}/{}{mark}{selector}", self.registry, self.name)
    }
}

impl Reference {
    /// Parses a reference. A first component with a dot, a colon or the name `localhost` is a registry; otherwise
    /// the image is in `default_registry`.
    ///
    /// # Errors
    /// When the name, the tag or the digest is malformed.
    pub fn parse(text: &str, default_registry: &str) -> Result<Self, Error> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse()?)),
            None => (text, None),
        };
        let (registry, rest) = match rest.split_once('/') {
            Some((host, path)) if host == "localhost" || host.contains(['.', ':']) => (host, path),
            _ => (default_registry, rest),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) => (name, Some(tag.parse()?)),
            None => (rest, None),
        };
        Ok(Self { registry: registry.to_owned(), name: name.parse()?, tag, digest })
    }

    /// The digest if there is one, else the tag, else `latest`.
    #[must_use]
    pub fn selector(&self) -> Selector {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => Selector::Digest(*digest),
            (None, Some(tag)) => Selector::Tag(tag.clone()),
            (None, None) => Selector::Tag(Tag("latest".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_fill_what_the_text_leaves_out() {
        let short = Reference::parse("echo", "registry.test").unwrap();
        assert_eq!((short.registry.as_str(), short.name.as_str()), ("registry.test", "echo"));
        assert_eq!(short.selector().to_string(), "latest");
        let long = Reference::parse("localhost:5000/a/b:v1", "registry.test").unwrap();
        assert_eq!((long.registry.as_str(), long.name.as_str()), ("localhost:5000", "a/b"));
        assert_eq!(long.selector().to_string(), "v1");
        let digest = Digest::of(b"");
        let pinned = Reference::parse(&format!("a/b:v1@{digest}"), "r.test").unwrap();
        assert_eq!(pinned.selector(), Selector::Digest(digest));
    }

    #[test]
    fn malformed_references_are_refused() {
        for text in ["", "A", "a//b", "a/../b", "-a", "a_", "a___b", "a..b", "a:", "a:-x", "a@sha256:1", "/a"]
        {
            assert!(Reference::parse(text, "r.test").is_err(), "{text}");
        }
        assert!("a".repeat(256).parse::<RepositoryName>().is_err());
        assert!("a".repeat(129).parse::<Tag>().is_err());
        assert!("a--b/c__d/e.f".parse::<RepositoryName>().is_ok());
    }
}
