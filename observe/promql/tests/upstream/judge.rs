//! Evaluates and compares with what is expected, in upstream's three ways: as it stands; of instant queries, with the
//! time fixed by `@` and evaluated at other times; and as the middle of a range.

use xebec_promql::ast::{At, Expr};
use xebec_promql::engine::{Cancellation, Engine, EngineOptions, Outcome};
use xebec_promql::histogram::Histogram;
use xebec_promql::labels::Labels;
use xebec_promql::memory::MemoryStorage;
use xebec_promql::number::is_stale_nan;
use xebec_promql::parser::{ParserOptions, parse};
use xebec_promql::series_description::DescribedSample;
use xebec_promql::value::{Series, Value, VectorSample};

use crate::loading::{self, Last};
use crate::script::{Command, Evaluation, Expected};

const TOLERANCE: f64 = 1e-6;
const MINUTE: i64 = 60_000;

pub(crate) struct Judge {
    storage: MemoryStorage,
    last: Last,
    engine: Engine,
    pub(crate) passed: usize,
    pub(crate) failures: Vec<String>,
}

impl Default for Judge {
    fn default() -> Self {
        let engine = Engine::new(EngineOptions {
            parser: ParserOptions::EXPERIMENTAL,
            max_samples: 10_000,
            delayed_name_removal: true,
            start_timestamps: true,
            ..EngineOptions::default()
        });
        let storage = MemoryStorage::new();
        Self { storage, last: Last::new(), engine, passed: 0, failures: Vec::new() }
    }
}

impl Judge {
    pub(crate) fn run(&mut self, command: &Command) {
        match command {
            Command::Clear => {
                self.storage.clear();
                self.last.clear();
            }
            Command::Load { step, with_custom_histograms, series } => {
                loading::load(&mut self.storage, &mut self.last, *step, series);
                if *with_custom_histograms {
                    loading::load_custom_histograms(&mut self.storage, &mut self.last, *step, series);
                }
            }
            Command::Eval(evaluation) => match self.judge(evaluation) {
                Ok(()) => self.passed += 1,
                Err(failure) => {
                    self.failures.push(format!("{}: {}\n    {failure}", evaluation.line, evaluation.query));
                }
            },
        }
    }

    fn judge(&self, evaluation: &Evaluation) -> Result<(), String> {
        if evaluation.is_range {
            let outcome = self.range(&evaluation.query, (evaluation.start, evaluation.end, evaluation.step));
            let Some(outcome) = checked(evaluation, outcome)? else { return Ok(()) };
            check_notes(evaluation, &evaluation.query, &outcome)?;
            return compare(evaluation, &outcome.value);
        }
        let time = evaluation.range_vector.map_or(evaluation.start, |(_, end, _)| end);
        self.instant(evaluation, &evaluation.query, evaluation.start)?;
        for (query, time) in fixed_in_time(&evaluation.query, time)? {
            self.instant(evaluation, &query, time)
                .map_err(|error| format!("as {query} at {time}: {error}"))?;
        }
        Ok(())
    }

    fn range(&self, query: &str, times: (i64, i64, i64)) -> Result<Outcome, String> {
        let outcome = self.engine.range(&self.storage, query, times, &Cancellation::default());
        outcome.map_err(|error| error.to_string())
    }

    fn instant(&self, evaluation: &Evaluation, query: &str, time: i64) -> Result<(), String> {
        let outcome = self.engine.instant(&self.storage, query, time, &Cancellation::default());
        let Some(outcome) = checked(evaluation, outcome.map_err(|error| error.to_string()))? else {
            return Ok(());
        };
        check_notes(evaluation, query, &outcome)?;
        compare(evaluation, &outcome.value)?;
        let depends_on_range =
            ["start()", "end()", "range()", "step()"].iter().any(|call| query.contains(call));
        if evaluation.range_vector.is_some() || evaluation.string.is_some() || depends_on_range {
            return Ok(());
        }
        let ranged = self.range(query, (time - MINUTE, time + MINUTE, MINUTE));
        let ranged = ranged.map_err(|error| format!("in range mode: {error}"))?;
        if evaluation.expectations.ordered {
            return Ok(());
        }
        let Value::Matrix(matrix) = ranged.value else {
            return Err("a range query has no matrix".to_owned());
        };
        if matrix.windows(2).any(|pair| pair[0].labels > pair[1].labels) {
            return Err("the matrix is not sorted".to_owned());
        }
        let middle = match outcome.value {
            Value::Scalar(mut point) => {
                let found =
                    matrix.first().and_then(|series| series.floats.iter().find(|point| point.time == time));
                point.value = found.ok_or("no number in range mode")?.value;
                Value::Scalar(point)
            }
            _ => Value::Vector(time, matrix.iter().filter_map(|series| sample_at(series, time)).collect()),
        };
        compare(evaluation, &middle).map_err(|error| format!("in range mode: {error}"))
    }
}

fn sample_at(series: &Series, time: i64) -> Option<VectorSample> {
    let labels = series.labels.clone();
    if let Some(point) = series.floats.iter().find(|point| point.time == time) {
        return Some(VectorSample { labels, value: point.value, histogram: None });
    }
    let point = series.histograms.iter().find(|point| point.time == time)?;
    Some(VectorSample { labels, value: 0.0, histogram: Some(point.histogram.clone()) })
}

/// The outcome, or none if it failed as expected.
fn checked(evaluation: &Evaluation, outcome: Result<Outcome, String>) -> Result<Option<Outcome>, String> {
    match (&evaluation.expectations.fail, outcome) {
        (Some(_), Ok(_)) => Err("expected an error but got none".to_owned()),
        (Some(expected), Err(error)) => match expected.iter().find(|expected| !expected.matches(&error)) {
            Some(expected) => Err(format!("expected the error {expected}, got {error}")),
            None => Ok(None),
        },
        (None, outcome) => outcome.map(Some),
    }
}

fn check_notes(evaluation: &Evaluation, query: &str, outcome: &Outcome) -> Result<(), String> {
    let (warnings, infos) = outcome.annotations.texts(query);
    let expectations = &evaluation.expectations;
    if expectations.any_warn && warnings.is_empty() {
        return Err("expected a warning but got none".to_owned());
    }
    if expectations.any_info && infos.is_empty() {
        return Err("expected an info but got none".to_owned());
    }
    if expectations.no_warn && !warnings.is_empty() {
        return Err(format!("expected no warning, got {warnings:?}"));
    }
    if expectations.no_info && !infos.is_empty() {
        return Err(format!("expected no info, got {infos:?}"));
    }
    check_texts(&expectations.warn, &warnings)?;
    check_texts(&expectations.info, &infos)
}

fn check_texts(expected: &[Expected], found: &[String]) -> Result<(), String> {
    if expected.is_empty() {
        return Ok(());
    }
    if let Some(missing) = expected.iter().find(|expected| !found.iter().any(|text| expected.matches(text))) {
        return Err(format!("expected the annotation {missing}, found {found:?}"));
    }
    match found.iter().find(|text| !expected.iter().any(|expected| expected.matches(text))) {
        Some(surplus) => Err(format!("unexpected annotation {surplus:?}")),
        None => Ok(()),
    }
}

/// The query with the time of all selectors fixed, and other times to evaluate it at; none if its result would change.
fn fixed_in_time(query: &str, time: i64) -> Result<Vec<(String, i64)>, String> {
    let mut expr = parse(query, ParserOptions::EXPERIMENTAL).map_err(|error| error.to_string())?;
    if !fix(&mut expr, time) {
        return Ok(Vec::new());
    }
    let query = expr.to_string();
    let times = match time {
        0 => vec![-1000, 0, 1000],
        time => vec![-10 * time, 0, time / 5, time, 10 * time],
    };
    Ok(times.into_iter().map(|time| (query.clone(), time)).collect())
}

/// Fixes the time of all selectors; false if the expression depends on the time of evaluation.
fn fix(expr: &mut Expr, time: i64) -> bool {
    let unset = |at: Option<At>| !matches!(at, Some(At::Time(_)));
    match expr {
        Expr::Vector(selector) if unset(selector.shift.at) => selector.shift.at = Some(At::Time(time)),
        Expr::Matrix(matrix) if unset(matrix.selector.shift.at) => {
            matrix.selector.shift.at = Some(At::Time(time))
        }
        Expr::Subquery(subquery) => {
            if unset(subquery.shift.at) {
                subquery.shift.at = Some(At::Time(time));
            }
            return true;
        }
        Expr::Call(call) => {
            const UNSAFE: [&str; 15] = [
                "days_in_month",
                "day_of_month",
                "day_of_week",
                "day_of_year",
                "end",
                "hour",
                "minute",
                "month",
                "year",
                "predict_linear",
                "range",
                "start",
                "step",
                "time",
                "timestamp",
            ];
            if UNSAFE.contains(&call.function.name) {
                return false;
            }
        }
        _ => {}
    }
    expr.children_mut().into_iter().all(|child| fix(child, time))
}

fn almost_equal(one: f64, two: f64) -> bool {
    if is_stale_nan(one) || is_stale_nan(two) {
        return is_stale_nan(one) && is_stale_nan(two);
    }
    if one == two || one.is_nan() && two.is_nan() {
        return true;
    }
    let (sum, difference) = (one.abs() + two.abs(), (one - two).abs());
    if one == 0.0 || two == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < TOLERANCE * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < TOLERANCE
}

fn same_histogram(expected: &Histogram, found: &Histogram, with_hint: bool) -> bool {
    let (mut expected, mut found) = (expected.clone(), found.clone());
    expected.compact();
    found.compact();
    let sides = [(&expected.positive, &found.positive), (&expected.negative, &found.negative)];
    expected.schema == found.schema
        && almost_equal(expected.count, found.count)
        && almost_equal(expected.sum, found.sum)
        && (!expected.has_custom_buckets() || expected.bounds == found.bounds)
        && expected.zero_threshold == found.zero_threshold
        && almost_equal(expected.zero_count, found.zero_count)
        && sides.into_iter().all(|(expected, found)| {
            expected.len() == found.len()
                && expected
                    .iter()
                    .zip(found.iter())
                    .all(|(one, two)| one.0 == two.0 && almost_equal(one.1, two.1))
        })
        && (!with_hint || expected.hint == found.hint)
}

fn compare(evaluation: &Evaluation, value: &Value) -> Result<(), String> {
    match value {
        Value::Scalar(point) => match evaluation.scalar {
            Some(expected) if almost_equal(expected, point.value) => Ok(()),
            expected => Err(format!("expected scalar {expected:?}, got {}", point.value)),
        },
        Value::String(text) => match evaluation.string.as_deref().unwrap_or_default() {
            expected if expected == &**text => Ok(()),
            expected => Err(format!("expected string {expected:?}, got {text:?}")),
        },
        Value::Vector(_, samples) => compare_vector(evaluation, samples),
        Value::Matrix(matrix) => compare_matrix(evaluation, matrix),
    }
}

/// What is expected of a series, by its labels; the last of several.
fn expected_of<'e>(evaluation: &'e Evaluation, labels: &Labels) -> Option<(usize, &'e [DescribedSample])> {
    let of_labels = |(_, (other, _)): &(usize, &(Labels, Vec<DescribedSample>))| other == labels;
    let found = evaluation.series.iter().enumerate().rfind(of_labels);
    found.map(|(place, (_, samples))| (place, samples.as_slice()))
}

fn compare_vector(evaluation: &Evaluation, samples: &[VectorSample]) -> Result<(), String> {
    if evaluation.scalar.is_some() {
        return Err(format!("expected a scalar, got a vector of {}", samples.len()));
    }
    for (place, sample) in samples.iter().enumerate() {
        let labels = &sample.labels;
        let shown = match &sample.histogram {
            Some(histogram) => histogram.description(),
            None => sample.value.to_string(),
        };
        let Some((expected_place, expected)) = expected_of(evaluation, labels) else {
            return Err(format!("unexpected metric {labels} with {shown}"));
        };
        if evaluation.expectations.ordered && expected_place != place {
            return Err(format!("expected {labels} at place {expected_place}, it is at {place}"));
        }
        let same = match (&expected[0], &sample.histogram) {
            (DescribedSample::Float(expected), None) => almost_equal(*expected, sample.value),
            (DescribedSample::Omitted, None) => almost_equal(0.0, sample.value),
            (DescribedSample::Histogram { histogram, hint_given }, Some(found)) => {
                same_histogram(histogram, found, *hint_given)
            }
            _ => false,
        };
        if !same {
            let expected = match &expected[0] {
                DescribedSample::Histogram { histogram, .. } => histogram.description(),
                other => format!("{other:?}"),
            };
            return Err(format!("expected {labels} to be\n    {expected}, got\n    {shown}"));
        }
    }
    let missing =
        evaluation.series.iter().find(|(labels, _)| !samples.iter().any(|sample| sample.labels == *labels));
    missing.map_or(Ok(()), |(labels, _)| Err(format!("expected metric {labels} not found")))
}

fn compare_matrix(evaluation: &Evaluation, matrix: &[Series]) -> Result<(), String> {
    if evaluation.scalar.is_some() || evaluation.expectations.ordered {
        return Err("expected a scalar or an order, got a matrix".to_owned());
    }
    let (start, _, step) =
        evaluation.range_vector.unwrap_or((evaluation.start, evaluation.end, evaluation.step));
    for series in matrix {
        let labels = &series.labels;
        let Some((_, expected)) = expected_of(evaluation, labels) else {
            return Err(format!(
                "unexpected metric {labels} with {:?} {}",
                series.floats,
                series.histograms.len()
            ));
        };
        let (mut floats, mut histograms) = (series.floats.iter(), series.histograms.iter());
        for (place, expected) in expected.iter().enumerate() {
            let time = start + place as i64 * step;
            let same = match expected {
                DescribedSample::Omitted => true,
                DescribedSample::Float(value) => {
                    floats.next().is_some_and(|point| point.time == time && almost_equal(*value, point.value))
                }
                DescribedSample::Histogram { histogram, hint_given } => {
                    histograms.next().is_some_and(|point| {
                        point.time == time && same_histogram(histogram, &point.histogram, *hint_given)
                    })
                }
            };
            if !same {
                let found: Vec<String> = series
                    .histograms
                    .iter()
                    .map(|point| format!("{}@{}", point.histogram.description(), point.time))
                    .collect();
                let expected = match expected {
                    DescribedSample::Histogram { histogram, .. } => histogram.description(),
                    other => format!("{other:?}"),
                };
                let numbers: Vec<String> =
                    series.floats.iter().map(|point| format!("{}@{}", point.value, point.time)).collect();
                return Err(format!(
                    "expected {labels} at {time} to be {expected}, got {numbers:?} {found:?}"
                ));
            }
        }
        if floats.next().is_some() || histograms.next().is_some() {
            return Err(format!("{labels} has more samples than expected: {:?}", series.floats));
        }
    }
    let missing =
        evaluation.series.iter().find(|(labels, _)| !matrix.iter().any(|series| series.labels == *labels));
    missing.map_or(Ok(()), |(labels, _)| Err(format!("expected metric {labels} not found")))
}
