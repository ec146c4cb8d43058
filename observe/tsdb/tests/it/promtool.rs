//! Debian's Prometheus reads what is written here, and what it writes is read here. Without promtool on the path these
//! tests say so and pass.

use std::{collections::BTreeMap, fmt::Write, path::Path, process::Command, sync::Arc};

use xebec_tsdb::{Block, BlockWriter, Interval, Labels, MatchOp, Matcher, Sample, Ulid, Value, encode};

use crate::{labels, sample};

fn promtool(arguments: &[&str]) -> Option<String> {
    let output = match Command::new("promtool").args(arguments).output() {
        Ok(output) => output,
        Err(error) => {
            eprintln!("skipped, promtool does not run: {error}");
            return None;
        }
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    Some(text)
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Some series with odd labels and values.
fn floats() -> BTreeMap<Labels, Vec<Sample>> {
    let mut series = BTreeMap::new();
    for i in 0..40i32 {
        let labels = labels(&[
            ("__name__", "m"),
            ("job", ["a", "b"][i as usize % 2]),
            ("i", &i.to_string()),
            ("é", "ü\"\n"),
        ]);
        let each = (0..300).map(|step: i32| {
            let jitter = i64::from(step.wrapping_mul(i) % 3);
            let value = match i % 4 {
                0 => f64::from(step),
                1 => f64::from(step * i) / 7.0,
                2 => f64::NEG_INFINITY,
                _ => -1e300 / f64::from(step + 1),
            };
            sample(1_700_000_000_000 + i64::from(step) * 15_000 + jitter, value)
        });
        series.insert(labels, each.collect());
    }
    series
}

fn write(directory: &Path, series: &BTreeMap<Labels, Vec<Sample>>) -> Arc<Block> {
    let times = || series.values().flatten().map(|sample| sample.time);
    let span = Interval { min: times().min().unwrap(), max: times().max().unwrap() };
    let symbols = series.keys().flatten().flat_map(|(name, value)| [name, value]).map(Arc::from);
    let mut writer = BlockWriter::create(directory, Ulid::new(span.max as u64), span, symbols).unwrap();
    for (labels, samples) in series {
        writer.push(labels, &encode(samples.iter().cloned(), 120)).unwrap();
    }
    Arc::new(Block::open(&writer.finish(None).unwrap()).unwrap())
}

fn read(block: &Arc<Block>, matchers: &[Matcher]) -> BTreeMap<Labels, Vec<Sample>> {
    let selected = block.select(matchers, Interval::ALL).unwrap();
    let each = selected.map(|series| {
        let series = series.unwrap();
        (series.labels.clone(), series.samples(Interval::ALL).collect::<Result<_, _>>().unwrap())
    });
    each.collect()
}

/// `{__name__="m", l="v"} value time` a line.
fn parse_dump(dump: &str) -> BTreeMap<String, Vec<(i64, u64)>> {
    let mut series: BTreeMap<String, Vec<(i64, u64)>> = BTreeMap::new();
    for line in dump.lines() {
        let mut fields = line.rsplitn(3, ' ');
        let time = fields.next().unwrap().parse().unwrap();
        let value = fields.next().unwrap().replace("Inf", "inf").parse::<f64>().unwrap();
        series.entry(fields.next().unwrap().to_owned()).or_default().push((time, value.to_bits()));
    }
    series
}

#[test]
fn promtool_dumps_our_blocks_sample_by_sample() {
    let directory = tempfile::tempdir().unwrap();
    let series = floats();
    let block = write(directory.path(), &series);
    assert_eq!(read(&block, &[]), series);
    std::fs::create_dir(directory.path().join("wal")).unwrap();
    let Some(dump) = promtool(&["tsdb", "dump", path(directory.path())]) else { return };
    let ours = series.iter().map(|(labels, samples)| {
        let bits = |sample: &Sample| match sample.value {
            Value::Float(value) => (sample.time, value.to_bits()),
            _ => panic!("only floats here"),
        };
        // Go writes what is printable as it is.
        (labels.to_string(), samples.iter().map(bits).collect())
    });
    assert_eq!(parse_dump(&dump), ours.collect());
}

#[test]
fn promtool_lists_and_analyzes_our_blocks() {
    let directory = tempfile::tempdir().unwrap();
    let block = write(directory.path(), &floats());
    let Some(list) = promtool(&["tsdb", "list", path(directory.path())]) else { return };
    let line = list.lines().find(|line| line.starts_with(&block.meta().ulid.to_string())).unwrap();
    let columns: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(columns[4..6], ["12000", "120"], "{list}");
    let analysis = promtool(&["tsdb", "analyze", path(directory.path())]).unwrap();
    assert!(analysis.contains("Series: 40\n"), "{analysis}");
    assert!(analysis.contains("Label names: 4\n"), "{analysis}");
    assert!(analysis.contains("Postings (unique label pairs): 44\n"), "{analysis}");
}

#[test]
fn blocks_of_promtool_are_read_here() {
    let directory = tempfile::tempdir().unwrap();
    let mut text = String::from("# TYPE m gauge\n");
    for i in 0..20 {
        for step in 0..500 {
            writeln!(text, "m{{i=\"{i}\"}} {} {}", f64::from(step * i) / 8.0, 1_600_000_000 + step * 15)
                .unwrap();
        }
    }
    text.push_str("# EOF\n");
    let (input, output) = (directory.path().join("input"), directory.path().join("blocks"));
    std::fs::write(&input, text).unwrap();
    let created = promtool(&["tsdb", "create-blocks-from", "openmetrics", path(&input), path(&output)]);
    if created.is_none() {
        return;
    }
    let mut found: BTreeMap<Labels, Vec<Sample>> = BTreeMap::new();
    let matcher = Matcher::new(MatchOp::Regex, "i", "1.*|7").unwrap();
    for entry in std::fs::read_dir(&output).unwrap() {
        let directory = entry.unwrap().path();
        if !directory.join("meta.json").exists() {
            continue;
        }
        let block = Arc::new(Block::open(&directory).unwrap());
        for (labels, samples) in read(&block, std::slice::from_ref(&matcher)) {
            found.entry(labels).or_default().extend(samples);
        }
    }
    let mut expected = BTreeMap::new();
    for i in [1, 7, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19] {
        let samples =
            (0..500).map(|step| sample((1_600_000_000 + step * 15) * 1000, (step * i) as f64 / 8.0));
        expected.insert(labels(&[("__name__", "m"), ("i", &i.to_string())]), samples.collect());
    }
    for samples in found.values_mut() {
        samples.sort_by_key(|sample| sample.time);
    }
    assert_eq!(found, expected);
}
