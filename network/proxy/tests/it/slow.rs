//! Peers that are slow, or stop amid what they do.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use xebec_proxy::proxy::Limits;

use crate::peers::{backend, config, endpoint, raw, read_head, serving_with};

const PATIENCE: Duration = Duration::from_secs(5);

async fn client(front: SocketAddr) -> SendRequest<Empty<Bytes>> {
    let stream = TokioIo::new(TcpStream::connect(front).await.unwrap());
    let (sender, driver) = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(64 * 1024)
        .handshake(stream)
        .await
        .unwrap();
    tokio::spawn(driver);
    sender
}

fn get() -> Request<Empty<Bytes>> {
    Request::get("http://h/").body(Empty::new()).unwrap()
}

/// An endpoint that sends without end, and says when its connection is over.
async fn endless() -> (SocketAddr, mpsc::UnboundedReceiver<()>) {
    let (sender, over) = mpsc::unbounded_channel();
    let address = endpoint(move |mut stream| {
        let sender = sender.clone();
        async move {
            if read_head(&mut stream).await.is_none() {
                return;
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n").await.unwrap();
            while stream.write_all(&[b'x'; 16 * 1024]).await.is_ok() {}
            sender.send(()).unwrap();
        }
    })
    .await;
    (address, over)
}

#[tokio::test]
async fn an_http2_client_that_takes_nothing_does_not_hold_the_endpoint() {
    let (address, mut over) = endless().await;
    let limits = Limits { client_idle: Duration::from_millis(300), ..Limits::default() };
    let (_proxy, front) = serving_with(config(vec![backend("a", 1, vec![address])]), limits).await;
    let mut sender = client(front).await;
    let response = sender.send_request(get()).await.unwrap();
    assert_eq!(response.status(), 200);
    timeout(PATIENCE, over.recv()).await.expect("the endpoint's connection is let go").unwrap();
    // The stream is cut too, once the client looks.
    let mut body = response.into_body();
    let reading = async { while let Some(Ok(_)) = body.frame().await {} };
    timeout(PATIENCE, reading).await.expect("the stream is cut");
}

#[tokio::test]
async fn an_http2_client_that_takes_slowly_or_waits_is_served() {
    let address = endpoint(|mut stream| async move {
        while read_head(&mut stream).await.is_some() {
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 400000\r\n\r\n";
            stream.write_all(head).await.unwrap();
            // Quiet for longer than a client may be.
            sleep(Duration::from_millis(700)).await;
            stream.write_all(&[b'x'; 400_000]).await.unwrap();
        }
    })
    .await;
    let limits = Limits { client_idle: Duration::from_millis(300), ..Limits::default() };
    let (_proxy, front) = serving_with(config(vec![backend("a", 1, vec![address])]), limits).await;
    let mut sender = client(front).await;
    let mut body = sender.send_request(get()).await.unwrap().into_body();
    let mut taken = 0;
    while let Some(frame) = body.frame().await {
        taken += frame.unwrap().into_data().unwrap().len();
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(taken, 400_000);
}

#[tokio::test]
async fn an_http2_connection_with_a_stream_is_not_idle() {
    let address = endpoint(|mut stream| async move {
        while let Some(head) = read_head(&mut stream).await {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n").await.unwrap();
            if head.starts_with("GET /long") {
                sleep(Duration::from_millis(1500)).await;
            }
            stream.write_all(b"done").await.unwrap();
        }
    })
    .await;
    let limits = Limits { client_idle: Duration::from_millis(200), ..Limits::default() };
    let (_proxy, front) = serving_with(config(vec![backend("a", 1, vec![address])]), limits).await;
    let mut sender = client(front).await;
    let long = Request::get("http://h/long").body(Empty::new()).unwrap();
    let long = sender.send_request(long).await.unwrap();
    sleep(Duration::from_millis(900)).await;
    let other = sender.send_request(get()).await.expect("the connection takes requests");
    assert_eq!(other.into_body().collect().await.unwrap().to_bytes(), "done");
    assert_eq!(long.into_body().collect().await.unwrap().to_bytes(), "done");
}

#[tokio::test]
async fn a_client_that_leaves_while_its_request_waits_frees_the_endpoint() {
    let (sender, mut over) = mpsc::unbounded_channel();
    let address = endpoint(move |mut stream| {
        let sender = sender.clone();
        async move {
            read_head(&mut stream).await;
            // Nothing is answered; the connection ends because the client left.
            let _ = stream.read_to_end(&mut Vec::new()).await;
            sender.send(()).unwrap();
        }
    })
    .await;
    let (_proxy, front) = serving_with(config(vec![backend("a", 1, vec![address])]), Limits::default()).await;
    for request in
        ["GET / HTTP/1.1\r\nHost: h\r\n\r\n", "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi"]
    {
        let mut stream = TcpStream::connect(front).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        sleep(Duration::from_millis(100)).await;
        drop(stream);
        timeout(PATIENCE, over.recv()).await.expect("the endpoint is let go").unwrap();
    }
}

#[tokio::test]
async fn interim_answers_reach_clients_that_know_them() {
    let address = endpoint(|mut stream| async move {
        while read_head(&mut stream).await.is_some() {
            let early = "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\n";
            let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
            // One comes before the answer, the other with it.
            stream.write_all(early.as_bytes()).await.unwrap();
            sleep(Duration::from_millis(100)).await;
            stream.write_all(format!("{early}{answer}").as_bytes()).await.unwrap();
        }
    })
    .await;
    let (_proxy, front) = serving_with(config(vec![backend("a", 1, vec![address])]), Limits::default()).await;
    let mut stream = TcpStream::connect(front).await.unwrap();
    for _ in 0..2 {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
        for _ in 0..2 {
            let early = read_head(&mut stream).await.unwrap();
            assert_eq!(early, "HTTP/1.1 103 Early Hints\r\nlink: </a.css>; rel=preload\r\n\r\n");
        }
        assert!(read_head(&mut stream).await.unwrap().starts_with("HTTP/1.1 200"));
        let mut body = [0; 2];
        stream.read_exact(&mut body).await.unwrap();
    }
    let old = raw(front, "GET / HTTP/1.0\r\nHost: h\r\n\r\n").await;
    assert!(old.starts_with("HTTP/1.1 200"), "{old}");
}

#[tokio::test]
async fn an_interim_answer_that_comes_while_another_is_written_goes_out_after_it() {
    let address = endpoint(|mut stream| async move {
        read_head(&mut stream).await;
        // The first is more than the client's side takes at once.
        for link in ["a".repeat(6_000), "b".to_owned()] {
            let early = format!("HTTP/1.1 103 Early Hints\r\nLink: {link}\r\n\r\n");
            stream.write_all(early.as_bytes()).await.unwrap();
            sleep(Duration::from_millis(100)).await;
        }
        let _ = stream.read_to_end(&mut Vec::new()).await;
    })
    .await;
    let config = config(vec![backend("a", 1, vec![address])]);
    let listener = config.listeners[0].address;
    let (proxy, _) = serving_with(config, Limits::default()).await;
    let (mut client, server) = tokio::io::duplex(4096);
    let serving = tokio::spawn(proxy.serve(listener, server, "192.0.2.1:9".parse().unwrap()).unwrap());
    client.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    sleep(Duration::from_millis(300)).await;
    for link in ["a".repeat(6_000), "b".to_owned()] {
        let early = timeout(PATIENCE, read_head(&mut client)).await.expect("nothing holds it back").unwrap();
        assert!(early.ends_with(&format!("link: {link}\r\n\r\n")), "{early}");
    }
    serving.abort();
}

#[tokio::test]
async fn interim_answers_without_an_end_are_no_answer() {
    let address = endpoint(|mut stream| async move {
        read_head(&mut stream).await;
        while stream.write_all(b"HTTP/1.1 102 Processing\r\n\r\n").await.is_ok() {}
    })
    .await;
    let (_proxy, front) = serving_with(config(vec![backend("a", 1, vec![address])]), Limits::default()).await;
    let told = timeout(PATIENCE, raw(front, "GET / HTTP/1.0\r\nHost: h\r\n\r\n")).await.expect("an answer");
    assert!(told.starts_with("HTTP/1.1 502"), "{told}");
}
