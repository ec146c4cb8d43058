//! What is told of tests that fail, in upstream's shapes.

use std::sync::Arc;

use xebec_promql::histogram::{Buckets, CounterReset, Histogram};
use xebec_promql::labels::{Label, Labels};
use xebec_promql::number::general;
use xebec_promql::series_description;
use xebec_promql::value::VectorSample;

use super::{Told, described_histogram, file::ExpectedSample};

/// A sample that was found or expected.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub(super) labels: Labels,
    value: f64,
    /// A histogram as tests describe it; empty if it is a number.
    histogram: String,
}

impl From<VectorSample> for Sample {
    fn from(sample: VectorSample) -> Self {
        let histogram = sample.histogram.map(|histogram| histogram_text(&histogram)).unwrap_or_default();
        Self { labels: sample.labels, value: sample.value, histogram }
    }
}

impl Sample {
    pub(super) fn of(labels: Labels, value: f64) -> Self {
        Self { labels, value, histogram: String::new() }
    }

    pub(super) fn expected(sample: &ExpectedSample) -> Result<Self, String> {
        let labels = match sample.labels.0.as_str() {
            "" => Labels::default(),
            text => match series_description::parse(text)? {
                (labels, samples) if samples.is_empty() => labels,
                _ => return Err("unexpected values behind the labels".to_owned()),
            },
        };
        let histogram = match sample.histogram.0.as_str() {
            "" => String::new(),
            text => histogram_text(&described_histogram(text)?),
        };
        Ok(Self { labels, value: sample.value, histogram })
    }

    pub(super) fn is_same(&self, other: &Self, fuzzy: bool) -> bool {
        let (one, two) = (self.value, other.value);
        let same = one == two || (fuzzy && (one.next_up() == two || one.next_down() == two));
        // Of histograms the value means nothing, though upstream compares it: it is zero on both sides.
        same && self.labels == other.labels && self.histogram == other.histogram
    }

    fn shown(&self) -> String {
        let labels = self.labels.to_string();
        if self.histogram.is_empty() {
            return format!("{labels} {}", scientific(self.value));
        }
        format!("{labels} {}", self.histogram)
    }
}

/// A number with an exponent, in as few digits as tell it.
fn scientific(value: f64) -> String {
    if !value.is_finite() {
        return general(value);
    }
    let text = format!("{value:E}");
    let (digits, exponent) = text.split_once('E').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    format!("{digits}E{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

pub(super) fn samples(samples: &[Sample]) -> String {
    match samples {
        [] => "nil".to_owned(),
        samples => samples.iter().map(Sample::shown).collect::<Vec<_>>().join(", "),
    }
}

fn indented(text: &str, by: &str) -> String {
    text.replace('\n', &format!("\n{by}"))
}

pub(super) fn alerts(alerts: &[Told]) -> String {
    if alerts.is_empty() {
        return "[]".to_owned();
    }
    let each = alerts.iter().enumerate().map(|(at, (labels, annotations))| {
        let told = format!("\nLabels:{}\nAnnotations:{}", labels, annotations);
        format!("{at}:{}", indented(&told, "  "))
    });
    indented(&format!("[\n{}\n]", each.collect::<Vec<_>>().join(",\n")), "            ")
}

/// Labels out of texts; empty ones are kept away, as from expectations.
pub(super) fn kept<'t>(texts: impl Iterator<Item = (&'t str, &'t str)>) -> Labels {
    Labels::new(texts.map(|(name, value)| Label::new(name, value)))
}

/// A time since 1970 as Go writes a duration.
pub(super) fn go_duration(millis: i64) -> String {
    let (hours, minutes) = (millis / 3_600_000, millis / 60_000 % 60);
    let seconds = general((millis % 60_000) as f64 / 1000.0);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

/// A histogram as tests describe it.
fn histogram_text(histogram: &Arc<Histogram>) -> String {
    let mut compact = Histogram::clone(histogram);
    compact.compact();
    let mut parts = Vec::new();
    if compact.schema != 0 {
        parts.push(format!("schema:{}", compact.schema));
    }
    let numbers = [
        ("count", compact.count),
        ("sum", compact.sum),
        ("z_bucket", compact.zero_count),
        ("z_bucket_w", compact.zero_threshold),
    ];
    let told = numbers.into_iter().filter(|(_, value)| *value != 0.0);
    parts.extend(told.map(|(name, value)| format!("{name}:{}", general(value))));
    if compact.has_custom_buckets() {
        parts.push(format!("custom_values:[{}]", list(compact.bounds.iter().copied())));
    }
    match compact.hint {
        CounterReset::Unknown => {}
        CounterReset::Reset => parts.push("counter_reset_hint:reset".to_owned()),
        CounterReset::NotReset => parts.push("counter_reset_hint:not_reset".to_owned()),
        CounterReset::Gauge => parts.push("counter_reset_hint:gauge".to_owned()),
    }
    let mut buckets = |name: &str, offset: &str, buckets: &Buckets| {
        let Some((first, _)) = buckets.iter().next() else { return };
        if first != 0 {
            parts.push(format!("{offset}:{first}"));
        }
        let mut counts = Vec::new();
        let mut next = first;
        for (index, count) in buckets.iter() {
            // Far apart, no row of zeros can show it.
            counts.extend((next..index).take(1000).map(|_| 0.0));
            counts.push(count);
            next = index.saturating_add(1);
        }
        parts.push(format!("{name}:[{}]", list(counts.into_iter())));
    };
    buckets("buckets", "offset", &compact.positive);
    buckets("n_buckets", "n_offset", &compact.negative);
    format!("{{{{{}}}}}", parts.join(" "))
}

fn list(values: impl Iterator<Item = f64>) -> String {
    values.map(general).collect::<Vec<_>>().join(" ")
}

/// A time of the form `2006-01-02T15:04:05.999Z`, in milliseconds since 1970.
pub(super) fn rfc3339(text: &str) -> Option<i64> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let separators = [(4, "-"), (7, "-"), (13, ":"), (16, ":")];
    if separators.into_iter().any(|(at, sign)| text.get(at..at + 1) != Some(sign)) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let of_day = number(11, 13)? * 3600 + number(14, 16)? * 60 + number(17, 19)?;
    let rest = text.get(19..)?;
    let digits = rest.strip_prefix('.').map_or(0, |rest| rest.bytes().take_while(u8::is_ascii_digit).count());
    let fraction = if digits > 0 { rest.get(1..1 + digits)? } else { "0" };
    let millis = (format!("0.{fraction}").parse::<f64>().ok()? * 1000.0).round() as i64;
    let zone = rest.get(if digits > 0 { digits + 1 } else { 0 }..)?;
    let east = match zone {
        "Z" | "z" => 0,
        _ if zone.len() == 6 => {
            let sign = match zone.get(..1)? {
                "+" => 1,
                "-" => -1,
                _ => return None,
            };
            sign * (zone.get(1..3)?.parse::<i64>().ok()? * 60 + zone.get(4..6)?.parse::<i64>().ok()?)
        }
        _ => return None,
    };
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years begin in March here, so that the leap day is the last day of a year.
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = 365 * year + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (153 * month + 2) / 5
        + day
        - 1
        - 719_468;
    Some(((days * 24 * 60 - east) * 60 + of_day) * 1000 + millis)
}
