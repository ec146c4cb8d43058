//! How the demo ends, and comes back.

use std::fs;
use std::path::{Path, PathBuf};

use super::pods::runs_containers;
use super::*;

#[test]
fn everything_is_back_after_a_kill() {
    let Some(mut cluster) = Cluster::demo() else { return };
    weigh(&cluster, 1, 1);
    cluster.kubectl("scale deployment hello-v1 --replicas=3");
    let uids = |cluster: &Cluster| {
        let pods = [ready(cluster, "v1", 3), ready(cluster, "v2", 2)].concat();
        pods.iter().map(|pod| pod["metadata"]["uid"].clone()).collect::<Vec<_>>()
    };
    let spec = |cluster: &Cluster, what: &str| cluster.get(what)["spec"].clone();
    let pods = uids(&cluster);
    let (route, gateway) = (spec(&cluster, "httproute hello"), spec(&cluster, "gateway demo"));
    let entrance = cluster.running().endpoint("gateway");

    cluster.end_with("KILL");
    // Without a port, the Gateway stays where it is.
    cluster.start_again(&["demo"]);
    assert_eq!(cluster.running().endpoint("gateway"), entrance);
    assert_eq!(uids(&cluster), pods);
    assert_eq!(spec(&cluster, "httproute hello"), route);
    assert_eq!(spec(&cluster, "gateway demo"), gateway);
    let answers = Curl::of(&cluster).answers(200);
    assert_eq!(answers.len(), 2, "{answers:?}");
    assert!(answers.values().all(|count| count.abs_diff(100) <= 40), "{answers:?}");
}

#[test]
fn an_interrupt_ends_it_without_a_complaint_and_leaves_nothing_behind() {
    let Some(mut cluster) = Cluster::demo() else { return };
    let folder = cluster.data().canonicalize().unwrap();
    let containers = runs_containers(&cluster);
    let groups = groups_of(&cluster);
    let number = fs::read_to_string(folder.join("berth")).expect("the number of the instance");
    let bridge = PathBuf::from(format!("/sys/class/net/xebec{}", number.trim()));
    let own = links(&bridge);
    if containers {
        assert!(!groups.is_empty() && own.len() == 2 && mounts(&folder) > 0 && processes(&folder) > 1);
    }

    let (status, log) = cluster.end_with("INT");
    assert_eq!(status.code(), Some(0), "{log}");
    let complaints: Vec<_> =
        log.lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
    assert_eq!(processes(&folder), 0);
    assert_eq!(mounts(&folder), 0, "mounts and network namespaces");
    assert!(groups.iter().all(|group| !group.exists()), "{groups:?}");
    assert!(own.iter().all(|link| !link.exists()), "{own:?}");
    assert!(!bridge.exists() || !links(&bridge).is_empty(), "{bridge:?} stays and nobody uses it");
    assert!(!folder.join("endpoints.json").exists());
}

#[test]
fn an_interrupt_while_it_starts_ends_it_too() {
    let data = tempfile::tempdir().unwrap();
    let mut child = on_free_ports(&["demo", "--port", "0"], data.path()).spawn().unwrap();
    until("the API's store", || data.path().join("store").exists().then_some(()));
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let folder = data.path().canonicalize().unwrap();
    assert_eq!((processes(&folder), mounts(&folder)), (0, 0));
}

/// The control groups of the demo's pods and the one that they are all below.
fn groups_of(cluster: &Cluster) -> Vec<PathBuf> {
    let pods = ready(cluster, "v2", 2);
    let uids: Vec<_> = pods.iter().map(|pod| pod["metadata"]["uid"].as_str().expect("a uid")).collect();
    let folders = |at: &Path| {
        let entries = fs::read_dir(at).into_iter().flatten().filter_map(Result::ok);
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect::<Vec<_>>()
    };
    let root = Path::new("/sys/fs/cgroup");
    let places =
        folders(root).into_iter().map(|hierarchy| hierarchy.join("xebec")).chain([root.join("xebec")]);
    let mut found = Vec::new();
    for instance in places.flat_map(|place| folders(&place)) {
        let own = folders(&instance).into_iter().filter(|group| {
            let group = group.to_string_lossy();
            uids.iter().any(|uid| group.contains(uid))
        });
        let before = found.len();
        found.extend(own);
        if found.len() > before {
            found.push(instance);
        }
    }
    found
}

/// The interfaces that are joined to a bridge.
fn links(bridge: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(bridge.join("brif")).into_iter().flatten().filter_map(Result::ok);
    entries.map(|entry| Path::new("/sys/class/net").join(entry.file_name())).collect()
}

/// How many mounts there are below a folder.
fn mounts(folder: &Path) -> usize {
    let table = fs::read_to_string("/proc/self/mountinfo").expect("a table of mounts");
    table.lines().filter(|line| line.contains(&*folder.to_string_lossy())).count()
}

/// How many processes have a folder among their arguments.
fn processes(folder: &Path) -> usize {
    let entries = fs::read_dir("/proc").expect("/proc").filter_map(Result::ok);
    let arguments = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    arguments
        .filter(|arguments| String::from_utf8_lossy(arguments).contains(&*folder.to_string_lossy()))
        .count()
}
