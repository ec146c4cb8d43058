//! The store as a caller sees it: writes, reads in the past, watches, compaction, limits.

use std::time::Duration;

use bytes::Bytes;
use xebec_store::{Entry, Error, EventKind, ListRequest, Op, Options, Revision, Store};

struct Place {
    directory: tempfile::TempDir,
    options: Options,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), options: Options::default() }
    }

    fn open(&self) -> Store {
        Store::open(self.directory.path().join("store"), &self.options).unwrap()
    }
}

fn keys(store: &Store, request: ListRequest<'_>) -> Vec<String> {
    store.list(&request).unwrap().items.iter().map(|entry| entry.key.to_string()).collect()
}

#[tokio::test]
async fn each_write_is_one_revision_and_shows_in_the_entry() {
    let place = Place::new();
    let store = place.open();
    assert_eq!(store.revision(), Revision(0));
    let made = store.create("a", "1".into()).await.unwrap();
    assert_eq!((made.created, made.modified, made.version), (Revision(1), Revision(1), 1));
    let changed = store.update("a", "2".into(), made.modified).await.unwrap();
    assert_eq!((changed.created, changed.modified, changed.version), (Revision(1), Revision(2), 2));
    assert_eq!(store.get("a").unwrap(), Some(changed));
    assert_eq!(store.delete("a", None).await.unwrap(), Revision(3));
    assert_eq!(store.get("a").unwrap(), None);
    let again = store.create("a", "3".into()).await.unwrap();
    assert_eq!((again.created, again.version), (Revision(4), 1));
}

#[tokio::test]
async fn writes_that_do_not_fit_the_present_are_refused_and_change_nothing() {
    let place = Place::new();
    let store = place.open();
    store.create("a", "1".into()).await.unwrap();
    let conflict = |expected| Error::Conflict { key: "a".into(), expected, actual: Revision(1) };
    let (missing, exists) =
        (Error::NotFound { key: "b".into() }, Error::Exists { key: "a".into(), current: Revision(1) });
    assert_eq!(store.create("a", "2".into()).await, Err(exists));
    assert_eq!(store.update("a", "2".into(), Revision(7)).await, Err(conflict(Revision(7))));
    assert_eq!(store.delete("a", Some(Revision(8))).await, Err(conflict(Revision(8))));
    assert_eq!(store.update("b", "2".into(), Revision(1)).await, Err(missing.clone()));
    assert_eq!(store.delete("b", None).await, Err(missing));
    assert_eq!(store.revision(), Revision(1));
}

#[tokio::test]
async fn a_transaction_is_whole_or_not_at_all() {
    let place = Place::new();
    let store = place.open();
    store.create("b", "0".into()).await.unwrap();
    let create = |key: &str| Op::Create { key: key.into(), value: "1".into() };
    assert!(store.transact(vec![create("a"), create("b"), create("c")]).await.is_err());
    assert_eq!(keys(&store, ListRequest::default()), ["b"]);
    let delete = Op::Delete { key: "b".into(), expected: Some(Revision(1)) };
    let revision = store.transact(vec![create("c"), delete, create("a")]).await.unwrap();
    assert_eq!(revision, Revision(2));
    assert_eq!(keys(&store, ListRequest::default()), ["a", "c"]);
    let mut watch = store.watch("", Some(Revision(1))).unwrap();
    for key in ["a", "b", "c"] {
        let event = watch.next().await.unwrap();
        assert_eq!((&*event.key, event.revision), (key, revision));
    }
}

#[tokio::test]
async fn lists_come_in_pages_of_one_revision() {
    let place = Place::new();
    let store = place.open();
    for number in 0..5 {
        store.create(format!("p/{number}"), "x".into()).await.unwrap();
    }
    store.create("q/0", "x".into()).await.unwrap();
    let page = ListRequest { prefix: "p/", limit: Some(2), ..Default::default() };
    let uncounted = store.list(&page).unwrap();
    assert_eq!((uncounted.items.len(), uncounted.more, uncounted.remaining), (2, true, None));
    let first = store.list(&ListRequest { count: true, ..page }).unwrap();
    assert_eq!((first.items.len(), first.more, first.remaining), (2, true, Some(3)));
    store.delete("p/3", None).await.unwrap();
    store.create("p/9", "x".into()).await.unwrap();
    let rest =
        ListRequest { prefix: "p/", after: Some("p/1"), at: Some(first.revision), ..Default::default() };
    assert_eq!(keys(&store, rest), ["p/2", "p/3", "p/4"]);
    assert_eq!(keys(&store, ListRequest { at: None, ..rest }), ["p/2", "p/4", "p/9"]);
    assert_eq!(keys(&store, ListRequest { prefix: "q/", after: Some("p/1"), ..Default::default() }), ["q/0"]);
}

#[tokio::test]
async fn the_kept_past_is_read_and_watched_after_a_restart_as_before() {
    let place = Place::new();
    let store = place.open();
    let one = store.create("a", "1".into()).await.unwrap();
    let two = store.update("a", "2".into(), one.modified).await.unwrap();
    store.delete("a", Some(two.modified)).await.unwrap();
    store.create("b", "3".into()).await.unwrap();
    store.close().await;
    assert_eq!(store.get("a"), Err(Error::Closed));
    assert_eq!(store.create("c", "4".into()).await, Err(Error::Closed));

    let store = place.open();
    assert_eq!(store.revision(), Revision(4));
    assert_eq!(store.get_at("a", Revision(1)).unwrap(), Some(one));
    assert_eq!(store.get_at("a", Revision(2)).unwrap(), Some(two.clone()));
    assert_eq!(store.get_at("a", Revision(3)).unwrap(), None);
    let mut watch = store.watch("a", Some(Revision(1))).unwrap();
    assert_eq!(watch.next().await.unwrap().kind, EventKind::Put { entry: two.clone() });
    assert_eq!(watch.next().await.unwrap().kind, EventKind::Delete { last: two });
    assert_eq!(watch.try_next(), Ok(None));
}

#[tokio::test]
async fn compaction_keeps_what_is_live_and_refuses_what_is_gone() {
    let place = Place::new();
    let store = place.open();
    let mut entry = store.create("a", "0".into()).await.unwrap();
    store.create("gone", "x".into()).await.unwrap();
    for number in 0..5 {
        entry = store.update("a", format!("{number}").into(), entry.modified).await.unwrap();
    }
    store.delete("gone", None).await.unwrap();
    store.compact(Revision(8)).await.unwrap();
    store.create("kept", "z".into()).await.unwrap();
    store.delete("kept", None).await.unwrap();
    check_compacted(&store, &entry);
    store.close().await;
    let store = place.open();
    check_compacted(&store, &entry);
    // A key that is gone begins anew, at a revision never used before.
    assert_eq!(store.create("gone", "y".into()).await.unwrap().created, Revision(11));
    let future = Error::Future { requested: Revision(12), current: Revision(11) };
    assert_eq!(store.watch("", Some(Revision(12))).err(), Some(future.clone()));
    assert_eq!(store.compact(Revision(12)).await, Err(future));
}

fn check_compacted(store: &Store, live: &Entry) {
    let refused = Error::Compacted { requested: Revision(7), oldest: Revision(8) };
    assert_eq!(store.compacted(), Revision(8));
    assert_eq!(store.get("a").unwrap().as_ref(), Some(live));
    assert_eq!(store.get_at("a", Revision(7)), Err(refused.clone()));
    assert_eq!(
        store.list(&ListRequest { at: Some(Revision(7)), ..Default::default() }),
        Err(refused.clone())
    );
    assert_eq!(store.watch("", Some(Revision(7))).err(), Some(refused));
    assert!(store.get_at("kept", Revision(9)).unwrap().is_some());
    assert_eq!(store.get_at("gone", Revision(8)).unwrap(), None);
    assert!(store.watch("", Some(Revision(8))).is_ok());
}

#[tokio::test]
async fn history_is_let_go_by_count_and_by_age() {
    let mut place = Place::new();
    place.options.keep_revisions = 5;
    let store = place.open();
    for number in 0..20 {
        store.create(format!("{number}"), "x".into()).await.unwrap();
    }
    until(|| store.compacted() == Revision(15)).await;
    assert_eq!(keys(&store, ListRequest::default()).len(), 20);

    let mut place = Place::new();
    place.options.keep_for = Duration::from_millis(300);
    let store = place.open();
    store.create("a", "x".into()).await.unwrap();
    assert_eq!(store.compacted(), Revision(0));
    until(|| store.compacted() == Revision(1)).await;
    assert!(store.get_at("a", Revision(1)).unwrap().is_some());
}

#[tokio::test]
async fn a_watch_tells_how_far_it_is_complete() {
    let place = Place::new();
    let store = place.open();
    let mut watch = store.watch("a/", None).unwrap();
    assert_eq!(watch.progress(), Revision(0));
    store.create("b/1", "x".into()).await.unwrap();
    until(|| watch.progress() == Revision(1)).await;
    let create = |key: &str| Op::Create { key: key.into(), value: "1".into() };
    store.transact(vec![create("a/1"), create("a/2")]).await.unwrap();
    store.create("b/2", "x".into()).await.unwrap();
    assert_eq!(watch.progress(), Revision(1));
    assert_eq!(&*watch.next().await.unwrap().key, "a/1");
    // The other half of revision 2 is still to come.
    assert_eq!(watch.progress(), Revision(1));
    assert_eq!(&*watch.next().await.unwrap().key, "a/2");
    until(|| watch.progress() == Revision(3)).await;

    let mut late = store.watch("a/", Some(Revision(0))).unwrap();
    assert_eq!(late.progress(), Revision(1));
    while late.try_next().unwrap().is_some() {}
    assert_eq!(late.progress(), Revision(3));
}

#[tokio::test]
async fn a_slow_watcher_is_cut_off_and_the_others_go_on() {
    let mut place = Place::new();
    place.options.watch_buffer = 4;
    let store = place.open();
    let mut slow = store.watch("", None).unwrap();
    let mut quick = store.watch("", None).unwrap();
    for number in 0..10 {
        store.create(format!("{number}"), "x".into()).await.unwrap();
        assert_eq!(quick.next().await.unwrap().revision, Revision(number + 1));
    }
    for number in 0..4 {
        assert_eq!(slow.next().await.unwrap().revision, Revision(number + 1));
    }
    let lagged = Error::Lagged { limit: 4, limit_bytes: Options::default().watch_bytes };
    assert_eq!(slow.next().await, Err(lagged.clone()));
    assert_eq!(slow.try_next(), Err(lagged));
    assert!(slow.progress() < Revision(10));
    // It resumes where it was cut, with nothing missed.
    let mut resumed = store.watch("", Some(Revision(4))).unwrap();
    assert_eq!(resumed.next().await.unwrap().revision, Revision(5));
    store.close().await;
    assert_eq!(quick.next().await, Err(Error::Closed));
}

#[tokio::test]
async fn what_exceeds_a_limit_is_refused_with_the_limit() {
    let place = Place::new();
    let store = place.open();
    let limit = 1_572_864;
    store.create("fits", Bytes::from(vec![1; limit])).await.unwrap();
    let large = store.create("large", Bytes::from(vec![1; limit + 1])).await;
    assert_eq!(large, Err(Error::ValueTooLarge { key: "large".into(), size: limit + 1, limit }));
    assert_eq!(store.create("", "x".into()).await, Err(Error::KeyLength { size: 0, limit: 1024 }));
    let long = store.create("k".repeat(1025), "x".into()).await;
    assert_eq!(long, Err(Error::KeyLength { size: 1025, limit: 1024 }));
    let create = |key: String, size| Op::Create { key, value: Bytes::from(vec![1; size]) };
    for ops in [
        vec![],
        (0..513).map(|number| create(number.to_string(), 1)).collect(),
        (0..4).map(|number| create(number.to_string(), 3 << 19)).collect(),
        vec![create("twice".into(), 1), create("twice".into(), 1)],
    ] {
        let refused = store.transact(ops).await.unwrap_err();
        assert!(matches!(refused, Error::Transaction { .. }), "{refused}");
    }
    assert_eq!(store.revision(), Revision(1));
}

#[tokio::test]
async fn a_store_is_open_once() {
    let place = Place::new();
    let store = place.open();
    let path = place.directory.path().join("store");
    let second = Store::open(&path, &place.options);
    assert!(matches!(second, Err(Error::Locked { .. })), "{second:?}");
    store.create("a", "1".into()).await.unwrap();
    drop(store);
    assert_eq!(place.open().revision(), Revision(1));
}

async fn until(mut condition: impl FnMut() -> bool) {
    for _ in 0..500 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not come to pass within five seconds");
}
