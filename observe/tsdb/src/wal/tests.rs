use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::{Exemplar, Histogram, Interval, Labels, Layout, Metadata, Sample, Span, Value, head::Batch};

fn some_batch(seed: u32) -> Batch {
    let layout = Layout { positive_spans: vec![Span { offset: 1, length: 2 }], ..Layout::default() };
    let histogram =
        Histogram { count: 9, positive: vec![3, 2], layout: Arc::new(layout), ..Histogram::default() };
    let values = [
        Value::from(f64::from(seed)),
        histogram.clone().into(),
        histogram.to_float().into(),
        f64::NAN.into(),
    ];
    let samples = (0..seed % 3000).map(|i| {
        let value = values[i as usize / 500 % 4].clone();
        (i * 7 % 100, Sample { time: i64::from(seed) * 1000 - i64::from(i), value })
    });
    Batch {
        samples: samples.collect(),
        late: vec![(3, Sample { time: -5, value: 1.0.into() })],
        exemplars: vec![(4, Exemplar { labels: labels("trace"), value: 0.5, time: 77 })],
        metadata: vec![(5, Metadata { kind: 1, unit: "s".into(), help: "é".into() })],
    }
}

fn labels(value: &str) -> Labels {
    Labels::new([("l", value)]).unwrap()
}

fn write(directory: &Path, seeds: &[u32]) {
    let mut writer = LogWriter::create(directory, 0, 200_000, false).unwrap();
    for &seed in seeds {
        writer.push(&record::series(&[(seed, labels(&seed.to_string()))]));
        record::batch(&some_batch(seed)).iter().for_each(|record| writer.push(record));
        writer.push(&record::commit());
        writer.flush().unwrap();
    }
}

fn read(directory: &Path) -> (Vec<String>, Repair) {
    let mut all = Vec::new();
    let repair = Files::find(directory).unwrap().read(|records| {
        all.push(format!("{records:?}"));
        Ok(())
    });
    (all, repair.unwrap())
}

#[test]
fn transactions_come_back_over_segments() {
    let directory = tempfile::tempdir().unwrap();
    let seeds: Vec<u32> = (0..60).map(|i| i * 131).collect();
    write(directory.path(), &seeds);
    assert!(Files::find(directory.path()).unwrap().segments.len() > 3);
    let (transactions, repair) = read(directory.path());
    assert_eq!(repair, Repair::default());
    assert_eq!(transactions.len(), seeds.len());
    for (&seed, transaction) in seeds.iter().zip(&transactions) {
        assert!(transaction.contains(&format!("Series([({seed}, ")), "{transaction}");
        let batch = some_batch(seed);
        let samples = transaction.matches("Sample { time").count();
        assert_eq!(samples, batch.samples.len() + 1);
        for part in
            [format!("{:?}", batch.exemplars), format!("{:?}", batch.metadata), format!("{:?}", batch.late)]
        {
            assert!(transaction.contains(&part), "{part}");
        }
    }
}

#[test]
fn what_a_crash_tore_is_cut_off_at_every_byte() {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), &[5, 200, 31]);
    let path = directory.path().join("00000000");
    let whole = fs::read(&path).unwrap();
    let mut ends = Vec::new();
    let mut reader = PageReader::open(&path).unwrap();
    loop {
        let commit = match reader.next().unwrap() {
            None => break,
            Some(Found::Record(bytes)) => bytes == record::commit(),
            Some(damage) => panic!("{damage:?}"),
        };
        if commit {
            ends.push(reader.place() as usize);
        }
    }
    for length in (0..whole.len()).rev().step_by(3) {
        fs::write(&path, &whole[..length]).unwrap();
        let (transactions, repair) = read(directory.path());
        assert_eq!(transactions.len(), ends.iter().filter(|end| **end <= length).count(), "{length}");
        assert_eq!(repair.damaged, Vec::<String>::new());
        // Once cut, there is nothing more to cut.
        let (again, _) = read(directory.path());
        assert_eq!(again, transactions);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn damage_is_told_of_and_costs_only_what_it_hit(at in 0.0f64..1.0, flip in 1u8..) {
        let directory = tempfile::tempdir().unwrap();
        let seeds: Vec<u32> = (0..40).map(|i| 100 + i * 50).collect();
        write(directory.path(), &seeds);
        let files = Files::find(directory.path()).unwrap();
        let sound = read(directory.path()).0;
        // The last file is left out: its end may be taken for torn.
        let path = &files.segments[0].1;
        let mut bytes = fs::read(path).unwrap();
        let place = (bytes.len() as f64 * at) as usize;
        bytes[place] ^= flip;
        fs::write(path, &bytes).unwrap();
        let (transactions, repair) = read(directory.path());
        prop_assert!(!repair.damaged.is_empty());
        let lost = sound.iter().filter(|transaction| !transactions.contains(transaction)).count();
        // A page holds a few of them, and one may reach into the next.
        prop_assert!(lost <= 12, "{} lost", lost);
    }
}

#[test]
fn a_checkpoint_replaces_what_it_covers() {
    let directory = tempfile::tempdir().unwrap();
    let seeds: Vec<u32> = (0..60).map(|i| i * 131).collect();
    write(directory.path(), &seeds);
    let (before, _) = read(directory.path());
    checkpoint(directory.path(), 2, &[record::min_valid(42)], |record| match record {
        Record::Series(series) => vec![record::series(&series)],
        Record::Tombstones(_) => vec![record::tombstones(&[(1, Interval::ALL)])],
        _ => Vec::new(),
    })
    .unwrap();
    let files = Files::find(directory.path()).unwrap();
    assert_eq!(files.checkpoint.as_ref().unwrap().0, 2);
    assert!(files.old.is_empty() && files.segments[0].0 == 3);
    let (after, repair) = read(directory.path());
    assert_eq!(repair, Repair::default());
    assert!(after[0].contains("MinValid(42)"));
    assert_eq!(after.len(), before.len() + 1);
    assert_eq!(after.last(), before.last());
    assert!(after[1].contains("Series") && !after[1].contains("Samples"));
}
