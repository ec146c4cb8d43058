//! Aggregations: the samples of a group of series at a step become one, or a few of them are picked.

mod accumulation;
mod picking;

use std::collections::HashMap;
use std::sync::Arc;

use super::calls::label_name;
use super::evaluator::{Evaluated, Evaluation, Evaluator};
use super::preparation::{go_max, go_min};
use super::{Grid, QueryError};
use crate::annotations::Note;
use crate::ast::{Aggregate, Aggregator};
use crate::kahan::{KahanMean, KahanSum};
use crate::labels::{Labels, LabelsBuilder, METRIC_NAME};
use crate::number::plain;
use crate::position::Position;
use crate::value::{Matrix, Point, Series};
use accumulation::{Extreme, Highest, Lowest, Presence, Spread};

/// The groups that series are aggregated in.
pub(super) struct Groups {
    /// The labels of each group.
    pub(super) labels: Vec<Labels>,
    /// The group of each series.
    pub(super) of_series: Vec<usize>,
}

/// The labels that a series' group is known by.
fn group_labels(labels: &Labels, aggregate: &Aggregate) -> Labels {
    let named = |name: &str| aggregate.grouping.iter().any(|label| **label == *name);
    match (aggregate.without, aggregate.grouping.is_empty()) {
        (true, _) => labels.filtered(|name| name != METRIC_NAME && !named(name)),
        (false, true) => Labels::default(),
        (false, false) => labels.filtered(named),
    }
}

fn groups(matrix: &[Series], aggregate: &Aggregate) -> Groups {
    let mut places: HashMap<Labels, usize> = HashMap::new();
    let mut groups = Groups { labels: Vec::new(), of_series: Vec::with_capacity(matrix.len()) };
    for series in matrix {
        let labels = group_labels(&series.labels, aggregate);
        let place = *places.entry(labels).or_insert_with_key(|labels| {
            groups.labels.push(labels.clone());
            groups.labels.len() - 1
        });
        groups.of_series.push(place);
    }
    groups
}

/// The smallest and the largest parameter of all steps, and whether any is no number.
fn extent(params: &[f64]) -> (f64, f64, bool) {
    let fold = |pick: fn(f64, f64) -> f64| params.iter().copied().reduce(pick).unwrap_or(0.0);
    (fold(go_min), fold(go_max), params.iter().any(|param| param.is_nan()))
}

impl Evaluator<'_> {
    pub(super) fn aggregate(&mut self, aggregate: &Aggregate, grid: Grid) -> Evaluation<Evaluated> {
        let outer = std::mem::replace(&mut self.function, aggregate.op.name());
        let evaluated = self.aggregated(aggregate, grid);
        self.function = outer;
        evaluated.map(Evaluated::Matrix)
    }

    fn aggregated(&mut self, aggregate: &Aggregate, grid: Grid) -> Evaluation<Matrix> {
        if aggregate.op == Aggregator::CountValues {
            return self.count_values(aggregate, grid);
        }
        let params = aggregate.param.as_ref().map(|param| self.scalars(param, grid)).transpose()?;
        let params = params.unwrap_or_default();
        let matrix = self.matrix(&aggregate.expr, grid)?;
        let position = aggregate.expr.position();
        let groups = groups(&matrix, aggregate);
        let input = Input { matrix: &matrix, groups: &groups, grid, position };
        match aggregate.op {
            Aggregator::Sum => self.accumulate::<KahanSum>(&input, Some(accumulation::sum)),
            Aggregator::Avg => self.accumulate::<KahanMean>(&input, Some(accumulation::mean)),
            Aggregator::Count => self.accumulate_all::<Presence>(&input, Presence::count),
            Aggregator::Group => self.accumulate_all::<Presence>(&input, |_| 1.0),
            Aggregator::Min => self.accumulate_floats::<Extreme<Lowest>>(&input, "min"),
            Aggregator::Max => self.accumulate_floats::<Extreme<Highest>>(&input, "max"),
            Aggregator::Stdvar => self.accumulate_floats::<Spread>(&input, "stdvar"),
            Aggregator::Stddev => {
                let mut matrix = self.accumulate_floats::<Spread>(&input, "stddev")?;
                let points = matrix.iter_mut().flat_map(|series| &mut series.floats);
                points.for_each(|point| point.value = point.value.sqrt());
                Ok(matrix)
            }
            Aggregator::Quantile => {
                self.check_quantile(&params, aggregate);
                self.quantile_of_groups(&input, &params)
            }
            Aggregator::Topk | Aggregator::Bottomk | Aggregator::Limitk => {
                let (least, most, any_nan) = extent(&params);
                if most < 1.0 || params.is_empty() {
                    return Ok(Matrix::new());
                }
                let refuse = |message: String| Err(QueryError::Evaluation(message));
                if any_nan {
                    return refuse("Parameter value is NaN".to_owned());
                }
                if least <= i64::MIN as f64 {
                    return refuse(format!(
                        "Scalar value {} underflows int64",
                        crate::number::general(least)
                    ));
                }
                if most >= i64::MAX as f64 {
                    return refuse(format!("Scalar value {} overflows int64", crate::number::general(most)));
                }
                self.pick_k(aggregate, &input, &params)
            }
            Aggregator::LimitRatio => {
                let (least, most, any_nan) = extent(&params);
                if least == 0.0 && most == 0.0 {
                    return Ok(Matrix::new());
                }
                if any_nan {
                    return Err(QueryError::Evaluation("Ratio value is NaN".to_owned()));
                }
                let position = aggregate.param.as_ref().map_or(position, |param| param.position());
                if most > 1.0 {
                    self.notes.add(Note::InvalidRatio { ratio: most.into(), capped: 1.0.into() }, position);
                }
                if least < -1.0 {
                    self.notes
                        .add(Note::InvalidRatio { ratio: least.into(), capped: (-1.0).into() }, position);
                }
                self.pick_ratio(&input, &params)
            }
            Aggregator::CountValues => Ok(Matrix::new()),
        }
    }

    fn check_quantile(&mut self, params: &[f64], aggregate: &Aggregate) {
        let (least, most, any_nan) = extent(params);
        let Some(param) = &aggregate.param else { return };
        let wrong = [(any_nan, f64::NAN), (most > 1.0, most), (least < 0.0, least)];
        for (_, value) in wrong.into_iter().filter(|(wrong, _)| *wrong) {
            self.notes.add(Note::InvalidQuantile(value.into()), param.position());
        }
    }

    /// Counts how often each value is there.
    fn count_values(&mut self, aggregate: &Aggregate, grid: Grid) -> Evaluation<Matrix> {
        let (label, sound) = label_name(aggregate.param.as_ref());
        if !sound {
            let name = aggregate.param.as_ref().map(ToString::to_string).unwrap_or_default();
            let message = format!("invalid label name {name}");
            return Err(QueryError::Evaluation(message));
        }
        let mut aggregate_with_value = aggregate.clone();
        if !aggregate.without {
            aggregate_with_value.grouping.push(label.clone());
        }
        let matrix = self.matrix(&aggregate.expr, grid)?;
        let mut places: HashMap<Labels, usize> = HashMap::new();
        let mut counts: Vec<(Labels, HashMap<i64, f64>)> = Vec::new();
        for series in &matrix {
            self.tick()?;
            // A series often has the same value at many steps.
            let mut last: Option<(Arc<str>, usize)> = None;
            let floats = series.floats.iter().map(|point| (point.time, plain(point.value)));
            let histograms = series.histograms.iter().map(|point| (point.time, point.histogram.to_string()));
            for (time, value) in floats.chain(histograms) {
                let place = match &last {
                    Some((known, place)) if **known == *value => *place,
                    _ => {
                        let value: Arc<str> = value.into();
                        let mut labels = LabelsBuilder::from(&series.labels);
                        labels.set(label.clone(), value.clone());
                        let labels = group_labels(&labels.build(), &aggregate_with_value);
                        let place = *places.entry(labels).or_insert_with_key(|labels| {
                            counts.push((labels.clone(), HashMap::new()));
                            counts.len() - 1
                        });
                        last = Some((value, place));
                        place
                    }
                };
                let count = counts[place].1.entry(time).or_insert(0.0);
                if *count == 0.0 {
                    self.hold(1)?;
                }
                *count += 1.0;
            }
        }
        let series = counts.into_iter().map(|(labels, counts)| {
            let mut floats: Vec<Point> =
                counts.into_iter().map(|(time, value)| Point { time, value }).collect();
            floats.sort_by_key(|point| point.time);
            Series { floats, ..Series::new(labels, false) }
        });
        self.settled(series.collect(), grid)
    }
}

/// What is aggregated.
pub(super) struct Input<'i> {
    matrix: &'i [Series],
    groups: &'i Groups,
    grid: Grid,
    /// Where the aggregated expression stands.
    position: Position,
}

impl Input<'_> {
    /// The number of a time's step.
    fn step(&self, time: i64) -> usize {
        ((time - self.grid.start) / self.grid.step) as usize
    }

    /// The first and last step at which each group has a sample.
    fn spans(&self) -> Vec<Option<(usize, usize)>> {
        let mut spans: Vec<Option<(usize, usize)>> = vec![None; self.groups.labels.len()];
        for (series, &group) in self.matrix.iter().zip(&self.groups.of_series) {
            let floats =
                [series.floats.first(), series.floats.last()].map(|point| point.map(|point| point.time));
            let histograms = [series.histograms.first(), series.histograms.last()];
            let histograms = histograms.map(|point| point.map(|point| point.time));
            for step in floats.into_iter().chain(histograms).flatten().map(|time| self.step(time)) {
                let span = spans[group].get_or_insert((step, step));
                *span = (span.0.min(step), span.1.max(step));
            }
        }
        spans
    }

    /// A series for each group, marked if the names of its members are dropped.
    fn empty_results(&self) -> Matrix {
        let mut results: Matrix =
            self.groups.labels.iter().map(|labels| Series::new(labels.clone(), false)).collect();
        for (series, &group) in self.matrix.iter().zip(&self.groups.of_series) {
            results[group].drop_name |= series.drop_name;
        }
        results
    }
}

/// What a group has accumulated at each step, from the first at which any of its series has a sample to the last.
struct Cells<A> {
    first: usize,
    cells: Vec<Option<A>>,
}
