//! A child process writes as fast as it can and says what was acknowledged; it is killed, and the store is read.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use xebec_store::{Options, Store};

const DIRECTORY: &str = "XEBEC_STORE_CRASH_DIRECTORY";
const ROUND: &str = "XEBEC_STORE_CRASH_ROUND";
const WRITERS: usize = 64;

/// What the child does: nothing when run as an ordinary test.
#[test]
fn child_writes_until_killed() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let round = std::env::var(ROUND).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async move {
        let store = Store::open(directory.as_ref(), Options::default()).unwrap();
        let tasks: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (store, round) = (store.clone(), round.clone());
                tokio::spawn(async move {
                    for turn in 0.. {
                        let key = format!("{round}/{writer}/{turn}");
                        let made = store.create(key.clone(), key.clone().into()).await.unwrap();
                        let line = format!("ack {key} {}\n", made.modified);
                        std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[tokio::test]
async fn sigkill_under_64_writers_loses_nothing_acknowledged_and_reuses_no_revision() {
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged: HashMap<String, u64> = HashMap::new();
    let mut revisions = HashSet::new();
    for round in 0..5u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["crash::child_writes_until_killed", "--exact", "--nocapture"])
            .env(DIRECTORY, directory.path())
            .env(ROUND, round.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let reader = std::thread::spawn(move || {
            let mut lines_read = Vec::new();
            let mut line = String::new();
            while lines.read_line(&mut line).unwrap_or(0) > 0 {
                if line.ends_with('\n') {
                    lines_read.push(line.trim().to_owned());
                }
                line.clear();
            }
            lines_read
        });
        std::thread::sleep(Duration::from_millis(150 + round * 70));
        child.kill().unwrap();
        child.wait().unwrap();
        for line in reader.join().unwrap() {
            // The harness prints the test's name before the first acknowledgement, without a line of its own.
            let Some((_, ack)) = line.split_once("ack ") else { continue };
            let (key, revision) = ack.split_once(' ').unwrap();
            let revision: u64 = revision.parse().unwrap();
            assert!(revisions.insert(revision), "revision {revision} was given twice");
            acknowledged.insert(key.to_owned(), revision);
        }
        let store = Store::open(directory.path(), Options::default()).unwrap();
        for (key, revision) in &acknowledged {
            let entry = store.get(key).unwrap().unwrap_or_else(|| panic!("{key} at {revision} is lost"));
            assert_eq!((entry.modified.0, &entry.value[..]), (*revision, key.as_bytes()));
        }
        store.close().await;
    }
    assert!(acknowledged.len() > 50, "only {} writes were acknowledged", acknowledged.len());
}
