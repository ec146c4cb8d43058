//! What the head holds, in figures.

use std::{collections::BTreeMap, sync::atomic::Ordering};

use super::Db;
use crate::{Interval, METRIC_NAME};

/// Names with a number each, the largest first.
pub type Cardinality = Vec<(String, u64)>;

/// What Prometheus tells at `/api/v1/status/tsdb`, and what a process shows of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Series in the head.
    pub series: u64,
    /// Chunks in the head.
    pub chunks: u64,
    /// Different label pairs.
    pub label_pairs: u64,
    /// The times of the head's samples, if it has any.
    pub span: Option<Interval>,
    /// Series by metric name.
    pub series_by_metric: Cardinality,
    /// Values by label name.
    pub values_by_label: Cardinality,
    /// Bytes of values by label name, once for each series.
    pub bytes_by_label: Cardinality,
    /// Series by label pair, `name=value`.
    pub series_by_pair: Cardinality,
    /// Series made since the start.
    pub created: u64,
    /// Samples taken since the start.
    pub appended: u64,
    /// Samples refused since the start at the time of their commit.
    pub refused: u64,
    /// Exemplars held.
    pub exemplars: u64,
    /// Bytes that the head's samples take in memory, without its index.
    pub sample_bytes: u64,
    /// Blocks.
    pub blocks: u64,
    /// Bytes of blocks on disk.
    pub block_bytes: u64,
}

impl Db {
    /// The figures, with at most so many entries in each list.
    pub fn statistics(&self, most: usize) -> Statistics {
        let head = &self.shared.head;
        let index = head.index();
        let (mut metrics, mut pairs) = (Vec::new(), Vec::new());
        let mut labels: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
        let mut label_pairs = 0;
        for (name, value, series) in index.pairs() {
            let series = series as u64;
            label_pairs += 1;
            if name == METRIC_NAME {
                metrics.push((value.to_owned(), series));
            }
            pairs.push((format!("{name}={value}"), series));
            let (values, bytes) = labels.entry(name).or_default();
            *values += 1;
            *bytes += value.len() as u64 * series;
        }
        let largest = |mut all: Cardinality| {
            all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
            all.truncate(most);
            all
        };
        let by = |of: fn(&(u64, u64)) -> u64| {
            largest(labels.iter().map(|(name, both)| ((*name).to_owned(), of(both))).collect())
        };
        let (values_by_label, bytes_by_label) = (by(|both| both.0), by(|both| both.1));
        drop(labels);
        drop(index);
        let (series, chunks, sample_bytes) = head.sizes();
        let span = Some(head.span()).filter(|span| span.min <= span.max);
        let blocks = self.blocks();
        Statistics {
            series: series as u64,
            chunks: chunks as u64,
            label_pairs,
            span,
            series_by_metric: largest(metrics),
            values_by_label,
            bytes_by_label,
            series_by_pair: largest(pairs),
            created: head.created.load(Ordering::Relaxed),
            appended: head.appended.load(Ordering::Relaxed),
            refused: head.refused.load(Ordering::Relaxed),
            exemplars: head.exemplar_count() as u64,
            sample_bytes: sample_bytes as u64,
            blocks: blocks.len() as u64,
            block_bytes: blocks.iter().map(|block| block.bytes()).sum(),
        }
    }
}
