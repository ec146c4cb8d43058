//! A time-series database: samples of labelled series go in, what matchers select over a span of time comes out.
//!
//! New samples rest in the head in memory and in a write-ahead log; what is old enough moves into blocks in
//! Prometheus's own format (`tsdb/docs/format` of prometheus/prometheus), so that Prometheus, promtool and Thanos open
//! them, and theirs are opened here. Floats, native histograms of whole observations and of fractions are kept, with
//! exponential and custom buckets.
//!
//! The crate knows files and bytes, nothing of queries, scraping, HTTP or Kubernetes, and has no global state: clocks
//! are the caller's, and every thread is the caller's too.

mod block;
mod chunk;
mod db;
mod error;
mod head;
mod histogram;
mod index;
mod interval;
mod label;
mod matcher;
mod postings;
mod sample;
mod series;
mod source;
mod wal;
mod wire;

pub use block::{Block, BlockMeta, BlockStats, BlockWriter, Compaction, Parent, Ulid};
pub use chunk::{Chunk, ChunkReader, Encoding, encode};
pub use db::{
    Appender, Cardinality, Committed, Compacted, Db, Opened, Options, Querier, RetentionRule, SeriesRef,
    Statistics,
};
pub use error::{Error, Result};
pub use head::{Exemplar, Metadata};
pub use histogram::{
    CUSTOM_BUCKETS, CounterReset, FloatHistogram, Histogram, HistogramOf, Layout, Number, Span,
};
pub use interval::Interval;
pub use label::{Labels, METRIC_NAME, Pairs};
pub use matcher::{MatchOp, Matcher};
pub use sample::{STALE, Sample, Value, is_stale};
pub use series::{Samples, Series};
pub use source::{FileSource, Source};
pub use wal::Repair;
