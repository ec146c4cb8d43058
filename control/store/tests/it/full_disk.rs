//! The disk takes no more. Reads go on, nothing acknowledged is lost, and writes go on once there is room.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use xebec_store::{Error, ListRequest, Options, Revision, Store};

/// Creates keys until the disk refuses.
async fn fill(store: &Store) -> (usize, Error) {
    for number in 0..20_000 {
        if let Err(error) = store.create(format!("fill/{number:05}"), vec![7; 8_000].into()).await {
            return (number, error);
        }
    }
    panic!("the disk took everything");
}

fn check(store: &Store, count: usize) {
    let page = store.list(&ListRequest { prefix: "fill/", ..Default::default() }).unwrap();
    assert_eq!((page.items.len(), store.revision().0), (count, count as u64));
    assert!(page.items.iter().all(|entry| entry.value == vec![7; 8_000]));
}

async fn check_refusal(store: &Store, count: usize, error: &Error) {
    let refuses = |error: &Error| matches!(error, Error::Storage { .. } | Error::Full { .. });
    assert!(refuses(error), "{error}");
    assert!(count > 20, "{count}");
    check(store, count);
    let again = store.create("large", vec![7; 1_500_000].into()).await;
    assert!(again.as_ref().is_err_and(refuses), "{again:?}");
    check(store, count);
}

#[tokio::test]
async fn a_store_that_reached_its_size_refuses_writes_until_it_is_given_more() {
    let directory = tempfile::tempdir().unwrap();
    let small = Options { max_bytes: 5 << 20, ..Options::default() };
    let store = Store::open(directory.path(), &small).unwrap();
    let (count, error) = fill(&store).await;
    assert!(error.to_string().contains("the limit is 5242880"), "{error}");
    check_refusal(&store, count, &error).await;
    store.close().await;
    let store = Store::open(directory.path(), &Options::default()).unwrap();
    check(&store, count);
    store.create("more", "x".into()).await.unwrap();
}

#[tokio::test]
async fn a_full_store_takes_deletions_and_goes_on_with_the_room_they_make() {
    let directory = tempfile::tempdir().unwrap();
    let small = Options { max_bytes: 5 << 20, ..Options::default() };
    let store = Store::open(directory.path(), &small).unwrap();
    let (count, error) = fill(&store).await;
    assert!(matches!(error, Error::Full { limit, .. } if limit == 5 << 20), "{error}");
    let refused = store.update("fill/00000", vec![8; 8_000].into(), Revision(1)).await;
    assert!(matches!(refused, Err(Error::Full { .. })), "{refused:?}");
    for number in 0..count / 2 {
        store.delete(format!("fill/{number:05}"), None).await.unwrap();
    }
    for number in 0..count / 2 {
        store.create(format!("more/{number:05}"), vec![7; 8_000].into()).await.unwrap();
    }
    let again = store.create("larger", vec![7; 80_000].into()).await;
    assert!(matches!(again, Err(Error::Full { .. })), "{again:?}");
    store.close().await;
    let store = Store::open(directory.path(), &small).unwrap();
    let page = store.list(&ListRequest { prefix: "more/", ..Default::default() }).unwrap();
    assert_eq!(page.items.len(), count / 2);
    let again = store.create("larger", vec![7; 80_000].into()).await;
    assert!(matches!(again, Err(Error::Full { .. })), "what is held is known after a restart: {again:?}");
}

#[tokio::test]
async fn history_is_bounded_in_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { keep_bytes: 1 << 20, ..Options::default() };
    let store = Store::open(directory.path(), &options).unwrap();
    let mut entry = store.create("a", vec![7; 100_000].into()).await.unwrap();
    for _ in 0..100 {
        entry = store.update("a", vec![7; 100_000].into(), entry.modified).await.unwrap();
    }
    // The writer compacts behind the answer, and takes the next command after that.
    let _in_order = store.compact(store.compacted()).await;
    let kept = store.revision().0 - store.compacted().0;
    assert!((10..=12).contains(&kept), "{kept} revisions of 100 kB are kept");
    assert!(matches!(store.get_at("a", Revision(50)), Err(Error::Compacted { .. })));
    assert_eq!(store.get("a").unwrap(), Some(entry));
}

#[tokio::test]
async fn a_watch_that_holds_too_many_bytes_is_cut_off_and_a_single_large_event_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { watch_bytes: 50_000, ..Options::default() };
    let store = Store::open(directory.path(), &options).unwrap();
    let (mut slow, mut quick) = (store.watch("", None).unwrap(), store.watch("", None).unwrap());
    for number in 0..3 {
        store.create(format!("large/{number}"), vec![7; 100_000].into()).await.unwrap();
        quick.next().await.unwrap();
    }
    slow.next().await.unwrap();
    let end = slow.next().await.unwrap_err();
    assert_eq!(end, Error::Lagged { limit: 4_096, limit_bytes: 50_000 });
}

#[tokio::test]
async fn a_store_goes_on_once_a_full_disk_has_room_again() {
    let mount = tempfile::tempdir().unwrap();
    let Some(_tmpfs) = Tmpfs::mount(mount.path()) else {
        eprintln!("skipped: a full disk cannot be had, this process may not mount a tmpfs");
        return;
    };
    let ballast = mount.path().join("ballast");
    std::fs::write(&ballast, vec![1; 4 << 20]).unwrap();
    let directory = mount.path().join("store");
    let store = Store::open(&directory, &Options::default()).unwrap();
    let (count, error) = fill(&store).await;
    check_refusal(&store, count, &error).await;
    assert!(matches!(store.check(), Err(Error::Storage { .. })), "{:?}", store.check());
    std::fs::remove_file(ballast).unwrap();
    let made = store.create("more", "x".into()).await.unwrap();
    assert_eq!(made.modified.0, count as u64 + 1);
    assert_eq!(store.check(), Ok(()));
    store.close().await;
    assert_eq!(store.check(), Err(Error::Closed));
    let store = Store::open(&directory, &Options::default()).unwrap();
    assert_eq!(store.get("more").unwrap(), Some(made));
    store.close().await;
}

/// Eight megabytes of disk.
struct Tmpfs<'a>(&'a Path);

impl<'a> Tmpfs<'a> {
    fn mount(path: &'a Path) -> Option<Self> {
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(path).stderr(Stdio::null());
        command.status().ok()?.success().then_some(Self(path))
    }
}

impl Drop for Tmpfs<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[tokio::test]
#[ignore = "the parent starts it in a process of its own, which may write no large file"]
async fn limited() {
    let Some(directory) = crate::given() else { return };
    let store = Store::open(directory, &Options::default()).unwrap();
    let (count, error) = fill(&store).await;
    check_refusal(&store, count, &error).await;
    store.close().await;
    println!("\nfilled with {count}");
}

#[tokio::test]
async fn a_file_that_may_not_grow_is_a_refusal_and_not_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let child = crate::child("full_disk::limited", directory.path());
    // The limit counts kilobytes. Ignored, its signal becomes an error.
    let script = "trap '' XFSZ; ulimit -f 5000; exec \"$@\"";
    let mut command = Command::new("bash");
    command.args(["-c", script, "bash"]).arg(child.get_program()).args(child.get_args());
    command.env("STORE_DIRECTORY", directory.path());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let count = said.lines().find_map(|line| line.strip_prefix("filled with ")?.parse().ok()).unwrap();
    check(&Store::open(directory.path(), &Options::default()).unwrap(), count);
}
