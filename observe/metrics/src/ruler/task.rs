//! One group, evaluation after evaluation.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use xebec_promql::engine::Cancellation;
use xebec_rules::group::{Group, Round};
use xebec_rules::rule::Context;

use super::Inner;

/// What a group's task has.
pub(super) struct GroupTask {
    pub(super) inner: Arc<Inner>,
    pub(super) group: Arc<Group>,
    pub(super) stop: CancellationToken,
    pub(super) cancellation: Cancellation,
}

impl GroupTask {
    /// Evaluates until it is to stop, beginning with what the group knows that it replaces.
    pub(super) async fn run(self, before: Option<Arc<Group>>, replaced: Option<JoinHandle<()>>) {
        if let Some(replaced) = replaced {
            let _ended = replaced.await;
        }
        if let Some(before) = before {
            let group = Arc::clone(&self.group);
            let _copied = tokio::task::spawn_blocking(move || group.copy_state(&before)).await;
        }
        let schedule = self.group.schedule();
        let mut time = schedule.first(crate::now());
        let mut missed = 0;
        let mut rounds = 0u64;
        loop {
            if !self.sleep_until(time).await || !self.evaluate(time, missed).await {
                return;
            }
            rounds += 1;
            // Only then are there samples that alerts depend on.
            if rounds == 2
                && self.group.rules.iter().any(|rule| rule.alerting().is_some_and(|own| !own.is_restored()))
            {
                self.restore().await;
            }
            if !self.sleep_until(time + self.group.interval).await {
                return;
            }
            let due = schedule.next(time, crate::now());
            (time, missed) = (due.time, due.missed);
        }
    }

    /// False if it is to stop.
    async fn sleep_until(&self, time: i64) -> bool {
        let wait = Duration::from_millis(u64::try_from(time - crate::now()).unwrap_or(0));
        tokio::select! {
            () = self.stop.cancelled() => false,
            () = tokio::time::sleep(wait) => true,
        }
    }

    /// Evaluates, beside those who serve. False if it is to stop.
    async fn evaluate(&self, time: i64, missed: u64) -> bool {
        let turn = tokio::select! {
            () = self.stop.cancelled() => return false,
            turn = self.inner.turns.acquire() => turn,
        };
        let Ok(_turn) = turn else { return false };
        let (inner, group, cancellation) =
            (Arc::clone(&self.inner), Arc::clone(&self.group), self.cancellation.clone());
        let evaluated = tokio::task::spawn_blocking(move || {
            let config = inner.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner).config.clone();
            let context = Context {
                engine: &inner.engine,
                store: &inner.store,
                cancellation: &cancellation,
                external_url: &inner.options.external_url,
                external_labels: &config.external_labels,
            };
            let round = Round {
                context: &context,
                notifier: &inner.notifications,
                clock: &crate::now,
                query_offset: config.query_offset.millis(),
                resend_delay: inner.options.resend_delay.as_millis() as i64,
            };
            group.evaluate(&round, time, missed);
            for rule in &group.rules {
                if let Some(error) = rule.status().error.filter(|_| !cancellation.is_cancelled()) {
                    tracing::warn!(group = group.name, rule = rule.name, "evaluating a rule failed: {error}");
                }
            }
        });
        if let Err(error) = evaluated.await {
            tracing::error!(group = self.group.name, "evaluating a group failed: {error}");
        }
        !self.stop.is_cancelled()
    }

    async fn restore(&self) {
        let (inner, group) = (Arc::clone(&self.inner), Arc::clone(&self.group));
        let restored = tokio::task::spawn_blocking(move || {
            group.restore(&inner.store, crate::now(), inner.options.restoring)
        });
        if let Ok(Err(error)) = restored.await {
            let group = &self.group.name;
            tracing::warn!(group, "what alerts were before could not be read: {error}");
        }
    }
}

/// Ends the series of a group that is gone, after two rounds.
pub(super) async fn end(inner: Arc<Inner>, group: Arc<Group>, task: Option<JoinHandle<()>>) {
    if let Some(task) = task {
        let _ended = task.await;
    }
    let stopped = crate::now();
    tokio::time::sleep(Duration::from_millis(2 * group.interval.unsigned_abs())).await;
    let name = group.name.clone();
    let ended = tokio::task::spawn_blocking(move || {
        let usual = inner.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner).config.query_offset;
        let offset = group.query_offset.unwrap_or(usual.millis());
        group.end_series(&inner.store, stopped - offset)
    });
    if let Ok(Err(error)) = ended.await {
        tracing::warn!(group = name, "the series of rules that are gone could not be ended: {error}");
    }
}
