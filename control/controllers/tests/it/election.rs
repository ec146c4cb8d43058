//! Several processes of which one leads: when it goes, when it is cut off, and when it cannot reach the API.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Method;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Client;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use xebec_controllers::election::{Election, Lost, Pace, lead};

use crate::cluster::Cluster;
use crate::faults::{CALM, Rates};
use crate::namespace::eventually;

const PACE: Pace = Pace {
    lease: Duration::from_secs(3),
    deadline: Duration::from_secs(1),
    retry: Duration::from_millis(100),
};

/// One that stands, and whether it works.
struct Candidate {
    stop: CancellationToken,
    standing: JoinHandle<Result<(), Lost>>,
}

/// How many work now, and how many did at most.
#[derive(Default)]
struct Work {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Work {
    fn count(&self) -> usize {
        self.now.load(Ordering::SeqCst)
    }
}

/// Counts as work while it is there.
struct Working(Arc<Work>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

fn stand(client: Client, identity: &str, work: &Arc<Work>) -> Candidate {
    let stop = CancellationToken::new();
    let election = Election {
        namespace: "default".to_owned(),
        name: "test".to_owned(),
        identity: identity.to_owned(),
        pace: PACE,
    };
    let (work, ended) = (work.clone(), stop.clone());
    let standing = tokio::spawn(async move {
        let begin = |stop: CancellationToken| async move {
            let now = work.now.fetch_add(1, Ordering::SeqCst) + 1;
            work.most.fetch_max(now, Ordering::SeqCst);
            let _working = Working(work);
            stop.cancelled().await;
        };
        lead(client, &election, ended, begin).await
    });
    Candidate { stop, standing }
}

async fn holder(cluster: &Cluster) -> String {
    let lease = cluster.api::<Lease>().get_opt("test").await.unwrap();
    lease.and_then(|lease| lease.spec?.holder_identity).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_leads_at_a_time_and_the_next_follows_when_it_goes_or_is_cut_off() {
    let cluster = Cluster::quiet().await;
    let work = Arc::new(Work::default());
    let first = stand(cluster.client.clone(), "first", &work);
    eventually("the first leads", async || work.count() == 1).await;
    let second = stand(cluster.client.clone(), "second", &work);
    // Longer than the lease: it is renewed.
    tokio::time::sleep(PACE.lease + PACE.deadline).await;
    assert_eq!((holder(&cluster).await.as_str(), work.count()), ("first", 1));

    first.stop.cancel();
    assert_eq!(first.standing.await.unwrap(), Ok(()));
    let begun = std::time::Instant::now();
    eventually("the second leads", async || work.count() == 1 && holder(&cluster).await == "second").await;
    assert!(begun.elapsed() < PACE.lease, "a leader that goes lets the next one lead at once");

    second.standing.abort();
    drop(second.standing.await);
    let third = stand(cluster.client.clone(), "third", &work);
    eventually("the third leads", async || work.count() == 1 && holder(&cluster).await == "third").await;
    third.stop.cancel();
    assert_eq!(third.standing.await.unwrap(), Ok(()));
    assert_eq!((work.count(), work.most.load(Ordering::SeqCst)), (0, 1), "two never led at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_cannot_renew_stops_before_another_may_lead() {
    let cluster = Cluster::quiet().await;
    let work = Arc::new(Work::default());
    let cut_off = stand(cluster.flawed(), "first", &work);
    eventually("the first leads", async || work.count() == 1).await;
    let other = stand(cluster.client.clone(), "second", &work);
    cluster.faults.rates(Rates { before: 100, ..CALM });
    let lost = cut_off.standing.await.unwrap().unwrap_err();
    assert!(matches!(lost, Lost::Unrenewed { .. }), "{lost}");
    assert_eq!(work.count(), 0);
    eventually("the second leads", async || work.count() == 1).await;
    assert_eq!(work.most.load(Ordering::SeqCst), 1);
    other.stop.cancel();
    assert_eq!(other.standing.await.unwrap(), Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_makes_nobody_lead_twice_or_never() {
    let cluster = Cluster::quiet().await;
    let work = Arc::new(Work::default());
    cluster.faults.next(Method::POST, "/leases", crate::faults::Fault::AnswerLost);
    cluster.faults.next(Method::PUT, "/leases/test", crate::faults::Fault::AnswerLost);
    let only = stand(cluster.flawed(), "only", &work);
    eventually("it leads", async || work.count() == 1 && cluster.faults.waiting() == 0).await;
    only.stop.cancel();
    assert_eq!(only.standing.await.unwrap(), Ok(()));
}
