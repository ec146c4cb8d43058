//! What a target said, brought into the database: series are known again by how they were written, those that are no
//! longer exposed end, and a scrape counts whole or not at all.

use std::collections::HashMap;
use std::time::Duration;

use foldhash::fast::RandomState;
use xebec_tsdb::{Appender, Db, Error, Labels, METRIC_NAME, STALE, SeriesRef, Value};

use super::client::Body;
use super::target::{Target, TargetStatus};
use crate::config::ScrapeConfig;
use crate::exposition::{Entry, Format, LabelPairs, LimitError, Parser, ParserOptions};
use crate::labels::LabelSet;
use crate::relabel::relabel;

/// A sample may be so far ahead of its scrape, in milliseconds.
const MOST_AHEAD: i64 = 600_000;
/// A label that would be ours gets this before its name.
const EXPORTED: &str = "exported_";

/// What is remembered of a target from scrape to scrape.
#[derive(Debug, Default)]
pub(super) struct Cache {
    series: HashMap<Box<[u8]>, Known, RandomState>,
    /// Counts the scrapes.
    scrape: u64,
    /// The references of what is said of each scrape.
    reports: HashMap<&'static str, SeriesRef>,
}

/// A series as it was written.
#[derive(Debug)]
struct Known {
    /// None is a series that relabelling drops.
    series: Option<SeriesRef>,
    /// The scrape that it first stood in.
    since: u64,
    /// The last scrape that it stood in.
    seen: u64,
    /// Whether it ends when it is no longer exposed.
    ends: bool,
}

/// What is counted of a scrape.
#[derive(Debug, Default)]
pub(super) struct Report {
    scraped: usize,
    kept: usize,
    added: usize,
    left_out: LeftOut,
}

/// One target's way into the database.
#[derive(Debug)]
pub(super) struct Intake<'a> {
    db: &'a Db,
    target: &'a Target,
    job: &'a ScrapeConfig,
    status: &'a TargetStatus,
}

/// Samples that were left out, and why.
#[derive(Debug, Default)]
struct LeftOut {
    out_of_order: usize,
    duplicate: usize,
    out_of_bounds: usize,
}

impl<'a> Intake<'a> {
    pub(super) fn of(
        db: &'a Db,
        target: &'a Target,
        job: &'a ScrapeConfig,
        status: &'a TargetStatus,
    ) -> Self {
        Self { db, target, job, status }
    }

    /// Brings in what a target said. If anything of it is wrong, nothing of it counts.
    pub(super) fn take(
        &self,
        cache: &mut Cache,
        body: Body,
        time: i64,
        report: &mut Report,
    ) -> Result<(), String> {
        cache.scrape += 1;
        let taken = self.entries(cache, body, time, report);
        let last = cache.scrape;
        match taken {
            Ok(()) => cache.series.retain(|_, known| known.seen == last),
            // What is new has no samples.
            Err(_) => cache.series.retain(|_, known| known.since != last),
        }
        taken
    }

    fn entries(
        &self,
        cache: &mut Cache,
        mut body: Body,
        time: i64,
        report: &mut Report,
    ) -> Result<(), String> {
        let (format, odd) =
            Format::of(body.content_type.as_deref(), self.job.fallback).map_err(|error| error.to_string())?;
        if let Some(odd) = odd {
            tracing::debug!(url = self.status.url, "{odd}");
        }
        let options = ParserOptions {
            native_histograms: self.job.native_histograms,
            classic_too: self.job.classic_too,
        };
        let mut parser = Parser::new(&mut body.bytes, format, options);
        let mut appender = self.db.appender();
        while let Some(entry) = parser.next().map_err(|error| error.to_string())? {
            match entry {
                Entry::Comment => {}
                Entry::Help { family, text } => self.status.learn(&family, |known| {
                    if *known.help != *text {
                        known.help = (&*text).into();
                    }
                }),
                Entry::Type { family, kind } => self.status.learn(&family, |known| known.kind = kind),
                Entry::Unit { family, unit } => self.status.learn(&family, |known| {
                    if *known.unit != *unit {
                        known.unit = (&*unit).into();
                    }
                }),
                Entry::Sample { time: own, value } => {
                    report.scraped += 1;
                    let own = own.filter(|_| self.job.honor_timestamps);
                    let sample = Sample { scrape: time, own, value };
                    self.sample(cache, &mut appender, &parser, sample, report)?;
                }
            }
        }
        self.end_missing(cache, &mut appender, time).map_err(|error| error.to_string())?;
        appender.commit().map_err(|error| error.to_string())?;
        let left_out = &report.left_out;
        if left_out.duplicate + left_out.out_of_order + left_out.out_of_bounds > 0 {
            tracing::warn!(
                url = self.status.url,
                duplicates = left_out.duplicate,
                out_of_order = left_out.out_of_order,
                out_of_bounds = left_out.out_of_bounds,
                "samples of a scrape were left out"
            );
        }
        Ok(())
    }

    fn sample(
        &self,
        cache: &mut Cache,
        appender: &mut Appender,
        parser: &Parser<'_>,
        sample: Sample,
        report: &mut Report,
    ) -> Result<(), String> {
        let scrape = cache.scrape;
        let ends = sample.own.is_none() || self.job.track_timestamps_staleness;
        let mut known = cache.series.get_mut(parser.key());
        match &mut known {
            Some(Known { series: None, seen, .. }) => {
                *seen = scrape;
                return Ok(());
            }
            Some(known) if known.seen == scrape && sample.own.is_none() => {
                report.kept += 1;
                report.left_out.duplicate += 1;
                return Ok(());
            }
            _ => {}
        }
        report.kept += 1;
        let most = self.job.limits.samples;
        // Samples of series that are dropped do not count, and are not known to be so before they are seen.
        let over = most > 0 && report.kept > most;
        let mut series = match &mut known {
            Some(known) => {
                if over {
                    return Err(LimitError::Samples.to_string());
                }
                known.seen = scrape;
                known.ends = ends;
                known.series
            }
            None => None,
        };
        if series.is_none() {
            let found = self.series(appender, parser.labels().map_err(|error| error.to_string())?)?;
            let entry = Known { series: found, since: scrape, seen: scrape, ends };
            cache.series.insert(parser.key().into(), entry);
            match found {
                None => {
                    report.kept -= 1;
                    return Ok(());
                }
                Some(_) if over => return Err(LimitError::Samples.to_string()),
                Some(_) => report.added += 1,
            }
            series = found;
        }
        let Some(mut series) = series else { return Ok(()) };
        let time = sample.own.unwrap_or(sample.scrape);
        if time > sample.scrape + MOST_AHEAD {
            report.left_out.out_of_bounds += 1;
            return Ok(());
        }
        self.check_buckets(&sample.value)?;
        let mut appended = appender.append_to(series, time, sample.value.clone());
        if let Err(Error::UnknownSeries(_)) = appended {
            // It had no samples for so long that the database has forgotten it.
            let labels = parser.labels().map_err(|error| error.to_string())?;
            let Some(fresh) = self.series(appender, labels)? else { return Ok(()) };
            if let Some(known) = cache.series.get_mut(parser.key()) {
                known.series = Some(fresh);
            }
            series = fresh;
            appended = appender.append_to(series, time, sample.value);
        }
        match appended {
            Ok(()) => {}
            Err(Error::OutOfOrderSample) => report.left_out.out_of_order += 1,
            Err(Error::DuplicateSample) => report.left_out.duplicate += 1,
            Err(Error::OutOfBounds | Error::TooOldSample) => report.left_out.out_of_bounds += 1,
            Err(other) => return Err(other.to_string()),
        }
        for exemplar in parser.exemplars() {
            let Ok(labels) = Labels::new(exemplar.labels) else { continue };
            let time = exemplar.time.unwrap_or(time);
            let exemplar = xebec_tsdb::Exemplar { labels, value: exemplar.value, time };
            // One that is known or comes late is no loss.
            let _left_out = appender.exemplar(series, exemplar);
        }
        Ok(())
    }

    fn check_buckets(&self, value: &Value) -> Result<(), String> {
        let buckets = match value {
            Value::Float(_) => return Ok(()),
            Value::Histogram(histogram) => histogram.positive.len() + histogram.negative.len(),
            Value::FloatHistogram(histogram) => histogram.positive.len() + histogram.negative.len(),
        };
        let most = self.job.limits.buckets;
        if most > 0 && buckets > most { Err(LimitError::Buckets.to_string()) } else { Ok(()) }
    }

    /// The series of labels as they were exposed; none if relabelling drops it.
    fn series(&self, appender: &Appender, exposed: LabelPairs<'_>) -> Result<Option<SeriesRef>, String> {
        // Names that stand twice are an error, not the last of them.
        let exposed = Labels::new(exposed).map_err(|error| error.to_string())?;
        let mut labels = merged(&exposed, &self.target.labels, self.job.honor_labels);
        if !relabel(&self.job.metric_relabel, &mut labels) {
            return Ok(None);
        }
        if labels.is_empty() {
            return Ok(None);
        }
        if labels.get(METRIC_NAME).is_empty() {
            return Err("missing metric name (__name__ label)".to_owned());
        }
        let labels = labels.stored().map_err(|error| error.to_string())?;
        self.job.limits.check(&labels).map_err(|error| error.to_string())?;
        appender.series(&labels).map(Some).map_err(|error| error.to_string())
    }

    /// Ends the series that the last scrape had and this one has not.
    fn end_missing(&self, cache: &Cache, appender: &mut Appender, time: i64) -> xebec_tsdb::Result<()> {
        let now = cache.scrape;
        for known in cache.series.values() {
            if known.seen + 1 == now && known.ends {
                end_series(appender, known.series, time)?;
            }
        }
        Ok(())
    }

    /// Says what became of a scrape. Where it failed, all of the target's series end.
    pub(super) fn conclude(
        &self,
        cache: &mut Cache,
        time: i64,
        took: Duration,
        report: &Report,
        is_up: bool,
    ) -> xebec_tsdb::Result<()> {
        let mut appender = self.db.appender();
        if !is_up {
            end_all(cache, &mut appender, time)?;
        }
        let said = [
            ("up", f64::from(u8::from(is_up))),
            ("scrape_duration_seconds", took.as_secs_f64()),
            ("scrape_samples_scraped", report.scraped as f64),
            ("scrape_samples_post_metric_relabeling", report.kept as f64),
            ("scrape_series_added", report.added as f64),
        ];
        for (name, value) in said {
            let known = cache.reports.get(name).copied();
            let appended = known.map(|series| appender.append_to(series, time, value));
            match appended {
                Some(Ok(())) => continue,
                Some(Err(error)) if error.is_refused_sample() => continue,
                Some(Err(Error::UnknownSeries(_))) | None => {}
                Some(Err(error)) => return Err(error),
            }
            let mut labels = self.target.labels.clone();
            labels.set(METRIC_NAME, name);
            let series = appender.series(&labels.stored()?)?;
            cache.reports.insert(name, series);
            match appender.append_to(series, time, value) {
                Err(error) if !error.is_refused_sample() => return Err(error),
                _ => {}
            }
        }
        appender.commit().map(|_| ())
    }

    /// Ends all series of a target that is gone.
    pub(super) fn end(&self, cache: &mut Cache, time: i64) -> xebec_tsdb::Result<()> {
        let mut appender = self.db.appender();
        end_all(cache, &mut appender, time)?;
        for series in cache.reports.values() {
            end_series(&mut appender, Some(*series), time)?;
        }
        appender.commit().map(|_| ())
    }
}

/// A sample as it was exposed.
#[derive(Debug)]
struct Sample {
    /// When it was scraped.
    scrape: i64,
    /// When it is from, if it says so.
    own: Option<i64>,
    value: Value,
}

/// Ends the series that the last scrape had; a failed one has none.
fn end_all(cache: &mut Cache, appender: &mut Appender, time: i64) -> xebec_tsdb::Result<()> {
    for known in cache.series.values_mut() {
        if known.ends {
            end_series(appender, known.series, time)?;
            known.ends = false;
        }
    }
    Ok(())
}

fn end_series(appender: &mut Appender, series: Option<SeriesRef>, time: i64) -> xebec_tsdb::Result<()> {
    let Some(series) = series else { return Ok(()) };
    match appender.append_to(series, time, f64::from_bits(STALE)) {
        Err(error) if !error.is_refused_sample() && !matches!(error, Error::UnknownSeries(_)) => Err(error),
        _ => Ok(()),
    }
}

/// The labels of a series: what it exposes, and its target's. Where both have one, `honor` says whose counts; the other is
/// kept under another name.
fn merged(exposed: &Labels, target: &LabelSet, honor: bool) -> LabelSet {
    let mut labels = LabelSet::from(exposed);
    if honor {
        for (name, value) in target.iter() {
            if exposed.iter().all(|(own, _)| own != name) {
                labels.set(name, value);
            }
        }
        return labels;
    }
    let mut conflicts = Vec::new();
    for (name, value) in target.iter() {
        let own = exposed.get(name);
        if !own.is_empty() {
            conflicts.push((name, own));
        }
        labels.set(name, value);
    }
    // The shortest first, so that one that is renamed already is not renamed over.
    conflicts.sort_by_key(|(name, _)| name.len());
    for (name, own) in conflicts {
        let mut renamed = format!("{EXPORTED}{name}");
        while !labels.get(&renamed).is_empty() {
            renamed.insert_str(0, EXPORTED);
        }
        labels.set(renamed, own);
    }
    labels
}

#[cfg(test)]
mod tests;
