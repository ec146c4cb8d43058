//! Functions over windows that look at how samples change: rates, differences, resets.

use super::QueryError;
use super::range_calls::{Made, RangeFunction, Window};
use super::selector_rate;
use crate::annotations::{HistogramOperation, Note};
use crate::ast::Borders;
use crate::histogram::{CounterReset, Histogram};
use crate::value::{HistogramPoint, Point};

type Result<T> = std::result::Result<T, QueryError>;

/// The function of a name.
pub(super) fn function(name: &str) -> Option<RangeFunction> {
    Some(match name {
        "rate" => |window| extrapolated(window, true, true),
        "increase" => |window| extrapolated(window, true, false),
        "delta" => |window| extrapolated(window, false, false),
        "irate" => |window| instantaneous(window, true),
        "idelta" => |window| instantaneous(window, false),
        "resets" => |window| counted(window, was_reset),
        "changes" => |window| counted(window, has_changed),
        _ => return None,
    })
}

/// A sample's time and the start time of its counter.
type Times = (i64, i64);

/// Whether the start times say that a counter was reset between two samples.
pub(super) fn starts_anew((before, start_before): Times, (time, start): Times) -> bool {
    // Unchanged, unknown, wrong, or the unknown start of OpenTelemetry.
    if start == start_before || start == 0 || start >= time || start < before {
        return false;
    }
    if start > before {
        return true;
    }
    // It began at the previous sample: a reset of deltas, but not of counters whose start is unknown.
    start_before <= before && start_before != 0 && start_before != before
}

/// Whether a counter is said to have begun before its previous sample, and not when that one says.
fn overlaps((before, start_before): Times, start: i64) -> bool {
    start != 0 && start < before && start != start_before
}

fn times(starts: Option<&[i64]>, place: usize, time: i64) -> Option<Times> {
    starts.and_then(|starts| starts.get(place)).map(|&start| (time, start))
}

fn extrapolated(window: &mut Window<'_>, is_counter: bool, is_rate: bool) -> Result<Option<Made>> {
    if !window.floats.is_empty() && !window.histograms.is_empty() {
        window.note_metric(Note::MixedFloatsHistograms);
        return Ok(None);
    }
    if window.borders != Borders::Plain {
        return selector_rate::rate(window, is_counter, is_rate);
    }
    let is_float = window.histograms.is_empty();
    let starts = window.starts.map(|(floats, histograms)| if is_float { floats } else { histograms });
    let starts = starts.filter(|_| is_counter);
    let change = match is_float {
        true => Change::Float(float_change(window, starts, is_counter)),
        false => match window.histograms.len() {
            0 => return Ok(None),
            1 => Change::Histogram(None),
            _ => match histogram_change(window, starts, is_counter) {
                Some(change) => Change::Histogram(Some(change)),
                None => return Ok(None),
            },
        },
    };
    extrapolate(window, change, starts, is_counter, is_rate)
}

enum Change {
    Float(f64),
    Histogram(Option<Histogram>),
}

fn extrapolate(
    window: &mut Window<'_>,
    mut change: Change,
    starts: Option<&[i64]>,
    is_counter: bool,
    is_rate: bool,
) -> Result<Option<Made>> {
    let sample_times = |point: &HistogramPoint| point.time;
    let (first, last) = match window.histograms {
        [] => (window.floats[0].time, window.floats[window.floats.len() - 1].time),
        histograms => (sample_times(&histograms[0]), sample_times(&histograms[histograms.len() - 1])),
    };
    let gaps = (window.floats.len() + window.histograms.len() - 1) as f64;
    let seconds = |millis: i64| millis as f64 / 1000.0;
    let mut to_start = seconds(first - window.start);
    let mut to_end = seconds(window.end - last);
    let mut sampled = seconds(last - first);
    let average = if gaps > 0.0 { sampled / gaps } else { 0.0 };
    let threshold = average * 1.1;
    let start = starts.and_then(|starts| starts.first()).copied().unwrap_or(0);
    if start != 0 && start > window.start && start < first {
        // The counter began within the window, from zero: that is its first sample.
        to_start = 0.0;
        sampled = seconds(last - start);
        match &mut change {
            Change::Float(change) => *change += window.floats[0].value,
            Change::Histogram(change) => {
                let first = &window.histograms[0].histogram;
                match change {
                    None => *change = Some((**first).clone()),
                    Some(change) => {
                        if !added(window, change, first) {
                            return Ok(None);
                        }
                    }
                }
            }
        }
    } else if gaps == 0.0 {
        return Ok(None);
    } else {
        if to_start >= threshold {
            to_start = average / 2.0;
        }
        if is_counter {
            // A counter is not extrapolated below zero.
            let (first, change) = match &change {
                Change::Float(change) => (window.floats[0].value, *change),
                Change::Histogram(change) => {
                    (window.histograms[0].histogram.count, change.as_ref().map_or(0.0, |change| change.count))
                }
            };
            if change > 0.0 && first >= 0.0 {
                let to_zero = sampled * (first / change);
                if to_zero < to_start {
                    to_start = to_zero;
                }
            }
        }
    }
    if to_end >= threshold {
        to_end = average / 2.0;
    }
    let mut factor = if sampled == 0.0 { 1.0 } else { (sampled + to_start + to_end) / sampled };
    if is_rate {
        factor /= window.seconds;
    }
    Ok(Some(match change {
        Change::Float(change) => Made::Float(change * factor),
        Change::Histogram(None) => return Ok(None),
        Change::Histogram(Some(mut change)) => {
            change.multiply(factor);
            Made::Histogram(change)
        }
    }))
}

fn float_change(window: &mut Window<'_>, starts: Option<&[i64]>, is_counter: bool) -> f64 {
    let floats = window.floats;
    let mut change = floats[floats.len() - 1].value - floats[0].value;
    if !is_counter {
        return change;
    }
    let mut overlap = false;
    for (place, pair) in floats.windows(2).enumerate() {
        let [before, now] = pair else { continue };
        let mut reset = now.value < before.value;
        if let (Some(earlier), Some(later)) =
            (times(starts, place, before.time), times(starts, place + 1, now.time))
        {
            overlap |= overlaps(earlier, later.1);
            reset |= starts_anew(earlier, later);
        }
        if reset {
            change += before.value;
        }
    }
    if overlap {
        window.note_metric(Note::StartTimeOverlap);
    }
    change
}

/// The difference of the last and the first of at least two histograms, resets counted in. None if they do not mix.
fn histogram_change(window: &mut Window<'_>, starts: Option<&[i64]>, is_counter: bool) -> Option<Histogram> {
    let points = window.histograms;
    let last = &points[points.len() - 1].histogram;
    let mut first = (*points[0].histogram).clone();
    let is_gauge = |point: &HistogramPoint| point.histogram.hint == CounterReset::Gauge;
    if is_counter && points.iter().any(is_gauge) {
        window.note_metric(Note::NativeHistogramNotCounter);
    }
    let second = &points[1];
    let anew = |place: usize| {
        let (before, now) = (&points[place], &points[place + 1]);
        match (times(starts, place, before.time), times(starts, place + 1, now.time)) {
            (Some(earlier), Some(later)) => starts_anew(earlier, later),
            _ => false,
        }
    };
    // Before a reset right after it, the layout of the first histogram does not matter.
    if is_counter && (anew(0) || second.histogram.is_reset_since(&first)) {
        first = Histogram {
            schema: second.histogram.schema,
            bounds: second.histogram.bounds.clone(),
            ..Histogram::default()
        };
    }
    let custom = first.has_custom_buckets();
    let between = if is_counter { &points[1..points.len() - 1] } else { &[] };
    let differs = |histogram: &Histogram| histogram.has_custom_buckets() != custom;
    if differs(last) || between.iter().any(|point| differs(&point.histogram)) {
        window.note_metric(Note::MixedExponentialCustomHistograms);
        return None;
    }
    let schemas = between.iter().map(|point| point.histogram.schema).chain([last.schema, first.schema]);
    let mut change = last.reduced(schemas.min().unwrap_or(last.schema));
    if !subtracted(window, &mut change, &first) {
        return None;
    }
    if is_counter {
        let mut overlap = false;
        let mut before = &first;
        for (place, point) in points.iter().enumerate().skip(1) {
            if let (Some(earlier), Some(later)) =
                (times(starts, place - 1, points[place - 1].time), times(starts, place, point.time))
            {
                overlap |= overlaps(earlier, later.1);
            }
            let reset = anew(place - 1) || point.histogram.is_reset_since(before);
            if reset && !added(window, &mut change, before) {
                return None;
            }
            before = &point.histogram;
        }
        if overlap {
            window.note_metric(Note::StartTimeOverlap);
        }
    } else if !is_gauge(&points[0]) || !is_gauge(&points[points.len() - 1]) {
        window.note_metric(Note::NativeHistogramNotGauge);
    }
    change.hint = CounterReset::Gauge;
    change.compact();
    Some(change)
}

/// Adds a histogram and notes what is to be known about that; false if the two do not mix.
pub(super) fn added(window: &mut Window<'_>, to: &mut Histogram, other: &Histogram) -> bool {
    combined(window, to.add(other).map(|combined| combined.bounds_reconciled), HistogramOperation::Addition)
}

/// The same for a subtraction.
pub(super) fn subtracted(window: &mut Window<'_>, from: &mut Histogram, other: &Histogram) -> bool {
    let reconciled = from.subtract(other).map(|combined| combined.bounds_reconciled);
    combined(window, reconciled, HistogramOperation::Subtraction)
}

fn combined<E>(
    window: &mut Window<'_>,
    reconciled: std::result::Result<bool, E>,
    operation: HistogramOperation,
) -> bool {
    match reconciled {
        Ok(true) => window.note(Note::MismatchedCustomBuckets(operation)),
        Ok(false) => {}
        Err(_) => window.note_metric(Note::MixedExponentialCustomHistograms),
    }
    reconciled.is_ok()
}

/// A sample of either kind.
#[derive(Clone, Copy)]
enum Either<'w> {
    Float(&'w Point),
    Histogram(&'w HistogramPoint),
}

impl Either<'_> {
    fn time(self) -> i64 {
        match self {
            Self::Float(point) => point.time,
            Self::Histogram(point) => point.time,
        }
    }
}

/// Samples of both kinds in order of time, each with the start time of its counter.
fn in_order<'w>(window: &Window<'w>, mut float: usize, mut histogram: usize) -> Vec<(Either<'w>, i64)> {
    let (floats, histograms, starts) = (window.floats, window.histograms, window.starts);
    let start = |of: Option<&[i64]>, place: usize| of.and_then(|of| of.get(place)).copied().unwrap_or(0);
    let mut samples = Vec::with_capacity(floats.len() + histograms.len());
    loop {
        let next_float = floats.get(float);
        let next_histogram = histograms.get(histogram);
        match (next_float, next_histogram) {
            (Some(point), next) if next.is_none_or(|next| point.time < next.time) => {
                samples.push((Either::Float(point), start(starts.map(|starts| starts.0), float)));
                float += 1;
            }
            (_, Some(point)) => {
                samples.push((Either::Histogram(point), start(starts.map(|starts| starts.1), histogram)));
                histogram += 1;
            }
            _ => return samples,
        }
    }
}

fn instantaneous(window: &mut Window<'_>, is_rate: bool) -> Result<Option<Made>> {
    let samples =
        in_order(window, window.floats.len().saturating_sub(2), window.histograms.len().saturating_sub(2));
    let [.., (before, start_before), (now, start)] = samples.as_slice() else { return Ok(None) };
    let apart = now.time() - before.time();
    if apart == 0 {
        return Ok(None);
    }
    let anew = || starts_anew((before.time(), *start_before), (now.time(), *start));
    let seconds = apart as f64 / 1000.0;
    match (before, now) {
        (Either::Float(before), Either::Float(now)) => {
            let reset = is_rate && (now.value < before.value || anew());
            let change = if reset { now.value } else { now.value - before.value };
            Ok(Some(Made::Float(if is_rate { change / seconds } else { change })))
        }
        (Either::Histogram(before), Either::Histogram(now)) => {
            let gauge = |point: &HistogramPoint| point.histogram.hint == CounterReset::Gauge;
            if is_rate && (gauge(before) || gauge(now)) {
                window.note_metric(Note::NativeHistogramNotCounter);
            }
            if !is_rate && (!gauge(before) || !gauge(now)) {
                window.note_metric(Note::NativeHistogramNotGauge);
            }
            let mut change = (*now.histogram).clone();
            let reset = is_rate && (anew() || now.histogram.is_reset_since(&before.histogram));
            if !reset && !subtracted(window, &mut change, &before.histogram) {
                return Ok(None);
            }
            change.hint = CounterReset::Gauge;
            change.compact();
            if is_rate {
                change.divide(seconds);
            }
            Ok(Some(Made::Histogram(change)))
        }
        _ => {
            window.note_metric(Note::MixedFloatsHistograms);
            Ok(None)
        }
    }
}

/// Counts the pairs of neighbouring samples for which `counts` holds; a change of kind always counts.
fn counted(
    window: &mut Window<'_>,
    counts: fn((Either<'_>, i64), (Either<'_>, i64)) -> bool,
) -> Result<Option<Made>> {
    let Some((float, histogram)) = selector_rate::first_counted(window) else { return Ok(None) };
    if window.histograms.is_empty() && window.starts.is_none() {
        let floats = window.floats[float..].windows(2);
        let count =
            floats.filter(|pair| counts((Either::Float(&pair[0]), 0), (Either::Float(&pair[1]), 0))).count();
        return Ok(Some(Made::Float(count as f64)));
    }
    let samples = in_order(window, float, histogram);
    let count = samples.windows(2).filter(|pair| counts(pair[0], pair[1])).count();
    Ok(Some(Made::Float(count as f64)))
}

fn was_reset((before, start_before): (Either<'_>, i64), (now, start): (Either<'_>, i64)) -> bool {
    let anew = starts_anew((before.time(), start_before), (now.time(), start));
    match (before, now) {
        (Either::Float(before), Either::Float(now)) => now.value < before.value || anew,
        (Either::Histogram(before), Either::Histogram(now)) => {
            anew || now.histogram.is_reset_since(&before.histogram)
        }
        _ => true,
    }
}

fn has_changed((before, _): (Either<'_>, i64), (now, _): (Either<'_>, i64)) -> bool {
    match (before, now) {
        (Either::Float(before), Either::Float(now)) => {
            now.value != before.value && !(now.value.is_nan() && before.value.is_nan())
        }
        (Either::Histogram(before), Either::Histogram(now)) => !now.histogram.same(&before.histogram),
        _ => true,
    }
}
