use super::*;
use serde_json::{Value, json};

fn service(spec: Value) -> Arc<Service> {
    let object = json!({"metadata": {"namespace": "default", "name": "web"}, "spec": spec});
    Arc::new(serde_json::from_value(object).unwrap_or_default())
}

fn slice(endpoints: Value, ports: Value) -> Arc<EndpointSlice> {
    let object = json!({
        "metadata": {"namespace": "default", "name": "web-1", "labels": {SERVICE: "web"}},
        "addressType": "IPv4", "endpoints": endpoints, "ports": ports,
    });
    Arc::new(serde_json::from_value(object).unwrap_or_default())
}

fn read(service: Arc<Service>, slice: Arc<EndpointSlice>) -> Option<datapath::Service> {
    services(&[service], &by_service(&[slice]), "here", None).pop()
}

#[test]
fn a_ports_endpoints_are_those_of_its_name_that_serve() {
    let own = service(json!({"clusterIP": "10.96.0.20", "clusterIPs": ["10.96.0.20", "fd00::1"], "ports": [
        {"name": "http", "port": 80, "nodePort": 30080}, {"name": "dns", "port": 53, "protocol": "UDP"}]}));
    let endpoints = json!([
        {"addresses": ["10.244.0.5"], "conditions": {"ready": true}, "nodeName": "here"},
        {"addresses": ["10.244.0.6"], "conditions": {"ready": false}},
        {"addresses": ["10.244.0.7"], "conditions": {"ready": false, "serving": true, "terminating": true}},
        {"addresses": ["10.244.0.8"], "conditions": {"ready": false, "serving": false, "terminating": true}},
        {"addresses": ["10.244.0.9"]},
    ]);
    let read = read(own, slice(endpoints, json!([{"name": "http", "port": 8080, "protocol": "TCP"}])));
    let read = read.expect("it has an address");
    assert_eq!(read.cluster_ips, [Ipv4Addr::new(10, 96, 0, 20)]);
    assert_eq!(read.ports[0].node_port, None, "its type opens no port");
    let seen: Vec<_> = read.ports[0]
        .endpoints
        .iter()
        .map(|own| (own.address.to_string(), own.stage, own.is_local))
        .collect();
    let expected = [
        ("10.244.0.5:8080".to_owned(), Stage::Ready, true),
        ("10.244.0.7:8080".to_owned(), Stage::Ending, false),
        ("10.244.0.9:8080".to_owned(), Stage::Ready, false),
    ];
    assert_eq!(seen, expected);
    assert!(read.ports[1].endpoints.is_empty());
}

#[test]
fn what_a_service_asks_for_is_read() {
    let own = json!({
        "metadata": {"namespace": "default", "name": "web"},
        "spec": {
            "type": "LoadBalancer", "clusterIP": "10.96.0.20", "ports": [{"port": 80, "nodePort": 30080}],
            "externalIPs": ["192.0.2.7"], "loadBalancerSourceRanges": ["203.0.113.0/24", "::/0"],
            "sessionAffinity": "ClientIP", "externalTrafficPolicy": "Local", "internalTrafficPolicy": "Cluster",
        },
        "status": {"loadBalancer": {"ingress": [
            {"ip": "192.0.2.8", "ipMode": "VIP"}, {"ip": "192.0.2.9", "ipMode": "Proxy"}, {"hostname": "a.test"}]}},
    });
    let own: Service = serde_json::from_value(own).unwrap_or_default();
    let read = services(&[Arc::new(own)], &Slices::new(), "here", None).pop().expect("it has an address");
    assert_eq!(read.external_ips, [Ipv4Addr::new(192, 0, 2, 7)]);
    assert_eq!(read.balancer_ips, [Ipv4Addr::new(192, 0, 2, 8)]);
    assert_eq!(read.sources.len(), 1);
    assert_eq!(read.ports[0].node_port, Some(30080));
    assert_eq!(read.affinity, Some(Duration::from_secs(10_800)));
    assert_eq!((read.internal, read.external), (Policy::Cluster, Policy::Local));
}

#[test]
fn what_has_no_address_of_its_own_is_left_alone() {
    for spec in [
        json!({"clusterIP": "None", "ports": [{"port": 80}]}),
        json!({"type": "ExternalName", "externalName": "a.test"}),
        json!({"ports": [{"port": 80}]}),
    ] {
        assert_eq!(read(service(spec.clone()), slice(json!([]), json!([]))), None, "{spec}");
    }
    let mut others = (*service(json!({"clusterIP": "10.96.0.20", "ports": [{"port": 80}]}))).clone();
    others.labels_mut().insert(OTHERS.to_owned(), "another".to_owned());
    assert_eq!(read(Arc::new(others), slice(json!([]), json!([]))), None);
}

#[test]
fn the_apis_own_service_leads_to_where_it_listens_here() {
    let object = json!({"metadata": {"namespace": "default", "name": "kubernetes"},
        "spec": {"clusterIP": "10.96.0.1", "ports": [{"name": "https", "port": 443, "targetPort": 6443}]}});
    let own: Service = serde_json::from_value(object).unwrap_or_default();
    let api: SocketAddrV4 = "127.0.0.1:6443".parse().expect("an address");
    let read = services(&[Arc::new(own)], &Slices::new(), "here", Some(api)).pop().expect("it is there");
    assert_eq!(read.ports[0].endpoints[0].address, api);
}

#[test]
fn ports_of_the_machine_are_those_of_pods_that_run() {
    let pod = |phase: &str, more: Value| -> Arc<Pod> {
        let mut object = json!({
            "metadata": {"namespace": "default", "name": "p"},
            "spec": {"containers": [{"name": "c", "ports": [
                {"containerPort": 80, "hostPort": 8080}, {"containerPort": 81},
                {"containerPort": 53, "hostPort": 53, "protocol": "UDP", "hostIP": "192.0.2.2"},
                {"containerPort": 54, "hostPort": 54, "hostIP": "::1"}]}]},
            "status": {"phase": phase, "podIP": "10.244.0.5"},
        });
        if let Some(spec) = object["spec"].as_object_mut() {
            spec.extend(more.as_object().cloned().unwrap_or_default());
        }
        Arc::new(serde_json::from_value(object).unwrap_or_default())
    };
    let ports = host_ports(&[pod("Running", json!({}))]);
    let seen: Vec<_> = ports.iter().map(|own| (own.address, own.port, own.target.to_string())).collect();
    let expected = [
        (None, 8080, "10.244.0.5:80".to_owned()),
        (Some(Ipv4Addr::new(192, 0, 2, 2)), 53, "10.244.0.5:53".to_owned()),
    ];
    assert_eq!(seen, expected);
    assert!(host_ports(&[pod("Succeeded", json!({}))]).is_empty());
    assert!(host_ports(&[pod("Running", json!({"hostNetwork": true}))]).is_empty());
}
