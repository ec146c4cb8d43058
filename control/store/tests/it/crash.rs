//! A process that writes with all its might is killed, again and again.

use std::{
    collections::{BTreeMap, HashMap},
    io::{BufRead, BufReader, Write},
    process::Stdio,
    time::Duration,
};

use xebec_store::{EventKind, Op, Options, Revision, Store};

const WRITERS: usize = 64;
const ROUNDS: u64 = 6;

fn options() -> Options {
    // Few enough that the kill also falls into compactions.
    Options { keep_revisions: 300, ..Options::default() }
}

/// Each writer counts up in two keys of its own, both in one transaction, and says so once it is acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the parent starts it in a process of its own"]
async fn writers() {
    let Some(directory) = crate::given() else { return };
    let store = Store::open(directory, &options()).unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        tasks.spawn(write(store.clone(), writer));
    }
    tasks.join_next().await.unwrap().unwrap();
}

async fn write(store: Store, writer: usize) {
    let keys = [format!("left/{writer}"), format!("right/{writer}")];
    let mut count = store.get(&keys[0]).unwrap().map_or(0, |entry| number(&entry.value));
    loop {
        count += 1;
        let ops = keys.iter().map(|key| {
            let (key, value) = (key.clone(), format!("{count:0>400}").into());
            match store.get(&key).unwrap() {
                Some(entry) => Op::Update { key, value, expected: entry.modified },
                None => Op::Create { key, value },
            }
        });
        let revision = store.transact(ops.collect()).await.unwrap();
        let line = format!("ack {revision} {writer} {count}\n");
        std::io::stdout().write_all(line.as_bytes()).unwrap();
    }
}

fn number(value: &[u8]) -> u64 {
    std::str::from_utf8(value).unwrap().parse().unwrap()
}

#[test]
fn nothing_acknowledged_is_lost_and_no_revision_is_used_twice() {
    let directory = tempfile::tempdir().unwrap();
    let mut seen: BTreeMap<(Revision, String), u64> = BTreeMap::new();
    let mut acknowledged: HashMap<usize, u64> = HashMap::new();
    for round in 0..ROUNDS {
        // One that is killed before it has come far, while it reads what the one before left.
        let mut acks = run_and_kill(directory.path(), Kill::FromBeginning(Duration::from_millis(30 * round)));
        acks.extend(run_and_kill(
            directory.path(),
            Kill::FromFirstWrite(Duration::from_millis(150 + 70 * round)),
        ));
        assert!(acks.len() > WRITERS, "the writers came to {} writes only", acks.len());
        let store = Store::open(directory.path(), &options()).unwrap();

        // History that an earlier round saw is as it was.
        let mut history = store.watch("", Some(store.compacted())).unwrap();
        while let Some(event) = history.try_next().unwrap() {
            let EventKind::Put { entry } = &event.kind else { panic!("nobody deletes") };
            let before = seen.insert((event.revision, event.key.to_string()), number(&entry.value));
            assert!(before.is_none_or(|before| before == number(&entry.value)), "{event:?} was {before:?}");
        }
        for &(revision, writer, count) in &acks {
            let newest = acknowledged.entry(writer).or_default();
            assert!(count > *newest, "writer {writer} began behind what it was told");
            *newest = count;
            assert!(revision <= store.revision());
            if revision > store.compacted() {
                for side in ["left", "right"] {
                    assert_eq!(seen.get(&(revision, format!("{side}/{writer}"))), Some(&count));
                }
            }
        }
        for (writer, count) in &acknowledged {
            let [left, right] = ["left", "right"].map(|side| {
                let entry = store.get(&format!("{side}/{writer}")).unwrap().unwrap();
                (number(&entry.value), entry.modified, entry.version)
            });
            assert_eq!(left, right, "half a transaction");
            // One more may have been on its way.
            assert!((*count..=count + 1).contains(&left.0), "{count} was acknowledged, {left:?} is there");
            assert_eq!(left.0, left.2, "every count is one version");
        }
    }
}

/// How long a process may go on.
enum Kill {
    FromBeginning(Duration),
    FromFirstWrite(Duration),
}

fn run_and_kill(directory: &std::path::Path, kill: Kill) -> Vec<(Revision, usize, u64)> {
    let mut child = crate::child("crash::writers", directory).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let (begun, begins) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let acks = lines.map_while(Result::ok).filter_map(|line| {
            // What the test harness of the child says is in between.
            let fields: Vec<u64> = line.strip_prefix("ack ")?.split(' ').flat_map(str::parse).collect();
            let [revision, writer, count] = fields[..] else { return None };
            let _ = begun.send(());
            Some((Revision(revision), writer as usize, count))
        });
        acks.collect()
    });
    match kill {
        Kill::FromBeginning(after) => std::thread::sleep(after),
        Kill::FromFirstWrite(after) => {
            begins.recv_timeout(Duration::from_secs(60)).unwrap();
            std::thread::sleep(after);
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}
