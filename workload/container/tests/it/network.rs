use std::{net::Ipv4Addr, path::Path, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use xebec_container::{ContainerId, ContainerSpec, Error, Network, PodNetwork, Range, Signal};

use crate::house::{house, privilege};

/// A pod's name, of this run alone: its interface on the machine is called by it.
fn id(text: &str) -> ContainerId {
    format!("{text}-{}", std::process::id()).parse().unwrap()
}

/// A bridge and a range that no other run of these tests has, most likely: several may go on at a time on one machine.
fn place(number: u32) -> (String, u32) {
    let run = std::process::id() % 1024;
    (format!("xbt{run}-{number}"), (10 << 24) + (251 << 16) + run * 64 + number * 16)
}

fn range(first: u32, length: u8) -> Range {
    format!("{}/{length}", Ipv4Addr::from(first)).parse().unwrap()
}

async fn get(address: Ipv4Addr) -> std::io::Result<String> {
    let connecting = TcpStream::connect((address, 8080));
    let mut stream = tokio::time::timeout(Duration::from_secs(5), connecting).await??;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: pod\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn a_pods_server_is_reached_by_its_address_until_it_is_gone() {
    let Some(house) = house("a_pods_server_is_reached_by_its_address_until_it_is_gone") else { return };
    let runtime = house.runtime();
    let folder = house.folder.path().join("network");
    let (bridge, first) = place(0);
    let network = PodNetwork::open(&folder, &bridge, range(first, 29)).unwrap();
    let pods = ["one", "two"].map(|pod| network.attach(&id(pod)).unwrap());
    assert_ne!(pods[0].address, pods[1].address);
    assert_eq!(network.attach(&id("one")).unwrap(), pods[0]);

    let mut containers = Vec::new();
    for (name, pod) in ["one", "two"].iter().zip(&pods) {
        let spec = ContainerSpec {
            network: Network::Namespace(pod.namespace.clone()),
            log: house.folder.path().join(format!("logs/{name}.log")),
            ..house.spec(&["serve"])
        };
        containers.push(house.started(&runtime, name, &spec).await);
    }
    // Both listen on the same port: each has a network of its own.
    for pod in &pods {
        let mut answer = get(pod.address).await;
        let begun = std::time::Instant::now();
        while begun.elapsed() < Duration::from_secs(30) {
            if answer.is_ok() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
            answer = get(pod.address).await;
        }
        assert!(answer.as_ref().is_ok_and(|text| text.ends_with("hello")), "{answer:?}");
    }
    let log = std::fs::read_to_string(house.folder.path().join("logs/one.log")).unwrap();
    assert!(log.ends_with(" stdout F listening\n"), "{log}");

    containers[0].kill(Signal::KILL).unwrap();
    containers[0].wait().await.unwrap();
    assert!(get(pods[0].address).await.is_err());
    assert!(get(pods[1].address).await.is_ok());

    // A restart of the program finds the addresses again.
    drop(network);
    let network = PodNetwork::open(&folder, &bridge, range(first, 29)).unwrap();
    assert_eq!(network.pods().len(), 2);
    assert_eq!(network.attach(&id("two")).unwrap(), pods[1]);
    assert!(get(pods[1].address).await.is_ok());

    for container in containers {
        container.delete().await.unwrap();
    }
    for pod in ["one", "two"] {
        network.detach(&id(pod)).unwrap();
        network.detach(&id(pod)).unwrap();
        assert!(!folder.join("namespaces").join(id(pod).as_str()).exists());
    }
    assert!(network.pods().is_empty());
    assert_eq!(std::fs::read_dir(format!("/sys/class/net/{bridge}/brif")).unwrap().count(), 0);
    network.close().unwrap();
    assert!(!Path::new("/sys/class/net").join(&bridge).exists());
}

#[test]
fn addresses_run_out_and_come_back() {
    if privilege("addresses_run_out_and_come_back").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (bridge, first) = place(1);
    let network = PodNetwork::open(folder.path(), &bridge, range(first, 29)).unwrap();
    let pods: Vec<_> = (0..5).map(|pod| id(&format!("pod-{pod}"))).collect();
    for pod in &pods {
        network.attach(pod).unwrap();
    }
    let refused = network.attach(&id("one-more"));
    assert!(matches!(refused, Err(Error::AddressesExhausted { .. })), "{refused:?}");
    // A pod of a range that was given up gets an address of the new one, and is reached there.
    let wider = PodNetwork::open(folder.path(), &bridge, range(first + 16, 28)).unwrap();
    let moved = wider.attach(&pods[0]).unwrap();
    assert!(wider.range().is_pods(moved.address), "{moved:?}");
    drop(wider);
    let freed = network.pods()[&pods[2]];
    network.detach(&pods[2]).unwrap();
    assert_eq!(network.attach(&id("one-more")).unwrap().address, freed);
    for pod in network.pods().into_keys() {
        network.detach(&pod).unwrap();
    }
    network.close().unwrap();
}

#[test]
fn an_address_works_at_once_for_the_next_pod_that_gets_it() {
    if privilege("an_address_works_at_once_for_the_next_pod_that_gets_it").is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (bridge, first) = place(3);
    let network = PodNetwork::open(folder.path(), &bridge, range(first, 29)).unwrap();
    // With no pod at all the bridge would forget its neighbours.
    network.attach(&id("other")).unwrap();
    let mut addresses = Vec::new();
    for pod in ["first", "second", "third"] {
        let address = network.attach(&id(pod)).unwrap().address;
        addresses.push(address);
        // Nothing listens, which only the pod itself can say.
        let answer = std::net::TcpStream::connect_timeout(&(address, 9).into(), Duration::from_secs(2));
        assert_eq!(answer.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused, "{pod}");
        network.detach(&id(pod)).unwrap();
    }
    assert!(addresses.iter().all(|address| *address == addresses[0]), "{addresses:?}");
    network.detach(&id("other")).unwrap();
    network.close().unwrap();
}
