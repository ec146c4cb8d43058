//! The host as its users have it: real components, real connections.

#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up must fail")]

mod commands;
mod compiling;
mod concurrent;
mod limits;
mod serving;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use sha2::{Digest as _, Sha256};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use xebec_wasm::{Compiled, Host, HostOptions, Stream, Workload, WorkloadOptions};

pub(crate) const HELLO: &[u8] = include_bytes!("../../fixtures/hello.wasm");
/// The same for wasi:http 0.3.
pub(crate) const HELLO3: &[u8] = include_bytes!("../../fixtures/hello3.wasm");
pub(crate) const COMMAND: &[u8] = include_bytes!("../../fixtures/command.wasm");

pub(crate) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{:x}", Sha256::digest(bytes))
}

/// One host for all tests, so that each component is compiled once.
pub(crate) fn host() -> Host {
    static HOST: OnceLock<(Host, tempfile::TempDir)> = OnceLock::new();
    let (host, _) = HOST.get_or_init(|| {
        let cache = tempfile::tempdir().unwrap();
        (Host::new(HostOptions::new(cache.path())).unwrap(), cache)
    });
    host.clone()
}

pub(crate) fn compiled(bytes: &'static [u8]) -> Compiled {
    host().compile(&digest(bytes), bytes).unwrap()
}

/// What a workload printed.
#[derive(Clone, Default)]
pub(crate) struct Output(Arc<Mutex<Vec<(Stream, String)>>>);

impl Output {
    pub(crate) fn sink(&self) -> Arc<dyn xebec_wasm::LogSink> {
        let lines = self.0.clone();
        Arc::new(move |stream: Stream, line: &str| lines.lock().unwrap().push((stream, line.to_owned())))
    }

    pub(crate) fn lines(&self, of: Stream) -> Vec<String> {
        let lines = self.0.lock().unwrap();
        lines.iter().filter(|(stream, _)| *stream == of).map(|(_, line)| line.clone()).collect()
    }

    pub(crate) fn says(&self, what: &str) -> bool {
        self.0.lock().unwrap().iter().any(|(_, line)| line.contains(what))
    }
}

/// A workload behind a real socket.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    pub(crate) output: Output,
    pub(crate) workload: Workload,
    pub(crate) shutdown: CancellationToken,
    pub(crate) serving: JoinHandle<()>,
}

pub(crate) async fn serve(options: WorkloadOptions) -> Served {
    serve_component(HELLO, options).await
}

pub(crate) async fn serve_component(bytes: &'static [u8], options: WorkloadOptions) -> Served {
    let output = Output::default();
    let options = WorkloadOptions { output: output.sink(), ..options };
    let compiled = tokio::task::spawn_blocking(move || compiled(bytes)).await.unwrap();
    let workload = host().serve(&compiled, options).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn({
        let (workload, shutdown) = (workload.clone(), shutdown.clone());
        async move { workload.serve(listener, shutdown).await }
    });
    Served { address, output, workload, shutdown, serving }
}

impl Served {
    pub(crate) async fn get(&self, target: &str) -> (StatusCode, String) {
        self.send(Request::get(target), Bytes::new()).await
    }

    pub(crate) async fn send(&self, request: http::request::Builder, body: Bytes) -> (StatusCode, String) {
        let request = request.header("host", "test").body(Full::new(body)).unwrap();
        let mut client = connect(self.address).await;
        let response = client.send_request(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }
}

pub(crate) type Client = hyper::client::conn::http1::SendRequest<Full<Bytes>>;

pub(crate) async fn connect(address: SocketAddr) -> Client {
    let stream = TcpStream::connect(address).await.unwrap();
    let (client, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Waits until it holds; a test that waits in vain fails.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}
