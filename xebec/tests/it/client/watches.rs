//! Watches: of single changes, and of a reflector through a restart of the server.

use std::collections::BTreeMap;
use std::pin::pin;

use futures::{StreamExt as _, TryStreamExt as _};
use kube::ResourceExt as _;
use kube::api::{DeleteParams, WatchEvent, WatchParams};
use kube::runtime::{WatchStreamExt as _, reflector, watcher};

use super::*;

#[tokio::test]
async fn a_watch_tells_each_change_once_and_can_begin_in_the_past() {
    let (_cluster, client) = connect().await;
    let api = Api::<ConfigMap>::default_namespaced(client);
    let before = api.list(&ListParams::default()).await.expect("a list");
    let since = before.metadata.resource_version.expect("a revision");
    api.create(&PostParams::default(), &settings("one", "red")).await.expect("made");
    let mut one = api.get("one").await.expect("read");
    one.data = settings("one", "blue").data;
    api.replace("one", &PostParams::default(), &one).await.expect("replaced");
    api.delete("one", &DeleteParams::default()).await.expect("deleted");

    let mut events = pin!(api.watch(&WatchParams::default().timeout(60), &since).await.expect("a watch"));
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let event = tokio::time::timeout(DEADLINE, events.try_next()).await.expect("in time");
        let (kind, object) = match event.expect("an event").expect("the watch goes on") {
            WatchEvent::Added(object) => ("added", object),
            WatchEvent::Modified(object) => ("modified", object),
            WatchEvent::Deleted(object) => ("deleted", object),
            WatchEvent::Bookmark(_) => continue,
            WatchEvent::Error(error) => panic!("{error:?}"),
        };
        seen.push((kind, object.data.unwrap_or_default()["colour"].clone()));
    }
    let colours = [("added", "red"), ("modified", "blue"), ("deleted", "blue")];
    assert_eq!(seen, colours.map(|(kind, colour)| (kind, colour.to_owned())));

    let old = api.watch(&WatchParams::default().timeout(1), "1").await.expect("an answer");
    let first = pin!(old).try_next().await;
    assert!(
        matches!(&first, Ok(Some(WatchEvent::Added(_) | WatchEvent::Bookmark(_)) | None))
            || matches!(&first, Ok(Some(WatchEvent::Error(error))) if error.code == 410),
        "{first:?}"
    );
}

/// Names and colours of all objects.
type Colours = BTreeMap<String, String>;

fn colours<'a>(objects: impl IntoIterator<Item = &'a ConfigMap>) -> Colours {
    let one = |object: &ConfigMap| {
        let colour = object.data.as_ref().and_then(|data| data.get("colour")).cloned();
        (object.name_any(), colour.unwrap_or_default())
    };
    objects.into_iter().map(one).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reflector_follows_through_restarts_of_the_server() {
    for mode in [watcher::Config::default(), watcher::Config::default().streaming_lists()] {
        let (mut cluster, client) = connect().await;
        let api = Api::<ConfigMap>::default_namespaced(client);
        let (store, writer) = reflector::store();
        let events = watcher(api.clone(), mode.labels("colour")).default_backoff();
        let following = tokio::spawn(reflector(writer, events).for_each(|_| std::future::ready(())));
        store.wait_until_ready().await.expect("a first list");
        let matches = async |what: &str| {
            let now =
                colours(&api.list(&ListParams::default().labels("colour")).await.expect("a list").items);
            eventually(what, async || {
                let state = store.state();
                (colours(state.iter().map(|object| &**object)) == now).then_some(())
            })
            .await;
            now
        };
        for (name, colour) in [("kept", "red"), ("changed", "red"), ("gone", "red")] {
            api.create(&PostParams::default(), &settings(name, colour)).await.expect("made");
        }
        assert_eq!(matches("the first objects").await.len(), 3);
        for signal in ["KILL", "TERM"] {
            cluster = tokio::task::spawn_blocking(move || {
                cluster.restart_after(signal);
                cluster
            })
            .await
            .expect("a restart");
            let mut changed = eventually("the server", async || api.get("changed").await.ok()).await;
            changed.data = settings("changed", signal).data;
            api.replace("changed", &PostParams::default(), &changed).await.expect("replaced");
            api.create(&PostParams::default(), &settings(&format!("new-{}", signal.to_lowercase()), "red"))
                .await
                .expect("made");
            let gone = if signal == "KILL" { "gone" } else { "new-kill" };
            api.delete(gone, &DeleteParams::default()).await.expect("deleted");
            let now = matches("what changed after the restart").await;
            assert_eq!(now.get("changed").map(String::as_str), Some(signal));
            assert!(!now.contains_key(gone) && now.contains_key("kept"));
        }
        following.abort();
    }
}
