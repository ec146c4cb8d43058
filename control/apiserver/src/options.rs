//! The query parameters of requests for objects, parsed once.
//!
//! Each verb reads its own parameters and is deaf to all others. What is wrong with one is told as upstream tells it.

use std::time::Duration;

use percent_encoding::percent_decode_str;
use xebec_machinery::field::{FieldError, Path};

use crate::Error;
use crate::request::Verb;

/// The longest name of a field manager.
const MANAGER_MAX: usize = 128;

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

/// The query parameters of one request; unknown ones are ignored, as upstream does.
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
}

impl Options {
    /// Reads the query string of a request.
    pub fn parse(query: &str, verb: Verb) -> Result<Self, Error> {
        let (mut options, mut wrong) = (Self::default(), Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, raw) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decode(raw)?;
            match verb {
                Verb::Get => options.read_get(name, value)?,
                Verb::List | Verb::Watch => options.read_list(name, value, verb, &mut wrong)?,
                Verb::Create | Verb::Update | Verb::Patch => options.read_write(name, value, &mut wrong),
                Verb::Delete => options.read_delete(name, value, &mut wrong)?,
                Verb::DeleteCollection => {
                    options.read_list(name, value.clone(), verb, &mut wrong)?;
                    options.read_delete(name, value, &mut wrong)?;
                }
                Verb::Unnamed => {}
            }
        }
        if options.force && verb != Verb::Patch {
            options.force = false;
        }
        match verb {
            Verb::Watch => options.check_watch(&mut wrong),
            Verb::List => options.check_list(&mut wrong),
            _ => {}
        }
        if wrong.is_empty() { Ok(options) } else { Err(Error::Options { kind: kind(verb), errors: wrong }) }
    }

    fn read_get(&mut self, name: &str, value: String) -> Result<(), Error> {
        if name == "resourceVersion" {
            self.resource_version = revision(&value)?;
        }
        Ok(())
    }

    fn read_list(
        &mut self,
        name: &str,
        value: String,
        verb: Verb,
        wrong: &mut Vec<FieldError>,
    ) -> Result<(), Error> {
        match name {
            "limit" => {
                let limit = number(&value)?.unwrap_or(0);
                self.limit = usize::try_from(limit).ok().filter(|limit| *limit > 0);
            }
            "continue" => self.continue_token = text(value),
            "labelSelector" => self.label_selector = text(value),
            "fieldSelector" => self.field_selector = text(value),
            "resourceVersion" => self.resource_version = revision(&value)?,
            "resourceVersionMatch" => match (value.as_str(), verb) {
                ("", _) => self.version_match = None,
                ("Exact", Verb::List | Verb::DeleteCollection) => {
                    self.version_match = Some(VersionMatch::Exact);
                }
                ("NotOlderThan", _) => self.version_match = Some(VersionMatch::NotOlderThan),
                _ => {
                    let supported: &[&str] =
                        if verb == Verb::Watch { &["NotOlderThan"] } else { &["Exact", "NotOlderThan", ""] };
                    let path = Path::ROOT.child("resourceVersionMatch");
                    wrong.push(FieldError::not_supported(&path, value, supported));
                }
            },
            "sendInitialEvents" => self.send_initial_events = Some(flag(&value)),
            "allowWatchBookmarks" => self.bookmarks = flag(&value),
            "timeoutSeconds" => {
                let seconds = number(&value)?.and_then(|seconds| u64::try_from(seconds).ok());
                self.timeout = seconds.filter(|seconds| *seconds > 0).map(Duration::from_secs);
            }
            _ => {}
        }
        Ok(())
    }

    fn read_write(&mut self, name: &str, value: String, wrong: &mut Vec<FieldError>) {
        match name {
            "dryRun" => self.read_dry_run(value, wrong),
            "fieldManager" => {
                let path = Path::ROOT.child("fieldManager");
                if value.len() > MANAGER_MAX {
                    wrong.push(FieldError::too_long(&path, MANAGER_MAX));
                } else if value.chars().any(char::is_control) {
                    let detail = "should only contain printable characters";
                    wrong.push(FieldError::invalid(&path, value, detail));
                } else {
                    self.field_manager = text(value);
                }
            }
            "fieldValidation" => {
                self.field_validation = match value.as_str() {
                    "" => None,
                    "Ignore" => Some(FieldValidation::Ignore),
                    "Warn" => Some(FieldValidation::Warn),
                    "Strict" => Some(FieldValidation::Strict),
                    _ => {
                        let path = Path::ROOT.child("fieldValidation");
                        let supported = ["Ignore", "Strict", "Warn"];
                        wrong.push(FieldError::not_supported(&path, value, &supported));
                        None
                    }
                }
            }
            "force" => self.force = flag(&value),
            _ => {}
        }
    }

    fn read_delete(&mut self, name: &str, value: String, wrong: &mut Vec<FieldError>) -> Result<(), Error> {
        match name {
            "dryRun" => self.read_dry_run(value, wrong),
            "propagationPolicy" => match Propagation::parse(&value) {
                Ok(propagation) => self.propagation = propagation,
                Err(error) => wrong.push(error),
            },
            // Less than nothing is the least that there is.
            "gracePeriodSeconds" => {
                let seconds = number(&value)?.map(|seconds| u64::try_from(seconds).unwrap_or(1));
                self.grace_period = seconds.map(Duration::from_secs);
            }
            _ => {}
        }
        Ok(())
    }

    fn read_dry_run(&mut self, value: String, wrong: &mut Vec<FieldError>) {
        match value.as_str() {
            "" => {}
            "All" => self.dry_run = true,
            _ => wrong.push(Self::no_dry_run([value])),
        }
    }

    /// What is said of the stages that a dry run should leave out, where one of them is none.
    pub(crate) fn no_dry_run(stages: impl IntoIterator<Item = String>) -> FieldError {
        let stages: serde_json::Value = stages.into_iter().collect();
        FieldError::not_supported(&Path::ROOT.child("dryRun"), stages, &["All"])
    }

    fn check_list(&self, wrong: &mut Vec<FieldError>) {
        let matched = Path::ROOT.child("resourceVersionMatch");
        let mut forbid = |path: &Path<'_>, why: &str| wrong.push(FieldError::forbidden(path, why));
        if let Some(version_match) = self.version_match {
            if self.resource_version.is_none() {
                forbid(&matched, "resourceVersionMatch is forbidden unless resourceVersion is provided");
            }
            if self.continue_token.is_some() {
                forbid(&matched, "resourceVersionMatch is forbidden when continue is provided");
            }
            if (version_match, self.resource_version) == (VersionMatch::Exact, Some(0)) {
                forbid(&matched, "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
            }
        }
        if self.send_initial_events.is_some() {
            forbid(&Path::ROOT.child("sendInitialEvents"), "sendInitialEvents is forbidden for list");
        }
    }

    fn check_watch(&self, wrong: &mut Vec<FieldError>) {
        let matched = Path::ROOT.child("resourceVersionMatch");
        let mut forbid = |why: &str| wrong.push(FieldError::forbidden(&matched, why));
        if self.send_initial_events.is_some() && self.version_match.is_none() {
            forbid("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
        }
        if self.version_match.is_some() {
            if self.send_initial_events.is_none() {
                forbid("resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
            }
            if self.continue_token.is_some() {
                forbid("resourceVersionMatch is forbidden when continue is provided");
            }
        }
    }
}

impl Propagation {
    /// Reads a `propagationPolicy`; nothing where it is empty.
    ///
    /// # Errors
    ///
    /// It is none that there is.
    pub fn parse(value: &str) -> Result<Option<Self>, FieldError> {
        match value {
            "" => Ok(None),
            "Orphan" => Ok(Some(Self::Orphan)),
            "Background" => Ok(Some(Self::Background)),
            "Foreground" => Ok(Some(Self::Foreground)),
            _ => {
                let path = Path::ROOT.child("propagationPolicy");
                let supported = ["Foreground", "Background", "Orphan", "nil"];
                Err(FieldError::not_supported(&path, value, &supported))
            }
        }
    }
}

/// The kind of a verb's options, which errors name.
fn kind(verb: Verb) -> &'static str {
    match verb {
        Verb::Get | Verb::Unnamed => "GetOptions",
        Verb::List | Verb::Watch => "ListOptions",
        Verb::Create => "CreateOptions",
        Verb::Update => "UpdateOptions",
        Verb::Patch => "PatchOptions",
        Verb::Delete | Verb::DeleteCollection => "DeleteOptions",
    }
}

/// Whether a query asks for a watch.
pub(crate) fn asks_for_watch(query: &str) -> bool {
    query.split('&').any(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        name == "watch" && flag(value)
    })
}

/// Decodes a value of a form-encoded query, where `+` is a space.
fn decode(raw: &str) -> Result<String, Error> {
    let spaced = raw.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    decoded.map(String::from).map_err(|_| Error::Query { value: raw.to_owned() })
}

fn text(value: String) -> Option<String> {
    Some(value).filter(|value| !value.is_empty())
}

/// A whole number, with Go's words where it is none.
pub(crate) fn number(value: &str) -> Result<Option<i64>, Error> {
    if value.is_empty() {
        return Ok(None);
    }
    value.parse().map(Some).map_err(|error: std::num::ParseIntError| Error::Number {
        function: "ParseInt",
        value: value.to_owned(),
        why: go_words(&error),
    })
}

fn revision(value: &str) -> Result<Option<u64>, Error> {
    if value.is_empty() {
        return Ok(None);
    }
    // Rust would take a sign, Go does not.
    let digits = if value.starts_with('+') { "" } else { value };
    digits
        .parse()
        .map(Some)
        .map_err(|error| Error::Revision { value: value.to_owned(), why: go_words(&error) })
}

fn go_words(error: &std::num::ParseIntError) -> &'static str {
    match error.kind() {
        std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => "value out of range",
        _ => "invalid syntax",
    }
}

/// Everything but `0` and `false` is true, as upstream reads flags; a flag without a value is set, as in `?watch`.
fn flag(value: &str) -> bool {
    value != "0" && !value.eq_ignore_ascii_case("false")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_query_of_an_informer_is_read_whole() {
        let query = "allowWatchBookmarks=true&resourceVersion=12&timeoutSeconds=305&watch=true\
                     &labelSelector=app%3Dweb%2Ctier+in+%28a%2Cb%29";
        let options = Options::parse(query, Verb::Watch).unwrap();
        assert!(options.bookmarks && asks_for_watch(query));
        assert_eq!(options.resource_version, Some(12));
        assert_eq!(options.timeout, Some(Duration::from_secs(305)));
        assert_eq!(options.label_selector.as_deref(), Some("app=web,tier in (a,b)"));
    }

    #[test]
    fn empty_unknown_and_foreign_parameters_change_nothing() {
        let query = "limit=0&continue=&fieldManager=&colour=blue&dryRun=Some";
        assert_eq!(Options::parse(query, Verb::List).unwrap(), Options::default());
        let query = "limit=abc&resourceVersion=abc&force=true";
        assert_eq!(Options::parse(query, Verb::Create).unwrap(), Options::default());
    }

    #[test]
    fn a_wrong_value_is_told_in_the_words_of_upstream() {
        let manager = format!("fieldManager={}", "a".repeat(129));
        for (query, verb, expected) in [
            ("limit=abc", Verb::List, r#"strconv.ParseInt: parsing "abc": invalid syntax"#),
            (
                "timeoutSeconds=99999999999999999999",
                Verb::Watch,
                r#"strconv.ParseInt: parsing "99999999999999999999": value out of range"#,
            ),
            (
                "resourceVersion=-1",
                Verb::List,
                r#"invalid resource version: resourceVersion: Invalid value: "-1": strconv.ParseUint: parsing "-1": invalid syntax"#,
            ),
            (
                "dryRun=Some",
                Verb::Create,
                r#"CreateOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: ["Some"]: supported values: "All""#,
            ),
            (
                "fieldValidation=strict",
                Verb::Patch,
                r#"PatchOptions.meta.k8s.io "" is invalid: fieldValidation: Unsupported value: "strict": supported values: "Ignore", "Strict", "Warn""#,
            ),
            (
                "propagationPolicy=Later",
                Verb::Delete,
                r#"DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: "Later": supported values: "Foreground", "Background", "Orphan", "nil""#,
            ),
            (
                "resourceVersionMatch=Exact",
                Verb::List,
                r#"ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided"#,
            ),
            (
                "sendInitialEvents=true",
                Verb::Watch,
                r#"ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"#,
            ),
            (
                "fieldManager=a%0Ab",
                Verb::Update,
                r#"UpdateOptions.meta.k8s.io "" is invalid: fieldManager: Invalid value: "a\nb": should only contain printable characters"#,
            ),
            (
                &manager,
                Verb::Create,
                r#"CreateOptions.meta.k8s.io "" is invalid: fieldManager: Too long: may not be more than 128 bytes"#,
            ),
        ] {
            let error = Options::parse(query, verb).unwrap_err();
            assert_eq!(xebec_machinery::status::Status::from(&error).message, expected, "{query}");
        }
    }

    #[test]
    fn numbers_below_zero_are_read_as_upstream_reads_them() {
        let options = Options::parse("limit=-5&timeoutSeconds=-5", Verb::List).unwrap();
        assert_eq!((options.limit, options.timeout), (None, None));
        let options = Options::parse("gracePeriodSeconds=-5", Verb::Delete).unwrap();
        assert_eq!(options.grace_period, Some(Duration::from_secs(1)));
    }
}
