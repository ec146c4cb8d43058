//! The seam to whoever runs the pods: the API itself only knows what is written about them.

use std::io;

use futures::future::BoxFuture;
use http::Response;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use xebec_machinery::status::Status;
use xebec_streams::{Session, Wants};

use crate::service::ResponseBody;
use crate::usage::Usage;

/// A connection to a port of a pod.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// What `pods/exec` and `pods/attach` ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRequest {
    /// The container; the pod's first or only one where none is named.
    pub container: Option<String>,
    /// What is run; nothing where the client attaches to what runs already.
    pub command: Option<Vec<String>>,
    /// The streams that the client asks for.
    pub wants: Wants,
}

/// Serves a session until the process has ended or the client is gone.
pub type Run = Box<dyn FnOnce(Session) -> BoxFuture<'static, ()> + Send>;

/// What the node is asked for on behalf of clients.
pub trait Pods: Send + Sync {
    /// The output of one of a pod's containers, as the query of `pods/log` asks (`container`, `follow`, `tailLines`,
    /// `sinceSeconds`, `timestamps`, `previous`, `limitBytes`).
    fn logs<'a>(
        &'a self,
        pod: &'a Value,
        query: &'a str,
    ) -> BoxFuture<'a, Result<Response<ResponseBody>, Status>>;

    /// Sees whether a session can begin, and gives what serves it. What goes wrong here is told before the connection
    /// becomes a stream.
    fn session<'a>(&'a self, pod: &'a Value, asked: SessionRequest) -> BoxFuture<'a, Result<Run, Status>>;

    /// What the pods and their machine use, where somebody measures it.
    fn usage(&self) -> Usage {
        Usage::default()
    }

    /// Connects to a port of a pod.
    fn dial(&self, pod: &Value, port: u16) -> BoxFuture<'static, io::Result<Box<dyn Connection>>>;
}

/// No node is part of this process.
#[derive(Debug, Clone, Copy)]
pub struct NoPods;

const NO_NODE: &str = "no node runs in this process; start one with `up`";

impl Pods for NoPods {
    fn logs<'a>(
        &'a self,
        _pod: &'a Value,
        _query: &'a str,
    ) -> BoxFuture<'a, Result<Response<ResponseBody>, Status>> {
        Box::pin(async { Err(Status::unavailable(NO_NODE)) })
    }

    fn session<'a>(&'a self, _pod: &'a Value, _asked: SessionRequest) -> BoxFuture<'a, Result<Run, Status>> {
        Box::pin(async { Err(Status::unavailable(NO_NODE)) })
    }

    fn dial(&self, _pod: &Value, _port: u16) -> BoxFuture<'static, io::Result<Box<dyn Connection>>> {
        Box::pin(async { Err(io::Error::new(io::ErrorKind::NotConnected, NO_NODE)) })
    }
}
