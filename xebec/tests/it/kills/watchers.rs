//! Those who watch, and go on where they were when the server is back.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use kube::Api;
use kube::api::{WatchEvent, WatchParams};
use kube::core::DynamicObject;
use tokio_util::sync::CancellationToken;

use super::LABEL;
use super::ledger::{Change, Ledger};

/// How long is waited for a change before it is looked whether there is one to come.
const PAUSE: Duration = Duration::from_millis(50);

/// Sees every change from a revision on, until everything is written and seen.
pub(super) async fn follow(
    api: Api<DynamicObject>,
    kind: &'static str,
    from: u64,
    ledger: Arc<Ledger>,
    done: CancellationToken,
) -> Vec<Change> {
    let (mut changes, mut at) = (Vec::new(), from);
    let params = WatchParams::default().labels(LABEL).timeout(200);
    loop {
        let Ok(events) = api.watch(&params, &at.to_string()).await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let mut events = pin!(events);
        loop {
            if done.is_cancelled() && changes.len() >= ledger.of(kind) {
                return changes;
            }
            let event = match tokio::time::timeout(PAUSE, events.next()).await {
                Err(_) => continue,
                // The server is gone, or was.
                Ok(None | Some(Err(_))) => break,
                Ok(Some(Ok(event))) => event,
            };
            let change = match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => Change::of(kind, &object),
                WatchEvent::Deleted(object) => Change::gone(&object),
                WatchEvent::Bookmark(mark) => {
                    at = mark.metadata.resource_version.parse().expect("a revision");
                    continue;
                }
                // Nothing is forgotten as soon as this.
                WatchEvent::Error(status) => panic!("a watch of {kind} from {at}: {status:?}"),
            };
            at = change.revision;
            changes.push(change);
        }
        tokio::time::sleep(PAUSE).await;
    }
}
