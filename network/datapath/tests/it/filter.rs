use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use xebec_container::PodAddress;
use xebec_datapath::{Bridge, Filter};
use xebec_policy::{
    Block, Labels, Numbers, Packet, Peer, Plan, Pod, PodPort, Policy, Port, Protocol, Requirement, Rule,
    Selector, plan,
};

use crate::house::{BRIDGE, House, on_a_machine, reaches, reaches_by_datagram, serve, service, within};

const SERVICE: &str = "10.96.0.20:80";

/// A pod of the namespace `default` whose label `app` is its name.
fn pod(name: &str, address: Ipv4Addr) -> Pod {
    Pod {
        namespace: "default".into(),
        labels: Labels::from([("app".into(), name.into())]),
        address,
        ports: vec![PodPort { name: "http".into(), protocol: Protocol::Tcp, number: 8080 }],
        is_here: true,
    }
}

fn app(name: &str) -> Selector {
    Selector(vec![Requirement::In("app".into(), [name.to_owned()].into())])
}

fn to(name: &str, ingress: Vec<Rule>) -> Policy {
    Policy { namespace: "default".into(), pods: app(name), ingress: Some(ingress), egress: None }
}

fn of(name: &str, egress: Vec<Rule>) -> Policy {
    Policy { namespace: "default".into(), pods: app(name), ingress: None, egress: Some(egress) }
}

fn peer(name: &str) -> Option<Vec<Peer>> {
    Some(vec![Peer::Pods { namespaces: None, pods: app(name) }])
}

fn tcp(first: u16, last: u16) -> Option<Vec<Port>> {
    Some(vec![Port { protocol: Protocol::Tcp, numbers: Numbers::Range(first, last) }])
}

fn filter(house: &House) -> Filter {
    let (hardware, group) = (house.network.hardware(), house.network.group());
    let bridge = Bridge { name: BRIDGE.to_owned(), hardware, group };
    Filter::new("xebec-test-filter", bridge).expect("the kernel is reached")
}

/// Three pods that serve two ports each, behind a service that leads to the pod `one`.
struct Street {
    pods: BTreeMap<&'static str, PodAddress>,
    filter: Filter,
}

impl Street {
    fn on(house: &mut House) -> Self {
        let pods: BTreeMap<_, _> = ["one", "two", "three"].map(|name| (name, house.pod(name))).into();
        for (name, pod) in &pods {
            for port in [8080, 8081, 8082] {
                serve(Some(&pod.namespace), pod.address, port, name);
            }
        }
        house.apply(&[service("web", &[SocketAddrV4::new(pods["one"].address, 8080)])], &[]);
        house.table.let_through().expect("the settings are made");
        Self { pods, filter: filter(house) }
    }

    fn plan(&self, policies: &[Policy]) -> Plan {
        let pods: Vec<Pod> = self.pods.iter().map(|(name, own)| pod(name, own.address)).collect();
        plan(policies, &pods, &BTreeMap::new())
    }

    fn enforce(&mut self, policies: &[Policy]) {
        self.filter.apply(&self.plan(policies)).expect("the kernel takes the filter");
    }

    fn namespace(&self, name: &str) -> &PathBuf {
        &self.pods[name].namespace
    }

    /// Whether one pod reaches another's port over TCP.
    fn reaches(&self, from: &str, name: &str, port: u16) -> bool {
        reaches(Some(self.namespace(from)), &format!("{}:{port}", self.pods[name].address))
    }

    fn reaches_service(&self, from: &str) -> bool {
        reaches(Some(self.namespace(from)), SERVICE)
    }
}

#[test]
fn an_isolated_pod_gets_what_is_allowed_and_nothing_else() {
    on_a_machine("an_isolated_pod_gets_what_is_allowed_and_nothing_else", |house| {
        let mut street = Street::on(house);
        street.enforce(&[to("one", Vec::new())]);
        assert!(!street.reaches("two", "one", 8080) && !street.reaches("three", "one", 8080));
        assert!(street.reaches("one", "two", 8080), "what it asks for is answered");
        assert!(street.reaches("two", "three", 8080));
        assert!(street.reaches("one", "one", 8080) && street.reaches_service("one"), "a pod reaches itself");
        assert!(!street.reaches_service("two"));
        assert!(
            reaches(None, &format!("{}:8080", street.pods["one"].address)),
            "the machine reaches every pod"
        );
        let datagram = |street: &Street, port: u16| {
            let place = format!("{}:{port}", street.pods["one"].address);
            reaches_by_datagram(Some(street.namespace("two")), &place)
        };
        assert!(!datagram(&street, 8080));
        // By peer and by port.
        street.enforce(&[to("one", vec![Rule { peers: peer("two"), ports: tcp(8081, 8082) }])]);
        assert!(street.reaches("two", "one", 8081) && street.reaches("two", "one", 8082));
        assert!(!street.reaches("two", "one", 8080) && !street.reaches("three", "one", 8081));
        assert!(!datagram(&street, 8081));
        let udp = Port { protocol: Protocol::Udp, numbers: Numbers::All };
        street.enforce(&[to("one", vec![Rule { peers: None, ports: Some(vec![udp]) }])]);
        assert!(datagram(&street, 8080) && !street.reaches("two", "one", 8080));
        // By name, and after translation.
        let named = Port { protocol: Protocol::Tcp, numbers: Numbers::Named("http".into()) };
        street.enforce(&[to("one", vec![Rule { peers: peer("three"), ports: Some(vec![named]) }])]);
        assert!(street.reaches_service("three") && !street.reaches_service("two"));
        assert!(!street.reaches("three", "one", 8081));
        // Nobody is isolated any more.
        street.enforce(&[]);
        assert!(street.reaches("two", "one", 8081) && datagram(&street, 8080));
        street.filter.close().expect("a table that is gone needs no removal");
    });
}

#[test]
fn an_isolated_pod_reaches_what_is_allowed_and_nothing_else() {
    on_a_machine("an_isolated_pod_reaches_what_is_allowed_and_nothing_else", |house| {
        let mut street = Street::on(house);
        let gateway = house.network.range().gateway();
        serve(None, gateway, 53, "the machine");
        street.enforce(&[of("two", Vec::new())]);
        assert!(!street.reaches("two", "one", 8080) && !street.reaches_service("two"));
        assert!(street.reaches("one", "two", 8080) && street.reaches_service("three"));
        assert!(
            reaches(Some(street.namespace("two")), &format!("{gateway}:53")),
            "its machine is always reached"
        );
        street.enforce(&[of("two", vec![Rule { peers: peer("one"), ports: tcp(8080, 8080) }])]);
        assert!(street.reaches_service("two") && !street.reaches("two", "three", 8080));
        // Both ends have to allow it.
        street.enforce(&[of("two", vec![Rule::default()]), to("one", Vec::new())]);
        assert!(!street.reaches("two", "one", 8080) && street.reaches("two", "three", 8080));
        let range = "10.244.0.0/24".parse().expect("a range");
        let except = vec![format!("{}/32", street.pods["one"].address).parse().expect("a range")];
        let peers = Some(vec![Peer::Block(Block { range, except })]);
        street.enforce(&[of("two", vec![Rule { peers, ports: None }])]);
        assert!(!street.reaches("two", "one", 8080) && street.reaches("two", "three", 8080));
        street.enforce(&[]);
        assert!(street.reaches("two", "one", 8080));
    });
}

#[test]
fn connections_that_were_let_through_go_on() {
    on_a_machine("connections_that_were_let_through_go_on", |house| {
        let mut street = Street::on(house);
        let (one, two) = (street.pods["one"].clone(), street.pods["two"].clone());
        let listener =
            within(Some(&one.namespace), || TcpListener::bind((one.address, 9000)).expect("a port"));
        let mut asking = within(Some(&two.namespace), || {
            TcpStream::connect_timeout(&(one.address, 9000).into(), Duration::from_secs(3))
                .expect("a connection")
        });
        let (mut answering, _) = listener.accept().expect("a connection");
        street.enforce(&[to("one", Vec::new()), of("one", Vec::new()), of("two", Vec::new())]);
        asking.set_read_timeout(Some(Duration::from_secs(3))).expect("a timeout");
        answering.set_read_timeout(Some(Duration::from_secs(3))).expect("a timeout");
        let mut byte = [0; 1];
        asking.write_all(b"q").expect("it is sent");
        answering.read_exact(&mut byte).expect("it is heard");
        answering.write_all(b"a").expect("it is sent");
        asking.read_exact(&mut byte).expect("it is heard");
        assert!(!street.reaches("two", "one", 9000), "a new one is not let through");
        street.filter.close().expect("the table is removed");
    });
}

#[test]
fn what_an_earlier_process_left_is_taken_over() {
    on_a_machine("what_an_earlier_process_left_is_taken_over", |house| {
        let mut street = Street::on(house);
        street.enforce(&[to("one", Vec::new())]);
        // The process goes, and does not say so.
        street.filter = filter(house);
        assert!(!street.reaches("two", "one", 8080), "it stays");
        street.enforce(&[to("two", Vec::new())]);
        assert!(street.reaches("two", "one", 8080) && !street.reaches("one", "two", 8080));
        street.filter = filter(house);
        street.enforce(&[]);
        assert!(street.reaches("one", "two", 8080), "where no pod is isolated, nothing is left");
    });
}

/// A pod may send frames to any hardware address. None comes past the machine.
#[test]
fn pods_do_not_reach_each_other_by_hardware_address() {
    on_a_machine("pods_do_not_reach_each_other_by_hardware_address", |house| {
        let mut street = Street::on(house);
        let address = street.pods["one"].address;
        let hardware = within(Some(street.namespace("one")), || {
            std::process::Command::new("ip").args(["-o", "link", "show", "eth0"]).output().expect("ip runs")
        });
        let shown = String::from_utf8_lossy(&hardware.stdout).into_owned();
        let hardware = shown.split("link/ether ").nth(1).and_then(|rest| rest.split(' ').next());
        let hardware = hardware.expect("it has one").to_owned();
        for args in [
            format!("route add {address}/32 dev eth0"),
            format!("neigh add {address} lladdr {hardware} dev eth0"),
        ] {
            let done = within(Some(street.namespace("two")), || {
                std::process::Command::new("ip").args(args.split(' ')).status().expect("ip runs")
            });
            assert!(done.success(), "{args}");
        }
        assert!(street.reaches("two", "one", 8080));
        street.enforce(&[to("one", Vec::new())]);
        let place = format!("{address}:8080");
        assert!(!street.reaches("two", "one", 8080));
        assert!(!reaches_by_datagram(Some(street.namespace("two")), &place));
        assert!(street.reaches("three", "two", 8080), "what the machine carries passes");
        street.enforce(&[]);
        assert!(street.reaches("two", "one", 8080));
    });
}

/// What the kernel does is what the plan says, of policies at random.
#[test]
fn the_kernel_does_what_plans_say() {
    on_a_machine("the_kernel_does_what_plans_say", |house| {
        let mut street = Street::on(house);
        let names = ["one", "two", "three"];
        xebec_dice::rounds("the kernel does what plans say", |dice| {
            let rule = |dice: &mut xebec_dice::Dice| Rule {
                peers: match dice.below(4) {
                    0 => None,
                    1 => {
                        let block = format!("10.244.0.{}/{}", dice.below(6), dice.pick(&[24, 30, 31, 32]));
                        let except = format!("10.244.0.{}/{}", dice.below(6), dice.pick(&[31, 32]));
                        let read = |text: String| text.parse().expect("a range");
                        Some(vec![Peer::Block(Block { range: read(block), except: vec![read(except)] })])
                    }
                    _ => peer(names[dice.below(names.len())]),
                },
                ports: match dice.below(5) {
                    0 | 1 => None,
                    2 => tcp(8081, 8082),
                    3 => Some(
                        [8080, 8082]
                            .map(|own| Port { protocol: Protocol::Tcp, numbers: Numbers::Range(own, own) })
                            .into(),
                    ),
                    _ => Some(vec![Port { protocol: Protocol::Tcp, numbers: Numbers::All }]),
                },
            };
            let policies: Vec<Policy> = (0..1 + dice.below(3))
                .map(|_| {
                    let rules = (0..dice.below(3)).map(|_| rule(dice)).collect();
                    let name = dice.pick(&names);
                    if dice.once_in(2) { to(name, rules) } else { of(name, rules) }
                })
                .collect();
            street.enforce(&policies);
            let own = street.plan(&policies);
            for (from, name) in names.iter().flat_map(|from| names.map(|name| (from, name))) {
                let port = *dice.pick(&[8080, 8081, 8082]);
                let packet = Packet {
                    from: street.pods[from].address,
                    to: street.pods[name].address,
                    port: Some((Protocol::Tcp, port)),
                };
                assert_eq!(street.reaches(from, name, port), own.allows(packet), "{packet:?} {policies:?}");
            }
        });
        street.filter.close().expect("the table is removed");
    });
}
