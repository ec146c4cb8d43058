use super::*;

fn port(name: &str, protocol: Protocol, number: u16) -> Port {
    Port { name: name.into(), protocol, number }
}

fn endpoint(address: [u8; 4], hostname: Option<&str>) -> Endpoint {
    let ports = vec![port("http", Protocol::Tcp, 8080)];
    Endpoint { address: address.into(), hostname: hostname.map(str::to_owned), ports }
}

pub(crate) fn zone() -> Zone {
    let scope = Scope {
        domain: "cluster.local".into(),
        server: Some([10, 96, 0, 10].into()),
        ranges: vec![([10, 96, 0, 0].into(), 16), ([10, 244, 0, 0].into(), 24)],
    };
    let own = |name: &str| ("default".to_owned(), name.to_owned());
    let web = Service::Address {
        addresses: vec![[10, 96, 0, 20].into()],
        ports: vec![
            port("http", Protocol::Tcp, 80),
            port("dns", Protocol::Udp, 53),
            port("", Protocol::Tcp, 1),
        ],
        named: vec![endpoint([10, 244, 0, 8], Some("web-0"))],
    };
    let set = Service::Headless {
        endpoints: vec![
            endpoint([10, 244, 0, 5], Some("db-0")),
            endpoint([10, 244, 0, 6], Some("db-1")),
            endpoint([10, 244, 0, 7], None),
        ],
    };
    let services = [
        (own("web"), web),
        (own("set"), set),
        (own("empty"), Service::Headless { endpoints: Vec::new() }),
        (own("out"), Service::Alias { target: "www.example.org".into() }),
    ];
    Zone::compile(scope, 7, ["default".to_owned(), "other".to_owned()], services).unwrap()
}

fn find(name: &str, kind: RecordType) -> Found {
    zone().find(&Name::from_ascii(name).unwrap(), kind)
}

fn texts(found: Found) -> Vec<String> {
    match found {
        Found::There { answers, .. } => answers.iter().map(ToString::to_string).collect(),
        other => vec![format!("{other:?}")],
    }
}

#[test]
fn a_service_is_found_by_its_name_in_any_case() {
    assert_eq!(texts(find("web.default.svc.cluster.local.", RecordType::A)), ["10.96.0.20"]);
    assert_eq!(texts(find("WEB.Default.SVC.cluster.LOCAL.", RecordType::A)), ["10.96.0.20"]);
    assert!(texts(find("web.default.svc.cluster.local.", RecordType::AAAA)).is_empty());
    assert!(texts(find("web.default.svc.cluster.local.", RecordType::MX)).is_empty());
    for missing in ["web.other", "web.none", "wob.default", "x.web.default", "_x._tcp.web.default"] {
        assert_eq!(
            find(&format!("{missing}.svc.cluster.local."), RecordType::A),
            Found::Missing,
            "{missing}"
        );
    }
}

#[test]
fn a_service_without_an_address_is_its_endpoints() {
    let all = ["10.244.0.5", "10.244.0.6", "10.244.0.7"];
    assert_eq!(texts(find("set.default.svc.cluster.local.", RecordType::A)), all);
    assert_eq!(texts(find("db-1.set.default.svc.cluster.local.", RecordType::A)), ["10.244.0.6"]);
    assert_eq!(texts(find("10-244-0-7.set.default.svc.cluster.local.", RecordType::A)), ["10.244.0.7"]);
    assert_eq!(find("db-2.set.default.svc.cluster.local.", RecordType::A), Found::Missing);
    assert_eq!(find("empty.default.svc.cluster.local.", RecordType::A), Found::Missing);
    // Names are known below a service that has an address, too.
    assert_eq!(texts(find("web-0.web.default.svc.cluster.local.", RecordType::A)), ["10.244.0.8"]);
}

#[test]
fn named_ports_are_told_with_where_they_are() {
    let found = find("_http._tcp.web.default.svc.cluster.local.", RecordType::SRV);
    let Found::There { answers, additionals } = found else { panic!("{found:?}") };
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].to_string(), "0 100 80 web.default.svc.cluster.local.");
    assert_eq!(additionals[0].1.to_string(), "10.96.0.20");
    assert_eq!(find("_http._udp.web.default.svc.cluster.local.", RecordType::SRV), Found::Missing);
    assert_eq!(find("_._tcp.web.default.svc.cluster.local.", RecordType::SRV), Found::Missing);
    let each = texts(find("_http._tcp.set.default.svc.cluster.local.", RecordType::SRV));
    let expected = [
        "0 100 8080 db-0.set.default.svc.cluster.local.",
        "0 100 8080 db-1.set.default.svc.cluster.local.",
        "0 100 8080 10-244-0-7.set.default.svc.cluster.local.",
    ];
    assert_eq!(each, expected);
}

#[test]
fn pods_and_the_version_and_the_zone_itself_are_told() {
    assert_eq!(texts(find("10-244-0-9.default.pod.cluster.local.", RecordType::A)), ["10.244.0.9"]);
    assert_eq!(find("10-244-0-9.none.pod.cluster.local.", RecordType::A), Found::Missing);
    assert_eq!(find("10-244-0-999.default.pod.cluster.local.", RecordType::A), Found::Missing);
    assert_eq!(texts(find("dns-version.cluster.local.", RecordType::TXT)), ["1.1.0"]);
    assert_eq!(texts(find("ns.dns.cluster.local.", RecordType::A)), ["10.96.0.10"]);
    assert_eq!(texts(find("cluster.local.", RecordType::NS)), ["ns.dns.cluster.local."]);
    assert!(
        texts(find("cluster.local.", RecordType::SOA))[0].starts_with("ns.dns.cluster.local. hostmaster")
    );
    for there in ["default.svc.cluster.local.", "svc.cluster.local.", "other.pod.cluster.local."] {
        assert!(texts(find(there, RecordType::A)).is_empty(), "{there}");
    }
}

#[test]
fn addresses_have_names() {
    assert_eq!(texts(find("20.0.96.10.in-addr.arpa.", RecordType::PTR)), ["web.default.svc.cluster.local."]);
    assert_eq!(
        texts(find("6.0.244.10.in-addr.arpa.", RecordType::PTR)),
        ["db-1.set.default.svc.cluster.local."]
    );
    assert_eq!(find("99.0.96.10.in-addr.arpa.", RecordType::PTR), Found::Missing);
    assert_eq!(find("1.2.0.192.in-addr.arpa.", RecordType::PTR), Found::Elsewhere);
    assert_eq!(find("0.96.10.in-addr.arpa.", RecordType::PTR), Found::Elsewhere);
}

#[test]
fn another_name_is_followed_and_others_names_are_others() {
    let target = Name::from_ascii("www.example.org.").unwrap();
    assert_eq!(find("out.default.svc.cluster.local.", RecordType::A), Found::Alias(target));
    assert_eq!(find("www.example.org.", RecordType::A), Found::Elsewhere);
    assert_eq!(find("xcluster.local.", RecordType::A), Found::Elsewhere);
    assert_eq!(find("nothing.cluster.local.", RecordType::A), Found::Missing);
}

#[test]
fn pods_leave_out_what_their_own_names_end_in() {
    let known = |host: &str, namespace: &str| zone().look_up(host, namespace);
    let web = Known::Addresses(vec![[10, 96, 0, 20].into()]);
    for host in [
        "web",
        "web.default",
        "web.default.svc",
        "web.default.svc.cluster.local",
        "web.default.svc.cluster.local.",
    ] {
        assert_eq!(known(host, "default"), web, "{host}");
    }
    assert_eq!(known("web", "other"), Known::Elsewhere);
    assert_eq!(known("web.", "default"), Known::Elsewhere);
    assert_eq!(known("out", "default"), Known::Alias("www.example.org.".into()));
    assert_eq!(known("www.example.org", "default"), Known::Elsewhere);
}

#[test]
fn a_domain_that_is_none_is_refused() {
    for domain in ["", ".", "a..b", &"x".repeat(64)] {
        let scope = Scope { domain: domain.into(), server: None, ranges: Vec::new() };
        assert!(Zone::compile(scope, 1, [], []).is_err(), "{domain:?}");
    }
}
