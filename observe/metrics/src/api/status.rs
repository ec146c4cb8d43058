//! What is told of the program, its database and its targets.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use xebec_tsdb::Cardinality;

use super::params::Params;
use super::{Answer, Fault, Shared, Told};
use crate::labels::LabelSet;
use crate::rfc3339;

/// How many entries of each list are told if nothing is said, and at the most.
const USUAL: usize = 10;
const MOST: usize = 10_000;

fn of_labels(labels: &LabelSet) -> Value {
    json!(labels.iter().collect::<BTreeMap<&str, &str>>())
}

impl Shared {
    pub(super) fn targets(&self, params: &Params) -> Answer {
        let state = params.get("state").to_lowercase();
        let wants = |which: &str| state.is_empty() || state == "any" || state == which;
        let pool = params.get("scrapePool");
        let of_pool = |own: &str| pool.is_empty() || own == pool;
        let mut active = Vec::new();
        if wants("active") {
            for target in self.scraper.active().iter().filter(|target| of_pool(&target.pool)) {
                let last = target.last();
                active.push(json!({
                    "discoveredLabels": of_labels(&target.discovered),
                    "labels": of_labels(&target.labels),
                    "scrapePool": &*target.pool,
                    "scrapeUrl": target.url,
                    "globalUrl": target.url,
                    "lastError": last.error,
                    "lastScrape": rfc3339(last.time),
                    "lastScrapeDuration": last.took.as_secs_f64(),
                    "health": last.health.name(),
                    "scrapeInterval": target.interval,
                    "scrapeTimeout": target.timeout,
                }));
            }
        }
        let mut dropped = Vec::new();
        let mut counts = json!({});
        if wants("dropped") {
            let all = self.scraper.dropped();
            for (own, labels) in all.iter().filter(|(own, _)| of_pool(own)) {
                dropped.push(json!({ "discoveredLabels": of_labels(labels), "scrapePool": &**own }));
            }
            let mut each: BTreeMap<&str, usize> = BTreeMap::new();
            for (own, _) in &all {
                *each.entry(own).or_default() += 1;
            }
            for name in self.scraper.pools() {
                counts[&name] = each.get(name.as_str()).copied().unwrap_or(0).into();
            }
        }
        let mut told = json!({ "activeTargets": active, "droppedTargets": dropped });
        told["droppedTargetCounts"] = if wants("dropped") { counts } else { Value::Null };
        Ok(told.into())
    }

    pub(super) fn scrape_pools(&self) -> Answer {
        Ok(json!({ "scrapePools": self.scraper.pools() }).into())
    }

    pub(super) fn runtime_info(&self) -> Told {
        let directory = std::env::current_dir().map(|path| path.display().to_string()).unwrap_or_default();
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let born = self.born.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let (loaded, well) = self.scraper.loaded();
        json!({
            "startTime": rfc3339(born.as_millis() as i64),
            "CWD": directory,
            "hostname": host.trim(),
            "serverTime": rfc3339(crate::now()),
            "reloadConfigSuccess": well,
            "lastConfigTime": rfc3339(loaded),
            "corruptionCount": 0,
            "goroutineCount": 0,
            "GOMAXPROCS": threads,
            "GOMEMLIMIT": i64::MAX,
            "GOGC": "",
            "GODEBUG": "",
            "storageRetention": self.about.retention,
        })
        .into()
    }

    /// Clients choose by the version what they ask for: it is that of the API served.
    pub(super) fn build_info(&self) -> Told {
        let about = &self.about;
        json!({
            "version": crate::API_VERSION,
            "revision": format!("{} {}", about.program, about.version),
            "branch": "",
            "buildUser": "",
            "buildDate": "",
            "goVersion": "",
        })
        .into()
    }

    pub(super) fn flags(&self) -> Told {
        let flags: BTreeMap<&str, &str> =
            self.about.flags.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        json!(flags).into()
    }

    pub(super) fn tsdb_status(&self, params: &Params) -> Answer {
        let limit = match params.get("limit") {
            "" => USUAL,
            text => text
                .parse()
                .ok()
                .filter(|&limit| limit > 0)
                .ok_or_else(|| Fault::BadData("limit must be a positive number".to_owned()))?,
        };
        if limit > MOST {
            return Err(Fault::BadData(format!("limit must not exceed {MOST}")));
        }
        let figures = self.db.statistics(limit);
        let list = |all: &Cardinality| -> Value {
            all.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
        };
        let span = figures.span.unwrap_or(xebec_tsdb::Interval { min: i64::MAX, max: i64::MIN });
        Ok(json!({
            "headStats": {
                "numSeries": figures.series,
                "numLabelPairs": figures.label_pairs,
                "chunkCount": figures.chunks,
                "minTime": span.min,
                "maxTime": span.max,
            },
            "seriesCountByMetricName": list(&figures.series_by_metric),
            "labelValueCountByLabelName": list(&figures.values_by_label),
            "memoryInBytesByLabelName": list(&figures.bytes_by_label),
            "seriesCountByLabelValuePair": list(&figures.series_by_pair),
        })
        .into())
    }

    pub(super) fn blocks(&self) -> Told {
        json!({ "blocks": self.db.block_metas() }).into()
    }
}
