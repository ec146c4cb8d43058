use bytes::Bytes;

use super::*;
use crate::index::Index;
use crate::{Op, plan::Plan};
use std::time::Instant;

fn open(directory: &Path) -> (Base, Index) {
    let base = Base::open(directory, 1 << 30).unwrap();
    let index = base.read(|database| replay::database(database, base.head(), Instant::now())).unwrap();
    (base, index)
}

/// One transaction, which is in the index then.
fn commit(index: &mut Index, op: Op) -> Work {
    let mut plan = Plan::new(index, u64::MAX);
    plan.stage(vec![op]).unwrap();
    let (_, events) = plan.finish();
    index.apply(&events, Instant::now());
    Work::Add(events)
}

fn create(key: &str) -> Op {
    Op::Create { key: key.to_owned(), value: Bytes::from_static(b"x") }
}

/// As after a failure that left open whether the last commit got through.
fn fail(base: &mut Base, known: Head) {
    base.database = None;
    base.head = known;
}

#[test]
fn a_commit_that_failed_but_is_there_is_not_made_again() {
    let directory = tempfile::tempdir().unwrap();
    let (mut base, mut index) = open(directory.path());
    let first = commit(&mut index, create("a"));
    base.apply(&[first]).unwrap();
    let known = base.head();
    let second = [
        commit(&mut index, create("b")),
        commit(&mut index, Op::Delete { key: "a".to_owned(), expected: None }),
        Work::compaction(Revision(3), index.events_until(Revision(3))),
    ];
    base.apply(&second).unwrap();
    let there = base.head();
    assert_eq!((there.revision, there.compacted, there.records), (Revision(3), Revision(3), 1));
    fail(&mut base, known);

    base.apply(&second).unwrap();
    assert_eq!(base.head(), there);
    drop(base);
    let (_, found) = open(directory.path());
    assert_eq!((found.revision(), found.compacted()), (Revision(3), Revision(3)));
    assert!(found.get("a").is_none() && found.get("b").is_some());
}

#[test]
fn a_database_that_fell_back_while_open_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (mut base, mut index) = open(directory.path());
    let first = commit(&mut index, create("a"));
    base.apply(&[first]).unwrap();
    let ahead = Head { revision: Revision(2), records: 2, ..base.head() };
    fail(&mut base, ahead);
    let refused = base.apply(&[]).unwrap_err();
    assert!(matches!(refused, Error::Corrupt { .. }), "{refused}");
}
