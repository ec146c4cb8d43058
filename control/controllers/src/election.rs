//! One of several processes leads: it holds a Lease, and the others wait until it no longer renews it.
//!
//! Clocks differ between machines, so the times that the holder writes are never compared with ours: a lease is free once
//! its record has not changed for as long as it says, by our own clock. A leader that cannot renew stops before that.

use std::future::Future;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::Error;

/// Who stands for which office, and how fast things go.
#[derive(Debug, Clone)]
pub struct Election {
    /// The namespace of the Lease.
    pub namespace: String,
    /// The name of the Lease.
    pub name: String,
    /// Who stands; no other process has the same.
    pub identity: String,
    /// How fast things go.
    pub pace: Pace,
}

/// How fast things go. Each is shorter than the one before.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// After how long without a renewal others may lead.
    pub lease: Duration,
    /// After how long without a renewal the leader itself stops.
    pub deadline: Duration,
    /// How often it is renewed, and how often others look.
    pub retry: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { lease: seconds(15), deadline: seconds(10), retry: seconds(2) }
    }
}

/// Why a leader leads no more though nobody asked it to stop.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Lost {
    /// Another holds the lease.
    #[error(
        "{0} took the lease over; this process was too slow to renew it. Start it again to stand once more"
    )]
    Taken(String),
    /// The lease could not be renewed in time.
    #[error("the lease could not be renewed for {}: {why}. Check the API, and start this process again", humane(.after))]
    Unrenewed {
        /// For how long.
        after: Duration,
        /// What the API said last.
        why: String,
    },
    /// The work ended.
    #[error("what the leader does ended on its own; its log lines above say why")]
    Ended,
}

fn humane(time: &Duration) -> String {
    format!("{} s", time.as_secs())
}

/// A lease as it was last seen.
#[derive(Debug, Default)]
struct Seen {
    record: Option<LeaseSpec>,
    since: Option<Instant>,
}

impl Seen {
    /// Takes up the record; says for how long it has been the same.
    fn note(&mut self, record: &LeaseSpec, now: Instant) -> Duration {
        if self.record.as_ref() != Some(record) {
            self.record = Some(record.clone());
            self.since = Some(now);
        }
        self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }
}

/// The record to write by which a lease becomes or stays ours; none while it is another's. `same` is for how long it has
/// been as it is.
fn claim(record: &LeaseSpec, election: &Election, same: Duration, now: Timestamp) -> Option<LeaseSpec> {
    let holder = record.holder_identity.as_deref().filter(|holder| !holder.is_empty());
    let mine = holder == Some(election.identity.as_str());
    let term = record.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    if holder.is_some() && !mine && same < term.map_or(election.pace.lease, Duration::from_secs) {
        return None;
    }
    let terms = record.lease_transitions.unwrap_or(0);
    Some(LeaseSpec {
        holder_identity: Some(election.identity.clone()),
        // At least a second: the field has no parts of them.
        lease_duration_seconds: Some(i32::try_from(election.pace.lease.as_secs().max(1)).unwrap_or(i32::MAX)),
        acquire_time: record.acquire_time.clone().filter(|_| mine).or(Some(MicroTime(now))),
        renew_time: Some(MicroTime(now)),
        lease_transitions: Some(if mine { terms } else { terms.saturating_add(1) }),
        ..record.clone()
    })
}

/// What came of an attempt.
enum Attempt {
    Held,
    HeldBy(String),
}

struct Candidate<'a> {
    leases: Api<Lease>,
    election: &'a Election,
    seen: Seen,
}

impl Candidate<'_> {
    /// Takes or renews the lease, if it is free or ours.
    async fn attempt(&mut self) -> Result<Attempt, Error> {
        let Election { name, identity, .. } = self.election;
        let Some(lease) = self.leases.get_opt(name).await? else {
            let spec = claim(&LeaseSpec::default(), self.election, Duration::ZERO, Timestamp::now());
            let meta = ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() };
            let lease = Lease { metadata: meta, spec };
            self.leases.create(&PostParams::default(), &lease).await?;
            return Ok(Attempt::Held);
        };
        let record = lease.spec.clone().unwrap_or_default();
        let same = self.seen.note(&record, Instant::now());
        let Some(claimed) = claim(&record, self.election, same, Timestamp::now()) else {
            return Ok(Attempt::HeldBy(record.holder_identity.unwrap_or_default()));
        };
        // The resource version goes along: of two that see it free one gets it.
        let lease = Lease { spec: Some(claimed), ..lease };
        match self.leases.replace(name, &PostParams::default(), &lease).await.map_err(Error::from) {
            Err(error) if error.is_conflict() => {
                let now = self.leases.get(name).await?.spec.unwrap_or_default();
                let holder = now.holder_identity.unwrap_or_default();
                Ok(if holder == *identity { Attempt::Held } else { Attempt::HeldBy(holder) })
            }
            outcome => outcome.map(|_| Attempt::Held),
        }
    }

    /// Lets others lead at once. The lease ends by itself where nobody hears of it.
    async fn step_down(&self) {
        if let Ok(Err(error)) = timeout(self.election.pace.retry, self.release()).await {
            tracing::debug!(%error, "the lease could not be released");
        }
    }

    async fn release(&self) -> Result<(), Error> {
        let name = &self.election.name;
        let Some(mut lease) = self.leases.get_opt(name).await? else { return Ok(()) };
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() == Some(self.election.identity.as_str()) {
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
            self.leases.replace(name, &PostParams::default(), &lease).await?;
        }
        Ok(())
    }
}

/// Waits until this process leads, and does the work while it does; `stop` ends both, the work first.
///
/// # Errors
///
/// It leads no more though nobody asked it to stop. The work has ended or was cut off by then.
pub async fn lead<W, F>(
    client: Client,
    election: &Election,
    stop: CancellationToken,
    work: W,
) -> Result<(), Lost>
where
    W: FnOnce(CancellationToken) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let leases = Api::namespaced(client, &election.namespace);
    let mut candidate = Candidate { leases, election, seen: Seen::default() };
    let pace = election.pace;
    let mut waits_for = None;
    loop {
        let attempt = tokio::select! {
            () = stop.cancelled() => {
                candidate.step_down().await;
                return Ok(());
            }
            attempt = timeout(pace.deadline, candidate.attempt()) => attempt,
        };
        match attempt {
            Ok(Ok(Attempt::Held)) => break,
            Ok(Ok(Attempt::HeldBy(holder))) if waits_for.as_ref() != Some(&holder) => {
                tracing::info!(%holder, "another process leads; this one waits");
                waits_for = Some(holder);
            }
            Ok(Ok(Attempt::HeldBy(_))) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the lease cannot be read or taken; it is tried again"),
            Err(_) => tracing::warn!("the lease cannot be read or taken in time; it is tried again"),
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = sleep(pace.retry) => {}
        }
    }
    tracing::info!(identity = election.identity, "this process leads");
    let working = CancellationToken::new();
    let mut worker = AbortOnDropHandle::new(tokio::spawn(work(working.clone())));
    let mut renewed = Instant::now();
    let lost = loop {
        tokio::select! {
            () = stop.cancelled() => break None,
            _ = &mut worker => {
                break Some(Lost::Ended);
            }
            () = sleep(pace.retry) => {}
        }
        let left = pace.deadline.saturating_sub(renewed.elapsed());
        let why = match timeout(left, candidate.attempt()).await {
            Ok(Ok(Attempt::Held)) => {
                renewed = Instant::now();
                continue;
            }
            Ok(Ok(Attempt::HeldBy(holder))) => break Some(Lost::Taken(holder)),
            Ok(Err(error)) => error.text(),
            Err(_) => "no answer came".to_owned(),
        };
        if renewed.elapsed() >= pace.deadline {
            break Some(Lost::Unrenewed { after: pace.deadline, why });
        }
    };
    working.cancel();
    // The next one leads when the lease is over: until then the work may end by itself.
    if !worker.is_finished() {
        let left = pace.lease.saturating_sub(renewed.elapsed());
        if timeout(left, &mut worker).await.is_err() {
            tracing::warn!("what the leader does did not end in time and is cut off");
        }
    }
    drop(worker);
    match lost {
        Some(lost @ (Lost::Taken(_) | Lost::Unrenewed { .. })) => Err(lost),
        lost => {
            candidate.step_down().await;
            lost.map_or(Ok(()), Err)
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
mod tests {
    use super::*;

    fn election(identity: &str) -> Election {
        Election {
            namespace: "kube-system".to_owned(),
            name: "test".to_owned(),
            identity: identity.to_owned(),
            pace: Pace::default(),
        }
    }

    #[test]
    fn a_lease_is_taken_when_it_is_free_and_its_terms_are_counted() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let zero = Duration::ZERO;
        let first = claim(&LeaseSpec::default(), &election("a"), zero, at(1)).unwrap();
        assert_eq!((first.holder_identity.as_deref(), first.lease_transitions), (Some("a"), Some(1)));
        assert_eq!(first.lease_duration_seconds, Some(15));

        let renewed = claim(&first, &election("a"), zero, at(3)).unwrap();
        assert_eq!(
            (renewed.acquire_time, renewed.renew_time),
            (first.acquire_time.clone(), Some(MicroTime(at(3))))
        );
        assert_eq!(renewed.lease_transitions, Some(1));

        assert_eq!(claim(&first, &election("b"), Duration::from_millis(14_999), at(99)), None);
        let taken = claim(&first, &election("b"), Duration::from_secs(15), at(99)).unwrap();
        assert_eq!((taken.acquire_time, taken.lease_transitions), (Some(MicroTime(at(99))), Some(2)));

        let released = LeaseSpec { holder_identity: Some(String::new()), ..first };
        assert!(claim(&released, &election("b"), zero, at(4)).is_some());
    }

    #[test]
    fn a_record_is_old_by_our_clock_whatever_time_it_says() {
        let mut seen = Seen::default();
        let now = Instant::now();
        let record = |renewed: i64| LeaseSpec {
            renew_time: Some(MicroTime(Timestamp::from_second(renewed).unwrap())),
            ..LeaseSpec::default()
        };
        assert_eq!(seen.note(&record(-1000), now), Duration::ZERO);
        assert_eq!(seen.note(&record(-1000), now + Duration::from_secs(7)), Duration::from_secs(7));
        assert_eq!(seen.note(&record(-999), now + Duration::from_secs(9)), Duration::ZERO);
    }
}
