//! Connections of every transport under random and mutated bytes: each ends with its client, and nothing else happens.

use std::future::Future;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures::SinkExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Message, Role};
use xebec_dice::{Dice, rounds};

use crate::negotiation::{Transport, Version};
use crate::spdy::fuzz::conversation;
use crate::{Accepted, Session, Wants, forward, session};

/// Time stands still while anything is done, so this is never waited for.
const PATIENCE: Duration = Duration::from_secs(600);

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

/// Sends bytes in pieces, reads what comes for a while, and leaves.
async fn say(client: DuplexStream, pieces: Vec<Vec<u8>>, is_deaf: bool) {
    let (mut read, mut write) = tokio::io::split(client);
    let hearing = async {
        let mut heard = [0; 4096];
        while !is_deaf && read.read(&mut heard).await.is_ok_and(|count| count > 0) {}
        std::future::pending::<()>().await;
    };
    let saying = async {
        for piece in pieces {
            if write.write_all(&piece).await.is_err() {
                return;
            }
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    // Who hears nothing may not get rid of all that it says.
    let both = async {
        tokio::select! {
            () = hearing => {}
            () = saying => {}
        }
    };
    _ = timeout(Duration::from_secs(60), both).await;
}

/// The bytes, cut at a few places.
fn pieces(dice: &mut Dice, bytes: &[u8]) -> Vec<Vec<u8>> {
    let size = 1 + dice.below(bytes.len().max(1));
    bytes.chunks(size).map(<[u8]>::to_vec).collect()
}

/// A process that reads a little, says a little and ends.
async fn process(session: Session, reads: usize) {
    let Session { stdin, stdout, sizes, outcome, gone, .. } = session;
    if let Some(mut stdin) = stdin {
        for _ in 0..reads {
            _ = timeout(Duration::from_secs(2), stdin.recv()).await;
        }
    }
    if let Some(mut sizes) = sizes {
        _ = timeout(Duration::from_secs(2), sizes.recv()).await;
    }
    if let Some(stdout) = stdout {
        _ = timeout(Duration::from_secs(60), stdout.write(Bytes::from(vec![b'x'; 10_000]))).await;
    }
    drop(gone);
    outcome.exited(reads as i32).await;
}

async fn ends(name: &str, serving: impl Future<Output = ()>) {
    assert!(timeout(PATIENCE, serving).await.is_ok(), "a connection over {name} did not end with its client");
}

const SPDY: [Transport; 2] = [Transport::Spdy, Transport::Tunnel];
const VERSIONS: [Version; 3] = [Version::First, Version::Fourth, Version::Fifth];

/// Serves one client that says these bytes, as a session and as a port forward.
async fn serve(dice: &mut Dice, transport: Transport, bytes: &[u8]) {
    let wants = Wants {
        stdin: dice.once_in(2),
        stdout: dice.once_in(2),
        stderr: dice.once_in(2),
        tty: dice.once_in(2),
    };
    let (reads, is_deaf) = (dice.below(6), dice.once_in(6));
    let (ours, theirs) = duplex(1 << dice.below(16));
    let talking = tokio::spawn(say(theirs, pieces(dice, bytes), is_deaf));
    let serving = async {
        if let Ok(session) = session(ours, Accepted::over(transport), wants).await {
            process(session, reads).await;
        }
    };
    ends("a session", serving).await;
    ends("the client of a session", async { talking.await.unwrap() }).await;

    let (ours, theirs) = duplex(1 << dice.below(16));
    let talking = tokio::spawn(say(theirs, pieces(dice, bytes), is_deaf));
    let dial = |port: u16| async move {
        if port == 80 {
            let (pod, mut far) = duplex(64);
            tokio::spawn(async move {
                _ = far.write_all(b"hello").await;
                let mut all = Vec::new();
                _ = far.read_to_end(&mut all).await;
            });
            Ok(pod)
        } else {
            Err(io::Error::from(io::ErrorKind::ConnectionRefused))
        }
    };
    let serving = async { drop(forward::serve(ours, Accepted::over(transport), &[80, 81], dial).await) };
    ends("a port forward", serving).await;
    ends("the client of a port forward", async { talking.await.unwrap() }).await;
}

#[test]
fn fuzz_spdy_connections() {
    let runtime = runtime();
    rounds("spdy_connections", |dice| {
        let mut bytes = conversation(dice);
        if dice.once_in(2) {
            bytes = dice.mutated(bytes);
        }
        runtime.block_on(serve(dice, Transport::Spdy, &bytes));
    });
}

#[test]
fn fuzz_connections_of_any_bytes() {
    let runtime = runtime();
    rounds("connections_of_any_bytes", |dice| {
        let bytes = dice.bytes(2_000);
        let version = *dice.pick(&VERSIONS);
        let transport = if dice.once_in(2) { *dice.pick(&SPDY) } else { Transport::Channels { version } };
        runtime.block_on(serve(dice, transport, &bytes));
    });
}

/// What a WebSocket of a client says: messages that begin with a channel, or hold a piece of SPDY.
async fn websocket(dice: &mut Dice, tunnelled: Option<Vec<u8>>) -> Vec<u8> {
    let (ours, mut theirs) = duplex(8 << 20);
    let mut socket = WebSocketStream::from_raw_socket(ours, Role::Client, None).await;
    let messages: Vec<Message> = match tunnelled {
        Some(bytes) => {
            let pieces = pieces(dice, &bytes);
            pieces.into_iter().take(500).map(|piece| Message::Binary(piece.into())).collect()
        }
        None => (0..dice.below(20)).map(|_| message(dice)).collect(),
    };
    for message in messages {
        // Nothing is said after a close.
        if socket.send(message).await.is_err() {
            break;
        }
    }
    drop(socket);
    let mut bytes = Vec::new();
    theirs.read_to_end(&mut bytes).await.unwrap();
    bytes
}

fn message(dice: &mut Dice) -> Message {
    let mut channel = vec![*dice.pick(&[0, 1, 2, 3, 4, 255, 9])];
    match dice.below(8) {
        0 => Message::Text((*dice.pick(&["", "0text", "é"])).into()),
        1 => Message::Ping(dice.bytes(100).into()),
        2 => Message::Pong(dice.bytes(100).into()),
        3 if dice.once_in(4) => Message::Close(None),
        4 => {
            let sizes =
                ["{\"Width\":80,\"Height\":24}", "{\"Width\":-1}", "{}", "[[[", "{\"Width\":99999999}"];
            channel.extend(dice.pick(&sizes).bytes());
            Message::Binary(channel.into())
        }
        _ => {
            channel.extend(dice.bytes(1_000));
            Message::Binary(channel.into())
        }
    }
}

#[test]
fn fuzz_websocket_connections() {
    let runtime = runtime();
    rounds("websocket_connections", |dice| {
        let version = *dice.pick(&VERSIONS);
        let is_tunnel = dice.once_in(3);
        let tunnelled = is_tunnel.then(|| conversation(dice));
        let mut bytes = runtime.block_on(websocket(dice, tunnelled));
        if dice.once_in(3) {
            bytes = dice.mutated(bytes);
        }
        let transport = if is_tunnel { Transport::Tunnel } else { Transport::Channels { version } };
        runtime.block_on(serve(dice, transport, &bytes));
    });
}
