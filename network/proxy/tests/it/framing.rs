//! HTTP/1.1 at its edges: what is refused, and that what is taken arrives whole.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use xebec_proxy::proxy::Limits;

use crate::peers::{backend, config, endpoint, raw, read_head, rest, serving, serving_with, upstream};

#[tokio::test]
async fn refuses_malformed_and_oversize_heads() {
    let (address, _) = upstream("a").await;
    let (_proxy, front) = serving(vec![backend("a", 1, vec![address])]).await;
    let close = "Host: h\r\nConnection: close\r\n";
    let chunked = "Transfer-Encoding: chunked\r\n";
    let long = "x".repeat(20_000);
    let cases = [
        (format!("POST / HTTP/1.1\r\n{close}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"), "400"),
        (format!("POST / HTTP/1.1\r\n{close}Content-Length: 1, 1\r\n\r\na"), "400"),
        (format!("POST / HTTP/1.1\r\n{close}Content-Length: +1\r\n\r\na"), "400"),
        (format!("POST / HTTP/1.1\r\n{close}Content-Length: 5\r\n{chunked}\r\n0\r\n\r\n"), "400"),
        (format!("POST / HTTP/1.1\r\n{close}{chunked}Content-Length: 5\r\n\r\n0\r\n\r\n"), "400"),
        (format!("POST / HTTP/1.1\r\n{close}{chunked}{chunked}\r\n0\r\n\r\n"), "501"),
        (format!("POST / HTTP/1.1\r\n{close}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), "501"),
        (format!("POST / HTTP/1.1\r\n{close}Transfer-Encoding: chunked, identity\r\n\r\n"), "400"),
        (format!("POST / HTTP/1.0\r\n{close}{chunked}\r\n0\r\n\r\n"), "400"),
        (format!("POST / HTTP/1.1\r\n{close}{chunked}\r\nzz\r\n"), "400"),
        (format!("GET / HTTP/1.1\r\n{close}X: 1\r\n folded\r\n\r\n"), "400"),
        (format!("GET / HTTP/1.1\r\n{close}X : 1\r\n\r\n"), "400"),
        (format!("GET / HTTP/1.1\r\n{close}X: 1\n\r\n\r\n"), "400"),
        ("GET / HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned(), "400"),
        (format!("GET / HTTP/1.1\r\n{close}Host: h\r\n\r\n"), "400"),
        ("GET / HTTP/1.1\r\nHost: a@b\r\nConnection: close\r\n\r\n".to_owned(), "400"),
        (format!("GET / HTTP/2.7\r\n{close}\r\n"), "505"),
        (format!("CONNECT h:80 HTTP/1.1\r\n{close}\r\n"), "501"),
        (format!("GET /{long} HTTP/1.1\r\n{close}\r\n"), "414"),
        (format!("GET / HTTP/1.1\r\n{close}X: {long}{long}{long}{long}\r\n\r\n"), "431"),
        (format!("GET / HTTP/1.1\r\n{close}{}\r\n", "X: 1\r\n".repeat(120)), "431"),
    ];
    for (request, status) in cases {
        let answer = raw(front, &request).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{status} for {request:.90}: {answer}");
    }
}

#[tokio::test]
async fn a_chunked_body_passes_with_its_trailers_even_on_get_and_the_connection_goes_on() {
    let address = endpoint(|mut stream| async move {
        loop {
            let Some(head) = read_head(&mut stream).await else { return };
            assert!(head.contains("transfer-encoding: chunked"), "{head}");
            let mut body = Vec::new();
            while !body.ends_with(b"x-sum: 7\r\n\r\n") {
                body.push(stream.read_u8().await.unwrap());
            }
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: x-end\r\n\r\n";
            let body = String::from_utf8(body).unwrap().replace("\r\n", "|");
            let answer = format!("{head}{:x}\r\n{body}\r\n0\r\nx-end: 1\r\n\r\n", body.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    })
    .await;
    let (_proxy, front) = serving(vec![backend("a", 1, vec![address])]).await;
    let one = "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n";
    let first = format!("GET / HTTP/1.1\r\nHost: h\r\n{one}");
    let second = format!("PATCH / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{one}");
    let answer = raw(front, &(first + &second)).await;
    assert_eq!(answer.matches("3|abc|0|x-sum: 7||").count(), 2, "{answer}");
    assert_eq!(answer.matches("0\r\nx-end: 1\r\n\r\n").count(), 2, "{answer}");
}

#[tokio::test]
async fn large_bodies_stream_both_ways_at_once() {
    // An echo that answers while it still reads: neither side may wait for the other's end.
    let address = endpoint(|mut stream| async move {
        read_head(&mut stream).await;
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 8000000\r\n\r\n";
        stream.write_all(head).await.unwrap();
        let (mut read, mut write) = stream.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
    })
    .await;
    let (_proxy, front) = serving(vec![backend("a", 1, vec![address])]).await;
    let (mut read, mut write) = TcpStream::connect(front).await.unwrap().into_split();
    let sent = (0..8_000_000_u32).map(|index| (index % 251) as u8).collect::<Vec<_>>();
    let body = sent.clone();
    let sending = tokio::spawn(async move {
        let head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 8000000\r\nConnection: close\r\n\r\n";
        write.write_all(head).await.unwrap();
        write.write_all(&body).await.unwrap();
        write
    });
    let mut answer = Vec::new();
    tokio::time::timeout(Duration::from_secs(20), read.read_to_end(&mut answer)).await.unwrap().unwrap();
    assert!(answer.ends_with(&sent), "the echo differs, {} bytes", answer.len());
    sending.await.unwrap();
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused_however_it_is_framed() {
    let (address, _) = upstream("a").await;
    let limits = Limits { body_bytes: Some(4), ..Limits::default() };
    let (_proxy, front) = serving_with(config(vec![backend("a", 1, vec![address])]), limits).await;
    let head = "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n";
    for framed in
        ["Content-Length: 5\r\n\r\nabcde", "Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n"]
    {
        let answer = raw(front, &format!("{head}{framed}")).await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{framed}: {answer}");
    }
}

#[tokio::test]
async fn a_head_that_takes_too_long_is_answered_and_an_idle_connection_closed() {
    let (address, _) = upstream("a").await;
    let short = Duration::from_millis(100);
    let limits = Limits { header_read_timeout: short, client_idle: short, ..Limits::default() };
    let (_proxy, front) = serving_with(config(vec![backend("a", 1, vec![address])]), limits).await;
    assert!(raw(front, "GET / HTTP/1.1\r\nHo").await.starts_with("HTTP/1.1 408"));
    assert_eq!(raw(front, "").await, "");
    let answer = raw(front, "GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200") && !answer.contains("HTTP/1.1 408"), "{answer}");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (address, _) = upstream("a").await;
    let (_proxy, front) = serving(vec![backend("a", 1, vec![address])]).await;
    let request = |path: &str, close: &str| format!("GET /{path} HTTP/1.1\r\nHost: h\r\n{close}\r\n");
    let answer =
        raw(front, &[request("1", ""), request("2", ""), request("3", "Connection: close\r\n")].concat())
            .await;
    let seen = ["get /1 ", "get /2 ", "get /3 "].map(|line| answer.find(line).expect(line));
    assert!(seen.is_sorted(), "{answer}");
}

#[tokio::test]
async fn an_old_client_gets_an_answer_that_ends_with_the_connection() {
    let address = endpoint(|mut stream| async move {
        read_head(&mut stream).await;
        let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        stream.write_all(answer).await.unwrap();
    })
    .await;
    let (_proxy, front) = serving(vec![backend("a", 1, vec![address])]).await;
    let answer = raw(front, "GET / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n").await;
    assert!(answer.ends_with("\r\n\r\nabc") && !answer.contains("chunked"), "{answer}");
}

#[tokio::test]
async fn a_client_that_expects_100_gets_it_when_the_endpoint_wants_the_body() {
    let address = endpoint(|mut stream| async move {
        let head = read_head(&mut stream).await.unwrap();
        assert!(head.contains("expect: 100-continue"), "{head}");
        if head.starts_with("POST /no") {
            stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            return;
        }
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.unwrap();
        let mut body = [0; 3];
        stream.read_exact(&mut body).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n").await.unwrap();
        stream.write_all(&body).await.unwrap();
    })
    .await;
    let (_proxy, front) = serving(vec![backend("a", 1, vec![address])]).await;
    let head = |path| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\nConnection: close\r\n\r\n"
        )
    };
    let mut stream = TcpStream::connect(front).await.unwrap();
    stream.write_all(head("/yes").as_bytes()).await.unwrap();
    assert_eq!(read_head(&mut stream).await.unwrap(), "HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"abc").await.unwrap();
    assert!(rest(&mut stream).await.ends_with("\r\n\r\nabc"));
    let refused = raw(front, &head("/no")).await;
    assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");
}

#[tokio::test]
async fn an_endpoints_malformed_answer_is_a_502_that_says_so() {
    let answers: [&'static str; 5] = [
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        "SSH-2.0-OpenSSH\r\n\r\n",
        "",
    ];
    for answer in answers {
        let address = endpoint(move |mut stream| async move {
            read_head(&mut stream).await;
            stream.write_all(answer.as_bytes()).await.unwrap();
        })
        .await;
        let (_proxy, front) = serving(vec![backend("a", 1, vec![address])]).await;
        let told = raw(front, "POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
        assert!(told.starts_with("HTTP/1.1 502") && told.contains("the endpoint"), "{answer}: {told}");
    }
}

#[tokio::test]
async fn an_answer_that_comes_before_the_bodys_end_reaches_the_client() {
    let address = endpoint(|mut stream| async move {
        read_head(&mut stream).await;
        let answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\nConnection: close\r\n\r\nstop";
        stream.write_all(answer).await.unwrap();
        stream.shutdown().await.unwrap();
        let _ = tokio::time::timeout(Duration::from_millis(500), stream.read_to_end(&mut Vec::new())).await;
    })
    .await;
    let (_proxy, front) = serving(vec![backend("a", 1, vec![address])]).await;
    for _ in 0..20 {
        let stream = TcpStream::connect(front).await.unwrap();
        let (mut read, mut write) = stream.into_split();
        let sending = tokio::spawn(async move {
            let _ = write.write_all(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 500000\r\n\r\n").await;
            for _ in 0..50 {
                if write.write_all(&[b'x'; 10_000]).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        tokio::time::sleep(Duration::from_millis(20)).await;
        let mut answer = Vec::new();
        tokio::time::timeout(Duration::from_secs(10), read.read_to_end(&mut answer)).await.unwrap().unwrap();
        assert!(
            answer.starts_with(b"HTTP/1.1 403") && answer.ends_with(b"stop"),
            "{}",
            answer.escape_ascii()
        );
        sending.abort();
    }
}
