//! Evaluates a tree over a grid of times, and bounds what that costs.

use std::sync::Arc;
use std::time::Instant;

use super::{Cancellation, EngineOptions, Grid, QueryError};
use crate::annotations::Annotations;
use crate::ast::{Expr, Subquery, Unary};
use crate::labels::Labels;
use crate::storage::Storage;
use crate::value::{HistogramPoint, Matrix, Point, Series, has_duplicates, joined, weight};

/// What an expression evaluates to over a grid.
#[derive(Debug, Clone)]
pub(super) enum Evaluated {
    /// One number for each step.
    Scalar(Vec<f64>),
    /// A text.
    String(Arc<str>),
    /// Series with samples at some of the steps; of range selectors, at any times.
    Matrix(Matrix),
}

pub(super) type Evaluation<T> = Result<T, QueryError>;

/// One evaluation.
pub(super) struct Evaluator<'e> {
    pub(super) storage: &'e dyn Storage,
    pub(super) options: &'e EngineOptions,
    /// Warnings and infos so far.
    pub(super) notes: Annotations,
    /// The most samples held at once.
    pub(super) peak: usize,
    /// The samples held now.
    held: usize,
    cancellation: &'e Cancellation,
    deadline: Option<Instant>,
    checks: u32,
    /// The function or aggregation round the selector that is evaluated.
    pub(super) function: &'static str,
}

impl<'e> Evaluator<'e> {
    pub(super) fn new(
        storage: &'e dyn Storage,
        options: &'e EngineOptions,
        cancellation: &'e Cancellation,
        deadline: Option<Instant>,
    ) -> Self {
        Self {
            storage,
            options,
            notes: Annotations::default(),
            peak: 0,
            held: 0,
            cancellation,
            deadline,
            checks: 0,
            function: "",
        }
    }

    /// Evaluates a whole query.
    pub(super) fn evaluate(&mut self, expr: &Expr, grid: Grid) -> Evaluation<Evaluated> {
        self.check_time()?;
        let evaluated = self.eval(expr, grid)?;
        self.check_time()?;
        let Evaluated::Matrix(mut matrix) = evaluated else { return Ok(evaluated) };
        if self.options.delayed_name_removal {
            for series in matrix.iter_mut().filter(|series| series.drop_name) {
                series.labels = series.labels.without_metric();
            }
            matrix = joined(matrix).ok_or_else(same_labels)?;
        }
        Ok(Evaluated::Matrix(matrix))
    }

    /// How far back a sample counts, in milliseconds.
    pub(super) fn lookback(&self) -> i64 {
        self.options.lookback.as_millis() as i64
    }

    /// Ends the evaluation if it was cancelled or its time is over.
    pub(super) fn check_time(&mut self) -> Evaluation<()> {
        if self.cancellation.is_cancelled() {
            return Err(QueryError::Canceled);
        }
        match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(QueryError::Timeout),
            _ => Ok(()),
        }
    }

    /// The same, for places that come by often.
    #[inline]
    pub(super) fn tick(&mut self) -> Evaluation<()> {
        self.checks = self.checks.wrapping_add(1);
        if self.checks.is_multiple_of(1024) { self.check_time() } else { Ok(()) }
    }

    /// Counts samples that are held.
    #[inline]
    pub(super) fn hold(&mut self, samples: usize) -> Evaluation<()> {
        self.held = self.held.saturating_add(samples);
        self.peak = self.peak.max(self.held);
        if self.held > self.options.max_samples { Err(QueryError::TooManySamples) } else { Ok(()) }
    }

    /// Counts samples that are no longer held.
    #[inline]
    pub(super) fn release(&mut self, samples: usize) {
        self.held = self.held.saturating_sub(samples);
    }

    /// Runs `evaluate`, after which nothing but its result is held.
    fn scoped(&mut self, evaluate: impl FnOnce(&mut Self) -> Evaluation<Evaluated>) -> Evaluation<Evaluated> {
        let before = self.held;
        let evaluated = evaluate(self)?;
        self.held = before;
        let samples = match &evaluated {
            Evaluated::Matrix(matrix) => weight(matrix),
            Evaluated::Scalar(values) => values.len(),
            Evaluated::String(_) => 0,
        };
        self.hold(samples)?;
        Ok(evaluated)
    }

    /// Evaluates an expression.
    pub(super) fn eval(&mut self, expr: &Expr, grid: Grid) -> Evaluation<Evaluated> {
        self.tick()?;
        match expr {
            Expr::Number(number) => Ok(Evaluated::Scalar(vec![number.value; self.steps(grid)?])),
            Expr::String(string) => Ok(Evaluated::String(string.value.clone())),
            Expr::Paren(paren) => self.eval(&paren.expr, grid),
            Expr::Vector(selector) => self.scoped(|evaluator| evaluator.instant_selector(selector, grid)),
            Expr::Matrix(matrix) => self.scoped(|evaluator| evaluator.range_selector(matrix, grid)),
            Expr::Subquery(subquery) => {
                self.scoped(|evaluator| evaluator.subquery(subquery, grid).map(Evaluated::Matrix))
            }
            Expr::Unary(unary) => self.scoped(|evaluator| evaluator.unary(unary, grid)),
            Expr::Binary(binary) => self.scoped(|evaluator| evaluator.binary(binary, expr.position(), grid)),
            Expr::Aggregate(aggregate) => self.scoped(|evaluator| evaluator.aggregate(aggregate, grid)),
            Expr::Call(call) => self.scoped(|evaluator| evaluator.call(call, grid)),
            Expr::StepInvariant(inner) => self.scoped(|evaluator| evaluator.step_invariant(inner, grid)),
        }
    }

    /// How many steps there are, if so many numbers may be held. What is held for each step is thereby bounded.
    pub(super) fn steps(&self, grid: Grid) -> Evaluation<usize> {
        let steps = grid.len();
        if steps > self.options.max_samples { Err(QueryError::TooManySamples) } else { Ok(steps) }
    }

    /// Evaluates an expression that is a vector or a range of samples.
    pub(super) fn matrix(&mut self, expr: &Expr, grid: Grid) -> Evaluation<Matrix> {
        match self.eval(expr, grid)? {
            Evaluated::Matrix(matrix) => Ok(matrix),
            Evaluated::Scalar(values) => Ok(vec![scalar_series(&values, grid)]),
            Evaluated::String(_) => {
                Err(QueryError::Evaluation("a text stands where a vector is expected".to_owned()))
            }
        }
    }

    /// Evaluates an expression that is a number at each step.
    pub(super) fn scalars(&mut self, expr: &Expr, grid: Grid) -> Evaluation<Vec<f64>> {
        match self.eval(expr, grid)? {
            Evaluated::Scalar(values) => Ok(values),
            _ => Err(QueryError::Evaluation("a vector or text stands where a scalar is expected".to_owned())),
        }
    }

    /// Makes sure that each set of labels is there once after an operation that may have changed labels.
    pub(super) fn settled(&self, matrix: Matrix, grid: Grid) -> Evaluation<Matrix> {
        match (grid.is_instant(), self.options.delayed_name_removal) {
            // The order of an instant query's result means something, and names may still be dropped.
            (true, true) => Ok(matrix),
            (true, false) if has_duplicates(&matrix) => Err(same_labels()),
            (true, false) => Ok(matrix),
            (false, _) => joined(matrix).ok_or_else(same_labels),
        }
    }

    /// Marks a series as another metric than it was.
    pub(super) fn rename(&self, series: &mut Series) {
        if !self.options.delayed_name_removal {
            series.labels = series.labels.without_metric();
        }
        series.drop_name = true;
    }

    fn unary(&mut self, unary: &Unary, grid: Grid) -> Evaluation<Evaluated> {
        let evaluated = self.eval(&unary.expr, grid)?;
        if !unary.negative {
            return Ok(evaluated);
        }
        match evaluated {
            Evaluated::Scalar(values) => {
                Ok(Evaluated::Scalar(values.into_iter().map(|value| -value).collect()))
            }
            Evaluated::String(_) => Ok(evaluated),
            Evaluated::Matrix(mut matrix) => {
                for series in &mut matrix {
                    self.rename(series);
                    series.floats.iter_mut().for_each(|point| point.value = -point.value);
                    for point in &mut series.histograms {
                        Arc::make_mut(&mut point.histogram).multiply(-1.0);
                    }
                }
                match self.options.delayed_name_removal {
                    true => Ok(Evaluated::Matrix(matrix)),
                    false => joined(matrix).map(Evaluated::Matrix).ok_or_else(same_labels),
                }
            }
        }
    }

    fn step_invariant(&mut self, inner: &Expr, grid: Grid) -> Evaluation<Evaluated> {
        let evaluated = self.eval(inner, Grid { start: grid.start, end: grid.start, step: grid.step })?;
        if matches!(inner, Expr::Matrix(_) | Expr::Subquery(_)) {
            return Ok(evaluated);
        }
        let steps = self.steps(grid)?;
        Ok(match evaluated {
            Evaluated::String(_) => evaluated,
            Evaluated::Scalar(values) => {
                Evaluated::Scalar(vec![values.first().copied().unwrap_or(f64::NAN); steps])
            }
            Evaluated::Matrix(mut matrix) => {
                for series in &mut matrix {
                    self.hold(series.weight().saturating_mul(steps))?;
                    if let Some(&Point { value, .. }) = series.floats.first() {
                        series.floats = grid.times().map(|time| Point { time, value }).collect();
                    } else if let Some(point) = series.histograms.first() {
                        let histogram = point.histogram.clone();
                        let point = |time| HistogramPoint { time, histogram: histogram.clone() };
                        series.histograms = grid.times().map(point).collect();
                    }
                }
                Evaluated::Matrix(matrix)
            }
        })
    }

    /// The times that a subquery evaluates its expression at: multiples of its step.
    fn subquery_grid(&self, subquery: &Subquery, grid: Grid) -> Grid {
        let step = match subquery.step.millis() {
            0 => (self.options.default_step.as_millis() as i64).max(1),
            step => step.max(1),
        };
        let (range, offset) = (subquery.range.millis(), subquery.shift.offset.millis());
        let last = grid.start + (grid.len() as i64 - 1) * grid.step;
        let (first, last) = match subquery.shift.fixed_at() {
            Some(time) => (time, time),
            None => (grid.start, last),
        };
        let after = first.saturating_sub(offset).saturating_sub(range);
        let mut start = step * (after / step);
        if start <= after {
            start += step;
        }
        Grid { start, end: last.saturating_sub(offset), step }
    }

    pub(super) fn subquery(&mut self, subquery: &Subquery, grid: Grid) -> Evaluation<Matrix> {
        let inner = self.subquery_grid(subquery, grid);
        if inner.end < inner.start {
            return Ok(Matrix::new());
        }
        self.steps(inner)?;
        self.matrix(&subquery.expr, inner)
    }
}

/// The error about two series with the same labels.
pub(super) fn same_labels() -> QueryError {
    QueryError::Evaluation("vector cannot contain metrics with the same labelset".to_owned())
}

/// A number at each step, as a series without labels.
pub(super) fn scalar_series(values: &[f64], grid: Grid) -> Series {
    let floats = grid.times().zip(values).map(|(time, &value)| Point { time, value }).collect();
    Series { floats, ..Series::new(Labels::default(), false) }
}
