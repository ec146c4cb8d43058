use std::time::Duration;

use hickory_proto::rr::RecordType;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use xebec_dns::{Limits, Resolvers};

use crate::questions::{LOCAL, ask, question, serving};

const NAME: &str = "web.default.svc.cluster.local.";

#[tokio::test]
async fn whatever_comes_the_server_lives_on() {
    let (server, _stop) = serving(Resolvers::fixed([]), Limits::default()).await;
    let socket = UdpSocket::bind(LOCAL).await.unwrap();
    socket.connect(server.address()).await.unwrap();
    let good = question(NAME, RecordType::A).to_vec().unwrap();
    let mut dice = xebec_dice::Dice::new(1);
    for _ in 0..3_000 {
        let mut bytes = good.clone();
        match dice.below(4) {
            0 => bytes.truncate(dice.below(good.len() + 1)),
            1 => bytes = dice.bytes(600),
            2 => bytes.extend(dice.bytes(600)),
            _ => {}
        }
        for _ in 0..dice.below(6) {
            if !bytes.is_empty() {
                let at = dice.below(bytes.len());
                bytes[at] = dice.below(256) as u8;
            }
        }
        let _ = socket.send(&bytes).await;
        // What comes back is not awaited, only taken.
        let mut buffer = [0; 2048];
        while socket.try_recv(&mut buffer).is_ok() {}
    }
    let answer = ask(server.address(), NAME).await;
    assert_eq!(answer.answers.len(), 1);
}

#[tokio::test]
async fn connections_that_do_nothing_or_too_much_are_closed() {
    let limits = Limits { connections: 2, idle: Duration::from_millis(300), ..Limits::default() };
    let (server, _stop) = serving(Resolvers::fixed([]), limits).await;
    let mut idle = TcpStream::connect(server.address()).await.unwrap();
    let mut half = TcpStream::connect(server.address()).await.unwrap();
    half.write_all(&[0xff, 0xff, 1, 2, 3]).await.unwrap();
    let mut third = TcpStream::connect(server.address()).await.unwrap();
    for stream in [&mut third, &mut idle, &mut half] {
        let mut byte = [0];
        let closed = tokio::time::timeout(Duration::from_secs(5), stream.read(&mut byte)).await;
        assert!(matches!(closed.expect("it is closed in time"), Ok(0) | Err(_)));
    }
    assert_eq!(ask(server.address(), NAME).await.answers.len(), 1);
}
