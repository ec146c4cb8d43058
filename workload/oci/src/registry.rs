//! The OCI Distribution API v1.1 over the store: pull, push (whole, in chunks, by mount), listings and deletion.
//!
//! Bodies stream: an upload holds at most one batch in memory and the sender waits while it is synced. Connections are
//! bounded in number, bodies in the time between two pieces. Section names below are of the distribution specification.

use std::{convert::Infallible, future::Future, sync::Arc, time::Duration};

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
    time::timeout,
};

use crate::{Error, Store};

mod answer;
mod blob;
mod listing;
mod manifest;
mod upload;

use answer::{Answer, Body, Refusal, refused, reply};

/// Bounds on what clients may take.
#[derive(Clone, Copy, Debug)]
pub struct RegistryLimits {
    /// Connections at a time; further ones wait to be accepted.
    pub connections: usize,
    /// How long a client may take for the head of a request, between two pieces of a body, or to take what it is sent.
    pub idle: Duration,
    /// How long requests under way may go on when the registry ends.
    pub drain: Duration,
    /// Age at which uploads that nobody continues, and blobs that no manifest names, are removed.
    pub litter_age: Duration,
}

impl Default for RegistryLimits {
    fn default() -> Self {
        Self {
            connections: 1024,
            idle: Duration::from_secs(60),
            drain: Duration::from_secs(5),
            litter_age: Duration::from_secs(24 * 3600),
        }
    }
}

/// Serves one store.
#[derive(Debug)]
pub struct Registry {
    store: Arc<Store>,
    limits: RegistryLimits,
}

impl Registry {
    /// A registry over `store` with the usual limits.
    #[must_use]
    pub fn new(store: Arc<Store>) -> Self {
        Self::with_limits(store, RegistryLimits::default())
    }

    /// A registry over `store`.
    #[must_use]
    pub fn with_limits(store: Arc<Store>, limits: RegistryLimits) -> Self {
        Self { store, limits }
    }

    /// Accepts connections until `shutdown` is done, then lets requests under way end for a while and cuts the rest off.
    /// Meanwhile it removes litter from the store now and then.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, shutdown: impl Future<Output = ()>) {
        let graceful = GracefulShutdown::new();
        let places = Arc::new(Semaphore::new(self.limits.connections));
        let mut connections = JoinSet::new();
        let mut sweep = tokio::time::interval(self.limits.litter_age / 24);
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let accepted = async {
                // A place first: who cannot be served waits in the listener's queue and takes nothing here.
                let place = Arc::clone(&places).acquire_owned().await;
                (place, listener.accept().await)
            };
            tokio::select! {
                () = &mut shutdown => break,
                _ = sweep.tick() => self.sweep(),
                Some(_) = connections.join_next() => {}
                (place, accepted) = accepted => match accepted {
                    Ok((stream, _)) => {
                        // The kernel gives up a client that takes nothing more of what is sent.
                        let idle = u32::try_from(self.limits.idle.as_millis()).unwrap_or(u32::MAX);
                        let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, idle);
                        let connection = graceful.watch(Arc::clone(&self).connection(stream));
                        connections.spawn(async move {
                            // A client that breaks off is no news.
                            let _ = connection.await;
                            drop(place);
                        });
                    }
                    // Out of file descriptors, most likely: wait for some to come back.
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                },
            }
        }
        drop(listener);
        let _ = timeout(self.limits.drain, graceful.shutdown()).await;
        connections.shutdown().await;
    }

    fn connection(
        self: Arc<Self>,
        stream: TcpStream,
    ) -> impl hyper_util::server::graceful::GracefulConnection {
        let idle = self.limits.idle;
        let service = hyper::service::service_fn(move |request| {
            let registry = Arc::clone(&self);
            async move { Ok::<_, Infallible>(registry.answer(request).await) }
        });
        hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(idle)
            .serve_connection(TokioIo::new(stream), service)
    }

    fn sweep(&self) {
        let (store, age) = (Arc::clone(&self.store), self.limits.litter_age);
        tokio::task::spawn_blocking(move || {
            // The next sweep tries again what this one cannot remove.
            if let Err(error) = store.expire_uploads(age) {
                tracing::warn!(%error, "cannot remove uploads that nobody continues");
            }
            match store.collect(age) {
                Ok(collected) => collected.damaged.iter().for_each(|reason| {
                    tracing::warn!(
                        reason,
                        "a repository is not cleaned up: push its image again or delete it"
                    );
                }),
                Err(error) => tracing::warn!(%error, "cannot remove what no image needs"),
            }
        });
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        self.route(request).await.unwrap_or_else(refused)
    }

    async fn route(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path().to_owned();
        let unknown = || Refusal(StatusCode::NOT_FOUND, "NAME_UNKNOWN", format!("no endpoint at {path}"));
        let rest = path
            .strip_prefix("/v2")
            .and_then(|rest| rest.strip_prefix('/').or(rest.is_empty().then_some("")));
        let rest = rest.ok_or_else(unknown)?;
        if rest.is_empty() {
            return Ok(reply(StatusCode::OK, &[], "{}"));
        }
        if rest == "_catalog" {
            return self.catalogue(&request).await;
        }
        if let Some(name) = rest.strip_suffix("/tags/list") {
            return self.tags(name.parse()?, &request).await;
        }
        if let Some(name) = rest.strip_suffix("/blobs/uploads").or(rest.strip_suffix("/blobs/uploads/")) {
            return self.begin_upload(name.parse()?, request).await;
        }
        if let Some((name, id)) = rest.rsplit_once("/blobs/uploads/") {
            return self.upload(name.parse()?, id, request).await;
        }
        if let Some((name, digest)) = rest.rsplit_once("/blobs/") {
            return self.blob(name.parse()?, digest.parse()?, &request).await;
        }
        if let Some((name, selector)) = rest.rsplit_once("/manifests/") {
            return match selector.parse() {
                Ok(selector) => self.manifest(name.parse()?, selector, request).await,
                // What cannot name a manifest names none; only who puts it learns what is wrong with it.
                Err(Error::TagSyntax { .. }) if request.method() != Method::PUT => {
                    Err(Error::ManifestUnknown { selector: selector.to_owned() }.into())
                }
                Err(malformed) => Err(malformed.into()),
            };
        }
        if let Some((name, digest)) = rest.rsplit_once("/referrers/") {
            return self.referrers(name.parse()?, digest.parse()?, &request).await;
        }
        Err(unknown())
    }
}
