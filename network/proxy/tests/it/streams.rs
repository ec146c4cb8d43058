//! Connections and datagrams that are carried as they are.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use xebec_proxy::config::{Backend, Config, Listener, Protocol};
use xebec_proxy::proxy::{Limits, Proxy};

use crate::peers::{backend, endpoint, rest, serving_with};

fn config(protocol: Protocol) -> Config {
    Config { listeners: vec![Listener { address: "127.0.0.1:0".parse().unwrap(), protocol }] }
}

/// Says its name, then what it gets, until the client has ended.
async fn named_echo(name: &'static str) -> SocketAddr {
    endpoint(move |mut stream| async move {
        stream.write_all(name.as_bytes()).await.unwrap();
        let (mut read, mut write) = stream.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
    })
    .await
}

async fn said(address: SocketAddr, text: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    rest(&mut stream).await
}

#[tokio::test]
async fn bytes_go_both_ways_until_both_sides_have_ended_and_backends_share_by_weight() {
    let (a, b) = (named_echo("a:").await, named_echo("b:").await);
    let backends = vec![backend("a", 3, vec![a]), backend("b", 1, vec![b])];
    let (_proxy, front) = serving_with(config(Protocol::Tcp(backends)), Limits::default()).await;
    let mut first = 0;
    for turn in 0..40 {
        let text = said(front, &format!("hello {turn}")).await;
        assert!(text.ends_with(&format!(":hello {turn}")), "{text}");
        first += usize::from(text.starts_with('a'));
    }
    assert!((25..=35).contains(&first), "{first} of 40");
}

#[tokio::test]
async fn a_connection_without_an_endpoint_is_closed_and_running_ones_outlive_a_swap() {
    let a = named_echo("a:").await;
    let mut proxy = Proxy::new(Limits::default());
    let mut wanted = config(Protocol::Tcp(vec![backend("a", 1, vec![a])]));
    let front = *proxy.apply(wanted.clone()).await.listeners[0].as_ref().unwrap();
    let mut stream = TcpStream::connect(front).await.unwrap();
    let mut name = [0; 2];
    stream.read_exact(&mut name).await.unwrap();
    wanted.listeners[0].protocol = Protocol::Tcp(vec![Backend::invalid("x", 1)]);
    proxy.apply(wanted).await;
    assert_eq!(said(front, "").await, "");
    stream.write_all(b"still").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(rest(&mut stream).await, "still");
}

async fn datagram_echo(name: &'static str) -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer).await {
            let text = format!("{name}{}", String::from_utf8_lossy(&buffer[..length]));
            socket.send_to(text.as_bytes(), peer).await.unwrap();
        }
    });
    address
}

async fn asked(socket: &UdpSocket, front: SocketAddr, text: &str) -> Option<String> {
    socket.send_to(text.as_bytes(), front).await.unwrap();
    let mut buffer = [0; 2048];
    let received = tokio::time::timeout(Duration::from_millis(500), socket.recv_from(&mut buffer)).await;
    let (length, from) = received.ok()?.unwrap();
    assert_eq!(from, front, "the answer comes from where the question went");
    Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

#[tokio::test]
async fn datagrams_of_one_client_go_to_one_endpoint_as_long_as_it_is_there() {
    let (a, b) = (datagram_echo("a:").await, datagram_echo("b:").await);
    let mut proxy = Proxy::new(Limits::default());
    let mut wanted = config(Protocol::Udp(vec![backend("a", 1, vec![a]), backend("b", 1, vec![b])]));
    let front = *proxy.apply(wanted.clone()).await.listeners[0].as_ref().unwrap();
    let mut names = std::collections::BTreeSet::new();
    for _ in 0..8 {
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let first = asked(&client, front, "x").await.unwrap();
        assert_eq!(asked(&client, front, "x").await.as_ref(), Some(&first));
        names.insert(first);
    }
    assert_eq!(names.len(), 2, "both backends get clients");

    let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    asked(&client, front, "x").await.unwrap();
    wanted.listeners[0].protocol = Protocol::Udp(vec![backend("b", 1, vec![b])]);
    proxy.apply(wanted.clone()).await;
    for _ in 0..2 {
        assert_eq!(asked(&client, front, "y").await.as_deref(), Some("b:y"));
    }
    wanted.listeners[0].protocol = Protocol::Udp(vec![Backend::invalid("x", 1)]);
    proxy.apply(wanted).await;
    assert_eq!(asked(&client, front, "z").await, None);
}
