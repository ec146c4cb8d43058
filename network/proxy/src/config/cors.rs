//! What scripts of other origins may do (Fetch standard, section 3.3).

use http::{HeaderName, Method};

/// The rules of a route.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cors {
    /// The origins that may ask.
    pub origins: Vec<Origin>,
    /// Whether requests may bear credentials.
    pub credentials: bool,
    /// The methods that requests may have.
    pub methods: CorsList<Method>,
    /// The headers that requests may have.
    pub headers: CorsList<HeaderName>,
    /// The headers that scripts may read from answers.
    pub exposed: CorsList<HeaderName>,
    /// For how many seconds an answer to a preflight may be kept.
    pub max_age: u32,
}

/// Some, or whatever is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CorsList<T> {
    /// These.
    Some(Vec<T>),
    /// All.
    All,
}

impl<T> Default for CorsList<T> {
    fn default() -> Self {
        Self::Some(Vec::new())
    }
}

/// A pattern of origins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Every origin.
    Any,
    /// This one, such as `https://shop.example.com`, in any case.
    Exact(String),
    /// Those that begin and end so, with something between: what stands round the `*` of `https://*.example.com`.
    Between(String, String),
}

impl Origin {
    /// Reads a pattern with at most one `*`.
    pub fn new(pattern: &str) -> Self {
        if pattern == "*" {
            return Self::Any;
        }
        match pattern.split_once('*') {
            None => Self::Exact(pattern.to_owned()),
            Some((before, after)) => Self::Between(before.to_owned(), after.to_owned()),
        }
    }

    pub(crate) fn matches(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(wanted) => wanted.eq_ignore_ascii_case(origin),
            Self::Between(before, after) => {
                let (Some(start), Some(end)) = (
                    origin.get(..before.len()),
                    origin.len().checked_sub(after.len()).and_then(|at| origin.get(at..)),
                ) else {
                    return false;
                };
                origin.len() > before.len() + after.len()
                    && start.eq_ignore_ascii_case(before)
                    && end.eq_ignore_ascii_case(after)
            }
        }
    }
}
