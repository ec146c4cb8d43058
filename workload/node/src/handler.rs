//! The ways in which a container is asked something or told to do something: a command in it, an HTTP request, a TCP
//! connection, a gRPC server's health, or a sleep.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{
    Container, GRPCAction, HTTPGetAction, LifecycleHandler, Probe, TCPSocketAction,
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::duration::{go, seconds};
use crate::grpc_health;
use crate::probe::Timing;
use crate::vigil::Target;

/// Bytes of a command's output that are kept.
const MOST_OUTPUT: u64 = 10 << 10;
/// A hook's command is ended when its container is; this only bounds what nobody ends.
const HOOK: Duration = Duration::from_secs(24 * 60 * 60);
/// What is said of a connection that takes too long.
const LATE: &str = "i/o timeout";
/// How long a hook's HTTP request may take.
const HOOK_REQUEST: Duration = Duration::from_secs(30);

/// Why an attempt was no success.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    /// The container answered, and not well.
    Refused(String),
    /// It could not be asked.
    Unknown(String),
}

impl Failed {
    fn why(self) -> String {
        match self {
            Self::Refused(why) | Self::Unknown(why) => why,
        }
    }
}

/// Runs a probe once, for as long as it may take.
pub(crate) async fn probe(probe: &Probe, target: &Target<'_>) -> Result<(), Failed> {
    let limit = Timing::of(probe).timeout;
    if let Some(exec) = &probe.exec {
        return command(exec.command.as_deref().unwrap_or_default(), target, limit).await;
    }
    if let Some(get) = &probe.http_get {
        return http(get, target, limit).await;
    }
    if let Some(socket) = &probe.tcp_socket {
        return tcp(socket, target, limit).await;
    }
    if let Some(grpc) = &probe.grpc {
        return health(grpc, target, limit).await;
    }
    Err(Failed::Unknown("missing probe handler: use exec, httpGet, tcpSocket or grpc".to_owned()))
}

/// Runs a hook to its end.
pub(crate) async fn hook(hook: &LifecycleHandler, target: &Target<'_>) -> Result<(), String> {
    if let Some(exec) = &hook.exec {
        let done = command(exec.command.as_deref().unwrap_or_default(), target, HOOK).await;
        return done.map_err(Failed::why);
    }
    if let Some(get) = &hook.http_get {
        return http(get, target, HOOK_REQUEST).await.map_err(Failed::why);
    }
    if let Some(sleep) = &hook.sleep {
        tokio::time::sleep(seconds(sleep.seconds)).await;
    }
    Ok(())
}

async fn command(command: &[String], target: &Target<'_>, limit: Duration) -> Result<(), Failed> {
    let Some(process) = target.process else {
        return Err(Failed::Unknown(
            "a WebAssembly component runs no commands: use httpGet or tcpSocket".to_owned(),
        ));
    };
    let unknown = |error: xebec_container::Error| Failed::Unknown(error.to_string());
    let output = process.exec(command).map_err(unknown)?.output(limit, MOST_OUTPUT).await.map_err(unknown)?;
    match output.code {
        Some(0) => Ok(()),
        Some(_) => {
            let mut said = output.stdout;
            said.extend_from_slice(&output.stderr);
            said.truncate(usize::try_from(MOST_OUTPUT).unwrap_or(usize::MAX));
            Err(Failed::Refused(String::from_utf8_lossy(&said).into_owned()))
        }
        None => {
            let text = format!("{:?} timed out after {}", command.join(" "), go(limit));
            Err(Failed::Refused(format!("command timed out: {text}")))
        }
    }
}

async fn tcp(action: &TCPSocketAction, target: &Target<'_>, limit: Duration) -> Result<(), Failed> {
    let port = port_of(&action.port, target.container).map_err(Failed::Unknown)?;
    let host = action.host.clone().filter(|host| !host.is_empty());
    let host = host.unwrap_or_else(|| target.address.to_string());
    connect(&host, port, limit).await.map(drop).map_err(Failed::Refused)
}

async fn health(action: &GRPCAction, target: &Target<'_>, limit: Duration) -> Result<(), Failed> {
    let port = port_of(&IntOrString::Int(action.port), target.container).map_err(Failed::Unknown)?;
    let (host, until) = (target.address.to_string(), Instant::now() + limit);
    let authority = format!("{host}:{port}");
    let failed = |why: String| {
        if why.ends_with(LATE) {
            format!("timeout: failed to connect service {authority:?} within {}: {why}", go(limit))
        } else {
            format!("error: failed to connect service at {authority:?}: {why}")
        }
    };
    let stream = connect(&host, port, limit).await.map_err(failed).map_err(Failed::Refused)?;
    let left = until.saturating_duration_since(Instant::now());
    let service = action.service.as_deref().unwrap_or_default();
    grpc_health::check(stream, &authority, service, left).await.map_err(Failed::Refused)
}

async fn connect(host: &str, port: u16, limit: Duration) -> Result<TcpStream, String> {
    let connected = tokio::time::timeout(limit, TcpStream::connect((host, port))).await;
    let refused = match connected {
        Ok(Ok(stream)) => return Ok(stream),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
            "connect: connection refused".to_owned()
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => LATE.to_owned(),
    };
    Err(format!("dial tcp {host}:{port}: {refused}"))
}

fn port_of(port: &IntOrString, container: &Container) -> Result<u16, String> {
    let (number, text) = match port {
        IntOrString::Int(number) => (Some(*number), number.to_string()),
        IntOrString::String(name) => {
            let mut ports = container.ports.iter().flatten();
            let named = ports.find(|own| own.name.as_ref() == Some(name)).map(|own| own.container_port);
            (named.or_else(|| name.parse().ok()), name.clone())
        }
    };
    let number = number.and_then(|number| u16::try_from(number).ok()).filter(|number| *number > 0);
    number.ok_or_else(|| format!("port {text} is not one of the container's, nor a number from 1 to 65535"))
}

async fn http(get: &HTTPGetAction, target: &Target<'_>, limit: Duration) -> Result<(), Failed> {
    let is_secure = get.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
    let port = port_of(&get.port, target.container).map_err(Failed::Unknown)?;
    let host = get.host.clone().filter(|host| !host.is_empty());
    let host = host.unwrap_or_else(|| target.address.to_string());
    let path = get.path.as_deref().filter(|path| path.starts_with('/')).unwrap_or("/");
    let url = format!("http{}://{host}:{port}{path}", if is_secure { "s" } else { "" });
    let failed = |why: String| format!("Get {url:?}: {why}");
    let attempt = async {
        let stream = connect(&host, port, limit).await.map_err(failed)?;
        let authority = format!("{host}:{port}");
        if is_secure {
            let stream = xebec_tls::secure(stream, &host).await.map_err(failed)?;
            return ask(stream, get, &authority, path).await.map_err(failed);
        }
        ask(stream, get, &authority, path).await.map_err(failed)
    };
    let late = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
    let code = tokio::time::timeout(limit, attempt).await.unwrap_or_else(|_| Err(failed(late.to_owned())));
    let code = code.map_err(Failed::Refused)?;
    if (200..400).contains(&code) {
        return Ok(());
    }
    Err(Failed::Refused(format!("HTTP probe failed with statuscode: {code}")))
}

/// The status of the answer to a request.
async fn ask(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    get: &HTTPGetAction,
    authority: &str,
    path: &str,
) -> Result<u16, String> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let mut request = Request::builder().uri(path);
    let own =
        |name: &str| get.http_headers.iter().flatten().any(|header| header.name.eq_ignore_ascii_case(name));
    for (name, value) in [("user-agent", "kube-probe/1.36"), ("accept", "*/*"), ("host", authority)] {
        if !own(name) {
            request = request.header(name, value);
        }
    }
    for header in get.http_headers.iter().flatten().filter(|header| !header.value.is_empty()) {
        request = request.header(&header.name, &header.value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
    // The connection is driven here and dropped with the probe. Where it ends by itself, the answer may have come with
    // its end (as HTTP/1.0 marks the end of an answer): the request knows, and says what went wrong where none came.
    let mut response = std::pin::pin!(sender.send_request(request));
    let response = tokio::select! {
        response = &mut response => response,
        ended = connection => match ended {
            Ok(()) => response.await,
            Err(error) => Err(error),
        },
    }
    .map_err(|error| if error.is_canceled() { "EOF".to_owned() } else { chain(&error) })?;
    Ok(response.status().as_u16())
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn container() -> Container {
        serde_json::from_value(serde_json::json!({
            "name": "web", "ports": [{"name": "http", "containerPort": 8080}],
        }))
        .unwrap_or_default()
    }

    #[test]
    fn ports_go_by_number_and_by_name() {
        let container = container();
        let port = |port| port_of(&port, &container);
        assert_eq!(port(IntOrString::Int(80)), Ok(80));
        assert_eq!(port(IntOrString::String("http".to_owned())), Ok(8080));
        for bad in [IntOrString::Int(0), IntOrString::Int(70_000), IntOrString::String("other".to_owned())] {
            assert!(port(bad.clone()).is_err(), "{bad:?}");
        }
    }

    #[tokio::test]
    async fn a_closed_port_and_a_silent_server_say_what_failed() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let container = container();
        let address = std::net::Ipv4Addr::LOCALHOST.into();
        let target = Target { container: &container, address, process: None };
        let get: Probe = serde_json::from_value(serde_json::json!({
            "httpGet": {"port": port, "path": "/healthz"}, "timeoutSeconds": 1,
        }))
        .expect("a probe");
        let late = format!("Get \"http://127.0.0.1:{port}/healthz\": context deadline exceeded");
        let failed = probe(&get, &target).await;
        assert!(matches!(&failed, Err(Failed::Refused(why)) if why.starts_with(&late)), "{failed:?}");
        drop(listener);
        let closed = format!("dial tcp 127.0.0.1:{port}: connect: connection refused");
        let failed = probe(&get, &target).await;
        assert!(matches!(&failed, Err(Failed::Refused(why)) if why.ends_with(&closed)), "{failed:?}");
    }

    /// What a probe finds of a server that reads the request, gives this answer, and closes.
    async fn probe_of(answer: &'static [u8]) -> Result<(), Failed> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut request = [0; 4096];
            let read = stream.read(&mut request).await.expect("a request");
            assert!(read > 0);
            stream.write_all(answer).await.expect("the answer leaves");
        });
        let container = container();
        let address = std::net::Ipv4Addr::LOCALHOST.into();
        let target = Target { container: &container, address, process: None };
        let get = serde_json::json!({"httpGet": {"port": port, "path": "/"}, "timeoutSeconds": 5});
        let found = probe(&serde_json::from_value(get).expect("a probe"), &target).await;
        server.await.expect("the server ends");
        found
    }

    #[tokio::test]
    async fn an_answer_counts_though_the_connection_ends_with_it() {
        let answers: [&[u8]; 3] = [
            b"HTTP/1.0 200 OK\r\n\r\nwell",
            b"HTTP/1.0 200 OK\r\ncontent-length: 4\r\n\r\nwell",
            b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n",
        ];
        for round in 0..100 {
            for answer in answers {
                let found = probe_of(answer).await;
                assert_eq!(found, Ok(()), "round {round}: {}", String::from_utf8_lossy(answer));
            }
        }
    }

    #[tokio::test]
    async fn an_end_without_an_answer_says_so() {
        for nothing in [&b""[..], b"HTTP/1.1 200"] {
            let found = probe_of(nothing).await;
            let Err(Failed::Refused(why)) = &found else { panic!("{found:?}") };
            assert!(why.starts_with("Get \"http://127.0.0.1:") && !why.contains("Ok("), "{why}");
        }
    }

    /// Answers all requests on a port with `answer`, over TLS with a certificate that nobody knows, or over HTTP/2.
    async fn server(secure: bool, answer: fn() -> http::Response<Answer>) -> u16 {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let own = rcgen::generate_simple_self_signed(["elsewhere.test".to_owned()]).expect("a certificate");
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(own.signing_key.serialize_der());
        let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![own.cert.der().clone()], key.into())
            .expect("a configuration");
        let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = hyper::service::service_fn(move |_| async move {
                    Ok::<_, std::convert::Infallible>(answer())
                });
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    if secure {
                        let Ok(stream) = acceptor.accept(stream).await else { return };
                        let serving = hyper::server::conn::http1::Builder::new();
                        let _ = serving.serve_connection(TokioIo::new(stream), service).await;
                    } else {
                        let serving =
                            hyper::server::conn::http2::Builder::new(hyper_util::rt::TokioExecutor::new());
                        let _ = serving.serve_connection(TokioIo::new(stream), service).await;
                    }
                });
            }
        });
        port
    }

    type Answer = http_body_util::combinators::BoxBody<Bytes, std::convert::Infallible>;

    fn answer(status: u16, body: &'static [u8], code: Option<&'static str>) -> http::Response<Answer> {
        use http_body_util::BodyExt as _;
        let trailers = code.map(|code| {
            let mut trailers = http::HeaderMap::new();
            trailers.insert("grpc-status", http::HeaderValue::from_static(code));
            Ok(trailers)
        });
        let body = http_body_util::Full::new(Bytes::from_static(body)).with_trailers(async { trailers });
        let mut response = http::Response::new(body.boxed());
        *response.status_mut() = http::StatusCode::from_u16(status).expect("a status");
        response
    }

    async fn asked(probed: serde_json::Value) -> Result<(), Failed> {
        let container = container();
        let target = Target { container: &container, address: [127, 0, 0, 1].into(), process: None };
        probe(&serde_json::from_value(probed).expect("a probe"), &target).await
    }

    #[tokio::test]
    async fn a_server_over_tls_is_asked_whoever_vouches_for_it() {
        let get = |port: u16| serde_json::json!({"httpGet": {"port": port, "scheme": "HTTPS"}, "timeoutSeconds": 10});
        assert_eq!(asked(get(server(true, || answer(200, b"", None)).await)).await, Ok(()));
        let failed = asked(get(server(true, || answer(503, b"", None)).await)).await;
        assert_eq!(failed, Err(Failed::Refused("HTTP probe failed with statuscode: 503".to_owned())));
        let plain = asked(get(server(false, || answer(200, b"", None)).await)).await;
        assert!(matches!(&plain, Err(Failed::Refused(why)) if why.contains("tls: ")), "{plain:?}");
    }

    #[tokio::test]
    async fn a_grpc_server_is_asked_for_its_health() {
        let ask =
            |port: u16| serde_json::json!({"grpc": {"port": port, "service": "a.B"}, "timeoutSeconds": 10});
        let serving = server(false, || answer(200, b"\0\0\0\0\x02\x08\x01", Some("0"))).await;
        assert_eq!(asked(ask(serving)).await, Ok(()));
        let refusal = async |answer: fn() -> http::Response<Answer>| match asked(ask(
            server(false, answer).await
        ))
        .await
        {
            Err(Failed::Refused(why)) => why,
            other => format!("{other:?}"),
        };
        let sick = refusal(|| answer(200, b"\0\0\0\0\x02\x08\x02", Some("0"))).await;
        assert_eq!(sick, "service unhealthy (responded with \"NOT_SERVING\")");
        let other = refusal(|| answer(200, b"", Some("12"))).await;
        assert!(
            other.starts_with("error: this server does not implement the grpc health protocol"),
            "{other}"
        );
        let web = refusal(|| answer(404, b"", None)).await;
        assert!(web.ends_with("the server answers with HTTP status 404"), "{web}");
    }

    #[tokio::test]
    async fn what_cannot_be_asked_is_no_failure_of_the_container() {
        for probed in [
            serde_json::json!({}),
            serde_json::json!({"httpGet": {"port": "absent"}}),
            serde_json::json!({"tcpSocket": {"port": 0}}),
            serde_json::json!({"exec": {"command": ["/in-a-component"]}}),
        ] {
            let failed = asked(probed.clone()).await;
            assert!(matches!(failed, Err(Failed::Unknown(_))), "{probed}: {failed:?}");
        }
    }
}
