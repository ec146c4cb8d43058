//! Random bytes and broken requests at the HTTP/1.1 edge: whatever comes, the connection is answered or closed, in
//! time and without a panic, and the engine serves on. `XEBEC_FUZZ_SECONDS` sets how long it tries; `XEBEC_FUZZ_SEED`
//! repeats a run. The same for what an endpoint answers.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use xebec_dice::{Dice, Rounds};
use xebec_proxy::proxy::{Limits, Proxy};

use crate::peers::{backend, config, endpoint, read_head, upstream};

/// Pieces that requests are made of, sound and not.
const PIECES: [&[u8]; 44] = [
    b"GET / HTTP/1.1\r\n",
    b"POST /a?b=c HTTP/1.1\r\n",
    b"HEAD http://h/x HTTP/1.0\r\n",
    b"OPTIONS * HTTP/1.1\r\n",
    b"CONNECT h:1 HTTP/1.1\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"Host: h\r\n",
    b"Host: [::1]:80\r\n",
    b"Host:\r\n",
    b"Content-Length: 3\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: 99999999999999999999\r\n",
    b"Content-Length: 5, 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"transfer-encoding:\tchunked\r\n",
    b"Transfer-Encoding : chunked\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive, host, content-length\r\n",
    b"Connection: upgrade\r\nUpgrade: websocket\r\n",
    b"Expect: 100-continue\r\n",
    b"TE: trailers\r\n",
    b"Cookie: a\r\nCookie: b\r\n",
    b"X-Forwarded-For: 1, \xff\r\n",
    b" folded\r\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"\r",
    b"\0",
    b"abc",
    b"3\r\nabc\r\n",
    b"0\r\n\r\n",
    b"0\r\nTrailer: x\r\n\r\n",
    b"ffffffffffffffff\r\n",
    b"7fffffffffffffff\r\n",
    b"-1\r\n",
    b"1;ext=\"\n\"\r\nx\r\n",
    b"%00%zz/../..//",
    b"HTTP/1.1 200 OK\r\n",
    b"\xff\xfe\xfd",
    b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x80\0\x04\0\x01\0\0\0\x05\0\xff\xff\xff",
    b"\0\0\x08\x06\0\0\0\0\0\0\0\0\0\0\0\0\0",
    b"Host: h\r\nConnection: close\r\n\r\n",
];

fn input(dice: &mut Dice) -> Vec<u8> {
    let mut input = Vec::new();
    // Half of the inputs begin soundly, so that they reach what lies behind the request line.
    if dice.below(2) == 0 {
        input.extend_from_slice(PIECES[dice.below(4)]);
        input.extend_from_slice(PIECES[6]);
    }
    for _ in 0..dice.below(14) {
        let piece = PIECES[dice.below(PIECES.len())];
        let times = if dice.below(40) == 0 { dice.below(3_000) } else { 1 };
        input.extend(piece.iter().copied().cycle().take(piece.len() * times));
    }
    for _ in 0..dice.below(4).saturating_sub(1) {
        if input.is_empty() {
            break;
        }
        let place = dice.below(input.len());
        match dice.below(3) {
            0 => input[place] = dice.below(256) as u8,
            1 => drop(input.remove(place)),
            _ => input.truncate(place),
        }
    }
    input
}

/// Sends the input in pieces, ends it, and reads what comes back.
async fn attempt(proxy: &Proxy, listener: SocketAddr, input: &[u8], dice: &mut Dice) -> Vec<u8> {
    let (client, server) = tokio::io::duplex(4096);
    let serving = proxy.serve(listener, server, "192.0.2.1:9".parse().unwrap()).unwrap();
    let serving = tokio::spawn(serving);
    let (mut read, mut write) = tokio::io::split(client);
    let step = 1 + dice.below(input.len() + 1);
    let sending = async {
        for piece in input.chunks(step) {
            if write.write_all(piece).await.is_err() {
                break;
            }
            tokio::task::yield_now().await;
        }
        let _ = write.shutdown().await;
    };
    let mut answer = Vec::new();
    let both = async { tokio::join!(sending, read.read_to_end(&mut answer)) };
    let ended = tokio::time::timeout(Duration::from_secs(10), both).await;
    assert!(ended.is_ok(), "the connection hangs after {}", input.escape_ascii());
    drop((read, write));
    let served = tokio::time::timeout(Duration::from_secs(10), serving).await;
    assert!(matches!(served, Ok(Ok(()))), "{served:?} after {}", input.escape_ascii());
    answer
}

#[tokio::test]
async fn fuzz_http1_edge() {
    let (mut rounds, mut dice) = Rounds::begin("edge");
    let (endpoint, _) = upstream("a").await;
    let short = Duration::from_millis(300);
    let limits = Limits {
        header_read_timeout: short,
        client_idle: short,
        exchange_idle: short,
        tunnel_idle: short,
        ..Limits::default()
    };
    let mut proxy = Proxy::new(limits);
    let applied = proxy.apply(config(vec![backend("a", 1, vec![endpoint])])).await;
    assert!(applied.listeners[0].is_ok());
    let listener = "127.0.0.1:0".parse().unwrap();
    let mut answered = 0_u64;
    while rounds.goes_on() {
        let input = input(&mut dice);
        let answer = attempt(&proxy, listener, &input, &mut dice).await;
        if answer.starts_with(b"HTTP/1.1 ") {
            answered += 1;
        }
    }
    let tried = rounds.begun();
    println!("{tried} inputs, {answered} answered");
    assert!(answered * 10 > tried, "{answered} of {tried}: the inputs reach too little");
    let sound = b"GET /after HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    let answer = attempt(&proxy, listener, sound, &mut dice).await;
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", answer.escape_ascii());
}

/// Pieces that responses are made of, sound and not.
const ANSWERS: [&[u8]; 24] = [
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.0 200\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\n",
    b"HTTP/1.1 304 Not Modified\r\n",
    b"HTTP/1.1 999 \xff\r\n",
    b"HTTP/1.1 000 x\r\n",
    b"HTTP/2.0 200 OK\r\n",
    b"Content-Length: 3\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: -1\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: identity\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive, content-length\r\n",
    b"\r\n",
    b"abc",
    b"3\r\nabc\r\n",
    b"0\r\n\r\n",
    b"0\r\nX: y\r\n\r\n",
    b"\n",
    b"\0\xff",
];

#[tokio::test]
async fn fuzz_http1_endpoint() {
    let (mut rounds, mut dice) = Rounds::begin("endpoint");
    let answers = Arc::new(Mutex::new(Vec::new()));
    let given = Arc::clone(&answers);
    let address = endpoint(move |mut stream| {
        let given = Arc::clone(&given);
        async move {
            while read_head(&mut stream).await.is_some() {
                let answer: Vec<u8> = given.lock().unwrap().clone();
                if stream.write_all(&answer).await.is_err() || answer.len().is_multiple_of(2) {
                    return;
                }
            }
        }
    })
    .await;
    let limits = Limits { exchange_idle: Duration::from_millis(5), ..Limits::default() };
    let mut proxy = Proxy::new(limits);
    proxy.apply(config(vec![backend("a", 1, vec![address])])).await;
    let listener = "127.0.0.1:0".parse().unwrap();
    let mut sound = 0_u64;
    while rounds.goes_on() {
        let mut answer = ANSWERS[dice.below(10)].to_vec();
        // Half of the answers begin soundly, so that they reach what lies behind the head.
        if dice.below(2) == 0 {
            let framing = [ANSWERS[10], ANSWERS[13], ANSWERS[15]][dice.below(3)];
            answer = [ANSWERS[0], framing, b"\r\n"].concat();
        }
        for _ in 0..dice.below(8) {
            answer.extend_from_slice(ANSWERS[dice.below(ANSWERS.len())]);
        }
        answers.lock().unwrap().clone_from(&answer);
        let request = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
        let told = attempt(&proxy, listener, request, &mut dice).await;
        assert!(told.starts_with(b"HTTP/1.1 "), "{} for {}", told.escape_ascii(), answer.escape_ascii());
        sound += u64::from(told.starts_with(b"HTTP/1.1 200"));
    }
    let tried = rounds.begun();
    println!("{tried} answers, {sound} taken");
    assert!(sound * 10 > tried, "the answers reach too little");
}
