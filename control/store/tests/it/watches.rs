use xebec_store::{Error, EventKind, Options, Revision, Store};

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_has_no_gap_and_no_duplicate_wherever_it_starts() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), Options::default()).unwrap();
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for turn in 0..40 {
                    store.create(format!("w/{writer}/{turn}"), "x".into()).await.unwrap();
                }
            })
        })
        .collect();
    let readers: Vec<_> = (0..8)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                let from = store.revision();
                let mut watch = store.watch("w/", Some(from)).unwrap();
                for expected in from.0 + 1..=320 {
                    assert_eq!(watch.next().await.unwrap().revision, Revision(expected));
                }
                assert_eq!(watch.progress(), Revision(320));
            })
        })
        .collect();
    for task in writers.into_iter().chain(readers) {
        tokio::time::timeout(std::time::Duration::from_secs(30), task).await.unwrap().unwrap();
    }
    store.close().await;
}

#[tokio::test]
async fn a_watch_sees_its_prefix_alone_and_what_was_before() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), Options::default()).unwrap();
    let mut watch = store.watch("a/", None).unwrap();
    store.create("b/1", "x".into()).await.unwrap();
    let made = store.create("a/1", "old".into()).await.unwrap();
    store.update("a/1", "new".into(), made.modified).await.unwrap();
    store.delete("a/1", None).await.unwrap();
    let kinds: Vec<_> = [watch.next().await, watch.next().await, watch.next().await]
        .into_iter()
        .map(|event| event.unwrap())
        .map(|event| {
            (event.revision.0, event.previous.is_some(), matches!(event.kind, EventKind::Put { .. }))
        })
        .collect();
    assert_eq!(kinds, [(2, false, true), (3, true, true), (4, true, false)]);
    store.close().await;
    assert_eq!(watch.next().await.unwrap_err(), Error::Closed);
}

#[tokio::test]
async fn a_slow_watcher_is_cut_off_and_the_others_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { watch_capacity: 4, ..Options::default() };
    let store = Store::open(directory.path(), options).unwrap();
    let mut slow = store.watch("", None).unwrap();
    let mut quick = store.watch("", None).unwrap();
    for turn in 0..20 {
        store.create(turn.to_string(), "x".into()).await.unwrap();
        quick.next().await.unwrap();
    }
    let mut seen = 0;
    let error = loop {
        match slow.next().await {
            Ok(event) => {
                seen += 1;
                assert_eq!(event.revision, Revision(seen));
            }
            Err(error) => break error,
        }
    };
    assert_eq!(error, Error::Lagged { limit: 4 });
    store.close().await;
}
