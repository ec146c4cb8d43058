//! Every folder of `golden` is a case: `input.yaml` holds objects, `expected.yaml` what they are translated to. With
//! `UPDATE_GOLDEN=1` the expectations are written anew, to be read before they are committed.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use k8s_openapi::ByteString;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use xebec_gateway::{Options, Place, Pool, Snapshot, Unbound, translate};
use xebec_proxy::config::{
    ClientValidation, Ending, Listener, Protocol, SessionKey, Tls, TlsDomain, VirtualHost,
};

const NOW: &str = "2026-01-01T00:00:00Z";

fn read<T: DeserializeOwned>(object: &Value) -> Arc<T> {
    Arc::new(serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{object}: {error}")))
}

fn options() -> Options {
    Options {
        pool: Pool::new(Ipv4Addr::new(127, 128, 0, 0), 16),
        privileged: false,
        session_key: SessionKey::new([7; SessionKey::LENGTH]),
    }
}

fn snapshot(objects: &[Value]) -> Snapshot {
    let mut snapshot = Snapshot::empty(options(), Time(NOW.parse().unwrap()));
    for object in objects {
        match object["kind"].as_str() {
            Some("GatewayClass") => snapshot.classes.push(read(object)),
            Some("Gateway") => snapshot.gateways.push(read(object)),
            Some("ListenerSet") => snapshot.listener_sets.push(read(object)),
            Some("HTTPRoute") => snapshot.http_routes.push(read(object)),
            Some("GRPCRoute") => snapshot.grpc_routes.push(read(object)),
            Some("TLSRoute") => snapshot.tls_routes.push(read(object)),
            Some("TCPRoute") => snapshot.tcp_routes.push(read(object)),
            Some("UDPRoute") => snapshot.udp_routes.push(read(object)),
            Some("BackendTLSPolicy") => snapshot.policies.push(read(object)),
            Some("ReferenceGrant") => snapshot.grants.push(read(object)),
            Some("Namespace") => snapshot.namespaces.push(read(object)),
            Some("Service") => snapshot.services.push(read(object)),
            Some("EndpointSlice") => snapshot.endpoint_slices.push(read(object)),
            Some("Secret") => snapshot.secrets.push(read(&certified(object))),
            Some("IngressClass") => snapshot.ingress_classes.push(read(object)),
            Some("Ingress") => snapshot.ingresses.push(read(object)),
            Some("ConfigMap") => snapshot.config_maps.push(read(object)),
            other => panic!("a case has an object of kind {other:?}"),
        }
    }
    snapshot
}

/// The Secret with a certificate made on the spot where it says `made: true`.
fn certified(secret: &Value) -> Value {
    let mut secret = secret.clone();
    if secret["made"] == true {
        let (chain, key) = &*CERTIFICATE;
        secret["data"] = json!({"tls.crt": ByteString(chain.clone()), "tls.key": ByteString(key.clone())});
    }
    secret.as_object_mut().unwrap().remove("made");
    secret
}

static CERTIFICATE: LazyLock<(Vec<u8>, Vec<u8>)> = LazyLock::new(|| {
    let made = rcgen::generate_simple_self_signed(["example.com".to_owned()]).unwrap();
    (made.cert.pem().into_bytes(), made.signing_key.serialize_pem().into_bytes())
});

/// The translation with one line a route, so that a difference is read at a glance.
fn shown(snapshot: &Snapshot) -> Value {
    let translation = translate(snapshot);
    let served: Vec<_> = translation.config.listeners.iter().map(shown_listener).collect();
    let statuses = translation.statuses.iter().map(|status| {
        let mut status = serde_json::to_value(status).unwrap();
        // The list is long and the same in every case.
        if let Some(said) = status["status"].as_object_mut() {
            said.remove("supportedFeatures");
        }
        status
    });
    let mut shown = json!({ "listeners": served, "statuses": statuses.collect::<Vec<_>>() });
    if !translation.notices.is_empty() {
        shown["notices"] = json!(translation.notices);
    }
    if !translation.accounts.is_empty() {
        shown["accounts"] = json!(translation.accounts);
    }
    shown
}

fn shown_listener(listener: &Listener) -> Value {
    let address = listener.address;
    match &listener.protocol {
        Protocol::Http(domains) => {
            let domains = domains
                .iter()
                .map(|domain| (format!("{:?}", domain.host), json!(shown_hosts(&domain.hosts))));
            json!({ "http": address, "domains": domains.collect::<serde_json::Map<_, _>>() })
        }
        Protocol::Tls(domains) => {
            let domains = domains.iter().map(|TlsDomain { host, ending, .. }| {
                let shown = match ending {
                    Ending::Http(tls, hosts) => json!({ "http": shown_hosts(hosts), "tls": shown_tls(tls) }),
                    Ending::Tcp(tls, routes) => {
                        json!({ "tcp": format!("{routes:?}"), "tls": shown_tls(tls) })
                    }
                    Ending::Passthrough(routes) => json!({ "passthrough": format!("{routes:?}") }),
                };
                (format!("{host:?}"), shown)
            });
            json!({ "tls": address, "domains": domains.collect::<serde_json::Map<_, _>>() })
        }
        Protocol::Tcp(backends) => json!({ "tcp": address, "backends": format!("{backends:?}") }),
        Protocol::Udp(backends) => json!({ "udp": address, "backends": format!("{backends:?}") }),
    }
}

fn shown_tls(tls: &Tls) -> String {
    let clients = match &tls.clients {
        ClientValidation::None => "not asked",
        ClientValidation::Required(_) => "required",
        ClientValidation::Asked => "asked",
    };
    format!("{} certificates, clients {clients}", tls.certificates.len())
}

fn shown_hosts(hosts: &[VirtualHost]) -> Vec<String> {
    let mut routes = Vec::new();
    for host in hosts {
        for route in &host.routes {
            let filters =
                if route.filters.is_empty() { String::new() } else { format!(" {:?}", route.filters) };
            let retry = route.retry.as_ref().map(|retry| format!(" {retry:?}")).unwrap_or_default();
            let cors = route.cors.as_ref().map(|cors| format!(" {cors:?}")).unwrap_or_default();
            let asked = route.authorization.as_ref().map(|rules| format!(" {rules:?}")).unwrap_or_default();
            let session = route.session.as_ref().map(|session| format!(" {session:?}")).unwrap_or_default();
            routes.push(format!(
                "{:?} {} {:?}{filters} {:?}{retry}{cors}{session}{asked} => {:?}",
                host.host, route.id, route.matcher, route.timeouts, route.action
            ));
        }
    }
    routes
}

fn cases() -> Vec<std::path::PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut cases: Vec<_> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() >= 5, "the cases are missing");
    cases
}

fn input(case: &Path) -> Vec<Value> {
    serde_saphyr::from_str(&fs::read_to_string(case.join("input.yaml")).unwrap())
        .unwrap_or_else(|error| panic!("{}: {error}", case.display()))
}

#[test]
fn objects_become_what_the_cases_expect() {
    for case in cases() {
        let shown = shown(&snapshot(&input(&case)));
        let expected = case.join("expected.yaml");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&expected, serde_saphyr::to_string(&shown).unwrap()).unwrap();
        }
        let expected: Value = serde_saphyr::from_str(&fs::read_to_string(expected).unwrap()).unwrap();
        assert_eq!(shown, expected, "{}", case.display());
    }
}

#[test]
fn the_order_of_the_objects_does_not_matter() {
    for case in cases() {
        let mut objects = input(&case);
        let forward = shown(&snapshot(&objects));
        objects.reverse();
        assert_eq!(shown(&snapshot(&objects)), forward, "{}", case.display());
    }
}

#[test]
fn statuses_that_were_written_are_not_written_again() {
    for case in cases() {
        let mut objects = input(&case);
        let first = serde_json::to_value(translate(&snapshot(&objects)).statuses).unwrap();
        for status in first.as_array().unwrap() {
            let of = |object: &&mut Value| {
                object["kind"] == status["kind"]
                    && object["metadata"]["name"] == status["name"]
                    && object["metadata"]["namespace"] == status["namespace"]
            };
            objects.iter_mut().find(of).unwrap()["status"] = status["status"].clone();
        }
        let mut later = snapshot(&objects);
        later.now = Time("2027-01-01T00:00:00Z".parse().unwrap());
        assert_eq!(translate(&later).statuses, [], "{}", case.display());
    }
}

#[test]
fn an_address_that_cannot_be_opened_leaves_the_listener_unprogrammed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/ready-endpoints");
    let mut snapshot = snapshot(&input(&root));
    let place = Place { address: "127.128.0.1:8080".parse().unwrap(), udp: false };
    snapshot.unbound.insert(place, Unbound { reason: "the port is taken".to_owned(), foreign: false });
    let statuses = serde_json::to_value(translate(&snapshot).statuses).unwrap();
    let gateway = statuses.as_array().unwrap().iter().find(|status| status["kind"] == "Gateway").unwrap();
    let programmed = &gateway["status"]["listeners"][0]["conditions"][1];
    assert_eq!((&programmed["type"], &programmed["status"]), (&json!("Programmed"), &json!("False")));
    assert_eq!(programmed["message"], "the port is taken");
    assert_eq!(gateway["status"]["conditions"][1]["status"], "False");
}
