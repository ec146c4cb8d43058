use bytes::Bytes;

use super::*;
use crate::{Op, plan::Plan};

fn open(directory: &Path) -> (Disk, Index) {
    Disk::open(directory, 1 << 30, Instant::now()).unwrap()
}

/// Puts one transaction on disk and in the index.
fn write(disk: &mut Disk, index: &mut Index, op: Op) {
    let (revision, events) = {
        let mut plan = Plan::new(index, u64::MAX);
        plan.stage(vec![op]).unwrap();
        plan.finish()
    };
    disk.append(revision, &events).unwrap();
    index.apply(&events, Instant::now());
}

fn create(key: &str) -> Op {
    Op::Create { key: key.to_owned(), value: Bytes::from_static(b"x") }
}

/// As after a failure that left open whether the last commit got through.
fn fail(disk: &mut Disk, known: Head) {
    disk.database = None;
    disk.head = known;
}

#[test]
fn a_commit_that_failed_but_is_there_is_taken_back() {
    let directory = tempfile::tempdir().unwrap();
    let (mut disk, mut index) = open(directory.path());
    write(&mut disk, &mut index, create("a"));
    let known = disk.head;
    let mut ahead = Index::new(Revision(0));
    ahead.apply(index.events_after(Revision(0), "").unwrap().make_contiguous(), Instant::now());
    write(&mut disk, &mut ahead, create("unacknowledged"));
    fail(&mut disk, known);

    write(&mut disk, &mut index, create("b"));
    disk.close();
    let (_, found) = open(directory.path());
    assert_eq!(found.revision(), Revision(2));
    assert!(found.get("b").is_some());
    assert!(found.get("unacknowledged").is_none());
}

#[test]
fn a_compaction_that_failed_but_is_there_stays() {
    let directory = tempfile::tempdir().unwrap();
    let (mut disk, mut index) = open(directory.path());
    write(&mut disk, &mut index, create("a"));
    write(&mut disk, &mut index, Op::Delete { key: "a".to_owned(), expected: None });
    let known = disk.head;
    let events: Vec<_> = index.events_until(Revision(2)).cloned().collect();
    disk.compact(Revision(2), events.iter()).unwrap();
    fail(&mut disk, known);
    write(&mut disk, &mut index, create("b"));
    assert_eq!(disk.compacted(), Revision(2));
    disk.close();
    let (_, found) = open(directory.path());
    assert_eq!((found.revision(), found.compacted()), (Revision(3), Revision(2)));
    assert!(found.get("b").is_some());
}

#[test]
fn a_database_that_fell_back_while_open_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (mut disk, mut index) = open(directory.path());
    write(&mut disk, &mut index, create("a"));
    let ahead = Head { revision: Revision(2), records: 2, ..disk.head };
    fail(&mut disk, ahead);
    let refused = disk.append(Revision(3), &[]).unwrap_err();
    assert!(matches!(refused, Error::Corrupt { .. }), "{refused}");
}
