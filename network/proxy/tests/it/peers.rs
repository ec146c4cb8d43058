//! Endpoints, configurations and clients for the tests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use xebec_proxy::config::{
    Action, Backend, Config, Domain, HostMatch, Listener, Protocol, Route, RouteMatch, VirtualHost,
};
use xebec_proxy::proxy::{Limits, Proxy};

/// Answers each request head with its name and the head in small letters; counts connections.
pub(crate) async fn upstream(name: &'static str) -> (SocketAddr, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let address = endpoint(move |mut stream| {
        counted.fetch_add(1, Ordering::Relaxed);
        async move {
            while let Some(head) = read_head(&mut stream).await {
                let text = format!("{name}\n{}", head.to_ascii_lowercase());
                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    (address, count)
}

/// An endpoint that does this with each connection.
pub(crate) async fn endpoint<F, S>(serve: F) -> SocketAddr
where
    F: Fn(TcpStream) -> S + Send + 'static,
    S: Future<Output = ()> + Send + 'static,
{
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = socket.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    address
}

/// The next head on a stream.
pub(crate) async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while let Ok(byte) = stream.read_u8().await {
        head.push(byte);
        if head.ends_with(b"\r\n\r\n") {
            return Some(String::from_utf8_lossy(&head).into_owned());
        }
    }
    None
}

pub(crate) fn backend(id: &str, weight: u32, endpoints: Vec<SocketAddr>) -> Backend {
    Backend::new(id, weight, endpoints)
}

pub(crate) fn route(backends: Vec<Backend>) -> Route {
    Route::new("r", RouteMatch::default(), Action::Forward(backends))
}

pub(crate) fn listener(routes: Vec<Route>) -> Listener {
    let hosts = vec![VirtualHost { host: HostMatch::Any, routes }];
    let protocol = Protocol::Http(vec![Domain::any(hosts)]);
    Listener { address: "127.0.0.1:0".parse().unwrap(), protocol }
}

pub(crate) fn config(backends: Vec<Backend>) -> Config {
    Config { listeners: vec![listener(vec![route(backends)])] }
}

pub(crate) async fn serving(backends: Vec<Backend>) -> (Proxy, SocketAddr) {
    serving_with(config(backends), Limits::default()).await
}

pub(crate) async fn serving_with(config: Config, limits: Limits) -> (Proxy, SocketAddr) {
    let mut proxy = Proxy::new(limits);
    let applied = proxy.apply(config).await;
    let address = *applied.listeners[0].as_ref().unwrap();
    (proxy, address)
}

/// Sends bytes and reads until the proxy closes.
pub(crate) async fn raw(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    rest(&mut stream).await
}

/// What comes until the stream ends.
pub(crate) async fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let reading = stream.read_to_end(&mut answer);
    let _ = tokio::time::timeout(Duration::from_secs(10), reading).await.expect("the proxy closes");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Runs curl and returns what it prints; none where it is not installed.
pub(crate) async fn curl(arguments: &[&str]) -> Option<String> {
    let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect::<Vec<_>>();
    let run = move || std::process::Command::new("curl").args(["-sS", "-m", "20"]).args(arguments).output();
    let output = match tokio::task::spawn_blocking(run).await.unwrap() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("skipped: curl is not installed");
            return None;
        }
        Err(error) => panic!("curl: {error}"),
    };
    assert!(output.status.success(), "curl: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

pub(crate) const GET: &str = "GET /x HTTP/1.1\r\nHost: h\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\n\r\n";
