//! Parameters of requests, as URLs and forms have them.

use percent_encoding::percent_decode_str;
use xebec_promql::duration::Duration;
use xebec_promql::matcher::Matcher;
use xebec_promql::number::quoted;
use xebec_promql::parser::parse_selector;
use xebec_tsdb::Interval;

use super::Fault;

/// More parameters than these are refused.
const MOST: usize = 10_000;
/// How upstream writes the first and the last of all times.
const FIRST: &str = "-292273086-05-16T16:47:06Z";
const LAST: &str = "292277025-08-18T07:12:54.999999999Z";

/// Names with values, in the order in which they stand.
#[derive(Debug, Default)]
pub(super) struct Params(Vec<(String, String)>);

fn decoded(text: &str) -> Result<String, String> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    decoded.map(Into::into).map_err(|_| format!("error parsing form values: {} is not UTF-8", quoted(text)))
}

impl Params {
    /// Adds what a query or a form says.
    pub(super) fn read(&mut self, text: &str) -> Result<(), String> {
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            if self.0.len() >= MOST {
                return Err(format!("error parsing form values: there are over {MOST}"));
            }
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            self.0.push((decoded(name)?, decoded(value)?));
        }
        Ok(())
    }

    pub(super) fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    /// The first value of a name; empty if there is none.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(own, _)| own == name).map_or("", |(_, value)| value)
    }

    /// All values of a name.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// The number of results that are wanted at the most; zero is all.
    pub(super) fn limit(&self) -> Result<usize, Fault> {
        let text = self.get("limit");
        if text.is_empty() {
            return Ok(0);
        }
        let number: i64 = text.parse().map_err(|_| {
            Fault::parameter("limit", format!("strconv.Atoi: parsing {}: invalid syntax", quoted(text)))
        })?;
        usize::try_from(number).map_err(|_| Fault::parameter("limit", "limit must be non-negative"))
    }

    /// A limit where a negative one is none.
    pub(super) fn number(&self, name: &str) -> Result<Option<usize>, Fault> {
        match self.get(name) {
            "" => Ok(None),
            text => {
                let number: i64 =
                    text.parse().map_err(|_| Fault::BadData(format!("{name} must be a number")))?;
                Ok(usize::try_from(number).ok())
            }
        }
    }

    /// A time in milliseconds, if it is given.
    pub(super) fn time(&self, name: &str) -> Result<Option<i64>, Fault> {
        match self.get(name) {
            "" => Ok(None),
            text => time(text)
                .map(Some)
                .map_err(|why| Fault::parameter(name, format!("invalid time value for '{name}': {why}"))),
        }
    }

    /// From `start` to `end`; all time where they are not given.
    pub(super) fn span(&self) -> Result<Interval, Fault> {
        let min = self.time("start")?.unwrap_or(i64::MIN);
        Ok(Interval { min, max: self.time("end")?.unwrap_or(i64::MAX) })
    }

    /// What `match[]` says.
    pub(super) fn selectors(&self) -> Result<Vec<Vec<Matcher>>, String> {
        let each = self.all("match[]").map(|text| {
            let matchers = parse_selector(text).map_err(|error| error.to_string())?;
            if matchers.iter().all(|matcher| matcher.matches("")) {
                return Err("match[] must contain at least one non-empty matcher".to_owned());
            }
            Ok(matchers)
        });
        each.collect()
    }
}

/// A time as seconds or as RFC 3339, in milliseconds.
pub(super) fn time(text: &str) -> Result<i64, String> {
    if let Ok(seconds) = text.parse::<f64>()
        && !seconds.is_nan()
    {
        let (whole, rest) = (seconds.trunc(), seconds.fract());
        return Ok((whole as i64).saturating_mul(1000).saturating_add((rest * 1000.0).round() as i64));
    }
    match text {
        FIRST => return Ok(i64::MIN),
        LAST => return Ok(i64::MAX),
        _ => {}
    }
    let time: Result<jiff::Timestamp, _> = text.parse();
    time.map(jiff::Timestamp::as_millisecond)
        .map_err(|_| format!("cannot parse {} to a valid timestamp", quoted(text)))
}

/// A duration as seconds or as `5m`, in milliseconds.
pub(super) fn duration(text: &str) -> Result<i64, String> {
    let failed = || format!("cannot parse {} to a valid duration", quoted(text));
    if let Ok(seconds) = text.parse::<f64>() {
        let nanos = seconds * 1e9;
        if nanos.is_nan() || nanos > i64::MAX as f64 || nanos < i64::MIN as f64 {
            return Err(failed() + ". It overflows int64");
        }
        return Ok(nanos as i64 / 1_000_000);
    }
    Duration::parse(text).map(Duration::millis).map_err(|_| failed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_seconds_or_rfc_3339() {
        for (text, millis) in [
            ("1.5", 1500),
            ("-0.001", -1),
            ("1700000000.1234", 1_700_000_000_123),
            ("2015-06-03T13:21:58.555Z", 1_433_337_718_555),
            ("2015-06-03T14:21:58.555+01:00", 1_433_337_718_555),
            (FIRST, i64::MIN),
            (LAST, i64::MAX),
        ] {
            assert_eq!(time(text), Ok(millis), "{text}");
        }
        assert_eq!(time("foo"), Err(r#"cannot parse "foo" to a valid timestamp"#.to_owned()));
        assert_eq!(duration("1.5"), Ok(1500));
        assert_eq!(duration("5m"), Ok(300_000));
        assert!(duration("1x").is_err() && duration("1e30").is_err() && duration("").is_err());
    }

    #[test]
    fn forms_are_decoded() {
        let mut params = Params::default();
        params.read("query=a%2Bb+c&match[]=x&match%5B%5D=y&&limit").unwrap();
        assert_eq!((params.get("query"), params.get("limit"), params.get("none")), ("a+b c", "", ""));
        assert_eq!(params.all("match[]").collect::<Vec<_>>(), ["x", "y"]);
        assert!(params.read("a=%ff").is_err());
    }

    #[test]
    fn a_selector_must_select() {
        let mut params = Params::default();
        params.read("match[]={a%3D~\".*\"}").unwrap();
        assert!(params.selectors().unwrap_err().contains("non-empty matcher"));
    }
}
