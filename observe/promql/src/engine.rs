//! Evaluates queries over a storage, at one time or over a range of times.
//!
//! Expressions are evaluated series by series, each over all steps: samples are read once and in order, and a range
//! function sees a window that slides over them. What is held in memory is counted against a limit, and the evaluation
//! ends early when it is cancelled or its time is over.

mod aggregation;
mod binary;
mod calls;
mod element;
mod evaluator;
mod histogram_calls;
mod info;
mod label_calls;
mod over_time;
mod preparation;
mod quantile;
mod range_calls;
mod rate;
mod selection;
mod selector_rate;
mod statistics;
mod window;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::annotations::Annotations;
use crate::ast::{At, Expr, Shift, ValueType};
use crate::error::ParseError;
use crate::number::quoted;
use crate::parser::{ParserOptions, parse};
use crate::storage::{Storage, StorageError};
use crate::value::{Point, Value, VectorSample};
use evaluator::{Evaluated, Evaluator};

/// The phase that errors about time name.
const PHASE: &str = "expression evaluation";

/// Why a query has no result. The texts are upstream's.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// It does not parse.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// It took longer than it may.
    #[error("query timed out in {PHASE}")]
    Timeout,
    /// It was cancelled.
    #[error("query was canceled in {PHASE}")]
    Canceled,
    /// It would hold more samples than it may.
    #[error("query processing would load too many samples into memory in query execution")]
    TooManySamples,
    /// It would have more steps than it may.
    #[error(
        "exceeded maximum resolution of {0} points per timeseries. Try decreasing the query resolution (?step=XX)"
    )]
    TooManySteps(usize),
    /// The storage failed.
    #[error("expanding series: {0}")]
    Storage(StorageError),
    /// Its end lies before its start, or its step is not above zero.
    #[error("invalid range of times: the end must not lie before the start, and the step must be above zero")]
    Range,
    /// It has a type that a range query cannot have.
    #[error("invalid expression type {} for range query, must be Scalar or instant Vector", quoted(.0.documented()))]
    RangeType(ValueType),
    /// It uses `@`, which is switched off.
    #[error("@ modifier is disabled")]
    AtDisabled,
    /// It looks into the future, which is switched off.
    #[error("negative offset is disabled")]
    NegativeOffsetDisabled,
    /// Its operands or arguments cannot be evaluated.
    #[error("{0}")]
    Evaluation(String),
}

/// How an engine evaluates.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Parts of the language that are experimental.
    pub parser: ParserOptions,
    /// How long a sample stays valid without a newer one.
    pub lookback: std::time::Duration,
    /// How many samples a query may hold at once.
    pub max_samples: usize,
    /// How many steps a range query may have; zero for any number.
    pub max_steps: usize,
    /// How long a query may take.
    pub timeout: std::time::Duration,
    /// The step of subqueries that name none.
    pub default_step: std::time::Duration,
    /// Whether `@` is allowed.
    pub at_modifier: bool,
    /// Whether offsets may be negative.
    pub negative_offset: bool,
    /// Whether names are dropped only from the final result (`promql-delayed-name-removal`).
    pub delayed_name_removal: bool,
    /// Whether a metric's type is read from its labels (`type-and-unit-labels`).
    pub type_and_unit_labels: bool,
    /// Whether counters' start times are used (`use-start-timestamps`).
    pub start_timestamps: bool,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            parser: ParserOptions::default(),
            lookback: std::time::Duration::from_secs(300),
            max_samples: 50_000_000,
            max_steps: 0,
            timeout: std::time::Duration::from_secs(120),
            default_step: std::time::Duration::from_secs(60),
            at_modifier: true,
            negative_offset: true,
            delayed_name_removal: false,
            type_and_unit_labels: false,
            start_timestamps: false,
        }
    }
}

/// Ends an evaluation from elsewhere. Copies end the same evaluations.
#[derive(Debug, Clone, Default)]
pub struct Cancellation(Arc<AtomicBool>);

impl Cancellation {
    /// Ends the evaluations that were given it.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A result and what is to be known about it.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The result.
    pub value: Value,
    /// Warnings and infos.
    pub annotations: Annotations,
    /// The most samples that were held at once.
    pub peak_samples: usize,
}

/// Times in milliseconds, from `start` to `end`, `step` apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grid {
    pub(crate) start: i64,
    pub(crate) end: i64,
    pub(crate) step: i64,
}

impl Grid {
    pub(crate) fn at(time: i64) -> Self {
        Self { start: time, end: time, step: 1 }
    }

    pub(crate) fn len(self) -> usize {
        if self.end < self.start { 0 } else { ((self.end - self.start) / self.step) as usize + 1 }
    }

    pub(crate) fn times(self) -> impl Iterator<Item = i64> {
        (0..self.len() as i64).map(move |place| self.start + place * self.step)
    }

    /// Whether it is a single time, so that the order of a result means something.
    pub(crate) fn is_instant(self) -> bool {
        self.start == self.end
    }
}

/// Evaluates queries.
///
/// ```
/// use xebec_promql::engine::{Cancellation, Engine, EngineOptions};
/// use xebec_promql::labels::Labels;
/// use xebec_promql::memory::MemoryStorage;
/// use xebec_promql::value::Value;
///
/// let mut storage = MemoryStorage::new();
/// let labels = Labels::from_pairs([("__name__", "up"), ("job", "api")]);
/// storage.append_float(&labels, 1_000, 1.0);
/// let engine = Engine::new(EngineOptions::default());
/// let outcome = engine.instant(&storage, "sum(up) + 1", 2_000, &Cancellation::default()).unwrap();
/// let Value::Vector(_, samples) = outcome.value else { panic!() };
/// assert_eq!(samples[0].value, 2.0);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Engine {
    options: EngineOptions,
}

impl Engine {
    /// An engine with options.
    pub fn new(options: EngineOptions) -> Self {
        Self { options }
    }

    /// Its options.
    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// Evaluates a query at one time, in milliseconds since 1970.
    pub fn instant(
        &self,
        storage: &dyn Storage,
        query: &str,
        time: i64,
        cancellation: &Cancellation,
    ) -> Result<Outcome, QueryError> {
        let expr = self.parsed(query)?;
        let value_type = expr.value_type();
        let query_range = preparation::QueryRange { start: time, end: time, step: 0 };
        let expr = preparation::prepare(expr, query_range)?;
        let grid = Grid::at(time);
        let mut evaluator = self.evaluator(storage, cancellation);
        let evaluated = evaluator.evaluate(&expr, grid)?;
        let value = match (evaluated, value_type) {
            (Evaluated::String(text), _) => Value::String(text),
            (Evaluated::Scalar(values), _) => {
                Value::Scalar(Point { time, value: values.first().copied().unwrap_or(f64::NAN) })
            }
            (Evaluated::Matrix(mut matrix), ValueType::Matrix) => {
                matrix.sort_by(|one, two| one.labels.cmp(&two.labels));
                Value::Matrix(matrix)
            }
            (Evaluated::Matrix(matrix), _) => {
                let samples = matrix.into_iter().filter_map(|series| {
                    let histogram = series.histograms.into_iter().next().map(|point| point.histogram);
                    let value = series.floats.first().map(|point| point.value);
                    if histogram.is_none() && value.is_none() {
                        return None;
                    }
                    Some(VectorSample { labels: series.labels, value: value.unwrap_or_default(), histogram })
                });
                Value::Vector(time, samples.collect())
            }
        };
        Ok(Outcome { value, annotations: evaluator.notes, peak_samples: evaluator.peak })
    }

    /// Evaluates a query at every step of a range of times, in milliseconds since 1970.
    pub fn range(
        &self,
        storage: &dyn Storage,
        query: &str,
        (start, end, step): (i64, i64, i64),
        cancellation: &Cancellation,
    ) -> Result<Outcome, QueryError> {
        let expr = self.parsed(query)?;
        if !matches!(expr.value_type(), ValueType::Scalar | ValueType::Vector) {
            return Err(QueryError::RangeType(expr.value_type()));
        }
        if step <= 0 || end < start {
            return Err(QueryError::Range);
        }
        let grid = Grid { start, end, step };
        if self.options.max_steps > 0 && grid.len() > self.options.max_steps {
            return Err(QueryError::TooManySteps(self.options.max_steps));
        }
        let expr = preparation::prepare(expr, preparation::QueryRange { start, end, step })?;
        let mut evaluator = self.evaluator(storage, cancellation);
        evaluator.steps(grid)?;
        let mut matrix = match evaluator.evaluate(&expr, grid)? {
            Evaluated::Matrix(matrix) => matrix,
            Evaluated::Scalar(values) => vec![evaluator::scalar_series(&values, grid)],
            Evaluated::String(_) => return Err(QueryError::RangeType(ValueType::String)),
        };
        matrix.sort_by(|one, two| one.labels.cmp(&two.labels));
        let value = Value::Matrix(matrix);
        Ok(Outcome { value, annotations: evaluator.notes, peak_samples: evaluator.peak })
    }

    fn parsed(&self, query: &str) -> Result<Expr, QueryError> {
        let expr = parse(query, self.options.parser)?;
        if !self.options.at_modifier
            && any_shift(&expr, &|shift| matches!(shift.at, Some(At::Time(_) | At::Start | At::End)))
        {
            return Err(QueryError::AtDisabled);
        }
        if !self.options.negative_offset && any_shift(&expr, &|shift| shift.offset.is_negative()) {
            return Err(QueryError::NegativeOffsetDisabled);
        }
        Ok(expr)
    }

    fn evaluator<'e>(&'e self, storage: &'e dyn Storage, cancellation: &'e Cancellation) -> Evaluator<'e> {
        let deadline = Instant::now().checked_add(self.options.timeout);
        Evaluator::new(storage, &self.options, cancellation, deadline)
    }
}

fn any_shift(expr: &Expr, holds: &dyn Fn(&Shift) -> bool) -> bool {
    let own = match expr {
        Expr::Vector(selector) => holds(&selector.shift),
        Expr::Matrix(matrix) => holds(&matrix.selector.shift),
        Expr::Subquery(subquery) => holds(&subquery.shift),
        _ => false,
    };
    own || expr.children().into_iter().any(|child| any_shift(child, holds))
}
