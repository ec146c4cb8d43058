//! A window that slides over the samples of a series. Every sample is read once, however many windows it is in.

use super::QueryError;
use super::evaluator::{Evaluation, Evaluator};
use super::selection::is_stale;
use crate::storage::{SampleIterator, SampleValue, StorageError, StoredSample};
use crate::value::{HistogramPoint, Point, Series};

/// Things in order of time, of which the first are dropped as the window moves on.
#[derive(Debug)]
struct Sliding<T> {
    items: Vec<T>,
    from: usize,
}

impl<T> Sliding<T> {
    fn new() -> Self {
        Self { items: Vec::new(), from: 0 }
    }

    fn current(&self) -> &[T] {
        &self.items[self.from..]
    }

    fn drop_first(&mut self, count: usize) {
        self.from += count;
        // Moving the rest costs no more than dropping has saved.
        if self.from > self.items.len() - self.from {
            self.items.drain(..self.from);
            self.from = 0;
        }
    }
}

/// The samples of a series that lie in a window.
pub(super) struct SampleWindow<'s> {
    samples: Box<dyn SampleIterator + 's>,
    next: Option<StoredSample>,
    ended: bool,
    floats: Sliding<Point>,
    histograms: Sliding<HistogramPoint>,
    /// The start times of the samples, if they are wanted.
    starts: Option<(Sliding<i64>, Sliding<i64>)>,
    held: usize,
}

impl<'s> SampleWindow<'s> {
    pub(super) fn new(samples: Box<dyn SampleIterator + 's>, with_starts: bool) -> Self {
        Self {
            samples,
            next: None,
            ended: false,
            floats: Sliding::new(),
            histograms: Sliding::new(),
            starts: with_starts.then(|| (Sliding::new(), Sliding::new())),
            held: 0,
        }
    }

    pub(super) fn floats(&self) -> &[Point] {
        self.floats.current()
    }

    pub(super) fn histograms(&self) -> &[HistogramPoint] {
        self.histograms.current()
    }

    /// The start times of numbers and of histograms.
    pub(super) fn starts(&self) -> Option<(&[i64], &[i64])> {
        self.starts.as_ref().map(|(floats, histograms)| (floats.current(), histograms.current()))
    }

    /// How many samples it counts as under the samples limit.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Moves on to the samples after `start` and up to `end`; neither may go back.
    pub(super) fn slide(&mut self, evaluator: &mut Evaluator<'_>, start: i64, end: i64) -> Evaluation<()> {
        let floats = self.floats.current().iter().take_while(|point| point.time <= start).count();
        let old = self.histograms.current().iter().take_while(|point| point.time <= start);
        let (histograms, weight) =
            old.fold((0, 0), |(count, weight), point| (count + 1, weight + point.histogram.weight()));
        self.floats.drop_first(floats);
        self.histograms.drop_first(histograms);
        if let Some((float_starts, histogram_starts)) = &mut self.starts {
            float_starts.drop_first(floats);
            histogram_starts.drop_first(histograms);
        }
        evaluator.release(floats + weight);
        self.held -= floats + weight;
        if start >= end {
            return Ok(());
        }
        self.read(evaluator, start, end)
    }

    fn read(&mut self, evaluator: &mut Evaluator<'_>, start: i64, end: i64) -> Evaluation<()> {
        if !self.ended && self.next.as_ref().is_none_or(|next| next.time <= start) {
            self.next = self.samples.seek(start.saturating_add(1)).map_err(QueryError::Storage)?;
            self.ended = self.next.is_none();
        }
        while let Some(sample) = self.next.take_if(|next| next.time <= end) {
            if !is_stale(&sample.value) {
                let time = sample.time;
                let weight = match sample.value {
                    SampleValue::Float(value) => {
                        self.floats.items.push(Point { time, value });
                        if let Some((starts, _)) = &mut self.starts {
                            starts.items.push(sample.start_time);
                        }
                        1
                    }
                    SampleValue::Histogram(histogram) => {
                        let weight = histogram.weight();
                        self.histograms.items.push(HistogramPoint { time, histogram });
                        if let Some((_, starts)) = &mut self.starts {
                            starts.items.push(sample.start_time);
                        }
                        weight
                    }
                };
                self.held += weight;
                evaluator.hold(weight)?;
            }
            self.next = self.samples.next().map_err(QueryError::Storage)?;
            self.ended = self.next.is_none();
        }
        Ok(())
    }
}

/// The samples of a series that was evaluated, as if it was stored.
pub(super) struct EvaluatedSamples<'s> {
    series: &'s Series,
    float: usize,
    histogram: usize,
}

impl<'s> EvaluatedSamples<'s> {
    pub(super) fn new(series: &'s Series) -> Self {
        Self { series, float: 0, histogram: 0 }
    }
}

impl SampleIterator for EvaluatedSamples<'_> {
    fn next(&mut self) -> Result<Option<StoredSample>, StorageError> {
        let float = self.series.floats.get(self.float);
        let histogram = self.series.histograms.get(self.histogram);
        let stored = |time, value| Ok(Some(StoredSample { time, start_time: 0, value }));
        match (float, histogram) {
            (Some(float), Some(histogram)) if float.time > histogram.time => {
                self.histogram += 1;
                stored(histogram.time, SampleValue::Histogram(histogram.histogram.clone()))
            }
            (Some(float), _) => {
                self.float += 1;
                stored(float.time, SampleValue::Float(float.value))
            }
            (None, Some(histogram)) => {
                self.histogram += 1;
                stored(histogram.time, SampleValue::Histogram(histogram.histogram.clone()))
            }
            (None, None) => Ok(None),
        }
    }

    fn seek(&mut self, time: i64) -> Result<Option<StoredSample>, StorageError> {
        let floats = self.series.floats.get(self.float..).unwrap_or_default();
        self.float += floats.partition_point(|point| point.time < time);
        let histograms = self.series.histograms.get(self.histogram..).unwrap_or_default();
        self.histogram += histograms.partition_point(|point| point.time < time);
        self.next()
    }
}
