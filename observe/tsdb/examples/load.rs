//! Measures the database: node-exporter-shaped series get samples every 15 seconds of their own time.
//!
//! `load DIRECTORY [SERIES] [HOURS]` prints a figure a line: name, value, unit.

use std::{path::Path, time::Instant};

use xebec_tsdb::{Db, Interval, Labels, MatchOp, Matcher, Options, SeriesRef};

const STEP: i64 = 15_000;
const START: i64 = 1_700_000_000_000;

/// The values of a series: constants, counters at a rate with jitter, gauges that walk, fractions.
fn value(series: u64, step: u64) -> f64 {
    let mixed = (series << 32 | step).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let noise = (mixed ^ mixed >> 29) % 1000;
    match series % 10 {
        0..=3 => (series % 97) as f64,
        4..=6 => (step * (series % 50 + 1) * 15 + noise % 7) as f64,
        7 => (1_000_000 + step * 4096 + noise / 10 * 512) as f64,
        8 => (noise / 20) as f64,
        _ => (step * 15) as f64 + noise as f64 / 100.0,
    }
}

fn labels(series: u64) -> Result<Labels, xebec_tsdb::Error> {
    Labels::new([
        ("__name__", format!("node_metric_{}_total", series % 500)),
        ("instance", format!("10.0.{}.{}:9100", series / 500 / 250, series / 500 % 250)),
        ("job", "node".to_owned()),
        ("device", format!("eth{}", series % 8)),
        ("region", "eu-central-1".to_owned()),
        ("mode", ["user", "system", "idle", "iowait"][series as usize % 4].to_owned()),
    ])
}

fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().split(' ').next()?.parse::<f64>().ok()).unwrap_or(0.0) * 1024.0
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let directory = arguments.first().ok_or("usage: load DIRECTORY [SERIES] [HOURS]")?;
    let number = |at: usize, default: u64| arguments.get(at).map_or(Ok(default), |text| text.parse());
    let (count, hours) = (number(1, 100_000)?, number(2, 3)?);
    let options = Options { retention: None, ..Options::default() };
    let (db, _) = Db::open(Path::new(directory), options.clone())?;
    let before = resident();

    let began = Instant::now();
    let mut references: Vec<SeriesRef> = Vec::new();
    let mut busy = 0.0;
    for step in 0..hours * 240 {
        for scrape in 0..count.div_ceil(1000) {
            let mut appender = db.appender();
            for series in scrape * 1000..((scrape + 1) * 1000).min(count) {
                let time = START + step as i64 * STEP;
                match references.get(series as usize) {
                    Some(&reference) => appender.append_to(reference, time, value(series, step))?,
                    None => references.push(appender.append(&labels(series)?, time, value(series, step))?),
                }
            }
            appender.commit()?;
        }
        if step == 0 {
            println!("new-series {:.0} series/s", count as f64 / began.elapsed().as_secs_f64());
        }
        if step + 1 == 239.min(hours * 240) {
            busy = began.elapsed().as_secs_f64();
        }
    }
    let samples = count * 239.min(hours * 240);
    println!("append {:.0} samples/s", samples as f64 / busy);
    let statistics = db.statistics(0);
    println!("resident {:.0} bytes/series", (resident() - before) / count as f64);
    println!("head-samples {:.0} bytes/series", statistics.sample_bytes as f64 / count as f64);

    drop(db);
    let began = Instant::now();
    let (db, _) = Db::open(Path::new(directory), options)?;
    println!("replay {:.2} seconds", began.elapsed().as_secs_f64());

    let began = Instant::now();
    db.flush(START)?;
    println!("flush {:.2} seconds", began.elapsed().as_secs_f64());
    let stored: u64 = db.block_metas().iter().map(|meta| meta.stats.num_samples).sum();
    println!("disk {:.3} bytes/sample", db.statistics(0).block_bytes as f64 / stored as f64);

    let began = Instant::now();
    let matcher = Matcher::new(MatchOp::Equal, "__name__", "node_metric_7_total")?;
    let mut read = 0u64;
    for series in db.querier().select(&[matcher], Interval::ALL)? {
        for sample in series?.samples(Interval::ALL) {
            sample?;
            read += 1;
        }
    }
    println!("read {:.0} samples/s", read as f64 / began.elapsed().as_secs_f64());
    Ok(())
}
