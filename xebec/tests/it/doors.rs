//! The door rules of the house, read from what cargo resolves: a crate depends only downwards.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// Crates that could be published alone: values in, values out.
const PURE: &[&str] = &[
    "machinery",
    "streams",
    "expressions",
    "proxy",
    "datapath",
    "policy",
    "dns",
    "cloudevents",
    "promql",
    "rules",
    "tsdb",
    "gotemplate",
    "log",
];

/// Which pure crate may stand on which other pure one of its wing.
const BELOW: &[(&str, &str)] = &[("machinery", "expressions"), ("datapath", "policy"), ("rules", "promql")];

/// What a pure crate must not reach, not even through another crate.
const KUBERNETES: &[&str] = &["kube", "kube-client", "kube-core", "kube-runtime", "k8s-openapi"];

/// Crates whose tenants are controllers: they meet in objects and never call each other.
const CONTROLLERS: &[&str] =
    &["controllers", "gateway", "services", "isolation", "node", "local-path", "mesh"];

/// Package name -> names of the packages that it depends on outside its tests.
struct Graph(BTreeMap<String, BTreeSet<String>>);

fn cargo(args: &[&str]) -> Vec<u8> {
    let output = Command::new(env!("CARGO")).args(args).output().expect("cargo runs");
    assert!(output.status.success(), "cargo {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

impl Graph {
    fn read() -> Self {
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
        // What the house holds on this platform; others would only add their own system bindings.
        let version = cargo(&["-vV"]);
        let version = String::from_utf8_lossy(&version).into_owned();
        let host =
            version.lines().find_map(|line| line.strip_prefix("host: ")).expect("cargo names its host");
        let metadata = cargo(&[
            "metadata",
            "--format-version=1",
            "--locked",
            "--filter-platform",
            host,
            "--manifest-path",
            manifest,
        ]);
        let metadata: serde_json::Value = serde_json::from_slice(&metadata).expect("cargo metadata is JSON");
        let names: BTreeMap<&str, &str> = metadata["packages"]
            .as_array()
            .expect("packages")
            .iter()
            .map(|package| (package["id"].as_str().expect("id"), package["name"].as_str().expect("name")))
            .collect();
        let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for node in metadata["resolve"]["nodes"].as_array().expect("nodes") {
            let edges = node["deps"].as_array().expect("deps").iter().filter(|dep| {
                let kinds = dep["dep_kinds"].as_array().expect("dep_kinds");
                kinds.iter().any(|kind| kind["kind"] != "dev")
            });
            let targets = edges.map(|dep| names[dep["pkg"].as_str().expect("pkg")].to_owned());
            graph.entry(names[node["id"].as_str().expect("id")].to_owned()).or_default().extend(targets);
        }
        Self(graph)
    }

    fn rooms(&self) -> impl Iterator<Item = &str> {
        self.0.keys().filter_map(|name| name.strip_prefix("xebec-"))
    }

    fn direct(&self, package: &str) -> &BTreeSet<String> {
        &self.0[package]
    }

    fn reach(&self, package: &str) -> BTreeSet<String> {
        let mut seen = BTreeSet::new();
        let mut waiting = vec![package.to_owned()];
        while let Some(next) = waiting.pop() {
            for target in self.0.get(&next).into_iter().flatten() {
                if seen.insert(target.clone()) {
                    waiting.push(target.clone());
                }
            }
        }
        seen
    }
}

#[test]
fn pure_crates_know_no_kubernetes_client_and_no_other_wing() {
    let graph = Graph::read();
    let mut checked = 0;
    for room in graph.rooms().filter(|room| PURE.contains(room)) {
        let reach = graph.reach(&format!("xebec-{room}"));
        for forbidden in KUBERNETES {
            assert!(!reach.contains(*forbidden), "xebec-{room} is pure and must not reach {forbidden}");
        }
        let may = |name: &str| {
            BELOW.iter().any(|(above, below)| *above == room && name == format!("xebec-{below}"))
        };
        let tenants: Vec<_> = reach.iter().filter(|name| name.starts_with("xebec") && !may(name)).collect();
        assert!(tenants.is_empty(), "xebec-{room} is pure and must not reach {tenants:?}");
        checked += 1;
    }
    assert!(checked > 0, "no pure crate was found, so nothing was checked");
}

#[test]
fn controllers_never_call_each_other_and_never_reach_the_store() {
    let graph = Graph::read();
    for room in graph.rooms().filter(|room| CONTROLLERS.contains(room)) {
        let reach = graph.reach(&format!("xebec-{room}"));
        for other in CONTROLLERS.iter().filter(|other| **other != room) {
            assert!(!reach.contains(&format!("xebec-{other}")), "xebec-{room} must not reach xebec-{other}");
        }
        for hidden in ["xebec-store", "xebec-apiserver"] {
            assert!(!reach.contains(hidden), "xebec-{room} must go through the client, not to {hidden}");
        }
    }
}

#[test]
fn metrics_know_no_kubernetes_and_their_engines_not_them() {
    let graph = Graph::read();
    let reach = graph.reach("xebec-metrics");
    assert!(
        ["promql", "rules", "tsdb"].iter().all(|engine| reach.contains(&format!("xebec-{engine}"))),
        "{reach:?}"
    );
    for forbidden in KUBERNETES {
        assert!(
            !reach.contains(*forbidden),
            "xebec-metrics is given its targets and must not reach {forbidden}"
        );
    }
}

#[test]
fn only_the_binary_knows_everyone() {
    let graph = Graph::read();
    let rooms: Vec<String> = graph.rooms().map(str::to_owned).collect();
    for room in rooms {
        assert!(
            !graph.reach(&format!("xebec-{room}")).contains("xebec"),
            "xebec-{room} must not reach the binary"
        );
    }
}

#[test]
fn one_library_for_one_thing() {
    let graph = Graph::read();
    let reach = graph.reach("xebec");
    for (banned, instead) in [
        ("aws-lc-rs", "ring"),
        ("aws-lc-sys", "ring"),
        ("openssl-sys", "rustls with ring"),
        ("native-tls", "rustls with ring"),
        ("serde_yml", "serde-saphyr"),
        ("serde_yaml", "serde-saphyr"),
    ] {
        assert!(!reach.contains(banned), "{banned} is in the tree; the house uses {instead}");
    }
    assert!(graph.direct("xebec").contains("clap"), "the graph was read");
}

#[test]
fn nothing_but_tests_leaves_things_to_chance() {
    let graph = Graph::read();
    assert!(graph.rooms().any(|room| room == "dice"), "the room is there");
    for room in graph.rooms() {
        let reach = graph.reach(&format!("xebec-{room}"));
        assert!(!reach.contains("xebec-dice"), "xebec-{room} reaches xebec-dice outside its tests");
    }
}
