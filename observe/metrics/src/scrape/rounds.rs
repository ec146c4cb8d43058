//! One target, scrape after scrape.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use xebec_tsdb::Db;

use super::client::{Body, Client};
use super::intake::{Cache, Intake, Report};
use super::target::{Health, Last, Target, TargetStatus};
use crate::config::ScrapeConfig;

/// The first scrape comes soon, so that what was just started is seen.
const SOON: Duration = Duration::from_secs(1);
/// A scrape that is so little late has the time that it was planned for: equal steps take less room.
const TOLERANCE: i64 = 2;

/// What a target's task has.
#[derive(Debug)]
pub(super) struct Rounds {
    pub(super) db: Db,
    pub(super) target: Target,
    pub(super) job: Arc<ScrapeConfig>,
    pub(super) status: Arc<TargetStatus>,
    pub(super) user_agent: String,
    /// Whether the job has more targets than it may.
    pub(super) over_limit: bool,
}

impl Rounds {
    /// When the next scrape after a time is due: targets are spread over the interval by what they are.
    fn due(&self, after: i64) -> i64 {
        let interval = self.target.interval.as_millis() as i64;
        let offset = (spread(&self.target.labels.to_string()) % interval.unsigned_abs()) as i64;
        let base = after.div_euclid(interval) * interval + offset;
        if base > after { base } else { base + interval }
    }

    /// Scrapes until it is to stop; then its series end.
    pub(super) async fn run(self, stop: CancellationToken) {
        let this = Arc::new(self);
        let mut cache = Cache::default();
        let mut client = Client::new(&this.target, &this.job, &this.user_agent);
        let begun = crate::now();
        let soon = SOON.as_millis() as i64;
        let mut due = this.due(begun);
        let first = (spread(&this.target.url.to_string()) % SOON.as_millis() as u64) as i64;
        if due - begun > soon {
            due = begun + first;
        }
        loop {
            let wait = u64::try_from(due - crate::now()).unwrap_or(0);
            let at = Instant::now() + Duration::from_millis(wait);
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep_until(at) => {}
            }
            let began = Instant::now();
            let now = crate::now();
            let time = if (now - due).abs() <= TOLERANCE { due } else { now };
            let fetched = tokio::select! {
                () = stop.cancelled() => break,
                fetched = this.fetch(&mut client) => fetched,
            };
            let (own, took) = (Arc::clone(&this), began.elapsed());
            let taken = tokio::task::spawn_blocking(move || {
                let told = own.take(&mut cache, fetched, time, took);
                (cache, told)
            });
            let Ok((kept, last)) = taken.await else {
                tracing::error!(url = this.status.url, "what a target said could not be taken");
                cache = Cache::default();
                due = this.due(crate::now());
                continue;
            };
            cache = kept;
            this.status.set_last(last);
            due = this.due(crate::now().max(due));
        }
        let ended = tokio::task::spawn_blocking(move || {
            Intake::of(&this.db, &this.target, &this.job, &this.status).end(&mut cache, crate::now())
        });
        if let Ok(Err(error)) = ended.await {
            tracing::warn!(%error, "the series of a target that is gone could not be ended");
        }
    }

    async fn fetch(&self, client: &mut Client) -> Result<Body, String> {
        if self.over_limit {
            return Err(format!("target_limit exceeded (limit: {})", self.job.target_limit));
        }
        match tokio::time::timeout(self.target.timeout, client.fetch()).await {
            Ok(fetched) => fetched,
            Err(_) => {
                client.forget();
                Err("context deadline exceeded".to_owned())
            }
        }
        .map_err(|why| format!("Get {:?}: {why}", self.status.url))
    }

    /// Brings a scrape into the database, together with what is said of it.
    fn take(&self, cache: &mut Cache, fetched: Result<Body, String>, time: i64, took: Duration) -> Last {
        let intake = Intake::of(&self.db, &self.target, &self.job, &self.status);
        let mut report = Report::default();
        let error = match fetched {
            Ok(body) => intake.take(cache, body, time, &mut report).err(),
            Err(why) => Some(why),
        };
        let told = intake.conclude(cache, time, took, &report, error.is_none());
        if let Err(why) = told {
            tracing::warn!(url = self.status.url, %why, "a scrape could not be stored");
            return Last { health: Health::Down, error: why.to_string(), time, took };
        }
        if let Some(why) = &error {
            tracing::debug!(url = self.status.url, %why, "a scrape failed");
        }
        let health = if error.is_none() { Health::Up } else { Health::Down };
        Last { health, error: error.unwrap_or_default(), time, took }
    }
}

/// A number that a text always has.
fn spread(text: &str) -> u64 {
    // FNV-1a.
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
