//! The console's address as a part of `up`: metrics, health and queries over plain HTTP.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use xebec_metrics::api::Api as Queries;

use crate::metrics::Metrics;
use crate::why;

/// Connections at a time; further ones wait to be accepted.
const CONNECTIONS: usize = 64;
/// How long a client may take for the head of a request.
const HEAD: Duration = Duration::from_secs(10);
/// How long a connection may last: whoever scrapes connects again.
const LIFE: Duration = Duration::from_secs(300);

/// Serves until the platform stops. Requests are short, so that none is waited for.
pub(crate) async fn serve(listener: TcpListener, metrics: Arc<Metrics>, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        tokio::select! {
            () = stop.cancelled() => return,
            Some(_) = connections.join_next() => {}
            (place, accepted) = accepted => match accepted {
                Ok((stream, _)) => {
                    let metrics = Arc::clone(&metrics);
                    connections.spawn(async move {
                        connection(stream, metrics).await;
                        drop(place);
                    });
                }
                // Out of file descriptors, most likely: wait for some to come back.
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            },
        }
    }
}

async fn connection(stream: TcpStream, metrics: Arc<Metrics>) {
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let metrics = Arc::clone(&metrics);
        async move {
            if request.uri().path() == why::PATH {
                return Ok(why::answer(request, &metrics).await);
            }
            if Queries::serves(request.uri().path())
                && let Some(queries) = metrics.queries()
            {
                return Ok(queries.answer(request).await);
            }
            let answering = move || answer(request.method(), request.uri().path(), &metrics);
            // The store is asked for what it holds, which no task of the runtime should wait for.
            let answer = tokio::task::spawn_blocking(answering).await;
            let failed = |_| text(StatusCode::INTERNAL_SERVER_ERROR, "the answer failed\n".to_owned());
            Ok::<_, Infallible>(answer.unwrap_or_else(failed))
        }
    });
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD);
    // A client that breaks off or stays too long is no news.
    let _ = timeout(LIFE, builder.serve_connection(TokioIo::new(stream), service)).await;
}

fn answer(method: &Method, path: &str, metrics: &Metrics) -> Response<Full<Bytes>> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET is served here\n".to_owned());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match path {
        "/metrics" => {
            let mut response = text(StatusCode::OK, metrics.text());
            let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            response.headers_mut().insert(CONTENT_TYPE, kind);
            response
        }
        "/livez" => text(StatusCode::OK, "ok\n".to_owned()),
        "/readyz" => match metrics.ready() {
            Ok(()) => text(StatusCode::OK, "ok\n".to_owned()),
            Err(why) => text(StatusCode::SERVICE_UNAVAILABLE, why + "\n"),
        },
        _ => text(
            StatusCode::NOT_FOUND,
            "there are /metrics, /livez, /readyz, /gateway/why and /api/v1\n".to_owned(),
        ),
    }
}

pub(crate) fn text(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_waits_for_every_part_and_life_does_not() {
        let metrics = Metrics::new();
        let status = |path: &str| answer(&Method::GET, path, &metrics).status().as_u16();
        assert_eq!((status("/livez"), status("/readyz")), (200, 503));
        metrics.set_ready();
        assert_eq!((status("/livez"), status("/readyz"), status("/")), (200, 200, 404));
        assert_eq!(answer(&Method::POST, "/metrics", &metrics).status(), 405);
    }
}
