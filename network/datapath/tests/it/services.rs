use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::Command;
use std::time::Duration;

use xebec_datapath::{HostPort, Name, Policy, Protocol, Service, Table, Translation, translate};
use xebec_dice::Dice;

use crate::house::{Flow, House, ask, ask_by_datagram, on_a_machine, place, serve, service};

const SERVICE: &str = "10.96.0.20:80";

#[test]
fn pods_reach_all_endpoints_of_a_service_in_their_own_name() {
    on_a_machine("pods_reach_all_endpoints_of_a_service_in_their_own_name", |house| {
        pods_reach_all_endpoints(house);
    });
}

/// Some programs have the kernel show what bridges carry to its tables; that changes the way, and must change nothing else.
#[test]
fn pods_reach_all_endpoints_whether_or_not_bridged_packets_are_filtered() {
    on_a_machine("pods_reach_all_endpoints_whether_or_not_bridged_packets_are_filtered", |house| {
        let setting = "/proc/sys/net/bridge/bridge-nf-call-iptables";
        let Ok(now) = std::fs::read_to_string(setting) else { return };
        std::fs::write(setting, if now.trim() == "1" { "0" } else { "1" }).unwrap();
        pods_reach_all_endpoints(house);
    });
}

fn pods_reach_all_endpoints(house: &mut House) {
    let (client, one, two) = (house.pod("client"), house.pod("one"), house.pod("two"));
    serve(Some(&one.namespace), one.address, 8080, "one");
    serve(Some(&two.namespace), two.address, 8080, "two");
    let both = [SocketAddrV4::new(one.address, 8080), SocketAddrV4::new(two.address, 8080)];
    house.apply(&[service("web", &both)], &[]);
    house.table.let_through().expect("the settings are made");
    let mut seen = BTreeSet::new();
    for _ in 0..40 {
        seen.insert(ask(Some(&client.namespace), SERVICE).expect("an answer"));
        seen.insert(ask_by_datagram(Some(&client.namespace), SERVICE).expect("an answer"));
    }
    let expected = ["one", "two"].map(|name| format!("{name} {}", client.address));
    assert_eq!(seen, BTreeSet::from(expected));
    // A pod that asks itself gets an answer too, which cannot be in its own name.
    let own: BTreeSet<_> = (0..40).map(|_| ask(Some(&one.namespace), SERVICE).expect("an answer")).collect();
    let gateway = house.network.range().gateway();
    assert_eq!(own, BTreeSet::from([format!("one {gateway}"), format!("two {}", one.address)]));
    // Pods still reach each other without any service.
    let direct = ask(Some(&client.namespace), &format!("{}:8080", two.address)).expect("an answer");
    assert_eq!(direct, format!("two {}", client.address));
}

#[test]
fn a_change_of_one_service_leaves_the_others_as_they_are() {
    on_a_machine("a_change_of_one_service_leaves_the_others_as_they_are", |house| {
        let (client, one, two) = (house.pod("client"), house.pod("one"), house.pod("two"));
        serve(Some(&one.namespace), one.address, 8080, "one");
        serve(Some(&two.namespace), two.address, 8080, "two");
        let (one, two) = (SocketAddrV4::new(one.address, 8080), SocketAddrV4::new(two.address, 8080));
        let mut other = service("other", &[one]);
        other.cluster_ips = vec![Ipv4Addr::new(10, 96, 0, 21)];
        let said = |address: &str| {
            let told = ask(Some(&client.namespace), address).map_err(|error| error.kind());
            told.map(|text| text.split(' ').next().unwrap().to_owned())
        };
        house.apply(&[service("web", &[one]), other.clone()], &[]);
        house.table.let_through().unwrap();
        assert_eq!(said(SERVICE).unwrap(), "one");
        house.apply(&[service("web", &[two]), other.clone()], &[]);
        assert_eq!(said(SERVICE).unwrap(), "two");
        assert_eq!(said("10.96.0.21:80").unwrap(), "one");
        // Nobody answers: that is told at once.
        house.apply(&[service("web", &[]), other.clone()], &[]);
        assert_eq!(said(SERVICE), Err(ErrorKind::ConnectionRefused));
        let datagram = ask_by_datagram(Some(&client.namespace), SERVICE);
        assert_eq!(datagram.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        house.apply(&[service("web", &[one, two]), other.clone()], &[]);
        assert!(said(SERVICE).is_ok());
        // What is no service's is refused too, and does not leave the machine.
        assert_eq!(said("10.96.0.99:80"), Err(ErrorKind::ConnectionRefused));
        assert_eq!(said("10.96.0.20:81"), Err(ErrorKind::ConnectionRefused));
        house.apply(&[other], &[]);
        assert_eq!(said(SERVICE), Err(ErrorKind::ConnectionRefused));
        assert_eq!(said("10.96.0.21:80").unwrap(), "one");
    });
}

#[test]
fn a_client_stays_with_its_endpoint_for_as_long_as_it_may() {
    on_a_machine("a_client_stays_with_its_endpoint_for_as_long_as_it_may", |house| {
        let clients: Vec<_> = (0..6).map(|at| house.pod(&format!("client-{at}"))).collect();
        let (one, two) = (house.pod("one"), house.pod("two"));
        serve(Some(&one.namespace), one.address, 8080, "one");
        serve(Some(&two.namespace), two.address, 8080, "two");
        let both = [SocketAddrV4::new(one.address, 8080), SocketAddrV4::new(two.address, 8080)];
        let mut sticky = service("web", &both);
        sticky.affinity = Some(Duration::from_secs(600));
        house.apply(&[sticky.clone()], &[]);
        house.table.let_through().unwrap();
        let mut had = BTreeMap::new();
        for client in &clients {
            let seen: BTreeSet<_> = (0..12).map(|_| ask(Some(&client.namespace), SERVICE).unwrap()).collect();
            assert_eq!(seen.len(), 1, "{seen:?}");
            had.insert(client.address, seen.into_iter().next().unwrap());
        }
        // Another endpoint changes nothing for those who have one.
        let three = house.pod("three");
        serve(Some(&three.namespace), three.address, 8080, "three");
        let all = [both[0], both[1], SocketAddrV4::new(three.address, 8080)];
        let mut wider = service("web", &all);
        wider.affinity = sticky.affinity;
        house.apply(&[wider], &[]);
        for client in &clients {
            assert_eq!(ask(Some(&client.namespace), SERVICE).unwrap(), had[&client.address]);
        }
        // An endpoint that is gone is left at once, and a shorter time is as short as it says.
        let mut last = service("web", &[both[1]]);
        last.affinity = Some(Duration::from_secs(1));
        house.apply(&[last], &[]);
        for client in &clients {
            assert!(ask(Some(&client.namespace), SERVICE).unwrap().starts_with("two "));
        }
        let mut short = service("web", &both);
        short.affinity = Some(Duration::from_secs(1));
        house.apply(&[short], &[]);
        let begun = std::time::Instant::now();
        let changed = || {
            let again = ask(Some(&clients[0].namespace), SERVICE).unwrap();
            std::thread::sleep(Duration::from_millis(1200));
            again.starts_with("one ")
        };
        while !changed() {
            assert!(begun.elapsed() < Duration::from_secs(60), "it stays for ever");
        }
    });
}

#[test]
fn the_machine_reaches_services_and_lends_them_its_ports() {
    on_a_machine("the_machine_reaches_services_and_lends_them_its_ports", |house| {
        let (client, one) = (house.pod("client"), house.pod("one"));
        serve(Some(&one.namespace), one.address, 8080, "one");
        // On the machine's loopback interface, as components are.
        serve(None, Ipv4Addr::new(127, 128, 0, 9), 8080, "component");
        serve(None, Ipv4Addr::LOCALHOST, 9000, "own");
        let mut web = service("web", &[SocketAddrV4::new(one.address, 8080)]);
        web.ports[0].node_port = Some(30080);
        web.external_ips = vec![[192, 0, 2, 77].into()];
        let mut local = service("local", &[SocketAddrV4::new([127, 128, 0, 9].into(), 8080)]);
        local.cluster_ips = vec![[10, 96, 0, 30].into()];
        let port = HostPort {
            pod: Name { namespace: "default".into(), name: "one".into() },
            address: None,
            protocol: Protocol::Tcp,
            port: 8888,
            target: SocketAddrV4::new(one.address, 8080),
        };
        house.apply(&[web, local], &[port]);
        // A new namespace has what the machine has.
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
        assert!(house.table.let_through().unwrap(), "the machine carried nothing before");
        assert!(!house.table.let_through().unwrap());
        let gateway = house.network.range().gateway();
        let from_pod = |address: &str| ask(Some(&client.namespace), address);
        let answer = format!("one {}", client.address);
        assert_eq!(from_pod("192.0.2.77:80").unwrap(), answer);
        assert_eq!(from_pod(&format!("{gateway}:30080")).unwrap(), answer);
        assert_eq!(from_pod(&format!("{gateway}:8888")).unwrap(), answer);
        assert_eq!(from_pod("10.96.0.30:80").unwrap(), format!("component {}", client.address));
        // The loopback interface itself stays the machine's.
        assert!(from_pod("127.128.0.9:8080").is_err());
        let from_machine = |address: &str| ask(None, address);
        assert_eq!(from_machine("127.0.0.1:30080").unwrap(), format!("one {gateway}"));
        assert_eq!(from_machine(&format!("{gateway}:8888")).unwrap(), format!("one {gateway}"));
        assert_eq!(from_machine("127.0.0.1:9000").unwrap(), "own 127.0.0.1");
    });
}

#[test]
fn policies_keep_traffic_on_the_machine() {
    on_a_machine("policies_keep_traffic_on_the_machine", |house| {
        let (client, one) = (house.pod("client"), house.pod("one"));
        serve(Some(&one.namespace), one.address, 8080, "one");
        let mut web = service("web", &[SocketAddrV4::new(one.address, 8080)]);
        web.external_ips = vec![[192, 0, 2, 77].into()];
        web.balancer_ips = vec![[192, 0, 2, 78].into()];
        web.sources = vec!["203.0.113.0/24".parse().unwrap()];
        (web.internal, web.external) = (Policy::Local, Policy::Local);
        for port in &mut web.ports {
            port.endpoints[0].is_local = false;
        }
        house.apply(&[web.clone()], &[]);
        house.table.let_through().unwrap();
        let said = |address: &str| ask(Some(&client.namespace), address).map_err(|error| error.kind());
        assert_eq!(said(SERVICE), Err(ErrorKind::TimedOut));
        // From within the cluster an external address is as good as an internal one.
        let answer = format!("one {}", client.address);
        assert_eq!(said("192.0.2.77:80").unwrap(), answer);
        assert_eq!(said("192.0.2.78:80"), Err(ErrorKind::TimedOut), "it is for others");
        web.sources = vec!["10.244.0.0/24".parse().unwrap()];
        for port in &mut web.ports {
            port.endpoints[0].is_local = true;
        }
        house.apply(&[web], &[]);
        for address in [SERVICE, "192.0.2.77:80", "192.0.2.78:80"] {
            assert_eq!(said(address).unwrap(), answer, "{address}");
        }
    });
}

#[test]
fn what_an_earlier_process_left_is_replaced_and_the_end_leaves_nothing() {
    on_a_machine("what_an_earlier_process_left_is_replaced_and_the_end_leaves_nothing", |house| {
        let (client, one) = (house.pod("client"), house.pod("one"));
        serve(Some(&one.namespace), one.address, 8080, "one");
        house.apply(&[service("web", &[SocketAddrV4::new(one.address, 8080)])], &[]);
        house.table.let_through().unwrap();
        assert!(ask(Some(&client.namespace), SERVICE).is_ok());
        // One process at a time.
        let mut second = Table::new(place()).unwrap();
        let held = second.apply(&Translation::default()).unwrap_err();
        assert!(held.to_string().contains("held by another process"), "{held}");
        // A process that ends without a word leaves what it made.
        let ended = std::mem::replace(&mut house.table, Table::new(place()).unwrap());
        drop(ended);
        assert!(ask(Some(&client.namespace), SERVICE).is_ok());
        second.apply(&Translation::default()).unwrap();
        let refused = ask(Some(&client.namespace), SERVICE).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        second.close().unwrap();
        let shown = Command::new("nft").args(["list", "tables"]).output();
        if let Ok(shown) = shown {
            assert_eq!(String::from_utf8_lossy(&shown.stdout), "");
        }
        let setting = format!("/proc/sys/net/ipv4/conf/{}/route_localnet", crate::house::BRIDGE);
        assert_eq!(std::fs::read_to_string(setting).unwrap().trim(), "0");
    });
}

#[test]
fn a_flow_of_datagrams_leaves_an_endpoint_that_is_gone() {
    on_a_machine("a_flow_of_datagrams_leaves_an_endpoint_that_is_gone", |house| {
        let (client, one, two) = (house.pod("client"), house.pod("one"), house.pod("two"));
        serve(Some(&one.namespace), one.address, 8080, "one");
        serve(Some(&two.namespace), two.address, 8080, "two");
        let (one, two) = (SocketAddrV4::new(one.address, 8080), SocketAddrV4::new(two.address, 8080));
        let flow = Flow::to(&client.namespace, SERVICE);
        house.apply(&[], &[]);
        house.table.let_through().unwrap();
        // It begins before there is a service, and goes on at the same port.
        assert!(flow.ask().is_err());
        house.apply(&[service("web", &[one])], &[]);
        assert!(flow.ask().unwrap().starts_with("one "));
        house.apply(&[service("web", &[two])], &[]);
        assert!(flow.ask().unwrap().starts_with("two "));
        // One that answers still is stayed with, whoever comes.
        house.apply(&[service("web", &[one, two])], &[]);
        for _ in 0..10 {
            assert!(flow.ask().unwrap().starts_with("two "));
        }
        house.apply(&[service("web", &[])], &[]);
        assert!(flow.ask().is_err());
    });
}

#[test]
fn thousands_of_services_are_taken_at_once_and_changed_one_by_one() {
    on_a_machine("thousands_of_services_are_taken_at_once_and_changed_one_by_one", |house| {
        let (client, one) = (house.pod("client"), house.pod("one"));
        serve(Some(&one.namespace), one.address, 8080, "one");
        let one = SocketAddrV4::new(one.address, 8080);
        let other = SocketAddrV4::new([10, 244, 0, 250].into(), 8080);
        let mut all: Vec<_> = (0..5000u16)
            .map(|at| {
                let mut own = service(&format!("web-{at}"), &[one, other]);
                let [high, low] = (at + 256).to_be_bytes();
                own.cluster_ips = vec![[10, 96, high, low].into()];
                own
            })
            .collect();
        house.apply(&all, &[]);
        house.table.let_through().unwrap();
        // Those who look after the machine can read it.
        if let Ok(listed) = Command::new("nft").args(["list", "table", "ip", "xebec-test"]).output() {
            assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
            let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
            assert!(listed.contains("chain all-default/web-4999/tcp/80 {"), "it is listed");
        }
        all[4999] = service("last", &[one]);
        house.apply(&all, &[]);
        assert!(ask(Some(&client.namespace), SERVICE).unwrap().starts_with("one "));
        house.apply(&[], &[]);
        assert!(ask(Some(&client.namespace), "10.96.1.1:80").is_err());
    });
}

#[test]
fn whatever_follows_whatever_only_what_differs_is_written() {
    on_a_machine("whatever_follows_whatever_only_what_differs_is_written", |house| {
        let mut last = Vec::new();
        xebec_dice::rounds("whatever follows whatever", |dice| {
            let mut next: Vec<Service> = last.clone();
            next.retain(|_| !dice.once_in(4));
            next.extend((0..dice.below(4)).map(|_| some_service(dice)));
            for own in &mut next {
                if dice.once_in(3) {
                    *own = Service {
                        name: own.name.clone(),
                        cluster_ips: own.cluster_ips.clone(),
                        ..some_service(dice)
                    };
                }
            }
            next.sort_by(|one, other| one.name.cmp(&other.name));
            next.dedup_by(|one, other| one.name == other.name);
            next.truncate(20);
            let (translation, _) = translate(&next, &[], place().pods);
            house.table.apply(&translation).unwrap();
            last = next;
        });
        assert_eq!(house.table.rewrites(), 1);
    });
}

fn some_service(dice: &mut Dice) -> Service {
    let number = dice.below(30) as u8;
    let any = |dice: &mut Dice| SocketAddrV4::new([10, 244, 0, 2 + dice.below(6) as u8].into(), 8080);
    let endpoints: Vec<_> = (0..dice.below(5)).map(|_| any(dice)).collect();
    let mut own = service(&format!("service-{number}"), &endpoints);
    own.cluster_ips = vec![[10, 96, 0, number].into()];
    own.affinity = dice.once_in(2).then(|| Duration::from_secs(60 * (1 + dice.below(2) as u64)));
    let policy = |dice: &mut Dice| if dice.once_in(3) { Policy::Local } else { Policy::Cluster };
    (own.internal, own.external) = (policy(dice), policy(dice));
    own.external_ips = (0..dice.below(2)).map(|_| [192, 0, 2, dice.below(9) as u8].into()).collect();
    own.balancer_ips = (0..dice.below(2)).map(|_| [192, 0, 2, 100 + dice.below(9) as u8].into()).collect();
    own.sources = (0..dice.below(3)).map(|at| format!("203.0.{at}.0/24").parse().unwrap()).collect();
    for port in &mut own.ports {
        port.node_port = dice.once_in(2).then(|| 30_000 + dice.below(20) as u16);
        port.endpoints.iter_mut().for_each(|endpoint| endpoint.is_local = dice.once_in(2));
    }
    own
}
