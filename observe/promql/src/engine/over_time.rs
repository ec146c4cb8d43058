//! Functions over windows that aggregate, pick or fit their samples.

use std::cmp::Ordering;
use std::sync::Arc;

use super::QueryError;
use super::quantile::quantile_of;
use super::range_calls::{Made, RangeFunction, Window};
use crate::annotations::{HistogramOperation, Note};
use crate::histogram::{Combined, CounterReset, HistogramMean, HistogramSum, IncompatibleSchemas};
use crate::kahan::{KahanMean, KahanSum};
use crate::value::{HistogramPoint, Point};

type Result<T> = std::result::Result<T, QueryError>;

/// The function of a name.
pub(super) fn function(name: &str) -> Option<RangeFunction> {
    Some(match name {
        "sum_over_time" => sum,
        "avg_over_time" => avg,
        "count_over_time" => |window| float((window.floats.len() + window.histograms.len()) as f64),
        "present_over_time" | "absent_over_time" => |_| float(1.0),
        "min_over_time" => |window| extreme(window, |value, best| value < best, false),
        "max_over_time" => |window| extreme(window, |value, best| value > best, false),
        "ts_of_min_over_time" => |window| extreme(window, |value, best| value <= best, true),
        "ts_of_max_over_time" => |window| extreme(window, |value, best| value >= best, true),
        "first_over_time" => first,
        "last_over_time" => last,
        "ts_of_first_over_time" => |window| {
            let times = [
                window.floats.first().map(|point| point.time),
                window.histograms.first().map(|point| point.time),
            ];
            float(times.into_iter().flatten().min().unwrap_or(i64::MAX) as f64 / 1000.0)
        },
        "ts_of_last_over_time" => |window| {
            let times = [
                window.floats.last().map(|point| point.time),
                window.histograms.last().map(|point| point.time),
            ];
            float(times.into_iter().flatten().max().unwrap_or(0).max(0) as f64 / 1000.0)
        },
        "quantile_over_time" => quantile,
        "mad_over_time" => deviation_from_median,
        "stdvar_over_time" => |window| variance(window, |variance| variance),
        "stddev_over_time" => |window| variance(window, f64::sqrt),
        "deriv" => |window| fitted(window, |floats, _| regression(floats, floats[0].time).0),
        "predict_linear" => |window| {
            let (time, ahead) = (window.time, window.args[0]);
            fitted(window, move |floats, _| {
                let (slope, intercept) = regression(floats, time);
                slope * ahead + intercept
            })
        },
        "double_exponential_smoothing" => smoothing,
        _ => return None,
    })
}

fn float(value: f64) -> Result<Option<Made>> {
    Ok(Some(Made::Float(value)))
}

/// Whether numbers and histograms are mixed, which is noted.
fn is_mixed(window: &mut Window<'_>) -> bool {
    let mixed = !window.floats.is_empty() && !window.histograms.is_empty();
    if mixed {
        window.note_metric(Note::MixedFloatsHistograms);
    }
    mixed
}

fn sum(window: &mut Window<'_>) -> Result<Option<Made>> {
    if is_mixed(window) {
        return Ok(None);
    }
    if let Some((first, rest)) = window.histograms.split_first() {
        let mut sum = HistogramSum::new((*first.histogram).clone());
        let summed = aggregated(window, rest, |other| sum.add(&other.histogram));
        return Ok(summed.map(|()| Made::Histogram(sum.total())));
    }
    let mut sum = KahanSum::default();
    for point in window.floats {
        sum.add(point.value);
    }
    float(if sum.sum.is_infinite() { sum.sum } else { sum.total() })
}

fn avg(window: &mut Window<'_>) -> Result<Option<Made>> {
    if is_mixed(window) {
        return Ok(None);
    }
    if let Some((first, rest)) = window.histograms.split_first() {
        let mut mean = HistogramMean::new((*first.histogram).clone());
        let averaged = aggregated(window, rest, |other| mean.add(&other.histogram));
        return Ok(averaged.map(|()| Made::Histogram(mean.mean())));
    }
    let mut mean = KahanMean::default();
    for point in window.floats {
        mean.add(point.value);
    }
    float(mean.mean())
}

/// Adds all histograms of the window but the first, and notes what is to be known about that. None if they do not mix.
fn aggregated(
    window: &mut Window<'_>,
    rest: &[HistogramPoint],
    mut add: impl FnMut(&HistogramPoint) -> std::result::Result<Combined, IncompatibleSchemas>,
) -> Option<()> {
    let mut reconciled = false;
    for point in rest {
        match add(point) {
            Ok(combined) => reconciled |= combined.bounds_reconciled,
            Err(IncompatibleSchemas) => {
                window.note_metric(Note::MixedExponentialCustomHistograms);
                return None;
            }
        }
    }
    let has = |hint| window.histograms.iter().any(|point| point.histogram.hint == hint);
    if has(CounterReset::Reset) && has(CounterReset::NotReset) {
        window.note(Note::HistogramCounterResetCollision(HistogramOperation::Aggregation));
    }
    if reconciled {
        window.note(Note::MismatchedCustomBuckets(HistogramOperation::Aggregation));
    }
    Some(())
}

fn extreme(window: &mut Window<'_>, better: fn(f64, f64) -> bool, time: bool) -> Result<Option<Made>> {
    let Some(&first) = window.floats.first() else { return Ok(None) };
    window.note_ignored_histograms();
    let mut best = first;
    for &point in window.floats {
        if better(point.value, best.value) || best.value.is_nan() {
            best = point;
        }
    }
    float(if time { best.time as f64 / 1000.0 } else { best.value })
}

fn first(window: &mut Window<'_>) -> Result<Option<Made>> {
    Ok(picked(window.floats.first(), window.histograms.first(), |float, histogram| float < histogram))
}

fn last(window: &mut Window<'_>) -> Result<Option<Made>> {
    Ok(picked(window.floats.last(), window.histograms.last(), |float, histogram| float > histogram))
}

fn picked(
    float: Option<&Point>,
    histogram: Option<&HistogramPoint>,
    prefers_float: fn(i64, i64) -> bool,
) -> Option<Made> {
    match (float, histogram) {
        (Some(float), Some(histogram)) if prefers_float(float.time, histogram.time) => {
            Some(Made::Float(float.value))
        }
        (_, Some(histogram)) => Some(Made::Shared(Arc::clone(&histogram.histogram))),
        (Some(float), None) => Some(Made::Float(float.value)),
        (None, None) => None,
    }
}

fn quantile(window: &mut Window<'_>) -> Result<Option<Made>> {
    if window.floats.is_empty() {
        return Ok(None);
    }
    let at = window.args[0];
    if !(0.0..=1.0).contains(&at) {
        window.note(Note::InvalidQuantile(at.into()));
    }
    window.note_ignored_histograms();
    let mut values: Vec<f64> = window.floats.iter().map(|point| point.value).collect();
    float(quantile_of(at, &mut values))
}

fn deviation_from_median(window: &mut Window<'_>) -> Result<Option<Made>> {
    if window.floats.is_empty() {
        return Ok(None);
    }
    window.note_ignored_histograms();
    let mut values: Vec<f64> = window.floats.iter().map(|point| point.value).collect();
    if values.iter().any(|value| value.is_nan()) {
        return float(f64::NAN);
    }
    let median = quantile_of(0.5, &mut values);
    values.iter_mut().for_each(|value| *value = (*value - median).abs());
    float(quantile_of(0.5, &mut values))
}

fn variance(window: &mut Window<'_>, result: fn(f64) -> f64) -> Result<Option<Made>> {
    if window.floats.is_empty() {
        return Ok(None);
    }
    window.note_ignored_histograms();
    let (mut mean, mut squares) = (KahanSum::default(), KahanSum::default());
    let mut count = 0.0;
    for point in window.floats {
        count += 1.0;
        let delta = point.value - mean.total();
        mean.add(delta / count);
        squares.add(delta * (point.value - mean.total()));
    }
    float(result(squares.total() / count))
}

/// What `fit` makes of at least two numbers.
fn fitted(window: &mut Window<'_>, fit: impl Fn(&[Point], &[f64]) -> f64) -> Result<Option<Made>> {
    match window.floats.len().cmp(&1) {
        Ordering::Less => return Ok(None),
        Ordering::Equal => {
            window.note_ignored_histograms();
            return Ok(None);
        }
        Ordering::Greater => {}
    }
    window.note_ignored_histograms();
    float(fit(window.floats, window.args))
}

/// The slope of the line through the points that has the least squares of distances, and its value at a time.
fn regression(points: &[Point], time: i64) -> (f64, f64) {
    let first = points[0].value;
    let (mut x, mut y, mut xy, mut xx) = <(KahanSum, KahanSum, KahanSum, KahanSum)>::default();
    for point in points {
        let at = point.time.saturating_sub(time) as f64 / 1000.0;
        x.add(at);
        y.add(point.value);
        xy.add(at * point.value);
        xx.add(at * at);
    }
    if points.iter().all(|point| point.value == first) {
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) };
    }
    let count = points.len() as f64;
    let (x, y, xy, xx) = (x.total(), y.total(), xy.total(), xx.total());
    let slope = (xy - x * y / count) / (xx - x * x / count);
    (slope, y / count - slope * x / count)
}

fn smoothing(window: &mut Window<'_>) -> Result<Option<Made>> {
    let (smoothing, trend_factor) = (window.args[0], window.args[1]);
    for (factor, name, symbol) in [(smoothing, "smoothing", "sf"), (trend_factor, "trend", "tf")] {
        if factor <= 0.0 || factor >= 1.0 {
            let message = format!("invalid {name} factor. Expected: 0 < {symbol} < 1, got: {factor:.6}");
            return Err(QueryError::Evaluation(message));
        }
    }
    fitted(window, |floats, _| {
        let mut before = 0.0;
        let mut smoothed = floats[0].value;
        let mut trend = floats[1].value - floats[0].value;
        for (place, point) in floats[1..].iter().enumerate() {
            if place > 0 {
                trend = trend_factor * (smoothed - before) + (1.0 - trend_factor) * trend;
            }
            let next = smoothing * point.value + (1.0 - smoothing) * (smoothed + trend);
            (before, smoothed) = (smoothed, next);
        }
        smoothed
    })
}
