//! The half of conformance/tsdb that runs here: reads what Prometheus wrote, and writes what Prometheus is to read.

use std::{fmt::Write, fs, path::Path, sync::Arc};

use xebec_tsdb::{
    Block, BlockWriter, CounterReset, HistogramOf, Interval, Labels, Number, Sample, Span, Ulid, Value,
    encode,
};

use crate::{histogram, labels, sample};

fn bits(value: impl Number) -> String {
    format!("{:x}", value.to_f64().to_bits())
}

fn write_side<N: Number>(out: &mut String, spans: &[Span], buckets: &[N]) {
    let (mut index, mut buckets) = (0i64, buckets.iter());
    for span in spans {
        index += i64::from(span.offset);
        for bucket in buckets.by_ref().take(span.length as usize) {
            if bucket.to_f64() != 0.0 {
                write!(out, " {index}={}", bits(*bucket)).unwrap();
            }
            index += 1;
        }
    }
    out.push(';');
}

fn write_histogram<N: Number>(out: &mut String, time: i64, name: &str, histogram: &HistogramOf<N>) {
    if histogram.is_stale() {
        return write!(out, "\t{time} {name} stale").unwrap();
    }
    let layout = &histogram.layout;
    let gauge = histogram.counter_reset == CounterReset::Gauge;
    let (count, zero) = (bits(histogram.count), bits(histogram.zero_count));
    let (threshold, sum) = (bits(layout.zero_threshold), bits(histogram.sum));
    write!(out, "\t{time} {name} {gauge} {} {threshold} {count} {zero} {sum};", layout.schema).unwrap();
    write_side(out, &layout.positive_spans, &histogram.positive);
    write_side(out, &layout.negative_spans, &histogram.negative);
    for bound in &layout.custom_values {
        write!(out, " {}", bits(*bound)).unwrap();
    }
}

fn print(blocks: &Path) -> String {
    let mut out = String::new();
    for entry in fs::read_dir(blocks).unwrap() {
        let path = entry.unwrap().path();
        if !path.join("meta.json").exists() {
            continue;
        }
        let block = Arc::new(Block::open(&path).unwrap());
        for series in block.select(&[], Interval::ALL).unwrap() {
            let series = series.unwrap();
            let hex = |text: &str| text.bytes().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
            for (name, value) in &series.labels {
                write!(out, "{}={} ", hex(name), hex(value)).unwrap();
            }
            for sample in series.samples(Interval::ALL) {
                let Sample { time, value } = sample.unwrap();
                match value {
                    Value::Float(value) => write!(out, "\t{time} v {}", bits(value)).unwrap(),
                    Value::Histogram(histogram) => write_histogram(&mut out, time, "h", &histogram),
                    Value::FloatHistogram(histogram) => write_histogram(&mut out, time, "f", &histogram),
                }
            }
            out.push('\n');
        }
    }

    out
}

fn ours() -> Vec<(Labels, Vec<Sample>)> {
    let mut all = Vec::new();
    for i in 0..40u64 {
        let name = labels(&[("__name__", "m"), ("i", &format!("{i:02}")), ("é", "ü\n\"")]);
        let samples = (1..500u64).map(|step| {
            let time = 1_700_000_000_000 + step as i64 * 15_000 + (step * i % 5) as i64;
            let mut whole = histogram(step % 90 + 1, i % 2 == 0);
            if i % 7 == 0 {
                whole.counter_reset = CounterReset::Gauge;
            }
            let value: Value = match i % 4 {
                _ if step % 100 == 99 && i % 3 == 0 => HistogramOf::<u64>::stale().into(),
                0 | 1 => whole.into(),
                2 => whole.to_float().into(),
                _ => ((step * i) as f64 / 9.0).into(),
            };
            sample(time, value)
        });
        all.push((name, samples.collect()));
    }
    all
}

#[test]
#[ignore = "conformance/tsdb/run gives it a directory"]
fn blocks_go_to_and_fro() {
    let Some(work) = std::env::var_os("TSDB_CONFORMANCE") else { return };
    let work = Path::new(&work);
    fs::write(work.join("theirs-read"), print(&work.join("theirs"))).unwrap();
    let directory = work.join("ours");
    fs::create_dir_all(&directory).unwrap();
    let series = ours();
    let symbols =
        series.iter().flat_map(|(labels, _)| labels).flat_map(|(name, value)| [name, value]).map(Arc::from);
    let span = Interval { min: 1_700_000_000_000, max: 1_700_007_600_000 };
    let mut writer = BlockWriter::create(&directory, Ulid::new(7), span, symbols).unwrap();
    for (labels, samples) in &series {
        writer.push(labels, &encode(samples.iter().cloned(), 120)).unwrap();
    }
    writer.finish(None).unwrap();
    fs::write(work.join("ours-written"), print(&directory)).unwrap();
}
