//! A process that writes with all its might is killed, again and again.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use xebec_tsdb::{Db, Interval, Options};

use crate::labels;

const WRITERS: i64 = 16;
const ROUNDS: u64 = 6;
const DIRECTORY: &str = "TSDB_DIRECTORY";

fn options() -> Options {
    // So small that the kill also falls into compactions and new segments.
    Options { block_range: 2_000, retention: None, segment_bytes: 100_000, ..Options::default() }
}

fn name(writer: i64, side: &str) -> xebec_tsdb::Labels {
    labels(&[("__name__", "m"), ("writer", &writer.to_string()), ("side", side)])
}

/// The newest sample of a series; its value is its time.
fn newest(db: &Db, writer: i64, side: &str) -> (i64, u64) {
    let matchers = [("writer", writer.to_string()), ("side", side.to_owned())]
        .map(|(name, value)| xebec_tsdb::Matcher::new(xebec_tsdb::MatchOp::Equal, name, value).unwrap());
    let mut found = (0, 0);
    for series in db.querier().select(&matchers, Interval::ALL).unwrap() {
        for sample in series.unwrap().samples(Interval::ALL) {
            let sample = sample.unwrap();
            assert_eq!(sample.value, (sample.time as f64).into());
            found = (sample.time, found.1 + 1);
        }
    }
    found
}

/// Each writer counts up in two series of its own, both in one transaction, and says so once it is acknowledged.
#[test]
#[ignore = "the parent starts it in a process of its own"]
fn writers() {
    let Some(directory) = std::env::var_os(DIRECTORY) else { return };
    let (db, _) = Db::open(Path::new(&directory), options()).unwrap();
    // Ends the line that the test harness began, which the first acknowledgement would else stand in.
    println!();
    // All begin together, so that no one is refused for being behind the others.
    let start = (0..WRITERS).map(|writer| newest(&db, writer, "left").0).max().unwrap();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let db = &db;
            scope.spawn(move || {
                for time in start + 1.. {
                    let mut appender = db.appender();
                    let each =
                        ["left", "right"].map(|side| appender.append(&name(writer, side), time, time as f64));
                    if each.iter().any(Result::is_err) {
                        continue; // It fell behind the others by a block.
                    }
                    match appender.commit() {
                        Ok(committed) if committed.refused == 0 => {}
                        _ => continue,
                    }
                    std::io::stdout().write_all(format!("ack {writer} {time}\n").as_bytes()).unwrap();
                }
            });
        }
        scope.spawn(|| {
            loop {
                db.compact(0).unwrap();
            }
        });
    });
}

#[test]
fn nothing_acknowledged_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged: HashMap<i64, (i64, u64)> = HashMap::new();
    for round in 0..ROUNDS {
        let acks = run_and_kill(directory.path(), Duration::from_millis(500 + 130 * round));
        assert!(acks.len() > 100, "the writers came to {} writes only", acks.len());
        for (writer, time) in acks {
            let entry = acknowledged.entry(writer).or_default();
            assert!(time > entry.0);
            *entry = (time, entry.1 + 1);
        }
        let (db, opened) = Db::open(directory.path(), options()).unwrap();
        assert_eq!((opened.repair.damaged, opened.unreadable), (Vec::new(), Vec::new()));
        for (&writer, &(time, count)) in &acknowledged {
            let left = newest(&db, writer, "left");
            assert_eq!(left, newest(&db, writer, "right"), "half a transaction");
            assert!(
                left.0 >= time && left.1 >= count,
                "{writer}: {time} and {count} samples were acknowledged, {left:?}"
            );
            // One a round may have been on its way.
            assert!(left.1 <= count + round + 1);
        }
    }
}

fn run_and_kill(directory: &Path, after: Duration) -> Vec<(i64, i64)> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["crash::writers", "--exact", "--ignored", "--nocapture", "--test-threads=1"]);
    let mut child = command.env(DIRECTORY, directory).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let reader = std::thread::spawn(move || {
        let acks = lines.map_while(Result::ok).filter_map(|line| {
            // What the test harness of the child says is in between.
            let fields: Vec<i64> = line.strip_prefix("ack ")?.split(' ').flat_map(str::parse).collect();
            let [writer, time] = fields[..] else { return None };
            Some((writer, time))
        });
        acks.collect()
    });
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}
