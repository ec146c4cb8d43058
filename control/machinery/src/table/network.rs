//! Services, what is behind them, and what leads to them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::text::{
    NONE, UNSET, count, items, joined, labels, number, quantity, selector, shortened, text, text_or,
};
use super::{Heading, Row};

/// How many entries of a list a cell shows.
const SHOWN: usize = 3;

pub(super) const SERVICE: &[Heading] = &[
    Heading::NAME,
    Heading::text("Type"),
    Heading::text("Cluster-IP"),
    Heading::text("External-IP"),
    Heading::text("Port(s)"),
    Heading::AGE,
    Heading::wide("Selector"),
];

pub(super) fn service(row: &mut Row<'_>) {
    let spec = &row.object["spec"];
    row.name();
    row.put(text(&spec["type"]));
    let address = text_or(&spec["clusterIP"], NONE);
    row.put(text_or(&spec["clusterIPs"][0], address));
    row.put(external(row.object));
    let ports: Vec<String> = items(&spec["ports"]).iter().map(port).collect();
    row.put(if ports.is_empty() { NONE.to_owned() } else { ports.join(",") });
    row.age();
    row.put(labels(&spec["selector"]));
}

fn port(port: &Value) -> String {
    let (number_, protocol) = (number(&port["port"]), text_or(&port["protocol"], "TCP"));
    match number(&port["nodePort"]) {
        0 => format!("{number_}/{protocol}"),
        node => format!("{number_}:{node}/{protocol}"),
    }
}

fn external(service: &Value) -> String {
    let spec = &service["spec"];
    let own = joined(&spec["externalIPs"]);
    match text(&spec["type"]) {
        "ClusterIP" | "NodePort" if own.is_empty() => NONE.to_owned(),
        "ClusterIP" | "NodePort" => own,
        "LoadBalancer" => {
            let balanced = load_balancer(&service["status"]["loadBalancer"]);
            match (balanced.is_empty(), own.is_empty()) {
                (true, true) => "<pending>".to_owned(),
                (true, false) => own,
                (false, true) => balanced,
                (false, false) => format!("{balanced},{own}"),
            }
        }
        "ExternalName" => text(&spec["externalName"]).to_owned(),
        _ => super::age::UNKNOWN.to_owned(),
    }
}

/// The addresses or host names of a load balancer.
fn load_balancer(status: &Value) -> String {
    let points: BTreeSet<&str> = items(&status["ingress"])
        .iter()
        .map(|point| text_or(&point["ip"], text(&point["hostname"])))
        .filter(|point| !point.is_empty())
        .collect();
    points.into_iter().collect::<Vec<_>>().join(",")
}

pub(super) const ENDPOINTS: &[Heading] = &[Heading::NAME, Heading::text("Endpoints"), Heading::AGE];

pub(super) fn endpoints(row: &mut Row<'_>) {
    let mut found = Vec::new();
    for subset in items(&row.object["subsets"]) {
        let addresses = || items(&subset["addresses"]).iter().map(|address| text(&address["ip"]));
        let ports = items(&subset["ports"]);
        if ports.is_empty() {
            found.extend(addresses().map(str::to_owned));
        }
        for port in ports {
            let port = number(&port["port"]);
            found.extend(addresses().map(|address| {
                if address.contains(':') {
                    format!("[{address}]:{port}")
                } else {
                    format!("{address}:{port}")
                }
            }));
        }
    }
    row.name();
    row.put(if count(&row.object["subsets"]) == 0 { NONE.to_owned() } else { shortened(&found, SHOWN, ",") });
    row.age();
}

pub(super) const ENDPOINT_SLICE: &[Heading] = &[
    Heading::NAME,
    Heading::text("AddressType"),
    Heading::text("Ports"),
    Heading::text("Endpoints"),
    Heading::AGE,
];

pub(super) fn endpoint_slice(row: &mut Row<'_>) {
    let or_unset = |list: String| if list.is_empty() { UNSET.to_owned() } else { list };
    let ports: Vec<String> = items(&row.object["ports"])
        .iter()
        .map(|port| quantity(&port["port"], port["name"].as_str().unwrap_or("*")))
        .collect();
    let addresses: Vec<&str> =
        items(&row.object["endpoints"]).iter().flat_map(|one| items(&one["addresses"])).map(text).collect();
    row.name();
    row.put(text(&row.object["addressType"]));
    row.put(or_unset(shortened(&ports, SHOWN, ",")));
    row.put(or_unset(shortened(&addresses, SHOWN, ",")));
    row.age();
}

pub(super) const INGRESS: &[Heading] = &[
    Heading::NAME,
    Heading::text("Class"),
    Heading::text("Hosts"),
    Heading::text("Address"),
    Heading::text("Ports"),
    Heading::AGE,
];

pub(super) fn ingress(row: &mut Row<'_>) {
    let spec = &row.object["spec"];
    let hosts: Vec<&str> = items(&spec["rules"])
        .iter()
        .map(|rule| text(&rule["host"]))
        .filter(|host| !host.is_empty())
        .collect();
    row.name();
    row.put(text_or(&spec["ingressClassName"], NONE));
    row.put(if hosts.is_empty() { "*".to_owned() } else { shortened(&hosts, SHOWN, ",") });
    row.put(load_balancer(&row.object["status"]["loadBalancer"]));
    row.put(if items(&spec["tls"]).is_empty() { "80" } else { "80, 443" });
    row.age();
}

pub(super) const INGRESS_CLASS: &[Heading] =
    &[Heading::NAME, Heading::text("Controller"), Heading::text("Parameters"), Heading::AGE];

pub(super) fn ingress_class(row: &mut Row<'_>) {
    let spec = &row.object["spec"];
    let parameters = &spec["parameters"];
    row.name();
    row.put(text(&spec["controller"]));
    let kind = text(&parameters["kind"]);
    let group = text(&parameters["apiGroup"]);
    let kind = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
    row.put(if parameters.is_object() {
        format!("{kind}/{}", text(&parameters["name"]))
    } else {
        NONE.to_owned()
    });
    row.age();
}

pub(super) const NETWORK_POLICY: &[Heading] = &[Heading::NAME, Heading::text("Pod-Selector"), Heading::AGE];

pub(super) fn network_policy(row: &mut Row<'_>) {
    row.name();
    row.put(selector(&row.object["spec"]["podSelector"]));
    row.age();
}

pub(super) const IP_ADDRESS: &[Heading] = &[Heading::NAME, Heading::text("ParentRef")];

pub(super) fn ip_address(row: &mut Row<'_>) {
    let parent = &row.object["spec"]["parentRef"];
    let names = ["group", "resource", "namespace", "name"].map(|field| text(&parent[field]));
    let names: Vec<&str> = names.into_iter().filter(|name| !name.is_empty()).collect();
    row.name();
    row.put(if names.is_empty() { NONE.to_owned() } else { names.join("/") });
}

pub(super) const SERVICE_CIDR: &[Heading] = &[Heading::NAME, Heading::text("CIDRs"), Heading::AGE];

pub(super) fn service_cidr(row: &mut Row<'_>) {
    row.name();
    row.put(joined(&row.object["spec"]["cidrs"]));
    row.age();
}
