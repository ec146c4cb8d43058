//! Hosts that are served apart at one address.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use xebec_proxy::config::{
    Backend, BackendTls, Certificate, ClientValidation, Config, Domain, Ending, HostMatch, Listener,
    PathMatch, Protocol, Route, RouteMatch, ServerNameRoute, SubjectName, Tls, TlsDomain, TrustRoots,
    VirtualHost,
};
use xebec_proxy::proxy::Limits;

use crate::peers::{backend, curl, raw, route, serving_with, upstream};

fn at(path: &str, backend: &Backend) -> Vec<VirtualHost> {
    let matcher = RouteMatch { path: PathMatch::Exact(path.into()), ..RouteMatch::default() };
    let routes = vec![Route { matcher, ..route(vec![backend.clone()]) }];
    vec![VirtualHost { host: HostMatch::Any, routes }]
}

fn one(protocol: Protocol) -> Config {
    Config { listeners: vec![Listener { address: "127.0.0.1:0".parse().unwrap(), protocol }] }
}

#[tokio::test]
async fn a_request_is_answered_by_the_most_specific_domain_alone() {
    let (address, _) = upstream("a").await;
    let backend = backend("a", 1, vec![address]);
    let domain = |host, path| Domain { id: "".into(), host, hosts: at(path, &backend) };
    let config = one(Protocol::Http(vec![
        domain(HostMatch::Any, "/any"),
        domain(HostMatch::Suffix("example.com".into()), "/wide"),
        domain(HostMatch::Exact("a.example.com".into()), "/exact"),
    ]));
    let (_proxy, front) = serving_with(config, Limits::default()).await;
    for (host, own) in [("other", "/any"), ("x.example.com", "/wide"), ("A.example.com:80", "/exact")] {
        for path in ["/any", "/wide", "/exact"] {
            let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            let status = if path == own { "HTTP/1.1 200" } else { "HTTP/1.1 404" };
            assert!(raw(front, &request).await.starts_with(status), "{host}{path}");
        }
    }
}

/// An authority and certificates that it signed.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // With the name of a leaf it would pass for one that signed itself.
        params.distinguished_name.push(DnType::CommonName, "authority");
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A chain and key for these names.
    fn sign(&self, names: &[&str]) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn certificate(&self, names: &[&str]) -> Certificate {
        let (chain, key) = self.sign(names);
        Certificate::from_pem(chain.as_bytes(), key.as_bytes()).unwrap()
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    fn roots(&self) -> TrustRoots {
        TrustRoots::from_pem(self.pem().as_bytes()).unwrap()
    }

    fn tls(&self, names: &[&str]) -> Tls {
        Tls { certificates: vec![self.certificate(names)], ..Tls::default() }
    }
}

/// Asks over TLS and gives the status and body; `name` is the server name, `host` the request's.
async fn over_tls(port: u16, ca: &str, name: &str, host: &str, more: &[&str]) -> Option<String> {
    let file = Authority::file(ca);
    let (resolve, url) = (format!("{name}:{port}:127.0.0.1"), format!("https://{name}:{port}/p"));
    let header = format!("Host: {host}");
    let mut arguments = vec!["--cacert", file.path().to_str().unwrap(), "--resolve", &resolve, "-H", &header];
    arguments.extend(["-w", "|%{http_code}", &url]);
    arguments.extend(more);
    curl(&arguments).await
}

#[tokio::test]
async fn a_host_of_another_domain_than_the_server_name_is_misdirected() {
    let authority = Authority::new();
    let ((one_end, _), (other_end, _)) = (upstream("one").await, upstream("other").await);
    let domain = |host, names: &[&str], endpoint| TlsDomain {
        id: "".into(),
        host,
        ending: Ending::Http(authority.tls(names), at("/p", &backend("b", 1, vec![endpoint]))),
    };
    let config = one(Protocol::Tls(vec![
        domain(HostMatch::Any, &["a.test"], one_end),
        domain(HostMatch::Exact("b.test".into()), &["b.test"], other_end),
    ]));
    let (_proxy, front) = serving_with(config, Limits::default()).await;
    let ca = authority.pem();
    let cases = [("a.test", "a.test", "one"), ("a.test", "c.test", "one"), ("b.test", "b.test", "other")];
    for (name, host, end) in cases {
        let Some(answer) = over_tls(front.port(), &ca, name, host, &[]).await else { return };
        assert!(answer.starts_with(end) && answer.ends_with("|200"), "{name} {host}: {answer}");
    }
    for (name, host) in [("a.test", "b.test"), ("b.test", "a.test")] {
        let answer = over_tls(front.port(), &ca, name, host, &[]).await.unwrap();
        assert!(answer.ends_with("|421"), "{name} {host}: {answer}");
    }
}

#[tokio::test]
async fn clients_must_show_what_the_domain_asks_for() {
    let (servers, clients) = (Authority::new(), Authority::new());
    let (address, _) = upstream("a").await;
    let mut tls = servers.tls(&["a.test"]);
    tls.clients = ClientValidation::Required(clients.roots());
    let ending = Ending::Http(tls, at("/p", &backend("a", 1, vec![address])));
    let config = one(Protocol::Tls(vec![TlsDomain { id: "".into(), host: HostMatch::Any, ending }]));
    let (_proxy, front) = serving_with(config, Limits::default()).await;
    let shown = |authority: &Authority| {
        let (chain, key) = authority.sign(&["client.test"]);
        (Authority::file(&chain), Authority::file(&key))
    };
    let (chain, key) = shown(&clients);
    let (chain, key) = (chain.path().to_str().unwrap(), key.path().to_str().unwrap());
    let own = ["--cert", chain, "--key", key];
    let Some(answer) = over_tls(front.port(), &servers.pem(), "a.test", "a.test", &own).await else { return };
    assert!(answer.ends_with("|200"), "{answer}");
    let refused = std::process::Command::new("curl")
        .args(["-sS", "-m", "5", "-k", &format!("https://127.0.0.1:{}/p", front.port())])
        .output()
        .unwrap();
    assert!(!refused.status.success(), "a client without a certificate is let in");
}

#[tokio::test]
async fn an_endpoint_is_believed_by_its_authority_and_names() {
    let authority = Authority::new();
    let (plain, _) = upstream("inner").await;
    // The engine itself is the endpoint under TLS.
    let ending =
        Ending::Http(authority.tls(&["in.test", "other.test"]), at("/p", &backend("p", 1, vec![plain])));
    let inner = one(Protocol::Tls(vec![TlsDomain { id: "".into(), host: HostMatch::Any, ending }]));
    let (_inner, endpoint) = serving_with(inner, Limits::default()).await;
    let asked = async |name: &str, names: Vec<SubjectName>, roots: TrustRoots| {
        let tls = BackendTls::new(name, names, roots, None).unwrap();
        let backend = Backend { tls: Some(std::sync::Arc::new(tls)), ..backend("t", 1, vec![endpoint]) };
        let config = one(Protocol::Http(vec![Domain::any(at("/p", &backend))]));
        let (_proxy, front) = serving_with(config, Limits::default()).await;
        let request = "GET /p HTTP/1.1\r\nHost: in.test\r\nConnection: close\r\n\r\n";
        raw(front, request).await
    };
    let host = |name: &str| vec![SubjectName::Host(name.to_owned())];
    let believed = asked("in.test", Vec::new(), authority.roots()).await;
    assert!(believed.starts_with("HTTP/1.1 200") && believed.contains("inner"), "{believed}");
    assert!(asked("in.test", host("other.test"), authority.roots()).await.starts_with("HTTP/1.1 200"));
    assert!(asked("in.test", host("wrong.test"), authority.roots()).await.starts_with("HTTP/1.1 502"));
    assert!(asked("wrong.test", Vec::new(), authority.roots()).await.starts_with("HTTP/1.1 502"));
    assert!(asked("in.test", Vec::new(), Authority::new().roots()).await.starts_with("HTTP/1.1 502"));
}

#[tokio::test]
async fn tls_is_passed_through_or_ended_by_the_server_name() {
    let authority = Authority::new();
    let (plain, _) = upstream("inner").await;
    let ending = Ending::Http(authority.tls(&["through.test"]), at("/p", &backend("p", 1, vec![plain])));
    let inner = one(Protocol::Tls(vec![TlsDomain { id: "".into(), host: HostMatch::Any, ending }]));
    let (_inner, endpoint) = serving_with(inner, Limits::default()).await;
    let to = |host: &str, endpoint| {
        vec![ServerNameRoute {
            host: HostMatch::Exact(host.to_owned()),
            backends: vec![backend("b", 1, vec![endpoint])],
        }]
    };
    let exact = |host: &str| HostMatch::Exact(host.to_owned());
    let config = one(Protocol::Tls(vec![
        TlsDomain {
            id: "".into(),
            host: exact("through.test"),
            ending: Ending::Passthrough(to("through.test", endpoint)),
        },
        TlsDomain {
            id: "".into(),
            host: exact("ended.test"),
            ending: Ending::Tcp(authority.tls(&["ended.test"]), to("ended.test", plain)),
        },
    ]));
    let (_proxy, front) = serving_with(config, Limits::default()).await;
    for name in ["through.test", "ended.test"] {
        let more = ["--http1.1"];
        let Some(answer) = over_tls(front.port(), &authority.pem(), name, name, &more).await else { return };
        assert!(answer.starts_with("inner") && answer.ends_with("|200"), "{name}: {answer}");
    }
}
