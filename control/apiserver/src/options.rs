//! The query parameters of requests for objects, parsed once.

use std::time::Duration;

use percent_encoding::percent_decode_str;

use crate::Error;

/// How a list's `resourceVersion` is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionMatch {
    /// Exactly this revision.
    Exact,
    /// This revision or any newer one.
    NotOlderThan,
}

/// What happens to unknown and doubled fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldValidation {
    /// They are dropped in silence.
    Ignore,
    /// They are dropped and the answer warns of them.
    Warn,
    /// They are refused.
    Strict,
}

/// What happens to the dependents of a deleted object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// They stay.
    Orphan,
    /// They are deleted after it.
    Background,
    /// They are deleted before it.
    Foreground,
}

/// All query parameters that the API knows; unknown ones are ignored, as upstream does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// The most items of a page; `None` is no limit.
    pub limit: Option<usize>,
    /// Where the next page starts.
    pub continue_token: Option<String>,
    /// `labelSelector`, unparsed.
    pub label_selector: Option<String>,
    /// `fieldSelector`, unparsed.
    pub field_selector: Option<String>,
    /// The revision asked for; `0` is "any".
    pub resource_version: Option<u64>,
    /// How that revision is meant.
    pub version_match: Option<VersionMatch>,
    /// Changes are streamed.
    pub watch: bool,
    /// Whether a watch starts with what exists; where nothing is said, the revision asked for decides.
    pub send_initial_events: Option<bool>,
    /// A watch may carry bookmarks.
    pub bookmarks: bool,
    /// When a watch ends.
    pub timeout: Option<Duration>,
    /// Nothing is stored.
    pub dry_run: bool,
    /// Who owns the fields that are set.
    pub field_manager: Option<String>,
    /// What happens to unknown fields.
    pub field_validation: Option<FieldValidation>,
    /// An apply takes over fields that others own.
    pub force: bool,
    /// What happens to dependents.
    pub propagation: Option<Propagation>,
    /// How long a deleted pod may run on.
    pub grace_period: Option<Duration>,
    /// The answer is indented.
    pub pretty: bool,
}

impl Options {
    /// Reads a query string.
    pub fn parse(query: &str) -> Result<Self, Error> {
        let mut options = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, raw) = pair.split_once('=').unwrap_or((pair, ""));
            options.set(name, decode(raw)?)?;
        }
        if options.version_match.is_some() && options.resource_version.is_none() && !options.watch {
            return Err(refuse(
                "resourceVersionMatch",
                String::new(),
                "it is forbidden without resourceVersion; send both or neither",
            ));
        }
        Ok(options)
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), Error> {
        match name {
            "limit" => self.limit = number("limit", value)?.filter(|limit| *limit > 0),
            "continue" => self.continue_token = text(value),
            "labelSelector" => self.label_selector = text(value),
            "fieldSelector" => self.field_selector = text(value),
            "resourceVersion" => self.resource_version = number("resourceVersion", value)?,
            "resourceVersionMatch" => {
                self.version_match = match value.as_str() {
                    "" => None,
                    "Exact" => Some(VersionMatch::Exact),
                    "NotOlderThan" => Some(VersionMatch::NotOlderThan),
                    _ => return Err(refuse("resourceVersionMatch", value, "use Exact or NotOlderThan")),
                }
            }
            "watch" => self.watch = flag("watch", value)?,
            "sendInitialEvents" => self.send_initial_events = Some(flag("sendInitialEvents", value)?),
            "allowWatchBookmarks" => self.bookmarks = flag("allowWatchBookmarks", value)?,
            "timeoutSeconds" => self.timeout = number("timeoutSeconds", value)?.map(Duration::from_secs),
            "dryRun" => {
                self.dry_run = match value.as_str() {
                    "" => false,
                    "All" => true,
                    _ => return Err(refuse("dryRun", value, "the one supported value is All")),
                }
            }
            "fieldManager" => self.field_manager = manager(value)?,
            "fieldValidation" => {
                self.field_validation = match value.as_str() {
                    "" => None,
                    "Ignore" => Some(FieldValidation::Ignore),
                    "Warn" => Some(FieldValidation::Warn),
                    "Strict" => Some(FieldValidation::Strict),
                    _ => return Err(refuse("fieldValidation", value, "use Ignore, Warn or Strict")),
                }
            }
            "force" => self.force = flag("force", value)?,
            "propagationPolicy" => {
                self.propagation = match value.as_str() {
                    "" => None,
                    "Orphan" => Some(Propagation::Orphan),
                    "Background" => Some(Propagation::Background),
                    "Foreground" => Some(Propagation::Foreground),
                    _ => {
                        return Err(refuse(
                            "propagationPolicy",
                            value,
                            "use Orphan, Background or Foreground",
                        ));
                    }
                }
            }
            "gracePeriodSeconds" => {
                self.grace_period = number("gracePeriodSeconds", value)?.map(Duration::from_secs);
            }
            "pretty" => self.pretty = flag("pretty", value)?,
            _ => {}
        }
        Ok(())
    }
}

fn refuse(name: &'static str, value: String, why: &'static str) -> Error {
    Error::Parameter { name, value, why }
}

/// Decodes a value of a form-encoded query, where `+` is a space.
fn decode(raw: &str) -> Result<String, Error> {
    let spaced = raw.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    decoded.map(String::from).map_err(|_| refuse("query", raw.to_owned(), "it must be UTF-8"))
}

fn text(value: String) -> Option<String> {
    Some(value).filter(|value| !value.is_empty())
}

fn number<N: std::str::FromStr>(name: &'static str, value: String) -> Result<Option<N>, Error> {
    if value.is_empty() {
        return Ok(None);
    }
    value.parse().map(Some).map_err(|_| refuse(name, value, "it must be a whole number, zero or more"))
}

/// A flag without a value is set, as in `?watch`.
fn flag(name: &'static str, value: String) -> Result<bool, Error> {
    match value.as_str() {
        "" | "1" | "t" | "T" | "true" | "True" | "TRUE" => Ok(true),
        "0" | "f" | "F" | "false" | "False" | "FALSE" => Ok(false),
        _ => Err(refuse(name, value, "use true or false")),
    }
}

fn manager(value: String) -> Result<Option<String>, Error> {
    if value.chars().count() > 128 || value.chars().any(char::is_control) {
        return Err(refuse("fieldManager", value, "it must have at most 128 printable characters"));
    }
    Ok(text(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_query_of_an_informer_is_read_whole() {
        let query = "allowWatchBookmarks=true&resourceVersion=12&timeoutSeconds=305&watch=true\
                     &labelSelector=app%3Dweb%2Ctier+in+%28a%2Cb%29";
        let options = Options::parse(query).unwrap();
        assert!(options.watch && options.bookmarks);
        assert_eq!(options.resource_version, Some(12));
        assert_eq!(options.timeout, Some(Duration::from_secs(305)));
        assert_eq!(options.label_selector.as_deref(), Some("app=web,tier in (a,b)"));
    }

    #[test]
    fn empty_and_unknown_parameters_change_nothing() {
        let options = Options::parse("limit=0&continue=&fieldManager=&colour=blue").unwrap();
        assert_eq!(options, Options::default());
    }

    #[test]
    fn a_wrong_value_names_its_parameter() {
        for (query, parameter) in [
            ("limit=-1", "limit"),
            ("resourceVersion=abc", "resourceVersion"),
            ("watch=maybe", "watch"),
            ("dryRun=Some", "dryRun"),
            ("fieldValidation=strict", "fieldValidation"),
            ("propagationPolicy=Later", "propagationPolicy"),
            ("resourceVersionMatch=Exact", "resourceVersionMatch"),
            ("fieldManager=a%0Ab", "fieldManager"),
        ] {
            match Options::parse(query) {
                Err(Error::Parameter { name, .. }) => assert_eq!(name, parameter),
                other => panic!("{query} gave {other:?}"),
            }
        }
    }
}
