//! Connections: how long they may say nothing, and who gives way to whom.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::StreamBody;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;
use xebec_apiserver::pki::Authority;
use xebec_apiserver::serve::{Limits, serve_within, tls};

use crate::server::{Server, object};

pub(crate) struct Socket {
    address: SocketAddr,
    connector: TlsConnector,
    stop: CancellationToken,
    pub(crate) server: Server,
    _data: tempfile::TempDir,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Socket {
    pub(crate) async fn open(limits: Limits) -> Self {
        let server = Server::start().await;
        let data = tempfile::tempdir().unwrap();
        let authority = Authority::open(data.path()).unwrap();
        let config = tls(&authority.server(&["localhost"]).unwrap(), authority.certificate()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(serve_within(listener, config, server.service.clone(), stop.clone(), limits));
        Self { address, connector: connector(&authority), stop, server, _data: data }
    }

    pub(crate) async fn connect(&self) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        self.connector.connect(name, stream).await.unwrap()
    }
}

/// A connection to a server, which lasts as long as that.
pub(crate) async fn connect_to(server: &Server) -> TlsStream<TcpStream> {
    let data = tempfile::tempdir().unwrap();
    let authority = Authority::open(data.path()).unwrap();
    let config = tls(&authority.server(&["localhost"]).unwrap(), authority.certificate()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let service = server.service.clone();
    tokio::spawn(serve_within(listener, config, service, server.stop.clone(), Limits::default()));
    let name = ServerName::try_from("localhost").unwrap();
    connector(&authority).connect(name, stream).await.unwrap()
}

fn connector(authority: &Authority) -> TlsConnector {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.certificate().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

/// Asks for the version, and gives the first line of the answer.
async fn ask(stream: &mut TlsStream<TcpStream>, token: &str) -> io::Result<String> {
    let head = format!("GET /version HTTP/1.1\r\nhost: localhost\r\n{token}\r\n");
    stream.write_all(head.as_bytes()).await?;
    let mut bytes = vec![0; 4096];
    let read = stream.read(&mut bytes).await?;
    let text = String::from_utf8_lossy(&bytes[..read]).into_owned();
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const TOKEN: &str = "authorization: Bearer s3cret\r\n";

/// Whether the server has closed the connection, or does so soon.
async fn closed(stream: &mut TlsStream<TcpStream>) -> bool {
    let mut byte = [0];
    let read = tokio::time::timeout(Duration::from_secs(3), stream.read(&mut byte)).await;
    matches!(read, Ok(Ok(0) | Err(_)))
}

#[tokio::test]
async fn a_client_that_says_nothing_is_let_go_the_sooner_the_less_is_known_of_it() {
    let idle = Duration::from_secs(8);
    let limits = Limits { anonymous_idle: Duration::from_millis(300), idle, ..Limits::default() };
    let socket = Socket::open(limits).await;
    let (mut silent, mut known) = (socket.connect().await, socket.connect().await);
    assert_eq!(ask(&mut known, TOKEN).await.unwrap(), "HTTP/1.1 200 OK");
    assert!(closed(&mut silent).await, "who says nothing stays for ever");
    assert_eq!(ask(&mut known, TOKEN).await.unwrap(), "HTTP/1.1 200 OK", "who is known has more time");
}

#[tokio::test]
async fn strangers_that_hold_their_connections_lock_nobody_out() {
    let limits = Limits { anonymous: 4, connections: 16, ..Limits::default() };
    let socket = Socket::open(limits).await;
    let mut known = socket.connect().await;
    assert_eq!(ask(&mut known, TOKEN).await.unwrap(), "HTTP/1.1 200 OK");
    let mut strangers = Vec::new();
    for _ in 0..40 {
        strangers.push(socket.connect().await);
    }
    let mut another = socket.connect().await;
    assert_eq!(ask(&mut another, TOKEN).await.unwrap(), "HTTP/1.1 200 OK");
    assert_eq!(ask(&mut known, TOKEN).await.unwrap(), "HTTP/1.1 200 OK", "who is known gives way to nobody");
    assert!(closed(&mut strangers[0]).await, "the oldest stranger gave way");
}

#[tokio::test]
async fn a_client_that_is_known_and_holds_all_connections_locks_nobody_out() {
    let limits = Limits { anonymous: 4, connections: 8, ..Limits::default() };
    let socket = Socket::open(limits).await;
    let mut greedy = Vec::new();
    for _ in 0..8 {
        let mut held = socket.connect().await;
        assert_eq!(ask(&mut held, TOKEN).await.unwrap(), "HTTP/1.1 200 OK");
        greedy.push(held);
    }
    // The first of them is used again, and so has been idle for less time than the others.
    assert_eq!(ask(&mut greedy[0], TOKEN).await.unwrap(), "HTTP/1.1 200 OK");
    for _ in 0..3 {
        let mut another = socket.connect().await;
        assert_eq!(ask(&mut another, TOKEN).await.unwrap(), "HTTP/1.1 200 OK");
        greedy.push(another);
    }
    for idle in &mut greedy[1..4] {
        assert!(closed(idle).await, "it was idle the longest");
    }
    for place in [0, 4, 10] {
        assert_eq!(ask(&mut greedy[place], TOKEN).await.unwrap(), "HTTP/1.1 200 OK", "{place}");
    }
}

#[tokio::test]
async fn a_body_that_never_ends_is_not_waited_for() {
    let server = Server::start().await;
    tokio::time::pause();
    let body = StreamBody::new(futures::stream::pending::<Result<http_body::Frame<Bytes>, io::Error>>());
    let request = Request::builder()
        .method(Method::POST)
        .uri("/api/v1/namespaces/default/configmaps")
        .header("content-type", "application/json")
        .body(body)
        .unwrap();
    let before = tokio::time::Instant::now();
    let (code, answer) = object(server.call(request).await).await;
    assert_eq!((code, answer["reason"].as_str()), (504, Some("Timeout")), "{answer}");
    assert!(before.elapsed() < Duration::from_secs(120));
}

/// An answer that is larger than all buffers on its way.
async fn large_answer(socket: &Socket) -> TlsStream<TcpStream> {
    let server = &socket.server;
    let binding = json!({
        "metadata": {"name": "robots"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "robots"}],
    });
    let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    assert_eq!(server.create(bindings, &binding).await.0, 201);
    for number in 0..16 {
        let map =
            json!({"metadata": {"name": format!("large-{number}")}, "data": {"a": "x".repeat(1_000_000)}});
        assert_eq!(server.create(MAPS, &map).await.0, 201);
    }
    let mut stream = socket.connect().await;
    let head = format!("GET {MAPS} HTTP/1.1\r\nhost: localhost\r\n{TOKEN}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn a_large_answer_is_no_idleness_however_slowly_it_is_read() {
    let idle = Duration::from_millis(300);
    let socket = Socket::open(Limits { idle, anonymous_idle: idle, drain: idle, ..Limits::default() }).await;
    let mut stream = large_answer(&socket).await;
    let (mut read, mut bytes) = (0, vec![0; 1 << 20]);
    while read < 16_000_000 {
        let length = stream.read(&mut bytes).await.unwrap();
        assert!(length > 0, "cut off after {read} bytes");
        read += length;
        // Of sixteen megabytes and ten milliseconds each is far more than a second.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_a_large_answer_is_cut_off() {
    let stalled = Duration::from_millis(300);
    let socket = Socket::open(Limits { stalled, drain: stalled, ..Limits::default() }).await;
    let mut stream = large_answer(&socket).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut rest = Vec::new();
    // What was on its way arrives, and no more.
    let _end = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await.unwrap();
    assert!(rest.len() < 15_000_000, "{} bytes came", rest.len());
}
