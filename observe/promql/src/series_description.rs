//! Descriptions of series and their samples, as rule tests and upstream's own tests write them:
//! `metric{label="value"} 1 2+1x3 _ stale {{schema:0 count:1 sum:2 buckets:[1]}}`.

use std::sync::Arc;

use crate::histogram::{Buckets, CUSTOM_SCHEMA, CounterReset, Histogram};
use crate::labels::{Label, Labels, METRIC_NAME};
use crate::lexer::Lexer;
use crate::number;
use crate::parser::unquote;
use crate::token::{Kind, Token};

/// The most samples of a description.
const MAX_SAMPLES: usize = 1 << 20;

/// A sample of a description.
#[derive(Debug, Clone, PartialEq)]
pub enum DescribedSample {
    /// Nothing at this step.
    Omitted,
    /// A number.
    Float(f64),
    /// A histogram.
    Histogram {
        /// The histogram.
        histogram: Arc<Histogram>,
        /// Whether the description says what is known about a counter reset.
        hint_given: bool,
    },
}

/// Reads a description of a series and its samples.
pub fn parse(text: &str) -> Result<(Labels, Vec<DescribedSample>), String> {
    let (labels, rest) = parse_labels(text)?;
    let samples = Samples { rest, out: Vec::new() }.parse()?;
    Ok((labels, samples))
}

/// Reads the labels before the samples; returns what follows.
fn parse_labels(text: &str) -> Result<(Labels, &str), String> {
    let mut lexer = Lexer::new(text);
    let mut next = || lexer.next_token().map_err(|error| error.to_string());
    let mut labels = Vec::new();
    let mut token = next()?;
    if token.names_metric() {
        labels.push(Label::new(METRIC_NAME, token.text));
        let end = token.position().end;
        if !text[end..].starts_with('{') {
            return Ok((Labels::new(labels), &text[end..]));
        }
        token = next()?;
    }
    if token.kind != Kind::LeftBrace {
        return Err(format!("unexpected {} where labels are expected", token.description()));
    }
    let unquoted =
        |token: Token<'_>| unquote(token.text).ok_or_else(|| format!("broken string {}", token.text));
    loop {
        let token = next()?;
        let name = match token.kind {
            Kind::RightBrace => return Ok((Labels::new(labels), &text[token.position().end..])),
            Kind::Comma => continue,
            Kind::Identifier => token.text.to_owned(),
            Kind::String => unquoted(token)?,
            _ => {
                return Err(format!(
                    "unexpected {} in label set, expected identifier or \"}}\"",
                    token.description()
                ));
            }
        };
        let after = text[token.position().end..].trim_start();
        if token.kind == Kind::String && !after.starts_with('=') {
            labels.push(Label::new(METRIC_NAME, name));
            continue;
        }
        let equals = next()?;
        if equals.kind != Kind::Equals {
            return Err(format!("unexpected {} in label set, expected \"=\"", equals.description()));
        }
        let value = next()?;
        if value.kind != Kind::String {
            return Err(format!("unexpected {} in label set, expected string", value.description()));
        }
        labels.push(Label::new(name, unquoted(value)?));
    }
}

struct Samples<'t> {
    rest: &'t str,
    out: Vec<DescribedSample>,
}

impl<'t> Samples<'t> {
    fn parse(mut self) -> Result<Vec<DescribedSample>, String> {
        loop {
            self.rest = self.rest.trim_start();
            if self.rest.is_empty() {
                return Ok(self.out);
            }
            if self.accept("{{") {
                self.histograms()?;
            } else if self.accept("_") {
                let count = self.times()?.unwrap_or(1);
                self.extend(count, |_| DescribedSample::Omitted)?;
            } else {
                self.floats()?;
            }
            if !self.rest.is_empty() && !self.rest.starts_with(char::is_whitespace) {
                return Err(format!("unexpected {:?} in series values", self.rest));
            }
        }
    }

    fn accept(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn extend(&mut self, count: usize, sample: impl Fn(usize) -> DescribedSample) -> Result<(), String> {
        if self.out.len().saturating_add(count) > MAX_SAMPLES {
            return Err(format!("more than {MAX_SAMPLES} samples are described; describe fewer"));
        }
        self.out.extend((0..count).map(sample));
        Ok(())
    }

    /// `x5`, if it comes next.
    fn times(&mut self) -> Result<Option<usize>, String> {
        if !self.accept("x") {
            return Ok(None);
        }
        let digits = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        let (count, rest) = self.rest.split_at(digits);
        self.rest = rest;
        count.parse().map(Some).map_err(|_| "invalid repetition in series values".to_owned())
    }

    fn floats(&mut self) -> Result<(), String> {
        if self.accept("stale") {
            let count = self.times()?.map_or(1, |count| count + 1);
            return self.extend(count, |_| DescribedSample::Float(number::stale_nan()));
        }
        let first = self.number()?;
        let step = match self.rest.starts_with(['+', '-']) {
            true => self.number()?,
            false => 0.0,
        };
        let count = self.times()?.map_or(1, |count| count.saturating_add(1));
        let begin = self.out.len();
        self.extend(count, |_| DescribedSample::Omitted)?;
        let mut value = first;
        for sample in &mut self.out[begin..] {
            *sample = DescribedSample::Float(value);
            value += step;
        }
        Ok(())
    }

    fn number(&mut self) -> Result<f64, String> {
        let bytes = self.rest.as_bytes();
        let mut end = usize::from(self.rest.starts_with(['+', '-']));
        let begin = end;
        while let Some(byte) = bytes.get(end) {
            let after_exponent = end > begin && matches!(bytes[end - 1], b'e' | b'E');
            let exponent_sign =
                matches!(byte, b'+' | b'-') && after_exponent && bytes[begin].is_ascii_digit();
            if !(byte.is_ascii_digit() || matches!(byte, b'.' | b'_') || exponent_sign) {
                let word = byte.is_ascii_alphabetic() && *byte != b'x';
                if !word {
                    break;
                }
            }
            end += 1;
        }
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        number::parse(text.trim_start_matches('+')).map_err(|_| format!("bad number syntax: {text:?}"))
    }

    fn histogram(&mut self) -> Result<(Histogram, bool), String> {
        let (body, rest) = self
            .rest
            .split_once("}}")
            .ok_or("histogram description incomplete: the closing }} is missing")?;
        self.rest = rest;
        described_histogram(body)
    }

    fn histograms(&mut self) -> Result<(), String> {
        let (first, mut hint_given) = self.histogram()?;
        let combine: Option<fn(&mut Histogram, &Histogram) -> bool> = match self.rest.as_bytes() {
            [b'+', b'{', b'{', ..] => Some(|histogram, other| histogram.add(other).is_ok()),
            [b'-', b'{', b'{', ..] => Some(|histogram, other| histogram.subtract(other).is_ok()),
            _ => None,
        };
        let Some(combine) = combine else {
            let count = self.times()?.map_or(1, |count| count.saturating_add(1));
            let histogram = Arc::new(first);
            return self
                .extend(count, |_| DescribedSample::Histogram { histogram: histogram.clone(), hint_given });
        };
        self.rest = &self.rest[3..];
        let (step, step_hint_given) = self.histogram()?;
        hint_given = step_hint_given;
        let count = self.times()?.ok_or("a histogram that is added has to be repeated")?.saturating_add(1);
        let begin = self.out.len();
        self.extend(count, |_| DescribedSample::Omitted)?;
        let mut current = first;
        for place in begin..begin + count {
            self.out[place] = DescribedSample::Histogram { histogram: Arc::new(current.clone()), hint_given };
            if current.schema > step.schema {
                let (from, to) = (step.schema, current.schema);
                return Err(format!("error combining histograms: cannot merge from schema {from} to {to}"));
            }
            if !combine(&mut current, &step) {
                return Err("error combining histograms: their buckets are of different kinds".to_owned());
            }
        }
        Ok(())
    }
}

/// Reads what stands between the braces of a histogram, and whether it says what is known about a counter reset.
fn described_histogram(body: &str) -> Result<(Histogram, bool), String> {
    let mut histogram = Histogram::default();
    let (mut offset, mut negative_offset) = (0, 0);
    let (mut buckets, mut negative_buckets) = (Vec::new(), Vec::new());
    let mut hint_given = false;
    let mut rest = body.trim();
    while !rest.is_empty() {
        let (key, after) =
            rest.split_once(':').ok_or_else(|| format!("bad histogram descriptor found: {rest:?}"))?;
        let (value, after) = match after.strip_prefix('[') {
            Some(list) => list.split_once(']').ok_or("a list of buckets is not closed")?,
            None => after.split_at(after.find(char::is_whitespace).unwrap_or(after.len())),
        };
        rest = after.trim_start();
        let float = |text: &str| {
            number::parse(text.trim_start_matches('+')).map_err(|_| format!("bad number syntax: {text:?}"))
        };
        let integer = || value.parse::<i32>().map_err(|_| format!("bad number syntax: {value:?}"));
        let list = || value.split_whitespace().map(float).collect::<Result<Vec<f64>, _>>();
        match key {
            "schema" => histogram.schema = integer()?,
            "sum" => histogram.sum = float(value)?,
            "count" => histogram.count = float(value)?,
            "z_bucket" => histogram.zero_count = float(value)?,
            "z_bucket_w" => histogram.zero_threshold = float(value)?,
            "custom_values" => histogram.bounds = list()?.into(),
            "buckets" => buckets = list()?,
            "n_buckets" => negative_buckets = list()?,
            "offset" => offset = integer()?,
            "n_offset" => negative_offset = integer()?,
            "counter_reset_hint" => {
                hint_given = true;
                histogram.hint = match value {
                    "unknown" => CounterReset::Unknown,
                    "reset" => CounterReset::Reset,
                    "not_reset" => CounterReset::NotReset,
                    "gauge" => CounterReset::Gauge,
                    other => return Err(format!("bad counter_reset_hint: {other:?}")),
                };
            }
            other => return Err(format!("bad histogram descriptor found: {other:?}")),
        }
    }
    if histogram.schema != CUSTOM_SCHEMA && !(-4..=8).contains(&histogram.schema) {
        return Err(format!("histogram has an unknown schema: {}", histogram.schema));
    }
    histogram.positive = Buckets::dense(offset, buckets);
    histogram.negative = Buckets::dense(negative_offset, negative_buckets);
    Ok((histogram, hint_given))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(text: &str) -> Vec<Option<f64>> {
        let (_, samples) = parse(text).unwrap();
        let value = |sample: &DescribedSample| match sample {
            DescribedSample::Float(value) => Some(*value),
            _ => None,
        };
        samples.iter().map(value).collect()
    }

    #[test]
    fn numbers_are_repeated_and_stepped() {
        let expected = [Some(1.0), None, None, Some(0.0), Some(10.0), Some(20.0), Some(-3.0), Some(-3.0)];
        assert_eq!(floats("m{a=\"b\"} 1 _x2 0+10x2 -3x1"), expected);
        assert_eq!(
            floats("m 1e3 1e-1 Inf -Inf"),
            [Some(1000.0), Some(0.1), Some(f64::INFINITY), Some(f64::NEG_INFINITY)]
        );
        assert!(number::is_stale_nan(floats("m stale")[0].unwrap()));
    }

    #[test]
    fn labels_may_be_quoted() {
        let (labels, _) = parse(r#"{"a b", 'c d'="e",} 1"#).unwrap();
        assert_eq!(labels, Labels::from_pairs([("__name__", "a b"), ("c d", "e")]));
    }

    #[test]
    fn histograms_are_described() {
        let (_, samples) =
            parse("m {{schema:1 count:3 sum:5 offset:2 buckets:[1 2]}}+{{schema:1 count:1 sum:1}}x1")
                .unwrap();
        let DescribedSample::Histogram { histogram, .. } = &samples[1] else { panic!() };
        assert_eq!((histogram.count, histogram.sum), (4.0, 6.0));
        assert_eq!(histogram.positive, Buckets::new([(2, 1.0), (3, 2.0)]));
    }

    #[test]
    fn broken_descriptions_are_refused() {
        for text in ["m 1x", "m {{", "m {{foo:1}}", "m 1 $", "m{a} 1", "m 1x99999999999", "m {{schema:99}}"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
