//! Aggregations that pick some of the samples of a group.

use std::cmp::Ordering;
use std::sync::Arc;

use super::Input;
use crate::annotations::Note;
use crate::ast::{Aggregate, Aggregator};
use crate::engine::evaluator::{Evaluation, Evaluator};
use crate::value::{HistogramPoint, Matrix, Point, Series};

/// Where the samples of a series have been picked up to.
#[derive(Debug, Clone, Copy, Default)]
struct Walk {
    float: usize,
    histogram: usize,
}

/// What was found at a step: a number or a histogram of a series.
#[derive(Debug, Clone, Copy)]
enum Found<'m> {
    Float(f64),
    Histogram(&'m HistogramPoint),
}

fn found<'m>(series: &'m Series, walk: &mut Walk, time: i64) -> Option<Found<'m>> {
    if let Some(point) = series.floats.get(walk.float).filter(|point| point.time == time) {
        walk.float += 1;
        return Some(Found::Float(point.value));
    }
    let point = series.histograms.get(walk.histogram).filter(|point| point.time == time)?;
    walk.histogram += 1;
    Some(Found::Histogram(point))
}

fn push(results: &mut [Series], place: usize, time: i64, found: Found<'_>) {
    match found {
        Found::Float(value) => results[place].floats.push(Point { time, value }),
        Found::Histogram(point) => {
            let histogram = Arc::clone(&point.histogram);
            results[place].histograms.push(HistogramPoint { time, histogram });
        }
    }
}

/// The order of `topk` or `bottomk`: what is no number comes last, and of equals the first one wins.
fn by_value(largest: bool) -> impl Fn(&(usize, f64), &(usize, f64)) -> Ordering {
    move |(place, value), (other_place, other)| {
        let order = match (value.is_nan(), other.is_nan()) {
            (false, false) if largest => other.total_cmp(value),
            (false, false) => value.total_cmp(other),
            (value, other) => value.cmp(&other),
        };
        order.then(place.cmp(other_place))
    }
}

impl Evaluator<'_> {
    /// The largest, the smallest or the first few samples of each group.
    pub(super) fn pick_k(
        &mut self,
        aggregate: &Aggregate,
        input: &Input<'_>,
        params: &[f64],
    ) -> Evaluation<Matrix> {
        let by_order = aggregate.op != Aggregator::Limitk;
        if by_order && input.matrix.iter().any(|series| !series.histograms.is_empty()) {
            let note = Note::HistogramIgnoredInAggregation(aggregate.op.name());
            self.notes.add(note, aggregate.position);
        }
        let mut results = empty_copies(input.matrix);
        let mut order: Vec<usize> = Vec::new();
        let mut walks = vec![Walk::default(); input.matrix.len()];
        let mut groups: Vec<Vec<(usize, f64)>> = vec![Vec::new(); input.groups.labels.len()];
        let mut taken = vec![0usize; input.groups.labels.len()];
        for (step, time) in input.grid.times().enumerate() {
            self.tick()?;
            let count = params[step].min(input.matrix.len() as f64);
            let count = if count < 1.0 { 0 } else { count as usize };
            taken.fill(0);
            for (place, series) in input.matrix.iter().enumerate() {
                let Some(found) = found(series, &mut walks[place], time) else { continue };
                let group = input.groups.of_series[place];
                match found {
                    Found::Float(value) if by_order => groups[group].push((place, value)),
                    Found::Histogram(_) if by_order => {}
                    found if taken[group] < count => {
                        taken[group] += 1;
                        self.hold(1)?;
                        push(&mut results, place, time, found);
                    }
                    _ => {}
                }
            }
            if by_order {
                let order_of = by_value(aggregate.op == Aggregator::Topk);
                for group in &mut groups {
                    if count > 0 && count < group.len() {
                        group.select_nth_unstable_by(count - 1, &order_of);
                    }
                    group.truncate(count);
                    group.sort_unstable_by(&order_of);
                    for (place, value) in group.drain(..) {
                        self.hold(1)?;
                        results[place].floats.push(Point { time, value });
                        order.push(place);
                    }
                }
            }
            if !input.grid.is_instant() {
                order.clear();
            }
        }
        // At a single time the order of the result means something.
        if by_order && input.grid.is_instant() {
            let mut results: Vec<Option<Series>> = results.into_iter().map(Some).collect();
            return Ok(order.into_iter().filter_map(|place| results[place].take()).collect());
        }
        results.retain(|series| !series.is_empty());
        Ok(results)
    }

    /// A share of the series of each group, picked by the hash of their labels.
    pub(super) fn pick_ratio(&mut self, input: &Input<'_>, params: &[f64]) -> Evaluation<Matrix> {
        let mut results = empty_copies(input.matrix);
        for (place, series) in input.matrix.iter().enumerate() {
            self.tick()?;
            let offset = series.labels.sampling_hash() as f64 / u64::MAX as f64;
            let picked = |time: i64| match params[input.step(time)].clamp(-1.0, 1.0) {
                ratio if ratio >= 0.0 => offset < ratio,
                ratio => offset >= 1.0 + ratio,
            };
            results[place].floats =
                series.floats.iter().copied().filter(|point| picked(point.time)).collect();
            results[place].histograms =
                series.histograms.iter().filter(|point| picked(point.time)).cloned().collect();
        }
        results.retain(|series| !series.is_empty());
        let samples = crate::value::weight(&results);
        self.hold(samples)?;
        Ok(results)
    }
}

fn empty_copies(matrix: &[Series]) -> Matrix {
    matrix.iter().map(|series| Series::new(series.labels.clone(), series.drop_name)).collect()
}
