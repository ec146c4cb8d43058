use std::time::Instant;

use super::*;
use crate::index::Index;
use crate::{Op, plan::Plan};

/// A transaction that makes two keys of so many bytes.
fn commit(index: &mut Index, number: usize, size: usize) -> Vec<Arc<Event>> {
    let ops =
        ["a", "b"].map(|side| Op::Create { key: format!("{side}/{number}"), value: vec![7; size].into() });
    let mut plan = Plan::new(index, u64::MAX);
    plan.stage(ops.into()).unwrap();
    let (_, events) = plan.finish();
    index.apply(&events, Instant::now());
    events
}

/// A journal of so many commits, of which nothing is kept elsewhere.
fn journal(directory: &Path, commits: usize, size: usize) -> Journal {
    let (mut journal, rows) = Journal::open(directory).unwrap();
    assert!(rows.is_empty());
    let mut index = Index::new(Revision(0));
    for number in 0..commits {
        journal.append(&commit(&mut index, number, size)).unwrap();
    }
    journal
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(directory).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

fn found(directory: &Path) -> Vec<(u64, String)> {
    let (mut journal, rows) = Journal::open(directory).unwrap();
    journal.tidy().unwrap();
    rows.iter().map(|row| (row.revision.0, row.key.to_string())).collect()
}

#[test]
fn what_was_appended_is_found_again_in_order() {
    let directory = tempfile::tempdir().unwrap();
    drop(journal(directory.path(), 3, 900));
    let wanted: Vec<_> =
        (0..3).flat_map(|at| ["a", "b"].map(|side| (at + 1, format!("{side}/{at}")))).collect();
    assert_eq!(found(directory.path()), wanted);
    // And again, since reading changes nothing.
    assert_eq!(found(directory.path()), wanted);
}

#[test]
fn files_go_when_all_that_is_in_them_is_kept() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = journal(directory.path(), 70, 100_000);
    assert_eq!(files(directory.path()).len(), 4, "{:?}", files(directory.path()));
    let bytes = journal.bytes();
    journal.release(Revision(30)).unwrap();
    assert_eq!(files(directory.path()).len(), 3);
    assert!(journal.bytes() < bytes);
    journal.close(Revision(69)).unwrap();
    assert_eq!(files(directory.path()).len(), 1, "one commit is not kept");
    let (journal, rows) = Journal::open(directory.path()).unwrap();
    assert_eq!(rows.last().unwrap().revision, Revision(70));
    journal.close(Revision(70)).unwrap();
    assert!(files(directory.path()).is_empty());
}

#[test]
fn a_commit_that_was_cut_short_is_let_go_whole() {
    let directory = tempfile::tempdir().unwrap();
    drop(journal(directory.path(), 2, 900));
    let file = files(directory.path()).remove(0);
    let whole = fs::read(&file).unwrap();
    let second = MAGIC.len() + (whole.len() - MAGIC.len()) / 2;
    for cut in [0, 1, 7, 8, 30, second - 1, second, second + 1, second + 8, whole.len() - 1] {
        fs::write(&file, &whole[..cut]).unwrap();
        let wanted = if cut < second { 0 } else { 2 };
        assert_eq!(found(directory.path()).len(), wanted, "cut at {cut}");
        let left = fs::metadata(&file).ok().map(|file| file.len());
        assert_eq!(left, (cut >= second).then_some(second as u64));
    }
}

#[test]
fn damage_is_told_unless_it_is_in_the_last_commit() {
    let directory = tempfile::tempdir().unwrap();
    drop(journal(directory.path(), 3, 900));
    let file = files(directory.path()).remove(0);
    let whole = fs::read(&file).unwrap();
    let last = MAGIC.len() + (whole.len() - MAGIC.len()) / 3 * 2;
    for place in (0..whole.len()).step_by(31).chain(MAGIC.len()..MAGIC.len() + 40) {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x10;
        fs::write(&file, &bytes).unwrap();
        match Journal::open(directory.path()) {
            Err(Error::Corrupt { path, .. }) => assert!(path == file && place < last, "byte {place}"),
            Ok((_, rows)) => assert!(place >= last && rows.len() == 4, "byte {place}: {}", rows.len()),
            Err(other) => panic!("byte {place}: {other}"),
        }
        assert_eq!(fs::read(&file).unwrap(), bytes, "it is left as it is");
    }
    for rubbish in [&b"apiVersion: v1\n"[..], &[0; 64], &[255; 64]] {
        fs::write(&file, rubbish).unwrap();
        assert!(matches!(Journal::open(directory.path()), Err(Error::Corrupt { .. })));
    }
}

#[test]
fn a_file_that_was_removed_by_others_is_no_reason_to_fail() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = journal(directory.path(), 70, 100_000);
    fs::remove_file(&files(directory.path())[0]).unwrap();
    journal.release(Revision(70)).unwrap();
    assert_eq!(files(directory.path()).len(), 1, "{:?}", files(directory.path()));
}

#[test]
fn a_large_commit_fills_a_file_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let mut journal = journal(directory.path(), 1, 5 << 20);
    assert!(journal.bytes() > FILE_BYTES);
    journal.release(Revision(1)).unwrap();
    assert_eq!(journal.bytes(), 0);
}
