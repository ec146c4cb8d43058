//! TLS that ends at a listener.

use rcgen::generate_simple_self_signed;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use xebec_proxy::config::{
    Alpn, Backend, Certificate, CertificateError, Config, Ending, HostMatch, Listener, Protocol, Tls,
    TlsDomain, VirtualHost,
};
use xebec_proxy::proxy::{Limits, Proxy};

use crate::peers::{backend, curl, route, upstream};

fn certificate(name: &str) -> (Certificate, tempfile::NamedTempFile) {
    let made = generate_simple_self_signed([name.to_owned()]).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), made.cert.pem()).unwrap();
    let key = made.signing_key.serialize_pem();
    (Certificate::from_pem(made.cert.pem().as_bytes(), key.as_bytes()).unwrap(), file)
}

fn config(certificates: Vec<Certificate>, alpn: Vec<Alpn>, backend: Backend) -> Config {
    let hosts = vec![VirtualHost { host: HostMatch::Any, routes: vec![route(vec![backend])] }];
    let tls = Tls { certificates, alpn, ..Tls::default() };
    let domain = TlsDomain { id: "".into(), host: HostMatch::Any, ending: Ending::Http(tls, hosts) };
    let listener =
        Listener { address: "127.0.0.1:0".parse().unwrap(), protocol: Protocol::Tls(vec![domain]) };
    Config { listeners: vec![listener] }
}

#[tokio::test]
async fn the_server_name_chooses_the_certificate_and_alpn_the_protocol() {
    let (address, _) = upstream("a").await;
    let (exact, exact_ca) = certificate("a.example");
    let (wild, wild_ca) = certificate("*.b.example");
    let (rotated, rotated_ca) = certificate("a.example");
    let backend = backend("a", 1, vec![address]);
    let mut proxy = Proxy::new(Limits::default());
    let applied = proxy.apply(config(vec![exact, wild.clone()], Vec::new(), backend.clone())).await;
    let port = applied.listeners[0].as_ref().unwrap().port();
    let get = async |name: &str, ca: &tempfile::NamedTempFile| {
        let (resolve, url) = (format!("{name}:{port}:127.0.0.1"), format!("https://{name}:{port}/p"));
        let ca = ca.path().to_str().unwrap();
        curl(&["--cacert", ca, "--resolve", &resolve, "-w", "|%{http_version}", &url]).await
    };
    let Some(answer) = get("a.example", &exact_ca).await else { return };
    assert!(answer.contains("x-forwarded-proto: https") && answer.ends_with("|2"), "{answer}");
    assert!(get("x.b.example", &wild_ca).await.unwrap().ends_with("|2"));
    proxy.apply(config(vec![rotated, wild], vec![Alpn::Http1], backend)).await;
    assert!(get("a.example", &rotated_ca).await.unwrap().ends_with("|1.1"));
}

#[test]
fn what_is_no_certificate_is_refused_with_the_cause() {
    let (one, other) = (
        generate_simple_self_signed(["a".into()]).unwrap(),
        generate_simple_self_signed(["b".into()]).unwrap(),
    );
    let (chain, key) = (one.cert.pem(), one.signing_key.serialize_pem());
    let made = |chain: &str, key: &str| Certificate::from_pem(chain.as_bytes(), key.as_bytes());
    assert!(matches!(made("nothing", &key), Err(CertificateError::Chain(_))));
    assert!(matches!(made(&chain, "nothing"), Err(CertificateError::Key(_))));
    assert!(matches!(made(&chain, &other.signing_key.serialize_pem()), Err(CertificateError::Pair(_))));
    assert!(made(&chain, &key).is_ok());
}

#[tokio::test]
async fn a_change_of_routes_leaves_tls_sessions_as_they_are() {
    let ((one, _), (other, _)) = (upstream("one").await, upstream("other").await);
    let (certificate, ca) = certificate("a.example");
    let mut proxy = Proxy::new(Limits::default());
    let wanted =
        |endpoint| config(vec![certificate.clone()], vec![Alpn::Http1], backend("b", 1, vec![endpoint]));
    let applied = proxy.apply(wanted(one)).await;
    let port = applied.listeners[0].as_ref().unwrap().port();
    let mut roots = rustls::RootCertStore::empty();
    let pem = std::fs::read(ca.path()).unwrap();
    roots.add(rustls::pki_types::pem::PemObject::from_pem_slice(&pem).unwrap()).unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(client));
    let ask = async || {
        let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        let mut stream = connector.connect("a.example".try_into().unwrap(), stream).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        (stream.get_ref().1.handshake_kind().unwrap(), answer)
    };
    let (kind, answer) = ask().await;
    assert!(answer.contains("\r\n\r\none"), "{answer}");
    assert_eq!(kind, rustls::HandshakeKind::Full);
    proxy.apply(wanted(other)).await;
    let (kind, answer) = ask().await;
    assert!(answer.contains("\r\n\r\nother"), "{answer}");
    assert_eq!(kind, rustls::HandshakeKind::Resumed);
}
