use std::collections::BTreeSet;

use serde_json::{Value, json};
use xebec_policy::{Packet, plan};

use super::*;
use crate::arrival::{Arrival, arrivals};
use crate::world::keep_what_matters;

fn read(spec: Value) -> Option<Policy> {
    let object = json!({"metadata": {"namespace": "default", "name": "own"}, "spec": spec});
    policies(&[Arc::new(serde_json::from_value(object).unwrap_or_default())]).pop()
}

fn object(name: &str, spec: Value, status: Value) -> Pod {
    let metadata = json!({"namespace": "default", "name": name, "uid": name, "labels": {"app": name},
        "annotations": {"long": "text"}});
    let mut pod = serde_json::from_value(json!({"metadata": metadata, "spec": spec, "status": status}))
        .unwrap_or_default();
    keep_what_matters(&mut pod);
    pod
}

#[test]
fn a_policy_is_about_what_comes_and_about_what_is_asked_for_where_it_has_rules_of_that() {
    for (spec, ingress, egress) in [
        (json!({"podSelector": {}}), true, false),
        (json!({"podSelector": {}, "egress": []}), true, false),
        (json!({"podSelector": {}, "egress": [{}]}), true, true),
        (json!({"podSelector": {}, "policyTypes": ["Egress"], "ingress": [{}]}), false, true),
        (json!({"podSelector": {}, "policyTypes": ["Ingress"], "egress": [{}]}), true, false),
        (json!({"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}), true, true),
    ] {
        let own = read(spec.clone()).expect("it is a policy");
        assert_eq!((own.ingress.is_some(), own.egress.is_some()), (ingress, egress), "{spec}");
    }
}

#[test]
fn rules_are_read_with_their_peers_and_ports() {
    let spec = json!({"podSelector": {"matchLabels": {"app": "web"}}, "ingress": [{
        "from": [
            {"podSelector": {"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["x"]}]}},
            {"namespaceSelector": {}},
            {"namespaceSelector": {"matchLabels": {"a": "b"}}, "podSelector": {}},
            {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}},
            {"ipBlock": {"cidr": "fd00::/8"}},
            {"podSelector": {"matchExpressions": [{"key": "tier", "operator": "Like"}]}},
        ],
        "ports": [{}, {"port": "http"}, {"port": 53, "protocol": "UDP"}, {"port": 80, "endPort": 90}, {"protocol": "QUIC"}],
    }, {"from": [], "ports": []}, {"from": [{"ipBlock": {"cidr": "fd00::/8"}}]}]});
    let own = read(spec).expect("it is a policy");
    assert_eq!(own.pods, Selector(vec![Requirement::In("app".into(), BTreeSet::from(["web".to_owned()]))]));
    let rules = own.ingress.expect("rules");
    let block = Block {
        range: "10.0.0.0/8".parse().expect("a range"),
        except: vec!["10.1.0.0/16".parse().expect("a range")],
    };
    let not_x = Selector(vec![Requirement::NotIn("tier".into(), BTreeSet::from(["x".to_owned()]))]);
    let of = Selector(vec![Requirement::In("a".into(), BTreeSet::from(["b".to_owned()]))]);
    let peers = vec![
        Peer::Pods { namespaces: None, pods: not_x },
        Peer::Pods { namespaces: Some(Selector::default()), pods: Selector::default() },
        Peer::Pods { namespaces: Some(of), pods: Selector::default() },
        Peer::Block(block),
    ];
    assert_eq!(rules[0].peers, Some(peers));
    let tcp = |numbers| Port { protocol: Protocol::Tcp, numbers };
    let ports = vec![
        tcp(Numbers::All),
        tcp(Numbers::Named("http".into())),
        Port { protocol: Protocol::Udp, numbers: Numbers::Range(53, 53) },
        tcp(Numbers::Range(80, 90)),
    ];
    assert_eq!(rules[0].ports, Some(ports));
    assert_eq!(rules[1], Rule::default(), "empty is all");
    assert_eq!(rules[2].peers, Some(Vec::new()), "what is not known here is nobody, and not all");
}

#[test]
fn a_selector_that_cannot_be_read_selects_no_pods() {
    let like = json!({"matchExpressions": [{"key": "tier", "operator": "Like"}]});
    assert_eq!(read(json!({"podSelector": like})), None);
}

#[test]
fn pods_are_those_with_an_address_of_their_own() {
    let spec = json!({"nodeName": "here", "containers": [
        {"name": "a", "ports": [{"name": "http", "containerPort": 8080}, {"containerPort": 1}]}],
        "initContainers": [
            {"name": "b", "restartPolicy": "Always", "ports": [{"name": "side", "containerPort": 9, "protocol": "UDP"}]},
            {"name": "c", "ports": [{"name": "over", "containerPort": 7}]}]});
    let own = object("own", spec.clone(), json!({"podIP": "10.244.0.2", "phase": "Running"}));
    assert!(own.metadata.annotations.is_none());
    let mut shared = spec.clone();
    shared["hostNetwork"] = json!(true);
    let all = [
        own,
        object("shared", shared, json!({"podIP": "10.244.0.1"})),
        object("over", spec.clone(), json!({"podIP": "10.244.0.3", "phase": "Succeeded"})),
        object("new", spec, json!({})),
        object("elsewhere", json!({"nodeName": "there", "containers": []}), json!({"podIP": "10.244.1.2"})),
    ]
    .map(Arc::new);
    let seen = pods(&all, &Waiting::default(), "here");
    let told: Vec<_> = seen.iter().map(|pod| (pod.labels["app"].as_str(), pod.is_here)).collect();
    assert_eq!(told, [("elsewhere", false), ("own", true)]);
    let ports: Vec<_> =
        seen[1].ports.iter().map(|port| (port.name.as_str(), port.protocol, port.number)).collect();
    assert_eq!(ports, [("http", Protocol::Tcp, 8080), ("side", Protocol::Udp, 9)]);
}

#[tokio::test]
async fn a_pod_that_starts_is_covered_before_the_api_tells_its_address() {
    let spec = json!({"nodeName": "here", "containers": []});
    let old = object("old", spec.clone(), json!({"podIP": "10.244.0.2"}));
    let new = object("new", spec, json!({}));
    let (arrivals, mut expected) = arrivals();
    let address = Ipv4Addr::new(10, 244, 0, 2);
    let covers = {
        let new = new.clone();
        tokio::spawn(async move { arrivals.cover(new, address).await })
    };
    let arrival: Arrival = expected.0.recv().await.expect("a pod");
    let mut waiting = Waiting::default();
    waiting.add(arrival);
    let deny = read(json!({"podSelector": {"matchLabels": {"app": "new"}}})).expect("it is a policy");
    let packet = Packet { from: Ipv4Addr::new(192, 0, 2, 1), to: address, port: None };
    let known = [Arc::new(old), Arc::new(new)];
    let own = plan(&[deny], &pods(&known, &waiting, "here"), &namespaces(&[]));
    assert!(!own.allows(packet), "the address is the new pod's, and not the old one's");
    assert!(!covers.is_finished());
    waiting.answer();
    covers.await.expect("it goes on");
    waiting.forget(&known);
    assert!(!waiting.is_empty(), "its address is not told yet");
    let mut told = Pod::clone(&known[1]);
    told.status = Some(serde_json::from_value(json!({"podIP": "10.244.0.2"})).expect("a status"));
    waiting.forget(&[Arc::new(told)]);
    assert!(waiting.is_empty());
}
