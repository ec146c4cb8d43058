//! Watches that come and go while many write.

use std::sync::Arc;

use xebec_store::{Event, Options, Revision, Store, Watch};

const WRITERS: u64 = 16;
const WRITES: u64 = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_watch_started_at_any_moment_has_no_gap_and_no_duplicate() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), &Options::default()).unwrap();
    let last = Revision(WRITERS * WRITES);
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..WRITERS {
        let store = store.clone();
        writers.spawn(async move {
            for write in 0..WRITES {
                let prefix = if write % 3 == 0 { "odd" } else { "even" };
                store.create(format!("{prefix}/{writer}/{write}"), "x".into()).await.unwrap();
                // What is acknowledged is visible.
                assert!(store.get(&format!("{prefix}/{writer}/{write}")).unwrap().is_some());
            }
        });
    }
    let mut watchers = tokio::task::JoinSet::new();
    let mut started = 0;
    while store.revision() < last {
        for prefix in ["", "odd/", "even/1"] {
            let now = store.revision();
            let half = Revision(now.0 / 2);
            watchers.spawn(follow(store.watch(prefix, Some(now)).unwrap(), prefix, now, last));
            watchers.spawn(follow(store.watch(prefix, Some(half)).unwrap(), prefix, half, last));
            let watch = store.watch(prefix, None).unwrap();
            drop(watch);
            started += 2;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    while let Some(written) = writers.join_next().await {
        written.unwrap();
    }
    let history = drain(&mut store.watch("", Some(Revision(0))).unwrap());
    let revisions: Vec<u64> = history.iter().map(|event| event.revision.0).collect();
    assert_eq!(revisions, (1..=last.0).collect::<Vec<_>>());
    assert!(started > 20, "only {started} watches were started while others wrote");
    while let Some(followed) = watchers.join_next().await {
        let Followed { prefix, after, taken, progress } = followed.unwrap();
        let wanted: Vec<_> = history
            .iter()
            .filter(|event| event.revision > after && event.key.starts_with(prefix))
            .cloned()
            .collect();
        assert_eq!(taken, wanted, "prefix {prefix:?} after {after}");
        for (complete, count) in progress {
            let below = wanted.iter().filter(|event| event.revision <= complete).count();
            assert!(below <= count, "said to be complete up to {complete} with {count} of {below} events");
        }
    }
}

/// The same, but with so many watches started that some fall between a commit and its delivery.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_watch_started_during_a_delivery_takes_up_exactly_there() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), &Options::default()).unwrap();
    let last = Revision(400);
    let starters: Vec<_> = (0..3)
        .map(|_| {
            let store = store.clone();
            std::thread::spawn(move || {
                let mut started = 0;
                while store.revision() < last {
                    let watches: Vec<_> = (0..40).map(|_| store.watch("", None).unwrap()).collect();
                    started += watches.len();
                    for mut watch in watches {
                        let from = watch.progress();
                        let first = loop {
                            match watch.try_next().unwrap() {
                                None if store.revision() < last => std::thread::yield_now(),
                                next => break next,
                            }
                        };
                        assert!(first.is_none_or(|event| event.revision.0 == from.0 + 1));
                    }
                }
                started
            })
        })
        .collect();
    for number in 0..last.0 {
        store.create(number.to_string(), "x".into()).await.unwrap();
    }
    for starter in starters {
        assert!(starter.join().unwrap() > 0);
    }
}

struct Followed {
    prefix: &'static str,
    after: Revision,
    taken: Vec<Arc<Event>>,
    /// What the watch said about itself, and how many events had been taken by then.
    progress: Vec<(Revision, usize)>,
}

async fn follow(mut watch: Watch, prefix: &'static str, after: Revision, last: Revision) -> Followed {
    let mut followed = Followed { prefix, after, taken: Vec::new(), progress: Vec::new() };
    loop {
        let progress = watch.progress();
        followed.progress.push((progress, followed.taken.len()));
        if progress == last {
            return followed;
        }
        let next = watch.next();
        // Giving up while it waits loses nothing.
        match tokio::time::timeout(std::time::Duration::from_millis(1), next).await {
            Ok(event) => followed.taken.push(event.unwrap()),
            Err(_) => tokio::task::yield_now().await,
        }
    }
}

fn drain(watch: &mut Watch) -> Vec<Arc<Event>> {
    std::iter::from_fn(|| watch.try_next().unwrap()).collect()
}
