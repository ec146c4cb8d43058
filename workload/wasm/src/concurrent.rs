//! Requests to a wasi:http 0.3 component.
//!
//! Such a component may serve many requests in one instance at once, so an instance is a task of its own, which takes
//! requests from a queue: the engine's own handler does that. This module tells it how many an instance takes and when
//! its time is over.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use tokio::time::{Sleep, sleep, sleep_until};
use tokio_util::sync::WaitForCancellationFutureOwned;
use wasmtime::{Engine, Store, StoreContextMut, component::GuestTaskId};
use wasmtime_wasi_http::{
    WasiHttpView,
    handler::{
        ExpirationError, HandlerState, Instance, InstantiationError, ProxyHandler, ProxyPre, ShouldAccept,
        TrapOrPanicError, WorkerExpiration, WorkerState, WorkerStatus,
    },
    p3::bindings::ServicePre,
};

use crate::{
    Stream,
    failure::{Failure, report, report_lines},
    instance::{State, new_store},
    ticker::Turn,
    workload::Shared,
};

/// With reuse, an instance serves so many requests in all, and so many at once.
const REQUESTS_EACH: usize = 10_000;
const AT_ONCE_EACH: usize = 16;
/// An instance without requests is kept so long.
const IDLE: Duration = Duration::from_secs(1);

pub(crate) type Handler = ProxyHandler<Service>;

pub(crate) struct Service {
    workload: Arc<Shared>,
    engine: Engine,
    pre: ProxyPre<State>,
}

pub(crate) fn handler(workload: Arc<Shared>, pre: ServicePre<State>) -> Handler {
    ProxyHandler::new(Service { workload, engine: pre.engine().clone(), pre: ProxyPre::P3(pre) })
}

/// Says why the engine's handler gave no answer to a request that came at `start`.
pub(crate) fn failure(error: &wasmtime::Error, start: Instant, limit: Option<Duration>) -> Failure {
    let over = limit.filter(|&limit| start.elapsed() >= limit);
    if let Some(limit) = over
        && (error.is::<ExpirationError>() || error.is::<TrapOrPanicError>())
    {
        return Failure::TimeIsOver(limit);
    }
    match error.downcast_ref::<InstantiationError<()>>() {
        Some(error) => Failure::of_start(&error.error, None),
        None => Failure::Trap(report(error)),
    }
}

impl HandlerState for Service {
    type StoreData = State;
    type WorkerExpiration = Expiration;
    type WorkerState = Worker;

    async fn instantiate(&self) -> wasmtime::Result<Instance<State, Expiration, Worker>> {
        let turn = self.workload.host.ticker.turn();
        let mut store = new_store(&self.engine, &self.workload.options, None)?;
        let proxy = self.pre.instantiate_async(&mut store).await?;
        let limit = self.workload.options.time_limit;
        let stopped = Box::pin(self.workload.stopped.clone().cancelled_owned());
        Ok(Instance {
            store,
            proxy,
            view: State::http,
            expiration: Expiration { limit, timer: None, stopped },
            state: Worker { workload: self.workload.clone(), _turn: turn },
        })
    }
}

/// Ends an instance whose requests have all outlived their limit, that nobody asks any more, or whose workload is
/// stopped.
pub(crate) struct Expiration {
    limit: Option<Duration>,
    timer: Option<Pin<Box<Sleep>>>,
    stopped: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl WorkerExpiration for Expiration {
    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        status: WorkerStatus,
        start: Instant,
    ) -> Poll<()> {
        if self.stopped.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let allowed = match status {
            WorkerStatus::Idle => Some(IDLE),
            WorkerStatus::Requests | WorkerStatus::PostReturn => self.limit,
        };
        let Some(deadline) = allowed.and_then(|allowed| start.checked_add(allowed)) else {
            return Poll::Pending;
        };
        let deadline = deadline.into();
        // A deadline that has moved on leaves the timer as it is: it rings too early once, instead of being set anew at
        // every request.
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if timer.deadline() >= deadline {
                return Poll::Ready(());
            }
            timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

/// One instance.
pub(crate) struct Worker {
    workload: Arc<Shared>,
    _turn: Turn,
}

impl WorkerState for Worker {
    type StoreData = State;
    type RequestData = ();

    fn should_accept_request(&self, at_once: usize, in_all: usize) -> ShouldAccept {
        let reuse = self.workload.options.reuse;
        if self.workload.stopped.is_cancelled() || in_all >= if reuse { REQUESTS_EACH } else { 1 } {
            ShouldAccept::Never
        } else if at_once >= AT_ONCE_EACH {
            ShouldAccept::No
        } else {
            ShouldAccept::Yes
        }
    }

    fn on_request_start(
        &self,
        _: StoreContextMut<'_, State>,
        (): (),
        _: GuestTaskId,
    ) -> Pin<Box<dyn Future<Output = ()> + 'static + Send + Sync>> {
        match self.workload.options.time_limit {
            Some(limit) => Box::pin(sleep(limit)),
            None => Box::pin(std::future::pending()),
        }
    }

    fn drop(&self, store: Store<State>, result: wasmtime::Result<()>) {
        let Err(error) = result else { return };
        if self.workload.stopped.is_cancelled() {
            return;
        }
        let reason = store.data().limiter.verdict().unwrap_or_else(|| report(&error));
        for line in report_lines(&reason) {
            self.workload.options.output.line(Stream::Stderr, &format!("xebec: instance failed: {line}"));
        }
    }
}
