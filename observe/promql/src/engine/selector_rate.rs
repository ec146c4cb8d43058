//! Rates of the modifiers `anchored` and `smoothed`: the borders of the range get values of their own, taken from the
//! samples around them, so that nothing is extrapolated.

use std::sync::Arc;

use super::Grid;
use super::QueryError;
use super::evaluator::{Evaluated, Evaluation, Evaluator};
use super::range_calls::{Made, Window};
use super::rate::{added, subtracted};
use super::selection::Reference;
use super::window::SampleWindow;
use crate::annotations::{HistogramOperation, Note};
use crate::ast::{Borders, VectorSelector};
use crate::histogram::{CounterReset, Histogram, IncompatibleSchemas};
use crate::value::{HistogramPoint, Matrix, Point, Series};

/// Something at a time.
trait Timed {
    fn time(&self) -> i64;
}

impl Timed for Point {
    fn time(&self) -> i64 {
        self.time
    }
}

impl Timed for HistogramPoint {
    fn time(&self) -> i64 {
        self.time
    }
}

/// The first and last of the samples that say something about a range; none if none of them lies in it.
fn around<T: Timed>(samples: &[T], (start, end): (i64, i64), smoothed: bool) -> Option<(usize, usize)> {
    let mut last = samples.len().checked_sub(1)?;
    let first = samples[..last].partition_point(|sample| sample.time() <= start).saturating_sub(1);
    if smoothed {
        last = samples[..last].partition_point(|sample| sample.time() < end);
    }
    let outside = samples[last].time() <= start || smoothed && samples[first].time() > end;
    (!outside).then_some((first, last))
}

/// The value between two numbers at a time; a counter that was reset in between began at zero.
fn between(before: Point, after: Point, time: i64, is_counter: bool) -> f64 {
    let from = if is_counter && after.value < before.value { 0.0 } else { before.value };
    from + (after.value - from) * (time - before.time) as f64 / (after.time - before.time) as f64
}

fn left_value(floats: &[Point], first: usize, start: i64, smoothed: bool, is_counter: bool) -> f64 {
    match floats.get(first + 1) {
        Some(&next) if smoothed && floats[first].time < start => {
            between(floats[first], next, start, is_counter)
        }
        _ => floats[first].value,
    }
}

fn right_value(floats: &[Point], last: usize, end: i64, smoothed: bool, is_counter: bool) -> f64 {
    match last.checked_sub(1) {
        Some(before) if smoothed && floats[last].time > end => {
            between(floats[before], floats[last], end, is_counter)
        }
        _ => floats[last].value,
    }
}

/// The samples of a range with one at each of its borders.
pub(super) fn extended(floats: &[Point], (start, end): (i64, i64), smoothed: bool) -> Vec<Point> {
    let Some(mut last) = floats.len().checked_sub(1) else { return Vec::new() };
    let first = floats[..last].partition_point(|point| point.time <= start).saturating_sub(1);
    if smoothed {
        last = floats[..last].partition_point(|point| point.time < end);
    }
    if floats[last].time <= start {
        return Vec::new();
    }
    let left = left_value(floats, first, start, smoothed, false);
    let right = right_value(floats, last, end, smoothed, false);
    let inside = floats[first..=last].iter().filter(|point| point.time > start && point.time < end);
    let mut out = vec![Point { time: start, value: left }];
    out.extend(inside);
    out.push(Point { time: end, value: right });
    out
}

pub(super) fn rate(
    window: &mut Window<'_>,
    is_counter: bool,
    is_rate: bool,
) -> Result<Option<Made>, QueryError> {
    if !window.histograms.is_empty() {
        return Ok(histogram_rate(window, is_counter, is_rate));
    }
    let (floats, start, end) = (window.floats, window.start, window.end);
    let smoothed = window.borders == Borders::Smoothed;
    let Some((first, last)) = around(floats, (start, end), smoothed) else { return Ok(None) };
    let left = left_value(floats, first, start, smoothed, is_counter);
    let right = right_value(floats, last, end, smoothed, is_counter);
    let mut change = right - left;
    if is_counter {
        let from = first + usize::from(floats[first].time <= start);
        let until = last + usize::from(floats[last].time < end);
        let inside = floats.get(from..until).unwrap_or_default().iter().map(|point| point.value);
        let mut before = left;
        for value in inside.chain([right]) {
            if value < before {
                change += before;
            }
            before = value;
        }
    }
    Ok(Some(Made::Float(if is_rate { change / window.seconds } else { change })))
}

/// Where the bounds of custom buckets had to be reconciled.
#[derive(Default)]
struct Reconciled {
    by_subtraction: bool,
    by_addition: bool,
}

/// The value between two histograms at a time; a counter that was reset in between began at zero.
fn histogram_between(
    before: &HistogramPoint,
    after: &HistogramPoint,
    time: i64,
    is_counter: bool,
    reconciled: &mut Reconciled,
) -> Result<Histogram, IncompatibleSchemas> {
    if time == before.time {
        return Ok((*before.histogram).clone());
    }
    let mut result = (*after.histogram).clone();
    if time == after.time {
        return Ok(result);
    }
    let fraction = (time - before.time) as f64 / (after.time - before.time) as f64;
    if is_counter && after.histogram.is_reset_since(&before.histogram) {
        result.multiply(fraction);
        return Ok(result);
    }
    reconciled.by_subtraction |= result.subtract(&before.histogram)?.bounds_reconciled;
    result.multiply(fraction);
    reconciled.by_addition |= result.add(&before.histogram)?.bounds_reconciled;
    Ok(result)
}

fn histogram_rate(window: &mut Window<'_>, is_counter: bool, is_rate: bool) -> Option<Made> {
    let (histograms, start, end) = (window.histograms, window.start, window.end);
    let smoothed = window.borders == Borders::Smoothed;
    let (first, last) = around(histograms, (start, end), smoothed)?;
    let used = &histograms[first..=last];
    let custom = used[0].histogram.has_custom_buckets();
    for point in used {
        if point.histogram.has_custom_buckets() != custom {
            window.note_metric(Note::MixedExponentialCustomHistograms);
            return None;
        }
        if is_counter && point.histogram.hint == CounterReset::Gauge {
            window.note_metric(Note::NativeHistogramNotCounter);
        }
    }
    let mut reconciled = Reconciled::default();
    let left = match histograms.get(first + 1) {
        Some(next) if smoothed && histograms[first].time < start => {
            histogram_between(&histograms[first], next, start, is_counter, &mut reconciled)
        }
        _ => Ok((*histograms[first].histogram).clone()),
    };
    let right = match last.checked_sub(1) {
        Some(before) if smoothed && histograms[last].time > end => {
            histogram_between(&histograms[before], &histograms[last], end, is_counter, &mut reconciled)
        }
        _ => Ok((*histograms[last].histogram).clone()),
    };
    note_reconciled(&reconciled, |note| window.note(note));
    let (Ok(left), Ok(right)) = (left, right) else {
        window.note_metric(Note::MixedExponentialCustomHistograms);
        return None;
    };
    if !is_counter && (left.hint != CounterReset::Gauge || right.hint != CounterReset::Gauge) {
        window.note_metric(Note::NativeHistogramNotGauge);
    }
    let mut change = right.clone();
    if !subtracted(window, &mut change, &left) {
        return None;
    }
    if is_counter {
        let mut correction: Option<Histogram> = None;
        for lost in lost_by_resets(histograms, (first, last), (&left, &right), start, smoothed) {
            match &mut correction {
                None => correction = Some(lost),
                Some(correction) => {
                    if !added(window, correction, &lost) {
                        return None;
                    }
                }
            }
        }
        if let Some(correction) = correction
            && !added(window, &mut change, &correction)
        {
            return None;
        }
    }
    if is_rate {
        change.divide(window.seconds);
    }
    change.hint = CounterReset::Gauge;
    change.compact();
    Some(Made::Histogram(change))
}

fn note_reconciled(reconciled: &Reconciled, mut note: impl FnMut(Note)) {
    if reconciled.by_subtraction {
        note(Note::MismatchedCustomBuckets(HistogramOperation::Subtraction));
    }
    if reconciled.by_addition {
        note(Note::MismatchedCustomBuckets(HistogramOperation::Addition));
    }
}

/// What the counter held before each reset in the range.
fn lost_by_resets(
    histograms: &[HistogramPoint],
    (first, last): (usize, usize),
    (left, right): (&Histogram, &Histogram),
    start: i64,
    smoothed: bool,
) -> Vec<Histogram> {
    let mut from = first + 1;
    let mut before = left;
    // A reset that the left border was interpolated over has been counted there.
    if let Some(next) = histograms.get(first + 1)
        && smoothed
        && histograms[first].time < start
        && next.histogram.is_reset_since(&histograms[first].histogram)
    {
        before = &next.histogram;
        from += 1;
    }
    // The last sample is the right border, or gave it its hint.
    if from > last {
        return Vec::new();
    }
    let inside = histograms[from..last].iter().map(|point| &*point.histogram);
    let mut lost = Vec::new();
    for histogram in inside.chain([right]) {
        if histogram.is_reset_since(before) {
            lost.push(before.clone());
        }
        before = histogram;
    }
    lost
}

/// The places of the first number and the first histogram to count: from the newest sample at or before the start of an
/// anchored range on. None if no sample lies in the range.
pub(super) fn first_counted(window: &Window<'_>) -> Option<(usize, usize)> {
    if window.borders != Borders::Anchored {
        return Some((0, 0));
    }
    let floats = window.floats.partition_point(|point| point.time <= window.start);
    let histograms = window.histograms.partition_point(|point| point.time <= window.start);
    if floats == window.floats.len() && histograms == window.histograms.len() {
        return None;
    }
    let float = floats.checked_sub(1).map(|place| window.floats[place].time);
    let histogram = histograms.checked_sub(1).map(|place| window.histograms[place].time);
    Some(match (float, histogram) {
        (None, None) => (0, 0),
        (Some(float), histogram) if histogram.is_none_or(|histogram| float >= histogram) => {
            (floats - 1, histograms)
        }
        _ => (floats, histograms - 1),
    })
}

impl Evaluator<'_> {
    /// An instant selector whose samples are interpolated.
    pub(super) fn smoothed_selector(
        &mut self,
        selector: &VectorSelector,
        grid: Grid,
    ) -> Evaluation<Evaluated> {
        let reference = Reference::new(&selector.shift);
        let lookback = self.lookback();
        let selected = self.select_series(selector, grid, (lookback, lookback), 0)?;
        let mut matrix = Matrix::new();
        for stored in &selected {
            self.check_time()?;
            let mut window = SampleWindow::new(stored.samples(), false);
            let mut series = Series::new(stored.labels().clone(), false);
            let metric = stored.labels().metric_name();
            for step in grid.times() {
                self.tick()?;
                let time = reference.at(step);
                window.slide(self, time.saturating_sub(lookback), time.saturating_add(lookback))?;
                let (floats, histograms) = (window.floats(), window.histograms());
                if !floats.is_empty() && !histograms.is_empty() {
                    self.notes.add(Note::MixedFloatsHistograms(metric.clone()), selector.position);
                } else if !histograms.is_empty() {
                    let mut reconciled = Reconciled::default();
                    match smoothed_histogram(histograms, time, &mut reconciled) {
                        Ok(Some(histogram)) => {
                            series.histograms.push(HistogramPoint { time: step, histogram });
                        }
                        Ok(None) => {}
                        Err(IncompatibleSchemas) => {
                            let note = Note::MixedExponentialCustomHistograms(metric.clone());
                            self.notes.add(note, selector.position);
                        }
                    }
                    note_reconciled(&reconciled, |note| self.notes.add(note, selector.position));
                } else {
                    let place = floats.partition_point(|point| point.time < time);
                    let value = match (place.checked_sub(1).map(|before| floats[before]), floats.get(place)) {
                        (_, Some(point)) if point.time == time => Some(point.value),
                        (Some(before), Some(&after)) => Some(between(before, after, time, false)),
                        (Some(before), None) => Some(before.value),
                        (None, _) => None,
                    };
                    series.floats.extend(value.map(|value| Point { time: step, value }));
                }
            }
            self.release(window.held());
            if !series.is_empty() {
                self.hold(series.weight())?;
                matrix.push(series);
            }
        }
        Ok(Evaluated::Matrix(matrix))
    }
}

fn smoothed_histogram(
    histograms: &[HistogramPoint],
    time: i64,
    reconciled: &mut Reconciled,
) -> Result<Option<Arc<Histogram>>, IncompatibleSchemas> {
    let place = histograms.partition_point(|point| point.time < time);
    let before = place.checked_sub(1).map(|before| &histograms[before]);
    match (before, histograms.get(place)) {
        (_, Some(point)) if point.time == time => Ok(Some(Arc::clone(&point.histogram))),
        (Some(before), Some(after)) => {
            let gauge = |point: &HistogramPoint| point.histogram.hint == CounterReset::Gauge;
            let is_counter = !(gauge(before) && gauge(after));
            if before.histogram.has_custom_buckets() != after.histogram.has_custom_buckets() {
                return Err(IncompatibleSchemas);
            }
            histogram_between(before, after, time, is_counter, reconciled)
                .map(|between| Some(Arc::new(between)))
        }
        (Some(before), None) => {
            let carried = Histogram { hint: CounterReset::Unknown, ..(*before.histogram).clone() };
            Ok(Some(Arc::new(carried)))
        }
        (None, _) => Ok(None),
    }
}
