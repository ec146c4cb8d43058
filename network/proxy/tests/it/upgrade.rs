//! Connections that leave HTTP.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use xebec_proxy::proxy::Limits;

use crate::peers::{backend, config, endpoint, raw, read_head, rest, serving, serving_with, upstream};

const ASK: &[u8] =
    b"GET /chat HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n";

async fn echo() -> std::net::SocketAddr {
    endpoint(|mut stream| async move {
        let head = read_head(&mut stream).await.unwrap();
        assert!(head.contains("upgrade: websocket") && head.contains("connection: upgrade"), "{head}");
        let answer =
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\nhello";
        stream.write_all(answer).await.unwrap();
        let (mut read, mut write) = stream.split();
        tokio::io::copy(&mut read, &mut write).await.unwrap();
        write.shutdown().await.unwrap();
    })
    .await
}

#[tokio::test]
async fn an_upgraded_connection_carries_bytes_both_ways_until_both_ends_have_ended() {
    let (_proxy, front) = serving(vec![backend("a", 1, vec![echo().await])]).await;
    let mut stream = TcpStream::connect(front).await.unwrap();
    // Bytes that follow the request at once belong to the other protocol.
    stream.write_all(&[ASK, b"early "].concat()).await.unwrap();
    let head = read_head(&mut stream).await.unwrap();
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("upgrade: websocket"), "{head}");
    stream.write_all(b"and late").await.unwrap();
    stream.shutdown().await.unwrap();
    assert_eq!(rest(&mut stream).await, "helloearly and late");
}

#[tokio::test]
async fn an_endpoint_may_decline_to_upgrade() {
    let (address, _) = upstream("a").await;
    let (_proxy, front) = serving(vec![backend("a", 1, vec![address])]).await;
    let mut stream = TcpStream::connect(front).await.unwrap();
    stream.write_all(ASK).await.unwrap();
    assert!(read_head(&mut stream).await.unwrap().starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_tunnel_in_which_nothing_moves_is_closed() {
    let limits = Limits { tunnel_idle: Duration::from_millis(100), ..Limits::default() };
    let (_proxy, front) = serving_with(config(vec![backend("a", 1, vec![echo().await])]), limits).await;
    let mut stream = TcpStream::connect(front).await.unwrap();
    stream.write_all(ASK).await.unwrap();
    read_head(&mut stream).await.unwrap();
    let mut hello = [0; 5];
    stream.read_exact(&mut hello).await.unwrap();
    assert_eq!(rest(&mut stream).await, "");
}

/// What another protocol is asked for by, none of which may reach an endpoint: behind it the requests would be unseen.
#[tokio::test]
async fn no_protocol_but_websocket_is_upgraded_to() {
    let (address, _) = upstream("a").await;
    let (_proxy, front) = serving(vec![backend("a", 1, vec![address])]).await;
    let settings = "Connection: close, Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n";
    for asked in ["h2c", "h2c, websocket", "websocket, h2c", "SPDY/3.1", "websocket\r\nUpgrade: h2c"] {
        for connection in [settings, "Connection: close, Upgrade\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"] {
            let request = format!("GET / HTTP/1.1\r\nHost: h\r\n{connection}Upgrade: {asked}\r\n\r\n");
            let answer = raw(front, &request).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{asked}: {answer}");
            assert!(!answer.contains("upgrade") && !answer.contains("http2-settings"), "{asked}: {answer}");
        }
    }
}

#[tokio::test]
async fn an_endpoint_that_switches_to_another_protocol_than_asked_is_a_502() {
    let address = endpoint(|mut stream| async move {
        read_head(&mut stream).await;
        let answer = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n";
        stream.write_all(answer).await.unwrap();
    })
    .await;
    let (_proxy, front) = serving(vec![backend("a", 1, vec![address])]).await;
    let mut stream = TcpStream::connect(front).await.unwrap();
    stream.write_all(ASK).await.unwrap();
    assert!(read_head(&mut stream).await.unwrap().starts_with("HTTP/1.1 502"));
}
