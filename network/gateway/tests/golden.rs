//! Every folder of `golden` is a case: `input.yaml` holds objects, `expected.yaml` what they are translated to. With
//! `UPDATE_GOLDEN=1` the expectations are written anew, to be read before they are committed.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use xebec_gateway::{Options, Snapshot, translate};

const NOW: &str = "2026-01-01T00:00:00Z";

fn read<T: DeserializeOwned>(object: &Value) -> Arc<T> {
    Arc::new(serde_json::from_value(object.clone()).unwrap_or_else(|error| panic!("{object}: {error}")))
}

fn snapshot(objects: &[Value]) -> Snapshot {
    let mut snapshot = Snapshot::empty(Options::default(), Time(NOW.parse().unwrap()));
    for object in objects {
        match object["kind"].as_str() {
            Some("GatewayClass") => snapshot.classes.push(read(object)),
            Some("Gateway") => snapshot.gateways.push(read(object)),
            Some("HTTPRoute") => snapshot.routes.push(read(object)),
            Some("ReferenceGrant") => snapshot.grants.push(read(object)),
            Some("Namespace") => snapshot.namespaces.push(read(object)),
            Some("Service") => snapshot.services.push(read(object)),
            Some("EndpointSlice") => snapshot.endpoint_slices.push(read(object)),
            other => panic!("a case has an object of kind {other:?}"),
        }
    }
    snapshot
}

/// The translation with one line a route, so that a difference is read at a glance.
fn shown(snapshot: &Snapshot) -> Value {
    let translation = translate(snapshot);
    let mut served = Vec::new();
    for listener in &translation.config.listeners {
        let mut routes = Vec::new();
        for host in &listener.hosts {
            for route in &host.routes {
                let filters =
                    if route.filters.is_empty() { String::new() } else { format!(" {:?}", route.filters) };
                routes.push(format!(
                    "{:?} {} {:?}{filters} {:?} => {:?}",
                    host.host, route.id, route.matcher, route.timeouts, route.action
                ));
            }
        }
        served.push(json!({ "address": listener.address, "routes": routes }));
    }
    json!({ "listeners": served, "statuses": translation.statuses })
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
    snapshot.unbound.insert("127.0.0.1:8080".parse().unwrap(), "the port is taken".to_owned());
    let statuses = serde_json::to_value(translate(&snapshot).statuses).unwrap();
    let gateway = statuses.as_array().unwrap().iter().find(|status| status["kind"] == "Gateway").unwrap();
    let programmed = &gateway["status"]["listeners"][0]["conditions"][1];
    assert_eq!((&programmed["type"], &programmed["status"]), (&json!("Programmed"), &json!("False")));
    assert_eq!(programmed["message"], "the port is taken");
    assert_eq!(gateway["status"]["conditions"][1]["status"], "False");
}
