//! Functions of histograms, native and classic. Classic ones are put together from their buckets: the series that differ
//! only in `le`.

use std::collections::HashMap;

use super::Grid;
use super::calls::{misplaced, text};
use super::evaluator::{Evaluated, Evaluation, Evaluator};
use super::quantile::{ClassicBucket, classic_fraction, classic_quantile, native_fraction, native_quantile};
use crate::annotations::{Forced, Metric, Note};
use crate::ast::Call;
use crate::histogram::Histogram;
use crate::kahan::KahanSum;
use crate::labels::{BUCKET, Label, Labels, LabelsBuilder, METRIC_NAME};
use crate::number::open_metrics;
use crate::position::Position;
use crate::value::{Matrix, Point, Series};

/// The series of one histogram.
#[derive(Default)]
struct Parts {
    /// Places of series and the bounds that they stand for.
    classic: Vec<(usize, f64)>,
    native: Vec<usize>,
}

/// What is asked of each histogram.
enum Question {
    /// Quantiles at each step, each with the label that tells it from the others.
    Quantiles(Vec<Quantile>),
    /// The lower and upper bound at each step.
    Fraction(Vec<f64>, Vec<f64>),
}

/// A quantile that is asked for.
struct Quantile {
    /// Which one at each step; none at the steps that ask for another one.
    at: Vec<Option<f64>>,
    /// The label that tells its answers from those of others.
    label: Option<Label>,
}

impl Evaluator<'_> {
    pub(super) fn histogram_call(
        &mut self,
        call: &Call,
        name: &'static str,
        grid: Grid,
    ) -> Evaluation<Evaluated> {
        let function: fn(&Histogram) -> f64 = match name {
            "histogram_count" => |histogram| histogram.count,
            "histogram_sum" => |histogram| histogram.sum,
            "histogram_avg" => |histogram| histogram.sum / histogram.count,
            "histogram_stdvar" => variance,
            "histogram_stddev" => |histogram| variance(histogram).sqrt(),
            "histogram_quantile" | "histogram_quantiles" | "histogram_fraction" => {
                return self.asked(call, name, grid);
            }
            _ => return Err(misplaced(name)),
        };
        let mut matrix = self.matrix(&call.args[0], grid)?;
        for series in &mut matrix {
            self.tick()?;
            if !self.options.delayed_name_removal {
                series.labels = series.labels.filtered(|name| name != METRIC_NAME);
            }
            series.drop_name = true;
            let points = series.histograms.drain(..);
            let numbers = points.map(|point| Point { time: point.time, value: function(&point.histogram) });
            series.floats = numbers.collect();
        }
        matrix.retain(|series| !series.is_empty());
        self.renamed(matrix, grid)
    }

    fn asked(&mut self, call: &Call, name: &str, grid: Grid) -> Evaluation<Evaluated> {
        let args = &call.args;
        let (question, place) = match name {
            "histogram_quantile" => {
                let at = self.scalars(&args[0], grid)?;
                self.check_quantiles(&at, args[0].position());
                let at = at.into_iter().map(Some).collect();
                (Question::Quantiles(vec![Quantile { at, label: None }]), 1)
            }
            "histogram_fraction" => {
                (Question::Fraction(self.scalars(&args[0], grid)?, self.scalars(&args[1], grid)?), 2)
            }
            _ => {
                let label = text(&args[1]).cloned().unwrap_or_default();
                let mut quantiles = Vec::with_capacity(args.len() - 2);
                for arg in &args[2..] {
                    let at = self.scalars(arg, grid)?;
                    self.check_quantiles(&at, arg.position());
                    // A quantile that changes from step to step is a series for each of its values.
                    let mut values: Vec<f64> = at.clone();
                    values.sort_by(f64::total_cmp);
                    values.dedup_by(|one, two| one.to_bits() == two.to_bits());
                    for value in values {
                        let at = at
                            .iter()
                            .map(|&at| Some(at).filter(|at| at.to_bits() == value.to_bits()))
                            .collect();
                        let label = Some(Label::new(label.clone(), open_metrics(value)));
                        quantiles.push(Quantile { at, label });
                    }
                }
                (Question::Quantiles(quantiles), 0)
            }
        };
        let matrix = self.matrix(&args[place], grid)?;
        let answered = self.answer(&question, &matrix, args[place].position(), grid)?;
        self.renamed(answered, grid)
    }

    fn check_quantiles(&mut self, at: &[f64], position: Position) {
        for &at in at.iter().filter(|at| !(0.0..=1.0).contains(*at)) {
            self.notes.add(Note::InvalidQuantile(at.into()), position);
        }
    }

    /// The metric's name in notes: not known where it has been dropped before.
    fn noted_name(&self, labels: &Labels) -> Metric {
        match self.options.delayed_name_removal {
            true => labels.metric_name(),
            false => Metric::default(),
        }
    }

    /// Puts the series of each histogram together.
    fn parts(&mut self, matrix: &[Series], position: Position) -> Vec<(Labels, Parts)> {
        let mut places: HashMap<Labels, usize> = HashMap::new();
        let mut all: Vec<(Labels, Parts)> = Vec::new();
        for (place, series) in matrix.iter().enumerate() {
            let mut parts_of = |labels: Labels, all: &mut Vec<(Labels, Parts)>| {
                *places.entry(labels).or_insert_with_key(|labels| {
                    all.push((labels.clone(), Parts::default()));
                    all.len() - 1
                })
            };
            if !series.floats.is_empty() {
                let label = series.labels.value(BUCKET).cloned().unwrap_or_default();
                match label.parse::<f64>() {
                    Ok(bound) => {
                        let parts = parts_of(series.labels.filtered(|name| name != BUCKET), &mut all);
                        all[parts].1.classic.push((place, bound));
                    }
                    Err(_) => {
                        let metric = self.noted_name(&series.labels);
                        self.notes.add(Note::BadBucketLabel { metric, label }, position);
                    }
                }
            }
            if !series.histograms.is_empty() {
                let parts = parts_of(series.labels.clone(), &mut all);
                all[parts].1.native.push(place);
            }
        }
        all
    }

    fn answer(
        &mut self,
        question: &Question,
        matrix: &[Series],
        position: Position,
        grid: Grid,
    ) -> Evaluation<Matrix> {
        let mut out = Matrix::new();
        for (labels, parts) in self.parts(matrix, position) {
            self.check_time()?;
            let metric = self.noted_name(&labels);
            let of_native = answers(self, question, &labels);
            let mut classic_answers = of_native.clone();
            let mut native_answers = vec![of_native; parts.native.len()];
            let mut walks = vec![0usize; parts.classic.len() + parts.native.len()];
            let mut buckets: Vec<ClassicBucket> = Vec::with_capacity(parts.classic.len());
            for (step, time) in grid.times().enumerate() {
                self.tick()?;
                buckets.clear();
                let (classic_walks, native_walks) = walks.split_at_mut(parts.classic.len());
                for (walk, &(place, bound)) in classic_walks.iter_mut().zip(&parts.classic) {
                    if let Some(point) = matrix[place].floats.get(*walk).filter(|point| point.time == time) {
                        buckets.push(ClassicBucket { bound, count: point.value });
                        *walk += 1;
                    }
                }
                for ((walk, &place), answers) in
                    native_walks.iter_mut().zip(&parts.native).zip(&mut native_answers)
                {
                    let point = matrix[place].histograms.get(*walk).filter(|point| point.time == time);
                    let Some(point) = point else { continue };
                    *walk += 1;
                    if !parts.classic.is_empty() && !buckets.is_empty() {
                        // Both kinds under one name: neither is used.
                        self.notes.add(Note::MixedClassicNativeHistograms(metric.clone()), position);
                        buckets.clear();
                        continue;
                    }
                    for (place, series) in answers.iter_mut().enumerate() {
                        let notes = &mut self.notes;
                        let value = match question {
                            Question::Quantiles(quantiles) => match quantiles[place].at[step] {
                                Some(at) => native_quantile(at, &point.histogram, &metric, position, notes),
                                None => continue,
                            },
                            Question::Fraction(lower, upper) => {
                                let (lower, upper) = (lower[step], upper[step]);
                                native_fraction(lower, upper, &point.histogram, &metric, position, notes)
                            }
                        };
                        series.floats.push(Point { time, value });
                    }
                }
                if buckets.is_empty() {
                    continue;
                }
                for (place, series) in classic_answers.iter_mut().enumerate() {
                    let value = match question {
                        Question::Quantiles(quantiles) => {
                            let Some(at) = quantiles[place].at[step] else { continue };
                            let (value, forced) = classic_quantile(at, &mut buckets);
                            if let Some(forced) = forced {
                                let forced = Forced {
                                    times: (time, time),
                                    buckets: forced.bounds,
                                    difference: forced.difference,
                                };
                                self.notes.add_forced(metric.clone(), position, forced);
                            }
                            value
                        }
                        Question::Fraction(lower, upper) => {
                            classic_fraction(lower[step], upper[step], &mut buckets)
                        }
                    };
                    series.floats.push(Point { time, value });
                }
            }
            let answered = native_answers.into_iter().flatten().chain(classic_answers);
            out.extend(answered.filter(|series| !series.is_empty()));
        }
        Ok(out)
    }
}

/// An empty series for each answer about a histogram.
fn answers(evaluator: &Evaluator<'_>, question: &Question, labels: &Labels) -> Vec<Series> {
    let mut series = Series::new(labels.clone(), false);
    evaluator.rename(&mut series);
    let Question::Quantiles(quantiles) = question else { return vec![series] };
    let labelled = quantiles.iter().map(|quantile| match &quantile.label {
        None => series.clone(),
        Some(Label { name, value }) => {
            let mut labels = LabelsBuilder::from(&series.labels);
            labels.set(name.clone(), value.clone());
            Series { labels: labels.build(), ..series.clone() }
        }
    });
    labelled.collect()
}

/// The variance of the observations, each taken to lie in the middle of its bucket.
fn variance(histogram: &Histogram) -> f64 {
    let mean = histogram.sum / histogram.count;
    let mut sum = KahanSum::default();
    for bucket in histogram.buckets().filter(|bucket| bucket.count != 0.0) {
        let middle = if histogram.has_custom_buckets() {
            (bucket.upper + bucket.lower) / 2.0
        } else if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
            0.0
        } else {
            (bucket.upper * bucket.lower).sqrt().copysign(bucket.upper)
        };
        let delta = middle - mean;
        sum.add(bucket.count * delta * delta);
    }
    sum.total() / histogram.count
}
