use super::*;

fn pods() -> Subnet {
    "10.244.0.0/24".parse().unwrap()
}

fn at(text: &str) -> SocketAddrV4 {
    text.parse().unwrap()
}

fn endpoint(text: &str) -> Endpoint {
    Endpoint { address: at(text), stage: Stage::Ready, is_local: true }
}

fn service(name: &str, endpoints: &[Endpoint]) -> Service {
    Service {
        name: Name { namespace: "default".into(), name: name.into() },
        cluster_ips: vec![Ipv4Addr::new(10, 96, 0, 20)],
        external_ips: Vec::new(),
        balancer_ips: Vec::new(),
        sources: Vec::new(),
        ports: vec![ServicePort {
            protocol: Protocol::Tcp,
            port: 80,
            node_port: None,
            endpoints: endpoints.to_vec(),
        }],
        affinity: None,
        internal: Policy::Cluster,
        external: Policy::Cluster,
    }
}

fn front(address: &str, port: u16) -> Front {
    Front { address: address.parse().unwrap(), transport: Transport::Tcp, port }
}

fn one(service: Service) -> Translation {
    let (translation, refusals) = translate(&[service], &[], pods());
    assert_eq!(refusals, []);
    translation
}

fn endpoints<'a>(translation: &'a Translation, chain: &str) -> &'a [SocketAddrV4] {
    match &translation.chains[chain] {
        Chain::Spread { endpoints, .. } => endpoints,
        other => panic!("{chain} is {other:?}"),
    }
}

#[test]
fn a_cluster_ip_is_spread_over_those_that_serve() {
    let mut ending = endpoint("10.244.0.9:8080");
    ending.stage = Stage::Ending;
    let own = [endpoint("10.244.0.6:8080"), endpoint("10.244.0.5:8080"), ending];
    let translation = one(service("web", &own));
    assert_eq!(translation.cluster[&front("10.96.0.20", 80)], "all-default/web/tcp/80");
    let both = [at("10.244.0.5:8080"), at("10.244.0.6:8080")];
    assert_eq!(endpoints(&translation, "all-default/web/tcp/80"), both);
    assert_eq!(translation.hairpins.len(), 2);
    assert!(translation.foreign.is_empty());
    let target =
        |port| translation.target(SocketAddrV4::new([10, 96, 0, 20].into(), port), Transport::Tcp, |_| 1);
    assert_eq!(target(80), Target::At(both[1]));
    assert_eq!(target(81), Target::None);
}

#[test]
fn those_that_end_answer_while_no_other_does() {
    let mut ending = endpoint("10.244.0.9:8080");
    ending.stage = Stage::Ending;
    let translation = one(service("web", &[ending]));
    assert_eq!(endpoints(&translation, "all-default/web/tcp/80"), [at("10.244.0.9:8080")]);
}

#[test]
fn a_service_without_endpoints_is_closed_everywhere() {
    let mut bare = service("web", &[]);
    bare.external_ips = vec![[192, 0, 2, 7].into()];
    bare.ports[0].node_port = Some(30080);
    let translation = one(bare);
    assert_eq!(translation.closed_cluster[&front("10.96.0.20", 80)], Closed::Reject);
    assert_eq!(translation.closed_external[&front("192.0.2.7", 80)], Closed::Reject);
    assert_eq!(translation.closed_doors[&Door { transport: Transport::Tcp, port: 30080 }], Closed::Reject);
    assert!(translation.chains.is_empty());
    let asked = translation.target(at("10.96.0.20:80"), Transport::Tcp, |_| 0);
    assert_eq!(asked, Target::Closed);
}

#[test]
fn internal_traffic_that_is_to_stay_local_never_leaves() {
    let mut far = endpoint("10.9.0.5:80");
    far.is_local = false;
    let mut own = service("web", &[far]);
    own.internal = Policy::Local;
    assert_eq!(one(own.clone()).closed_cluster[&front("10.96.0.20", 80)], Closed::Drop);
    own.ports[0].endpoints.push(endpoint("10.244.0.5:80"));
    let translation = one(own);
    let chain = &translation.cluster[&front("10.96.0.20", 80)];
    assert_eq!(endpoints(&translation, chain), [at("10.244.0.5:80")]);
    assert_eq!(translation.chains.len(), 1, "nothing else is kept");
}

#[test]
fn external_traffic_that_is_to_stay_local_does_so_for_outsiders_alone() {
    let mut far = endpoint("10.9.0.5:80");
    far.is_local = false;
    let mut own = service("web", &[far]);
    own.external = Policy::Local;
    own.balancer_ips = vec![[192, 0, 2, 8].into()];
    own.sources = vec!["198.51.100.0/24".parse().unwrap()];
    own.ports[0].node_port = Some(30080);
    let translation = one(own);
    assert_eq!(translation.cluster[&front("10.96.0.20", 80)], "all-default/web/tcp/80");
    let door = &translation.doors[&Door { transport: Transport::Tcp, port: 30080 }];
    let expected = Chain::Outside { inside: "all-default/web/tcp/80".into(), local: None };
    assert_eq!(translation.chains[door], expected);
    let balancer = &translation.external[&front("192.0.2.8", 80)];
    let next = "outside-default/web/tcp/80".to_owned();
    let expected = Chain::Guarded { sources: vec!["198.51.100.0/24".parse().unwrap()], next };
    assert_eq!(translation.chains[balancer], expected);
    assert_eq!(translation.foreign.len(), 1, "{:?}", translation.foreign);
}

#[test]
fn sctp_is_refused_and_the_other_ports_are_served() {
    let mut own = service("web", &[endpoint("10.244.0.5:80")]);
    own.ports.push(ServicePort {
        protocol: Protocol::Sctp,
        port: 81,
        node_port: None,
        endpoints: Vec::new(),
    });
    let (translation, refusals) = translate(&[own], &[], pods());
    assert_eq!(translation.cluster.len(), 1);
    let told = refusals[0].to_string();
    assert_eq!(told, "port 81 of default/web is not served: SCTP is not supported; use TCP or UDP");
}

#[test]
fn what_two_claim_stays_with_the_first() {
    let mut first = service("zeta", &[endpoint("10.244.0.5:80")]);
    first.external_ips = vec![[192, 0, 2, 7].into()];
    let mut second = service("alpha", &[endpoint("10.244.0.6:80")]);
    second.cluster_ips = vec![[10, 96, 0, 21].into()];
    second.external_ips = first.external_ips.clone();
    let (translation, refusals) = translate(&[first, second], &[], pods());
    assert_eq!(translation.external[&front("192.0.2.7", 80)], "all-default/zeta/tcp/80");
    assert_eq!(refusals.len(), 1);
    assert_eq!(refusals[0].of.name, "alpha");
}

#[test]
fn a_host_port_leads_to_its_pod() {
    let port = |address: Option<Ipv4Addr>, name: &str| HostPort {
        pod: Name { namespace: "default".into(), name: name.into() },
        address,
        protocol: Protocol::Udp,
        port: 5353,
        target: at("10.244.0.7:53"),
    };
    let all = [port(None, "dns"), port(Some([192, 0, 2, 2].into()), "other"), port(None, "late")];
    let (translation, refusals) = translate(&[], &all, pods());
    assert_eq!(translation.doors.len(), 1);
    assert_eq!(translation.external.len(), 1);
    assert_eq!(translation.chains.len(), 2);
    assert_eq!(refusals.len(), 1);
    assert!(refusals[0].to_string().contains("port 5353/udp of the machine"), "{}", refusals[0]);
}
