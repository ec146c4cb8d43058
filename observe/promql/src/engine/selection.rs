//! Reads the series of selectors: one sample at each step, or all samples of a range.

use super::evaluator::{Evaluated, Evaluation, Evaluator};
use super::statistics::Statistics;
use super::window::SampleWindow;
use super::{Grid, QueryError};
use crate::ast::{Borders, MatrixSelector, Shift, VectorSelector};
use crate::matcher::Matcher;
use crate::number::is_stale_nan;
use crate::storage::{SampleIterator, SampleValue, SelectHints, StoredSample, StoredSeries};
use crate::value::{HistogramPoint, Matrix, Point, Series};

/// The times that a selector looks at, for the steps of a grid.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reference {
    fixed: Option<i64>,
    offset: i64,
}

impl Reference {
    pub(super) fn new(shift: &Shift) -> Self {
        Self { fixed: shift.fixed_at(), offset: shift.offset.millis() }
    }

    pub(super) fn fixed_or_offset(fixed: Option<i64>, offset: i64) -> Self {
        Self { fixed, offset }
    }

    /// The time looked at for a step.
    pub(super) fn at(self, step: i64) -> i64 {
        self.fixed.unwrap_or(step).saturating_sub(self.offset)
    }

    /// Whether all steps look at the same time.
    pub(super) fn is_fixed(self) -> bool {
        self.fixed.is_some()
    }
}

/// Whether a sample marks the end of its series.
pub(super) fn is_stale(value: &SampleValue) -> bool {
    match value {
        SampleValue::Float(value) => is_stale_nan(*value),
        SampleValue::Histogram(histogram) => is_stale_nan(histogram.sum),
    }
}

/// The newest sample at or before increasing times.
pub(super) struct Cursor<'s> {
    samples: Box<dyn SampleIterator + 's>,
    lookback: i64,
    current: Option<StoredSample>,
    next: Option<StoredSample>,
    started: bool,
}

impl<'s> Cursor<'s> {
    pub(super) fn new(samples: Box<dyn SampleIterator + 's>, lookback: i64) -> Self {
        Self { samples, lookback, current: None, next: None, started: false }
    }

    /// The sample that counts at `time`, if there is one.
    pub(super) fn at(&mut self, time: i64) -> Result<Option<&StoredSample>, QueryError> {
        let oldest = time.saturating_sub(self.lookback).saturating_add(1);
        let behind = self.next.as_ref().is_none_or(|next| next.time < oldest);
        if !self.started || (behind && self.next.is_some()) {
            self.started = true;
            self.next = self.samples.seek(oldest).map_err(QueryError::Storage)?;
        }
        while self.next.as_ref().is_some_and(|next| next.time <= time) {
            self.current = self.next.take();
            self.next = self.samples.next().map_err(QueryError::Storage)?;
        }
        let counts = |sample: &&StoredSample| sample.time >= oldest && !is_stale(&sample.value);
        Ok(self.current.as_ref().filter(counts))
    }
}

impl<'e> Evaluator<'e> {
    /// The series that matchers select, with samples between the times that `reference` looks at, `before` and `after`.
    pub(super) fn select(
        &mut self,
        matchers: &[Matcher],
        grid: Grid,
        reference: Reference,
        (before, after): (i64, i64),
        range: i64,
    ) -> Evaluation<Vec<Box<dyn StoredSeries + 'e>>> {
        self.check_time()?;
        let hints = SelectHints {
            start: reference.at(grid.start).saturating_sub(before).saturating_add(1),
            end: reference.at(grid.end).saturating_add(after),
            step: grid.step,
            range,
            function: self.function,
        };
        let selection = self.storage.select(&hints, matchers).map_err(QueryError::Storage)?;
        for warning in &selection.warnings {
            self.notes.add_storage_warning(warning);
        }
        Ok(selection.series)
    }

    /// The same for a selector, whose histograms may be reduced to their statistics.
    pub(super) fn select_series(
        &mut self,
        selector: &VectorSelector,
        grid: Grid,
        margins: (i64, i64),
        range: i64,
    ) -> Evaluation<Vec<Box<dyn StoredSeries + 'e>>> {
        let reference = Reference::new(&selector.shift);
        let selected = self.select(&selector.matchers, grid, reference, margins, range)?;
        Ok(match selector.statistics_only {
            true => selected
                .into_iter()
                .map(|series| Box::new(Statistics(series)) as Box<dyn StoredSeries>)
                .collect(),
            false => selected,
        })
    }

    pub(super) fn instant_selector(
        &mut self,
        selector: &VectorSelector,
        grid: Grid,
    ) -> Evaluation<Evaluated> {
        if selector.borders == Borders::Smoothed {
            return self.smoothed_selector(selector, grid);
        }
        let reference = Reference::new(&selector.shift);
        let selected = self.select_series(selector, grid, (self.lookback(), 0), 0)?;
        self.instant_series(&selected, grid, reference, false).map(Evaluated::Matrix)
    }

    /// One sample of each series at each step; its value, or with `times` its time in milliseconds.
    pub(super) fn instant_series(
        &mut self,
        selected: &[Box<dyn StoredSeries + 'e>],
        grid: Grid,
        reference: Reference,
        times: bool,
    ) -> Evaluation<Matrix> {
        let mut matrix = Matrix::with_capacity(selected.len());
        for stored in selected {
            self.tick()?;
            let mut cursor = Cursor::new(stored.samples(), self.lookback());
            let mut series = Series::new(stored.labels().clone(), false);
            for step in grid.times() {
                self.tick()?;
                let Some(sample) = cursor.at(reference.at(step))? else { continue };
                match &sample.value {
                    SampleValue::Float(value) => {
                        let value = if times { sample.time as f64 } else { *value };
                        self.hold(1)?;
                        series.floats.push(Point { time: step, value });
                    }
                    SampleValue::Histogram(_) if times => {
                        let message =
                            format!("this should be an info metric, with float samples: {}", stored.labels());
                        return Err(QueryError::Evaluation(message));
                    }
                    SampleValue::Histogram(histogram) => {
                        self.hold(histogram.weight())?;
                        series.histograms.push(HistogramPoint { time: step, histogram: histogram.clone() });
                    }
                }
            }
            if !series.is_empty() {
                matrix.push(series);
            }
        }
        Ok(matrix)
    }

    /// A range selector that is a whole query.
    pub(super) fn range_selector(&mut self, matrix: &MatrixSelector, grid: Grid) -> Evaluation<Evaluated> {
        let selector = &matrix.selector;
        let reference = Reference::new(&selector.shift);
        let (range, lookback) = (matrix.range.millis(), self.lookback());
        let (before, after) = match selector.borders {
            Borders::Plain => (0, 0),
            Borders::Anchored => (lookback, 0),
            Borders::Smoothed => (lookback, lookback),
        };
        let selected = self.select_series(selector, grid, (range.saturating_add(before), after), range)?;
        let end = reference.at(grid.start);
        let start = end.saturating_sub(range);
        let mut out = Matrix::new();
        for stored in &selected {
            self.check_time()?;
            let mut window = SampleWindow::new(stored.samples(), false);
            window.slide(self, start.saturating_sub(before), end.saturating_add(after))?;
            let (floats, histograms) = (window.floats(), window.histograms());
            if selector.borders != Borders::Plain && !histograms.is_empty() {
                let name = if selector.borders == Borders::Anchored { "anchored" } else { "smoothed" };
                let message = format!("{name} modifier is not supported with histograms");
                return Err(QueryError::Evaluation(message));
            }
            let mut series = Series::new(stored.labels().clone(), false);
            series.floats = match selector.borders {
                Borders::Plain => floats.to_vec(),
                borders => super::selector_rate::extended(floats, (start, end), borders == Borders::Smoothed),
            };
            series.histograms = histograms.to_vec();
            if !series.is_empty() {
                out.push(series);
            }
        }
        Ok(Evaluated::Matrix(out))
    }
}
