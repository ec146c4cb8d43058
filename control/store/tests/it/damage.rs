//! What is on disk is not what was written.

use std::{
    fs,
    path::{Path, PathBuf},
};

use xebec_store::{Entry, Error, ListRequest, Op, Options, Revision, Store};

/// A closed store of three hundred keys with a history, and what is in it.
struct Fixture {
    directory: tempfile::TempDir,
    entries: Vec<Entry>,
}

impl Fixture {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path()).unwrap();
        let create = |number| Op::Create { key: format!("key/{number:03}"), value: value(number) };
        for batch in 0..3 {
            store.transact((batch * 100..batch * 100 + 100).map(create).collect()).await.unwrap();
        }
        for number in 0..20 {
            let key = format!("key/{number:03}");
            let expected = store.get(&key).unwrap().unwrap().modified;
            store.update(key, value(number + 1_000), expected).await.unwrap();
        }
        store.compact(Revision(12)).await.unwrap();
        let entries = store.list(&ListRequest::default()).unwrap().items;
        store.close().await;
        Self { directory, entries }
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("store.redb")
    }

    /// Opens a copy whose database is something else.
    fn with(&self, bytes: &[u8]) -> (tempfile::TempDir, Result<Store, Error>) {
        let copy = tempfile::tempdir().unwrap();
        fs::copy(self.directory.path().join("store.head"), copy.path().join("store.head")).unwrap();
        fs::write(copy.path().join("store.redb"), bytes).unwrap();
        let opened = open(copy.path());
        (copy, opened)
    }
}

fn value(number: usize) -> bytes::Bytes {
    format!("value-{number:06}-").repeat(20).into()
}

fn open(directory: &Path) -> Result<Store, Error> {
    Store::open(directory, &Options::default())
}

fn refused(opened: Result<Store, Error>) -> String {
    match opened {
        Err(Error::Corrupt { detail, .. }) => detail,
        other => panic!("it should have been refused as damaged: {other:?}"),
    }
}

#[tokio::test]
async fn a_flipped_bit_is_refused_or_changes_nothing() {
    let fixture = Fixture::new().await;
    let good = fs::read(fixture.file()).unwrap();
    let mut refusals = 0;
    // All over the header and the pages, and never in step with the page size.
    let places = (0..320).step_by(7).chain((320..good.len()).step_by((good.len() / 100) | 1));
    for place in places {
        let mut bytes = good.clone();
        bytes[place] ^= 0x10;
        let (copy, opened) = fixture.with(&bytes);
        match opened {
            Err(Error::Corrupt { .. }) => refusals += 1,
            Err(other) => panic!("byte {place}: {other}"),
            Ok(store) => {
                assert_eq!(
                    store.list(&ListRequest::default()).unwrap().items,
                    fixture.entries,
                    "byte {place}"
                );
                // It can be written to as well, and holds.
                let made = store.create("new", value(1)).await.unwrap();
                store.close().await;
                let again = open(copy.path()).unwrap();
                assert_eq!(again.get("new").unwrap(), Some(made), "byte {place}");
            }
        }
    }
    assert!(refusals > 10, "only {refusals} flips were in live pages");
}

#[tokio::test]
async fn a_value_changed_on_disk_is_never_served() {
    let fixture = Fixture::new().await;
    let mut bytes = fs::read(fixture.file()).unwrap();
    let needle = value(250);
    let mut copies = 0;
    for place in 0..bytes.len() - needle.len() {
        if bytes[place..].starts_with(&needle) {
            bytes[place + 3] ^= 1;
            copies += 1;
        }
    }
    assert!(copies > 0);
    refused(fixture.with(&bytes).1);
}

#[tokio::test]
async fn a_truncated_file_is_refused() {
    let fixture = Fixture::new().await;
    let good = fs::read(fixture.file()).unwrap();
    for length in [0, 1, 64, 4_096, good.len() / 2, good.len() - 4_096, good.len() - 1] {
        let detail = refused(fixture.with(&good[..length]).1);
        assert!(!detail.is_empty(), "length {length}");
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let fixture = Fixture::new().await;
    let (copy, opened) = fixture.with(&b"apiVersion: v1\n".repeat(1_000));
    refused(opened);
    assert!(fs::read(copy.path().join("store.redb")).unwrap().starts_with(b"apiVersion"));
}

#[tokio::test]
async fn an_older_copy_is_refused() {
    let fixture = Fixture::new().await;
    let older = fs::read(fixture.file()).unwrap();
    let store = open(fixture.directory.path()).unwrap();
    let newest = store.create("one-more", value(1)).await.unwrap().modified;
    store.close().await;
    let detail = refused(fixture.with(&older).1);
    assert!(detail.contains(&format!("{newest} was acknowledged")), "{detail}");

    // A file that is gone is the oldest copy of all.
    fs::remove_file(fixture.file()).unwrap();
    refused(open(fixture.directory.path()));
}

#[tokio::test]
async fn a_store_without_its_witness_opens() {
    let fixture = Fixture::new().await;
    fs::remove_file(fixture.directory.path().join("store.head")).unwrap();
    let store = open(fixture.directory.path()).unwrap();
    assert_eq!(store.list(&ListRequest::default()).unwrap().items, fixture.entries);
}

/// The files of a store as a process that is killed leaves them: what was written last is in the journal alone.
async fn killed() -> (tempfile::TempDir, Vec<Entry>, PathBuf) {
    let (directory, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(directory.path()).unwrap();
    for number in 0..20 {
        store.create(format!("key/{number:03}"), value(number)).await.unwrap();
    }
    for file in fs::read_dir(directory.path()).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    let journal = copy.path().join(format!("store.log.{:020}", 1));
    let entries = store.list(&ListRequest::default()).unwrap().items;
    (copy, entries, journal)
}

#[tokio::test]
async fn what_only_the_journal_has_is_there_and_what_was_cut_short_is_not() {
    let (directory, entries, journal) = killed().await;
    let mut bytes = fs::read(&journal).unwrap();
    let frame = bytes.len() / 20;
    bytes.extend_from_within(..frame - 1);
    fs::write(&journal, &bytes).unwrap();
    for _ in 0..2 {
        let store = open(directory.path()).unwrap();
        assert_eq!(store.list(&ListRequest::default()).unwrap().items, entries);
        store.close().await;
        assert!(!journal.exists(), "the database has it all");
    }
}

#[tokio::test]
async fn a_journal_that_lost_what_was_acknowledged_is_refused_and_left_alone() {
    let (directory, _, journal) = killed().await;
    let good = fs::read(&journal).unwrap();
    for place in (0..good.len()).step_by(good.len() / 40) {
        let mut bytes = good.clone();
        bytes[place] ^= 0x10;
        fs::write(&journal, &bytes).unwrap();
        refused(open(directory.path()));
        assert_eq!(fs::read(&journal).unwrap(), bytes, "byte {place}");
    }
    fs::write(&journal, &good[..good.len() - 1]).unwrap();
    let detail = refused(open(directory.path()));
    assert!(detail.contains("20 was acknowledged"), "{detail}");
    fs::remove_file(&journal).unwrap();
    refused(open(directory.path()));
    fs::write(&journal, &good).unwrap();
    open(directory.path()).unwrap();
}

#[tokio::test]
async fn damage_within_the_journal_is_told_without_a_witness_too() {
    let (directory, entries, journal) = killed().await;
    fs::remove_file(directory.path().join("store.head")).unwrap();
    let good = fs::read(&journal).unwrap();
    let mut bytes = good.clone();
    bytes[good.len() / 2] ^= 0x10;
    fs::write(&journal, &bytes).unwrap();
    let detail = refused(open(directory.path()));
    assert!(detail.contains("there is more behind it"), "{detail}");
    fs::write(&journal, &good).unwrap();
    let store = open(directory.path()).unwrap();
    assert_eq!(store.list(&ListRequest::default()).unwrap().items, entries);
}
