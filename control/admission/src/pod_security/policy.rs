//! What the labels of a namespace ask of its pods.

use std::fmt;

use serde_json::{Map, Value};
use xebec_machinery::field::{FieldError, Path};

use super::PREFIX;

/// How much is asked of pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// Nothing.
    Privileged,
    /// That they do not raise their privileges by known ways.
    Baseline,
    /// That they are hardened as is best practice.
    Restricted,
}

/// The version of the standards: that of a minor release, or the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    /// `v1.N`
    Minor(u32),
    /// `latest`
    Latest,
}

/// A level in a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standard {
    pub(super) level: Level,
    pub(super) version: Version,
}

/// What is asked of the pods of a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Policy {
    pub(super) enforce: Standard,
    pub(super) audit: Standard,
    pub(super) warn: Standard,
}

impl fmt::Display for Standard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        };
        match self.version {
            Version::Minor(minor) => write!(f, "{level}:v1.{minor}"),
            Version::Latest => write!(f, "{level}:latest"),
        }
    }
}

impl Level {
    fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "privileged" => Ok(Self::Privileged),
            "baseline" => Ok(Self::Baseline),
            "restricted" => Ok(Self::Restricted),
            _ => Err("must be one of privileged, baseline, restricted"),
        }
    }
}

impl Version {
    fn parse(text: &str) -> Result<Self, &'static str> {
        if text == "latest" {
            return Ok(Self::Latest);
        }
        let minor = text.strip_prefix("v1.").filter(|minor| {
            minor.bytes().all(|byte| byte.is_ascii_digit()) && (minor.len() == 1 || !minor.starts_with('0'))
        });
        let minor = minor.and_then(|minor| minor.parse().ok());
        minor.map(Self::Minor).ok_or("must be \"latest\" or \"v1.x\"")
    }
}

impl Policy {
    /// Reads labels. What cannot be understood is told, and taken for the strictest where it is enforced, for nothing
    /// elsewhere.
    pub(super) fn of(labels: Option<&Map<String, Value>>) -> (Self, Vec<FieldError>) {
        let mut errors = Vec::new();
        let mut read = |mode: &str, otherwise: Level| {
            let mut standard = Standard { level: Level::Privileged, version: Version::Latest };
            let label = |suffix: &str| {
                let key = format!("{PREFIX}{mode}{suffix}");
                let text = labels?.get(&key)?.as_str()?;
                Some((key, text))
            };
            let mut refuse = |key: String, text: &str, why: &str| {
                let metadata = Path::ROOT.child("metadata");
                let path = metadata.child("labels");
                errors.push(FieldError::invalid(&path.key(&key), text, why));
            };
            if let Some((key, text)) = label("") {
                standard.level = Level::parse(text).unwrap_or_else(|why| {
                    refuse(key, text, why);
                    otherwise
                });
            }
            if let Some((key, text)) = label("-version") {
                standard.version = Version::parse(text).unwrap_or_else(|why| {
                    refuse(key, text, why);
                    Version::Latest
                });
            }
            standard
        };
        let policy = Self {
            enforce: read("enforce", Level::Restricted),
            audit: read("audit", Level::Privileged),
            warn: read("warn", Level::Privileged),
        };
        (policy, errors)
    }
}
