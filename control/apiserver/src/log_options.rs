//! What a query says of a log (`PodLogOptions`), judged before anybody looks for the pod.

use percent_encoding::percent_decode_str;
use serde_json::Value;
use xebec_machinery::field::{FieldError, Path};
use xebec_machinery::status::{Qualified, Status};
use xebec_machinery::timestamp::Timestamp;

use crate::Error;
use crate::options;

/// Refuses a query that asks for what cannot be.
///
/// # Errors
///
/// A value is none of its type, or contradicts others.
pub(crate) fn check(pod: &str, query: &str) -> Result<(), Status> {
    let (tail, limit) = (number(query, "tailLines")?, number(query, "limitBytes")?);
    let (seconds, time) = (number(query, "sinceSeconds")?, time(query)?);
    let below = |name: &str, value: Option<i64>, least: i64, why: &str| {
        let value = value.filter(|value| *value < least)?;
        Some(FieldError::invalid(&Path::ROOT.child(name), value, why))
    };
    let since = if seconds.is_some() && time {
        let why = "at most one of `sinceTime` or `sinceSeconds` may be specified";
        Some(FieldError::forbidden(&Path::ROOT, why))
    } else {
        below("sinceSeconds", seconds, 1, "must be greater than 0")
    };
    // One stream of the two is behind a feature that is off in this version.
    let stream = value(query, "stream").is_some();
    let stream = stream.then(|| FieldError::forbidden(&Path::ROOT.child("stream"), "may not be specified"));
    let tail = below("tailLines", tail, 0, "must be greater than or equal to 0");
    let limit = below("limitBytes", limit, 1, "must be greater than 0");
    let errors: Vec<FieldError> = [tail, limit, since, stream].into_iter().flatten().collect();
    if errors.is_empty() {
        return Ok(());
    }
    let mut status = Status::invalid(Qualified::new("", "PodLogOptions"), pod, &errors);
    // What is wrong with two fields together has no name at all.
    status.message = status.message.replace("<nil>: Forbidden", ": Forbidden");
    for cause in status.details.iter_mut().flat_map(|details| &mut details.causes) {
        if cause.field == "<nil>" {
            cause.field.clear();
        }
    }
    Err(status)
}

/// The first value of a parameter, which is the one that counts.
fn value(query: &str, name: &str) -> Option<String> {
    let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let (_, raw) = pairs.find(|(own, _)| *own == name)?;
    Some(percent_decode_str(&raw.replace('+', " ")).decode_utf8_lossy().into_owned())
}

fn number(query: &str, name: &str) -> Result<Option<i64>, Status> {
    let Some(text) = value(query, name) else { return Ok(None) };
    let none = || Error::Number { function: "ParseInt", value: String::new(), why: "invalid syntax" };
    let number = options::number(&text).and_then(|number| number.ok_or_else(none));
    number.map(Some).map_err(|error| Status::from(&error))
}

/// Whether there is a moment; an empty one is the first of all.
fn time(query: &str) -> Result<bool, Status> {
    let Some(text) = value(query, "sinceTime") else { return Ok(false) };
    if text.is_empty() || text == "null" || Timestamp::parse(&text).is_some() {
        return Ok(true);
    }
    let quoted = Value::from(text);
    Err(Status::bad_request(format!(
        "parsing time {quoted} as \"2006-01-02T15:04:05Z07:00\": cannot parse {quoted} as \"2006\""
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_has_upstreams_words() {
        for (query, code, words) in [
            (
                "tailLines=-1",
                422,
                r#"PodLogOptions "p" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0"#,
            ),
            (
                "limitBytes=0",
                422,
                r#"PodLogOptions "p" is invalid: limitBytes: Invalid value: 0: must be greater than 0"#,
            ),
            (
                "sinceSeconds=0",
                422,
                r#"PodLogOptions "p" is invalid: sinceSeconds: Invalid value: 0: must be greater than 0"#,
            ),
            (
                "sinceSeconds=1&sinceTime=2020-01-01T00%3A00%3A00Z",
                422,
                r#"PodLogOptions "p" is invalid: : Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified"#,
            ),
            (
                "stream=Stdout",
                422,
                r#"PodLogOptions "p" is invalid: stream: Forbidden: may not be specified"#,
            ),
            (
                "limitBytes=0&tailLines=-1",
                422,
                r#"PodLogOptions "p" is invalid: [tailLines: Invalid value: -1: must be greater than or equal to 0, limitBytes: Invalid value: 0: must be greater than 0]"#,
            ),
            ("tailLines=x", 400, r#"strconv.ParseInt: parsing "x": invalid syntax"#),
            ("tailLines=", 400, r#"strconv.ParseInt: parsing "": invalid syntax"#),
            (
                "sinceTime=soon",
                400,
                r#"parsing time "soon" as "2006-01-02T15:04:05Z07:00": cannot parse "soon" as "2006""#,
            ),
        ] {
            let status = check("p", query).unwrap_err();
            assert_eq!((status.code(), &*status.message), (code, words), "{query}");
        }
    }

    #[test]
    fn what_can_be_is_let_pass() {
        for query in [
            "",
            "tailLines=0&limitBytes=1&sinceSeconds=1&follow=true&timestamps&container=a",
            "sinceTime=2020-01-01T00:00:00.5%2B02:00",
            "tailLines=3&tailLines=-1",
        ] {
            check("p", query).unwrap();
        }
    }
}
