//! Functions over ranges of samples: a window slides over each series, and the function sees each window.

use super::calls::absence;
use super::evaluator::{Evaluation, Evaluator, same_labels};
use super::selection::Reference;
use super::window::{EvaluatedSamples, SampleWindow};
use super::{Grid, QueryError, over_time, rate};
use crate::annotations::{Annotations, Metric, Note};
use crate::ast::{Borders, Call, Expr};
use crate::histogram::{CounterReset, Histogram};
use crate::labels::{Labels, METRIC_TYPE};
use crate::position::Position;
use crate::storage::StoredSeries;
use crate::value::{HistogramPoint, Matrix, Point, Series, has_duplicates};
use std::sync::Arc;

/// What a function makes of a window.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Made {
    Float(f64),
    Histogram(Histogram),
    Shared(Arc<Histogram>),
}

/// A window and what a function needs to know about it.
pub(super) struct Window<'w> {
    pub(super) floats: &'w [Point],
    pub(super) histograms: &'w [HistogramPoint],
    /// The start times of the samples, where they are used.
    pub(super) starts: Option<(&'w [i64], &'w [i64])>,
    /// The step.
    pub(super) time: i64,
    /// The window's borders; its start does not belong to it.
    pub(super) start: i64,
    pub(super) end: i64,
    /// The length of the range in seconds.
    pub(super) seconds: f64,
    /// The other arguments at this step.
    pub(super) args: &'w [f64],
    pub(super) borders: Borders,
    labels: &'w Labels,
    position: Position,
    notes: &'w mut Annotations,
}

impl Window<'_> {
    /// Adds a note about the function's first argument.
    pub(super) fn note(&mut self, note: Note) {
        self.notes.add(note, self.position);
    }

    /// Adds a note that names the metric.
    pub(super) fn note_metric(&mut self, note: fn(Metric) -> Note) {
        self.note(note(self.labels.metric_name()));
    }

    /// Notes that histograms were ignored, if there are any.
    pub(super) fn note_ignored_histograms(&mut self) {
        if !self.histograms.is_empty() {
            self.note_metric(Note::HistogramIgnoredInMixedRange);
        }
    }
}

/// A function over windows. None where it has no result.
pub(super) type RangeFunction = fn(&mut Window<'_>) -> Result<Option<Made>, QueryError>;

/// Where the samples come from.
enum Source<'s> {
    Stored(Vec<Box<dyn StoredSeries + 's>>),
    Evaluated(Matrix),
}

impl<'e> Evaluator<'e> {
    pub(super) fn range_call(&mut self, call: &Call, grid: Grid) -> Evaluation<Matrix> {
        let name = call.function.name;
        let is_range = |arg: &Expr| matches!(arg, Expr::Matrix(_) | Expr::Subquery(_));
        let Some(place) = call.args.iter().position(is_range) else {
            return Err(super::calls::misplaced(name));
        };
        let function = rate::function(name).or_else(|| over_time::function(name));
        let function = function.ok_or_else(|| super::calls::misplaced(name))?;
        let mut position = call.args[0].position();
        let evaluated = match &call.args[place] {
            Expr::Subquery(subquery) => {
                if place == 0 {
                    position = Position::default();
                }
                Some(self.subquery(subquery, grid)?)
            }
            _ => None,
        };
        let mut args = Vec::with_capacity(call.args.len() - 1);
        for (other, arg) in call.args.iter().enumerate() {
            if other != place {
                args.push(self.scalars(arg, grid)?);
            }
        }
        let (source, reference, range, borders) = match &call.args[place] {
            Expr::Matrix(matrix) => {
                let selector = &matrix.selector;
                check_borders(name, selector.borders)?;
                let reference = Reference::new(&selector.shift);
                let (before, after) = margins(selector.borders, self.lookback());
                let range = matrix.range.millis();
                let selected =
                    self.select_series(selector, grid, (range.saturating_add(before), after), range)?;
                (Source::Stored(selected), reference, range, selector.borders)
            }
            Expr::Subquery(subquery) => {
                let mut matrix = evaluated.unwrap_or_default();
                forget_hints(&mut matrix);
                let reference = Reference::new(&subquery.shift);
                (Source::Evaluated(matrix), reference, subquery.range.millis(), Borders::Plain)
            }
            _ => return Err(super::calls::misplaced(name)),
        };
        let run = Run { function, name, grid, reference, range, borders, args: &args, position };
        let mut out = Matrix::new();
        match &source {
            Source::Stored(selected) => {
                for stored in selected {
                    let window = SampleWindow::new(stored.samples(), run.wants_starts(self));
                    self.run(&run, stored.labels(), false, window, &mut out)?;
                }
            }
            Source::Evaluated(matrix) => {
                for series in matrix {
                    let samples = Box::new(EvaluatedSamples::new(series));
                    let window = SampleWindow::new(samples, run.wants_starts(self));
                    self.run(&run, &series.labels, series.drop_name, window, &mut out)?;
                }
            }
        }
        if name == "absent_over_time" {
            return Ok(absence(&out, &call.args[0], grid, true));
        }
        if !self.options.delayed_name_removal && has_duplicates(&out) {
            return Err(same_labels());
        }
        Ok(out)
    }

    /// Slides the window over one series.
    fn run(
        &mut self,
        run: &Run<'_>,
        labels: &Labels,
        dropped: bool,
        mut window: SampleWindow<'_>,
        out: &mut Matrix,
    ) -> Evaluation<()> {
        self.check_time()?;
        let mut series = Series::new(labels.clone(), false);
        if dropped || !matches!(run.name, "last_over_time" | "first_over_time") {
            self.rename(&mut series);
        }
        let (before, after) = margins(run.borders, self.lookback());
        let mut args = vec![0.0; run.args.len()];
        let mut notes = Annotations::default();
        for (step, time) in run.grid.times().enumerate() {
            self.tick()?;
            let end = run.reference.at(time);
            let start = end.saturating_sub(run.range);
            if step == 0 || !run.reference.is_fixed() {
                window.slide(self, start.saturating_sub(before), end.saturating_add(after))?;
            }
            if window.floats().is_empty() && window.histograms().is_empty() {
                continue;
            }
            args.iter_mut().zip(run.args).for_each(|(arg, values)| *arg = values[step]);
            let made = (run.function)(&mut Window {
                floats: window.floats(),
                histograms: window.histograms(),
                starts: window.starts(),
                time,
                start,
                end,
                seconds: run.range as f64 / 1000.0,
                args: &args,
                borders: run.borders,
                labels,
                position: run.position,
                notes: &mut notes,
            })?;
            let histogram = match made {
                None => continue,
                Some(Made::Float(value)) => {
                    self.hold(1)?;
                    series.floats.push(Point { time, value });
                    continue;
                }
                Some(Made::Histogram(histogram)) => Arc::new(histogram),
                Some(Made::Shared(histogram)) => histogram,
            };
            self.hold(histogram.weight())?;
            series.histograms.push(HistogramPoint { time, histogram });
        }
        self.release(window.held());
        self.notes.merge(notes);
        if !series.floats.is_empty() && matches!(run.name, "rate" | "increase") {
            self.note_non_counter(labels, run.position);
        }
        if !series.is_empty() {
            out.push(series);
        }
        Ok(())
    }

    fn note_non_counter(&mut self, labels: &Labels, position: Position) {
        let metric = labels.metric_name();
        if metric.is_empty() {
            return;
        }
        if self.options.type_and_unit_labels {
            let label = labels.value(METRIC_TYPE).cloned().unwrap_or_default();
            if !matches!(&*label, "counter" | "histogram") {
                self.notes.add(Note::PossibleNonCounterLabel { metric, label }, position);
            }
        } else if !["_total", "_sum", "_count", "_bucket"].iter().any(|ending| metric.ends_with(ending)) {
            self.notes.add(Note::PossibleNonCounter(metric), position);
        }
    }
}

/// A function over the windows of many series.
struct Run<'r> {
    function: RangeFunction,
    name: &'static str,
    grid: Grid,
    reference: Reference,
    range: i64,
    borders: Borders,
    args: &'r [Vec<f64>],
    position: Position,
}

impl Run<'_> {
    fn wants_starts(&self, evaluator: &Evaluator<'_>) -> bool {
        evaluator.options.start_timestamps && matches!(self.name, "rate" | "irate" | "increase" | "resets")
    }
}

/// How far beyond the range samples are read.
fn margins(borders: Borders, lookback: i64) -> (i64, i64) {
    match borders {
        Borders::Plain => (0, 0),
        Borders::Anchored => (lookback, 0),
        Borders::Smoothed => (lookback, lookback),
    }
}

fn check_borders(name: &str, borders: Borders) -> Result<(), QueryError> {
    let (modifier, safe) = match borders {
        Borders::Plain => return Ok(()),
        Borders::Anchored => ("anchored", ["changes", "delta", "increase", "rate", "resets"].as_slice()),
        Borders::Smoothed => ("smoothed", ["delta", "increase", "rate"].as_slice()),
    };
    if safe.contains(&name) {
        return Ok(());
    }
    let safe = safe.join(", ");
    Err(QueryError::Evaluation(format!(
        "{modifier} modifier can only be used with: {safe} - not with {name}"
    )))
}

/// A subquery may leave samples out or repeat them, so that what was known about resets is known no more.
fn forget_hints(matrix: &mut Matrix) {
    for point in matrix.iter_mut().flat_map(|series| &mut series.histograms) {
        if matches!(point.histogram.hint, CounterReset::Reset | CounterReset::NotReset) {
            Arc::make_mut(&mut point.histogram).hint = CounterReset::Unknown;
        }
    }
}
