//! A component that is being served: who may come in, and what becomes of each request.

use std::{
    error::Error as StdError,
    future::{Future as _, poll_fn},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::Poll,
    time::Instant,
};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::BodyExt as _;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot},
    task::yield_now,
    time::timeout_at,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use wasmtime_wasi_http::{Error as HttpError, p2::bindings::ProxyPre, p3::bindings::ServicePre};

use crate::{
    Compiled, Error, Host, Kind, WorkloadOptions,
    body::{Body, Held, Writer},
    concurrent::{self, Handler},
    failure::{Failure, Summary},
    guest::{Answer, Begin, Guest, Pool},
    host,
};

/// A component that answers requests. Clones are one and the same workload.
#[derive(Clone)]
pub struct Workload {
    pub(crate) shared: Arc<Shared>,
    service: Service,
}

/// What all requests of a workload share.
pub(crate) struct Shared {
    pub(crate) host: Arc<host::Shared>,
    pub(crate) options: Arc<WorkloadOptions>,
    pub(crate) stopped: CancellationToken,
    /// Guests that run on after their client has gone.
    pub(crate) leftovers: TaskTracker,
    running: Arc<Semaphore>,
    waiting: AtomicUsize,
}

#[derive(Clone)]
enum Service {
    Http02(Arc<Pool>),
    Http03(Handler),
}

impl std::fmt::Debug for Workload {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Workload").field("options", &self.shared.options).finish_non_exhaustive()
    }
}

impl Host {
    /// Makes a workload of a component. One instance is brought to life at once, so that what cannot start under these
    /// options is refused here and not at its first request.
    ///
    /// # Errors
    ///
    /// When the component is a command, an option has no meaning, a volume cannot be opened, or the first instance does
    /// not start.
    pub async fn serve(&self, compiled: &Compiled, options: WorkloadOptions) -> Result<Workload, Error> {
        options.check(&self.0.options)?;
        let shared = Arc::new(Shared {
            host: self.0.clone(),
            running: Arc::new(Semaphore::new(options.max_concurrent.min(Semaphore::MAX_PERMITS))),
            waiting: AtomicUsize::new(0),
            options: Arc::new(options),
            stopped: CancellationToken::new(),
            leftovers: TaskTracker::new(),
        });
        let digest = || compiled.digest().to_owned();
        let import =
            |error: wasmtime::Error| Error::Import { digest: digest(), reason: format!("{error:#}") };
        let service = match compiled.kind() {
            Kind::Http02 => {
                Service::Http02(Arc::new(Pool::new(ProxyPre::new(compiled.pre.clone()).map_err(import)?)))
            }
            Kind::Http03 => {
                let pre = ServicePre::new(compiled.pre.clone()).map_err(import)?;
                Service::Http03(concurrent::handler(shared.clone(), pre))
            }
            kind @ (Kind::Command02 | Kind::Command03) => {
                let remedy = "run it to its end, or serve a component that exports a wasi:http handler";
                return Err(Error::WrongKind { digest: digest(), kind, remedy });
            }
        };
        host::start(&self.0, compiled, &shared.options).await?;
        Ok(Workload { shared, service })
    }
}

impl Workload {
    /// Answers one request.
    ///
    /// It never fails: what goes wrong is a response of status 400, 500, 503 or 504 with a line of text, and a line in
    /// the workload's output.
    pub async fn handle<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        match self.answer(request).await {
            Ok(response) => response,
            Err(failure) => failure.response(),
        }
    }

    /// Ends what is still running; further requests are answered with 503.
    pub fn stop(&self) {
        self.shared.running.close();
        self.shared.stopped.cancel();
    }

    /// How many requests are being answered now.
    pub fn running(&self) -> usize {
        self.shared.options.max_concurrent.saturating_sub(self.shared.running.available_permits())
    }

    async fn answer<B>(&self, request: Request<B>) -> Result<Response<Body>, Failure>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        let host = request.headers().get(header::HOST);
        if request.uri().authority().is_none() && host.is_none_or(|host| host.to_str().is_err()) {
            return Err(Failure::BadRequest("the request names no host"));
        }
        let start = Instant::now();
        let limit = self.shared.options.time_limit;
        let deadline = limit.and_then(|limit| start.checked_add(limit));
        let permit = self.shared.admit(deadline).await?;
        match &self.service {
            Service::Http02(pool) => {
                let summary = Summary::of(&request);
                let (answer, receiver) = oneshot::channel();
                let turn = self.shared.host.ticker.turn();
                let begin = Begin {
                    request: request.map(|body| body.map_err(broken_off)),
                    answer,
                    deadline,
                    permit,
                    turn,
                };
                let guest = Guest::new(self.shared.clone(), pool.clone(), summary.clone(), begin);
                let answered = first_answer(guest, receiver).await;
                if let Err(failure @ Failure::NoAnswer(_)) = &answered {
                    failure.log(&summary, &*self.shared.options.output);
                }
                answered
            }
            Service::Http03(handler) => {
                let summary = Summary::of(&request);
                let request = request.map(|body| body.map_err(broken_off).boxed_unsync());
                let answered = handler.handle((), request).await;
                let response = answered.map_err(|error| {
                    let stopped = self.shared.stopped.is_cancelled();
                    let failure = if stopped { STOPPED } else { concurrent::failure(&error, start, limit) };
                    failure.log(&summary, &*self.shared.options.output);
                    failure
                })?;
                // Most guests are about to write all of their body: it then goes out with the head.
                yield_now().await;
                let (parts, body) = response.into_parts();
                let place = Held::new(permit, deadline, |permit| async move { drop(permit) });
                let gathered = Body::gathered(body, Writer::Elsewhere(place));
                gathered.map(|body| Response::from_parts(parts, body)).map_err(|error| {
                    let failure = Failure::NoAnswer(error.to_string());
                    failure.log(&summary, &*self.shared.options.output);
                    failure
                })
            }
        }
    }
}

/// What is told of a request that a stop has ended, or that came after it.
pub(crate) const STOPPED: Failure = Failure::Busy("the component is being stopped");

impl Shared {
    /// Waits for what ends a guest from outside: its deadline, or the workload's stop.
    pub(crate) async fn end(self: Arc<Self>, deadline: Option<Instant>) -> Failure {
        let stopped = self.stopped.cancelled();
        match deadline {
            None => stopped.await,
            Some(deadline) => {
                if timeout_at(deadline.into(), stopped).await.is_err() {
                    return Failure::TimeIsOver(self.options.time_limit.unwrap_or_default());
                }
            }
        }
        STOPPED
    }

    /// Waits for a place among the running, if there is a place among the waiting.
    async fn admit(&self, deadline: Option<Instant>) -> Result<OwnedSemaphorePermit, Failure> {
        const FULL: Failure = Failure::Busy("the component has all the requests that it takes");
        match self.running.clone().try_acquire_owned() {
            Ok(permit) => return Ok(permit),
            Err(TryAcquireError::Closed) => return Err(STOPPED),
            Err(TryAcquireError::NoPermits) => {}
        }
        let _place = Place::take(&self.waiting, self.options.max_waiting).ok_or(FULL)?;
        let acquired = self.running.clone().acquire_owned();
        let acquired = match deadline {
            Some(deadline) => timeout_at(deadline.into(), acquired).await.map_err(|_| FULL)?,
            None => acquired.await,
        };
        acquired.map_err(|_| STOPPED)
    }
}

/// A place among the waiting.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize, limit: usize) -> Option<Self> {
        let taken =
            waiting.fetch_update(Relaxed, Relaxed, |waiting| (waiting < limit).then_some(waiting + 1));
        taken.is_ok().then(|| Self(waiting))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Drives the guest until the head of its answer is there.
async fn first_answer(
    guest: Guest,
    mut receiver: oneshot::Receiver<Answer>,
) -> Result<Response<Body>, Failure> {
    let mut guest = Some(guest);
    poll_fn(|cx| {
        let Some(running) = &mut guest else { return Poll::Pending };
        let ended = match running.poll(cx) {
            Poll::Ready(Ok(())) => true,
            Poll::Ready(Err(failure)) => return Poll::Ready(Err(failure)),
            Poll::Pending => false,
        };
        let answer = match Pin::new(&mut receiver).poll(cx) {
            Poll::Ready(Ok(Ok(answer))) => answer,
            Poll::Ready(Ok(Err(code))) => {
                return Poll::Ready(Err(Failure::NoAnswer(format!("it answered with the error {code:?}"))));
            }
            Poll::Pending if !ended => return Poll::Pending,
            Poll::Ready(Err(_)) | Poll::Pending => {
                return Poll::Ready(Err(Failure::NoAnswer("it gave no answer".into())));
            }
        };
        Poll::Ready(with_body(answer, guest.take().filter(|_| !ended)))
    })
    .await
}

fn with_body(
    answer: Response<wasmtime_wasi_http::WasiBody>,
    guest: Option<Guest>,
) -> Result<Response<Body>, Failure> {
    let (parts, body) = answer.into_parts();
    let body = match guest {
        Some(guest) => Body::streamed(body, Writer::Guest(guest.hold())),
        None => Body::gathered(body, Writer::Nobody).map_err(|error| Failure::NoAnswer(error.to_string()))?,
    };
    Ok(Response::from_parts(parts, body))
}

/// The client's body broke off: so the guest sees it.
fn broken_off(error: impl Into<Box<dyn StdError + Send + Sync>>) -> HttpError {
    HttpError::InternalError(Some(error.into().to_string()))
}
