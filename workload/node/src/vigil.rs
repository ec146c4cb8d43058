//! What is done beside a running container: its hooks, its probes, and its end when one of them or its pod asks for it.

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, Probe};
use tokio::time::Instant;

use crate::Error;
use crate::duration::seconds;
use crate::event::Kind;
use crate::handler::{self, Failed};
use crate::probe::{Tally, Timing};
use crate::slot::{Role, Slot};
use crate::state::Phase;

/// The pause between probes of a container that is not ready yet, and how many of them there are.
const EAGER: (Duration, u32) = (Duration::from_millis(100), 20);
/// What a container has to end in, however little of the pod's time its hook or the others have left.
const LAST_MOMENT: Duration = Duration::from_secs(2);

/// How a running container is ended.
pub(crate) trait Halt {
    /// Asks it to end.
    fn ask(&self);
    /// Ends it.
    fn force(&self);
}

/// What hooks and probes are aimed at.
pub(crate) struct Target<'a> {
    pub(crate) container: &'a Container,
    pub(crate) address: IpAddr,
    /// The process, unless the container is a component.
    pub(crate) process: Option<&'a xebec_container::Container>,
}

/// Why a running container is to end.
enum Cause {
    Stop,
    Hook,
    Probe { kind: &'static str, grace: Option<Duration> },
}

impl Slot {
    /// Lets a container run beside its probes until it has ended. `is_new` tells one that has just begun from one that an
    /// earlier process began.
    pub(crate) async fn live<T>(
        &self,
        target: &Target<'_>,
        is_new: bool,
        halt: &impl Halt,
        ended: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let mut ended = std::pin::pin!(ended);
        let mut cause = None;
        if is_new {
            tokio::select! {
                end = &mut ended => return end,
                () = self.stop.cancelled() => cause = Some(Cause::Stop),
                done = self.post_start(target) => cause = done.err(),
            }
        }
        let cause = match cause {
            Some(cause) => cause,
            None => {
                self.runs(is_new);
                tokio::select! {
                    biased;
                    end = &mut ended => return end,
                    () = self.stop.cancelled() => Cause::Stop,
                    cause = self.probes(target) => cause,
                }
            }
        };
        let name = &self.container.name;
        let (message, grace) = match &cause {
            Cause::Stop => (format!("Stopping container {name}"), None),
            Cause::Hook => ("FailedPostStartHook".to_owned(), None),
            Cause::Probe { kind, grace } => {
                (format!("Container {name} failed {kind} probe, will be restarted"), *grace)
            }
        };
        self.note(Kind::Normal, "Killing", message);
        let is_stop = matches!(cause, Cause::Stop);
        let grace = if is_stop { self.life.grace() } else { grace.unwrap_or_else(|| self.own_grace()) };
        let until = Instant::now() + grace;
        // Only the pod's whole time can become shorter.
        let time_is_up = async {
            if is_stop {
                self.life.time_is_up().await;
            } else {
                tokio::time::sleep_until(until).await;
            }
        };
        let mut time_is_up = std::pin::pin!(time_is_up);
        if !grace.is_zero() {
            let is_up = tokio::select! {
                end = &mut ended => return end,
                () = &mut time_is_up => true,
                () = self.life.node.ends_pods() => true,
                () = self.pre_stop(target) => false,
            };
            halt.ask();
            let last_moment = tokio::time::sleep(LAST_MOMENT.min(grace));
            let whole = async {
                if !is_up {
                    time_is_up.await;
                }
                last_moment.await;
            };
            tokio::select! {
                end = &mut ended => return end,
                // However long the pod may take: the node's own end does not wait for it.
                () = self.life.node.ends_pods() => {}
                () = whole => {}
            }
        }
        halt.force();
        ended.await
    }

    /// What the container has to end in when it alone ends.
    fn own_grace(&self) -> Duration {
        seconds(self.life.spec().and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(30))
    }

    fn runs(&self, is_new: bool) {
        let is_plain = self.container.startup_probe.is_none();
        let is_ready =
            self.container.readiness_probe.is_none() && matches!(self.role(), Role::Main | Role::Sidecar);
        self.change(|progress| {
            if is_new {
                progress.phase = Phase::Running { since: Timestamp::now() };
                progress.started = false;
                progress.ready = false;
            }
            progress.ready |= is_plain && is_ready;
        });
        if is_plain || self.look(|progress| progress.started) {
            self.came_up();
        }
    }

    async fn post_start(&self, target: &Target<'_>) -> Result<(), Cause> {
        let hook = self.container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.as_ref());
        let Some(hook) = hook else { return Ok(()) };
        let Err(why) = handler::hook(hook, target).await else { return Ok(()) };
        tracing::info!(container = self.container.name, why, "a postStart hook failed");
        self.note(Kind::Warning, "FailedPostStartHook", "PostStartHook failed".to_owned());
        Err(Cause::Hook)
    }

    async fn pre_stop(&self, target: &Target<'_>) {
        let hook = self.container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref());
        let Some(hook) = hook else { return };
        if let Err(why) = handler::hook(hook, target).await {
            tracing::info!(container = self.container.name, why, "a preStop hook failed");
            self.note(Kind::Warning, "FailedPreStopHook", "PreStopHook failed".to_owned());
        }
    }

    /// Probes until the container must be restarted.
    async fn probes(&self, target: &Target<'_>) -> Cause {
        if let Some(startup) = &self.container.startup_probe
            && !self.look(|progress| progress.started)
        {
            if !self.verdict("Startup", startup, target).await {
                return cause("startup", startup);
            }
            self.came_up();
            let at_once = self.container.readiness_probe.is_none();
            self.change(|progress| progress.ready = at_once);
        }
        tokio::select! {
            cause = self.liveness(target) => cause,
            never = self.readiness(target) => match never {},
        }
    }

    /// The first verdict of a probe that asks only once in a container's life.
    async fn verdict(&self, kind: &'static str, probe: &Probe, target: &Target<'_>) -> bool {
        let timing = Timing::of(probe);
        let mut tally = Tally::new(timing);
        tokio::time::sleep(timing.delay).await;
        loop {
            let outcome = self.attempt(kind, probe, target, true).await;
            if let Some(verdict) = outcome.and_then(|outcome| tally.note(outcome)) {
                return verdict;
            }
            tokio::time::sleep(timing.period).await;
        }
    }

    async fn liveness(&self, target: &Target<'_>) -> Cause {
        let Some(probe) = &self.container.liveness_probe else { return std::future::pending().await };
        let timing = Timing::of(probe);
        let mut tally = Tally::new(timing);
        tokio::time::sleep(timing.delay).await;
        loop {
            let outcome = self.attempt("Liveness", probe, target, true).await;
            if outcome.and_then(|outcome| tally.note(outcome)) == Some(false) {
                return cause("liveness", probe);
            }
            tokio::time::sleep(timing.period).await;
        }
    }

    async fn readiness(&self, target: &Target<'_>) -> std::convert::Infallible {
        let Some(probe) = &self.container.readiness_probe else { return std::future::pending().await };
        let timing = Timing::of(probe);
        let mut tally = Tally::new(timing);
        tokio::time::sleep(timing.delay).await;
        let mut eager = EAGER.1;
        loop {
            // A container that comes up is ready soon: it is asked more often at first, which nobody hears of.
            let is_eager = eager > 0 && !self.look(|progress| progress.ready);
            eager = eager.saturating_sub(1);
            let outcome = self.attempt("Readiness", probe, target, !is_eager).await;
            if let Some(verdict) = outcome.and_then(|outcome| tally.note(outcome)) {
                self.change(|progress| progress.ready = verdict);
            }
            let pause = if is_eager && outcome != Some(true) { EAGER.0 } else { timing.period };
            tokio::time::sleep(pause.min(timing.period)).await;
        }
    }

    /// Whether a probe came out well. Nothing where it could not be made, which says nothing of the container.
    async fn attempt(
        &self,
        kind: &'static str,
        probe: &Probe,
        target: &Target<'_>,
        tell: bool,
    ) -> Option<bool> {
        let failed = match handler::probe(probe, target).await {
            Ok(()) => return Some(true),
            Err(failed) => failed,
        };
        let outcome = matches!(failed, Failed::Refused(_)).then_some(false);
        if tell {
            let message = match failed {
                Failed::Refused(why) => format!("{kind} probe failed: {why}"),
                Failed::Unknown(why) => format!("{kind} probe errored and resulted in unknown state: {why}"),
            };
            self.note(Kind::Warning, "Unhealthy", message);
        }
        outcome
    }
}

fn cause(kind: &'static str, probe: &Probe) -> Cause {
    Cause::Probe { kind, grace: probe.termination_grace_period_seconds.map(seconds) }
}
