//! One request in one instance of a wasi:http 0.2 component.
//!
//! The guest runs inside the future that asks for its answer, and then inside the body of that answer, so that a request
//! needs no task of its own and no hop between tasks. Only where its client goes away does the rest of it become a task.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use wasmtime::Store;
use wasmtime_wasi_http::{
    WasiHttpView as _,
    p2::{
        bindings::{
            Proxy, ProxyPre,
            http::types::{ErrorCode, Scheme},
        },
        body::HyperOutgoingBody,
    },
};

use crate::{
    body::Held,
    failure::{Failure, Summary},
    instance::{State, new_store},
    ticker::Turn,
    workload::Shared,
};

pub(crate) type Answer = Result<http::Response<HyperOutgoingBody>, ErrorCode>;

type Run = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

/// A guest on its way.
pub(crate) struct Guest {
    /// `None` once it has ended.
    run: Option<Run>,
    deadline: Option<Instant>,
    /// What ends it from outside. Made when the guest waits for the first time: most never do.
    end: Option<Pin<Box<dyn Future<Output = Failure> + Send>>>,
    workload: Arc<Shared>,
    summary: Summary,
    /// Whether it runs on by itself already.
    left_over: bool,
}

/// What a guest needs to begin.
pub(crate) struct Begin<B> {
    pub(crate) request: http::Request<B>,
    pub(crate) answer: oneshot::Sender<Answer>,
    pub(crate) deadline: Option<Instant>,
    pub(crate) permit: OwnedSemaphorePermit,
    pub(crate) turn: Turn,
}

impl Guest {
    pub(crate) fn new<B>(workload: Arc<Shared>, pool: Arc<Pool>, summary: Summary, begin: Begin<B>) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<wasmtime_wasi_http::Error>,
    {
        let deadline = begin.deadline;
        let run = Box::pin(run(workload.clone(), pool, begin));
        Self { run: Some(run), deadline, end: None, workload, summary, left_over: false }
    }

    /// Holds it for a body that is still being written.
    pub(crate) fn hold(self) -> Held<Self> {
        let deadline = self.deadline;
        Held::new(self, deadline, |mut guest| async move {
            // Its deadline is over, so this is its end; the failure is in the log.
            let _ = std::future::poll_fn(|cx| guest.poll(cx)).await;
        })
    }

    /// Lets the guest run on. A failure is in the log by the time it is returned.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        let Some(run) = &mut self.run else { return Poll::Ready(Ok(())) };
        let ended = match run.as_mut().poll(cx) {
            Poll::Ready(ended) => ended,
            Poll::Pending => {
                let (workload, deadline) = (&self.workload, self.deadline);
                let end = self.end.get_or_insert_with(|| Box::pin(workload.clone().end(deadline)));
                Err(std::task::ready!(end.as_mut().poll(cx)))
            }
        };
        self.run = None;
        if let Err(failure) = &ended {
            failure.log(&self.summary, &*self.workload.options.output);
        }
        Poll::Ready(ended)
    }
}

impl Drop for Guest {
    /// A request once begun runs to its end or its limit, whether or not its client stays.
    fn drop(&mut self) {
        if self.left_over || self.run.is_none() || tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let mut rest = Self {
            run: self.run.take(),
            deadline: self.deadline,
            end: self.end.take(),
            workload: self.workload.clone(),
            summary: self.summary.clone(),
            left_over: true,
        };
        self.workload.leftovers.spawn(async move {
            // Failures are in the log already.
            let _ = std::future::poll_fn(|cx| rest.poll(cx)).await;
        });
    }
}

async fn run<B>(workload: Arc<Shared>, pool: Arc<Pool>, begin: Begin<B>) -> Result<(), Failure>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<wasmtime_wasi_http::Error>,
{
    let Begin { request, answer, deadline, permit, turn } = begin;
    let limit = workload.options.time_limit;
    let mut instance = pool.take(&workload, deadline).await?;
    let mut view = instance.store.data_mut().http();
    let failed = |error: wasmtime::Error| Failure::Trap(format!("{error:#}"));
    let request = view.new_incoming_request(Scheme::Http, request).map_err(failed)?;
    let answer = view.new_response_outparam(answer).map_err(failed)?;
    let handler = instance.proxy.wasi_http_incoming_handler();
    let called = handler.call_handle(&mut instance.store, request, answer).await;
    let ended = called.map_err(|error| Failure::of_call(&error, instance.store.data(), limit));
    if ended.is_ok() {
        pool.give_back(instance, &workload);
    }
    drop((permit, turn));
    ended
}

/// Makes instances, and keeps those that may serve again.
pub(crate) struct Pool {
    pre: ProxyPre<State>,
    /// Instances between two requests, the last used on top.
    idle: Mutex<Vec<Instance>>,
}

pub(crate) struct Instance {
    store: Store<State>,
    proxy: Proxy,
    served: u32,
}

/// An instance serves so many requests at most, so that what it leaks ends with it.
const REQUESTS_EACH: u32 = 10_000;
/// So many instances wait for requests at most.
const IDLE: usize = 64;

impl Pool {
    pub(crate) fn new(pre: ProxyPre<State>) -> Self {
        Self { pre, idle: Mutex::default() }
    }

    pub(crate) async fn take(
        &self,
        workload: &Shared,
        deadline: Option<Instant>,
    ) -> Result<Instance, Failure> {
        let parked = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(mut instance) = parked {
            instance.store.data_mut().deadline = deadline;
            instance.store.set_epoch_deadline(1);
            return Ok(instance);
        }
        let mut store = new_store(self.pre.engine(), &workload.options, deadline)?;
        match self.pre.instantiate_async(&mut store).await {
            Ok(proxy) => Ok(Instance { store, proxy, served: 0 }),
            Err(error) => Err(Failure::of_start(&error, Some(store.data()))),
        }
    }

    fn give_back(&self, mut instance: Instance, workload: &Shared) {
        if !workload.options.reuse {
            return;
        }
        instance.store.data().flush_lines();
        instance.served += 1;
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if instance.served < REQUESTS_EACH && idle.len() < IDLE {
            idle.push(instance);
        }
    }
}
