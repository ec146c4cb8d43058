//! Broken bytes at every reader: whatever a file holds, it is read or refused, without a panic and without taking much
//! memory. `XEBEC_FUZZ_SECONDS` sets how long it tries; `XEBEC_FUZZ_SEED` repeats a run.

use std::{fs, path::Path, sync::Arc};

use xebec_dice::{Dice, rounds};
use xebec_tsdb::{Block, Chunk, Db, Encoding, Interval, Options, Sample, encode};

use crate::{histogram, labels, sample};

/// Flips, cuts, doubles or overwrites.
fn break_bytes(dice: &mut Dice, bytes: &mut Vec<u8>) {
    for _ in 0..=dice.below(4) {
        if bytes.is_empty() {
            return;
        }
        let at = dice.below(bytes.len());
        match dice.below(5) {
            0 => bytes[at] ^= 1 << dice.below(8),
            1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][dice.below(5)],
            2 => bytes.truncate(at),
            3 => {
                let until = at + dice.below((bytes.len() - at).min(64)).max(1);
                let piece = bytes[at..until.min(bytes.len())].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => {
                let until = (at + 8).min(bytes.len());
                bytes[at..until].fill(0xff);
            }
        }
    }
}

fn chunks() -> Vec<Chunk> {
    let floats = (0..100).map(|i| sample(i * 15_000, (i * i) as f64 / 3.0));
    let histograms = |custom| (1..40).map(move |i| sample(i as i64 * 15_000, histogram(i, custom)));
    let fractions = (1..40).map(|i| sample(i as i64 * 15_000, histogram(i, false).to_float()));
    let all: Vec<Sample> = floats.chain(histograms(false)).chain(histograms(true)).chain(fractions).collect();
    encode(all, 120).into_iter().map(|(_, _, chunk)| chunk).collect()
}

#[test]
fn fuzz_chunks() {
    let sound = chunks();
    rounds("chunks", |dice| {
        let mut bytes = sound[dice.below(sound.len())].data.to_vec();
        break_bytes(dice, &mut bytes);
        let encoding = [Encoding::Xor, Encoding::Histogram, Encoding::FloatHistogram][dice.below(3)];
        let chunk = Chunk { encoding, data: bytes.into() };
        let Ok(mut reader) = chunk.samples() else { return };
        let mut count = 0;
        while let Ok(Some(_)) = reader.read() {
            count += 1;
        }
        assert!(count <= chunk.len());
    });
}

fn database(directory: &Path, flush: bool) {
    let options = Options { retention: None, exemplars: 10, ..Options::default() };
    let (db, _) = Db::open(directory, options).unwrap();
    for step in 1..200u64 {
        let mut appender = db.appender();
        for i in 0..5u64 {
            let name = labels(&[("__name__", "m"), ("i", &i.to_string())]);
            let time = step as i64 * 15_000;
            match i {
                0 => appender.append(&name, time, histogram(step, false)).unwrap(),
                1 => appender.append(&name, time, histogram(step, true).to_float()).unwrap(),
                _ => appender.append(&name, time, step as f64 / 7.0).unwrap(),
            };
        }
        appender.commit().unwrap();
    }
    if flush {
        db.flush(0).unwrap();
    }
}

fn files(directory: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

#[test]
fn fuzz_blocks() {
    let directory = tempfile::tempdir().unwrap();
    database(directory.path(), true);
    let mut entries = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path());
    let block = entries.find(|path| path.join("meta.json").exists()).unwrap();
    let mut paths = Vec::new();
    files(&block, &mut paths);
    let sound: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
    rounds("blocks", |dice| {
        let file = dice.below(paths.len());
        let mut bytes = sound[file].clone();
        break_bytes(dice, &mut bytes);
        fs::write(&paths[file], &bytes).unwrap();
        if let Ok(block) = Block::open(&block).map(Arc::new) {
            let _ = block.label_names(&[]);
            let _ = block.label_values("i", &[]);
            for series in block.select(&[], Interval::ALL).into_iter().flatten().flatten() {
                let count = series.samples(Interval::ALL).take_while(Result::is_ok).count();
                assert!(count <= 1000);
            }
        }
        fs::write(&paths[file], &sound[file]).unwrap();
    });
}

#[test]
fn fuzz_log() {
    let directory = tempfile::tempdir().unwrap();
    database(directory.path(), false);
    let path = directory.path().join("wal/00000000");
    let sound = fs::read(&path).unwrap();
    rounds("log", |dice| {
        let mut bytes = sound.clone();
        break_bytes(dice, &mut bytes);
        let other = tempfile::tempdir().unwrap();
        fs::create_dir(other.path().join("wal")).unwrap();
        fs::write(other.path().join("wal/00000000"), &bytes).unwrap();
        let options = Options { sync: false, ..Options::default() };
        let (db, _) = Db::open(other.path(), options).unwrap();
        let querier = db.querier();
        for series in querier.select(&[], Interval::ALL).unwrap() {
            assert!(series.unwrap().samples(Interval::ALL).all(|sample| sample.is_ok()));
        }
    });
}
