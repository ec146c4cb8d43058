//! Aggregations that need no more of a step's samples than what they have accumulated.

use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

use super::{Cells, Input};
use crate::annotations::{HistogramOperation, Note};
use crate::engine::evaluator::{Evaluation, Evaluator};
use crate::engine::quantile::quantile_of;
use crate::histogram::{CounterReset, Histogram, HistogramMean, HistogramSum, IncompatibleSchemas};
use crate::kahan::{KahanMean, KahanSum};
use crate::value::{HistogramPoint, Matrix, Point};

/// Accumulates numbers.
pub(super) trait Accumulator: Clone {
    /// Begins with a number.
    fn begin(value: f64) -> Self;
    /// Adds a number.
    fn add(&mut self, value: f64);
    /// What the numbers come to.
    fn result(&self) -> f64;
}

impl Accumulator for KahanSum {
    fn begin(value: f64) -> Self {
        KahanSum::new(value)
    }

    fn add(&mut self, value: f64) {
        KahanSum::add(self, value);
    }

    fn result(&self) -> f64 {
        self.total()
    }
}

impl Accumulator for KahanMean {
    fn begin(value: f64) -> Self {
        let mut mean = KahanMean::default();
        KahanMean::add(&mut mean, value);
        mean
    }

    fn add(&mut self, value: f64) {
        KahanMean::add(self, value);
    }

    fn result(&self) -> f64 {
        self.mean()
    }
}

/// Counts samples.
#[derive(Debug, Clone, Copy)]
pub(super) struct Presence(f64);

impl Presence {
    pub(super) fn count(&self) -> f64 {
        self.0
    }
}

impl Accumulator for Presence {
    fn begin(_: f64) -> Self {
        Self(1.0)
    }

    fn add(&mut self, _: f64) {
        self.0 += 1.0;
    }

    fn result(&self) -> f64 {
        self.0
    }
}

/// Which of two numbers an extreme prefers.
pub(super) trait Preference: Clone {
    fn prefers(value: f64, known: f64) -> bool;
}

/// The lowest number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lowest;

impl Preference for Lowest {
    fn prefers(value: f64, known: f64) -> bool {
        value < known
    }
}

/// The highest number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Highest;

impl Preference for Highest {
    fn prefers(value: f64, known: f64) -> bool {
        value > known
    }
}

/// The lowest or highest number; what is no number counts only if there is nothing else.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extreme<P>(f64, PhantomData<P>);

impl<P: Preference> Accumulator for Extreme<P> {
    fn begin(value: f64) -> Self {
        Self(value, PhantomData)
    }

    fn add(&mut self, value: f64) {
        if P::prefers(value, self.0) || self.0.is_nan() {
            self.0 = value;
        }
    }

    fn result(&self) -> f64 {
        self.0
    }
}

/// The variance of numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spread {
    count: f64,
    mean: f64,
    squares: f64,
}

impl Accumulator for Spread {
    fn begin(value: f64) -> Self {
        Self { count: 1.0, mean: value, squares: if value.is_finite() { 0.0 } else { f64::NAN } }
    }

    fn add(&mut self, value: f64) {
        self.count += 1.0;
        let delta = value - self.mean;
        self.mean += delta / self.count;
        self.squares += delta * (value - self.mean);
    }

    fn result(&self) -> f64 {
        self.squares / self.count
    }
}

/// Accumulates histograms.
pub(super) enum HistogramAccumulator {
    Sum(HistogramSum),
    Mean(HistogramMean),
}

/// Begins a sum of histograms.
pub(super) fn sum(first: &Histogram) -> HistogramAccumulator {
    HistogramAccumulator::Sum(HistogramSum::new(first.clone()))
}

/// Begins a mean of histograms.
pub(super) fn mean(first: &Histogram) -> HistogramAccumulator {
    HistogramAccumulator::Mean(HistogramMean::new(first.clone()))
}

/// The histograms of a group at a step.
struct HistogramCell {
    /// None once they turned out not to mix.
    accumulator: Option<HistogramAccumulator>,
    mixed_with_floats: bool,
    reset_seen: bool,
    no_reset_seen: bool,
}

impl HistogramCell {
    fn see(&mut self, hint: CounterReset) {
        self.reset_seen |= hint == CounterReset::Reset;
        self.no_reset_seen |= hint == CounterReset::NotReset;
    }
}

type BeginHistograms = fn(&Histogram) -> HistogramAccumulator;
type HistogramCells = BTreeMap<(usize, usize), HistogramCell>;

impl<A: Accumulator> Cells<A> {
    #[inline]
    fn add(&mut self, step: usize, value: f64) {
        match &mut self.cells[step - self.first] {
            Some(cell) => cell.add(value),
            empty => *empty = Some(A::begin(value)),
        }
    }

    fn has(&self, step: usize) -> bool {
        step.checked_sub(self.first).and_then(|place| self.cells.get(place)).is_some_and(Option::is_some)
    }
}

impl Evaluator<'_> {
    fn empty_cells<A: Accumulator>(&mut self, input: &Input<'_>) -> Evaluation<Vec<Cells<A>>> {
        let mut cells = Vec::with_capacity(input.groups.labels.len());
        for span in input.spans() {
            let (first, last) = span.unwrap_or((1, 0));
            let count = (last + 1).saturating_sub(first);
            self.hold(count)?;
            cells.push(Cells { first, cells: vec![None; count] });
        }
        Ok(cells)
    }

    fn cells<A: Accumulator>(&mut self, input: &Input<'_>) -> Evaluation<Vec<Cells<A>>> {
        let mut cells = self.empty_cells::<A>(input)?;
        for (series, &group) in input.matrix.iter().zip(&input.groups.of_series) {
            self.check_time()?;
            let cells = &mut cells[group];
            // Most series have a sample at every step.
            match series.floats.len() == input.grid.len() {
                true => {
                    let numbers = series.floats.iter().enumerate();
                    numbers.for_each(|(step, point)| cells.add(step, point.value));
                }
                false => {
                    let numbers = series.floats.iter();
                    numbers.for_each(|point| cells.add(input.step(point.time), point.value));
                }
            }
        }
        Ok(cells)
    }

    fn finished<A: Accumulator>(
        &mut self,
        input: &Input<'_>,
        cells: Vec<Cells<A>>,
        result: impl Fn(&A) -> f64,
    ) -> Matrix {
        let mut results = input.empty_results();
        for (series, cells) in results.iter_mut().zip(&cells) {
            let cells = input.grid.times().skip(cells.first).zip(&cells.cells);
            series.floats = cells
                .filter_map(|(time, cell)| Some(Point { time, value: result(cell.as_ref()?) }))
                .collect();
        }
        results
    }

    /// Accumulates numbers; histograms are ignored, which is noted.
    pub(super) fn accumulate_floats<A: Accumulator>(
        &mut self,
        input: &Input<'_>,
        name: &'static str,
    ) -> Evaluation<Matrix> {
        if input.matrix.iter().any(|series| !series.histograms.is_empty()) {
            self.notes.add(Note::HistogramIgnoredInAggregation(name), input.position);
        }
        let cells = self.cells::<A>(input)?;
        let mut results = self.finished(input, cells, A::result);
        results.retain(|series| !series.is_empty());
        Ok(results)
    }

    /// Accumulates samples of both kinds, whatever their value.
    pub(super) fn accumulate_all<A: Accumulator>(
        &mut self,
        input: &Input<'_>,
        result: fn(&A) -> f64,
    ) -> Evaluation<Matrix> {
        let mut cells = self.cells::<A>(input)?;
        for (series, &group) in input.matrix.iter().zip(&input.groups.of_series) {
            for point in &series.histograms {
                cells[group].add(input.step(point.time), 0.0);
            }
        }
        let mut results = self.finished(input, cells, result);
        results.retain(|series| !series.is_empty());
        Ok(results)
    }

    /// Accumulates numbers and histograms; where a group has both at a step there is no result.
    pub(super) fn accumulate<A: Accumulator>(
        &mut self,
        input: &Input<'_>,
        begin: Option<BeginHistograms>,
    ) -> Evaluation<Matrix> {
        let has_histograms = input.matrix.iter().any(|series| !series.histograms.is_empty());
        let Some(begin) = begin.filter(|_| has_histograms) else {
            let cells = self.cells::<A>(input)?;
            let mut results = self.finished(input, cells, A::result);
            results.retain(|series| !series.is_empty());
            return Ok(results);
        };
        let mut floats = self.empty_cells::<A>(input)?;
        let mut histograms = HistogramCells::new();
        for (series, &group) in input.matrix.iter().zip(&input.groups.of_series) {
            self.tick()?;
            for point in &series.floats {
                let step = input.step(point.time);
                match histograms.get_mut(&(group, step)) {
                    // Once histograms do not mix, nothing else matters.
                    Some(HistogramCell { accumulator: None, .. }) => continue,
                    Some(cell) => cell.mixed_with_floats = true,
                    None => {}
                }
                floats[group].add(step, point.value);
            }
            for point in &series.histograms {
                let step = input.step(point.time);
                let with_floats = floats[group].has(step);
                self.add_histogram(&mut histograms, (group, step), with_floats, series, point, input, begin)?;
            }
        }
        let mut results = self.finished(input, floats, A::result);
        for ((group, step), cell) in histograms {
            let time = input.grid.start + step as i64 * input.grid.step;
            let series = &mut results[group];
            if cell.mixed_with_floats {
                self.notes.add(Note::MixedFloatsHistogramsAggregation, input.position);
                series.floats.retain(|point| point.time != time);
                continue;
            }
            let mut histogram = match cell.accumulator {
                None => continue,
                Some(HistogramAccumulator::Sum(sum)) => sum.total(),
                Some(HistogramAccumulator::Mean(mean)) => mean.mean(),
            };
            histogram.compact();
            if cell.reset_seen && cell.no_reset_seen {
                let note = Note::HistogramCounterResetCollision(HistogramOperation::Aggregation);
                self.notes.add(note, input.position);
            }
            series.histograms.push(HistogramPoint { time, histogram: Arc::new(histogram) });
        }
        results.retain(|series| !series.is_empty());
        Ok(results)
    }

    #[expect(clippy::too_many_arguments, reason = "the one step of a loop that is long enough")]
    fn add_histogram(
        &mut self,
        cells: &mut HistogramCells,
        place: (usize, usize),
        with_floats: bool,
        series: &crate::value::Series,
        point: &HistogramPoint,
        input: &Input<'_>,
        begin: BeginHistograms,
    ) -> Evaluation<()> {
        let hint = point.histogram.hint;
        let cell = match cells.get_mut(&place) {
            Some(cell) => cell,
            None => {
                self.hold(point.histogram.weight())?;
                let mut cell = HistogramCell {
                    accumulator: Some(begin(&point.histogram)),
                    mixed_with_floats: with_floats,
                    reset_seen: false,
                    no_reset_seen: false,
                };
                cell.see(hint);
                cells.insert(place, cell);
                return Ok(());
            }
        };
        if cell.mixed_with_floats && with_floats {
            return Ok(());
        }
        let added = match &mut cell.accumulator {
            None => return Ok(()),
            Some(HistogramAccumulator::Sum(sum)) => sum.add(&point.histogram),
            Some(HistogramAccumulator::Mean(mean)) => mean.add(&point.histogram),
        };
        cell.see(hint);
        match added {
            Err(IncompatibleSchemas) => {
                cell.accumulator = None;
                let note = Note::MixedExponentialCustomHistograms(series.labels.metric_name());
                self.notes.add(note, input.position);
            }
            Ok(combined) if combined.bounds_reconciled => {
                let note = Note::MismatchedCustomBuckets(HistogramOperation::Aggregation);
                self.notes.add(note, input.position);
            }
            Ok(_) => {}
        }
        Ok(())
    }

    /// A quantile of the numbers of each group at each step.
    pub(super) fn quantile_of_groups(&mut self, input: &Input<'_>, params: &[f64]) -> Evaluation<Matrix> {
        if input.matrix.iter().any(|series| !series.histograms.is_empty()) {
            self.notes.add(Note::HistogramIgnoredInAggregation("quantile"), input.position);
        }
        let mut values: Vec<Vec<f64>> = vec![Vec::new(); input.groups.labels.len()];
        let mut walked = vec![0; input.matrix.len()];
        let mut results = input.empty_results();
        for (step, time) in input.grid.times().enumerate() {
            self.tick()?;
            for ((series, walked), &group) in
                input.matrix.iter().zip(&mut walked).zip(&input.groups.of_series)
            {
                if let Some(point) = series.floats.get(*walked).filter(|point| point.time == time) {
                    values[group].push(point.value);
                    *walked += 1;
                }
            }
            for (values, series) in values.iter_mut().zip(&mut results) {
                if !values.is_empty() {
                    series.floats.push(Point { time, value: quantile_of(params[step], values) });
                    values.clear();
                }
            }
        }
        results.retain(|series| !series.is_empty());
        Ok(results)
    }
}
