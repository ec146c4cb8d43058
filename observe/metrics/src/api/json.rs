//! Answers as JSON, written straight into text: query results are large.

use std::fmt::Write as _;

use serde::Serialize;
use xebec_promql::histogram::Histogram;
use xebec_promql::labels::Labels;
use xebec_promql::value::{Series, Value};

/// JSON as it is written.
#[derive(Debug, Default)]
pub(super) struct Json(String);

impl Json {
    /// A value.
    pub(super) fn of(value: &impl Serialize) -> Self {
        // Nothing that is told has keys that are no strings, or fails to be written.
        Self(serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }

    pub(super) fn push(&mut self, text: &str) {
        self.0.push_str(text);
    }

    /// A text with its quotes.
    pub(super) fn string(&mut self, text: &str) {
        let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
        if text.bytes().all(is_plain) {
            self.0.push('"');
            self.0.push_str(text);
            self.0.push('"');
        } else {
            self.0.push_str(Self::of(&text).as_str());
        }
    }

    /// A list; `write` writes one of its members.
    pub(super) fn list<T>(
        &mut self,
        members: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) {
        self.0.push('[');
        for (at, member) in members.into_iter().enumerate() {
            if at > 0 {
                self.0.push(',');
            }
            write(self, member);
        }
        self.0.push(']');
    }

    /// A list of texts.
    pub(super) fn strings<'a>(&mut self, texts: impl IntoIterator<Item = &'a str>) {
        self.list(texts, Self::string);
    }

    /// An object of names and values.
    pub(super) fn labels<'a>(&mut self, labels: impl IntoIterator<Item = (&'a str, &'a str)>) {
        self.0.push('{');
        for (at, (name, value)) in labels.into_iter().enumerate() {
            if at > 0 {
                self.0.push(',');
            }
            self.string(name);
            self.0.push(':');
            self.string(value);
        }
        self.0.push('}');
    }

    /// Milliseconds as seconds.
    pub(super) fn time(&mut self, millis: i64) {
        let (whole, rest) = (millis.unsigned_abs() / 1000, millis.unsigned_abs() % 1000);
        let sign = if millis < 0 { "-" } else { "" };
        // Writing to a string does not fail.
        let _ = match rest {
            0 => write!(self.0, "{sign}{whole}"),
            rest => write!(self.0, "{sign}{whole}.{rest:03}"),
        };
    }

    /// A number as a text, since JSON has neither NaN nor infinities.
    pub(super) fn number(&mut self, value: f64) {
        let _ = match value {
            value if value.is_nan() => write!(self.0, "\"NaN\""),
            f64::INFINITY => write!(self.0, "\"+Inf\""),
            f64::NEG_INFINITY => write!(self.0, "\"-Inf\""),
            value if value != 0.0 && !(1e-6..1e21).contains(&value.abs()) => {
                let text = format!("{value:e}");
                let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
                let exponent: i32 = exponent.parse().unwrap_or(0);
                let sign = if exponent < 0 { '-' } else { '+' };
                write!(self.0, "\"{digits}e{sign}{:02}\"", exponent.abs())
            }
            value => write!(self.0, "\"{value}\""),
        };
    }

    fn metric(&mut self, labels: &Labels) {
        self.push(r#"{"metric":"#);
        self.labels(labels.iter().map(|label| (&*label.name, &*label.value)));
    }

    fn point(&mut self, time: i64, value: f64) {
        self.push("[");
        self.time(time);
        self.push(",");
        self.number(value);
        self.push("]");
    }

    fn histogram_point(&mut self, time: i64, histogram: &Histogram) {
        self.push("[");
        self.time(time);
        self.push(",");
        self.histogram(histogram);
        self.push("]");
    }

    fn histogram(&mut self, histogram: &Histogram) {
        self.push(r#"{"count":"#);
        self.number(histogram.count);
        self.push(r#","sum":"#);
        self.number(histogram.sum);
        let mut buckets = histogram.buckets().filter(|bucket| bucket.count != 0.0).peekable();
        if buckets.peek().is_some() {
            self.push(r#","buckets":"#);
            self.list(buckets, |json, bucket| {
                let borders = match (bucket.lower_inclusive, bucket.upper_inclusive) {
                    (false, true) => "[0,",
                    (true, false) => "[1,",
                    (false, false) => "[2,",
                    (true, true) => "[3,",
                };
                json.push(borders);
                json.number(bucket.lower);
                json.push(",");
                json.number(bucket.upper);
                json.push(",");
                json.number(bucket.count);
                json.push("]");
            });
        }
        self.push("}");
    }

    fn series(&mut self, series: &Series) {
        self.metric(&series.labels);
        if !series.floats.is_empty() {
            self.push(r#","values":"#);
            self.list(&series.floats, |json, point| json.point(point.time, point.value));
        }
        if !series.histograms.is_empty() {
            self.push(r#","histograms":"#);
            self.list(&series.histograms, |json, point| json.histogram_point(point.time, &point.histogram));
        }
        self.push("}");
    }

    /// The type and value of a query's result, as members of an object.
    pub(super) fn result(&mut self, value: &Value, time: i64) {
        self.push(r#""resultType":"#);
        self.string(value.value_type().name());
        self.push(r#","result":"#);
        match value {
            Value::Scalar(point) => self.point(point.time, point.value),
            Value::String(text) => {
                self.push("[");
                self.time(time);
                self.push(",");
                self.string(text);
                self.push("]");
            }
            Value::Vector(time, samples) => self.list(samples, |json, sample| {
                json.metric(&sample.labels);
                match &sample.histogram {
                    None => {
                        json.push(r#","value":"#);
                        json.point(*time, sample.value);
                    }
                    Some(histogram) => {
                        json.push(r#","histogram":"#);
                        json.histogram_point(*time, histogram);
                    }
                }
                json.push("}");
            }),
            Value::Matrix(matrix) => self.list(matrix, Self::series),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Json)) -> String {
        let mut json = Json::default();
        write(&mut json);
        json.into_string()
    }

    #[test]
    fn numbers_and_times_are_written_as_upstream_writes_them() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (0.1, "0.1"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (1e-7, "1e-07"),
            (-1.5e300, "-1.5e+300"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(written(|json| json.number(value)), format!("\"{text}\""));
        }
        for (millis, text) in
            [(0, "0"), (1, "0.001"), (10, "0.010"), (1500, "1.500"), (-1001, "-1.001"), (2000, "2")]
        {
            assert_eq!(written(|json| json.time(millis)), text);
        }
    }

    #[test]
    fn labels_are_escaped() {
        let text = written(|json| json.labels([("a", "x\"y\n\\z"), ("é", "ü")]));
        assert_eq!(text, r#"{"a":"x\"y\n\\z","é":"ü"}"#);
    }
}
